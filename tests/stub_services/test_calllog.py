import random
import time

import pytest

from scenarios.load import load_scenario
from stub_services import calllog, client
from stub_services.calllog import CallLog, read_calls, read_events
from stub_services.settings import DEFAULT_PORTS


def write(folder, count=1):
    log = CallLog(folder, "auth")
    for number in range(count):
        log.call(number, "user", "profile/create", 3, "timeout", 0, 0)
    log.close()


def test_a_call_comes_back_by_its_names(tmp_path):
    log = CallLog(tmp_path, "auth")
    before = time.monotonic_ns()
    log.call(7, "notification", "send", 2, "rejected", 502, 2)
    log.close()
    (row,) = read_calls(tmp_path / "auth.calls")
    assert row[:4] == ("auth", "notification", "send", 7)
    assert before <= row.done_ns <= time.monotonic_ns()
    assert row[5:] == (2, "rejected", 502, 2)


def test_a_process_that_starts_again_continues_the_file(tmp_path):
    write(tmp_path, 2)
    write(tmp_path, 3)
    assert [row.start_ns for row in read_calls(tmp_path / "auth.calls")] == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("torn", [1, 17, 31])
def test_a_torn_last_record_is_left_out_and_cut_off_by_the_next_process(tmp_path, torn):
    write(tmp_path, 2)
    path = tmp_path / "auth.calls"
    path.write_bytes(path.read_bytes() + random.Random(torn).randbytes(torn))
    assert len(read_calls(path)) == 2
    write(tmp_path, 1)
    assert [row.start_ns for row in read_calls(path)] == [0, 1, 0]


def test_events_come_back_and_a_torn_last_line_does_not(tmp_path):
    log = CallLog(tmp_path, "auth")
    log.event("breaker_open", "user")
    log.event("breaker_half_open", "user")
    log.close()
    path = tmp_path / "auth.events"
    path.write_text(path.read_text() + "123 breaker_clo")
    assert [(row.kind, row.peer) for row in read_events(path)] == [
        ("breaker_open", "user"),
        ("breaker_half_open", "user"),
    ]


def test_what_was_never_written_is_empty(tmp_path):
    assert read_calls(tmp_path / "auth.calls") == []
    assert read_events(tmp_path / "auth.events") == []


def test_without_a_folder_nothing_is_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(None)
    assert list(tmp_path.iterdir()) == []


def test_names_and_ports_are_those_of_the_scenario():
    scenario = load_scenario("ielts")
    called = {(call.to, call.operation) for flow in scenario.flows for call in flow.calls}
    assert {operation for _, operation in called} == set(calllog.OPERATIONS)
    known = {(value.callee, value.name) for value in vars(client).values() if isinstance(value, client.Operation)}
    assert called == known
    assert {service.name: service.port for service in scenario.services} == DEFAULT_PORTS
