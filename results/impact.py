"""Failure impact: what a fault takes away from each flow, against the no-fault control of the same block.

Success is an acceptable answer before the deadline whose postcondition stands in the stores; goodput is successes over
*offered* arrivals; impact is 1 - goodput under fault / goodput of the control. The interval is the hull of a t interval
over blocks and an exact one on the pooled counts (docs/adr/0003-impact-interval.md says why both).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from results.estimate import Measured, compare, t_half_width
from results.loaded import Loaded, by_case
from results.proportion import clopper_pearson
from results.verdict import first_more
from scenarios.model import Flow, Scenario
from scenarios.modes import MODES

State = Literal["unaffected", "affected", "degraded", "undetermined"]

UNAFFECTED_BELOW = 0.01
DEGRADED_ABOVE = 0.10
LATENCY_UNAFFECTED_BELOW = 1.25
LATENCY_DEGRADED_FROM = 2.0
LEAST_FOR_P95 = 200


class Case(NamedTuple):
    """One fault on one component in one mode."""

    fault: str
    target: str
    mode: str


@dataclass(frozen=True)
class Counts:
    """Requests of one flow in one block: in the fault window and in the control's open window."""

    offered: int
    success: int
    answered: int  # acceptable answers, whatever they left behind
    degraded: int  # acceptable answers whose side effect is missing
    control_offered: int
    control_success: int


@dataclass(frozen=True)
class Interval:
    """The ends of an interval of the impact, as shares; None where it is unbounded or unknown."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class FlowImpact:
    """What a fault did to one flow. `latency` is p95 under fault over p95 of the control, None when not judged."""

    case: Case
    flow: Flow
    counts: tuple[Counts, ...]
    point: float | None
    at95: Interval
    at90: Interval
    latency: Measured | None
    state: State
    possibly_degraded: bool

    @property
    def degraded_share(self) -> float | None:
        """Answered well but side effect missing, over offered."""
        offered = sum(count.offered for count in self.counts)
        return sum(count.degraded for count in self.counts) / offered if offered else None


def split_fault(text: str) -> tuple[str, str]:
    """Return kind and target of `KIND:TARGET`."""
    kind, _, target = text.partition(":")
    return kind, target


def cases(loaded: Loaded) -> dict[Case, list[int]]:
    """Return the usable fault trials of each case, in the order of the scenario's components and of the modes."""
    found = by_case(loaded.faulted(), lambda trial: Case(*split_fault(trial.fault), trial.mode))
    return {case: found[case] for case in in_order(found, loaded.scenario)}


def in_order(found: Iterable[Case], scenario: Scenario) -> list[Case]:
    """Sort cases by fault, by component as declared and by mode; what is unknown comes last."""
    targets, modes = ("", *scenario.components), tuple(MODES)

    def place(case: Case) -> tuple[str, int, int]:
        target = targets.index(case.target) if case.target in targets else len(targets)
        return case.fault, target, modes.index(case.mode) if case.mode in modes else len(modes)

    return sorted(found, key=place)


def impacts(loaded: Loaded) -> list[FlowImpact]:
    """Compute the impact of every case that has a control in the same block, on every flow."""
    tallies, p95 = _tallies(loaded), _p95(loaded)
    controls = loaded.controls()
    found: list[FlowImpact] = []
    for case, positions in cases(loaded).items():
        pairs = [(at, controls.get((loaded.trials[at].trial.block, case.mode))) for at in positions]
        known = [(at, control) for at, control in pairs if control is not None]
        found.extend(_flow_impact(case, flow, known, tallies, p95) for flow in loaded.scenario.flows)
    return found


Tallies = Mapping[tuple[int, str, str], Mapping[str, int]]
Percentiles = Mapping[tuple[int, str, str], float]


