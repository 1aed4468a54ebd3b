"""The load engine against targets whose behaviour is known: the instrument is tested before it is believed."""

import contextlib
import gc
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pytest

from gateway_proxy.http1 import ResponseParser, render_request
from harness.engines import native
from harness.engines.board import new_board, read_board
from harness.engines.job import DROPPED, ERROR, OK, TIMEOUT, ClosedLoop, Job, Request, Schedule
from harness.engines.native import Engine, run_job
from harness.ports import free_ports
from tests.bench.rig import wait_for_port
from tests.functional.scripted_server import ANSWERED_BEFORE_SILENCE

pytestmark = [pytest.mark.functional, pytest.mark.alone]

ACCEPTS = frozenset({200})
HUGE_BYTES = 100_000_000
GROWTH_LIMIT_BYTES = 20_000_000
BYTES_PER_REQUEST = 100
ARCHBENCH = str(Path(sys.executable).with_name("archbench"))


def _get(port):
    return Request(0, render_request("GET", "/", f"127.0.0.1:{port}"), ACCEPTS)


def _due(rate, seconds):
    return (int(number * 1e9 / rate) for number in range(round(rate * seconds)))


def _schedule(port, rate, seconds):
    return Schedule.repeating(_due(rate, seconds), _get(port))


NONE = Schedule.of([])


def _job(port, schedule, timeout_s=5.0, max_in_flight=4096, **fields):
    t0_ns = time.monotonic_ns() + 20_000_000
    return Job([("127.0.0.1", port)], schedule, t0_ns, int(timeout_s * 1e9), max_in_flight, **fields)


def _run(port, schedule, **fields):
    """Carry the job out; whatever it is about, its books must balance."""
    with tempfile.TemporaryDirectory() as folder:
        board = Path(folder) / "board"
        new_board(board)
        job = _job(port, schedule, board=str(board), **fields)
        try:
            result = Engine(job).run()
        finally:
            gc.enable()  # the engine has a process of its own as a rule, and collects nothing in it
        _reconcile(job, result, read_board(board))
    return result


def _reconcile(job, result, progress):
    """planned = sent + dropped and sent = ok + error + timeout, request by request; the board says the same."""
    rows = [row for part in (result.open, result.closed) for row in _rows(part)]
    counts = Counter(outcome for _, _, outcome in rows)
    assert len(result.open.outcome) == len(job.schedule)
    for sent, done, outcome in rows:
        assert (sent >= 0) == (outcome != DROPPED)
        assert (done >= sent) if outcome in {OK, ERROR} else done == -1
    assert result.capped == counts[DROPPED]
    told = (progress.ok, progress.error, progress.timeout, progress.dropped)
    assert told == (counts[OK], counts[ERROR], counts[TIMEOUT], counts[DROPPED])
    assert progress.sent == len(rows) - counts[DROPPED]
    assert progress.in_flight == 0


def _rows(part):
    return zip(part.sent_ns, part.done_ns, part.outcome, strict=True)


def _loops(loop, port, seconds):
    """A load for this long as arguments of _run: open at 300 requests a second, or closed over four connections."""
    if loop == "open":
        return {"schedule": _schedule(port, rate=300, seconds=seconds)}
    return {"schedule": NONE, "closed": ClosedLoop([_get(port)], 4, 0, int(seconds * 1e9), repeat=True)}


def _outcomes(result):
    return [*result.open.outcome, *result.closed.outcome]


def _corrected_ms(schedule, result):
    """Latency from the intended start, for answered requests."""
    pairs = zip(schedule.at_ns, result.open.done_ns, strict=True)
    return np.array([(done - due) / 1e6 for due, done in pairs if done >= 0])


@pytest.mark.parametrize(
    ("behaviour", "seconds", "percentiles"),
    [("stall", 4, (90, 99, 100)), ("stall_early", 1.1, (50, 90, 99, 100))],
)
def test_a_stall_is_charged_to_every_request_that_was_due_in_it(scripted, behaviour, seconds, percentiles):
    """Of a schedule of T seconds the share 1 / T is due in the stall and waits, uniformly, for 0 to 1 s.

    A busy machine prolongs the stall: the least disturbed of three runs counts. What left out requests would do so in
    every run, and fall short by far more than a tenth.
    """
    closed_form = [1000 * (1 - (1 - percentile / 100) * seconds) for percentile in percentiles]
    found = []
    for _ in range(3):
        found.append(np.percentile(_stalled(scripted(behaviour, 1.0), seconds), percentiles))
        if np.allclose(found[-1], closed_form, rtol=0.1):
            return
    pytest.fail(f"{found}, and the closed form is {closed_form}")


