"""k6 as a program beside our engine: run with k6_load.js on one core; what it says is read back here.

tests/system_packages.sh fills its folder; nothing of ours imports it, and it is told to report nothing to anybody.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.bench import rig

PROGRAM = Path(__file__).parents[2] / ".venv" / "k6" / "bin" / "k6"
SCRIPT = Path(__file__).with_name("k6_load.js")
_ENVIRONMENT = {
    "GOMAXPROCS": "1",
    "K6_NO_USAGE_REPORT": "true",
    "K6_AUTO_EXTENSION_RESOLUTION": "false",
    "K6_CSV_TIME_FORMAT": "unix_nano",
}


@dataclass(frozen=True)
class Summary:
    """What k6 counted. `dropped` are iterations that were due and found no virtual user."""

    requests: int
    per_s: float
    failed: int
    dropped: int


class Sample(NamedTuple):
    """One request: its start (wall clock) and http_req_duration, which leaves out connecting."""

    start_ns: int
    took_ns: int


def require() -> str:
    """Return the program's path. Raises MissingToolError with the command that installs it."""
    if not PROGRAM.is_file():
        raise rig.MissingToolError("k6 is missing: sh tests/system_packages.sh")
    return str(PROGRAM)


def closed(url: str, connections: int, seconds: float, core: int) -> Summary:
    """Keep `connections` virtual users busy, keep-alive."""
    with tempfile.TemporaryDirectory() as folder:
        return _run(Path(folder), core, {"URL": url, "LOOP": "closed", "CONNECTIONS": connections, "SECONDS": seconds})


def arrivals(url: str, rate: int, connections: int, seconds: float, core: int) -> tuple[Summary, list[Sample]]:
    """Send `rate` requests a second by the constant-arrival-rate executor; return its samples in order of start."""
    variables = {"URL": url, "LOOP": "open", "RATE": rate, "CONNECTIONS": connections, "SECONDS": seconds}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "samples.csv"
        summary = _run(Path(folder), core, variables, "--out", f"csv={out}")
        with out.open(encoding="utf-8", newline="") as file:
            return summary, read_samples(file)


def _run(folder: Path, core: int, variables: dict[str, str | int | float], *more: str) -> Summary:
    out = folder / "summary.json"
    command = [
        *("taskset", "-c", str(core), require(), "run", "--quiet", "--no-color", "--no-usage-report"),
        *("--address", "", "--summary-export", str(out), *more),
        *(part for name, value in variables.items() for part in ("--env", f"{name}={value}")),
        str(SCRIPT),
    ]
    patience_s = float(variables["SECONDS"]) + 60
    done = subprocess.run(
        command, env=os.environ | _ENVIRONMENT, capture_output=True, text=True, timeout=patience_s, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"k6 ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return read_summary(out.read_text(encoding="utf-8"))


def read_summary(text: str) -> Summary:
    """Return what stands in a file of --summary-export. Raises ValueError when k6 sent nothing."""
    metrics = json.loads(text)["metrics"]
    if "http_reqs" not in metrics:
        raise ValueError("k6 sent no request")
    requests = metrics["http_reqs"]
    # A rate metric counts what it asks for: the "passes" of http_req_failed are the requests that failed.
    failed = metrics["http_req_failed"]["passes"]
    dropped = metrics.get("dropped_iterations", {"count": 0})["count"]
    return Summary(int(requests["count"]), float(requests["rate"]), int(failed), int(dropped))


def read_samples(lines: Iterable[str]) -> list[Sample]:
    """Return the requests of a file of --out csv in order of their start; k6 stamps each one with its end."""
    found = []
    for row in csv.DictReader(lines):
        if row["metric_name"] == "http_req_duration":
            took_ns = round(float(row["metric_value"]) * 1e6)
            found.append(Sample(int(row["timestamp"]) - took_ns, took_ns))
    return sorted(found)
