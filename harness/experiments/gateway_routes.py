"""Count the routes that the gateway has to know, in the very text that it is started with; nothing is started."""

from __future__ import annotations

from collections.abc import Sequence

from harness.experiments.experiment import Experiment, Parameters, product, spec_of, told
from harness.forkserver import ForkServer
from harness.gateways import Route
from harness.trial import TrialOutcome, TrialSettings
from results.record import PlannedTrial, Tally
from scenarios.model import Scenario


def run(trial: PlannedTrial, parameters: Parameters, settings: TrialSettings, server: ForkServer) -> TrialOutcome:
    """Render the product's configuration of this mode, read its routes back and count them by kind."""
    del parameters, server
    spec = spec_of(trial, settings)
    routes = product(spec).routes_in(spec.gateway_config())
    return told(trial, tallies=tallies_of(routes, spec.scenario))


def tallies_of(routes: Sequence[Route], scenario: Scenario) -> list[Tally]:
    """Return how many of the routes are for internal and how many for public prefixes, each with its routes."""
    prefixes = {
        "internal_routes": {prefix for service in scenario.services for prefix in service.internal},
        "public_routes": {prefix for service in scenario.services for prefix in service.public},
    }
    found = {name: [route for route in routes if route.prefix in known] for name, known in prefixes.items()}
    return [Tally(name, len(chosen), _in_words(chosen)) for name, chosen in found.items()]


def _in_words(routes: Sequence[Route]) -> str:
    return ", ".join(f"{route.prefix} to {route.service}" for route in sorted(routes))


EXPERIMENT = Experiment("counts the routes in the gateway's exact configuration", run)
