"""The search for capacity: the highest offered rate that meets an objective, by bracketing, then bisection.

Decides which rate to offer next and nothing else; whoever drives the windows tells it what came of each. Rates are
bisected on a logarithmic scale, because the precision is relative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scenarios.objective import Votes, bracket

LOWEST_SHARE = 1 / 64  # of the first rate; a system that cannot carry that has no capacity worth the name


@dataclass(frozen=True)
class SearchRules:
    """`precision`: the bracket's upper end is at most so much above the lower. `votes`: windows that must agree."""

    precision: float
    votes: int
    most_windows: int


class Search:
    """One search. `step` is the factor of the first move while no bracket is known; it grows with every further one."""

    def __init__(self, rules: SearchRules, start_per_s: float, step: float) -> None:
        self.rules = rules
        self.start_per_s = start_per_s
        self.step = step
        self.windows = 0
        self.moves = 0
        self.votes: dict[float, Votes] = {}

    def next_rate(self) -> float | None:
        """Return the rate to offer next, in requests a second, or None when the search is over."""
        if self.windows >= self.rules.most_windows:
            return None
        undecided = [rate for rate, votes in self.votes.items() if max(votes) < self.rules.votes]
        return undecided[0] if undecided else self._move()

    def tell(self, rate_per_s: float, *, met: bool) -> None:
        """Take note of what a window at this rate showed."""
        self.windows += 1
        self.votes[rate_per_s] = self.votes.get(rate_per_s, Votes()).with_window(met=met)

    @property
    def settled(self) -> bool:
        """Say whether the capacity is known with the precision that was asked for."""
        low, high = bracket(self.votes)
        return low is not None and high is not None and high <= low * (1 + self.rules.precision)

    @property
    def carried_per_s(self) -> float | None:
        """Return the highest rate carried, or None while the search is not settled."""
        return bracket(self.votes)[0] if self.settled else None

    def _move(self) -> float | None:
        low, high = bracket(self.votes)
        if self.settled:
            return None
        if low is not None and high is not None:
            return _rounded(math.sqrt(low * high))
        return self._widen(low, high)

    def _widen(self, low: float | None, high: float | None) -> float | None:
        if low is None and high is None:
            return _rounded(self.start_per_s)
        self.moves += 1
        factor = self.step**self.moves
        if low is not None:
            return _rounded(low * factor)
        assert high is not None
        floor = max(0.1, _rounded(self.start_per_s * LOWEST_SHARE))
        return max(floor, _rounded(high / factor)) if high > floor else None


def _rounded(rate_per_s: float) -> float:
    return round(rate_per_s, 1)
