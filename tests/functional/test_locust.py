"""The Locust engine against targets whose behaviour is known: several processes must measure like one."""

import base64
import contextlib
import dataclasses
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

from gateway_proxy.http1 import render_request
from harness.cpu import usable_cores
from harness.engines import ENGINES, CrewPlan, locust_crew
from harness.engines.board import BOARD_BYTES, ask_stop, new_board, read_board
from harness.engines.job import DROPPED, ERROR, OK, TIMEOUT, ClosedLoop, Job, Request, Schedule
from harness.errors import BadInputError, HarnessError
from harness.histogram import Histogram
from harness.ports import free_ports
from harness.profiles import PROFILES
from harness.run import RunRequest, run
from results.record import RecordReader
from scenarios.load import load_scenario
from tests.bench.rig import wait_for_port

pytestmark = [pytest.mark.functional, pytest.mark.timeout(240)]

ACCEPTS = frozenset({200})
NONE = Schedule.of([])
ARCHBENCH = str(Path(sys.executable).with_name("archbench"))


# -- the rig ---------------------------------------------------------------------------------------------------------


def _plan(folder, workers, **fields):
    return CrewPlan(None, usable_cores()[:1], folder, workers, **fields)


@pytest.fixture(scope="module")
def crew(tmp_path_factory):
    """Three local workers, for every test that leaves them whole."""
    with ENGINES["locust"].start(_plan(tmp_path_factory.mktemp("crew"), 3)) as crew:
        yield crew


@pytest.fixture(scope="module")
def told():
    """A target that does what the path says; returns its port."""
    port = free_ports(1, random.Random())[0]
    with _process("-m", "tests.functional.told_server", str(port)):
        wait_for_port(port)
        yield port


