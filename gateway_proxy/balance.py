"""Which target of an upstream the next request goes to.

A balancer hears of every change in the targets that get requests, and makes its tables then; a pick reads them. One
process counts for itself: with several workers each has its own turns and sees its own requests in flight only.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import accumulate, islice
from typing import Any, Generic, Protocol

from gateway_proxy.config.upstreams import Balance
from gateway_proxy.targets import T

POINTS_PER_TARGET = 160  # of a target of mean weight, on the ring; as in ketama and nginx
_POINT_BYTES = 8
_POINTS_PER_DIGEST = 8


class Balancer(Protocol[T]):
    """Picks targets. `changed` is called before the first `pick`, with all targets."""

    def changed(self, available: Sequence[T]) -> None:
        """Take the targets that get requests from now on; at least one."""

    def pick(self, key: bytes) -> T:
        """Return the target for a request; `key` is what `hash_on` says, and only a consistent hash looks at it."""


class RoundRobin(Generic[T]):
    """In turn, by weight, and spread as evenly as weights allow: 5, 1, 1 gives a a b a c a a.

    nginx's smooth weighted round robin. Its turns repeat after the sum of the weights (over their greatest common
    divisor), so they are worked out once and then read.
    """

    __slots__ = ("_at", "_credits", "_period", "_targets", "_turns", "_weights")

    def __init__(self) -> None:
        self._targets: Sequence[T] = ()
        self._weights: list[int] = []
        self._credits: list[int] = []
        self._turns: list[T] = []
        self._period = self._at = 0

    def changed(self, available: Sequence[T]) -> None:
        """Begin with the first turn of the new targets."""
        divisor = math.gcd(*(target.weight for target in available))
        self._targets = tuple(available)
        self._weights = [target.weight // divisor for target in available]
        self._credits = [0] * len(available)
        self._period = sum(self._weights)
        self._turns = []
        self._at = 0

    def pick(self, key: bytes) -> T:  # noqa: ARG002 - of the protocol
        """Return the target whose turn it is."""
        at = self._at
        self._at = at + 1 if at + 1 < self._period else 0
        turns = self._turns
        return turns[at] if at < len(turns) else self._work_out()

    def _work_out(self) -> T:
        credits_ = self._credits
        for index, weight in enumerate(self._weights):
            credits_[index] += weight
        best = credits_.index(max(credits_))
        credits_[best] -= self._period
        target = self._targets[best]
        self._turns.append(target)
        return target


class LeastConnections(Generic[T]):
    """The target with the fewest requests in flight for its weight; of equals, the one whose turn it is."""

    __slots__ = ("_count", "_ring", "_start", "_turns")

    def __init__(self) -> None:
        self._turns: RoundRobin[T] = RoundRobin()
        self._ring: Sequence[T] = ()  # twice around, so that a look at all of them can begin anywhere
        self._count = self._start = 0

    def changed(self, available: Sequence[T]) -> None:
        """Look at these from now on."""
        self._turns.changed(available)
        self._ring = (*available, *available)
        self._count = len(available)
        self._start = 0

    def pick(self, key: bytes) -> T:
        """Return the target whose turn it is, unless another one has less to do."""
        best = self._turns.pick(key)
        if not best.active:
            return best
        least = best.active / best.weight
        start = self._start = (self._start + 1) % self._count
        for target in self._ring[start : start + self._count]:
            load = target.active / target.weight
            if load < least:
                best, least = target, load
        return best


class TwoChoices(Generic[T]):
    """Of two drawn at random, by weight, the one with fewer requests in flight for its weight.

    Mitzenmacher, The Power of Two Choices in Randomized Load Balancing (IEEE TPDS 12(10), 2001); weights as in nginx's
    `random two least_conn`.
    """

    __slots__ = ("_last", "_random", "_sums", "_targets")

    def __init__(self, rng: random.Random) -> None:
        self._random = rng.random
        self._targets: Sequence[T] = ()
        self._sums: list[int] = []
        self._last = 0

    def changed(self, available: Sequence[T]) -> None:
        """Draw from these from now on."""
        self._targets = tuple(available)
        self._sums = list(accumulate(target.weight for target in available))
        self._last = len(available) - 1

    def pick(self, key: bytes) -> T:  # noqa: ARG002 - of the protocol
        """Return the better of two different targets; the only one, when there is one."""
        targets, sums, last = self._targets, self._sums, self._last
        if not last:
            return targets[0]
        at = bisect_right(sums, self._random() * sums[-1], 0, last)
        first = targets[at]
        point = self._random() * (sums[-1] - first.weight)
        if point >= sums[at] - first.weight:
            point += first.weight  # over the first one's share, which cannot be drawn again
        second = targets[bisect_right(sums, point, 0, last)]
        return second if second.active * first.weight < first.active * second.weight else first


class ConsistentHash(Generic[T]):
    """The same target for the same key, as long as it is there; without it, only its own keys go elsewhere.

    A ring of virtual nodes (Karger et al., STOC 1997), 160 for a target of mean weight. The first list of targets
    sets that mean, so that the points of a target stay where they are while others come and go.
    """

    __slots__ = ("_owners", "_per_weight", "_points", "_ring")

    def __init__(self) -> None:
        self._points: dict[bytes, list[int]] = {}
        self._per_weight = 0.0
        self._ring: list[int] = []
        self._owners: list[T] = []

    def changed(self, available: Sequence[T]) -> None:
        """Put these on the ring, and nothing else."""
        if not self._per_weight:
            self._per_weight = POINTS_PER_TARGET * len(available) / sum(target.weight for target in available)
        placed = [(point, target) for target in available for point in self._points_of(target)]
        placed.sort(key=lambda pair: (pair[0], pair[1].authority))
        self._ring = [point for point, _ in placed]
        self._owners = [target for _, target in placed]

    def pick(self, key: bytes) -> T:
        """Return the owner of the first point after the key's own."""
        ring = self._ring
        at = bisect_right(ring, int.from_bytes(blake2b(key, digest_size=_POINT_BYTES).digest(), "big"))
        return self._owners[at if at < len(ring) else 0]

    def _points_of(self, target: T) -> list[int]:
        points = self._points.get(target.authority)
        if points is None:
            count = max(1, round(target.weight * self._per_weight))
            points = self._points[target.authority] = list(islice(_points(target.authority, count), count))
        return points


def _points(name: bytes, count: int) -> Iterator[int]:
    """Yield `count` points, eight out of each hash of the name and a number."""
    for number in range(-(-count // _POINTS_PER_DIGEST)):
        digest = blake2b(b"%b#%d" % (name, number), digest_size=_POINT_BYTES * _POINTS_PER_DIGEST).digest()
        for start in range(0, len(digest), _POINT_BYTES):
            yield int.from_bytes(digest[start : start + _POINT_BYTES], "big")


BALANCERS: dict[Balance, Callable[[random.Random], Balancer[Any]]] = {
    "round_robin": lambda _rng: RoundRobin(),
    "least_connections": lambda _rng: LeastConnections(),
    "two_choices": TwoChoices,
    "consistent_hash": lambda _rng: ConsistentHash(),
}
