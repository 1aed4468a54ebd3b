"""The record in memory: every parquet file read once, all trials in two frames.

Frames carry `trial`, the position in `Loaded.trials`; what belongs to a trial (block, arm, mode, fault) is looked up
there. Only trials in state `done` have rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import ValidationError

from results.record import (
    CALL_COLUMNS,
    SAMPLE_COLUMNS,
    Plan,
    PlannedTrial,
    RecordError,
    RecordReader,
    TrialRecord,
    Window,
)
from scenarios.model import Scenario

NS_PER_MS = 1e6
NS_PER_S = 1e9


@dataclass(frozen=True)
class Loaded:
    """A whole record. `left_out` says of unusable trials (by position) why they do not count."""

    plan: Plan
    scenario: Scenario
    environment: dict[str, Any]
    trials: tuple[TrialRecord, ...]
    samples: pd.DataFrame
    calls: pd.DataFrame
    left_out: dict[int, str] = field(default_factory=dict)

    @property
    def timeout_ms(self) -> float:
        """The generator's timeout for a request."""
        return float(self.plan.settings.get("timeout_ms", self.scenario.load.timeout_ms))

    def usable(self) -> list[tuple[int, TrialRecord]]:
        """Return position and record of the trials that count."""
        return [(at, trial) for at, trial in enumerate(self.trials) if at not in self.left_out]

    def steady(self) -> list[tuple[int, TrialRecord]]:
        """Return the usable trials that neither inject a fault nor search for capacity nor try anything else."""
        return [(at, trial) for at, trial in self.driven() if not trial.trial.fault]

    def driven(self) -> list[tuple[int, TrialRecord]]:
        """Return the usable trials at the run's own rate, with a fault or without: no searches, no experiments."""
        return [(at, trial) for at, trial in self.usable() if not trial.trial.search and not trial.trial.experiment]

    def searches(self) -> list[tuple[int, TrialRecord]]:
        """Return the usable trials that search for capacity."""
        return [(at, trial) for at, trial in self.usable() if trial.trial.search]

    def controls(self) -> dict[tuple[int, str], int]:
        """Return (block, mode) -> the no-fault trial of that mode; direct again stands in where direct is missing."""
        found: dict[tuple[int, str], int] = {}
        for at, trial in self.steady():
            where = (trial.trial.block, trial.trial.mode)
            if trial.trial.arm == trial.trial.mode or where not in found:
                found[where] = at
        return found

    def faulted(self) -> list[tuple[int, TrialRecord]]:
        """Return the usable trials with a fault."""
        return [(at, trial) for at, trial in self.usable() if trial.trial.fault]


def load(run_dir: Path) -> Loaded:
    """Read the record under `run_dir`. Raises RecordError when there is none or it is not readable."""
    reader = RecordReader(run_dir)
    scenario = _scenario(reader.plan)
    trials, samples, calls = _read_trials(reader)
    left_out = {at: _why_out(trial) for at, trial in enumerate(trials) if trial.state != "done"}
    frame = _frame(samples, SAMPLE_COLUMNS, ["flow", "window", "outcome", "effect", "anomaly"])
    calls_frame = _frame(calls, CALL_COLUMNS, ["caller", "callee", "operation", "window", "outcome"])
    loaded = Loaded(reader.plan, scenario, reader.environment, tuple(trials), frame, calls_frame, left_out)
    return replace(loaded, samples=_derive(loaded), calls=_derive_calls(calls_frame))


def without(loaded: Loaded, reasons: dict[int, str]) -> Loaded:
    """Return the record with further trials left out, for the reasons given."""
    gone = list(reasons)
    samples = loaded.samples[~loaded.samples["trial"].isin(gone)] if gone else loaded.samples
    calls = loaded.calls[~loaded.calls["trial"].isin(gone)] if gone else loaded.calls
    return replace(loaded, samples=samples, calls=calls, left_out={**loaded.left_out, **reasons})


def window_of(trial: TrialRecord, name: str) -> Window | None:
    """Return the trial's window called `name` if it has one that lasted at all."""
    return next((w for w in trial.windows if w.name == name and w.end_ns > w.start_ns), None)