@contextlib.contextmanager
def _process(*arguments, prefix=(), **options):
    process = subprocess.Popen([*prefix, sys.executable, *arguments], **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def _ask(port, path, host="127.0.0.1"):
    with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
        return answer.read()


def _seen(port, **where):
    return json.loads(_ask(port, "/report", **where))


def _request(path, host="127.0.0.1", body=None, accepts=ACCEPTS):
    return Request(0, render_request("GET" if body is None else "POST", path, host, [], body), accepts)


def _schedule(rate, seconds, path="/", **fields):
    times = (int(number * 1e9 / rate) for number in range(int(rate * seconds)))
    return Schedule.repeating(times, _request(path, **fields))


def _one_after_the_other(statuses):
    accepts = frozenset(range(250))
    requests = (_request(f"/status/{status}", accepts=accepts) for status in statuses)
    return Schedule.of((number * 5_000_000, request) for number, request in enumerate(requests))


def _job(port, schedule, timeout_s=5.0, lead_s=0.2, host="127.0.0.1", **fields):
    return Job(
        targets=[(host, port)],
        schedule=schedule,
        t0_ns=time.monotonic_ns() + int(lead_s * 1e9),
        timeout_ns=int(timeout_s * 1e9),
        max_in_flight=fields.pop("max_in_flight", 4096),
        **fields,
    )


def _run(crew, folder, *arguments, **fields):
    return crew.submit(_job(*arguments, **fields), folder).wait(60)


def _corrected_ms(schedule, result):
    pairs = zip(schedule.at_ns, result.open.done_ns, strict=True)
    return np.array([(done - due) / 1e6 for due, done in pairs if done >= 0])


def _wait_for(condition, seconds=40.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def _trap(name, *arguments):
    """What Locust does by itself, in a process of its own."""
    command = [sys.executable, "-m", "tests.functional.locust_traps", name, *map(str, arguments)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


# -- the load: as the native engine is tested ------------------------------------------------------------------------


@pytest.mark.alone
def test_a_stall_is_charged_to_every_request_that_was_due_in_it(crew, scripted, tmp_path):
    schedule = _schedule(200, 4)
    result = _run(crew, tmp_path, scripted("stall", 1.0), schedule)
    latency = _corrected_ms(schedule, result)
    assert len(latency) == 800
    # One second of four: a quarter of the requests wait, uniformly between nothing and one second.
    assert np.percentile(latency, 90) == pytest.approx(1000 * (1 - 0.10 / 0.25), rel=0.1)
    assert np.percentile(latency, 99) == pytest.approx(1000 * (1 - 0.01 / 0.25), rel=0.1)
    merged = Histogram.decode(result.histograms["latency"])
    assert merged.percentiles_ms([90, 99]) == pytest.approx(list(np.percentile(latency, [90, 99])), rel=0.02)
    assert len(merged) == 800


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("fast", {OK: 1.0}),
        ("half", {OK: 0.5, ERROR: 0.5}),
        ("reset", {OK: 2 / 3, ERROR: 1 / 3}),
        ("garbage", {OK: 0.75, ERROR: 0.25}),
        ("silent", {TIMEOUT: 1.0}),
        ("trickle", {TIMEOUT: 1.0}),
        ("closing", {OK: 1.0}),
        ("until_close", {OK: 1.0}),
    ],
)
def test_every_planned_request_is_accounted_for_whatever_the_target_does(crew, scripted, tmp_path, behaviour, expected):
    schedule = _schedule(200, 1.2)
    result = _run(crew, tmp_path, scripted(behaviour), schedule, timeout_s=1.5)
    counts = Counter(result.open.outcome)
    assert sum(counts.values()) == len(schedule)
    assert counts[DROPPED] == 0
    for outcome, share in expected.items():
        assert counts[outcome] == pytest.approx(share * len(schedule), abs=3)
    assert sum(done >= 0 for done in result.open.done_ns) == len(schedule) - counts[TIMEOUT]
    assert [len(Histogram.decode(result.histograms[name])) for name in ("latency", "service", "slip")] == [240] * 3


def test_nobody_listening_is_an_error_at_once_and_not_a_timeout(crew, tmp_path):
    schedule = _schedule(200, 0.5)
    result = _run(crew, tmp_path, free_ports(1, random.Random())[0], schedule, timeout_s=30)
    assert set(result.open.outcome) == {ERROR}
    assert _corrected_ms(schedule, result).max() < 20_000


def test_an_answer_that_breaks_off_in_its_body_is_an_error(crew, told, tmp_path):
    result = _run(crew, tmp_path, told, _schedule(100, 0.3, "/cut"))
    assert set(result.open.outcome) == {ERROR}
    assert min(result.open.done_ns) > 0


def test_requests_over_the_in_flight_cap_are_dropped_and_counted(crew, scripted, tmp_path):
    result = _run(crew, tmp_path, scripted("silent"), _schedule(200, 0.5), timeout_s=4, max_in_flight=10)
    assert Counter(result.open.outcome) == {TIMEOUT: 10, DROPPED: 90}
    assert result.capped == 90


@pytest.mark.alone
def test_no_request_goes_out_before_it_is_due(crew, scripted, tmp_path):
    schedule = _schedule(300, 1)
    result = _run(crew, tmp_path, scripted("fast"), schedule)
    assert (np.array(result.open.sent_ns) >= np.array(schedule.at_ns)).all()


def test_every_row_is_of_the_request_that_stands_there_in_the_schedule(crew, told, tmp_path):
    statuses = [210 + number % 89 for number in range(200)]
    result = _run(crew, tmp_path, told, _one_after_the_other(statuses))
    assert list(result.open.status) == statuses
    assert [outcome == OK for outcome in result.open.outcome] == [status < 250 for status in statuses]


def test_what_arrives_is_what_was_rendered_byte_for_byte(crew, told, tmp_path):
    fields = [("X-Twice", "1"), ("X-Twice", "2"), ("Cookie", "a=b")]
    payloads = [
        render_request("GET", "/status/200?q=a%20b&c=%C3%A9", "somewhere:80", fields),
        render_request("POST", "/status/200", "somewhere:80", [("Content-Type", "text/plain")], b"x" * 70_000),
        render_request("PUT", "/status/200", "somewhere:80", [], b"\x00\r\n\r\n\xff"),
    ]
    _ask(told, "/forget")
    schedule = Schedule.of((number * 10**7, Request(0, payload, ACCEPTS)) for number, payload in enumerate(payloads))
    result = _run(crew, tmp_path, told, schedule)
    assert set(result.open.outcome) == {OK}
    assert sorted(map(base64.b64decode, _seen(told)["raw"])) == sorted(payloads)


def test_a_closed_loop_sends_every_request_once_and_ends_when_they_have_run_out(crew, told, tmp_path):
    statuses = [210 + number % 89 for number in range(150)]
    closed = ClosedLoop([_request(f"/status/{status}") for status in statuses], 7, 0, int(60e9))
    job = _job(told, NONE, closed=dataclasses.replace(closed, end_ns=int(3e9)))
    result = crew.submit(job, tmp_path).wait(60)
    assert list(result.closed.status) == statuses
    assert list(result.closed_which) == list(range(150))
    assert 0 < result.closed_end_ns < closed.end_ns
    assert len(Histogram.decode(result.histograms["closed_service"])) == 150


def test_a_closed_loop_that_is_cut_short_says_which_requests_were_sent(crew, told, tmp_path):
    statuses = [210 + number % 89 for number in range(4000)]
    requests = [_request(f"/status/{status}") for status in statuses]
    result = _run(crew, tmp_path, told, NONE, closed=ClosedLoop(requests, 6, 0, int(0.3e9)))
    assert 0 < len(result.closed.status) < 4000
    assert [statuses[which] for which in result.closed_which] == list(result.closed.status)
    assert len(set(result.closed_which)) == len(result.closed_which)
    assert DROPPED not in result.closed.outcome


def test_a_share_of_megabytes_arrives_whole(crew, told, tmp_path):
    body = random.Random(1).randbytes(40_000)
    schedule = Schedule.of((number * 10**7, _request(f"/status/{210 + number}", body=body)) for number in range(80))
    result = _run(crew, tmp_path, told, schedule, lead_s=1)
    assert list(result.open.status) == list(range(210, 290))


@pytest.mark.alone
def test_littles_law_holds_in_a_closed_loop(crew, told, tmp_path):
    """N = X * R: connections = throughput times mean time in the system."""
    closed = ClosedLoop([_request("/delay/0.05")], 16, 0, int(2e9), repeat=True)
    result = _run(crew, tmp_path, told, NONE, closed=closed)
    sent, done = np.array(result.closed.sent_ns), np.array(result.closed.done_ns)
    throughput = len(done) / ((done.max() - sent.min()) / 1e9)
    assert throughput * ((done - sent).mean() / 1e9) == pytest.approx(16, rel=0.1)
    assert result.connections_opened == 16
    assert result.closed_end_ns >= 2e9


@pytest.mark.alone
def test_cpu_clocks_are_read_at_the_marks_and_count_master_and_workers(crew, scripted, tmp_path):
    marks = [0, 250_000_000, 600_000_000]
    watched = {"self": os.getpid(), "nobody": 2**22}
    result = _run(crew, tmp_path, scripted("fast"), _schedule(100, 0.5), marks_ns=marks, watched=watched)
    assert len(result.marks) == 3
    assert all(mark.at_ns >= due for mark, due in zip(result.marks, marks, strict=True))
    assert set(result.marks[0].cpu_ns) == {"generator", "self"}
    used = [mark.cpu_ns["generator"] for mark in result.marks]
    assert used == sorted(used)
    pids = [crew.process.pid, *(member["pid"] for member in crew.state()["members"])]
    alone = max(psutil.Process(pid).cpu_times().user for pid in pids)
    assert used[-1] / 1e9 > alone * 1.2


@pytest.mark.alone
def test_the_busy_share_leaves_out_the_wait_for_the_next_request(crew, scripted, tmp_path):
    result = _run(crew, tmp_path, scripted("fast"), _schedule(20, 1.5))
    assert 0 < result.busy_share < 0.8


@pytest.mark.alone
def test_a_job_that_comes_too_late_says_by_how_much(crew, scripted, tmp_path):
    result = _run(crew, tmp_path, scripted("fast"), _schedule(50, 0.5), lead_s=-0.3)
    assert result.late_start_ns >= 300_000_000
    assert Counter(result.open.outcome) == {OK: 25}


def test_whoever_watches_sees_how_far_it_is_and_may_end_it(crew, scripted, tmp_path):
    board = tmp_path / "board"
    new_board(board)
    assert len(board.read_bytes()) == BOARD_BYTES
    job = _job(scripted("fast"), _schedule(100, 30), board=str(board), marks_ns=[0, int(30e9)])
    pending = crew.submit(job, tmp_path)
    _wait_for(lambda: read_board(board).sent >= 50)
    ask_stop(board)
    _wait_for((tmp_path / "load.result").exists, 20)
    pending.end_ns = 0  # it was to be thirty seconds
    result = pending.wait(10)
    counts = Counter(result.open.outcome)
    assert counts[OK] >= 50
    assert counts[DROPPED] == 3000 - counts[OK] > 0
    assert result.capped == 0
    assert len(result.marks) == 2
    assert read_board(board).ok == counts[OK]


def test_a_new_job_ends_one_that_nobody_waits_for(crew, told, scripted, tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    _ask(told, "/forget")
    crew.submit(_job(told, _schedule(50, 30, "/status/200")), tmp_path / "first")
    _wait_for(lambda: _seen(told)["paths"])
    result = _run(crew, tmp_path / "second", scripted("fast"), _schedule(100, 0.5))
    assert Counter(result.open.outcome) == {OK: 50}
    before = _seen(told)["paths"]
    time.sleep(0.5)
    assert _seen(told)["paths"] == before
    assert not (tmp_path / "first" / "load.result").exists()


def test_a_job_that_cannot_be_carried_out_is_a_sentence(crew, tmp_path):
    broken = Schedule.repeating([0], Request(0, b"no request at all", ACCEPTS))
    with pytest.raises(HarnessError, match=r"(?s)load worker 1 failed:.*not a rendered request"):
        _run(crew, tmp_path, 1, broken)


# -- two equivalent targets, as the native engine is tested -------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_is_reset_goes_to_the_other_address_only_if_it_is_idempotent(crew, scripted, tmp_path, method):
    """The first address resets every third request that it gets, and three workers take turns by themselves."""
    schedule = _schedule(100, 1.2, body=b"{}" if method == "POST" else None)
    two = [scripted("reset"), scripted("fast")]
    result = _run(crew, tmp_path, two[0], schedule, alternatives=[[("127.0.0.1", two[1])]])
    counts, again = Counter(result.open.outcome), len(result.failing_over.again_ns)
    lost = 0 if method == "GET" else 20
    assert counts == Counter({OK: 120 - lost, ERROR: lost})
    assert again == 20 - lost


def test_the_death_of_one_of_two_is_passed_over_and_its_return_noticed(crew, scripted, tmp_path):
    port = free_ports(1, random.Random())[0]
    command = ("-m", "tests.functional.scripted_server", str(port), "fast")
    schedule = _schedule(100, 3)
    job = _job(port, schedule, alternatives=[[("127.0.0.1", scripted("fast"))]])
    with _process(*command):
        wait_for_port(port)
        pending = crew.submit(job, tmp_path)
        time.sleep(1.0)
    with _process(*command):
        wait_for_port(port)
        result = pending.wait(60)
    assert Counter(result.open.outcome) == {OK: 300}
    failed, connects = result.failing_over.failed_ns, result.failing_over.connects_ns
    assert 1 <= len(failed) < 30
    assert max(connects) > max(failed)


# -- Locust's traps --------------------------------------------------------------------------------------------------


@pytest.mark.alone
def test_trap_ten_at_a_time_is_a_hidden_queue(crew, told, tmp_path):
    _ask(told, "/forget")
    _trap("default_user", told)
    assert _seen(told)["most_waiting"] == 10
    _ask(told, "/forget")
    _trap("default_session", told)
    assert _seen(told)["most_waiting"] == 1
    _ask(told, "/forget")
    result = _run(crew, tmp_path, told, Schedule.repeating([0] * 60, _request("/delay/3")), timeout_s=30)
    assert set(result.open.outcome) == {OK}
    assert _seen(told)["most_waiting"] == 60
    assert result.connections_opened == 60


def test_trap_session_of_locusts_own_over_our_connections_queues_nothing(told):
    _ask(told, "/forget")
    _trap("our_session", told)
    assert _seen(told)["most_waiting"] == 30


def test_trap_a_request_whose_connection_breaks_is_sent_again_and_again(crew, told, tmp_path):
    _ask(told, "/forget")
    assert _trap("default_retries", told) == "HTTPConnectionClosed"
    assert _seen(told)["paths"] == {"/hangup": 12}
    _ask(told, "/forget")
    assert _trap("our_retries", told) == "HTTPConnectionClosed"
    assert _seen(told)["paths"] == {"/hangup": 1}
    _ask(told, "/forget")
    result = _run(crew, tmp_path, told, _schedule(100, 0.6, "/hangup"))
    assert Counter(result.open.outcome) == {ERROR: 60}
    assert _seen(told)["paths"] == {"/hangup": 60}


def test_trap_keep_alive_ends_at_the_1024th_descriptor(told):
    assert _trap("high_descriptor", told) == [False, True, False]


def test_trap_redirects_are_answers_and_not_followed(crew, told, tmp_path):
    _ask(told, "/forget")
    schedule = _schedule(100, 0.3, "/redirect", accepts=frozenset({302}))
    result = _run(crew, tmp_path, told, schedule)
    assert set(result.open.outcome) == {OK}
    assert _seen(told)["paths"] == {"/redirect": 30}


def test_trap_fixed_count_is_for_all_workers_together():
    assert _trap("users_of_workers") == [[1, 0, 0], [1, 1, 1]]


def test_trap_response_times_below_100_ms_are_whole_milliseconds():
    before, after = _trap("rounding")
    assert before == [7, 0, 150]
    assert after == [7.3, 0.4, 147.0, 12_300.0]


def test_locusts_own_statistics_hold_every_request_with_fractions_of_a_millisecond(told, tmp_path):
    schedule = _schedule(100, 2, "/delay/0.0073")
    with ENGINES["locust"].start(_plan(tmp_path, 2)) as crew:
        result = _run(crew, tmp_path, told, schedule)
    (entry,) = json.loads((crew.folder / "ended.json").read_text())["locust"]
    assert (entry["name"], entry["requests"], entry["failures"]) == ("GET /delay/*", 200, 0)
    median = np.median(_corrected_ms(schedule, result))
    assert entry["median_ms"] == pytest.approx(median, rel=0.02)
    assert sum(count for _, count in entry["response_times"]) == 200
    below = [(value, count) for value, count in entry["response_times"] if value < 100]
    whole = sum(count for value, count in below if value == int(value))
    assert whole < 0.5 * sum(count for _, count in below)


def test_trap_requests_that_fail_make_no_exit_code(told, tmp_path):
    with ENGINES["locust"].start(_plan(tmp_path, 2)) as crew:
        result = _run(crew, tmp_path, told, _schedule(100, 0.5, "/status/500"))
    assert set(result.open.outcome) == {ERROR}
    ended = json.loads((crew.folder / "ended.json").read_text())
    assert ended["locust"][0]["failures"] == 50
    assert ended["exit_codes"] == {"worker 1": 0, "worker 2": 0}
    assert crew.process.returncode == 0


def test_trap_what_is_in_flight_when_the_crew_ends_comes_to_its_end(told, tmp_path):
    _ask(told, "/forget")
    with ENGINES["locust"].start(_plan(tmp_path, 2)) as crew:
        crew.submit(_job(told, Schedule.repeating([0] * 9, _request("/delay/4")), timeout_s=20), tmp_path)
        _wait_for(lambda: _seen(told)["waiting"] == 9)
    seen = _seen(told)
    assert (seen["answered"], seen["aborted"], seen["waiting"]) == (9, 0, 0)
    assert json.loads((crew.folder / "ended.json").read_text())["exit_codes"] == {"worker 1": 0, "worker 2": 0}


# -- workers and masters that go away --------------------------------------------------------------------------------


def _members(crew):
    return crew.state()["members"]


def test_a_worker_that_dies_is_named_and_replaced(scripted, tmp_path):
    port, schedule = scripted("fast"), _schedule(150, 3)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with ENGINES["locust"].start(_plan(tmp_path, 3)) as crew:
        second = _members(crew)[1]
        pending = crew.submit(_job(port, schedule), tmp_path / "one")
        time.sleep(1.5)
        os.kill(second["pid"], signal.SIGKILL)
        result = pending.wait(20)
        assert result.lost == [second["name"]] == [f"worker 2 of 3 ({socket.gethostname()}, pid {second['pid']})"]
        assert set(result.open.outcome[1::3]) == {DROPPED}
        assert {*result.open.outcome[0::3], *result.open.outcome[2::3]} == {OK}
        assert _members(crew)[1]["pid"] != second["pid"]
        assert crew.state()["whole"]
        again = _run(crew, tmp_path / "two", port, schedule)
        assert again.lost == []
        assert Counter(again.open.outcome) == {OK: len(schedule)}


def test_the_only_worker_that_dies_is_named_and_replaced(scripted, tmp_path):
    port, schedule = scripted("fast"), _schedule(50, 1.5)
    with ENGINES["locust"].start(_plan(tmp_path, 1)) as crew:
        pending = crew.submit(_job(port, schedule, marks_ns=[0, 10**9]), tmp_path)
        os.kill(_members(crew)[0]["pid"], signal.SIGKILL)
        result = pending.wait(20)
        assert len(result.lost) == 1
        assert len(result.marks) == 2
        assert Counter(_run(crew, tmp_path, port, schedule).open.outcome) == {OK: len(schedule)}


def test_a_master_that_dies_is_noticed_and_takes_its_workers_along(scripted, tmp_path):
    with ENGINES["locust"].start(_plan(tmp_path, 2)) as crew:
        pids = [member["pid"] for member in _members(crew)]
        pending = crew.submit(_job(scripted("fast"), _schedule(50, 1)), tmp_path)
        crew.process.kill()
        with pytest.raises(HarnessError, match="Locust's master ended with code -9"):
            pending.wait(30)
    _wait_for(lambda: not any(map(psutil.pid_exists, pids)))
    with pytest.raises(HarnessError, match="Locust's master ended"):
        crew.submit(_job(1, NONE), tmp_path)


def test_nothing_is_left_when_the_harness_is_killed(tmp_path):
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from harness.engines import ENGINES, CrewPlan\n"
        "with ENGINES['locust'].start(CrewPlan(None, [], Path(sys.argv[1]), 2)) as crew:\n"
        "    print(crew.process.pid, *(member['pid'] for member in crew.state()['members']), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with _process("-c", code, str(tmp_path), stdout=subprocess.PIPE, text=True) as harness:
        pids = list(map(int, harness.stdout.readline().split()))
        assert len(pids) == 3
        assert all(map(psutil.pid_exists, pids))
        harness.kill()
        harness.stdout.close()
        _wait_for(lambda: not any(map(psutil.pid_exists, pids)))


def test_an_interrupted_crew_is_gone_at_once(told, tmp_path):
    _ask(told, "/forget")
    with contextlib.suppress(KeyboardInterrupt), ENGINES["locust"].start(_plan(tmp_path, 2)) as crew:
        pids = [crew.process.pid, *(member["pid"] for member in _members(crew))]
        crew.submit(_job(told, Schedule.repeating([0] * 4, _request("/delay/30")), timeout_s=60), tmp_path)
        _wait_for(lambda: _seen(told)["waiting"] == 4)
        raise KeyboardInterrupt
    _wait_for(lambda: not any(map(psutil.pid_exists, pids)))


def test_a_port_that_is_taken_is_a_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as held:
        listen = held.getsockname()
        with (
            pytest.raises(HarnessError, match=f"cannot listen on 127.0.0.1:{listen[1]}"),
            ENGINES["locust"].start(_plan(tmp_path, 1, listen=listen)),
        ):
            pass


def test_without_locust_the_sentence_says_how_to_get_it(monkeypatch):
    assert locust_crew.missing() is None
    monkeypatch.setattr(locust_crew.importlib.util, "find_spec", lambda _: None)
    assert locust_crew.missing() == "Locust is not installed: pip install 'archbench[locust]'"


def test_neither_the_registry_nor_the_command_line_imports_locust():
    code = "import sys, cli, harness.run, harness.engines; print({'locust', 'gevent', 'zmq'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "set()"
    assert "locust" not in sys.modules


# -- workers from elsewhere ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _joined(folder, workers=1, host="127.0.0.1", prefix=()):
    """A crew with one worker that somebody starts by hand as soon as the master listens."""
    port, found = free_ports(1, random.Random())[0], []

    def join():
        _wait_for(lambda: _listens(host, port))
        command = [*prefix, ARCHBENCH, "worker", "--master", f"{host}:{port}"]
        found.append(_start_heeding(command, folder / "worker.said"))

    joining = threading.Thread(target=join)
    joining.start()
    try:
        with ENGINES["locust"].start(_plan(folder, workers, listen=(host, port), await_workers=1)) as crew:
            joining.join()
            yield crew, found[0]
    finally:
        joining.join()
        for process in found:
            process.kill()
            process.wait(timeout=10)


def _start_heeding(command, said):
    """A shell lets its background jobs ignore Ctrl-C, and what they start inherits that."""
    code = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
    with said.open("wb") as out:
        return subprocess.Popen([sys.executable, "-c", code, *command], stdout=out, stderr=out)


def _listens(host, port):
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def test_a_worker_from_elsewhere_has_its_share_and_its_clock_is_known(told, tmp_path):
    statuses = [210 + number % 89 for number in range(200)]
    with _joined(tmp_path) as (crew, worker):
        result = _run(crew, tmp_path, told, _one_after_the_other(statuses))
        here, there = crew.describe()["engine_members"]
    assert list(result.open.status) == statuses
    assert (here["local"], there["local"], there["number"]) == (True, False, 2)
    assert "clock_offset_ns" not in here
    # Both are on this machine and share its clock: the truth is 0.
    assert abs(there["clock_offset_ns"]) <= there["clock_error_ns"]
    assert worker.wait(timeout=30) == 0
    assert (tmp_path / "worker.said").read_text() == ""


def test_a_worker_from_elsewhere_that_leaves_is_named_and_the_next_job_refused(scripted, tmp_path):
    port, schedule = scripted("fast"), _schedule(100, 3)
    with _joined(tmp_path) as (crew, worker):
        pending = crew.submit(_job(port, schedule), tmp_path)
        time.sleep(1)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(timeout=20) == 130
        result = pending.wait(20)
        assert result.lost == [f"worker 2 of 2 ({socket.gethostname()}, pid {worker.pid})"]
        assert set(result.open.outcome[0::2]) == {OK}
        assert set(result.open.outcome[1::2]) == {DROPPED}
        with pytest.raises(HarnessError, match=r"worker 2 of 2 .* has gone; the crew cannot go on without it"):
            _run(crew, tmp_path, port, schedule)
    assert "Traceback" not in (tmp_path / "worker.said").read_text()


def test_a_worker_from_elsewhere_that_falls_silent_is_lost_by_its_heartbeat(scripted, tmp_path):
    with _joined(tmp_path) as (crew, worker):
        pending = crew.submit(_job(scripted("fast"), _schedule(50, 2)), tmp_path)
        worker.send_signal(signal.SIGSTOP)
        assert len(pending.wait(40).lost) == 1


def test_a_worker_whose_master_goes_away_ends_by_itself(tmp_path):
    with _joined(tmp_path) as (crew, worker):
        crew.process.kill()
        assert worker.wait(timeout=60) == 0


def test_one_worker_too_many_is_told_so(tmp_path):
    with _joined(tmp_path) as (crew, _):
        address = f"127.0.0.1:{crew.plan.listen[1]}"
        third = _archbench("worker", "--master", address)
        assert (third.returncode, third.stderr) == (1, "archbench: the crew is complete with 2 workers\n")
        assert crew.state()["whole"]


def _archbench(*arguments, **options):
    return subprocess.run([ARCHBENCH, *arguments], capture_output=True, text=True, timeout=90, check=False, **options)


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (("worker", "--master", "somewhere"), "'somewhere' is not HOST:PORT, for example", 2),
        (("worker", "--master", "host:99999"), "'host:99999' is not HOST:PORT", 2),
        (("worker", "--master", "127.0.0.1:1"), "no master answers at 127.0.0.1:1", 1),
        (("run", "--workers", "2"), "the native engine is one process; workers are for --engine locust", 2),
        (("run", "--listen", "127.0.0.1:5557"), "the native engine is one process", 2),
        (("run", "--engine", "locust", "--await-workers", "1"), "--await-workers needs --listen HOST:PORT", 2),
        (("run", "--engine", "locust", "--listen", "0.0.0.0:5557"), "'0.0.0.0' stands for every address", 2),
        (("run", "--engine", "locust", "--listen", "5557"), "'5557' is not HOST:PORT", 2),
    ],
)
def test_what_cannot_be_is_a_sentence_and_an_exit_code(arguments, says, code, tmp_path):
    result = _archbench(*arguments, cwd=tmp_path)
    assert result.stderr.startswith(f"archbench: {says}")
    assert len(result.stderr.splitlines()) == 1
    assert result.returncode == code
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_waits_for_its_master_may_be_interrupted(tmp_path):
    said = tmp_path / "said"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        worker = _start_heeding([ARCHBENCH, "worker", "--master", f"127.0.0.1:{silent.getsockname()[1]}"], said)
        silent.settimeout(40)
        silent.accept()[0].close()  # it is up, and waits for a word
        worker.send_signal(signal.SIGINT)
        assert worker.wait(timeout=30) == 130
    assert said.read_text() == ""