def _stalled(port, seconds):
    """Return the latencies; most requests are due outside a stall of less than half of the schedule and do not wait."""
    schedule = _schedule(port, rate=100, seconds=seconds)
    latency = _corrected_ms(schedule, _run(port, schedule))
    assert len(latency) == len(schedule) == round(100 * seconds)
    assert seconds < 2 or np.percentile(latency, 50) < 100
    return latency


def test_a_closed_loop_over_the_same_stall_shows_it_to_one_request_per_connection_only(scripted):
    """The very mistake that the open loop is there to avoid (coordinated omission)."""
    port = scripted("stall", 1.0)
    result = _run(port, NONE, closed=ClosedLoop([_get(port)], 4, 0, int(3e9), repeat=True))
    service = (np.array(result.closed.done_ns) - np.array(result.closed.sent_ns)) / 1e6
    assert 1 <= (service > 500).sum() <= 4
    assert np.percentile(service, 99) < 100


@pytest.mark.parametrize("loop", ["open", "closed"])
@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("fast", {OK: 1.0}),
        ("half", {OK: 0.5, ERROR: 0.5}),
        ("reset", {OK: 2 / 3, ERROR: 1 / 3}),
        ("garbage", {OK: 0.75, ERROR: 0.25}),
        ("silent", {TIMEOUT: 1.0}),
        ("closing", {OK: 1.0}),
        ("until_close", {OK: 1.0}),
        ("surplus", {ERROR: 1.0}),
        ("trickle", {TIMEOUT: 1.0}),
    ],
)
def test_every_planned_request_is_accounted_for_whatever_the_target_does(scripted, behaviour, expected, loop):
    port = scripted(behaviour)
    result = _run(port, **_loops(loop, port, 0.5), timeout_s=0.3 if TIMEOUT in expected else 5.0)
    outcomes = _outcomes(result)
    counts = Counter(outcomes)
    assert len(outcomes) >= 4
    assert counts.keys() == expected.keys()
    for outcome, share in expected.items():
        assert counts[outcome] == pytest.approx(share * len(outcomes), abs=3)


def test_the_deadline_of_a_request_is_its_own_and_not_that_of_others_before_it_on_its_connection(scripted, monkeypatch):
    given_up_after_ms, fail = [], native._Connection.fail

    def spied(connection, outcome):
        waited_ns = connection.engine.clock() - connection.engine.t0_ns - connection.rows.sent_ns[connection.row]
        given_up_after_ms.append(waited_ns / 1e6)
        fail(connection, outcome)

    monkeypatch.setattr(native._Connection, "fail", spied)
    port = scripted("falls_silent")
    result = _run(port, _schedule(port, rate=100, seconds=1.1), timeout_s=0.3)
    counts = Counter(result.open.outcome)
    assert (counts[OK], counts[TIMEOUT]) == (ANSWERED_BEFORE_SILENCE, len(given_up_after_ms))
    assert min(given_up_after_ms) >= 300
    assert max(given_up_after_ms) < 400


@pytest.mark.parametrize("loop", ["open", "closed"])
def test_a_connection_that_its_target_closed_while_idle_costs_at_most_the_request_on_it(scripted, loop):
    """Whether a request meets the close is a race; that neither it nor another one hangs for that is not."""
    port = scripted("hangup")
    outcomes = _outcomes(_run(port, **_loops(loop, port, 1.0), timeout_s=10.0))
    assert set(outcomes) <= {OK, ERROR}
    assert outcomes.count(OK) > 0


def test_closed_connections_are_not_kept(scripted):
    """The engine collects no garbage while it runs, so that it must not make any: ten minutes are long."""
    port = scripted("closing")
    gc.collect()
    before = _count(ResponseParser)
    engine = Engine(_job(port, NONE, closed=ClosedLoop([_get(port)] * 500, 4, 0, int(60e9))))
    try:
        result = engine.run()
        kept = _count(ResponseParser) - before
    finally:
        gc.enable()
    assert result.connections_opened == 500
    assert kept <= 4
    assert len(engine.watches) < 300


def _count(kind):
    return sum(isinstance(one, kind) for one in gc.get_objects())


class _Target:
    """A scripted server that tests may kill, and start again on its port."""

    def __init__(self):
        self.port = free_ports(1, random.Random())[0]
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "tests.functional.scripted_server", str(self.port), "fast"]
        self.process = subprocess.Popen(command)
        wait_for_port(self.port)

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=10)


