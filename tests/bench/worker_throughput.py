"""Requests a second of two workers over those of one, each gateway a program of its own on the same two cores.

The load has the other cores; on a machine with two it shares one of them, and the ratio says less.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from tests.bench import heads, rig
from tests.bench.feature_catalogue import Place, plain
from tests.bench.feature_rig import Rig

_WARMUP_S = 0.3


@dataclass(frozen=True)
class Workers:
    """Requests a second of one worker and of two, a pair a round; how many processes two have; was a core shared?"""

    pairs: list[tuple[float, float]] = field(default_factory=list)
    processes: int = 0
    shared: bool = False


def measure(up: Rig, seconds: float, rounds: int) -> Workers:
    """Measure so many rounds. Raises RuntimeError when requests fail."""
    every = sorted({*up.cores.others, up.cores.measured})
    theirs, load_cores = every[-2:], every[:-2] or every[:1]
    places = dict(zip((1, 2), up.places("one-worker", "two-workers"), strict=True))
    with contextlib.ExitStack() as stack:
        pids = {count: stack.enter_context(_program(place, count, theirs)) for count, place in places.items()}
        processes = len(rig.family(pids[2]))
        _round(up, places, -1, _WARMUP_S, load_cores)
        pairs = [_round(up, places, number, seconds, load_cores) for number in range(rounds)]
    return Workers(pairs, processes, shared=not every[:-2])


@contextlib.contextmanager
def _program(place: Place, count: int, cores: list[int]) -> Iterator[int]:
    path = place.folder / "gateway.yaml"
    path.write_text(yaml.safe_dump({**plain(place), "workers": count}), encoding="utf-8")
    with rig.pinned(rig.python_module("gateway_proxy", "--config", str(path)), cores) as process:
        rig.wait_for_port(place.port)
        yield process.pid


def _round(up: Rig, places: Mapping[int, Place], number: int, seconds: float, cores: list[int]) -> tuple[float, float]:
    drawn = up.draw(number, seconds)
    done = {}
    for count in (1, 2) if number % 2 else (2, 1):
        driven = heads.drive(f"http://127.0.0.1:{places[count].port}", drawn, seconds, cores)
        if driven.failed:
            raise RuntimeError(f"{driven.failed} requests to {count} workers failed")
        done[count] = driven.per_s
    return done[1], done[2]


def table(measured: Workers) -> str:
    """Return the throughputs as markdown."""
    rows = ["| throughput | median | min | max |", "|---|---|---|---|"]
    rows += [
        f"| {name}, requests/s | {rig.Spread.of([pair[index] for pair in measured.pairs])} |"
        for index, name in enumerate(("one worker", "two workers"))
    ]
    rows.append(f"| two / one, paired | {rig.Spread.of([two / one for one, two in measured.pairs])} |")
    return "\n".join([*rows, "", _note(measured)])


def _note(measured: Workers) -> str:
    least = statistics.median(two / one for one, two in measured.pairs)
    words = [f"Two workers: {measured.processes} processes" + (": **not in force**." * (measured.processes < 2) or ".")]
    if measured.shared:
        words.append("Load, upstream and workers share two cores here, so that two workers cannot show what they can.")
    if least < 1:
        words.append("Two workers were slower than one.")
    return " ".join(words)