def test_workers_that_do_not_come_are_waited_for_only_so_long(tmp_path, monkeypatch):
    monkeypatch.setattr(locust_crew, "AWAIT_PATIENCE_S", 8.0)
    port = free_ports(1, random.Random())[0]
    says = f"1 of 3 load workers came within 8 s; start the others with: archbench worker --master 127.0.0.1:{port}"
    with (
        pytest.raises(HarnessError, match=says),
        ENGINES["locust"].start(_plan(tmp_path, 1, listen=("127.0.0.1", port), await_workers=2)),
    ):
        pass


@pytest.mark.parametrize("text", ["", ":", "host:", ":80", "host:-1", "host:0", "host:65536", "host:http"])
def test_an_address_is_a_host_and_a_port(text):
    assert locust_crew.parse_address("host:80") == ("host", 80)
    with pytest.raises(BadInputError, match="is not HOST:PORT"):
        locust_crew.parse_address(text)


# -- another host ----------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere():
    """A network namespace with an address of its own, as good as another host; yields (our address, its command)."""
    name, ours, theirs = f"ab{os.getpid()}", "198.18.77.1", "198.18.77.2"
    steps = [
        f"netns add {name}",
        f"link add {name}a type veth peer name {name}b netns {name}",
        f"addr add {ours}/30 dev {name}a",
        f"link set {name}a up",
        f"-n {name} addr add {theirs}/30 dev {name}b",
        f"-n {name} link set {name}b up",
    ]
    try:
        for step in steps:
            done = _ip(step)
            if done is not None:
                pytest.skip(f"no network namespace can be made here: {done}")
        yield ours, ["ip", "netns", "exec", name]
    finally:
        _ip(f"netns del {name}")


