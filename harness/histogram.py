"""Durations in an HdrHistogram: microseconds, three significant digits, merged by addition.

Values come in columns of nanoseconds and are counted by distinct microsecond, so that a request costs no Python object.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from hdrh.histogram import HdrHistogram

MOST_US = 3_600_000_000  # longer ones count as an hour
DIGITS = 3
_AT_A_TIME = 65_536

Column = np.ndarray[Any, np.dtype[np.int64]]


class Histogram:
    """Durations of requests. Mean and maximum are exact for what was recorded, to three digits for what was decoded."""

    def __init__(self) -> None:
        self._hdr = HdrHistogram(1, MOST_US, DIGITS)
        self._sum_ns = 0.0
        self._max_ns = 0

    def record(self, values_ns: Column | array[int]) -> None:
        """Count durations in ns, none below 0."""
        values = np.asarray(values_ns, dtype=np.int64)
        for start in range(0, len(values), _AT_A_TIME):
            self._record(values[start : start + _AT_A_TIME])

    def _record(self, values: Column) -> None:
        rounded = np.minimum((values + 500) // 1000, MOST_US)
        distinct, counts = np.unique(rounded, return_counts=True)
        for value, count in zip(distinct.tolist(), counts.tolist(), strict=True):
            self._hdr.record_value(value, count)
        self._sum_ns += float(values.sum())
        self._max_ns = max(self._max_ns, int(values.max()))

    def __iadd__(self, other: Histogram) -> Self:
        """Add what another one counted: the same as having recorded everything here."""
        if len(other):
            self._hdr.add(other._hdr)
        self._sum_ns += other._sum_ns
        self._max_ns = max(self._max_ns, other._max_ns)
        return self

    def __len__(self) -> int:
        return int(self._hdr.get_total_count())

    def encode(self) -> str:
        """Return it in HdrHistogram's own compressed form, base64: any HdrHistogram library reads and adds it."""
        return str(self._hdr.encode().decode("ascii"))

    @classmethod
    def decode(cls, text: str) -> Self:
        """Return the histogram that was encoded; mean and maximum to three digits."""
        found = cls()
        found._hdr.decode_and_add(text.encode("ascii"))
        if len(found):
            found._sum_ns = found._hdr.get_mean_value() * 1000 * len(found)
            found._max_ns = found._hdr.get_max_value() * 1000
        return found

    @property
    def mean_ms(self) -> float:
        """The mean; 0 when nothing was recorded."""
        return self._sum_ns / len(self) / 1e6 if len(self) else 0.0

    @property
    def max_ms(self) -> float:
        """The longest; 0 when nothing was recorded."""
        return self._max_ns / 1e6

    def percentiles_ms(self, shares: Sequence[float]) -> list[float]:
        """Return the percentiles (in %), none above the maximum; zeros when nothing was recorded."""
        if not len(self):
            return [0.0] * len(shares)
        found = self._hdr.get_percentile_to_value_dict(list(shares))
        return [min(found[share] / 1e3, self.max_ms) for share in shares]

    def percentile_ms(self, share: float) -> float:
        """Return one percentile (in %)."""
        return self.percentiles_ms([share])[0]

    def counts(self) -> list[tuple[float, int]]:
        """Return what was recorded as (ms, how many), ascending; values to three digits."""
        steps = self._hdr.get_recorded_iterator()
        return [(step.value_iterated_to / 1e3, int(step.count_added_in_this_iter_step)) for step in steps]


def requests_needed(share: float) -> int:
    """Return how many requests a percentile (in %) asks for: ten above it. p95 200, p99 1000, p99.9 10 000."""
    return round(10 / (1 - share / 100))
