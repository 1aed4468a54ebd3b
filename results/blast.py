"""Blast radius: how much of the platform's work, by weight, a fault takes along.

Inherent is the weight of flows that declare the component as needed, measured that of flows found affected, excess the
difference. An undetermined flow leaves the measured radius between two ends: surely and possibly affected.
The classification is given only when both ends agree on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from results.impact import Case, FlowImpact

SYSTEM_WIDE_FROM = 0.8
Classification = Literal["isolated", "partial", "system-wide", "undetermined"]


@dataclass(frozen=True)
class Share:
    """A share of weight that is known only between two ends."""

    low: float
    high: float


@dataclass(frozen=True)
class BlastRadius:
    """One case. Shares are of the weight of the flows of `origin` (`all`, `external` or `internal`)."""

    case: Case
    origin: str
    inherent: float
    measured: Share
    degraded: Share
    classification: Classification
    possible: tuple[Classification, ...]


def radii(impacts: Sequence[FlowImpact]) -> list[BlastRadius]:
    """Return the blast radius of every case, over all flows and by origin."""
    found: list[BlastRadius] = []
    for case in dict.fromkeys(impact.case for impact in impacts):
        flows = [impact for impact in impacts if impact.case == case]
        for origin in ("all", "external", "internal"):
            chosen = [impact for impact in flows if origin in ("all", impact.flow.origin)]
            if chosen:
                found.append(_radius(case, origin, chosen))
    return found


def _radius(case: Case, origin: str, flows: list[FlowImpact]) -> BlastRadius:
    measured = Share(_weight(flows, surely_affected), _weight(flows, possibly_affected))
    degraded = Share(_weight(flows, lambda f: f.state == "degraded"), _weight(flows, lambda f: f.possibly_degraded))
    possible = _possible([flow for flow in flows if case.target not in flow.flow.needs], degraded)
    classification = possible[0] if len(possible) == 1 else "undetermined"
    inherent = _weight(flows, lambda flow: case.target in flow.flow.needs)
    return BlastRadius(case, origin, inherent, measured, degraded, classification, possible)


def surely_affected(impact: FlowImpact) -> bool:
    """Say whether the flow was shown to be affected or degraded."""
    return impact.state in ("affected", "degraded")


def possibly_affected(impact: FlowImpact) -> bool:
    """Say whether the flow was not shown to be unaffected."""
    return impact.state != "unaffected"


def _weight(flows: list[FlowImpact], counts: Callable[[FlowImpact], bool]) -> float:
    total = sum(flow.flow.weight for flow in flows)
    return sum(flow.flow.weight for flow in flows if counts(flow)) / total


def _possible(others: list[FlowImpact], degraded: Share) -> tuple[Classification, ...]:
    """Return the classifications that are still open, given the flows that do not need the component."""
    if not any(possibly_affected(flow) for flow in others):
        return ("isolated",)
    isolated = not any(surely_affected(flow) for flow in others)
    system_wide, partial = degraded.high >= SYSTEM_WIDE_FROM, degraded.low < SYSTEM_WIDE_FROM
    open_ones: list[tuple[Classification, bool]] = [
        ("isolated", isolated),
        ("partial", partial),
        ("system-wide", system_wide),
    ]
    return tuple(name for name, is_open in open_ones if is_open)