def _ip(arguments):
    """Return what was wrong, None when nothing was."""
    try:
        done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, timeout=20, check=False)
    except OSError as missing:
        return str(missing)
    return done.stderr.strip() or "failed" if done.returncode else None


def test_a_worker_on_another_host_carries_its_share(elsewhere, tmp_path):
    ours, inside = elsewhere
    port = free_ports(1, random.Random())[0]
    with _process("-m", "tests.functional.told_server", str(port), ours):
        _wait_for(lambda: _listens(ours, port))
        with _joined(tmp_path, host=ours, prefix=inside) as (crew, worker):
            result = _run(crew, tmp_path, port, _schedule(100, 1, "/status/200"), host=ours)
            there = crew.describe()["engine_members"][1]
        assert Counter(result.open.outcome) == {OK: 100}
        assert _seen(port, host=ours)["paths"] == {"/status": 100}
        assert abs(there["clock_offset_ns"]) <= there["clock_error_ns"]  # one kernel, one clock: the truth is 0
        assert worker.wait(timeout=30) == 0


# -- a run -----------------------------------------------------------------------------------------------------------

_SEARCH = dataclasses.replace(PROFILES["quick"].search, what="none")
TINY = dataclasses.replace(
    PROFILES["quick"],
    name="tiny",
    steady_blocks=1,
    fault_blocks=0,
    warmup_s=0.4,
    open_s=0.5,
    saturation_s=0.3,
    experiment_blocks=0,
    pilot_s=0.3,
    search=_SEARCH,
)


