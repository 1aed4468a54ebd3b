"""Results: a run's answers as one frozen structure, from which every report is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from results.blast import BlastRadius
from results.blocks import Key
from results.capacity import CapacitySearch, LoadCurve
from results.consistency import Amplification, Consistency
from results.doubt import Doubt
from results.estimate import Measured
from results.failover import FailoverCost
from results.gate_power import Power
from results.impact import FlowImpact
from results.judge import Verdict
from results.moves import Move
from results.pictures import Curve, Timeline
from results.record import Plan
from results.recovery import Recovery
from scenarios.model import Scenario
from scenarios.objective import Objective

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ArmEstimate:
    """One quantity in one arm."""

    key: Key
    arm: str
    measured: Measured


@dataclass(frozen=True)
class Comparison:
    """One quantity in one arm over another. `gated`: the regression gate watches it."""

    key: Key
    numerator: str
    denominator: str
    measured: Measured
    gated: bool


@dataclass(frozen=True)
class Design:
    """What was run: arms, usable blocks of each kind, and the trials in the order in which they ran."""

    arms: tuple[str, ...]
    blocks: int
    fault_blocks: int
    planned_trials: int
    usable_trials: int
    order: tuple[str, ...]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class Results:
    """Everything that a run says; of a run with several gateways, about the first one, the others in `further`."""

    plan: Plan
    scenario: Scenario
    environment: Mapping[str, Any]
    duration_s: float
    design: Design
    doubts: tuple[Doubt, ...]
    estimates: tuple[ArmEstimate, ...]
    comparisons: tuple[Comparison, ...]
    verdicts: tuple[Verdict, ...]
    impacts: tuple[FlowImpact, ...]
    radii: tuple[BlastRadius, ...]
    recoveries: tuple[Recovery, ...]
    consistency: tuple[Consistency, ...]
    amplifications: tuple[Amplification, ...]
    powers: tuple[Power, ...]
    curves: tuple[Curve, ...]
    timelines: tuple[Timeline, ...]
    objective: Objective | None
    searches: tuple[CapacitySearch, ...]
    load_curves: tuple[LoadCurve, ...]
    moves: tuple[Move, ...] = ()
    failovers: tuple[FailoverCost, ...] = ()
    further: tuple[Results, ...] = ()
    over_base: tuple[Comparison, ...] = ()  # of a further gateway: its arms over another gateway's, block by block

    @property
    def every(self) -> tuple[Results, ...]:
        """The results with each gateway, the first one first."""
        return (self, *self.further)

    @property
    def valid(self) -> bool:
        """Say whether no fatal doubt stands against the run as a whole."""
        return not any(doubt.invalidates_run for doubt in self.doubts)

    @property
    def all_valid(self) -> bool:
        """Say whether the run is valid with every gateway."""
        return all(one.valid for one in self.every)
