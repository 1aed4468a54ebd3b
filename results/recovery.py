"""Recovery in parts: fault to first failure and breaker open, lift to half-open and goodput back in band, the stores.

Goodput is back when every 50 ms bin of a stretch of 200 ms holds at least 0.9 of the control's goodput; bins
without an arrival say nothing and are passed over. What did not happen before the trial ended is right-censored:
None, with the time that was watched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from results.impact import Case, cases
from results.loaded import NS_PER_MS, NS_PER_S, Loaded, event_at
from results.record import TrialRecord

BIN_NS = 50_000_000
HOLD_BINS = 4
IN_BAND_FROM = 0.9


@dataclass(frozen=True)
class Parts:
    """Seconds of one fault trial, or their mean over trials when all have them; None is right-censored or absent."""

    first_failure_s: float | None
    breaker_open_s: float | None
    half_open_s: float | None
    breaker_closed_s: float | None
    goodput_back_s: float | None
    watched_s: float
    unmet_share: float | None


@dataclass(frozen=True)
class Recovery:
    """Recovery of one case: the parts over all flows, and goodput back in band for each flow."""

    case: Case
    trials: int
    parts: Parts
    censored: int
    flows: dict[str, float | None]


@dataclass(frozen=True)
class _Rows:
    """What recovery needs of one trial's requests since the injection, as arrays of equal length."""

    flow: npt.NDArray[np.str_]
    intended_ns: npt.NDArray[np.int64]
    done_ns: npt.NDArray[np.int64]
    success: npt.NDArray[np.bool_]
    failed: npt.NDArray[np.bool_]
    promised: npt.NDArray[np.bool_]
    missing: npt.NDArray[np.bool_]


def recoveries(loaded: Loaded) -> list[Recovery]:
    """Compute the recovery of every case."""
    calm = _control_goodput(loaded)
    return [_recovery(loaded, case, positions, calm) for case, positions in cases(loaded).items()]


Goodput = dict[tuple[int, str, str], float]


def _control_goodput(loaded: Loaded) -> Goodput:
    """Return (block, mode, flow) -> success over offered of the control; the flow "" stands for all flows."""
    rows = loaded.samples[loaded.samples["window"] == "open"]
    of_flows = rows.groupby(["trial", "flow"], observed=True)["success"].mean().to_dict()
    of_all = rows.groupby("trial")["success"].mean().to_dict()
    shares: dict[Any, float] = {**of_flows, **{(at, ""): share for at, share in of_all.items()}}
    control = {at: where for where, at in loaded.controls().items()}
    return {(*control[at], str(flow)): float(share) for (at, flow), share in shares.items() if at in control}


def _recovery(loaded: Loaded, case: Case, positions: list[int], calm: Goodput) -> Recovery:
    parts: list[Parts] = []
    flows: dict[str, list[float | None]] = {flow.name: [] for flow in loaded.scenario.flows}
    for at in positions:
        trial, rows = loaded.trials[at], _rows(loaded, at)
        where = (trial.trial.block, case.mode)
        everything = np.full(len(rows.flow), fill_value=True)
        back = _goodput_back(trial, rows, everything, calm.get((*where, "")))
        parts.append(_parts(trial, rows, back, loaded.timeout_ms))
        for flow, times in flows.items():
            times.append(_goodput_back(trial, rows, rows.flow == flow, calm.get((*where, flow))))
    censored = sum(part.goodput_back_s is None for part in parts)
    means = {flow: _mean(times) for flow, times in flows.items()}
    return Recovery(case, len(positions), _mean_parts(parts), censored, means)


def _rows(loaded: Loaded, at: int) -> _Rows:
    inject = event_at(loaded.trials[at], "inject") or 0
    samples = loaded.samples
    chosen = (samples["trial"].to_numpy() == at) & (samples["intended_ns"].to_numpy() >= inject)
    rows = samples.iloc[np.flatnonzero(chosen)]
    ok = (rows["outcome"] == "ok").to_numpy()
    return _Rows(
        rows["flow"].to_numpy(dtype=str),
        rows["intended_ns"].to_numpy(),
        rows["done_ns"].to_numpy(),
        rows["success"].to_numpy(dtype=bool),
        rows["outcome"].isin(["error", "timeout"]).to_numpy(),
        ok & (rows["effect"] != "none").to_numpy(),
        ok & (rows["effect"] == "missing").to_numpy(),
    )


def _parts(trial: TrialRecord, rows: _Rows, back: float | None, timeout_ms: float) -> Parts:
    inject, lift = event_at(trial, "inject"), event_at(trial, "lift")
    end = max((window.end_ns for window in trial.windows), default=0)
    return Parts(
        _since(inject, _first_failure(trial, rows, inject, timeout_ms)),
        _since(inject, event_at(trial, "breaker_open", inject or 0)),
        _since(lift, event_at(trial, "breaker_half_open", lift or 0)),
        _since(lift, event_at(trial, "breaker_closed", lift or 0)),
        back,
        (end - lift) / NS_PER_S if lift is not None else 0.0,
        float(rows.missing.sum() / rows.promised.sum()) if rows.promised.any() else None,
    )


def _since(start_ns: int | None, at_ns: int | None) -> float | None:
    return None if start_ns is None or at_ns is None else (at_ns - start_ns) / NS_PER_S


def _first_failure(trial: TrialRecord, rows: _Rows, inject: int | None, timeout_ms: float) -> int | None:
    """Return when the first failure after the fault was seen: as recorded, else the end of the first failed request."""
    recorded = event_at(trial, "first_failure", inject or 0)
    if recorded is not None or inject is None or not rows.failed.any():
        return recorded
    unanswered = rows.intended_ns + int(timeout_ms * NS_PER_MS)
    seen = np.where(rows.done_ns >= 0, rows.done_ns, unanswered)
    return int(seen[rows.failed].min())


def _goodput_back(trial: TrialRecord, rows: _Rows, mine: npt.NDArray[np.bool_], calm: float | None) -> float | None:
    lift = event_at(trial, "lift")
    if lift is None or calm is None:
        return None
    after = mine & (rows.intended_ns >= lift)
    return first_hold((rows.intended_ns[after] - lift) // BIN_NS, rows.success[after], IN_BAND_FROM * calm)


def first_hold(bins: npt.NDArray[np.int64], success: npt.NDArray[np.bool_], least: float) -> float | None:
    """Return the start (s) of the first HOLD_BINS bins with arrivals in a row that are in band; None without any."""
    if not len(bins):
        return None
    offered, good = np.bincount(bins), np.bincount(bins, weights=success)
    filled = np.flatnonzero(offered)
    in_band = good[filled] >= least * offered[filled] - 1e-9
    for start in range(len(filled) - HOLD_BINS + 1):
        if in_band[start : start + HOLD_BINS].all():
            return float(filled[start]) * BIN_NS / NS_PER_S
    return None


def _mean_parts(parts: Sequence[Parts]) -> Parts:
    return Parts(
        _mean([part.first_failure_s for part in parts]),
        _mean([part.breaker_open_s for part in parts]),
        _mean([part.half_open_s for part in parts]),
        _mean([part.breaker_closed_s for part in parts]),
        _mean([part.goodput_back_s for part in parts]),
        min((part.watched_s for part in parts), default=0.0),
        _mean([part.unmet_share for part in parts]),
    )


def _mean(times: Sequence[float | None]) -> float | None:
    """Return the mean when every trial has a time; one censored trial censors the case."""
    known = [time for time in times if time is not None]
    return fmean(known) if known and len(known) == len(times) else None
