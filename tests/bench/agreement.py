"""Do the load engines, and k6, say the same of one target at a rate that all can hold?

    python -m tests.bench.agreement [--rounds 8] [--floor-rounds 3] [--seconds 6] [--rate 200] [--json FILE]

The target (waiting_server) makes every request wait for a known time, the same sequence for every tool of a round and
another one each round. Tools take turns, in an order that goes round, on one core; the target has another. The first
second of each turn is cut. A tool agrees with the native engine when the 95 % interval of the ratio of a percentile,
paired over rounds, lies within 5 % of 1; it differs when the interval lies outside; anything else is not settled.

Service time is done less sent, which k6 calls http_req_duration; latency counts from the intended start, which k6 does
not know. k6's executor is open-loop as long as it has virtual users: a turn in which it dropped an iteration is void.
The same turns against a static nginx say what each tool itself adds (the floor).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from harness.loadtest import LoadRequest
from results.estimate import Estimate, compare
from tests.bench import engines, k6, rig
from tests.bench.engine_speed import SERVER

NATIVE, K6 = "native", "k6"
ENGINES = (NATIVE, "locust")
TOLERANCE = 0.05
WARMUP_S = 1.0
ENOUGH_FOR_P99 = 1000
CONNECTIONS = 200
QUANTITIES = {
    "service_p50": "service p50",
    "service_p99": "service p99",
    "latency_p50": "latency p50",
    "latency_p99": "latency p99",
}


@dataclass(frozen=True)
class Turn:
    """What one tool said of one stretch: milliseconds by quantity; none when the turn is void, and why."""

    requests: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)
    void: str = ""


@dataclass(frozen=True)
class Plan:
    """How much is sent: `seconds` count, a second before them does not."""

    rate: int
    seconds: float

    @property
    def total_s(self) -> float:
        return WARMUP_S + self.seconds

    @property
    def cut(self) -> int:
        """How many requests the warm-up has."""
        return round(self.rate * WARMUP_S)


Tool = Callable[[str, Plan], Turn]
Round = dict[str, Turn]


def engine_turn(drive: engines.Drive, url: str, plan: Plan) -> Turn:
    """Return what one of our engines says."""
    job, result = drive(LoadRequest(url, plan.rate, plan.total_s, connections=CONNECTIONS))
    if problem := engines.flaw(result):
        return Turn(void=problem)
    service, latency = engines.service_ns(result)[plan.cut :], engines.latency_ns(job, result)[plan.cut :]
    return Turn(len(service), percentiles("service", service) | percentiles("latency", latency))


def k6_turn(core: int, url: str, plan: Plan) -> Turn:
    """Return what k6 says."""
    summary, samples = k6.arrivals(url, plan.rate, CONNECTIONS, plan.total_s, core)
    if problem := k6_flaw(summary, plan):
        return Turn(void=problem)
    service = [sample.took_ns for sample in samples][plan.cut :]
    return Turn(len(service), percentiles("service", service))


def k6_flaw(summary: k6.Summary, plan: Plan) -> str:
    """Say why k6's turn is void; empty when it is not."""
    if summary.dropped:
        return f"k6 dropped {summary.dropped} iterations: it was no open loop"
    if summary.failed:
        return f"{summary.failed} of k6's requests failed"
    if summary.requests < 0.99 * plan.rate * plan.total_s:
        return f"k6 sent {summary.requests} requests and should have sent {plan.rate * plan.total_s:.0f}"
    return ""


def percentiles(name: str, values_ns: Sequence[int] | engines.Nanoseconds) -> dict[str, float]:
    """Return p50 and p99 in milliseconds."""
    p50, p99 = np.percentile(values_ns, [50, 99]) / 1e6
    return {f"{name}_p50": float(p50), f"{name}_p99": float(p99)}


@contextlib.contextmanager
def waiting(seed: int, core: int) -> Iterator[str]:
    """Start the target anew, at the beginning of its sequence; yield its URL."""
    port = rig.free_port()
    command = rig.python_module("tests.bench.waiting_server", str(port), str(seed))
    with rig.pinned(command, [core]):
        rig.wait_for_port(port)
        yield f"http://127.0.0.1:{port}/"


def run(plan: Plan, rounds: int, floor_rounds: int) -> tuple[list[Round], list[Round]]:
    """Return the rounds against the waiting target and those against the static nginx."""
    k6.require()
    for name in ENGINES:
        engines.require(name)
    cores = rig.split_cores()
    target, generator = cores.measured, min(cores.others)
    os.sched_setaffinity(0, [target])
    with contextlib.ExitStack() as stack:
        tools: dict[str, Tool] = {
            name: _bound(stack.enter_context(engines.crew(name, [generator], [target]))) for name in ENGINES
        }
        tools[K6] = lambda url, plan: k6_turn(generator, url, plan)
        waited = [_round(tools, number, plan, lambda seed=number: waiting(seed, target)) for number in range(rounds)]
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = rig.free_port()
        stack.enter_context(rig.nginx(directory, port, SERVER.format(port=port, body="x" * 100), [target]))
        idle = f"http://127.0.0.1:{port}/"
        floors = [_round(tools, number, plan, lambda: contextlib.nullcontext(idle)) for number in range(floor_rounds)]
        return waited, floors


