"""What a user waits for: the quick profile's wall time and memory, a platform's start, --help, and a report.

    python -m tests.bench.whole_run [--rounds 5] [--json FILE]

A quick run by the clock; another one for its memory (proportional set size of every process of it, summed, sampled four
times a second, so that pages shared by forked processes count once): looking takes time on the cores that are measured,
and trials that it disturbs are run again. Then `archbench --help` and `archbench report` on the first one's record,
several times.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.bench import rig

ARCHBENCH = str(Path(sys.executable).with_name("archbench"))


def _proportional_bytes(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error, FileNotFoundError):
        return int(process.memory_full_info().pss)
    return 0


def _all_bytes(root: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return sum(_proportional_bytes(process) for process in [root, *root.children(recursive=True)])
    return 0


def measure_memory(out: Path) -> int:
    """Return the peak memory in bytes of one quick run with its reports."""
    command = [ARCHBENCH, "run", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        root, peak = psutil.Process(process.pid), 0
        while process.poll() is None:
            peak = max(peak, _all_bytes(root))
            time.sleep(0.25)
    return peak


def start_times(run_dir: Path) -> list[float]:
    """Return, for every trial, the seconds from the first fork until all six processes served."""
    paths = sorted(run_dir.glob("record/trials/*/trial.json"))
    return [json.loads(path.read_text(encoding="utf-8"))["ready_s"] for path in paths]


def measure_command(arguments: Sequence[str]) -> float:
    """Return the wall seconds of a command."""
    start = time.monotonic()
    quiet = subprocess.DEVNULL
    subprocess.run([ARCHBENCH, *arguments], check=False, stdout=quiet, stderr=quiet, timeout=600)
    return time.monotonic() - start


def _again(arguments: Sequence[str], rounds: int) -> list[float]:
    """Measure a command several times; the first one, which finds cold caches, does not count."""
    return [measure_command(arguments) for _ in range(rounds + 1)][1:]


def table(figures: dict[str, list[float]]) -> str:
    """Return the figures as a markdown table."""
    rows = ["| | median | min | max |", "|---|---|---|---|"]
    return "\n".join([*rows, *(f"| {name} | {rig.Spread.of(values)} |" for name, values in figures.items())])


def run(rounds: int) -> dict[str, list[float]]:
    """Return all figures by name."""
    with tempfile.TemporaryDirectory() as folder:
        timed, watched = Path(folder) / "timed", Path(folder) / "watched"
        wall_s, peak = measure_command(["run", "--out", str(timed)]), measure_memory(watched)
        run_dir = timed / "latest"
        return {
            "quick profile, wall s": [wall_s],
            "memory of everything together at its peak, MiB": [peak / 2**20],
            "fresh platform of six processes ready, s": start_times(run_dir),
            "archbench --help, s": _again(["--help"], rounds),
            "archbench report, s": _again(["report", str(run_dir)], rounds),
        }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    figures = run(chosen.rounds)
    print(table(figures))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
