"""Arrivals are drawn from the seed, with the gaps and the mix that were asked for."""

import itertools
import random
from collections import Counter

import pytest
from scipy import stats

from harness.schedule import draw_mix, draw_schedule

WEIGHTS = {"a": 1.0, "b": 3.0}


def test_poisson_gaps_pass_a_goodness_of_fit_test():
    times = [arrival.at_ns for arrival in draw_schedule(WEIGHTS, 500, 20, "poisson", random.Random(3))]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert stats.kstest(gaps, stats.expon(scale=1e9 / 500).cdf).pvalue > 0.01


def test_the_goodness_of_fit_test_tells_constant_gaps_from_poisson_ones():
    times = [arrival.at_ns for arrival in draw_schedule(WEIGHTS, 500, 20, "constant", random.Random(3))]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert stats.kstest(gaps, stats.expon(scale=1e9 / 500).cdf).pvalue < 1e-6


@pytest.mark.parametrize("arrivals", ["constant", "poisson"])
def test_the_rate_is_the_one_asked_for(arrivals):
    schedule = draw_schedule(WEIGHTS, 400, 25, arrivals, random.Random(5))
    assert len(schedule) == pytest.approx(10_000, rel=0.05)
    assert all(0 <= arrival.at_ns < 25e9 for arrival in schedule)


def test_flows_come_by_weight_and_every_arrival_has_a_learner_of_its_own():
    schedule = draw_schedule(WEIGHTS, 400, 25, "poisson", random.Random(5))
    counts = Counter(arrival.flow for arrival in schedule)
    assert counts["b"] / counts["a"] == pytest.approx(3, rel=0.1)
    assert [arrival.learner for arrival in schedule] == list(range(len(schedule)))


def test_the_same_seed_replays_the_same_schedule():
    first, second = (draw_schedule(WEIGHTS, 300, 2, "poisson", random.Random("7:schedule:0")) for _ in range(2))
    assert first == second


def test_a_closed_loop_mix_goes_on_counting_learners():
    mix = draw_mix(WEIGHTS, 50, 1000, random.Random(1))
    assert [arrival.learner for arrival in mix] == list(range(1000, 1050))
