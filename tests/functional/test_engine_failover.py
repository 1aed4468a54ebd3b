"""The native engine with two equivalent targets, one of which dies: what is passed on, what is lost, what counted."""

import gc
import pickle
import socket
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from gateway_proxy.http1 import render_request
from harness.engines.board import new_board, read_board
from harness.engines.job import ERROR, OK, TIMEOUT, ClosedLoop, Job, Request, Schedule
from harness.engines.native import run_job
from harness.engines.native_failover import FailoverEngine
from stub_services.failover import CONNECT_TIMEOUT_S, PUT_ASIDE_S
from tests.functional.test_engine import _meanwhile, _reconcile, _rows, _Target

pytestmark = [pytest.mark.functional, pytest.mark.alone]

NONE = Schedule.of([])
LOCAL = "127.0.0.1"


@pytest.fixture
def pair():
    two = _Target(), _Target()
    for one in two:
        one.start()
    yield two
    for one in two:
        one.kill()


def _request(method="GET"):
    return Request(0, render_request(method, "/", "either", body=b"{}" if method == "POST" else None), frozenset({200}))


def _every(seconds, length_s, method="GET"):
    return Schedule.repeating((int(n * seconds * 1e9) for n in range(round(length_s / seconds))), _request(method))


def _run(ports, schedule=NONE, timeout_s=5.0, **fields):
    """Carry the job out over the first port and its alternatives; its books must balance as ever."""
    with tempfile.TemporaryDirectory() as folder:
        board = Path(folder) / "board"
        new_board(board)
        first, *others = [(LOCAL, port) for port in ports]
        t0_ns = time.monotonic_ns() + 20_000_000
        job = Job(
            [first], schedule, t0_ns, int(timeout_s * 1e9), 4096, board=str(board), alternatives=[others], **fields
        )
        try:
            result = FailoverEngine(job).run()
        finally:
            gc.enable()
        _reconcile(job, result, read_board(board))
    return result


def _counts(result):
    return Counter([*result.open.outcome, *result.closed.outcome])


def _load(loop, method, length_s):
    if loop == "open":
        return {"schedule": _every(0.004, length_s, method)}
    return {"closed": ClosedLoop([_request(method)], 4, 0, int(length_s * 1e9), repeat=True)}


def _service_ms(result):
    return [(done - sent) / 1e6 for sent, done, outcome in _rows(result.open) if outcome == OK]


def test_connections_are_spread_over_both_addresses_and_kept(scripted):
    result = _run([scripted("fast"), scripted("fast")], _every(0.004, 0.8))
    assert _counts(result) == {OK: 200}
    assert 2 <= result.connections_opened == len(result.failing_over.connects_ns) < 20
    assert not result.failing_over.failed_ns


def test_half_of_the_requests_go_to_each_address(scripted):
    """One of them never answers: what it gets times out, and is not sent again."""
    result = _run([scripted("fast"), scripted("silent")], _every(0.01, 0.4), timeout_s=0.3)
    assert _counts(result) == {OK: 20, TIMEOUT: 20}
    assert not result.failing_over.again_ns


@pytest.mark.parametrize("loop", ["open", "closed"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_death_of_one_of_two_costs_at_most_what_was_on_its_connections(pair, loop, method):
    """A GET is sent again, a POST is not: it may have arrived."""
    with _meanwhile(0.4, pair[0].kill):
        result = _run([one.port for one in pair], **_load(loop, method, 1.2))
    counts = _counts(result)
    assert set(counts) <= {OK, ERROR}
    assert counts[OK] > 200
    before = sum(at_ns < 0.5e9 for at_ns in result.failing_over.connects_ns)  # until the kill was over
    assert counts[ERROR] <= (0 if method == "GET" else before)
    assert method == "GET" or not result.failing_over.again_ns
    failed = result.failing_over.failed_ns
    assert 1 <= len(failed) <= before + 1.2 / PUT_ASIDE_S, "tried once, then put aside, then tried again now and then"
    assert min(failed) > 0.3e9


def test_an_instance_that_is_back_is_used_again(pair):
    def restart():
        pair[0].kill()
        time.sleep(0.1)
        pair[0].start()

    with _meanwhile(0.2, restart):
        result = _run([one.port for one in pair], _every(0.004, 2.4))
    assert _counts(result) == {OK: 600}
    last_failure = max(result.failing_over.failed_ns)
    assert max(result.failing_over.connects_ns) > last_failure, "connected to again"
    pair[1].kill()  # and now the one that was there all along
    result = _run([one.port for one in pair], _every(0.01, 0.2, "POST"))
    assert _counts(result) == {OK: 20}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_is_reset_before_its_answer_is_sent_again_only_if_it_is_idempotent(scripted, method):
    """The first address resets every third request that it gets."""
    result = _run([scripted("reset"), scripted("fast")], _every(0.01, 0.6, method))
    lost = 0 if method == "GET" else 10
    assert _counts(result) == Counter({OK: 60 - lost, ERROR: lost})
    assert len(result.failing_over.again_ns) == 10 - lost
    assert not result.failing_over.failed_ns


def test_a_connect_without_an_answer_is_given_up_and_the_request_goes_to_the_other_address(scripted):
    with socket.socket() as listener:
        listener.bind((LOCAL, 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        result = _run([listener.getsockname()[1], scripted("fast")], _every(0.02, 0.4, "POST"))
        for one in waiting:
            one.close()
    assert _counts(result) == {OK: 20}
    service = _service_ms(result)
    assert max(service) == pytest.approx(CONNECT_TIMEOUT_S * 1e3, rel=0.3)
    slow = [took for took in service if took > CONNECT_TIMEOUT_S * 900]
    assert len(slow) == len(result.failing_over.failed_ns)


@pytest.mark.parametrize("loop", ["open", "closed"])
def test_with_both_gone_every_request_is_an_error_at_once_and_the_loop_ends_in_time(pair, loop):
    for one in pair:
        one.kill()
    began = time.monotonic()
    result = _run([one.port for one in pair], **_load(loop, "GET", 0.4))
    assert time.monotonic() - began < 2.0
    counts = _counts(result)
    assert set(counts) == {ERROR}
    assert len(result.failing_over.failed_ns) == 2 * counts[ERROR]


def test_a_job_without_alternatives_is_carried_out_by_the_engine_that_knows_none(scripted, tmp_path):
    for number, alternatives in enumerate([[], [[(LOCAL, scripted("fast"))]]]):
        job_path, result_path = tmp_path / f"job{number}", tmp_path / f"result{number}"
        job = Job([(LOCAL, scripted("fast"))], _every(0.01, 0.1), time.monotonic_ns(), int(5e9), 10)
        job.alternatives.extend(alternatives)
        job_path.write_bytes(pickle.dumps(job))
        run_job(str(job_path), str(result_path))
        gc.enable()
        result = pickle.loads(result_path.read_bytes())
        assert _counts(result) == {OK: 10}
        assert bool(result.failing_over.connects_ns) == bool(alternatives)
