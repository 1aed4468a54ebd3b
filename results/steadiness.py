"""Is the open window steady? A rule stated beforehand and blind to which arm it judges.

For each flow with at least 20 answers in each half of the window, take ln(median of the second half / median of the
first); average these, weighted by answers. A trial whose halves differ by more than a factor of 1.5 is void.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from results.loaded import Loaded, window_of

LIMIT = 1.5
LEAST_ANSWERS = 20


def unsteady(loaded: Loaded) -> dict[int, float]:
    """Return the steady-state trials (by position) whose open window is not steady, with the factor between halves."""
    rows = loaded.samples[(loaded.samples["window"] == "open") & (loaded.samples["outcome"] == "ok")]
    middle = {at: _middle(loaded, at) for at, _ in loaded.steady()}
    rows = rows[rows["trial"].isin([at for at, ns in middle.items() if ns is not None])]
    if rows.empty:
        return {}
    second = rows["intended_ns"] >= rows["trial"].map(middle)
    halves = rows.assign(second=second).groupby(["trial", "flow", "second"], observed=True)["latency_ms"]
    return _beyond(halves.median().to_dict(), halves.count().to_dict())


def _middle(loaded: Loaded, at: int) -> float | None:
    window = window_of(loaded.trials[at], "open")
    return None if window is None else (window.start_ns + window.end_ns) / 2


def _beyond(medians: Mapping[Any, float], counts: Mapping[Any, int]) -> dict[int, float]:
    """Return trial -> factor from (trial, flow, is second half) -> median and count, where it passes the limit."""
    drifts: dict[int, list[tuple[float, int]]] = {}
    for at, flow, second in medians:
        answers = (counts[at, flow, second], counts.get((at, flow, False), 0))
        if second and min(answers) >= LEAST_ANSWERS:
            drift = math.log(medians[at, flow, True] / medians[at, flow, False])
            drifts.setdefault(int(at), []).append((drift, sum(answers)))
    means = {at: sum(d * n for d, n in found) / sum(n for _, n in found) for at, found in drifts.items()}
    return {at: math.exp(mean) for at, mean in means.items() if abs(mean) > math.log(LIMIT)}
