"""What voids a trial, by rules that look at the instrument and the host and never at an outcome."""

from array import array
from collections import deque

import pytest

from harness.engines.job import LoadResult, Rows
from harness.run import _insert_rerun
from harness.trialdoubts import CORE_STALLED, fault_doubts, load_doubts, stall_doubts
from harness.watchdog import Stall
from results.record import Event, PlannedTrial, Window

WINDOWS = [Window("warmup", 0, 100_000_000), Window("open", 100_000_000, 600_000_000)]
T0 = 5_000_000_000


def _samples(slips_us, outcome="ok"):
    intended = [100_000_000 + number * 1_000_000 for number in range(len(slips_us))]
    return {
        "intended_ns": intended,
        "sent_ns": [due + int(slip * 1000) for due, slip in zip(intended, slips_us, strict=True)],
        "window": ["open"] * len(slips_us),
        "outcome": [outcome] * len(slips_us),
    }


def _result(**fields):
    nothing = Rows(array("q"), array("q"), array("h"), array("b"))
    values = {"busy_share": 0.3, "late_start_ns": 0, "capped": 0, "closed_end_ns": -1, "connections_opened": 1}
    return LoadResult(nothing, nothing, [], **(values | fields))


def _names(samples, result, sent=None):
    _, doubts = load_doubts(samples, len(samples["sent_ns"]) if sent is None else sent, result, WINDOWS[0], 10)
    assert all(doubt.fatal for doubt in doubts)
    return [doubt.name for doubt in doubts]


def test_a_healthy_generator_raises_no_doubt():
    assert _names(_samples([5.0] * 100), _result()) == []


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"late_start_ns": 60_000_000}, "generator_late_start"),
        ({"capped": 1}, "in_flight_cap_hit"),
        ({"busy_share": 0.95}, "generator_busy"),
    ],
)
def test_a_generator_at_its_limits_voids_the_trial(fields, name):
    assert _names(_samples([5.0] * 100), _result(**fields)) == [name]


def test_a_load_worker_that_was_lost_voids_the_trial_and_is_named():
    lost = "worker 2 of 3 (elsewhere, pid 123)"
    samples = _samples([5.0] * 100)
    _, doubts = load_doubts(samples, 100, _result(lost=[lost]), WINDOWS[0], 10)
    assert [(doubt.name, doubt.fatal) for doubt in doubts] == [("load_worker_lost", True)]
    assert lost in doubts[0].advice


def test_requests_that_were_never_started_void_the_trial():
    assert _names(_samples([5.0] * 100, outcome="dropped"), _result()) == ["rate_not_achieved"]


def test_what_services_start_by_themselves_is_not_charged_to_the_generator():
    samples = _samples([5.0] * 50 + [9000.0] * 50)
    figures, _ = load_doubts(samples, 50, _result(), WINDOWS[0], 10)
    assert figures["slip_p99_us"] == pytest.approx(5.0)
    figures, _ = load_doubts(samples, 100, _result(), WINDOWS[0], 10)
    assert figures["slip_p99_us"] == pytest.approx(9000.0)


@pytest.mark.parametrize(
    ("at_ms", "late_ms", "void"),
    [(200, 30, True), (200, 10, False), (10, 30, False), (90, 30, True), (590, 30, True), (700, 30, False)],
)
def test_a_core_that_stood_still_inside_a_measured_window_voids_the_trial(at_ms, late_ms, void):
    stalls = [Stall(T0 + at_ms * 1_000_000, late_ms * 1_000_000)]
    assert [doubt.name for doubt in stall_doubts(stalls, T0, WINDOWS)] == ([CORE_STALLED] if void else [])


def test_a_fault_must_be_seen_to_come_and_to_go():
    both = [Event(1, "fault_seen"), Event(2, "heal_seen")]
    assert fault_doubts(both) == []
    assert [doubt.name for doubt in fault_doubts(both[:1])] == ["heal_not_observed"]
    assert [doubt.name for doubt in fault_doubts(both[1:])] == ["fault_not_observed"]


def test_a_trial_that_is_run_again_comes_at_the_end_of_its_own_block():
    queue = deque([PlannedTrial(1, 0, "gateway", "gateway"), PlannedTrial(2, 1, "direct", "direct")])
    _insert_rerun(queue, PlannedTrial(0, 0, "hybrid", "hybrid"), 3)
    assert [(trial.index, trial.block, trial.arm) for trial in queue] == [
        (1, 0, "gateway"),
        (3, 0, "hybrid"),
        (2, 1, "direct"),
    ]
