"""The breaker against gobreaker's rules, and against the services' breaker, which is tested against its source."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proxy.breaker import Breaker
from gateway_proxy.config.upstreams import CircuitBreaker
from stub_services.breaker import Breaker as ServicesBreaker
from stub_services.breaker import RejectedError

RULE = CircuitBreaker(failures=6, open_s=30, half_open_requests=3)


@pytest.fixture
def breaker():
    return Breaker(RULE, now=0.0)


def call(breaker, now, failed, times=1):
    for _ in range(times):
        breaker.ended(breaker.admits(now), failed, now)


def opened(breaker, now=0.0):
    call(breaker, now, failed=True, times=6)
    return breaker


def test_it_opens_after_so_many_failures_in_a_row(breaker):
    call(breaker, 0.0, failed=True, times=5)
    assert breaker.admits(0.0) is not None
    call(breaker, 0.0, failed=True)
    assert breaker.admits(0.0) is None
    assert (breaker.opened, breaker.refused) == (1, 1)


def test_a_success_between_failures_starts_the_row_again(breaker):
    call(breaker, 0.0, failed=True, times=5)
    call(breaker, 0.0, failed=False)
    call(breaker, 0.0, failed=True, times=5)
    assert breaker.admits(0.0) is not None


def test_exactly_at_the_end_of_open_s_it_still_refuses(breaker):
    opened(breaker)
    assert breaker.admits(30.0) is None
    assert breaker.admits(30.001) is not None


def test_half_open_admits_so_many_in_total_not_at_a_time(breaker):
    opened(breaker)
    tickets = [breaker.admits(31.0) for _ in range(3)]
    assert None not in tickets
    breaker.ended(tickets[0], failed=False, now=31.0)
    assert breaker.admits(31.0) is None


def test_as_many_successes_close_it_and_the_first_failure_opens_it_again(breaker):
    opened(breaker)
    call(breaker, 31.0, failed=False, times=2)
    call(breaker, 31.0, failed=True)
    assert breaker.admits(61.0) is None
    call(breaker, 61.1, failed=False, times=3)
    assert breaker.shown(61.1)["state"] == "closed"


def test_a_result_of_an_older_generation_is_dropped(breaker):
    early = breaker.admits(0.0)
    opened(breaker)
    trial = breaker.admits(31.0)
    breaker.ended(early, failed=True, now=31.0)
    breaker.ended(trial, failed=False, now=31.0)
    assert breaker.shown(31.0)["state"] == "half_open"


def test_a_trial_that_was_abandoned_makes_room_for_another(breaker):
    opened(breaker)
    tickets = [breaker.admits(31.0) for _ in range(3)]
    breaker.abandoned(tickets[0], 31.0)
    assert breaker.admits(31.0) is not None
    assert breaker.admits(31.0) is None


def test_an_abandoned_request_neither_ends_nor_lengthens_a_row_of_failures(breaker):
    call(breaker, 0.0, failed=True, times=5)
    breaker.abandoned(breaker.admits(0.0), 0.0)
    assert breaker.shown(0.0)["failures_in_a_row"] == 5
    call(breaker, 0.0, failed=True)
    assert breaker.shown(0.0)["state"] == "open"


def test_abandoning_a_request_of_an_older_generation_changes_nothing(breaker):
    early = breaker.admits(0.0)
    opened(breaker)
    for _ in range(3):
        breaker.admits(31.0)
    breaker.abandoned(early, 31.0)
    assert breaker.admits(31.0) is None


def test_showing_moves_nothing(breaker):
    opened(breaker)
    assert breaker.shown(30.0)["state"] == "open"
    assert breaker.shown(31.0)["state"] == "half_open"
    assert breaker.admits(30.0) is None, "the call at 31 would have moved it"


steps = st.lists(
    st.one_of(
        st.just("admit"),
        st.tuples(st.sampled_from(["failed", "well"]), st.integers(0, 30)),
        st.floats(0, 40, allow_nan=False),
    ),
    max_size=150,
)
rules = st.builds(
    CircuitBreaker, failures=st.integers(1, 4), open_s=st.just(30.0), half_open_requests=st.integers(1, 3)
)


@given(steps, rules, st.sampled_from([0.0, 10.0]))
@settings(deadline=None)
def test_the_services_breaker_answers_the_same_to_the_same(script, rule, interval_s):
    clock = [0.0]
    theirs = ServicesBreaker(
        lambda: clock[0],
        max_requests=rule.half_open_requests,
        interval_s=interval_s,
        timeout_s=rule.open_s,
        tolerated=rule.failures - 1,
    )
    ours = Breaker(rule, 0.0, interval_s)
    tickets = []
    for step in script:
        if step == "admit":
            expected = None
            with contextlib.suppress(RejectedError):
                expected = theirs.admit()
            found = ours.admits(clock[0])
            assert found == expected
            if found is not None:
                tickets.append(found)
        elif isinstance(step, tuple) and tickets:
            ticket = tickets.pop(step[1] % len(tickets))
            theirs.record(ticket, success=step[0] == "well")
            ours.ended(ticket, step[0] == "failed", clock[0])
        elif isinstance(step, float):
            clock[0] += step
            continue  # looking at theirs would move it on
        else:
            continue
        assert ours.shown(clock[0])["state"] == theirs.state.value
