"""The verdict rules: an interval against a band, and how many more blocks would settle it.

Confirmed by equivalence at 5 % (Schuirmann 1987, two one-sided tests: the 90 % interval lies inside the band);
refuted when the 95 % interval and the band do not meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from results.estimate import Estimate, Measured, t_half_width
from scenarios.model import Band

Word = Literal["confirmed", "refuted", "inconclusive", "invalid", "not testable"]
WORDS: tuple[Word, ...] = ("confirmed", "refuted", "inconclusive", "invalid", "not testable")

MOST_BLOCKS = 4096


def settle(measured: Measured, band: Band) -> Word:
    """Return confirmed, refuted or inconclusive."""
    return settle_ends((measured.at90.low, measured.at90.high), (measured.at95.low, measured.at95.high), band)


Ends = tuple[float | None, float | None]


def settle_ends(at90: Ends, at95: Ends, band: Band) -> Word:
    """Apply the rule to the ends of a 90 % and a 95 % interval; without an interval nothing is settled."""
    if inside(at90, band):
        return "confirmed"
    return "refuted" if apart(at95, band) else "inconclusive"


def inside(ends: Ends, band: Band) -> bool:
    """Say whether the interval lies wholly inside the band; an open end of the band excludes nothing."""
    low, high = ends
    if low is None or high is None:
        return False
    return (band.low is None or low >= band.low) and (band.high is None or high <= band.high)


def apart(ends: Ends, band: Band) -> bool:
    """Say whether the interval and the band do not meet."""
    low, high = ends
    if low is None or high is None:
        return False
    return (band.low is not None and high < band.low) or (band.high is not None and low > band.high)


def combine(words: list[Word]) -> Word:
    """Return the verdict on a statement made of several: one refuted part refutes it, all must be confirmed."""
    if "refuted" in words:
        return "refuted"
    return "confirmed" if words and all(word == "confirmed" for word in words) else "inconclusive"


def more_blocks(measured: Measured, band: Band) -> int | None:
    """Return how many more blocks would settle it, if point and block sd stay; None when no number up to 4096 would."""
    if measured.sd is None:
        return None
    sd = measured.sd

    def settled(n: int) -> bool:
        return settle_ends(_ends(measured, sd, n, 0.90), _ends(measured, sd, n, 0.95), band) != "inconclusive"

    return first_more(measured.n, settled)


def first_more(n: int, settled: Callable[[int], bool]) -> int | None:
    """Return the least m - n with m > n and `settled(m)`, by doubling and halving; None beyond 4096 blocks."""
    low, high = n, n + 1
    while not settled(high):
        low, high = high, 2 * high
        if low > MOST_BLOCKS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return high - n


def _ends(measured: Measured, sd: float, n: int, level: float) -> Ends:
    half = t_half_width(sd, n, level)
    below, above = half + measured.below, half + measured.above
    if measured.log:
        return measured.point * math.exp(-below), measured.point * math.exp(above)
    return measured.point - below, measured.point + above


def ends(estimate: Estimate) -> Ends:
    """Return the estimate's interval as a pair."""
    return estimate.low, estimate.high