def _flow_impact(
    case: Case, flow: Flow, pairs: list[tuple[int, int]], tallies: Tallies, p95: Percentiles
) -> FlowImpact:
    counts = tuple(_counts(flow.name, at, control, tallies) for at, control in pairs)
    latency = _latency(flow.name, pairs, p95)
    point, at95, at90 = impact_point(counts), impact_interval(counts, 0.95), impact_interval(counts, 0.90)
    state, possibly = judge_state(at95, at90, latency)
    return FlowImpact(case, flow, counts, point, at95, at90, latency, state, possibly)


def _counts(flow: str, at: int, control: int, tallies: Tallies) -> Counts:
    fault, calm = tallies.get((at, flow, "fault"), {}), tallies.get((control, flow, "open"), {})
    offered, success, answered, degraded = (
        int(fault.get(name, 0)) for name in ("offered", "success", "answered", "degraded")
    )
    return Counts(offered, success, answered, degraded, int(calm.get("offered", 0)), int(calm.get("success", 0)))


def _tallies(loaded: Loaded) -> Tallies:
    rows = loaded.samples[loaded.samples["window"].isin(["open", "fault"])]
    ok = rows["outcome"] == "ok"
    marks = rows.assign(offered=1, answered=ok, degraded=ok & (rows["effect"] == "missing"))
    columns = ["offered", "success", "answered", "degraded"]
    sums = marks.groupby(["trial", "flow", "window"], observed=True)[columns].sum()
    return _plain(sums.to_dict("index"))


def _plain(table: Any) -> dict[tuple[int, str, str], Any]:
    return {(int(at), str(flow), str(window)): value for (at, flow, window), value in table.items()}


def _p95(loaded: Loaded) -> Percentiles:
    samples = loaded.samples
    rows = samples[samples["window"].isin(["open", "fault"]) & samples["outcome"].isin(["ok", "timeout"])]
    groups = rows.groupby(["trial", "flow", "window"], observed=True)["latency_ms"]
    enough = groups.count() >= LEAST_FOR_P95
    return _plain(groups.quantile(0.95)[enough].to_dict())


def _latency(flow: str, pairs: list[tuple[int, int]], p95: Percentiles) -> Measured | None:
    """Compare p95 block by block; None unless at least two blocks have enough requests on both sides."""
    fault = {at: p95[at, flow, "fault"] for at, _ in pairs if (at, flow, "fault") in p95}
    calm = {at: p95[control, flow, "open"] for at, control in pairs if (control, flow, "open") in p95}
    measured = compare(fault, calm)
    return measured if measured is not None and measured.n > 1 else None


def impact_point(counts: tuple[Counts, ...]) -> float | None:
    """Return the impact on the pooled counts; None when nothing was offered or the control had no success."""
    offered, success, calm_offered, calm_success = _pool(counts)
    if not (offered and calm_success):
        return None
    return 1 - (success / offered) / (calm_success / calm_offered)


def impact_interval(counts: tuple[Counts, ...], level: float) -> Interval:
    """Return the hull of the t interval over blocks and the exact interval on pooled counts; none below two blocks."""
    if len(counts) < 2 or impact_point(counts) is None:
        return Interval(None, None)
    low, high = _exact(counts, level)
    for start, end in _over_blocks(counts, level):
        low, high = min(low, start), max(high, end)
    return Interval(low, min(high, 1.0))


def _pool(counts: tuple[Counts, ...]) -> tuple[int, int, int, int]:
    columns = ((c.offered, c.success, c.control_offered, c.control_success) for c in counts)
    offered, success, calm_offered, calm_success = map(sum, zip(*columns, strict=True)) if counts else (0, 0, 0, 0)
    return offered, success, calm_offered, calm_success


def _exact(counts: tuple[Counts, ...], level: float) -> tuple[float, float]:
    """Combine the corners of two Clopper-Pearson intervals; conservative when both shares are uncertain."""
    offered, success, calm_offered, calm_success = _pool(counts)
    fault_low, fault_high = clopper_pearson(success, offered, level)
    calm_low, calm_high = clopper_pearson(calm_success, calm_offered, level)
    return 1 - fault_high / calm_low, 1 - fault_low / calm_high


