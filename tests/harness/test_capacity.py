"""The search for capacity against systems whose capacity is known."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.capacity import Search, SearchRules
from scenarios.objective import bracket


def _run(search, carries):
    offered = []
    while (rate := search.next_rate()) is not None:
        offered.append(rate)
        search.tell(rate, met=carries(rate))
    return offered


@given(st.floats(5, 50_000), st.floats(5, 50_000), st.sampled_from([0.03, 0.05, 0.08]), st.integers(1, 2))
def test_a_system_without_noise_is_bracketed_to_the_precision(capacity, start, precision, votes):
    if start / capacity > 32:
        return
    search = Search(SearchRules(precision, votes, 200), start, 1.25)
    _run(search, lambda rate: rate <= capacity)
    low, high = bracket(search.votes)
    assert search.settled
    assert low <= capacity < high + 0.1
    assert high <= low * (1 + precision)


def test_every_rate_gets_as_many_agreeing_windows_as_asked_for():
    search = Search(SearchRules(0.05, 2, 100), 800, 1.25)
    _run(search, lambda rate: rate <= 1000)
    assert {max(votes) for votes in search.votes.values()} == {2}


def test_a_window_that_disagrees_is_outvoted():
    answers = iter([True, False, True])
    search = Search(SearchRules(0.05, 2, 100), 800, 1.25)
    offered = _run(search, lambda rate: next(answers, False) if rate == 800 else rate <= 1000)
    assert offered[:3] == [800, 800, 800]
    assert search.votes[800] == (2, 1)
    assert bracket(search.votes)[0] == pytest.approx(1000, rel=0.05)


def test_a_search_that_starts_where_the_last_one_ended_needs_few_windows():
    search = Search(SearchRules(0.08, 1, 12), 1000, 1.08)
    assert len(_run(search, lambda rate: rate <= 1010)) == 2
    assert search.settled


def test_moves_grow_so_that_a_start_far_off_costs_few_windows():
    search = Search(SearchRules(0.05, 1, 100), 100, 1.25)
    assert len(_run(search, lambda rate: rate <= 10_000)) < 15
    assert search.settled


def test_a_system_that_carries_nothing_ends_the_search_without_a_capacity():
    search = Search(SearchRules(0.05, 2, 100), 1000, 1.25)
    offered = _run(search, lambda rate: False)
    assert not search.settled
    assert bracket(search.votes)[0] is None
    assert min(offered) == pytest.approx(1000 / 64, abs=0.1)


def test_the_search_ends_after_its_most_windows_and_says_that_it_is_not_settled():
    search = Search(SearchRules(0.0001, 2, 7), 1000, 1.25)
    assert len(_run(search, lambda rate: rate <= 1300)) == 7
    assert not search.settled


def test_with_noise_in_every_window_voting_keeps_the_answer_near():
    """The chance to meet the objective falls smoothly around 1000: the answers of many searches scatter little."""
    found = []
    for seed in range(200):
        rng = random.Random(seed)
        search = Search(SearchRules(0.05, 2, 60), rng.uniform(600, 1400), 1.25)
        _run(search, lambda rate, rng=rng: rng.random() < 1 / (1 + (rate / 1000) ** 60))
        assert search.settled
        found.append(bracket(search.votes)[0])
    found.sort()
    assert 950 < found[100] < 1030
    assert found[190] / found[10] < 1.15
