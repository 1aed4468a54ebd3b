"""How late the native engine sends (slip: sent less intended) on a core of its own, at 1000 and 5000 requests a second.

    python -m tests.bench.slip [--seconds 5] [--rounds 5] [--json FILE]

Constant and Poisson arrivals as `archbench load` draws them, against a static nginx on another core; nothing is cut
off as warm-up. Each round has every case, in an order that goes round, and draws its Poisson arrivals anew.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from harness.loadtest import LoadRequest
from harness.schedule import Arrivals
from tests.bench import engines, rig
from tests.bench.engine_speed import SERVER

LIMITS_US = {1000: 100.0, 5000: 250.0}  # p99, by rate
SHAPES: tuple[Arrivals, ...] = ("constant", "poisson")
CASES = {f"{rate}/s, {shape}": (rate, shape) for rate in LIMITS_US for shape in SHAPES}


@dataclass(frozen=True)
class Slip:
    """Microseconds; `busy_share` is the engine's wall time that was not waiting."""

    p50: float
    p99: float
    most: float
    busy_share: float


def measure(drive: engines.Drive, url: str, case: tuple[int, Arrivals], seconds: float, seed: int) -> Slip:
    """Return the slip of one stretch. Raises RuntimeError when not every request was sent and answered."""
    rate, shape = case
    job, result = drive(LoadRequest(url, rate, seconds, shape, seed=seed))
    if problem := engines.flaw(result):
        raise RuntimeError(f"{rate}/s, {shape}: {problem}")
    slip = engines.slip_ns(job, result) / 1000
    p50, p99 = np.percentile(slip, [50, 99])
    return Slip(float(p50), float(p99), float(slip.max()), result.busy_share)


def run(seconds: float, rounds: int) -> list[dict[str, Slip]]:
    """Return the slip by case, one dictionary a round."""
    cores = rig.split_cores()
    others, generator = [cores.measured], [min(cores.others)]
    os.sched_setaffinity(0, others)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = rig.free_port()
        stack.enter_context(rig.nginx(directory, port, SERVER.format(port=port, body="x" * 100), others))
        drive = stack.enter_context(engines.crew("native", generator, others))
        url = f"http://127.0.0.1:{port}/"
        measure(drive, url, CASES["1000/s, constant"], 1.0, seed=0)
        return [
            {name: measure(drive, url, CASES[name], seconds, seed=number) for name in rig.rotated(CASES, number)}
            for number in range(rounds)
        ]


def table(measured: Sequence[dict[str, Slip]]) -> str:
    """Return the rounds as a markdown table: medians over rounds, p99 with its extremes, the worst of all."""
    rows = [
        "| slip, us | p50 | p99 | min | max | worst | busy | p99 at most | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, (rate, _) in CASES.items():
        slips = [one[name] for one in measured]
        p99 = rig.Spread.of([slip.p99 for slip in slips])
        p50, busy = (statistics.median(values) for values in zip(*((s.p50, s.busy_share) for s in slips), strict=True))
        met = rig.met(p99.median <= LIMITS_US[rate])
        worst = max(slip.most for slip in slips)
        rows.append(f"| {name} | {p50:.2f} | {p99} | {worst:.0f} | {busy:.0%} | {LIMITS_US[rate]:g} | {met} |")
    note = "p50, p99 and busy (share of the engine's time that was not waiting): medians over rounds; min, max: of p99."
    return "\n".join([*rows, "", f"{len(measured)} rounds. {note}"])


def _plain(measured: Sequence[dict[str, Slip]]) -> list[dict[str, dict[str, float]]]:
    return [{name: asdict(slip) for name, slip in one.items()} for one in measured]


def main(arguments: list[str] | None = None) -> int:
    return rig.paired_benchmark(__doc__ or "", run, table, _plain, arguments, seconds=5.0)


if __name__ == "__main__":
    sys.exit(main())
