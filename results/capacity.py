"""Capacity: what the searches found, computed again from their samples, and the throughput-latency curves.

The capacity of an arm in a block is the highest offered rate that the majority of its windows carried within the
objective, below the lowest rate that it did not carry; it counts when the two are as close as was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from results.loaded import NS_PER_S, Loaded, window_of
from results.record import CAPACITY_WINDOW, MIX, TrialRecord, Window
from scenarios.objective import Objective, Votes, bracket, nearest_rank

BIN = 1.06
"""Windows of one arm whose rates differ by less than this factor are one point of its curve."""
_Groups = Mapping[Any, pd.DataFrame]  # (trial, window) -> its requests
_SLACK = 1e-3  # rates are recorded to a tenth of a request a second


@dataclass(frozen=True)
class RatePoint:
    """What happened at one offered rate: rates per second, latency from the intended start in ms, all flows pooled."""

    offered_per_s: float
    achieved_per_s: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    error_share: float
    requests: int
    windows: int = 1


@dataclass(frozen=True)
class SearchWindow:
    """One window of a search, and whether it met the objective."""

    point: RatePoint
    met: bool


@dataclass(frozen=True)
class CapacitySearch:
    """One search of one arm in one block. `what`: the mix or a flow. `low` was carried, `high` was not."""

    at: int  # the trial's place in the record
    what: str
    arm: str
    block: int
    low: float | None
    high: float | None
    settled: bool
    windows: tuple[SearchWindow, ...]


@dataclass(frozen=True)
class LoadCurve:
    """Throughput against latency of one arm, all blocks pooled by rate. `knee`: its place among the points."""

    what: str
    arm: str
    points: tuple[RatePoint, ...]
    knee: int | None


def objective_of(loaded: Loaded) -> Objective | None:
    """Return the objective of the run, or None for a record from before there was one."""
    stored = loaded.plan.settings.get("objective")
    return Objective.model_validate(stored) if stored else None


def searches(loaded: Loaded) -> list[CapacitySearch]:
    """Return every usable search, with its windows computed from the samples."""
    objective = objective_of(loaded)
    if objective is None:
        return []
    found = loaded.searches()
    groups = _by_window(loaded, found)
    precision = float(loaded.plan.settings.get("search", {}).get("precision", 0.0))
    return [_search(at, trial, groups, objective, precision) for at, trial in found]


def _search(at: int, trial: TrialRecord, groups: _Groups, objective: Objective, precision: float) -> CapacitySearch:
    windows = tuple(_window(window, rows, objective) for window, rows in _counted(at, trial, groups))
    votes: dict[float, Votes] = {}
    for window in windows:
        rate = window.point.offered_per_s
        votes[rate] = votes.get(rate, Votes()).with_window(met=window.met)
    low, high = bracket(votes)
    settled = low is not None and high is not None and high <= low * (1 + precision + _SLACK)
    planned = trial.trial
    return CapacitySearch(at, planned.search, planned.arm, planned.block, low, high, settled, windows)


def _by_window(loaded: Loaded, trials: Sequence[tuple[int, TrialRecord]]) -> _Groups:
    rows = loaded.samples[loaded.samples["trial"].isin([at for at, _ in trials])]
    return dict(list(rows.groupby(["trial", "window"], observed=True)))


def _counted(at: int, trial: TrialRecord, groups: _Groups) -> Iterator[tuple[Window, pd.DataFrame]]:
    """Yield the windows of a search that vote, with their requests."""
    for window in trial.windows:
        if window.name.startswith(CAPACITY_WINDOW) and (at, window.name) in groups:
            yield window, groups[at, window.name]


def _latencies(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the latencies in order, of what was answered well or timed out."""
    return np.sort(rows["latency_ms"][rows["outcome"].isin(["ok", "timeout"])].to_numpy())


def _window(window: Window, rows: pd.DataFrame, objective: Objective) -> SearchWindow:
    point = _point(window.offered_per_s, [(window, rows)])
    bad = int((rows["outcome"] != "ok").sum())
    return SearchWindow(point, objective.met(_latencies(rows).tolist(), bad, len(rows)))


def _point(offered_per_s: float, parts: Sequence[tuple[Window, pd.DataFrame]]) -> RatePoint:
    """Pool windows at about one rate; samples merge, percentiles are never averaged."""
    rows = pd.concat([rows for _, rows in parts]) if len(parts) > 1 else parts[0][1]
    seconds = sum((window.end_ns - window.start_ns) / NS_PER_S for window, _ in parts)
    latency = _latencies(rows)
    p50, p99 = (nearest_rank(latency, share) if len(latency) else math.nan for share in (0.50, 0.99))  # type: ignore[arg-type]
    answered = sum(_answered(window, rows) for window, rows in parts)
    bad = float((rows["outcome"] != "ok").mean())
    mean = float(latency.mean()) if len(latency) else math.nan
    return RatePoint(offered_per_s, answered / seconds, mean, float(p50), float(p99), bad, len(rows), len(parts))


def _answered(window: Window, rows: pd.DataFrame) -> int:
    return int((rows["done_ns"].between(window.start_ns, window.end_ns) & (rows["outcome"] == "ok")).sum())


def load_curves(loaded: Loaded) -> list[LoadCurve]:
    """Return a curve for each thing searched for and each arm; the mix's begin with the rate of the latency windows."""
    found = loaded.searches()
    groups = _by_window(loaded, [*found, *loaded.steady()])
    keys = dict.fromkeys((trial.trial.search, trial.trial.arm) for _, trial in found)
    return [_curve(what, arm, _parts(loaded, groups, what, arm)) for what, arm in keys]


_Parts = list[tuple[float, Window, pd.DataFrame]]


def _parts(loaded: Loaded, groups: _Groups, what: str, arm: str) -> _Parts:
    """Return (offered rate, window, its requests) of every window of this arm, in order of the rate."""
    parts = [
        (window.offered_per_s, window, rows)
        for at, trial in loaded.searches()
        if (trial.trial.search, trial.trial.arm) == (what, arm)
        for window, rows in _counted(at, trial, groups)
    ]
    if what == MIX:
        parts.extend(_steady_parts(loaded, groups, arm))
    return sorted(parts, key=lambda part: part[0])


def _steady_parts(loaded: Loaded, groups: _Groups, arm: str) -> Iterator[Any]:
    for at, trial in loaded.steady():
        window = window_of(trial, "open")
        if trial.trial.arm == arm and window is not None and (at, "open") in groups:
            yield loaded.plan.offered_rate_per_s, window, groups[at, "open"]


def _curve(what: str, arm: str, parts: _Parts) -> LoadCurve:
    bins: list[_Parts] = []
    for part in parts:
        if bins and part[0] < bins[-1][0][0] * BIN:
            bins[-1].append(part)
        else:
            bins.append([part])
    points = tuple(
        _point(sum(rate for rate, _, _ in group) / len(group), [(window, rows) for _, window, rows in group])
        for group in bins
    )
    return LoadCurve(what, arm, points, knee_of(points))


def knee_of(points: Sequence[RatePoint]) -> int | None:
    """Return the place of the knee: the most throughput per unit of latency, "power" (Kleinrock, ICC 1979).

    None with fewer than three points, or when the knee is the first or the last one: it may lie beyond.
    """
    power = [point.achieved_per_s / point.mean_ms if point.mean_ms > 0 else 0.0 for point in points]
    if len(power) < 3:
        return None
    best = max(range(len(power)), key=power.__getitem__)
    return best if 0 < best < len(power) - 1 else None
