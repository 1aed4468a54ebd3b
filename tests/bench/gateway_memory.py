"""Memory and file handles of the built-in gateway with 2,000 idle and 500 busy client connections at once.

    python -m tests.bench.gateway_memory [--seconds 4] [--rounds 3] [--idle 2000] [--busy 500] [--json FILE]

Each round has a fresh gateway, a program of its own. An idle connection has asked once and been answered. A busy one
asks again whenever it is answered, by an upstream that holds every request for half a second and then sends 64 kB: so
nearly all are in flight at any moment, which the upstream counts. Beside them 32 connections of h2load ask for 64 kB
from nginx as fast as they can, so that the gateway's core has no rest. While all this goes on memory and handles are
sampled; then everything is closed, and after the upstream connections' idle time (1 s) the handles are counted again.

RSS and PSS of the gateway's processes, summed; the peak is the kernel's own (VmHWM). A MB is a million bytes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.environment import require_file_handles
from tests.bench import rig
from tests.bench.footprint import Footprint, footprint, most_of
from tests.bench.upstream import BIG_BYTES, upstream

LIMIT_MB = 150.0
LEAST_IN_FLIGHT = 0.95  # of the busy connections, at every sample
HOLD_S = 0.5
STEADY_CONNECTIONS = 32
_SAMPLE_EVERY_S = 0.2
_SETTLE_S = 1.5
_HANDLES_BACK_WITHIN_S = 8.0
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Busy:
    """How busy it was at one moment: requests in flight at the clients, requests held by the slow upstream."""

    in_flight: int
    held: int


@dataclass(frozen=True)
class Round:
    """One gateway's life. `load`: footprints and busyness while everything was going on."""

    idle: int
    busy: int
    listening: Footprint
    with_idle: Footprint
    loaded: list[Footprint]
    busyness: list[Busy]
    after: Footprint
    failed: int
    steady_per_s: float


class Crowd:
    """A crowd of clients (tests/bench/crowd.py) that is up."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def counts(self) -> dict[str, int]:
        """Ask it for its counts. Raises RuntimeError when it has ended."""
        self._say("count")
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"the clients ended with {self.process.wait(_PATIENCE_S)}")
        return {name: int(count) for name, count in json.loads(line).items()}

    def leave(self) -> None:
        """Close all its connections, and wait until that is done."""
        self._say("quit")
        self.process.wait(_PATIENCE_S)

    def _say(self, command: str) -> None:
        if self.process.stdin:
            self.process.stdin.write(f"{command}\n")
            self.process.stdin.flush()


@contextlib.contextmanager
def crowd(port: int, path: str, idle: int, busy: int) -> Iterator[Crowd]:
    """Open a crowd of clients; yield it when all have connected and the idle ones have been answered."""
    command = rig.python_module("tests.bench.crowd", *map(str, (port, idle, busy)), path, path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        clients = Crowd(process)
        try:
            clients.counts()
            yield clients
        finally:
            process.kill()


def configuration(port: int, fast: int, slow: int) -> str:
    """Return the gateway's configuration; idle upstream connections are given up soon: handles are to be counted."""
    ports = {"fast": fast, "slow": slow}
    return yaml.safe_dump(
        {
            "listen": {"host": "127.0.0.1", "port": port},
            "upstreams": {name: {"targets": [f"127.0.0.1:{to}"], "idle_timeout_s": 1} for name, to in ports.items()},
            "routes": [{"prefix": f"/{name}", "upstream": name} for name in ports],
        }
    )


def run(seconds: float, rounds: int, idle: int, busy: int) -> list[Round]:
    """Measure round after round, each with a fresh gateway."""
    if problem := require_file_handles(idle + busy + 256):
        raise rig.MissingToolError(problem)
    rig.require("h2load", "nghttp2-client")
    cores = rig.split_cores()
    with rig.running_on(cores.others):
        return [one_round(cores, seconds, idle, busy) for _ in range(rounds)]


def one_round(cores: rig.Cores, seconds: float, idle: int, busy: int) -> Round:
    """Start everything, measure, and close everything."""
    others = sorted(cores.others)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="archbench-bench-")))
        fast = stack.enter_context(upstream(folder / "upstream", others)).ports[0]
        slow, port = rig.free_ports(2)
        arguments = ("tests.bench.slow_server", str(slow), str(HOLD_S), str(BIG_BYTES))
        stack.enter_context(rig.pinned(rig.python_module(*arguments), others))
        path = folder / "gateway.yaml"
        path.write_text(configuration(port, fast, slow), encoding="utf-8")
        command = rig.python_module("gateway_proxy", "--config", str(path))
        gateway = stack.enter_context(rig.pinned(command, [cores.measured])).pid
        for each in (slow, port):
            rig.wait_for_port(each)
        return _measure(gateway, port, slow, (seconds, idle, busy))


def _measure(gateway: int, port: int, slow: int, what: tuple[float, int, int]) -> Round:
    seconds, idle, busy = what
    time.sleep(0.5)  # the connection that looked whether it listens has to be forgotten
    listening = footprint(gateway)
    with crowd(port, "/fast/1", idle, 0) as quiet, crowd(port, "/slow/1", 0, busy) as loud:
        with_idle = footprint(gateway)
        loaded, busyness, steady_per_s = _sample(gateway, port, slow, loud, seconds)
        counts = [quiet.counts(), loud.counts()]
        loud.leave()
        quiet.leave()
    after = _settled(gateway, listening.handles)
    return Round(
        counts[0].get("idle", 0),
        counts[1].get("busy", 0),
        listening,
        with_idle,
        loaded,
        busyness,
        after,
        sum(one.get("failed", 0) for one in counts),
        steady_per_s,
    )


