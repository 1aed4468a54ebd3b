"""What an experiment provides: parameters that a scenario may give, the modes it is tried in, and a trial of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness import trial as trials
from harness.forkserver import ForkServer
from harness.gateways import Gateway
from harness.gateways.choice import chosen
from harness.platform import PlatformSpec
from harness.samples import Observation, call_columns, sample_columns
from harness.trial import TrialOutcome, TrialSettings
from results.record import PlannedTrial, Probe, Tally, TrialRecord
from scenarios.model import Scenario
from scenarios.modes import MODES

Run = Callable[[PlannedTrial, Any, TrialSettings, ForkServer], TrialOutcome]
"""Carry out one trial with the parameters given. Raises HarnessError when the platform does not come up."""


class Parameters(BaseModel):
    """An experiment's own parameters, refused when one is missing or unknown; here: none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def refusal(self, scenario: Scenario) -> str:  # noqa: ARG002
        """Return why this cannot be tried with this scenario, empty when it can."""
        return ""


@dataclass(frozen=True)
class Experiment:
    """One experiment: a line that says what it does, and how it is run. `modes`: where the run has them."""

    says: str
    run: Run
    parameters: type[Parameters] = Parameters
    modes: tuple[str, ...] = tuple(MODES)


def spec_of(trial: PlannedTrial, settings: TrialSettings) -> PlatformSpec:
    """Return the platform of this trial: the run's, in the trial's mode, with its gateway, of which there is one."""
    return replace(trials.spec_of(trial, settings), gateway_replicas=1)


def product(spec: PlatformSpec) -> Gateway:
    """Return the product that is this platform's gateway."""
    return chosen(spec.gateway)[0]


def told(
    trial: PlannedTrial,
    probes: Sequence[Probe] = (),
    tallies: Sequence[Tally] = (),
    ready_s: float = 0.0,
    used_gateway: str = "",
) -> TrialOutcome:
    """Return the outcome of a trial that drove no load."""
    record = TrialRecord(
        trial,
        "done",
        probes=list(probes),
        tallies=list(tallies),
        ready_s=ready_s,
        used_gateway=used_gateway,
    )
    return TrialOutcome(record, sample_columns(Observation([], [], [])), call_columns([], []))
