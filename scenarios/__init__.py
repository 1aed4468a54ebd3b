"""The vocabulary (service, flow, mode, fault, claim) and the catalogue of built-in scenarios.

Imports nothing of the project. A scenario is a YAML file; a new built-in one is a folder and one line in SCENARIOS.
"""

from pathlib import Path

_HERE = Path(__file__).parent

SCENARIOS: dict[str, Path] = {
    "ielts": _HERE / "ielts" / "scenario.yaml",
}