def event_at(trial: TrialRecord, kind: str, since_ns: int = 0) -> int | None:
    """Return when the first event of that kind happened at or after `since_ns`; None when none did."""
    return min((e.at_ns for e in trial.events if e.kind == kind and e.at_ns >= since_ns), default=None)


def _scenario(plan: Plan) -> Scenario:
    try:
        return Scenario.model_validate(plan.scenario)
    except ValidationError as broken:
        raise RecordError(f"the scenario in plan.json is not one: {broken}") from broken


def _why_out(trial: TrialRecord) -> str:
    if trial.state == "failed":
        return f"failed: {trial.error or 'no reason recorded'}"
    names = [doubt.name for doubt in trial.doubts if doubt.fatal]
    return f"void: {', '.join(names) or 'a fatal doubt'}"


def _read_trials(reader: RecordReader) -> tuple[list[TrialRecord], list[Any], list[Any]]:
    trials: list[TrialRecord] = []
    samples: list[Any] = []
    calls: list[Any] = []
    for trial in reader.trials():
        at = len(trials)
        try:
            tables = _tables(reader, trial, at)
        except RecordError as broken:
            trials.append(replace(trial, state="failed", error=str(broken)))
            continue
        trials.append(trial)
        samples.extend(tables[:1])
        calls.extend(tables[1:])
    return trials, samples, calls


def _tables(reader: RecordReader, trial: TrialRecord, at: int) -> list[Any]:
    if trial.state != "done":
        return []
    return [_numbered(read(trial.trial), at) for read in (reader.samples, reader.calls)]


def _numbered(table: Any, at: int) -> Any:
    return table.append_column("trial", pa.array(np.full(len(table), at, np.int32)))


def _frame(tables: list[Any], columns: dict[str, str], categories: list[str]) -> pd.DataFrame:
    if not tables:
        return pd.DataFrame(
            {name: pd.Series(dtype=_empty(kind)) for name, kind in {**columns, "trial": "int32"}.items()}
        )
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas(categories=categories)
    return frame


def _empty(kind: str) -> Any:
    return "category" if kind == "string" else kind


def _derive(loaded: Loaded) -> pd.DataFrame:
    """Add latency_ms, service_ms, slip_ms, origin and success; a dropped request has no latency (NaN)."""
    frame, flows = loaded.samples, {flow.name: flow for flow in loaded.scenario.flows}
    answered, timeout = frame["done_ns"] >= 0, frame["outcome"] == "timeout"
    late = (frame["done_ns"] - frame["intended_ns"]).where(answered) / NS_PER_MS
    latency = late.where(~timeout, late.clip(lower=loaded.timeout_ms).fillna(loaded.timeout_ms))
    known = frame["flow"].isin(list(flows))
    deadline = _by_flow(frame, {name: flow.deadline_ms for name, flow in flows.items()}, loaded.timeout_ms)
    success = (frame["outcome"] == "ok") & (latency <= deadline) & frame["effect"].isin(["met", "none"])
    return frame.assign(
        latency_ms=latency,
        service_ms=((frame["done_ns"] - frame["sent_ns"]) / NS_PER_MS).where(answered & (frame["sent_ns"] >= 0)),
        slip_ms=((frame["sent_ns"] - frame["intended_ns"]) / NS_PER_MS).where(frame["sent_ns"] >= 0),
        origin=_by_flow(frame, {name: flow.origin for name, flow in flows.items()}, "external"),
        success=success,
    )[known]


def _by_flow(frame: pd.DataFrame, values: dict[str, Any], default: Any) -> Any:
    table = np.array([values.get(str(name), default) for name in frame["flow"].cat.categories])
    return table[frame["flow"].cat.codes.to_numpy()] if len(table) else np.full(len(frame), default)


def _derive_calls(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(latency_ms=(frame["done_ns"] - frame["start_ns"]) / NS_PER_MS)


def by_case(trials: Iterable[tuple[int, TrialRecord]], key: Callable[[PlannedTrial], Any]) -> dict[Any, list[int]]:
    """Group trial positions by a key of their plan, in order of appearance."""
    groups: dict[Any, list[int]] = {}
    for at, trial in trials:
        groups.setdefault(key(trial.trial), []).append(at)
    return groups
