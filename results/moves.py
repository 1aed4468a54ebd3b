"""What moving a running service cost: the requests that were lost while it went on, by mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from results.figures import spoken
from results.loaded import NS_PER_MS, Loaded, by_case, event_at, window_of
from results.record import MOVE_WINDOW, TrialRecord

AFTER = "after"
_TOLD = {"reload": "reloaded", "restart": "restarted"}


@dataclass(frozen=True)
class Move:
    """All usable trials of one mode that moved a service.

    `offered` were due while it went on; `lost` did not succeed: of those, of the ones due just after, and of the ones
    in flight when it began. `gap_ms` is the longest time during which all due requests of one flow were lost, up to the
    next one that was not. `steps` says who had to be told and how, of the first trial; `took_ms` is the longest.
    """

    mode: str
    service: str
    trials: int
    offered: int
    lost: int
    gap_ms: float
    took_ms: float
    steps: tuple[str, ...]

    @property
    def per_1000(self) -> float:
        """Requests lost per 1000 that were offered while the move went on."""
        return 1000 * self.lost / self.offered if self.offered else 0.0


def moves(loaded: Loaded) -> Iterator[Move]:
    """Yield one row a mode, in the order in which they ran."""
    moving = [(at, trial) for at, trial in loaded.usable() if window_of(trial, MOVE_WINDOW)]
    for mode, positions in by_case(moving, lambda trial: trial.mode).items():
        yield _move(str(mode), positions, loaded)


def _move(mode: str, positions: Sequence[int], loaded: Loaded) -> Move:
    records = [loaded.trials[at] for at in positions]
    rows = pd.concat([_touched(at, loaded) for at in positions])
    begin = next(event for event in records[0].events if event.kind == "move_begin")
    return Move(
        mode,
        begin.component,
        len(positions),
        int((rows["window"] == MOVE_WINDOW).sum()),
        int((~rows["success"]).sum()),
        max((_gap_ms(flow) for _, flow in rows.groupby(["trial", "flow"], observed=True)), default=0.0),
        max(_took_ms(record) for record in records),
        tuple(_steps(records[0])),
    )


def _touched(at: int, loaded: Loaded) -> pd.DataFrame:
    """Return the requests that were due in the move or after it, or in flight when it began."""
    rows = loaded.samples[loaded.samples["trial"] == at]
    begin = event_at(loaded.trials[at], "move_begin") or 0
    in_flight = (rows["window"] == "before") & ((rows["done_ns"] >= begin) | (rows["done_ns"] < 0))
    return rows[rows["window"].isin([MOVE_WINDOW, AFTER]) | in_flight]


def _gap_ms(rows: pd.DataFrame) -> float:
    """Return the longest run of lost requests of one flow, from the first to the next that was not, or to the last."""
    longest, began = 0, -1
    ordered = rows.sort_values("intended_ns")
    for at_ns, success in zip(ordered["intended_ns"], ordered["success"], strict=True):
        if began >= 0:
            longest = max(longest, int(at_ns) - began)
        elif not success:
            began = int(at_ns)
        if success:
            began = -1
    return longest / NS_PER_MS


def _took_ms(record: TrialRecord) -> float:
    begin, end = (event_at(record, kind) for kind in ("move_begin", "move_end"))
    return 0.0 if begin is None or end is None else (end - begin) / NS_PER_MS


def _steps(record: TrialRecord) -> list[str]:
    """Say who was told and how: `gateway reloaded`, `auth and course restarted`."""
    told: dict[str, list[str]] = {}
    for event in record.events:
        if event.kind in _TOLD:
            why = f" ({event.detail})" if event.detail else ""
            told.setdefault(_TOLD[event.kind] + why, []).append(event.component)
    return [f"{spoken(components)} {how}" for how, components in told.items()]
