"""What the regression gate can see at this run's noise: virtual gates over the recorded null control.

Each virtual gate draws two runs of A against A with the block sd that direct against direct again showed, normal in
logarithms, as many blocks as this run has, and applies the gate's rule. The share that fails is the false alarm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import special

from results.gate_rule import ALPHA, MARGIN, TOLERANCE

if TYPE_CHECKING:
    from results.outcome import Comparison

GATES = 10_000
CAUGHT_IN = 0.8
NULL = "direct-null"


@dataclass(frozen=True)
class Power:
    """The gate on one metric at this noise. `caught` is the least slowdown (a share) that fails 4 gates in 5."""

    metric: str
    sd_log: float
    n: int
    false_fail: float
    passes: float
    caught: float


def powers(comparisons: Sequence[Comparison], seed: int) -> Iterator[Power]:
    """Simulate the gate for every gated metric with a null control of at least two blocks."""
    for one in comparisons:
        if one.gated and one.numerator == NULL and one.measured.sd:
            yield simulate(one.key.metric, one.measured.sd, one.measured.n, seed)


def simulate(metric: str, sd_log: float, n: int, seed: int) -> Power:
    """Replay GATES virtual gates of two runs with `n >= 2` blocks each."""
    rng = np.random.default_rng(seed)
    runs = rng.normal(0.0, sd_log, (2, GATES, n))
    mean = runs[0].mean(axis=1) - runs[1].mean(axis=1)
    variances = runs.var(axis=2, ddof=1) / n
    half = _half_width(variances, n)
    failing = mean - half - math.log1p(TOLERANCE)
    passing = (mean + half < math.log1p(MARGIN)) & (failing <= 0)
    caught = max(float(np.quantile(-failing, CAUGHT_IN)), 0.0)
    return Power(metric, sd_log, n, float((failing > 0).mean()), float(passing.mean()), math.expm1(caught))


def _half_width(variances: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    total = variances.sum(axis=0)
    df = total**2 / ((variances**2).sum(axis=0) / (n - 1))
    width: npt.NDArray[np.float64] = special.stdtrit(df, 1 - ALPHA) * np.sqrt(total)
    return width
