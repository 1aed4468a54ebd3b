"""A circuit breaker for one upstream, with exactly the rules of sony/gobreaker (https://github.com/sony/gobreaker, v1).

Lazy: there is no timer, the state moves when somebody calls. Every transition, and every expiry of the interval while
closed, starts a new generation; a result of an older generation is dropped. Refusals are not counted as results.

The services have one of their own (stub_services/breaker.py): the two programs may not import each other, and the only
room they share is the wire. A test holds the two to the same answers.
"""

from __future__ import annotations

from typing import Any

from gateway_proxy.config.upstreams import CircuitBreaker

CLOSED, OPEN, HALF_OPEN = range(3)
STATES = ("closed", "open", "half_open")
_NEVER = float("inf")


class Breaker:
    """Decides whether a request may go to the upstream. Times are seconds of one monotonic clock.

    It opens after `failures` in a row and refuses for `open_s`; then `half_open_requests` are admitted, in total, and
    as many successes close it. The first failure among them opens it again. `interval_s` clears the counts while
    closed (0: never, gobreaker's own default).

    Every ticket must come back, through `ended` or `abandoned`: while half-open, a missing one blocks the rest.
    """

    __slots__ = (
        "_expiry",
        "_failures",
        "_generation",
        "_interval_s",
        "_requests",
        "_rule",
        "_state",
        "_successes",
        "opened",
        "refused",
    )

    def __init__(self, rule: CircuitBreaker, now: float, interval_s: float = 0.0) -> None:
        self._rule = rule
        self._interval_s = interval_s
        self._state = CLOSED
        self._generation = 0
        self._requests = self._successes = self._failures = 0  # of this generation; the last two in a row
        self._expiry = _NEVER
        self.opened = self.refused = 0  # since the start
        self._new_generation(now)

    def admits(self, now: float) -> int | None:
        """Return a ticket for a request that may go, or None for one to be answered with 503."""
        if self._expiry < now:  # strict, as time.Time.Before
            self._move_on(now)
        state = self._state
        if state and (state == OPEN or self._requests >= self._rule.half_open_requests):
            self.refused += 1
            return None
        self._requests += 1
        return self._generation

    def ended(self, ticket: int, failed: bool, now: float) -> None:
        """Count how a request ended: failed, when the upstream gave no answer or any 5xx."""
        if self._expiry < now:
            self._move_on(now)
        if ticket != self._generation:
            return
        if failed:
            self._failed(now)
            return
        self._successes += 1
        self._failures = 0
        if self._state == HALF_OPEN and self._successes >= self._rule.half_open_requests:
            self._become(CLOSED, now)

    def abandoned(self, ticket: int, now: float) -> None:
        """Take a request back that says nothing about the upstream: its client left, or it was never sent.

        gobreaker has no such thing and counts a caller's cancellation as a failure; a gateway that did would refuse
        everybody because a few clients are impatient.
        """
        if self._expiry < now:
            self._move_on(now)
        if ticket == self._generation:
            self._requests -= 1

    def shown(self, now: float) -> dict[str, Any]:
        """Return the state as the next request will find it, and counts; changes nothing."""
        state = HALF_OPEN if self._state == OPEN and self._expiry < now else self._state
        return {
            "state": STATES[state],
            "failures_in_a_row": self._failures,
            "opened": self.opened,
            "refused": self.refused,
        }

    def _failed(self, now: float) -> None:
        if self._state == HALF_OPEN:
            self._become(OPEN, now)
            return
        self._failures += 1
        self._successes = 0
        if self._failures >= self._rule.failures:
            self._become(OPEN, now)

    def _move_on(self, now: float) -> None:
        if self._state == OPEN:
            self._become(HALF_OPEN, now)
        else:
            self._new_generation(now)

    def _become(self, state: int, now: float) -> None:
        self._state = state
        self.opened += state == OPEN
        self._new_generation(now)

    def _new_generation(self, now: float) -> None:
        self._generation += 1
        self._requests = self._successes = self._failures = 0
        self._expiry = _NEVER
        if self._state == OPEN:
            self._expiry = now + self._rule.open_s
        elif self._state == CLOSED and self._interval_s:
            self._expiry = now + self._interval_s
