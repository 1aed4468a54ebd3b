"""Each policy with a clock that only its own pauses move, and a peer that answers from a list."""

import asyncio
import random

import pytest

from stub_services.breaker import Breaker, State
from stub_services.policies import CorrectedPolicy, DocumentedPolicy, Guard, NoPolicy, RetryBudget
from stub_services.pool import Reply

DEAD = Reply(failure="dial")
LATE = Reply(failure="timeout")


class World:
    """Time, pauses and a peer."""

    def __init__(self, *replies, takes_s=0.0):
        self.now = 0.0
        self.replies = list(replies)
        self.takes_s = takes_s
        self.pauses = []
        self.timeouts = []
        self.guard = Guard(Breaker(self.clock), RetryBudget(self.clock))

    def clock(self):
        return self.now

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    async def attempt(self, timeout_s):
        self.timeouts.append(timeout_s)
        self.now += self.takes_s
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return Reply(reply) if isinstance(reply, int) else reply

    def call(self, policy, retriable=True):
        return asyncio.run(policy.run(self.attempt, self.guard, retriable=retriable))

    def documented(self, scale=1.0):
        return DocumentedPolicy(self.sleep, scale)

    def corrected(self, scale=1.0):
        return CorrectedPolicy(self.clock, random.Random(1), self.sleep, scale)


@pytest.mark.parametrize(
    ("reply", "outcome"), [(201, "ok"), (404, "error"), (503, "error"), (DEAD, "error"), (LATE, "timeout")]
)
def test_none_tries_once_and_gives_ten_seconds(reply, outcome):
    world = World(reply)
    result = world.call(NoPolicy())
    assert (result.outcome, result.attempts, world.timeouts) == (outcome, 1, [10.0])


def test_documented_pauses_grow_linearly():
    world = World(500)
    result = world.call(world.documented())
    assert (result.outcome, result.attempts) == ("error", 3)
    assert world.pauses == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize("status", [403, 404])
def test_documented_takes_a_refusal_for_success(status):
    world = World(status)
    assert world.call(world.documented())[:2] == ("ok", 1)


def test_documented_repeats_calls_that_must_not_be_repeated():
    world = World(503, 200)
    assert world.call(world.documented(), retriable=False)[:2] == ("ok", 2)


def test_documented_breaker_never_opens_on_5xx():
    world = World(502)
    for _ in range(20):
        world.call(world.documented())
    assert world.guard.breaker.state is State.CLOSED


def test_documented_breaker_opens_on_transport_errors_and_then_nothing_is_sent():
    world = World(DEAD)
    outcomes = [world.call(world.documented())[:2] for _ in range(3)]
    assert outcomes == [("error", 3), ("error", 3), ("rejected", 0)]


def test_pauses_are_divided_by_the_scale_and_timeouts_are_not():
    world = World(500)
    world.call(world.documented(scale=10.0))
    assert world.pauses == pytest.approx([0.01, 0.02])
    assert world.timeouts == [10.0] * 3


def test_corrected_takes_4xx_as_final():
    world = World(404)
    assert world.call(world.corrected())[:2] == ("error", 1)


def test_corrected_does_not_repeat_what_must_not_be_repeated():
    world = World(503, 200)
    assert world.call(world.corrected(), retriable=False)[:2] == ("error", 1)


def test_corrected_repeats_what_may_be_repeated():
    world = World(503, DEAD, 200)
    assert world.call(world.corrected())[:2] == ("ok", 3)


def test_corrected_pauses_are_jittered_below_an_exponential_bound():
    policy = World(503).corrected()
    many = [[policy._pause_s(number) for _ in range(300)] for number in (1, 2, 3)]
    for bound, drawn in zip((0.1, 0.2, 0.4), many, strict=True):
        assert 0.9 * bound < max(drawn) <= bound
        assert min(drawn) < 0.1 * bound


def test_corrected_breaker_opens_on_5xx():
    world = World(503)
    for _ in range(6):
        world.call(world.corrected(), retriable=False)
    assert world.guard.breaker.state is State.OPEN
    assert world.call(world.corrected())[:2] == ("rejected", 0)


def test_corrected_gives_each_try_its_own_timeout_within_the_deadline_of_all():
    world = World(LATE, takes_s=4.0)
    result = world.call(world.corrected())
    assert result.outcome == "timeout"
    assert world.timeouts[0] == 3.0
    assert sum(world.timeouts) <= 10.0
    assert world.timeouts[-1] < 3.0


def test_a_cancelled_caller_counts_as_a_failure():
    world = World(200)

    async def never(_timeout_s):
        raise asyncio.CancelledError

    async def cancelled_calls():
        for _ in range(6):
            with pytest.raises(asyncio.CancelledError):
                await world.documented().run(never, world.guard, retriable=True)

    asyncio.run(cancelled_calls())
    assert world.guard.breaker.state is State.OPEN


def test_the_budget_grants_three_retries_in_any_case():
    world = World(200)
    budget = world.guard.budget
    assert [budget.take() for _ in range(4)] == [True, True, True, False]


def test_the_budget_grants_a_fifth_of_the_calls_of_its_window():
    world = World(200)
    budget = world.guard.budget
    for _ in range(100):
        budget.call()
    assert sum(budget.take() for _ in range(100)) == 20
    world.now += 10.0
    assert sum(budget.take() for _ in range(100)) == 3