def _sample(
    gateway: int, port: int, slow: int, loud: Crowd, seconds: float
) -> tuple[list[Footprint], list[Busy], float]:
    """Look at the gateway again and again while the steady load is on as well."""
    loaded, busyness = [], []
    url = f"http://127.0.0.1:{port}/fast/big/1"
    cores = sorted(os.sched_getaffinity(0))
    with ThreadPoolExecutor(1) as pool:
        steady = pool.submit(rig.h2load, [url], STEADY_CONNECTIONS, _SETTLE_S + seconds, cores)
        time.sleep(_SETTLE_S)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not steady.done():
            loaded.append(footprint(gateway))
            busyness.append(Busy(loud.counts().get("in_flight", 0), _held(slow)))
            time.sleep(_SAMPLE_EVERY_S)
        return loaded, busyness, steady.result().per_s


def _held(slow: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", slow, timeout=_PATIENCE_S)
    connection.request("GET", "/now")
    held = int(connection.getresponse().read())
    connection.close()
    return held


def _settled(gateway: int, handles: int) -> Footprint:
    """Return the footprint as soon as no more handles are held than at the beginning, or when patience is over."""
    end = time.monotonic() + _HANDLES_BACK_WITHIN_S
    while True:
        now = footprint(gateway)
        if now.handles <= handles or time.monotonic() > end:
            return now
        time.sleep(0.1)


def table(measured: Sequence[Round]) -> str:
    """Return the rounds as markdown: the stages, then the limits, then how it was made busy."""
    return "\n\n".join([_stages(measured), _limits(measured), _notes(measured)])


def _stages(measured: Sequence[Round]) -> str:
    idle, busy = measured[0].idle, measured[0].busy
    stages = {
        "listening": [one.listening for one in measured],
        f"{idle} idle, {busy} just opened": [one.with_idle for one in measured],
        f"{idle} idle, {busy} busy, most of all samples": [most_of(one.loaded) for one in measured],
        "all closed again": [one.after for one in measured],
    }
    rows = ["| | RSS MB | min | max | PSS MB | min | max | file handles | min | max |", "|---" * 10 + "|"]
    for name, found in stages.items():
        cells = [_cells([getattr(one, what) for one in found], what) for what in ("rss_mb", "pss_mb", "handles")]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _cells(values: Sequence[float], what: str) -> str:
    spread = rig.Spread.of(values)
    places = 0 if what == "handles" else 1
    return " | ".join(f"{value:.{places}f}" for value in (spread.median, spread.low, spread.high))


def _limits(measured: Sequence[Round]) -> str:
    rows = ["| | median | min | max | limit | |", "|---|---|---|---|---|---|"]
    peaks = [max(most_of(one.loaded).peak_mb, one.after.peak_mb) for one in measured]
    left = [max(0, one.after.handles - one.listening.handles) for one in measured]
    flights = [min(sample.in_flight for sample in one.busyness) for one in measured]
    asked = round(LEAST_IN_FLIGHT * measured[0].busy)
    for name, values, limit, holds in (
        ("peak of resident memory, MB", peaks, f"at most {LIMIT_MB:g}", max(peaks) <= LIMIT_MB),
        ("file handles left over", left, "at most 0", max(left) <= 0),
        ("requests in flight, fewest of all samples", flights, f"at least {asked}", min(flights) >= asked),
        ("clients' requests that failed", [one.failed for one in measured], "at most 0", not _failed(measured)),
    ):
        rows.append(f"| {name} | {rig.Spread.of(values)} | {limit} | {rig.met(holds)} |")
    return "\n".join(rows)


def _failed(measured: Sequence[Round]) -> int:
    return sum(one.failed for one in measured)


def _notes(measured: Sequence[Round]) -> str:
    held = rig.Spread.of([sample.held for one in measured for sample in one.busyness])
    per_s = rig.Spread.of([one.steady_per_s for one in measured])
    samples = sum(len(one.busyness) for one in measured)
    return (
        f"{len(measured)} rounds, {samples} samples; limits are judged by the worst round. Busy: the upstream held "
        f"{held.median:.0f} requests ({held.low:.0f} to {held.high:.0f}) for {HOLD_S:g} s each, and "
        f"{STEADY_CONNECTIONS} more connections asked for 64 kB {per_s.median:.0f} times a second meanwhile."
    )


def _plain(measured: Sequence[Round]) -> list[dict[str, Any]]:
    return [asdict(one) for one in measured]


def main(arguments: list[str] | None = None) -> int:
    parser = rig.options(__doc__ or "", 4.0, 3)
    parser.add_argument("--idle", type=int, default=2000, help="connections (default: %(default)s)")
    parser.add_argument("--busy", type=int, default=500, help="connections (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    measure = (chosen.seconds, chosen.rounds, chosen.idle, chosen.busy)
    return rig.finish(lambda: run(*measure), table, _plain, chosen.json)


if __name__ == "__main__":
    sys.exit(main())
