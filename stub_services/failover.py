"""Several addresses that serve the same, and what a caller does when one of them fails: docs/failover.md.

Requests take the addresses in turn. A connect that is refused or times out costs the request nothing but the time: it
goes to the next address at once, and the address is put aside for a short time. The load engines keep to the very same
rules, so they stand here and know neither a socket nor a unit of time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Generic, TypeVar

CONNECT_TIMEOUT_S = 0.25
"""For one connect when there is another address to try (the delay of RFC 8305, section 8, before the next attempt)."""
PUT_ASIDE_S = 0.5
"""No request goes to an address for so long after a connect to it failed; then a single one tries it again."""
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Methods whose requests may be sent again when their connection broke before the answer (RFC 9110, section 9.2.2)."""

Place = TypeVar("Place")


class Turns(Generic[Place]):
    """Equivalent places (hashable: addresses, or what stands for them) in turn. Not empty; each of them once.

    Times are of any monotonic clock, in the unit of `put_aside`.
    """

    def __init__(self, places: Sequence[Place], put_aside: float) -> None:
        self._places = list(places)
        self._put_aside = put_aside
        self._next = 0
        self._aside_until: dict[Place, float] = {}

    def take(self, now: float, tried: Collection[Place] = ()) -> Place | None:
        """Return the place whose turn it is, those aside and those `tried` left out; None when all were tried.

        Of places that are all aside the one is tried that would be back first: failing without a try helps nobody.
        """
        left = [place for place in self._places[self._next :] + self._places[: self._next] if place not in tried]
        if not left:
            return None
        place = next((place for place in left if self._is_open(place, now)), None)
        if place is None:
            place = min(left, key=self._aside_until.__getitem__)
        if place in self._aside_until:
            self._aside_until[place] = now + self._put_aside  # one request tries it; others need not wait for that
        if not tried:  # a second place for the same request is nobody's turn
            self._next = (self._places.index(place) + 1) % len(self._places)
        return place

    def is_doubtful(self, place: Place) -> bool:
        """Say whether the last connect to the place failed: only a connect can show that it is back."""
        return place in self._aside_until

    def failed(self, place: Place, now: float) -> None:
        """Put the place aside: a connect to it was refused or timed out."""
        self._aside_until[place] = now + self._put_aside

    def reached(self, place: Place) -> None:
        """Take the place back: it was connected to."""
        self._aside_until.pop(place, None)

    def _is_open(self, place: Place, now: float) -> bool:
        return self._aside_until.get(place, now) <= now
