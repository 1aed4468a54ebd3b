"""A circuit breaker with exactly the rules of sony/gobreaker (https://github.com/sony/gobreaker, v1).

Lazy: there is no timer, the state moves when somebody calls. Every transition, and every expiry of the interval while
closed, starts a new generation; a result of an older generation is dropped. Rejections are not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

Clock = Callable[[], float]
"""Seconds of a monotonic clock."""


class State(Enum):
    """What the breaker does with the next call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class RejectedError(Exception):
    """The breaker let nothing through; nothing was sent."""


class OpenError(RejectedError):
    """It is open (ErrOpenState)."""


class TooManyRequestsError(RejectedError):
    """It is half-open and its trial calls are taken (ErrTooManyRequests)."""


class Breaker:
    """One breaker for one peer. Times in seconds of `clock`.

    `max_requests` trial calls are admitted in total while half-open; that many successes in a row close it.
    `interval_s` clears the counts while closed (0: never); `timeout_s` is how long it stays open. It opens after more
    than `tolerated` failures in a row. `on_change` hears every transition with the new state.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        max_requests: int = 3,
        interval_s: float = 10.0,
        timeout_s: float = 30.0,
        tolerated: int = 5,
        on_change: Callable[[State], None] = lambda _state: None,
    ) -> None:
        self._clock = clock
        self._max_requests = max_requests
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._tolerated = tolerated
        self._on_change = on_change
        self._state = State.CLOSED
        self._generation = 0
        self._requests = self._successes_in_a_row = self._failures_in_a_row = 0
        self._expiry: float | None = None
        self._new_generation(clock())

    def admit(self) -> int:
        """Count a call in and return its generation. Raises OpenError or TooManyRequestsError."""
        self._move_on(self._clock())
        if self._state is State.OPEN:
            raise OpenError
        if self._state is State.HALF_OPEN and self._requests >= self._max_requests:
            raise TooManyRequestsError
        self._requests += 1
        return self._generation

    def record(self, generation: int, *, success: bool) -> None:
        """Count the result of a call that `admit` let through; dropped when its generation has passed."""
        now = self._clock()
        self._move_on(now)
        if generation != self._generation:
            return
        if success:
            self._succeeded(now)
        else:
            self._failed(now)

    @property
    def state(self) -> State:
        """The state as the next call will find it; asking moves an expired one on, as in gobreaker."""
        self._move_on(self._clock())
        return self._state

    def _succeeded(self, now: float) -> None:
        self._successes_in_a_row += 1
        self._failures_in_a_row = 0
        if self._state is State.HALF_OPEN and self._successes_in_a_row >= self._max_requests:
            self._become(State.CLOSED, now)

    def _failed(self, now: float) -> None:
        if self._state is State.HALF_OPEN:
            self._become(State.OPEN, now)
            return
        self._failures_in_a_row += 1
        self._successes_in_a_row = 0
        if self._failures_in_a_row > self._tolerated:
            self._become(State.OPEN, now)

    def _move_on(self, now: float) -> None:
        if self._expiry is None or self._expiry >= now:  # strict, as time.Time.Before
            return
        if self._state is State.OPEN:
            self._become(State.HALF_OPEN, now)
        else:
            self._new_generation(now)

    def _become(self, state: State, now: float) -> None:
        self._state = state
        self._new_generation(now)
        self._on_change(state)

    def _new_generation(self, now: float) -> None:
        self._generation += 1
        self._requests = self._successes_in_a_row = self._failures_in_a_row = 0
        self._expiry = None
        if self._state is State.OPEN:
            self._expiry = now + self._timeout_s
        elif self._state is State.CLOSED and self._interval_s:
            self._expiry = now + self._interval_s
