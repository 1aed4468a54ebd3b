"""Everything that a verdict may rest on, computed once from the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from results.blast import BlastRadius
from results.blocks import BlockTable
from results.doubt import Doubt
from results.failover import FailoverCost
from results.impact import Case, FlowImpact
from results.record import Plan, Probe
from scenarios.model import Scenario


@dataclass(frozen=True)
class Evidence:
    """The computed record. `probes` carry the mode in which they were taken."""

    scenario: Scenario
    plan: Plan
    environment: Mapping[str, Any]
    blocks: BlockTable
    hops: Mapping[str, Mapping[int, int]]
    probes: tuple[tuple[str, Probe], ...]
    impacts: tuple[FlowImpact, ...]
    radii: tuple[BlastRadius, ...]
    doubts: tuple[Doubt, ...] = ()
    failovers: tuple[FailoverCost, ...] = ()

    def radius(self, case: Case, origin: str) -> BlastRadius | None:
        """Return the blast radius of a case; None when it was not measured."""
        return next((radius for radius in self.radii if (radius.case, radius.origin) == (case, origin)), None)

    def flows(self, case: Case) -> list[FlowImpact]:
        """Return the impact of a case on each flow; empty when it was not measured."""
        return [impact for impact in self.impacts if impact.case == case]