def _over_blocks(counts: tuple[Counts, ...], level: float) -> Iterator[tuple[float, float]]:
    points = [point for point in (impact_point((count,)) for count in counts) if point is not None]
    sd = float(np.std(points, ddof=1)) if len(points) > 1 else 0.0
    if sd > 0:
        half = t_half_width(sd, len(points), level)
        yield float(np.mean(points)) - half, float(np.mean(points)) + half


def judge_state(at95: Interval, at90: Interval, latency: Measured | None) -> tuple[State, bool]:
    """Return the state and whether `degraded` cannot be excluded.

    Unaffected is shown by equivalence at 5 % (90 % intervals of impact and of the p95 ratio below their limits),
    affected and degraded by 95 % intervals that lie wholly above theirs.
    """
    if at95.low is None or at95.high is None or at90.high is None:
        return "undetermined", True
    if at95.low > DEGRADED_ABOVE or _above(latency, LATENCY_DEGRADED_FROM):
        return "degraded", True
    if at90.high < UNAFFECTED_BELOW and _below(latency, LATENCY_UNAFFECTED_BELOW):
        return "unaffected", False
    possibly = at95.high > DEGRADED_ABOVE or not _clear_of(latency, LATENCY_DEGRADED_FROM)
    affected = at95.low > UNAFFECTED_BELOW or _above(latency, LATENCY_UNAFFECTED_BELOW)
    return ("affected" if affected else "undetermined"), possibly


def _above(latency: Measured | None, limit: float) -> bool:
    return latency is not None and latency.at95.low is not None and latency.at95.low >= limit


def _below(latency: Measured | None, limit: float) -> bool:
    return latency is None or (latency.at90.high is not None and latency.at90.high < limit)


def _clear_of(latency: Measured | None, limit: float) -> bool:
    return latency is None or (latency.at95.high is not None and latency.at95.high < limit)


def more_fault_blocks(impact: FlowImpact) -> int | None:
    """Return how many more blocks would settle an undetermined state, if shares and spread stay; None if none would.

    Judged on goodput; where the latency keeps the state open, it is what has to narrow, and None is returned.
    """
    if impact.state != "undetermined" or impact.point is None or not _below(impact.latency, LATENCY_UNAFFECTED_BELOW):
        return None
    return blocks_until(impact, lambda at95, at90: judge_state(at95, at90, None)[0] != "undetermined")


def blocks_until(impact: FlowImpact, settled: Callable[[Interval, Interval], bool]) -> int | None:
    """Return how many more blocks would settle it, if shares and spread stay; `settled` is asked of (at95, at90).

    None if no number would, or where nothing was offered.
    """
    if impact.point is None:
        return None

    def enough(total: int) -> bool:
        at95, at90 = (_scaled(impact.counts, total, level) for level in (0.95, 0.90))
        return settled(at95, at90)

    return first_more(len(impact.counts), enough)


def _scaled(counts: tuple[Counts, ...], total: int, level: float) -> Interval:
    """Return the interval that `total` blocks like these would give."""
    factor = total / len(counts)
    pooled = Counts(*(round(value * factor) for value in _pooled_fields(counts)))
    low, high = _exact((pooled,), level)
    points = [point for point in (impact_point((count,)) for count in counts) if point is not None]
    sd = float(np.std(points, ddof=1)) if len(points) > 1 else 0.0
    half = t_half_width(sd, total, level) if sd > 0 else 0.0
    mean = float(np.mean(points))
    return Interval(min(low, mean - half), min(max(high, mean + half), 1.0))


def _pooled_fields(counts: tuple[Counts, ...]) -> list[int]:
    fields = ("offered", "success", "answered", "degraded", "control_offered", "control_success")
    return [sum(getattr(count, name) for count in counts) for name in fields]
