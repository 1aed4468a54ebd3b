"""Which experiments a scenario wants, and running one of them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from harness.errors import BadInputError
from harness.experiments import EXPERIMENTS
from harness.experiments.experiment import Parameters
from harness.forkserver import ForkServer
from harness.trial import TrialOutcome, TrialSettings
from results.record import PlannedTrial
from scenarios.model import Scenario


def wanted(scenario: Scenario, modes: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return (mode, experiment) of everything that is to be tried once. Raises BadInputError, a sentence."""
    for name in scenario.experiments:
        _parameters(name, scenario)
    return tuple((mode, name) for name in scenario.experiments for mode in modes if mode in EXPERIMENTS[name].modes)


def run_experiment(trial: PlannedTrial, settings: TrialSettings, server: ForkServer) -> TrialOutcome:
    """Carry out one trial of the trial's experiment. Raises HarnessError when the platform does not come up."""
    parameters = _parameters(trial.experiment, settings.spec.scenario)
    return EXPERIMENTS[trial.experiment].run(trial, parameters, settings, server)


def _parameters(name: str, scenario: Scenario) -> Parameters:
    """Return what the scenario gives, as the experiment's own type."""
    if name not in EXPERIMENTS:
        raise BadInputError(f"unknown experiment {name!r}: one of {', '.join(EXPERIMENTS)}")
    try:
        parameters = EXPERIMENTS[name].parameters.model_validate(scenario.experiments[name])
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(["experiments", name, *map(str, first["loc"])])
        raise BadInputError(f"{where}: {first['msg']}") from wrong
    if refusal := parameters.refusal(scenario):
        raise BadInputError(f"experiments.{name}: {refusal}")
    return parameters
