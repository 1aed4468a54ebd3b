"""Exact intervals for shares of requests, for outcomes that are all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from scipy import special

from results.estimate import t_half_width


def clopper_pearson(successes: int, trials: int, level: float) -> tuple[float, float]:
    """Return the exact two-sided interval of a share (Clopper & Pearson 1934); (0, 1) without trials.

    With no success among n the upper end is 1 - tail ** (1 / n), with tail = (1 - level) / 2.
    """
    if trials == 0:
        return 0.0, 1.0
    tail, failures = (1 - level) / 2, trials - successes
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, failures + 1, tail))
    high = 1.0 if failures == 0 else float(special.betaincinv(successes + 1, failures, 1 - tail))
    return low, high


def share_interval(blocks: Sequence[tuple[int, int]], level: float, repeat: float = 1.0) -> tuple[float, float] | None:
    """Return the interval of a share from (successes, trials) of each block; None below two blocks with trials.

    The hull of the exact interval on pooled counts and, when blocks differ, of the t interval over blocks. `repeat`
    says how many times as many blocks like these to assume.
    """
    shares = [successes / trials for successes, trials in blocks if trials]
    if len(shares) < 2:
        return None
    successes, trials = (round(repeat * sum(column)) for column in zip(*blocks, strict=True))
    low, high = clopper_pearson(successes, trials, level)
    sd = stdev(shares)
    half = t_half_width(sd, max(round(repeat * len(shares)), 2), level) if sd > 0 else 0.0
    return max(min(low, fmean(shares) - half), 0.0), min(max(high, fmean(shares) + half), 1.0)
