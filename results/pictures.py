"""Data behind the report's charts: latency curves and crash timelines. Descriptive: no inference rests on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from results.impact import Case, cases
from results.loaded import NS_PER_S, Loaded, event_at

BIN_S = 0.05
FEWEST_BEYOND = 10
CURVE_POINTS = 120


@dataclass(frozen=True)
class Curve:
    """Latency by percentile of one arm, all blocks pooled (samples merge, percentiles are never averaged)."""

    what: str
    arm: str
    requests: int
    percentiles: tuple[float, ...]
    latency_ms: tuple[float, ...]


@dataclass(frozen=True)
class Timeline:
    """Goodput over offered in bins of BIN_S around the injection (0), pooled over blocks; None: nothing offered."""

    case: Case
    origin: str
    start_s: tuple[float, ...]
    goodput: tuple[float | None, ...]
    lift_s: float
    heal_s: float


def curves(loaded: Loaded) -> list[Curve]:
    """Return a curve per arm for internal calls and for external flows, as far as the requests carry it."""
    open_calls = loaded.calls[(loaded.calls["window"] == "open") & (loaded.calls["outcome"] == "ok")]
    samples = loaded.samples
    answered = (samples["window"] == "open") & samples["outcome"].isin(["ok", "timeout"])
    found: list[Curve] = []
    for arm in dict.fromkeys(trial.trial.arm for _, trial in loaded.steady()):
        mine = [at for at, trial in loaded.steady() if trial.trial.arm == arm]
        for what, rows in (
            ("internal calls", open_calls),
            ("external flows", samples[answered & (samples["origin"] == "external")]),
        ):
            found.extend(_curve(what, arm, rows[rows["trial"].isin(mine)]["latency_ms"].to_numpy()))
    return found


def _curve(what: str, arm: str, latency_ms: npt.NDArray[np.float64]) -> list[Curve]:
    """Return one curve that stops where fewer than FEWEST_BEYOND requests lie beyond; none for very few requests."""
    n = len(latency_ms)
    if n < 2 * FEWEST_BEYOND:
        return []
    beyond = np.geomspace(1.0, FEWEST_BEYOND / n, CURVE_POINTS)
    values = np.quantile(latency_ms, 1 - beyond)
    return [Curve(what, arm, n, tuple((1 - beyond).tolist()), tuple(values.tolist()))]


def timelines(loaded: Loaded) -> list[Timeline]:
    """Return a timeline per case and origin, for cases whose injection was recorded."""
    order = list(cases(loaded).items())
    case_of = {at: number for number, (_, positions) in enumerate(order) for at in positions}
    inject = {at: event_at(loaded.trials[at], "inject") for at in case_of}
    rows = loaded.samples[loaded.samples["trial"].isin([at for at, ns in inject.items() if ns is not None])]
    rows = rows[rows["window"] != "warmup"]
    since = (rows["intended_ns"] - rows["trial"].map(inject).astype("float64")) / NS_PER_S
    keys = [rows["trial"].map(case_of), rows["origin"], np.floor(since / BIN_S).astype("int64").rename("bin")]
    table: dict[Any, float] = rows.groupby(keys)["success"].mean().to_dict()
    bins: dict[tuple[int, str], dict[int, float]] = {}
    for (case, origin, at), share in table.items():
        bins.setdefault((int(case), origin), {})[int(at)] = float(share)
    return [_timeline(loaded, *order[number], origin, mine) for (number, origin), mine in bins.items()]


def _timeline(loaded: Loaded, case: Case, positions: list[int], origin: str, bins: dict[int, float]) -> Timeline:
    span = range(min(bins), max(bins) + 1)
    starts, goodput = tuple(at * BIN_S for at in span), tuple(bins.get(at) for at in span)
    return Timeline(
        case, origin, starts, goodput, _after(loaded, positions, "lift"), _after(loaded, positions, "heal_seen")
    )


def _after(loaded: Loaded, positions: list[int], kind: str) -> float:
    spans = [
        (end - start) / NS_PER_S
        for start, end in (
            (event_at(loaded.trials[at], "inject"), event_at(loaded.trials[at], kind)) for at in positions
        )
        if start is not None and end is not None
    ]
    return float(np.mean(spans)) if spans else float("nan")