def _children():
    return {process.pid for process in psutil.Process().children(recursive=True)}


@pytest.mark.alone
@pytest.mark.parametrize("listen", ["127.0.0.1", "elsewhere"])
def test_a_whole_run_with_two_workers(tmp_path, request, listen):
    """Once on loopback, once with the platform on an address that others reach."""
    host = listen if listen == "127.0.0.1" else request.getfixturevalue(listen)[0]
    before = _children()
    wanted = RunRequest(
        load_scenario("ielts"),
        profile=TINY,
        flows=("login", "register"),
        modes=("direct", "gateway"),
        engine="locust",
        workers=2,
        listen=(host, 0),
        out=tmp_path,
    )
    outcomes = list(run(wanted))
    assert _children() == before, "the run left processes behind"
    record = RecordReader(outcomes[-1].run_dir)
    assert record.plan.engine == "locust"
    assert record.plan.settings["engine_workers"] == 2
    assert record.plan.settings["engine_version"].startswith("locust ")
    trials = list(record.trials())
    assert len(trials) >= 3
    for trial in trials:
        assert trial.error == ""
        rows = record.samples(trial.trial).to_pylist()
        assert trial.counts["planned"] == trial.counts["sent"] + trial.counts["dropped"] == len(rows)
        answered = [row for row in rows if row["outcome"] == "ok"]
        assert {row["flow"] for row in answered} == {"login", "register"}
        assert all(row["effect"] in {"met", "none"} for row in answered)
        assert trial.counts["error"] == trial.counts["dropped"] == 0
