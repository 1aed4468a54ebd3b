"""The load engine against targets whose behaviour is known: the instrument is tested before it is believed."""

import os
import random
import time
from collections import Counter

import numpy as np
import pytest

from gateway_proxy.http1 import render_request
from harness.engines.job import DROPPED, ERROR, OK, TIMEOUT, ClosedLoop, Job, Request, Schedule
from harness.engines.native import Engine
from harness.ports import free_ports

pytestmark = pytest.mark.functional

ACCEPTS = frozenset({200})


def _schedule(port, rate, seconds):
    payload = render_request("GET", "/", f"127.0.0.1:{port}")
    times = (int(number * 1e9 / rate) for number in range(int(rate * seconds)))
    return Schedule.repeating(times, Request(0, payload, ACCEPTS))


NONE = Schedule.of([])


def _run(port, schedule, timeout_s=5.0, **fields):
    job = Job(
        targets=[("127.0.0.1", port)],
        schedule=schedule,
        t0_ns=time.monotonic_ns() + 20_000_000,
        timeout_ns=int(timeout_s * 1e9),
        max_in_flight=fields.pop("max_in_flight", 4096),
        **fields,
    )
    return Engine(job).run()


def _corrected_ms(schedule, result):
    """Latency from the intended start, for answered requests."""
    pairs = zip(schedule.at_ns, result.open.done_ns, strict=True)
    return np.array([(done - due) / 1e6 for due, done in pairs if done >= 0])


def test_a_stall_is_charged_to_every_request_that_was_due_in_it(scripted):
    port = scripted("stall", 1.0)
    schedule = _schedule(port, rate=200, seconds=4)
    result = _run(port, schedule)
    latency = _corrected_ms(schedule, result)
    assert len(latency) == 800
    # One second of four: a quarter of the requests wait, uniformly between nothing and one second.
    assert np.percentile(latency, 90) == pytest.approx(1000 * (1 - 0.10 / 0.25), rel=0.1)
    assert np.percentile(latency, 99) == pytest.approx(1000 * (1 - 0.01 / 0.25), rel=0.1)
    assert latency.max() == pytest.approx(1000, rel=0.1)
    assert np.percentile(latency, 50) < 50


def test_a_closed_loop_over_the_same_stall_shows_it_to_one_request_per_connection_only(scripted):
    """The very mistake that the open loop is there to avoid (coordinated omission)."""
    port = scripted("stall", 1.0)
    request = Request(0, render_request("GET", "/", f"127.0.0.1:{port}"), ACCEPTS)
    result = _run(port, NONE, closed=ClosedLoop([request], 4, 0, int(3e9), repeat=True))
    service = (np.array(result.closed.done_ns) - np.array(result.closed.sent_ns)) / 1e6
    assert 1 <= (service > 500).sum() <= 4
    assert np.percentile(service, 99) < 100


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("fast", {OK: 1.0}),
        ("half", {OK: 0.5, ERROR: 0.5}),
        ("reset", {OK: 2 / 3, ERROR: 1 / 3}),
        ("garbage", {OK: 0.75, ERROR: 0.25}),
        ("silent", {TIMEOUT: 1.0}),
    ],
)
def test_every_planned_request_is_accounted_for_whatever_the_target_does(scripted, behaviour, expected):
    port = scripted(behaviour)
    schedule = _schedule(port, rate=300, seconds=1)
    result = _run(port, schedule, timeout_s=0.3)
    counts = Counter(result.open.outcome)
    assert sum(counts.values()) == len(schedule)
    assert counts[DROPPED] == 0
    for outcome, share in expected.items():
        assert counts[outcome] == pytest.approx(share * len(schedule), abs=3)
    answered = [done >= 0 for done in result.open.done_ns]
    assert sum(answered) == len(schedule) - counts[TIMEOUT]


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
    request = Request(0, render_request("GET", "/", f"127.0.0.1:{port}"), ACCEPTS)
    result = _run(port, NONE, closed=ClosedLoop([request], 16, 0, int(2e9), repeat=True))
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
