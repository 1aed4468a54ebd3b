"""The sweeper in a loop of its own with a flow that takes notes."""

import asyncio
import time

import pytest
import uvloop

from stub_services.alarm import Alarm
from stub_services.policies import Result
from stub_services.pool import Reply
from stub_services.sweeps import Sweeper, read_schedule, read_sweeps, write_schedule

MS = 1_000_000


class Flow:
    """Notes who was asked for; `result` may be an exception."""

    def __init__(self, result=None):
        self.learners = []
        self.result = result or Result("ok", 1, Reply(200))

    async def __call__(self, learner):
        self.learners.append(learner)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def run(scenario):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(scenario(), 10))


def sweep(tmp_path, entries, flow, seconds=0.3, loads=1):
    """Run a sweeper over entries of (ms from now, learner) and return what its log says."""

    async def scenario():
        now = time.monotonic_ns()
        write_schedule(tmp_path / "schedule", [(now + ms * MS, learner) for ms, learner in entries])
        sweeper = Sweeper(flow, tmp_path / "schedule", tmp_path / "course.sweeps")
        for _ in range(loads):
            sweeper.load()
        await asyncio.sleep(seconds)
        sweeper.close()

    run(scenario)
    return read_sweeps(tmp_path / "course.sweeps")


def test_a_schedule_comes_back_as_it_was_written(tmp_path):
    entries = [(1, 2), (3, 4)]
    write_schedule(tmp_path / "schedule", entries)
    assert read_schedule(tmp_path / "schedule") == entries
    assert read_schedule(tmp_path / "nothing") == []


def test_each_entry_starts_one_flow_at_its_time(tmp_path):
    flow = Flow()
    rows = sweep(tmp_path, [(100, 8), (40, 7), (100, 9)], flow)
    assert flow.learners == [7, 8, 9]
    assert [(row.entry, row.learner, row.outcome, row.status) for row in rows] == [
        (1, 7, "ok", 200),
        (0, 8, "ok", 200),
        (2, 9, "ok", 200),
    ]
    for row in rows:
        assert row.intended_ns <= row.started_ns <= row.done_ns
        assert row.started_ns - row.intended_ns < 50 * MS


def test_many_that_are_due_at_once_all_start(tmp_path):
    flow = Flow()
    sweep(tmp_path, [(30, learner) for learner in range(200)], flow)
    assert sorted(flow.learners) == list(range(200))


def test_what_was_due_while_the_service_was_down_is_never_started(tmp_path):
    flow = Flow()
    sweep(tmp_path, [(-60, 1), (-20, 2), (30, 3)], flow)
    assert flow.learners == [2, 3]


def test_a_schedule_read_again_starts_nothing_twice(tmp_path):
    flow = Flow()
    sweep(tmp_path, [(-10, 1), (30, 2)], flow, loads=3)
    assert sorted(flow.learners) == [1, 2]


def test_a_process_that_starts_again_starts_nothing_twice(tmp_path):
    flow = Flow()

    async def scenario():
        write_schedule(tmp_path / "schedule", [(time.monotonic_ns(), 1)])
        for _ in range(2):
            sweeper = Sweeper(flow, tmp_path / "schedule", tmp_path / "course.sweeps")
            sweeper.load()
            await asyncio.sleep(0.01)
            sweeper.close()

    run(scenario)
    assert flow.learners == [1]


@pytest.mark.parametrize(
    ("result", "outcome", "status"),
    [
        (Result("error", 1, Reply(503)), "error", 503),
        (Result("timeout", 1, Reply(failure="timeout")), "timeout", 0),
        (Result("rejected", 0, Reply()), "error", 0),
        (RuntimeError("broken flow"), "error", 0),
    ],
)
def test_outcomes_are_written_down(tmp_path, result, outcome, status):
    (row,) = sweep(tmp_path, [(10, 1)], Flow(result), 0.1)
    assert (row.outcome, row.status) == (outcome, status)


def test_work_that_was_cut_off_is_known_to_have_begun(tmp_path):
    async def never(_learner):
        await asyncio.sleep(60)

    (row,) = sweep(tmp_path, [(10, 1)], never, 0.1)
    assert (row.done_ns, row.outcome) == (-1, "")


def test_a_torn_last_record_is_left_out(tmp_path):
    sweep(tmp_path, [(10, 1)], Flow(), 0.1)
    path = tmp_path / "course.sweeps"
    path.write_bytes(path.read_bytes()[:-5])
    assert [(row.entry, row.outcome) for row in read_sweeps(path)] == [(0, "")]


@pytest.mark.parametrize("timerfd", [True, False])
def test_the_alarm_rings_once_and_not_when_cancelled(monkeypatch, timerfd):
    if not timerfd:
        monkeypatch.setattr(Alarm, "_open", lambda _alarm: -1)
    rung = []

    async def scenario():
        alarm = Alarm(lambda: rung.append(time.monotonic_ns()))
        due = time.monotonic_ns() + 20 * MS
        alarm.set(due - 10 * MS)
        alarm.set(due)
        await asyncio.sleep(0.1)
        assert len(rung) == 1
        assert rung[0] >= due
        alarm.set(time.monotonic_ns() + 10 * MS)
        alarm.cancel()
        await asyncio.sleep(0.05)
        alarm.set(1)
        await asyncio.sleep(0.05)
        alarm.close()

    run(scenario)
    assert len(rung) == 2
