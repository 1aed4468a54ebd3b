"""Every gateway beside the others: CPU per proxied request, and what it adds to the latency at a fixed rate.

    python -m tests.bench.gateway_cpu [--seconds 1.5] [--rounds 5] [--rate 1000] [--gateway NAME ...] [--json FILE]

All gateways stay up during the whole run, on one core, with the configuration that a run of the built-in scenario in
gateway mode gives them, in front of the same nginx; they are loaded one after the other, in an order that goes round,
and each round gives one ratio, so that what moves the machine moves all of them. Load and upstream have the other
cores: 32 connections, each with fields and targets of its own (tests/bench/heads.py). CPU time, user and system, is
that of the gateway's process with its threads and children. Latency: tests/bench/added_latency.py.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.gateways import GATEWAYS
from tests.bench import added_latency, heads, rig, side_by_side
from tests.bench.side_by_side import Side
from tests.bench.upstream import Upstream, upstream

OURS, MEASURE = "builtin", "nginx"
CONNECTIONS = 32
WARMUP_S = 0.4


@dataclass(frozen=True)
class Workload:
    """Below which paths it asks, and whether it posts 64 kB."""

    paths: tuple[str, ...]
    posts: bool = False


WORKLOADS = {
    "1 kB answers": Workload(
        (
            "/api/v1/auth/login",
            "/api/v1/user/profile",
            "/api/v1/user/internal/statistics",
            "/api/v1/exercises/7",
            "/api/v1/notification/internal",
        )
    ),
    "64 kB answers": Workload(("/api/v1/courses/big",)),
    "64 kB request bodies": Workload(("/api/v1/exercises/sink",), posts=True),
}
# nginx keeps a request body of this size in a file before it sends it on, which costs it much: HAProxy does not.
LIMITS: tuple[tuple[str, str, float], ...] = (
    ("1 kB answers", "nginx", 1.8),
    ("1 kB answers", "envoy", 1.0),
    ("1 kB answers", "traefik", 1.0),
    ("1 kB answers", "caddy", 1.0),
    ("64 kB answers", "nginx", 2.5),
    ("64 kB request bodies", "nginx", 2.5),
    ("64 kB request bodies", "haproxy", 2.5),
)


@dataclass(frozen=True)
class Turn:
    """One gateway under one workload: CPU a request, requests, requests a second, and how many heads were different."""

    cpu_us: float
    completed: int
    per_s: float
    distinct: int


Round = dict[str, dict[str, Turn]]  # by workload and gateway


@dataclass(frozen=True)
class Comparison:
    """All that was measured. `seen`: heads that the upstream logged while warming up, and how many were different."""

    versions: Mapping[str, str]
    missing: Mapping[str, str]
    seen: tuple[int, int]
    rate: float
    rounds: list[Round] = field(default_factory=list)
    latencies: list[added_latency.Round] = field(default_factory=list)


@dataclass(frozen=True)
class Rig:
    """What is up: the gateways, the upstream they are loaded against, the one beside them, and where to put files."""

    sides: Mapping[str, Side]
    far: Upstream
    near: Upstream
    folder: Path
    cores: rig.Cores

    def draw(self, what: str, turn: int, seconds: float, marked: bool = False) -> list[heads.Client]:
        """Draw the heads of a turn."""
        return heads.clients(self.folder / "heads", WORKLOADS[what].paths, CONNECTIONS, turn, seconds, marked)

    def load(self, name: str, what: str, load: Sequence[heads.Client], seconds: float) -> Turn:
        """Load one gateway for a while. Raises RuntimeError when one was not answered well, or none was."""
        body = self.far.big if WORKLOADS[what].posts else None
        clock = side_by_side.Clock(self.sides[name].pid)
        done = heads.drive(self.sides[name].base, load, seconds, sorted(self.cores.others), body)
        used_ns = clock.used_ns()
        if done.failed or not done.completed:
            raise RuntimeError(
                f"{name}, {what}: {done.completed} requests were answered well and {done.failed} were not"
            )
        return Turn(used_ns / done.completed / 1000, done.completed, done.per_s, done.distinct)


@contextlib.contextmanager
def everything(names: Sequence[str]) -> Iterator[Rig]:
    """Start the gateways and their upstreams; keep this process off the measured core."""
    cores = rig.split_cores()
    rig.require("h2load", "nghttp2-client")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="archbench-bench-")))
        stack.enter_context(rig.running_on(cores.others))
        far = stack.enter_context(upstream(folder / "far", sorted(cores.others)))
        near = stack.enter_context(upstream(folder / "near", [cores.measured]))
        ports = (far.ports[0], near.ports[0])
        sides = stack.enter_context(side_by_side.running(names, ports, folder / "gateways", [cores.measured]))
        yield Rig(sides, far, near, folder, cores)


def run(seconds: float, rounds: int, rate: float, names: Sequence[str] = tuple(GATEWAYS)) -> Comparison:
    """Measure every round, after a short one to warm up."""
    with everything(names) as up:
        warm_up(up)
        versions = {name: side.version for name, side in up.sides.items()}
        seen = heads.read_log(up.far.log)
        done = Comparison(versions, side_by_side.missing(names), seen, rate)
        done.rounds.extend(cpu_round(up, number, seconds) for number in range(rounds))
        with added_latency.engine(up.cores) as drive:
            for number in range(rounds):
                near = up.near.ports[0]
                done.latencies.append(added_latency.one_round(drive, up.sides, near, number, rate, seconds))
    return done


def warm_up(up: Rig) -> None:
    """Load every gateway with every workload for a moment, with heads of its own that the upstream logs."""
    turn = 0x8000
    for what in WORKLOADS:
        for name in up.sides:
            turn += 1
            up.load(name, what, up.draw(what, turn, WARMUP_S, marked=True), WARMUP_S)


def cpu_round(up: Rig, number: int, seconds: float) -> Round:
    """Load every gateway with every workload; all get the same heads, which none has seen before."""
    done: Round = {}
    for what in WORKLOADS:
        drawn = up.draw(what, number, seconds)
        done[what] = {name: up.load(name, what, drawn, seconds) for name in rig.rotated(up.sides, number)}
    return done


def table(measured: Comparison) -> str:
    """Return everything as markdown."""
    parts = [_workload(what, measured) for what in WORKLOADS]
    latency = added_latency.table(measured.latencies, measured.versions, measured.rate)
    return "\n\n".join([*parts, _limits(measured), latency, _notes(measured)])


def _workload(what: str, measured: Comparison) -> str:
    rows = [
        f"| {what} | CPU us/request | min | max | / {MEASURE}, paired | min | max | requests/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in measured.versions:
        turns = [one[what][name] for one in measured.rounds]
        ratio = rig.Spread.of(found) if (found := ratios(measured, what, name, MEASURE)) else "- | - | -"
        per_s = statistics.median(turn.per_s for turn in turns)
        rows.append(f"| {name} | {rig.Spread.of([turn.cpu_us for turn in turns])} | {ratio} | {per_s:.0f} |")
    rows += [f"| {name} | {says} | | | | | | |" for name, says in measured.missing.items()]
    return "\n".join(rows)


def ratios(measured: Comparison, what: str, name: str, other: str) -> list[float]:
    """Return the CPU of one gateway over another's, one ratio a round; none when one of them is not there."""
    turns = [one[what] for one in measured.rounds]
    return [one[name].cpu_us / one[other].cpu_us for one in turns if name in one and other in one]


