"""Estimates: coverage, symmetry, the cross-check and what one block may not say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.estimate import compare, measure, sign_flip_p, subtract
from results.proportion import clopper_pearson, share_interval

positive = st.floats(0.01, 1e4)


def covers(estimate, truth):
    return estimate.low <= truth <= estimate.high


@pytest.mark.parametrize(("n", "draws"), [(4, 600), (8, 600), (24, 250)])
def test_the_interval_covers_the_truth_as_often_as_it_says(n, draws):
    rng = np.random.default_rng(1)
    found = [measure(np.exp(rng.normal(math.log(2), 0.1, n)), "ms", log=True) for _ in range(draws)]
    assert np.mean([covers(one.at95, 2) for one in found]) == pytest.approx(0.95, abs=0.03)
    assert np.mean([covers(one.at90, 2) for one in found]) == pytest.approx(0.90, abs=0.04)


def test_one_block_gives_a_point_and_no_interval():
    one = measure([3.0], "ms", log=True)
    assert (one.point, one.at95.low, one.at95.high, one.sd, one.n) == (pytest.approx(3.0), None, None, None, 1)


def test_no_block_gives_nothing():
    assert measure([], "ms", log=True) is None
    assert compare({0: 1.0}, {1: 1.0}) is None
    assert subtract({}, {}, "ms") is None


def test_the_method_changes_at_twenty_blocks():
    rng = np.random.default_rng(0)
    few, many = (measure(rng.lognormal(0, 0.1, n), "ms", log=True) for n in (19, 20))
    assert few.at95.method.startswith("t interval")
    assert many.at95.method.startswith("studentised block bootstrap")


def test_only_blocks_with_both_arms_are_compared():
    assert compare({0: 2.0, 1: 2.0, 2: 99.0}, {0: 1.0, 1: 1.0, 3: 1.0}).n == 2


@given(st.dictionaries(st.integers(0, 9), st.tuples(positive, positive), min_size=2), positive)
def test_a_ratio_does_not_change_with_the_unit(blocks, scale):
    plain = compare({b: x for b, (x, _) in blocks.items()}, {b: y for b, (_, y) in blocks.items()})
    scaled = compare({b: x * scale for b, (x, _) in blocks.items()}, {b: y * scale for b, (_, y) in blocks.items()})
    assert scaled.point == pytest.approx(plain.point)
    assert scaled.at95.high == pytest.approx(plain.at95.high, rel=1e-6)


@given(st.dictionaries(st.integers(0, 9), st.tuples(positive, positive), min_size=2))
def test_the_inverse_of_a_ratio_says_the_same(blocks):
    a, b = ({block: pair[at] for block, pair in blocks.items()} for at in (0, 1))
    one, other = compare(a, b), compare(b, a)
    assert one.point * other.point == pytest.approx(1)
    assert one.at95.low * other.at95.high == pytest.approx(1, rel=1e-6)


def test_the_sign_flip_test_is_exact():
    assert sign_flip_p([1.0, 2.0, 3.0]) == pytest.approx(2 / 8)
    assert sign_flip_p([1.0, -1.0]) == 1.0
    assert sign_flip_p([0.1] * 14) < 0.01


def test_no_failure_among_n_leaves_the_rule_of_three():
    low, high = clopper_pearson(0, 299, 0.90)
    assert low == 0
    assert high == pytest.approx(1 - 0.05 ** (1 / 299))
    assert high < 0.01 < clopper_pearson(0, 298, 0.90)[1]


@given(st.integers(0, 60), st.integers(1, 60))
def test_an_exact_interval_holds_its_share(successes, failures):
    n = successes + failures
    low, high = clopper_pearson(successes, n, 0.95)
    assert 0 <= low <= successes / n <= high <= 1


def test_blocks_that_differ_widen_a_share():
    alike, apart = share_interval([(50, 100), (50, 100)], 0.95), share_interval([(10, 100), (90, 100)], 0.95)
    assert apart == (0.0, 1.0)
    assert alike[0] > 0.4
    assert share_interval([(50, 100)], 0.95) is None
