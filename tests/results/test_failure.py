"""Recovery, consistency, retry amplification and the pictures' data, from records of known worlds."""

from dataclasses import replace

import numpy as np
import pytest

from results.build import build
from results.consistency import nested_worst
from results.impact import Case
from results.recovery import first_hold
from tests.results.synthetic import World, crash_fate, write_record

CASE = Case("crash", "user", "direct")


def only(mode="direct", target="user", **more):
    keep = lambda t: not t.fault or (t.mode == mode and t.fault == f"crash:{target}")  # noqa: E731
    return World(claims=[], keep=keep, open_requests=300, **more)


@pytest.fixture(scope="module")
def healed(tmp_path_factory):
    return build(write_record(tmp_path_factory.mktemp("healed"), only()))


@pytest.fixture(scope="module")
def stuck(tmp_path_factory):
    return build(write_record(tmp_path_factory.mktemp("stuck"), only(recovers=False, fate=orphaning)))


def orphaning(mode, target, flow):
    return ("ok", "missing") if flow["name"] == "register" else crash_fate(mode, target, flow)


def test_direct_again_stands_in_for_a_missing_control(tmp_path):
    world = only()
    keep = lambda t: world.keep(t) and (t.fault or t.arm != "direct")  # noqa: E731
    results = build(write_record(tmp_path, replace(world, keep=keep)))
    assert {one.flow.name: one.state for one in results.impacts}["view_profile"] == "degraded"


def test_recovery_is_timed_from_the_lift(healed):
    (one,) = healed.recoveries
    assert one.parts.goodput_back_s == 0.0
    assert one.censored == 0
    assert one.parts.first_failure_s == pytest.approx(0.011, abs=0.01)
    assert one.parts.watched_s == pytest.approx(0.62)
    assert one.parts.breaker_open_s is None


def test_what_does_not_come_back_is_censored(stuck):
    (one,) = stuck.recoveries
    assert one.parts.goodput_back_s is None
    assert one.censored == 2
    assert one.flows["view_profile"] is None
    assert one.flows["login"] == 0.0


def test_a_hold_must_hold():
    bins = np.repeat(np.arange(7), 2)
    good = np.repeat(np.array([0, 1, 0, 1, 1, 1, 1], bool), 2)
    assert first_hold(bins, good, 0.9) == pytest.approx(0.15)  # the fourth bin of 50 ms
    assert first_hold(bins[:12], good[:12], 0.9) is None
    assert first_hold(bins[:0], good[:0], 0.9) is None
    assert first_hold(np.array([0, 2, 5, 6]), np.ones(4, bool), 0.9) == 0.0  # bins without arrivals say nothing


def test_orphans_and_phantom_successes_are_counted_per_thousand(stuck):
    found = {one.case: one for one in stuck.consistency}
    crash = found[CASE]
    assert crash.orphans == crash.phantom_success > 0
    assert crash.rate(crash.orphans) == pytest.approx(100, rel=0.2)  # a tenth of the weight
    calm = found[Case("", "", "direct")]
    assert (calm.offered, calm.orphans) == (4 * 300, 0)


def test_degraded_answers_are_told_apart_from_lost_ones(stuck):
    flows = {one.flow.name: one for one in stuck.impacts}
    assert (flows["register"].state, flows["register"].degraded_share) == ("degraded", 1.0)
    assert (flows["view_profile"].state, flows["view_profile"].degraded_share) == ("degraded", 0.0)


def test_retries_multiply_calls(healed):
    found = {(one.case, one.window): one.ratio for one in healed.amplifications}
    assert found[CASE, "fault"] == 2.0
    assert found[Case("", "", "gateway"), "open"] == 1.0


def test_nested_retries_multiply_each_other():
    assert nested_worst({("a", "b"): 3.0, ("b", "c"): 3.0, ("a", "c"): 2.0}) == 9.0
    assert nested_worst({}) == 1.0


def test_the_timeline_falls_at_the_injection_and_comes_back(healed):
    (external,) = (line for line in healed.timelines if line.origin == "external")
    share = dict(zip((round(at, 2) for at in external.start_s), external.goodput, strict=True))
    assert share[-0.3] == 1.0
    assert share[0.3] < 0.7
    assert share[0.9] == 1.0
    assert external.lift_s == pytest.approx(0.61)


def test_a_curve_stops_where_too_few_requests_lie_beyond(healed):
    curve = next(one for one in healed.curves if one.what == "external flows")
    assert (1 - curve.percentiles[-1]) * curve.requests == pytest.approx(10)
    assert list(curve.latency_ms) == sorted(curve.latency_ms)


def test_gateway_loss_stops_external_flows_in_hybrid_and_spares_internal_ones(usual):
    found = {r.origin: r for r in usual.radii if r.case == Case("crash", "gateway", "hybrid")}
    assert found["external"].degraded.low == 1.0
    assert (found["internal"].degraded.high, found["internal"].classification) == (0.0, "isolated")
    assert found["all"].inherent == 0.0


def test_cases_stand_in_the_order_of_the_scenario(usual):
    cases = list(dict.fromkeys(one.case for one in usual.impacts))
    assert [case.mode for case in cases[:3]] == ["direct", "gateway", "hybrid"]
    assert list(dict.fromkeys(case.target for case in cases)) == list(usual.scenario.components)
