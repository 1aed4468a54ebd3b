"""From one value a block to an estimate with its interval.

The block is the unit of replication: requests inside a trial are never replicates (Kalibera & Jones 2013, "Rigorous
benchmarking in reasonable time"). Ratio-scale figures are averaged as logarithms, so that a ratio and its inverse
say the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

LEVELS = (0.95, 0.90)
BOOTSTRAP_FROM = 20
BOOTSTRAP_DRAWS = 2000
EXACT_FLIPS_UP_TO = 12
RANDOM_FLIPS = 4096


@dataclass(frozen=True)
class Estimate:
    """A figure that travels with its interval; `low` and `high` are None when one block gives no interval."""

    point: float
    low: float | None
    high: float | None
    level: float
    n: int
    method: str
    unit: str


@dataclass(frozen=True)
class Measured:
    """One quantity at the two levels that the verdict rules need.

    `sd` is the standard deviation between blocks, of logarithms when `log` is set; None with fewer than two blocks.
    `flip_p` is the sign-flip test's p for "no difference", given for comparisons only. `below` and `above` are how much
    further the intervals reach than the blocks' spread says, on the scale of `sd`: no number of blocks takes it away.
    """

    at95: Estimate
    at90: Estimate
    sd: float | None
    log: bool
    flip_p: float | None = None
    below: float = 0.0
    above: float = 0.0

    def widened(self, below: float, above: float, why: str) -> Measured:
        """Return it with intervals that reach further, by logarithms if `log` is set; one block has none still."""
        at95, at90 = (_widened(one, below, above, why, log=self.log) for one in (self.at95, self.at90))
        return replace(self, at95=at95, at90=at90, below=self.below + below, above=self.above + above)

    @property
    def point(self) -> float:
        """The estimate itself."""
        return self.at95.point

    @property
    def n(self) -> int:
        """The number of blocks behind it."""
        return self.at95.n

    @property
    def unit(self) -> str:
        """The unit of the point and of the intervals."""
        return self.at95.unit


def measure(values: Sequence[float], unit: str, *, log: bool, seed: int = 0) -> Measured | None:
    """Estimate the mean over blocks (of logarithms if `log`; then all values must be positive). None without values."""
    if len(values) == 0:
        return None
    scaled = np.log(np.asarray(values, float)) if log else np.asarray(values, float)
    at95, at90 = (_estimate(scaled, level, unit, log=log, seed=seed) for level in LEVELS)
    sd = float(scaled.std(ddof=1)) if len(scaled) > 1 else None
    return Measured(at95, at90, sd, log)


def compare(numerator: Mapping[int, float], denominator: Mapping[int, float], *, seed: int = 0) -> Measured | None:
    """Estimate numerator over denominator from ln(a / b) of each block that has both, all positive.

    Returns None when no block has both. The sign-flip test stands beside the interval as a cross-check.
    """
    logs = [
        math.log(numerator[block] / denominator[block])
        for block in sorted(numerator.keys() & denominator.keys())
        if numerator[block] > 0 and denominator[block] > 0
    ]
    measured = measure([math.exp(d) for d in logs], "x", log=True, seed=seed)
    return measured and _with_flip(measured, logs)


def subtract(
    minuend: Mapping[int, float], subtrahend: Mapping[int, float], unit: str, *, seed: int = 0
) -> Measured | None:
    """Estimate minuend less subtrahend from the difference of each block that has both; None when none has."""
    blocks = sorted(minuend.keys() & subtrahend.keys())
    differences = [minuend[block] - subtrahend[block] for block in blocks]
    measured = measure(differences, unit, log=False, seed=seed)
    return measured and _with_flip(measured, differences)


def t_half_width(sd: float, n: int, level: float) -> float:
    """Return the half-width of Student's t interval for a mean of `n >= 2` values."""
    return float(special.stdtrit(n - 1, 0.5 + level / 2)) * sd / math.sqrt(n)


def sign_flip_p(differences: Sequence[float], *, seed: int = 0) -> float:
    """Return the two-sided p of the sign-flip test of mean zero (Fisher 1935); exact up to 12 values."""
    values = np.asarray(differences, float)
    means = np.abs(_signs(len(values), seed) @ values)
    return float(np.mean(means >= abs(values.sum()) * (1 - 1e-12)))


def _with_flip(measured: Measured, differences: Sequence[float]) -> Measured:
    return replace(measured, flip_p=sign_flip_p(differences))


def _widened(estimate: Estimate, below: float, above: float, why: str, *, log: bool) -> Estimate:
    if estimate.low is None or estimate.high is None:
        return estimate
    if log:
        low, high = estimate.low * math.exp(-below), estimate.high * math.exp(above)
    else:
        low, high = estimate.low - below, estimate.high + above
    return replace(estimate, low=low, high=high, method=f"{estimate.method}, {why}")


@lru_cache(maxsize=32)
def _signs(n: int, seed: int) -> Floats:
    if n > EXACT_FLIPS_UP_TO:
        return np.random.default_rng(seed).choice([-1.0, 1.0], (RANDOM_FLIPS, n))
    bits: Floats = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64)
    return 1.0 - 2.0 * bits


def _estimate(scaled: Floats, level: float, unit: str, *, log: bool, seed: int) -> Estimate:
    ends, method = _interval(scaled, level, seed)
    point, low, high = (_back(value, log=log) for value in (float(scaled.mean()), *ends))
    assert point is not None
    scale = ", mean of logarithms" if log else ""
    return Estimate(point, low, high, level, len(scaled), method + scale, unit)


def _back(value: float | None, *, log: bool) -> float | None:
    return math.exp(value) if log and value is not None else value


def _interval(scaled: Floats, level: float, seed: int) -> tuple[tuple[float | None, float | None], str]:
    n = len(scaled)
    if n < 2:
        return (None, None), "one block, no interval"
    if n >= BOOTSTRAP_FROM and scaled.std() > 0:
        return _studentised(scaled, level, seed), "studentised block bootstrap"
    mean, half = float(scaled.mean()), t_half_width(float(scaled.std(ddof=1)), n, level)
    return (mean - half, mean + half), "t interval over blocks"


def _studentised(scaled: Floats, level: float, seed: int) -> tuple[float, float]:
    """Bootstrap-t (Efron & Tibshirani 1993, chapter 12): resampled blocks, pivot (mean* - mean) / se*."""
    n, mean = len(scaled), float(scaled.mean())
    draws = scaled[np.random.default_rng(seed).integers(0, n, (BOOTSTRAP_DRAWS, n))]
    errors = draws.std(axis=1, ddof=1) / math.sqrt(n)
    pivots = (draws.mean(axis=1) - mean)[errors > 0] / errors[errors > 0]
    tail = (1 - level) / 2
    below, above = np.quantile(pivots, [tail, 1 - tail])
    error = float(scaled.std(ddof=1)) / math.sqrt(n)
    return mean - float(above) * error, mean - float(below) * error
