"""The breaker against gobreaker's rules, one by one, and against a transliteration of its source as a whole."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stub_services.breaker import Breaker, OpenError, State, TooManyRequestsError


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def heard():
    return []


@pytest.fixture
def breaker(clock, heard):
    return Breaker(clock, on_change=heard.append)


def call(breaker, success, times=1):
    for _ in range(times):
        breaker.record(breaker.admit(), success=success)


def opened(breaker):
    call(breaker, False, 6)
    return breaker


def half_opened(breaker, clock):
    opened(breaker)
    clock.now += 30.001
    return breaker


def test_five_failures_in_a_row_keep_it_closed_and_the_sixth_opens_it(breaker):
    call(breaker, False, 5)
    assert breaker.state is State.CLOSED
    call(breaker, False)
    assert breaker.state is State.OPEN


def test_a_success_between_failures_starts_the_row_again(breaker):
    call(breaker, False, 5)
    call(breaker, True)
    call(breaker, False, 5)
    assert breaker.state is State.CLOSED


def test_open_rejects_without_counting(breaker):
    opened(breaker)
    for _ in range(100):
        with pytest.raises(OpenError):
            breaker.admit()


def test_exactly_at_the_end_of_the_timeout_it_is_still_open(breaker, clock):
    opened(breaker)
    clock.now += 30.0
    with pytest.raises(OpenError):
        breaker.admit()


def test_the_first_call_after_the_timeout_finds_it_half_open(breaker, clock, heard):
    half_opened(breaker, clock)
    assert heard == [State.OPEN], "lazy: nothing happens until somebody calls"
    breaker.admit()
    assert heard == [State.OPEN, State.HALF_OPEN]


def test_half_open_admits_three_in_total_and_the_fourth_is_one_too_many(breaker, clock):
    half_opened(breaker, clock)
    generations = [breaker.admit() for _ in range(3)]
    with pytest.raises(TooManyRequestsError):
        breaker.admit()
    breaker.record(generations[0], success=True)
    with pytest.raises(TooManyRequestsError):
        breaker.admit()  # in total, not at a time


def test_three_successes_in_a_row_close_it(breaker, clock, heard):
    half_opened(breaker, clock)
    call(breaker, True, 2)
    assert breaker.state is State.HALF_OPEN
    call(breaker, True)
    assert heard[-1] is State.CLOSED


def test_the_first_failure_while_half_open_opens_it_again_for_the_whole_timeout(breaker, clock):
    half_opened(breaker, clock)
    call(breaker, True, 2)
    call(breaker, False)
    clock.now += 30.0
    assert breaker.state is State.OPEN
    clock.now += 0.001
    assert breaker.state is State.HALF_OPEN


def test_a_result_of_an_older_generation_is_dropped(breaker, clock):
    early = breaker.admit()
    half_opened(breaker, clock)
    breaker.admit()
    breaker.record(early, success=False)
    assert breaker.state is State.HALF_OPEN


def test_the_interval_clears_failures_in_a_row_while_closed(breaker, clock):
    call(breaker, False, 5)
    clock.now += 10.001
    call(breaker, False, 5)
    assert breaker.state is State.CLOSED


def test_exactly_at_the_end_of_the_interval_the_counts_still_stand(breaker, clock):
    call(breaker, False, 5)
    clock.now += 10.0
    call(breaker, False)
    assert breaker.state is State.OPEN


def test_the_end_of_an_interval_drops_results_that_began_before_it(breaker, clock):
    early = [breaker.admit() for _ in range(6)]
    clock.now += 10.001
    for generation in early:
        breaker.record(generation, success=False)
    assert breaker.state is State.CLOSED


def test_without_an_interval_the_counts_stand_for_ever(clock):
    breaker = Breaker(clock, interval_s=0)
    call(breaker, False, 5)
    clock.now += 1e9
    call(breaker, False)
    assert breaker.state is State.OPEN


class Gobreaker:
    """gobreaker.go, line by line, as far as it decides anything."""

    def __init__(self, clock):
        self.clock, self.state, self.generation, self.expiry = clock, "closed", 0, None
        self.to_new_generation(clock())

    def before_request(self):
        state, generation = self.current_state(self.clock())
        if state == "open":
            return generation, "ErrOpenState"
        if state == "half_open" and self.requests >= 3:
            return generation, "ErrTooManyRequests"
        self.requests += 1
        return generation, None

    def after_request(self, before, success):
        now = self.clock()
        state, generation = self.current_state(now)
        if generation != before:
            return
        if success:
            self.successes, self.failures = self.successes + 1, 0
            if state == "half_open" and self.successes >= 3:
                self.set_state("closed", now)
        elif state == "closed":
            self.failures, self.successes = self.failures + 1, 0
            if self.failures > 5:
                self.set_state("open", now)
        elif state == "half_open":
            self.set_state("open", now)

    def current_state(self, now):
        if self.state == "closed":
            if self.expiry is not None and self.expiry < now:
                self.to_new_generation(now)
        elif self.state == "open" and self.expiry < now:
            self.set_state("half_open", now)
        return self.state, self.generation

    def set_state(self, state, now):
        if self.state != state:
            self.state = state
            self.to_new_generation(now)

    def to_new_generation(self, now):
        self.generation += 1
        self.requests = self.successes = self.failures = 0
        self.expiry = {"closed": now + 10, "open": now + 30, "half_open": None}[self.state]


REFUSALS = {"ErrOpenState": OpenError, "ErrTooManyRequests": TooManyRequestsError}

steps = st.lists(
    st.one_of(
        st.just("admit"),
        st.tuples(st.sampled_from(["good", "bad", "bad", "bad"]), st.integers(0, 9)),
        st.sampled_from([0.5, 5.0, 10.0, 10.5, 30.0, 30.5]),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_any_history_ends_where_gobreaker_ends(history):
    clock = Clock()
    ours, theirs = Breaker(clock), Gobreaker(clock)
    under_way = []
    for step in history:
        if step == "admit":
            generation, refused = theirs.before_request()
            if refused is None:
                under_way.append((ours.admit(), generation))
            else:
                with pytest.raises(REFUSALS[refused]):
                    ours.admit()
        elif isinstance(step, tuple):
            if under_way:
                mine, its = under_way.pop(step[1] % len(under_way))
                ours.record(mine, success=step[0] == "good")
                theirs.after_request(its, step[0] == "good")
        else:
            clock.now += step
        assert ours.state.value == theirs.current_state(clock())[0]
