"""Reads a scenario by its built-in name or from a file of the user's."""

from pathlib import Path

from scenarios import SCENARIOS
from scenarios.files import load_model
from scenarios.model import Scenario


class UnknownScenarioError(Exception):
    """The name is neither a built-in scenario nor a file; the message lists the choices."""


def load_scenario(name_or_path: str) -> Scenario:
    """Return the scenario. Raises UnknownScenarioError, or FileProblem with file and line."""
    path = SCENARIOS.get(name_or_path) or Path(name_or_path)
    if not path.is_file():
        raise UnknownScenarioError(
            f"unknown scenario {name_or_path!r}: one of {', '.join(SCENARIOS)}, or the path of a scenario file"
        )
    return load_model(path.read_text(encoding="utf-8"), str(path), Scenario)
