"""What a run left wrong in the stores, per 1000 offered requests, and how calls were multiplied by retries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from results.impact import Case, in_order, split_fault
from results.loaded import Loaded, by_case, event_at

PER_OFFERED = 1000


@dataclass(frozen=True)
class Consistency:
    """Counts of one case, from the injection on; `fault` and `target` are empty for the runs without a fault."""

    case: Case
    offered: int
    orphans: int
    lost_updates: int
    duplicates: int
    phantom_success: int
    phantom_failure: int

    def rate(self, count: int) -> float:
        """Return a count per PER_OFFERED offered requests."""
        return PER_OFFERED * count / self.offered if self.offered else 0.0


@dataclass(frozen=True)
class Amplification:
    """Attempts over logical calls of one edge in one window of one case."""

    case: Case
    window: str
    caller: str
    callee: str
    calls: int
    ratio: float


def consistency(loaded: Loaded) -> list[Consistency]:
    """Count what the stores show, for every case and for the runs without a fault."""
    rows = loaded.samples[_observed(loaded)]
    marks = pd.DataFrame(
        {
            "trial": rows["trial"],
            "offered": 1,
            "orphans": rows["anomaly"] == "orphan",
            "lost_updates": rows["anomaly"] == "lost_update",
            "duplicates": rows["anomaly"] == "duplicate",
            "phantom_success": (rows["outcome"] == "ok") & (rows["effect"] == "missing"),
            "phantom_failure": rows["outcome"].isin(["error", "timeout"]) & rows["effect"].isin(["met", "duplicate"]),
        }
    )
    sums: dict[Any, Any] = marks.groupby("trial").sum().to_dict("index")
    columns = marks.columns[1:]
    return [
        Consistency(case, *(sum(int(sums.get(at, {}).get(name, 0)) for at in positions) for name in columns))
        for case, positions in _all_cases(loaded).items()
    ]


def _all_cases(loaded: Loaded) -> dict[Case, list[int]]:
    usable = [(at, trial) for at, trial in loaded.driven() if trial.trial.arm != "direct-null"]
    found = by_case(usable, lambda trial: Case(*split_fault(trial.fault), trial.mode))
    return {case: found[case] for case in in_order(found, loaded.scenario)}


def _observed(loaded: Loaded) -> pd.Series[bool]:
    """Mark the requests that count: since the injection in a fault trial, of the open window in others."""
    start = {at: event_at(trial, "inject") or 0 for at, trial in loaded.faulted()}
    since = loaded.samples["trial"].map(start)
    marked: pd.Series[bool] = (loaded.samples["window"] == "open") | (loaded.samples["intended_ns"] >= since)
    return marked


def amplifications(loaded: Loaded) -> list[Amplification]:
    """Compute retry amplification per edge and window (open; before, fault and after in fault trials)."""
    order = list(_all_cases(loaded).items())
    case_of = {at: number for number, (_, positions) in enumerate(order) for at in positions}
    rows = loaded.calls[loaded.calls["window"].isin(["open", "before", "fault", "after"])]
    rows = rows.assign(case=rows["trial"].map(case_of)).dropna(subset="case")
    sums = rows.groupby(["case", "window", "caller", "callee"], observed=True)["attempts"].agg(["sum", "count"])
    table: dict[Any, Any] = sums.to_dict("index")
    return [
        Amplification(order[int(case)][0], window, caller, callee, int(row["count"]), row["sum"] / row["count"])
        for (case, window, caller, callee), row in table.items()
    ]


def nested_worst(edges: Mapping[tuple[str, str], float]) -> float:
    """Return the largest product of amplifications along any chain of calls (caller, callee); 1 without edges.

    Retries multiply through layers (Beyer et al., "Site Reliability Engineering", chapter 22).
    """
    starts = {caller for caller, _ in edges}
    return max((_worst_from(caller, edges, frozenset()) for caller in starts), default=1.0)


def _worst_from(caller: str, edges: Mapping[tuple[str, str], float], seen: frozenset[str]) -> float:
    onward = [(callee, ratio) for (start, callee), ratio in edges.items() if start == caller and callee not in seen]
    return max((ratio * _worst_from(callee, edges, seen | {caller}) for callee, ratio in onward), default=1.0)
