"""What meets an objective, and how windows vote on a rate."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.objective import Objective, Votes, bracket, nearest_rank

TIGHT = Objective(p99_ms=10, error_share=0.01)


@pytest.mark.parametrize(
    ("slow", "bad", "met"),
    [(0, 0, True), (1, 0, True), (2, 0, False), (0, 1, True), (0, 2, False)],
)
def test_one_request_in_a_hundred_may_be_late_and_one_may_fail(slow, bad, met):
    answered = 100 - bad
    latencies = [5.0] * (answered - slow) + [50.0] * slow
    assert TIGHT.met(latencies, bad, 100) is met


def test_nothing_planned_meets_nothing_and_nothing_answered_is_infinitely_late():
    assert not TIGHT.met([], 0, 0)
    assert not Objective(p99_ms=10, error_share=0.99).met([], 9, 10)
    assert nearest_rank([], 0.5) == math.inf


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_the_nearest_rank_is_the_least_value_with_that_share_at_or_below_it(values, share):
    ordered = sorted(values)
    found = nearest_rank(ordered, share)
    assert sum(value <= found for value in ordered) >= share * len(ordered) * (1 - 1e-9)
    assert sum(value < found for value in ordered) < share * len(ordered) * (1 + 1e-9)


def test_the_bracket_is_the_highest_rate_carried_below_the_lowest_that_was_not():
    votes = {100.0: Votes(2, 0), 200.0: Votes(2, 1), 250.0: Votes(1, 1), 300.0: Votes(0, 2), 400.0: Votes(2, 0)}
    assert bracket(votes) == (200.0, 300.0)
    assert bracket({100.0: Votes(1, 0)}) == (100.0, None)
    assert bracket({100.0: Votes(0, 1)}) == (None, 100.0)
    assert bracket({}) == (None, None)
