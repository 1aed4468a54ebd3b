"""Reads results back: from a run's folder or from a results.json that was kept as a baseline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from results.outcome import SCHEMA_VERSION
from results.record import RecordError

Data = dict[str, Any]

_NEEDED = ("run", "validity", "comparisons", "claims")


class BadInput(Exception):  # noqa: N818 - the project's word for it
    """What was given is not results; the message says in one sentence what is wrong."""


def load_results(path: Path) -> Data:
    """Return results as plain data. Raises BadInput.

    A folder without results.json but with a record is computed; nothing is written.
    """
    if path.is_dir():
        file = path / "results.json"
        return _checked(_read(file), file) if file.is_file() else _computed(path)
    if not path.exists():
        raise BadInput(f"{path} does not exist: give a run's folder or a results.json")
    return _checked(_read(path), path)


def _computed(run_dir: Path) -> Data:
    from results.build import build  # noqa: PLC0415 - pandas only where a record has to be read
    from results.reports.as_json import as_data  # noqa: PLC0415

    try:
        return as_data(build(run_dir))
    except RecordError as missing:
        raise BadInput(f"{run_dir} holds neither results.json nor a readable record: {missing}") from missing


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as broken:
        raise BadInput(f"{path} cannot be read as results.json: {broken}") from broken


def _checked(value: Any, path: Path) -> Data:
    if not isinstance(value, dict) or "schema_version" not in value:
        raise BadInput(f"{path} is not a results.json of archbench: it has no schema_version")
    if value["schema_version"] != SCHEMA_VERSION:
        raise BadInput(
            f"{path} has schema version {value['schema_version']}, this archbench reads version {SCHEMA_VERSION}:"
            " build the reports of that run again"
        )
    missing = [name for name in _NEEDED if name not in value]
    if missing:
        raise BadInput(f"{path} is not a whole results.json: {', '.join(missing)} is missing")
    return value
