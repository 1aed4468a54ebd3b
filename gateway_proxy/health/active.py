"""Active health: every target is asked at an interval, whether requests go there or not."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol

from gateway_proxy.config import upstreams
from gateway_proxy.targets import T, TargetPool

REASON = "active_health"
_HEADERS = (("User-Agent", "archbench-gateway-health"),)


class Ask(Protocol):
    """Sends a request without a body; as `Inquirer.ask` of gateway_proxy.inquiry."""

    def __call__(
        self,
        address: str,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        timeout_s: float,
        done: Callable[[Any], None],
    ) -> Callable[[], None]:
        """Call `done` once, later: with an answer, which has a `status`, or a failure, which has none.

        Return what cancels.
        """


class ActiveHealth(Generic[T]):
    """Asks GET `path` of each target, and changes its mind after so many answers in a row that speak against it.

    A target is taken for healthy until it was not: a gateway that starts serves at once. First times are drawn over
    one interval, so that several gateways, workers and targets are not asked all at once. No answer within `timeout_s`
    is a wrong one; the next question waits for it.
    """

    __slots__ = ("_ask", "_pool", "_rule", "_watches")

    def __init__(
        self, rule: upstreams.ActiveHealth, pool: TargetPool[T], ask: Ask, rng: random.Random, now: float
    ) -> None:
        self._rule = rule
        self._pool = pool
        self._ask = ask
        self._watches = [_Watch(target, now + rng.random() * rule.interval_s) for target in pool.targets]

    def seen(self, target: T, status: int, now: float) -> None:
        """Requests are not looked at."""

    def sweep(self, now: float) -> None:
        """Ask the targets that are due."""
        for watch in self._watches:
            if watch.due <= now and watch.cancel is None:
                watch.due = now + self._rule.interval_s
                self._begin(watch)

    def close(self) -> None:
        """Drop the questions under way, and ask no more."""
        for watch in self._watches:
            if watch.cancel is not None:
                watch.cancel()
        self._watches = []

    def _begin(self, watch: _Watch[T]) -> None:
        def done(outcome: object) -> None:
            watch.cancel = None
            self._heard(watch, getattr(outcome, "status", 0))

        address = watch.target.authority.decode("ascii")
        watch.cancel = self._ask(address, "GET", self._rule.path, _HEADERS, self._rule.timeout_s, done)

    def _heard(self, watch: _Watch[T], status: int) -> None:
        if (status in self._rule.statuses) == watch.healthy:
            watch.row = 0
            return
        watch.row += 1
        if watch.row < (self._rule.unhealthy_after if watch.healthy else self._rule.healthy_after):
            return
        watch.row = 0
        watch.healthy = not watch.healthy
        change = self._pool.readmit if watch.healthy else self._pool.hold_out
        change(watch.target, REASON)


class _Watch(Generic[T]):
    """One target: when to ask it next, what is thought of it, and how many answers in a row speak against that."""

    __slots__ = ("cancel", "due", "healthy", "row", "target")

    def __init__(self, target: T, due: float) -> None:
        self.target = target
        self.due = due
        self.healthy = True
        self.row = 0
        self.cancel: Callable[[], None] | None = None
