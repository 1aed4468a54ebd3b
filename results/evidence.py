"""Everything that a verdict may rest on, computed once from the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from results.blast import BlastRadius
from results.blocks import BlockTable
from results.doubt import Doubt
from results.failover import FailoverCost
from results.impact import Case, FlowImpact
from results.moves import Move
from results.record import Plan, Probe, Tally
from scenarios.model import Scenario


@dataclass(frozen=True)
class Evidence:
    """The computed record. `probes` and `tallies` carry the mode in which they were taken.

    `stand_ins`: name of a probe or tally -> the gateway it was tried with in place of the run's own.
    """

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
    tallies: tuple[tuple[str, Tally], ...] = ()
    moves: tuple[Move, ...] = ()
    stand_ins: Mapping[str, str] = field(default_factory=dict)

    def radius(self, case: Case, origin: str) -> BlastRadius | None:
        """Return the blast radius of a case; None when it was not measured."""
        return next((radius for radius in self.radii if (radius.case, radius.origin) == (case, origin)), None)

    def counted(self, tally: str, mode: str) -> dict[int, int]:
        """Return value -> how many times an experiment counted that in this mode."""
        values = [int(one.value) for where, one in self.tallies if where == mode and one.name == tally]
        return {value: values.count(value) for value in values}

    def flows(self, case: Case) -> list[FlowImpact]:
        """Return the impact of a case on each flow; empty when it was not measured."""
        return [impact for impact in self.impacts if impact.case == case]
