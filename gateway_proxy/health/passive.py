"""Passive health: a target that failed so many times in a row is left alone for a while."""

from __future__ import annotations

from typing import Generic

from gateway_proxy.config import upstreams
from gateway_proxy.targets import T, TargetPool

REASON = "passive_health"
_FAILED = frozenset({0, 502, 503, 504})


class PassiveHealth(Generic[T]):
    """Counts failures in a row, for each target.

    Time does not end a row, only an answer does: a target that comes back and fails again is held out again at once, as
    nginx does after `fail_timeout`. Answers to requests from before it was held out do not readmit it.
    """

    __slots__ = ("_pool", "_rows", "_rule", "_until")

    def __init__(self, rule: upstreams.PassiveHealth, pool: TargetPool[T]) -> None:
        self._rule = rule
        self._pool = pool
        self._rows: dict[T, int] = {}  # of targets that failed last, so that a good answer costs one look here
        self._until: dict[T, float] = {}

    def seen(self, target: T, status: int, now: float) -> None:
        """Count no answer (0), 502, 503 and 504 as failures."""
        if status not in _FAILED:
            if target in self._rows:
                self._answered(target)
            return
        row = self._rows[target] = self._rows.get(target, 0) + 1
        if row >= self._rule.unhealthy_after and target not in self._until:
            self._until[target] = now + self._rule.retry_after_s
            self._pool.hold_out(target, REASON)

    def sweep(self, now: float) -> None:
        """Readmit targets whose time is over."""
        if self._until:
            for target in [target for target, until in self._until.items() if until <= now]:
                self._readmit(target)

    def close(self) -> None:
        """Nothing is under way."""

    def _answered(self, target: T) -> None:
        if target not in self._until:
            del self._rows[target]
        elif all(other.held_out for other in self._pool.targets):
            # Nobody is left, so everybody is asked, this one too: its answer is news.
            del self._rows[target]
            self._readmit(target)

    def _readmit(self, target: T) -> None:
        del self._until[target]
        self._pool.readmit(target, REASON)