def _bound(drive: engines.Drive) -> Tool:
    return lambda url, plan: engine_turn(drive, url, plan)


def _round(
    tools: Mapping[str, Tool], number: int, plan: Plan, start: Callable[[], contextlib.AbstractContextManager[str]]
) -> Round:
    """Give every tool its turn, each against a target that `start` has started for it."""
    done = {}
    for name in rig.rotated(tools, number):
        with start() as url:
            done[name] = tools[name](url, plan)
    return done


def verdict(estimate: Estimate) -> str:
    """Return whether a ratio is shown to be within the tolerance of 1, shown to be outside, or neither."""
    low, high = estimate.low, estimate.high
    if low is None or high is None:
        return "not settled"
    if low >= 1 - TOLERANCE and high <= 1 + TOLERANCE:
        return "agree"
    if high < 1 - TOLERANCE or low > 1 + TOLERANCE:
        return "**differ**"
    return "not settled"


def ratio(rounds: Sequence[Round], name: str, quantity: str) -> Estimate | None:
    """Return a tool's figure over the native engine's, paired over rounds; None where it has no such figure."""
    values, ours = (by_round(rounds, tool, quantity) for tool in (name, NATIVE))
    measured = compare(values, ours)
    return measured and measured.at95


def by_round(rounds: Sequence[Round], name: str, quantity: str) -> dict[int, float]:
    """Return a tool's figure by the number of the round, void turns left out."""
    turns = ((number, one[name].figures) for number, one in enumerate(rounds))
    return {number: figures[quantity] for number, figures in turns if quantity in figures}


def table(waited: Sequence[Round], floors: Sequence[Round]) -> str:
    """Return the figures, the comparisons, the floors and what is void as markdown."""
    return "\n\n".join(
        [
            _figures("waiting target, ms", waited),
            _comparisons(waited),
            _figures("floor (static nginx), ms", floors),
            _notes([*waited, *floors], len(waited), len(floors)),
        ]
    )


def _figures(title: str, rounds: Sequence[Round]) -> str:
    rows = [f"| {title} | {' | '.join(QUANTITIES.values())} |", "|---" * (len(QUANTITIES) + 1) + "|"]
    for name in _tools(rounds):
        cells = [_median(by_round(rounds, name, quantity)) for quantity in QUANTITIES]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _tools(rounds: Sequence[Round]) -> list[str]:
    """Return the tools in the order of tables, the native engine first (a round has them in the order of turns)."""
    return sorted(rounds[0], key=[*ENGINES, K6].index)


def _median(values: Mapping[int, float]) -> str:
    return f"{statistics.median(values.values()):.3f}" if values else "-"


def _comparisons(rounds: Sequence[Round]) -> str:
    rows = ["| paired over rounds | ratio | 95 % interval | rounds | verdict |", "|---|---|---|---|---|"]
    for name in _tools(rounds)[1:]:
        for quantity, says in QUANTITIES.items():
            if estimate := ratio(rounds, name, quantity):
                rows.append(f"| {name} / {NATIVE}, {says} | {_cells(estimate)} | {verdict(estimate)} |")
    return "\n".join(rows)


def _cells(estimate: Estimate) -> str:
    interval = "-" if estimate.low is None else f"{estimate.low:.3f} to {estimate.high:.3f}"
    return f"{estimate.point:.3f} | {interval} | {estimate.n}"


def _notes(rounds: Sequence[Round], waited: int, floors: int) -> str:
    fewest = min((turn.requests for one in rounds for turn in one.values() if not turn.void), default=0)
    lines = [f"{waited} rounds, {floors} of the floor; medians over rounds; at least {fewest} requests a turn."]
    if fewest < ENOUGH_FOR_P99:
        lines.append(f"Too few for a p99, which needs {ENOUGH_FOR_P99}.")
    voids = [f"{name}: {turn.void}" for one in rounds for name, turn in one.items() if turn.void]
    lines.append(f"Void turns: {'; '.join(voids) or 'none'}.")
    return " ".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--floor-rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        waited, floors = run(Plan(chosen.rate, chosen.seconds), chosen.rounds, chosen.floor_rounds)
    except rig.MissingToolError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(waited, floors))
    if chosen.json is not None:
        plain = [[{name: asdict(turn) for name, turn in one.items()} for one in part] for part in (waited, floors)]
        chosen.json.write_text(json.dumps(dict(zip(("waiting", "floor"), plain, strict=True)), indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
