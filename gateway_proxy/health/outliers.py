"""Outlier ejection: a target whose share of failures in an interval is too high gets no requests for a while."""

from __future__ import annotations

from typing import Generic

from gateway_proxy.config import upstreams
from gateway_proxy.targets import T, TargetPool

REASON = "outlier_ejection"
LONGEST_FACTOR = 10  # of ejection_s: 300 s of the default 30, which is Envoy's max_ejection_time


class OutlierEjection(Generic[T]):
    """Envoy's failure percentage, with the intervals and multipliers of gRPC's proposal A50.

    At the end of an interval, targets with at least `min_requests` in it and at least `error_share` of failures are
    ejected, the worst first, as long as at most `max_ejected_share` of all are. The n-th ejection lasts n times
    `ejection_s`, ten times at most; each interval without being ejected takes one step back.
    """

    __slots__ = ("_ends", "_pool", "_records", "_rule")

    def __init__(self, rule: upstreams.OutlierEjection, pool: TargetPool[T], now: float) -> None:
        self._rule = rule
        self._pool = pool
        self._ends = now + rule.interval_s
        self._records = {target: _Record() for target in pool.targets}

    def seen(self, target: T, status: int, now: float) -> None:  # noqa: ARG002 - of the protocol; sweeps end intervals
        """Count no answer (0) and any 5xx as failures."""
        record = self._records[target]
        record.requests += 1
        if status >= 500 or not status:
            record.failures += 1

    def sweep(self, now: float) -> None:
        """Judge an interval that has ended, and then readmit targets whose time is over: with a clean slate."""
        if now >= self._ends:
            self._ends = now + self._rule.interval_s
            self._judge(now)
        for target, record in self._records.items():
            if record.until is not None and record.until <= now:
                record.until = None
                record.requests = record.failures = 0
                self._pool.readmit(target, REASON)

    def close(self) -> None:
        """Nothing is under way."""

    def _judge(self, now: float) -> None:
        guilty = [target for target in self._records if self._is_outlier(self._records[target])]
        guilty.sort(key=lambda target: self._records[target].failure_share, reverse=True)
        for target in guilty[: self._places_left()]:
            self._eject(target, now)
        for record in self._records.values():
            if record.until is None and record.ejections:
                record.ejections -= 1
            record.requests = record.failures = 0

    def _is_outlier(self, record: _Record) -> bool:
        rule = self._rule
        enough = record.until is None and record.requests >= rule.min_requests
        return enough and record.failure_share >= rule.error_share

    def _places_left(self) -> int:
        ejected = sum(record.until is not None for record in self._records.values())
        most = int(self._rule.max_ejected_share * len(self._records) + 1e-9)
        return max(0, most - ejected)

    def _eject(self, target: T, now: float) -> None:
        record = self._records[target]
        record.ejections = min(record.ejections + 1, LONGEST_FACTOR)
        record.until = now + self._rule.ejection_s * record.ejections
        self._pool.hold_out(target, REASON)


class _Record:
    """One target: what it did in this interval, how often it was ejected lately, and until when it is."""

    __slots__ = ("ejections", "failures", "requests", "until")

    def __init__(self) -> None:
        self.requests = self.failures = self.ejections = 0
        self.until: float | None = None

    @property
    def failure_share(self) -> float:
        return self.failures / self.requests if self.requests else 0.0