def _limits(measured: Comparison) -> str:
    rows = ["| CPU, paired | median | min | max | at most | |", "|---|---|---|---|---|---|"]
    for what, other, most in LIMITS:
        found = ratios(measured, what, OURS, other)
        spread = rig.Spread.of(found) if found else "- | - | -"
        says = rig.met(statistics.median(found) <= most) if found else "not measured"
        rows.append(f"| {OURS} / {other}, {what} | {spread} | {most:g} | {says} |")
    return "\n".join(rows)


def _notes(measured: Comparison) -> str:
    turns = [turn for one in measured.rounds for of in one.values() for turn in of.values()]
    fewest = min(turns, key=lambda turn: turn.distinct)
    logged, different = measured.seen
    return (
        f"{'; '.join(measured.versions.values())}.\n\n"
        f"{len(measured.rounds)} rounds. Different heads in a turn: {fewest.distinct} of {fewest.completed} requests "
        f"where they were fewest. The upstream logged {logged} heads while warming up, {different} of them different."
    )


def _plain(measured: Comparison) -> dict[str, Any]:
    return asdict(measured)


def main(arguments: list[str] | None = None) -> int:
    parser = rig.options(__doc__ or "", 1.5, 5)
    parser.add_argument("--rate", type=float, default=1000.0, help="a second, of the latency turns (default: 1000)")
    parser.add_argument("--gateway", action="append", choices=list(GATEWAYS), help="again for each; default: all")
    chosen = parser.parse_args(arguments)
    names = chosen.gateway or list(GATEWAYS)
    return rig.finish(lambda: run(chosen.seconds, chosen.rounds, chosen.rate, names), table, _plain, chosen.json)


if __name__ == "__main__":
    sys.exit(main())
