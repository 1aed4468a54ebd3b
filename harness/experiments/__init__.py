"""What is tried outside the load windows. A new experiment is one new file and one line in EXPERIMENTS.

A scenario names the ones it wants, with their parameters; a claim reads what they found. None of them judges.
"""

from harness.experiments import central_limits, edited_places, gateway_routes, service_move, token_check
from harness.experiments.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    "gateway-routes": gateway_routes.EXPERIMENT,
    "edited-places": edited_places.EXPERIMENT,
    "service-move": service_move.EXPERIMENT,
    "token-check": token_check.EXPERIMENT,
    "central-limits": central_limits.EXPERIMENT,
}

__all__ = ["EXPERIMENTS", "Experiment"]
