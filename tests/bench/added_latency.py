"""What a gateway adds to the latency of a request at a fixed rate: its figure less that of going direct, paired.

The native engine has a core of its own; the gateways and the upstream share the other, as in a run. Every gateway's
turn has a direct turn beside it, before it in one round and after it in the next. Latency counts from the intended
start. Every request of a turn has a head of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gateway_proxy.http1 import render_request
from harness.loadtest import LoadRequest
from tests.bench import engines, heads, rig
from tests.bench.side_by_side import NEAR, Side

DIRECT = "direct"
WARMUP_S = 0.25
_HEADS = 8192


@dataclass(frozen=True)
class Latency:
    """Microseconds, by percentile."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Pair:
    """One gateway's turn and the direct one beside it; None where a turn was void, and why."""

    direct: Latency | None = None
    gateway: Latency | None = None
    void: str = ""

    @property
    def added(self) -> Latency | None:
        """What the gateway added."""
        if self.direct is None or self.gateway is None:
            return None
        return Latency(self.gateway.p50 - self.direct.p50, self.gateway.p99 - self.direct.p99)


Round = dict[str, Pair]


@contextlib.contextmanager
def engine(cores: rig.Cores) -> Iterator[engines.Drive]:
    """Start the native engine on a core that nothing measured has; keep this process off that core meanwhile."""
    payloads = list(itertools.islice(_payloads(), _HEADS))
    with (
        rig.running_on([cores.measured]),
        engines.crew("native", [min(cores.others)], [cores.measured], payloads) as drive,
    ):
        yield drive


def _payloads() -> Iterator[bytes]:
    """Yield requests without end, no two alike, in the shapes of the other workloads."""
    for number, target in enumerate(heads.targets([f"{NEAR}/user", f"{NEAR}/exam"], 0, 0)):
        lines = (line.partition(": ") for line in heads.fields(number, 0))
        yield render_request("GET", target, "archbench.invalid", [(name, value) for name, _, value in lines])


def one_round(
    drive: engines.Drive, sides: Mapping[str, Side], direct_port: int, number: int, rate: float, seconds: float
) -> Round:
    """Give every gateway its turn, each with a direct one beside it."""
    done = {}
    for name in rig.rotated(sides, number):
        ports = {DIRECT: direct_port, name: sides[name].port}
        turns = {who: turn(drive, ports[who], rate, seconds) for who in rig.rotated(ports, number)}
        done[name] = _pair(turns[DIRECT], turns[name])
    return done


def turn(drive: engines.Drive, port: int, rate: float, seconds: float) -> Latency | str:
    """Return the latency of one stretch, without its beginning; or why it is not to be compared."""
    job, result = drive(LoadRequest(f"http://127.0.0.1:{port}{NEAR}", rate, WARMUP_S + seconds))
    if problem := engines.flaw(result):
        return problem
    counted = engines.latency_ns(job, result)[round(rate * WARMUP_S) :]
    p50, p99 = np.percentile(counted, [50, 99]) / 1000
    return Latency(float(p50), float(p99))


def _pair(direct: Latency | str, gateway: Latency | str) -> Pair:
    if isinstance(direct, str):
        return Pair(void=f"direct: {direct}")
    return Pair(direct, void=gateway) if isinstance(gateway, str) else Pair(direct, gateway)


def table(rounds: Sequence[Round], names: Iterable[str], rate: float) -> str:
    """Return the rounds as markdown: medians, what was added with its extremes, and which turns were void."""
    rows = [
        f"| latency at {rate:g}/s, us | p50 | added | min | max | p99 | added | min | max |",
        "|---|---|---|---|---|---|---|---|---|",
        _direct_row(rounds),
        *(_row(name, [one[name] for one in rounds if name in one]) for name in names),
    ]
    voids = [f"{name}: {pair.void}" for one in rounds for name, pair in one.items() if pair.void]
    return "\n".join(
        [*rows, "", f"Added: paired with a direct turn beside it. Void turns: {'; '.join(voids) or 'none'}."]
    )


def _direct_row(rounds: Sequence[Round]) -> str:
    turns = [pair.direct for one in rounds for pair in one.values() if pair.direct]
    if not turns:
        return f"| {DIRECT} | - | - | - | - | - | - | - | - |"
    p50, p99 = (statistics.median(values) for values in zip(*((one.p50, one.p99) for one in turns), strict=True))
    return f"| {DIRECT} | {p50:.0f} | - | - | - | {p99:.0f} | - | - | - |"


def _row(name: str, pairs: Sequence[Pair]) -> str:
    counted = [(pair.gateway, pair.added) for pair in pairs if pair.gateway and pair.added]
    if not counted:
        return f"| {name} | - | - | - | - | - | - | - | - |"
    cells = []
    for percentile in ("p50", "p99"):
        whole = statistics.median(getattr(latency, percentile) for latency, _ in counted)
        added = rig.Spread.of([getattr(difference, percentile) for _, difference in counted])
        cells.append(f"{whole:.0f} | {added.median:.0f} | {added.low:.0f} | {added.high:.0f}")
    return f"| {name} | {' | '.join(cells)} |"
