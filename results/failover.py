"""What it costs that one of several gateway instances dies: requests lost, time until goodput is back, connects.

Counted over the flows that pass the gateway in the mode, and over what was at stake: requests due from the kill on, and
those that were under way when it came. That is more than the impact looks at (what was due while the fault was seen to
be there), because most of what failing over costs is lost in the instant of the kill.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from results.figures import number, plural
from results.impact import Case, cases
from results.loaded import NS_PER_S, Loaded, event_at
from results.record import TrialRecord
from results.recovery import BIN_NS, IN_BAND_FROM, first_hold
from scenarios.instances import GATEWAY
from scenarios.model import Flow
from scenarios.modes import MODES

PER_OFFERED = 1000


@dataclass(frozen=True)
class FailoverCost:
    """The cost in one mode, over all its crashes. A time is None when it was not seen in one of them (`censored`).

    `back_s` runs from the kill, in bins of 50 ms, and is 0 where goodput never left its band.
    """

    case: Case
    flows: tuple[str, ...]  # that pass the gateway
    crashes: int
    offered: int  # requests at stake
    lost: int  # of those, not a success
    lost_after: int  # of the lost, due after the restart had begun
    calm_offered: int  # the same flows in the controls
    calm_lost: int
    back_s: float | None
    censored: int
    connects_failed: int  # refused or timed out, by clients and services, and tried at the other address
    connects: int  # of the clients since the kill, failed ones included
    sent_again: int  # idempotent requests that broke off and went to the other address

    @property
    def per_offered(self) -> float:
        """Requests lost of PER_OFFERED at stake."""
        return PER_OFFERED * self.lost / self.offered if self.offered else 0.0

    @property
    def calm_per_offered(self) -> float:
        """The same in the controls."""
        return PER_OFFERED * self.calm_lost / self.calm_offered if self.calm_offered else 0.0


def passes_gateway(flow: Flow, mode: str) -> bool:
    """Say whether anything that the flow sends goes through the gateway in this mode."""
    entered = flow.origin == "external" and bool(MODES[mode]("external"))
    return entered or (bool(flow.calls) and bool(MODES[mode]("internal")))


def failover_costs(loaded: Loaded) -> list[FailoverCost]:
    """Compute the cost of every fault on one of several gateway instances; none where there is a single one."""
    if loaded.plan.gateway_replicas < 2:
        return []
    return [_cost(loaded, case, at) for case, at in cases(loaded).items() if case.target == GATEWAY]


def _cost(loaded: Loaded, case: Case, positions: Sequence[int]) -> FailoverCost:
    flows = tuple(flow.name for flow in loaded.scenario.flows if passes_gateway(flow, case.mode))
    controls = loaded.controls()
    trials = [loaded.trials[at] for at in positions]
    calm = [controls[where] for trial in trials if (where := (trial.trial.block, case.mode)) in controls]
    at_stake = [_at_stake(loaded, at, flows) for at in positions]
    before = _open_rows(loaded, calm, flows)
    calm_share = float(before["success"].mean()) if len(before) else 1.0
    back = [_back_s(trial, rows, calm_share) for trial, rows in zip(trials, at_stake, strict=True) if flows]
    lift = [event_at(trial, "lift") or 0 for trial in trials]
    kinds = Counter(kind for trial in trials for kind in _since_fault(trial))
    return FailoverCost(
        case=case,
        flows=flows,
        crashes=len(trials),
        offered=sum(map(len, at_stake)),
        lost=sum(int((~rows["success"]).sum()) for rows in at_stake),
        lost_after=sum(
            int((~rows["success"] & (rows["intended_ns"] >= end)).sum())
            for rows, end in zip(at_stake, lift, strict=True)
        ),
        calm_offered=len(before),
        calm_lost=int((~before["success"]).sum()),
        back_s=None if None in back or not back else fmean(time for time in back if time is not None),
        censored=back.count(None),
        connects_failed=kinds["connect_failed"],
        connects=int(sum(trial.generator.get("connects_since_fault", 0.0) for trial in trials)),
        sent_again=kinds["sent_again"],
    )


def _at_stake(loaded: Loaded, at: int, flows: Sequence[str]) -> Any:
    """Return the trial's requests of these flows that the kill could reach, as a frame."""
    kill = event_at(loaded.trials[at], "inject") or 0
    rows = loaded.samples[(loaded.samples["trial"] == at) & loaded.samples["flow"].isin(flows)]
    under_way = (rows["sent_ns"] >= 0) & ((rows["done_ns"] >= kill) | (rows["done_ns"] < 0))
    return rows[(rows["intended_ns"] >= kill) | under_way]


def _open_rows(loaded: Loaded, positions: Sequence[int], flows: Sequence[str]) -> Any:
    rows = loaded.samples
    chosen = rows["trial"].isin(positions) & rows["flow"].isin(flows) & (rows["window"] == "open")
    return rows[chosen]


def _back_s(trial: TrialRecord, rows: Any, calm_share: float) -> float | None:
    """Return the time from the kill until goodput is back in its band to stay, as recovery has it from the lift."""
    kill = event_at(trial, "inject") or 0
    due = rows[rows["intended_ns"] >= kill]
    bins = ((due["intended_ns"] - kill) // BIN_NS).to_numpy()
    return first_hold(bins, due["success"].to_numpy(dtype=bool), IN_BAND_FROM * calm_share)


def _since_fault(trial: TrialRecord) -> Iterator[str]:
    kill = event_at(trial, "inject") or 0
    return (event.kind for event in trial.events if event.at_ns >= kill)


def seconds_text(cost: FailoverCost) -> str:
    """Return `back_s` in words."""
    if cost.back_s is None:
        return "not seen" if cost.censored else "-"
    return f"within {cost.back_s + BIN_NS / NS_PER_S:.2g} s"


def cost_text(cost: FailoverCost) -> str:
    """Return the cost in words, as a part of a sentence."""
    return (
        f"in {cost.case.mode} mode {cost.lost} of {cost.offered} requests at stake"
        f" ({number(cost.per_offered)} per 1000, {number(cost.calm_per_offered)} without a crash),"
        f" goodput back {seconds_text(cost)}, {plural(cost.connects_failed, 'failed connect')},"
        f" {plural(cost.sent_again, 'request')} sent again"
    )
