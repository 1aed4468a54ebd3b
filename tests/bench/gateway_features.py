"""What every feature of the built-in gateway costs a request: with exactly one feature, less without any, paired.

    python -m tests.bench.gateway_features [--seconds 0.3] [--rounds 12] [--feature NAME ...] [--json FILE]

For each feature two gateways are forked from one process, so that they begin with the same memory, and share a core:
one with the feature, one without. They are loaded one after the other with the same heads, the first of one round the
second of the next; each round gives one difference of CPU time a request. Rounds are short and many, as a shared host
changes its pace within seconds: what is told is their median. 1 kB answers, 16 connections, each with fields and
targets of its own. The first row has no feature: it is what this table cannot tell from nothing. Afterwards every
gateway is asked whether its feature is in force (tests/bench/feature_proofs.py).

Two workers are no cost but a throughput (tests/bench/worker_throughput.py).
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from tests.bench import heads, rig, side_by_side, worker_throughput
from tests.bench.feature_catalogue import CONTROL, FEATURES, Feature, Place, configured, plain
from tests.bench.feature_proofs import Probe
from tests.bench.feature_rig import CONNECTIONS, Rig, UnusableError, everything, gateway
from tests.bench.worker_throughput import Workers

WARMUP_S = 0.3
WITH, WITHOUT = "with", "without"


@dataclass(frozen=True)
class Pair:
    """One round of one feature: CPU microseconds a request."""

    without: float
    with_it: float

    @property
    def marginal(self) -> float:
        """What the feature cost."""
        return self.with_it - self.without


@dataclass(frozen=True)
class Cost:
    """A feature's rounds; whether it was seen to be in force (None: there is nothing to see); or why there are none."""

    pairs: list[Pair] = field(default_factory=list)
    in_force: bool | None = None
    problem: str = ""


@dataclass(frozen=True)
class Measured:
    """All that was measured."""

    costs: Mapping[str, Cost]
    workers: Workers


def run(seconds: float, rounds: int, names: Sequence[str] = tuple(FEATURES)) -> Measured:
    """Measure feature after feature, and the workers."""
    with everything() as up:
        costs = {name: cost(up, name, FEATURES[name], seconds, rounds) for name in dict.fromkeys([CONTROL, *names])}
        return Measured(costs, worker_throughput.measure(up, seconds, rounds))


def cost(up: Rig, name: str, feature: Feature, seconds: float, rounds: int) -> Cost:
    """Measure one feature against none. A gateway that does not do its work is a problem of the feature's, and told."""
    kinds = (WITHOUT, WITH)
    places = dict(zip(kinds, up.places(*(f"{name}-{kind}" for kind in kinds)), strict=True))
    try:
        with (
            gateway(up, places[WITHOUT], plain(places[WITHOUT])) as without,
            gateway(up, places[WITH], configured(feature, places[WITH])) as with_it,
        ):
            turn = partial(_turn, up, feature, places, {WITHOUT: without, WITH: with_it})
            pairs = _rounds(up, turn, seconds, rounds)
            return Cost(pairs, in_force(up, feature, places[WITH]))
    except (UnusableError, rig.LoadError) as problem:
        return Cost(problem=str(problem))


def _rounds(up: Rig, turn: partial[float], seconds: float, rounds: int) -> list[Pair]:
    for kind in (WITHOUT, WITH):
        turn(kind, up.draw(-1, WARMUP_S), WARMUP_S)
    pairs = []
    for number in range(rounds):
        drawn = up.draw(number, seconds)
        done = {kind: turn(kind, drawn, seconds) for kind in rig.rotated((WITHOUT, WITH), number)}
        pairs.append(Pair(done[WITHOUT], done[WITH]))
    return pairs


def _turn(
    up: Rig,
    feature: Feature,
    places: Mapping[str, Place],
    pids: Mapping[str, int],
    kind: str,
    drawn: Sequence[heads.Client],
    seconds: float,
) -> float:
    """Load one gateway and return its CPU microseconds a request."""
    scheme = "https" if feature.secure and kind == WITH else "http"
    load = [one.with_fields(feature.fields(up.keys, number)) for number, one in enumerate(drawn)]
    clock = side_by_side.Clock(pids[kind])
    done = heads.drive(f"{scheme}://127.0.0.1:{places[kind].port}", load, seconds, sorted(up.cores.others))
    used_ns = clock.used_ns()
    if done.failed or not done.completed:
        raise UnusableError(f"{kind} it {done.completed} requests were answered well and {done.failed} were not")
    return used_ns / done.completed / 1000


def in_force(up: Rig, feature: Feature, place: Place) -> bool | None:
    """Say whether the feature is seen to do what it is for; None when there is nothing to see."""
    if feature.proof is None:
        return None
    lines = feature.fields(up.keys, 0)
    probe = Probe(place.port, place.admin_port, up.upstream.log, place.access_log, lines, feature.secure)
    try:
        return feature.proof(probe)
    except OSError:
        return False


def table(measured: Measured) -> str:
    """Return everything as markdown."""
    rows = ["| feature | in force | us more | 1st quartile | 3rd | share of the base |", "|---|---|---|---|---|---|"]
    rows += [f"| {name} | {_cells(one)} |" for name, one in measured.costs.items()]
    return "\n\n".join(["\n".join(rows), _notes(measured), worker_throughput.table(measured.workers)])


def _cells(one: Cost) -> str:
    if one.problem:
        return f"**not measured**: {one.problem} | - | - | - | -"
    if one.in_force is False:
        return "**no** | - | - | - | -"
    marginal = rig.Spread.quartiles([pair.marginal for pair in one.pairs])
    share = statistics.median(pair.marginal / pair.without for pair in one.pairs)
    return f"{'yes' if one.in_force else '-'} | {marginal} | {share:+.1%}"


def _notes(measured: Measured) -> str:
    bases = [pair.without for one in measured.costs.values() for pair in one.pairs]
    rounds = max((len(one.pairs) for one in measured.costs.values()), default=0)
    words = f"CPU us a request, {rounds} rounds, {CONNECTIONS} connections; quartiles: over rounds."
    if not bases:
        return f"{words} Nothing could be measured."
    base = rig.Spread.of(bases)
    return (
        f"{words} The base: {base.median:.2f} us ({base.low:.2f} to {base.high:.2f} over all rounds of all features)."
    )


def main(arguments: list[str] | None = None) -> int:
    parser = rig.options(__doc__ or "", 0.3, 12)
    parser.add_argument("--feature", action="append", choices=list(FEATURES), help="again for each; default: all")
    chosen = parser.parse_args(arguments)
    names = chosen.feature or list(FEATURES)
    return rig.finish(lambda: run(chosen.seconds, chosen.rounds, names), table, _plain, chosen.json)


def _plain(measured: Measured) -> dict[str, Any]:
    return asdict(measured)


if __name__ == "__main__":
    sys.exit(main())
