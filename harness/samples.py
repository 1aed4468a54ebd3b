"""From what the engine and the services logged to the record's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from harness.engines.job import OUTCOMES, LoadResult, Rows
from harness.schedule import Arrival
from results.record import Window
from stub_services.calllog import CallRow
from stub_services.sweeps import SweepRow

BETWEEN = "between"
"""The window name of what was due outside all windows (ramp, drain, the instant of a fault)."""


class Fate(NamedTuple):
    """What became of one planned request; times from t0, -1 for never."""

    intended_ns: int
    sent_ns: int
    done_ns: int
    outcome: str
    status: int


@dataclass(frozen=True)
class Observation:
    """The planned requests of a trial, what became of each, and what each left in the stores."""

    arrivals: list[Arrival]
    fates: list[Fate]
    effects: list[tuple[str, str]] = field(default_factory=list)

    @staticmethod
    def of(
        outside: Sequence[Arrival],
        closed: Sequence[Arrival],
        result: LoadResult,
        internal: Mapping[str, Sequence[Arrival]],
        sweeps: Mapping[str, Mapping[int, SweepRow]],
        t0_ns: int,
    ) -> Observation:
        """Join the open loop's, the closed loop's and the services' own requests."""
        sent_closed = result.closed_which or range(len(result.closed.sent_ns))
        arrivals = [*outside, *(closed[which] for which in sent_closed)]
        fates = [
            *_engine_fates(result.open, [arrival.at_ns for arrival in outside]),
            *_engine_fates(result.closed, result.closed.sent_ns),
        ]
        for service, due in internal.items():
            arrivals.extend(due)
            fates.extend(_sweep_fate(arrival, sweeps[service].get(number), t0_ns) for number, arrival in enumerate(due))
        return Observation(arrivals, fates)


def _engine_fates(rows: Rows, intended: Sequence[int]) -> list[Fate]:
    columns = zip(intended, rows.sent_ns, rows.done_ns, rows.outcome, rows.status, strict=True)
    return [Fate(due, sent, done, OUTCOMES[outcome], status) for due, sent, done, outcome, status in columns]


def _sweep_fate(arrival: Arrival, row: SweepRow | None, t0_ns: int) -> Fate:
    """Return the fate of an internally started flow: one that was never started was lost with its service."""
    if row is None:
        return Fate(arrival.at_ns, -1, -1, "dropped", 0)
    sent = row.started_ns - t0_ns
    if row.outcome == "":
        return Fate(arrival.at_ns, sent, -1, "error", 0)
    done = -1 if row.outcome == "timeout" else row.done_ns - t0_ns
    return Fate(arrival.at_ns, sent, done, row.outcome, row.status)


def window_of(at_ns: int, windows: Sequence[Window]) -> str:
    """Return the name of the window that holds this moment, or BETWEEN."""
    for window in windows:
        if window.start_ns <= at_ns < window.end_ns:
            return window.name
    return BETWEEN


def sample_columns(observation: Observation, windows: Sequence[Window] = ()) -> dict[str, Sequence[Any]]:
    """Return the columns of samples.parquet."""
    fates = observation.fates
    return {
        "flow": [arrival.flow for arrival in observation.arrivals],
        "window": [window_of(fate.intended_ns, windows) for fate in fates],
        "intended_ns": [fate.intended_ns for fate in fates],
        "sent_ns": [fate.sent_ns for fate in fates],
        "done_ns": [fate.done_ns for fate in fates],
        "outcome": [fate.outcome for fate in fates],
        "status": [fate.status for fate in fates],
        "effect": [effect for effect, _ in observation.effects],
        "anomaly": [anomaly for _, anomaly in observation.effects],
    }


def call_columns(rows: Sequence[CallRow], windows: Sequence[Window], t0_ns: int = 0) -> dict[str, Sequence[Any]]:
    """Return the columns of calls.parquet; calls from before t0 (the smoke pass) are left out."""
    kept = [row for row in rows if row.start_ns >= t0_ns]
    return {
        "caller": [row.caller for row in kept],
        "callee": [row.callee for row in kept],
        "operation": [row.operation for row in kept],
        "window": [window_of(row.start_ns - t0_ns, windows) for row in kept],
        "start_ns": [row.start_ns - t0_ns for row in kept],
        "done_ns": [row.done_ns - t0_ns for row in kept],
        "attempts": [row.attempts for row in kept],
        "outcome": [row.outcome for row in kept],
        "status": [row.status for row in kept],
        "hops": [row.hops for row in kept],
    }