@pytest.fixture
def target():
    one = _Target()
    one.start()
    yield one
    one.kill()


@contextlib.contextmanager
def _meanwhile(delay_s, action):
    """Do something while the block runs."""
    timer = threading.Timer(delay_s, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.parametrize("loop", ["open", "closed"])
def test_a_target_that_is_killed_is_errors_from_then_on(target, loop):
    with _meanwhile(0.5, target.kill):
        outcomes = _outcomes(_run(target.port, **_loops(loop, target.port, 2.0), timeout_s=10.0))
    assert set(outcomes) == {OK, ERROR}
    assert outcomes[0] == OK
    assert set(outcomes[-100:]) == {ERROR}


@pytest.mark.parametrize("loop", ["open", "closed"])
def test_a_target_that_is_killed_and_comes_again_is_used_again(target, loop):
    back_ns = []

    def restart():
        target.kill()
        time.sleep(0.3)
        target.start()
        back_ns.append(time.monotonic_ns())

    began_ns = time.monotonic_ns()
    with _meanwhile(0.5, restart):
        result = _run(target.port, **_loops(loop, target.port, 5.0), timeout_s=20.0)
    rows = [*_rows(result.open), *_rows(result.closed)]
    outcomes = [outcome for _, _, outcome in rows]
    assert set(outcomes) == {OK, ERROR}
    assert outcomes[0] == OK
    down = [sent for sent, _, outcome in rows if outcome == ERROR]
    assert max(down) - min(down) > 0.25e9
    # t0 is later than `began_ns`: a request that was sent so long after it found the target there.
    back = [outcome for sent, _, outcome in rows if sent > back_ns[0] - began_ns]
    assert set(back) == {OK}


@contextlib.contextmanager
def _growth():
    """Yield a list that gets, at the end, by how many bytes this process grew at most while the block ran."""
    process, over, found = psutil.Process(), threading.Event(), []
    before = peak = process.memory_info().rss

    def watch():
        nonlocal peak
        while not over.wait(0.005):
            peak = max(peak, process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        found.append(peak - before)


@pytest.mark.parametrize("loop", ["open", "closed"])
@pytest.mark.parametrize("behaviour", ["huge", "huge_chunked"])
def test_huge_answers_are_read_to_their_end_and_not_kept(scripted, behaviour, loop):
    port = scripted(behaviour)
    request = _get(port)
    load = {"schedule": Schedule.repeating([0, 0, 100_000_000], request)}
    if loop == "closed":
        load = {"schedule": NONE, "closed": ClosedLoop([request] * 3, 2, 0, int(60e9))}
    with _growth() as growth:
        outcomes = _outcomes(_run(port, **load, timeout_s=60.0))
    assert outcomes == [OK] * 3
    assert growth[0] < GROWTH_LIMIT_BYTES


@pytest.mark.parametrize("loop", ["open", "closed"])
@pytest.mark.parametrize(
    ("behaviour", "expected"), [("sink", {OK}), ("early", {OK}), ("early_close", {OK, ERROR}), ("silent", {TIMEOUT})]
)
def test_huge_requests_are_sent_without_a_copy_and_answers_may_come_early(scripted, behaviour, expected, loop):
    """Where the target closes on the rest of the request the kernel may throw its answer away: an error is true too."""
    port = scripted(behaviour)
    payload = render_request("POST", "/", f"127.0.0.1:{port}", body=b"x" * HUGE_BYTES)
    request = Request(0, payload, ACCEPTS)
    load = {"schedule": Schedule.repeating([0, 0, 100_000_000], request)}
    if loop == "closed":
        load = {"schedule": NONE, "closed": ClosedLoop([request] * 3, 2, 0, int(60e9))}
    with _growth() as growth:
        outcomes = _outcomes(_run(port, **load, timeout_s=0.5 if expected == {TIMEOUT} else 60.0))
    assert len(outcomes) == 3
    assert set(outcomes) <= expected
    assert growth[0] < GROWTH_LIMIT_BYTES


def _traced_peak(action):
    """Do something; return what it returns and how many bytes it held at most."""
    gc.collect()
    tracemalloc.start()
    try:
        return action(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.enable()


def test_a_request_costs_at_most_a_hundred_bytes_from_the_plan_to_the_result(tmp_path):
    """300 000 requests, planned and handed over by one process, carried out and handed back by the other.

    None of them is allowed out, so that it takes no time; a row costs the same whatever becomes of its request.
    """
    count, job_path, result_path = 300_000, tmp_path / "job", tmp_path / "result"

    def plan():
        schedule = Schedule.repeating((number * 1000 for number in range(count)), _get(80))
        job_path.write_bytes(pickle.dumps(_job(80, schedule, max_in_flight=0), protocol=pickle.HIGHEST_PROTOCOL))

    _, planned = _traced_peak(plan)
    _, carried_out = _traced_peak(lambda: run_job(str(job_path), str(result_path)))
    result, read = _traced_peak(lambda: pickle.loads(result_path.read_bytes()))
    assert result.open.outcome.count(DROPPED) == result.capped == count
    for peak in (planned, carried_out, read):
        assert 19 < peak / count <= BYTES_PER_REQUEST


def test_an_overloaded_generator_is_told_from_a_slow_target(scripted):
    """No process sends a request every five microseconds: what it measures is itself, and it has to say so."""
    url = f"http://127.0.0.1:{scripted('fast')}/"
    command = [ARCHBENCH, "load", url, "--rate", "200000", "--duration", "0.02", "--connections", "4000", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    figures = json.loads(done.stdout)
    assert done.returncode == 5
    assert not figures["valid"]
    assert any("generator" in reason or "slip" in reason for reason in figures["reasons"])
    assert figures["planned"] == figures["sent"] + figures["dropped"]
    assert figures["sent"] == figures["completed"] + figures["errors"] + figures["timeouts"]


def test_the_board_says_while_it_runs_how_far_the_engine_is(scripted, tmp_path):
    port = scripted("half")
    board = tmp_path / "board"
    new_board(board)
    schedule = _schedule(port, rate=100, seconds=3)
    job = _job(port, schedule, board=str(board))
    seen = []
    with _meanwhile(1.0, lambda: seen.append(read_board(board))):
        result = Engine(job).run()
    gc.enable()
    last = read_board(board)
    assert 0 < seen[0].sent < len(schedule)
    assert 0 < seen[0].at_ns < last.at_ns
    assert (last.sent, last.ok, last.error) == (300, result.open.outcome.count(OK), result.open.outcome.count(ERROR))
    assert last.ok + last.error == 300


def test_nobody_listening_is_an_error_at_once_and_not_a_timeout():
    port = free_ports(1, random.Random())[0]
    schedule = _schedule(port, rate=200, seconds=0.5)
    result = _run(port, schedule, timeout_s=2.0)
    assert set(result.open.outcome) == {ERROR}
    assert _corrected_ms(schedule, result).max() < 500


def test_requests_over_the_in_flight_cap_are_dropped_and_counted(scripted):
    port = scripted("silent")
    schedule = _schedule(port, rate=200, seconds=0.5)
    result = _run(port, schedule, timeout_s=1.5, max_in_flight=10)
    counts = Counter(result.open.outcome)
    assert counts == {TIMEOUT: 10, DROPPED: 90}
    assert result.capped == 90


def test_requests_go_out_when_they_are_due(scripted):
    port = scripted("fast")
    schedule = _schedule(port, rate=500, seconds=2)
    result = _run(port, schedule)
    slip = np.array(result.open.sent_ns) - np.array(schedule.at_ns)
    assert (slip >= 0).all()
    assert np.median(slip) < 1e6  # a loop that sleeps in whole milliseconds would not reach this


def test_littles_law_holds_in_a_closed_loop(scripted):
    """N = X * R: connections = throughput times mean time in the system."""
    port = scripted("fast")
    result = _run(port, NONE, closed=ClosedLoop([_get(port)], 16, 0, int(2e9), repeat=True))
    sent, done = np.array(result.closed.sent_ns), np.array(result.closed.done_ns)
    throughput = len(done) / ((done.max() - sent.min()) / 1e9)
    assert throughput * ((done - sent).mean() / 1e9) == pytest.approx(16, rel=0.05)


def test_cpu_clocks_are_read_at_the_marks(scripted):
    port = scripted("fast")
    result = _run(
        port, _schedule(port, 100, 0.5), marks_ns=[0, 250_000_000, 600_000_000], watched={"self": os.getpid()}
    )
    assert [mark.at_ns // 10_000_000 for mark in result.marks] == [0, 25, 60]
    used = [mark.cpu_ns["self"] for mark in result.marks]
    assert used == sorted(used)
    assert used[-1] > used[0]
