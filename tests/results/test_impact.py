"""Impact, states and blast radius on bare counts."""

import pytest

from results.blast import radii
from results.estimate import compare
from results.impact import (
    Case,
    Counts,
    FlowImpact,
    Interval,
    impact_interval,
    impact_point,
    judge_state,
    more_fault_blocks,
)
from scenarios.model import Flow

LATENCY_SAME = compare({0: 1.0, 1: 1.01, 2: 0.99}, {0: 1.0, 1: 1.0, 2: 1.0})
LATENCY_DOUBLE = compare({0: 2.5, 1: 2.51, 2: 2.49}, {0: 1.0, 1: 1.0, 2: 1.0})
LATENCY_OPEN = compare({0: 1.0, 1: 4.0}, {0: 1.0, 1: 1.0})


def counts(*failed, offered=200):
    return tuple(Counts(offered, offered - f, offered - f, 0, 500, 500) for f in failed)


def state(counted, latency=None):
    return judge_state(impact_interval(counted, 0.95), impact_interval(counted, 0.90), latency)[0]


def test_impact_is_what_is_lost_of_the_controls_goodput():
    one = (Counts(offered=100, success=40, answered=40, degraded=0, control_offered=200, control_success=160),)
    assert impact_point(one) == pytest.approx(1 - 0.4 / 0.8)


def test_nothing_offered_or_a_dead_control_has_no_impact():
    assert impact_point(()) is None
    assert impact_point((Counts(0, 0, 0, 0, 10, 10),)) is None
    assert impact_point((Counts(10, 5, 5, 0, 10, 0),)) is None


def test_equal_blocks_do_not_make_a_certain_interval():
    at90 = impact_interval(counts(0, 0, offered=20), 0.90)
    assert at90.high == pytest.approx(1 - 0.05 ** (1 / 40))
    assert state(counts(0, 0, offered=20)) == "undetermined"


def test_the_interval_holds_both_of_its_parts():
    apart, alike = impact_interval(counts(20, 180), 0.95), impact_interval(counts(100, 100), 0.95)
    assert apart.low < alike.low
    assert apart.high == 1.0


def test_one_block_gives_no_interval():
    assert impact_interval(counts(0), 0.95) == Interval(None, None)
    assert state(counts(0)) == "undetermined"


@pytest.mark.parametrize(
    ("counted", "latency", "expected"),
    [
        (counts(0, 0), None, "unaffected"),
        (counts(0, 0), LATENCY_SAME, "unaffected"),
        (counts(0, 0), LATENCY_DOUBLE, "degraded"),
        (counts(0, 0), LATENCY_OPEN, "undetermined"),
        (counts(200, 200), None, "degraded"),
        (counts(100, 101), None, "degraded"),
        (counts(11, 12), None, "affected"),
        (counts(2, 2), None, "undetermined"),
        (counts(20, 180), None, "undetermined"),
    ],
)
def test_a_state_is_shown_and_never_assumed(counted, latency, expected):
    assert state(counted, latency) == expected


def test_blocks_enough_for_a_state_are_asked_for():
    few = counts(0, 0, offered=30)
    flow = impact_of("a", few)
    assert flow.state == "undetermined"
    assert len(few) + more_fault_blocks(flow) == 10  # 299 arrivals without a failure, 30 a block
    assert more_fault_blocks(impact_of("a", counts(0, 0))) is None


def impact_of(name, counted, needs=("auth",), weight=1.0, origin="external"):
    flow = Flow(name=name, origin=origin, service="auth", needs=needs, weight=weight)
    at95, at90 = impact_interval(counted, 0.95), impact_interval(counted, 0.90)
    found, possibly = judge_state(at95, at90, None)
    return FlowImpact(
        Case("crash", "user", "direct"), flow, counted, impact_point(counted), at95, at90, None, found, possibly
    )


DOWN, UP, OPEN = counts(200, 200), counts(0, 0), counts(0, 0, offered=20)


@pytest.mark.parametrize(
    ("flows", "expected"),
    [
        ([impact_of("a", DOWN, needs=("user",)), impact_of("b", UP)], "isolated"),
        ([impact_of("a", DOWN), impact_of("b", UP)], "partial"),
        ([impact_of("a", DOWN, weight=8), impact_of("b", UP, weight=2)], "system-wide"),
        ([impact_of("a", DOWN, weight=7.9), impact_of("b", UP, weight=2.1)], "partial"),
        ([impact_of("a", DOWN, weight=8), impact_of("b", OPEN, weight=2)], "system-wide"),
        ([impact_of("a", DOWN, needs=("user",)), impact_of("b", OPEN)], "undetermined"),
        ([impact_of("a", DOWN, needs=("user",))], "isolated"),
    ],
)
def test_a_case_is_classified_only_when_it_is_certain(flows, expected):
    assert radii(flows)[0].classification == expected


def test_an_undetermined_flow_leaves_the_radius_between_two_ends():
    whole = radii([impact_of("a", DOWN, needs=("user",)), impact_of("b", OPEN), impact_of("c", UP)])[0]
    assert (whole.inherent, whole.measured.low, whole.measured.high) == pytest.approx((1 / 3, 1 / 3, 2 / 3))
    assert whole.possible == ("isolated", "partial", "system-wide")[: len(whole.possible)]
    assert "isolated" in whole.possible


def test_origins_have_totals_of_their_own():
    found = {r.origin: r for r in radii([impact_of("a", DOWN), impact_of("b", UP, origin="internal")])}
    assert found["external"].degraded.low == 1
    assert found["internal"].classification == "isolated"
