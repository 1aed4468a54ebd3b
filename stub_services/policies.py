"""What a caller does about calls that fail: nothing, what the decision document says, or what it should have said.

A policy is given `attempt`, which sends the request once, and decides how often. Pauses and breaker times are divided
by `scale`, so that a 30 s open state fits a short trial; the timeouts of the exchange itself are not.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from stub_services.breaker import Breaker, Clock, RejectedError
from stub_services.pool import Reply

Outcome = Literal["ok", "error", "timeout", "rejected"]
Attempt = Callable[[float], Awaitable[Reply]]
"""Send the request once, with so many seconds for the whole exchange."""
Sleep = Callable[[float], Awaitable[None]]

TIMEOUT_S = 10.0
"""For the whole exchange of one attempt; in the corrected policy for the whole call."""
MAX_ATTEMPTS = 3


class Result(NamedTuple):
    """What a logical call came to. `attempts` counts requests that were sent, not those the breaker refused."""

    outcome: Outcome
    attempts: int
    reply: Reply


@dataclass
class Guard:
    """What a policy remembers about one peer."""

    breaker: Breaker
    budget: RetryBudget


class Policy(Protocol):
    """How often to try. `sends_keys`: calls that must not be repeated carry an Idempotency-Key."""

    sends_keys: bool

    async def run(self, attempt: Attempt, guard: Guard, *, retriable: bool) -> Result:
        """Make the call; failures are results, never exceptions."""


class NoPolicy:
    """One attempt; the timeout and nothing else. A status of 2xx is success."""

    sends_keys = False

    async def run(self, attempt: Attempt, guard: Guard, *, retriable: bool) -> Result:
        """Make the call once."""
        del guard, retriable
        reply = await attempt(TIMEOUT_S)
        return Result("ok" if 200 <= reply.status < 300 else _failed(reply), 1, reply)


class DocumentedPolicy:
    """What the decision's text does, its mistakes included.

    Up to three attempts whatever the call, with pauses of 100 and 200 ms (it says exponential; it is linear); any
    status below 500 is success, 403 and 404 too; the breaker hears of transport errors only, so that a peer that
    answers 5xx never opens it. Our reading where the text is silent: the breaker stands inside the retry loop, around
    one attempt, and its refusal ends the call at once, since a breaker is there to fail fast.
    """

    sends_keys = False

    def __init__(self, sleep: Sleep = asyncio.sleep, scale: float = 1.0) -> None:
        self._sleep = sleep
        self._scale = scale

    async def run(self, attempt: Attempt, guard: Guard, *, retriable: bool) -> Result:
        """Try up to three times."""
        del retriable
        reply = Reply()
        for number in range(1, MAX_ATTEMPTS + 1):
            try:
                reply = await _through(guard.breaker, attempt, TIMEOUT_S, _answered)
            except RejectedError:
                return Result("rejected", number - 1, reply)
            if 0 < reply.status < 500:
                return Result("ok", number, reply)
            if number < MAX_ATTEMPTS:
                await self._sleep(0.1 * number / self._scale)
        return Result(_failed(reply), MAX_ATTEMPTS, reply)


class CorrectedPolicy:
    """Overall deadline, then retries, then the breaker around each attempt, then a timeout for each attempt.

    2xx is success and 4xx final. 5xx and transport errors are retried only where the call is idempotent or carries a
    key, after an exponential pause with full jitter, and only while the retry budget lasts. The breaker hears of 5xx.
    """

    sends_keys = True

    def __init__(self, clock: Clock, rng: random.Random, sleep: Sleep = asyncio.sleep, scale: float = 1.0) -> None:
        self._clock = clock
        self._rng = rng
        self._sleep = sleep
        self._scale = scale

    per_try_s = 3.0
    base_pause_s = 0.1
    max_pause_s = 1.0

    async def run(self, attempt: Attempt, guard: Guard, *, retriable: bool) -> Result:
        """Try as often as is safe and affordable."""
        deadline = self._clock() + TIMEOUT_S
        guard.budget.call()
        reply = Reply()
        number = 0
        while True:
            try:
                left_s = min(self.per_try_s, deadline - self._clock())
                reply = await _through(guard.breaker, attempt, left_s, _healthy)
            except RejectedError:
                return Result("rejected", number, reply)
            number += 1
            if 200 <= reply.status < 300:
                return Result("ok", number, reply)
            pause_s = self._pause_s(number)
            if not retriable or not self._may_retry(reply, number, deadline - pause_s) or not guard.budget.take():
                return Result(_failed(reply), number, reply)
            await self._sleep(pause_s)

    def _may_retry(self, reply: Reply, number: int, latest: float) -> bool:
        return number < MAX_ATTEMPTS and not _healthy(reply) and self._clock() < latest

    def _pause_s(self, number: int) -> float:
        """Full jitter: anything between nothing and the exponential pause."""
        longest_s = min(self.max_pause_s, self.base_pause_s * 2.0 ** (number - 1))
        return self._rng.uniform(0.0, longest_s) / self._scale


class RetryBudget:
    """Retries may be a fifth of the calls of a window of `window_s`, and three in any case."""

    def __init__(self, clock: Clock, window_s: float = 10.0, share: float = 0.2, at_least: int = 3) -> None:
        self._clock = clock
        self._window_s = window_s
        self._share = share
        self._at_least = at_least
        self._ends = clock() + window_s
        self._calls = self._retries = 0

    def call(self) -> None:
        """Count a logical call."""
        self._move_on()
        self._calls += 1

    def take(self) -> bool:
        """Take a retry out of the budget, or say that it is spent."""
        self._move_on()
        if self._retries >= max(self._at_least, int(self._share * self._calls)):
            return False
        self._retries += 1
        return True

    def _move_on(self) -> None:
        now = self._clock()
        if now >= self._ends:
            self._ends = now + self._window_s
            self._calls = self._retries = 0


async def _through(breaker: Breaker, attempt: Attempt, timeout_s: float, healthy: Callable[[Reply], bool]) -> Reply:
    """Make one attempt through the breaker. Raises RejectedError; a cancelled caller counts as a failure."""
    generation = breaker.admit()
    try:
        reply = await attempt(timeout_s)
    except BaseException:
        breaker.record(generation, success=False)
        raise
    breaker.record(generation, success=healthy(reply))
    return reply


def _answered(reply: Reply) -> bool:
    return not reply.failure


def _healthy(reply: Reply) -> bool:
    return not reply.failure and reply.status < 500


def _failed(reply: Reply) -> Outcome:
    return "timeout" if reply.failure == "timeout" else "error"
