"""What is tried again, how long the pause is, and that retries never become a storm."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.config.routes import Retry
from gateway_proxy.config.routes import RetryBudget as BudgetRule
from gateway_proxy.retries import REFUSED_HERE, RetryBudget, RetryRule


def rule(**values):
    return RetryRule(Retry(**values), random.Random(1))


def asked(rule, method=b"GET", attempt=1, status=503, body_replayable=True, now=0.0):
    return rule.may_retry(method, attempt, status, body_replayable, now)


@pytest.mark.parametrize("status", [0, 502, 503, 504])
def test_no_answer_and_the_statuses_of_the_configuration_are_tried_again(status):
    assert asked(rule(), status=status)


@pytest.mark.parametrize("status", [200, 404, 429, 500, REFUSED_HERE])
def test_nothing_else_is_and_never_what_the_gateway_refused_itself(status):
    assert not asked(rule(), status=status)


def test_no_answer_is_tried_again_even_with_other_statuses_configured():
    assert asked(rule(statuses=(429,)), status=0)
    assert asked(rule(statuses=(429,)), status=429)
    assert not asked(rule(statuses=(429,)), status=503)


def test_only_the_methods_of_the_configuration_are_repeated():
    assert not asked(rule(), method=b"POST")
    assert not asked(rule(), method=b"PUT"), "idempotent, but not safe: it has to be asked for"
    assert asked(rule(methods=("POST",)), method=b"POST")
    assert not asked(rule(methods=("POST",)), method=b"GET")


def test_attempts_are_counted_with_the_first():
    assert [asked(rule(attempts=3), attempt=attempt) for attempt in (1, 2, 3, 4)] == [True, True, False, False]


def test_a_body_that_is_gone_cannot_be_sent_again():
    assert not asked(rule(), body_replayable=False)


def test_the_pause_is_drawn_from_nothing_to_a_limit_that_doubles_up_to_a_cap():
    several = rule(attempts=10, backoff_s=0.1, max_backoff_s=0.5)
    for attempt, longest in ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.5), (9, 0.5)):
        pauses = [several.pause_s(attempt) for _ in range(400)]
        assert 0 <= min(pauses) < 0.1 * longest
        assert 0.9 * longest < max(pauses) <= longest
        assert abs(sum(pauses) / 400 - longest / 2) < 0.1 * longest, "uniform, not bunched"


def test_no_backoff_is_no_pause():
    assert rule(backoff_s=0).pause_s(3) == 0


# -- the budget ---------------------------------------------------------------------------------------------------


def taken(budget, now, most=10_000):
    return next(count for count in range(most + 1) if not budget.take(now))


def budget(share=0.2, min_per_s=0.0, requests=0, now=1000.0):
    made = RetryBudget(BudgetRule(share=share, min_per_s=min_per_s))
    for _ in range(requests):
        made.request(now)
    return made


@pytest.mark.parametrize(("share", "requests", "retries"), [(0.2, 100, 20), (0.1, 10, 1), (0.1, 9, 0), (1.0, 7, 7)])
def test_retries_are_a_share_of_requests(share, requests, retries):
    assert taken(budget(share, requests=requests), 1000.0) == retries


def test_a_reserve_of_so_many_a_second_is_there_from_the_start():
    assert taken(budget(min_per_s=3), 1000.0) == 30, "three a second, for the whole window"


def test_the_reserve_is_there_without_any_share():
    made = budget(share=0, min_per_s=0.5, requests=100)
    assert taken(made, 1000.0) == 5
    assert taken(made, 1011.0) == 5


def test_nothing_allows_nothing():
    assert taken(budget(share=0, requests=100), 1000.0) == 0


def test_requests_of_more_than_ten_seconds_ago_count_no_more():
    assert taken(budget(requests=100), 1009.9) == 20
    assert taken(budget(requests=100), 1010.0) == 0


def test_retries_of_more_than_ten_seconds_ago_are_forgiven():
    made = budget(min_per_s=1)
    assert taken(made, 1000.5) == 10
    assert taken(made, 1009.9) == 0
    assert taken(made, 1010.0) == 10


def test_a_long_silence_empties_the_window():
    made = budget(requests=100)
    assert taken(made, 5000.0) == 0
    made.request(5000.5)
    assert taken(made, 5000.5) == 0, "one request is a fifth of a retry"


def test_a_rule_spends_its_budget_only_on_what_it_would_retry():
    only = rule(budget={"share": 0, "min_per_s": 0.1})
    assert not asked(only, status=200)
    assert not asked(only, attempt=9)
    assert asked(only)
    assert not asked(only)


def test_requests_of_the_route_fill_its_budget():
    filled = rule(budget={"share": 0.5, "min_per_s": 0})
    assert not asked(filled)
    for _ in range(4):
        filled.request(0.0)
    assert [asked(filled) for _ in range(3)] == [True, True, False]


@given(st.lists(st.tuples(st.floats(0, 3, allow_nan=False), st.booleans()), max_size=300), st.floats(0.05, 1))
def test_retries_of_any_ten_seconds_stay_within_share_and_reserve(steps, share):
    """In any ten seconds, sliding: the share of the requests of twenty (those before still count), and the reserve."""
    made = RetryBudget(BudgetRule(share=share, min_per_s=0.5))
    now, requests, retries = 50.0, [], []
    for pause, retry in steps:
        now += pause
        if not retry:
            made.request(now)
            requests.append(now)
        elif made.take(now):
            retries.append(now)
            recent = sum(at > now - 9 for at in retries)
            assert recent <= share * sum(at > now - 20 for at in requests) + 5 + 1e-6
