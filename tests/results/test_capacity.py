"""Capacity is computed again from the samples of the searches, and claims about throughput are judged on it."""

from functools import partial

import pytest

from results.blocks import Key, block_table
from results.build import build
from results.capacity import RatePoint, knee_of, load_curves, searches
from results.loaded import load
from tests.results.synthetic import World, shipped, write_record

Steady = partial(World, faults=False, claims=[shipped("throughput-ratio"), shipped("throughput-direct")])


def _blocks(tmp_path, world):
    loaded = load(write_record(tmp_path, world))
    return block_table(loaded, searches(loaded))


def test_the_capacity_of_a_block_is_the_highest_rate_that_was_carried(tmp_path):
    loaded = load(write_record(tmp_path, Steady()))
    found = searches(loaded)
    assert len(found) == 16
    for search in found:
        rates = [(window.point.offered_per_s, window.met) for window in search.windows]
        assert rates == sorted(rates)
        assert [met for _, met in rates] == [True, True, True, False]
        assert (search.low, search.high) == (rates[2][0], rates[3][0])
        assert search.settled


def test_the_ratio_of_capacities_is_the_truth(tmp_path):
    ratio = _blocks(tmp_path, Steady()).ratio(Key("capacity"), "gateway", "direct")
    assert ratio.at95.low < 0.4 < ratio.at95.high
    assert ratio.point == pytest.approx(0.4, rel=0.03)


@pytest.mark.parametrize("level", ["at90", "at95"])
def test_an_interval_is_never_narrower_than_what_the_search_told_apart(tmp_path, level):
    """Blocks that all end at the same rate have no spread; the capacity is still only known to lie in the bracket."""
    blocks = _blocks(tmp_path, Steady(noise=0.0))
    direct, gateway = (blocks.of(Key("capacity"), arm) for arm in ("direct", "gateway"))
    assert len({*direct.values()}) == len({*gateway.values()}) == 1
    absolute = getattr(blocks.measure(Key("capacity"), "direct"), level)
    assert (absolute.low, absolute.high) == pytest.approx((direct[0], direct[0] * 1.04), rel=1e-3)
    ratio = getattr(blocks.ratio(Key("capacity"), "gateway", "direct"), level)
    assert (ratio.low, ratio.high) == pytest.approx((0.4 / 1.04, 0.4 * 1.04), rel=1e-3)
    less = getattr(blocks.difference(Key("capacity"), "direct", "gateway"), level)
    off = (direct[0] * 0.04, gateway[0] * 0.04)
    assert (less.low, less.high) == pytest.approx((less.point - off[1], less.point + off[0]), rel=1e-3)
    assert "how closely the search looked" in absolute.method


def test_other_figures_rest_on_their_blocks_alone(tmp_path):
    blocks = _blocks(tmp_path, Steady(noise=0.0))
    measured = blocks.measure(Key("saturation_throughput"), "direct")
    assert (measured.below, measured.above) == (0.0, 0.0)
    assert measured.at95.high == pytest.approx(measured.point, rel=0.01)


def test_the_capacity_of_a_flow_stands_under_its_name(tmp_path):
    blocks = _blocks(tmp_path, Steady(searched=("mix", "login")))
    assert blocks.of(Key("capacity", "login"), "direct").keys() == {0, 1, 2, 3}


def test_a_search_that_did_not_close_gives_no_figure(tmp_path):
    open_ended = lambda trial: trial.arm == "gateway" and trial.block == 2  # noqa: E731
    blocks = _blocks(tmp_path, Steady(unsettled=open_ended))
    assert blocks.of(Key("capacity"), "gateway").keys() == {0, 1, 3}


def test_claims_about_throughput_are_judged_on_capacity_and_not_on_the_closed_loop(tmp_path):
    results = build(write_record(tmp_path / "with", Steady()))
    words = {verdict.claim.id: verdict.finding for verdict in results.verdicts}
    assert words["throughput-ratio"].verdict == "confirmed"
    assert words["throughput-ratio"].why.startswith("Capacity")
    assert words["throughput-direct"].verdict == "refuted"
    results = build(write_record(tmp_path / "without", Steady(searches=False)))
    words = {verdict.claim.id: verdict.finding for verdict in results.verdicts}
    assert words["throughput-ratio"].verdict == "inconclusive"
    assert "Nothing was measured" in words["throughput-ratio"].why


def test_capacity_without_a_null_control_is_a_doubt(tmp_path):
    results = build(write_record(tmp_path, Steady(keep=lambda t: not (t.search and t.arm == "direct-null"))))
    assert "no null control for capacity" in {doubt.name for doubt in results.doubts}


def test_a_record_without_an_objective_has_no_capacity(tmp_path):
    loaded = load(write_record(tmp_path, Steady(settings={"timeout_ms": 1000})))
    assert searches(loaded) == []


def test_the_curve_of_the_mix_begins_with_the_rate_of_the_latency_windows(tmp_path):
    curves = {(curve.what, curve.arm): curve for curve in load_curves(load(write_record(tmp_path, Steady())))}
    points = curves["mix", "direct"].points
    assert points[0].offered_per_s == 500
    assert [point.offered_per_s for point in points] == sorted(point.offered_per_s for point in points)
    assert points[-1].p99_ms > 25 > points[0].p99_ms
    assert sum(point.windows for point in points) == 4 + 4 * 4


def _points(*pairs):
    return [RatePoint(rate, rate, mean, mean, mean, 0.0, 100) for rate, mean in pairs]


def test_the_knee_is_where_throughput_over_latency_is_greatest():
    assert knee_of(_points((100, 1.0), (200, 1.2), (300, 1.5), (400, 5.0))) == 2


def test_no_knee_is_marked_where_it_may_lie_beyond_what_was_offered():
    assert knee_of(_points((100, 1.0), (200, 1.0), (300, 1.0))) is None
    assert knee_of(_points((100, 1.0), (200, 5.0), (300, 50.0))) is None
    assert knee_of(_points((100, 1.0), (200, 1.0))) is None
