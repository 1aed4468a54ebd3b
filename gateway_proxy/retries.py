"""Whether a request is tried again, and how long to wait before."""

from __future__ import annotations

import math
import random

from gateway_proxy.config.routes import Retry
from gateway_proxy.config.routes import RetryBudget as BudgetRule

REFUSED_HERE = -1
"""The outcome of an attempt that the gateway itself refused (an open breaker, a limit): never tried again."""

_WINDOW_S = 10
_DEPOSIT = 1000


class RetryBudget:
    """Retries may be a share of the requests of the last ten seconds, and at least so many a second.

    Finagle's RetryBudget on its leaky token bucket: a request deposits, a retry withdraws 1/share as much, both leave
    the window after ten seconds, and a reserve of min_per_s for the whole window is always there. In slots of a second.
    """

    __slots__ = ("_at", "_balance", "_deposit", "_ends", "_price", "_reserve", "_slots")

    def __init__(self, rule: BudgetRule) -> None:
        self._deposit = _DEPOSIT if rule.share else 0
        self._price = math.ceil(_DEPOSIT / rule.share) if rule.share else 1
        self._reserve = int(rule.min_per_s * _WINDOW_S * self._price)
        self._slots = [0] * _WINDOW_S
        self._at = 0
        self._balance = 0
        self._ends = 0.0

    def request(self, now: float) -> None:
        """Count a request in; retries are none."""
        if now >= self._ends:
            self._turn(now)
        self._slots[self._at] += self._deposit
        self._balance += self._deposit

    def take(self, now: float) -> bool:
        """Take a retry out of the budget; False when there is none."""
        if now >= self._ends:
            self._turn(now)
        if self._balance + self._reserve < self._price:
            return False
        self._slots[self._at] -= self._price
        self._balance -= self._price
        return True

    def _turn(self, now: float) -> None:
        """Empty the slots that have left the window; the balance is the sum of the rest."""
        second = int(now)
        for number in range(max(int(self._ends), second - _WINDOW_S + 1), second + 1):
            self._slots[number % _WINDOW_S] = 0
        self._at = second % _WINDOW_S
        self._balance = sum(self._slots)
        self._ends = second + 1.0


class RetryRule:
    """The retries of one route. Methods are as on the wire; statuses are the upstream's, 0 for no answer."""

    __slots__ = ("_attempts", "_backoff_s", "_budget", "_longest_s", "_methods", "_random", "_statuses", "request")

    def __init__(self, retry: Retry, rng: random.Random) -> None:
        self._attempts = retry.attempts
        self._methods = frozenset(method.encode("ascii") for method in retry.methods)
        self._statuses = frozenset((0, *retry.statuses))
        self._backoff_s = retry.backoff_s
        self._longest_s = retry.max_backoff_s
        self._budget = RetryBudget(retry.budget)
        self._random = rng.random
        self.request = self._budget.request
        """Call it with `now` once for each request of the route, whether it is ever retried or not."""

    def may_retry(self, method: bytes, attempt: int, status: int, body_replayable: bool, now: float) -> bool:
        """Say whether to send a request again after its `attempt`-th attempt, and take that out of the budget.

        `body_replayable`: it has no body, or the whole of it is held. What the gateway refused by itself comes with
        REFUSED_HERE; nothing that a client has seen a byte of may come here at all.
        """
        return (
            status in self._statuses
            and attempt < self._attempts
            and body_replayable
            and method in self._methods
            and self._budget.take(now)
        )

    def pause_s(self, attempt: int) -> float:
        """Return the pause after the `attempt`-th attempt: anything from 0 to backoff_s * 2 ** (attempt - 1), capped.

        Full jitter (Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
        """
        return self._random() * min(self._longest_s, self._backoff_s * 2.0 ** (attempt - 1))
