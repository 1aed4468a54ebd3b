"""Locust's FastHttpUser as a program beside our engine: one process on one core, closed loop, no waiting."""

from __future__ import annotations

import importlib.util
import json
import math
import statistics
import subprocess
from pathlib import Path

from tests.bench import rig

_LOCUSTFILE = Path(__file__).with_name("locust_visitor.py")
_EDGES_S = 2  # the second in which users start and the one in which they stop are not counted


def require() -> None:
    """Raise MissingToolError unless Locust can be run."""
    if importlib.util.find_spec("locust") is None:
        raise rig.MissingToolError("locust is missing: make .venv/ready-dev")


def closed(url: str, connections: int, seconds: float, core: int) -> float:
    """Keep `connections` users busy, keep-alive; return requests a second over the whole seconds between the edges."""
    require()
    run_s = math.ceil(seconds) + _EDGES_S
    command = [
        *("taskset", "-c", str(core), *rig.python_module("locust"), "--locustfile", str(_LOCUSTFILE), "--headless"),
        *("--users", str(connections), "--spawn-rate", str(connections), "--run-time", f"{run_s}s"),
        *("--host", url.rstrip("/"), "--json", "--loglevel", "ERROR"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=run_s + 60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"locust ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    return read_rate(done.stdout)


def read_rate(text: str) -> float:
    """Return requests a second from what --json prints, without its first and last second.

    Raises ValueError when no whole second is left or a request failed.
    """
    (entry,) = json.loads(text)
    if entry["num_failures"]:
        raise ValueError(f"{entry['num_failures']} of Locust's {entry['num_requests']} requests failed")
    counts = {int(second): count for second, count in entry["num_reqs_per_sec"].items()}
    whole = [counts.get(second, 0) for second in range(min(counts, default=0) + 1, max(counts, default=0))]
    if not whole:
        raise ValueError("Locust ran for less than one whole second")
    return statistics.fmean(whole)
