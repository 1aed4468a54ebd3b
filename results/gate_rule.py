"""The regression gate's rule for ratios, on plain numbers: from two log ratios with their errors to pass or fail.

FAIL when the one-sided 97.5 % lower bound of the slowdown is above the tolerance, after Holm's correction across
metrics (Holm 1979); PASS when the upper bound is below the margin; else INCONCLUSIVE. Degrees of freedom are Welch's
(1947).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import special

ALPHA = 0.025
TOLERANCE = 0.03
MARGIN = 0.10

Answer = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True)
class LogRatio:
    """A ratio of one run as its logarithm; `sd` is between blocks."""

    mean: float
    sd: float
    n: int

    @property
    def variance(self) -> float:
        """The squared standard error of the mean."""
        return self.sd**2 / self.n


@dataclass(frozen=True)
class Slowdown:
    """The slowdown of one run against another as a logarithm, positive when slower; `df` as Welch has it."""

    mean: float
    error: float
    df: float

    def p_within(self, tolerance: float) -> float:
        """Return the one-sided p of `slowdown <= tolerance` (a share)."""
        excess = self.mean - math.log1p(tolerance)
        if self.error == 0:
            return 0.0 if excess > 0 else 1.0
        return 1 - float(special.stdtr(self.df, excess / self.error))

    def bound(self, *, upper: bool) -> float:
        """Return the one-sided 97.5 % bound as a share: 0.04 is 4 % slower."""
        half = float(special.stdtrit(self.df, 1 - ALPHA)) * self.error
        return math.expm1(self.mean + half if upper else self.mean - half)


def slowdown(current: LogRatio, baseline: LogRatio, *, worse_is_higher: bool) -> Slowdown:
    """Compare two runs' log ratios of the same metric, each with at least two blocks."""
    sign = 1 if worse_is_higher else -1
    total = current.variance + baseline.variance
    parts = sum(run.variance**2 / (run.n - 1) for run in (current, baseline))
    df = total**2 / parts if parts > 0 else float(current.n + baseline.n - 2)
    return Slowdown(sign * (current.mean - baseline.mean), math.sqrt(total), df)


def answers(slowdowns: Sequence[Slowdown], tolerance: float = TOLERANCE, margin: float = MARGIN) -> list[Answer]:
    """Return the gate's answer for each metric; failing is corrected for their number."""
    failing = _holm([one.p_within(tolerance) for one in slowdowns])
    return [
        "fail" if fails else "pass" if one.bound(upper=True) < margin else "inconclusive"
        for one, fails in zip(slowdowns, failing, strict=True)
    ]


def _holm(ps: Sequence[float]) -> list[bool]:
    order = sorted(range(len(ps)), key=ps.__getitem__)
    rejected = [False] * len(ps)
    for rank, at in enumerate(order):
        if ps[at] > ALPHA / (len(ps) - rank):
            break
        rejected[at] = True
    return rejected
