"""When which flow is due: drawn from the seed before the window, kept, and replayed unchanged in every arm of a block.

Every arrival has an index of its own (the learner it is about), so that what it leaves in the stores can be told
from what any other arrival leaves.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

Arrivals = Literal["constant", "poisson"]


class Arrival(NamedTuple):
    """A flow that is due `at_ns` after the start of the schedule, for learner number `learner`."""

    at_ns: int
    flow: str
    learner: int


def draw_schedule(
    weights: Mapping[str, float], rate_per_s: float, duration_s: float, arrivals: Arrivals, rng: random.Random
) -> list[Arrival]:
    """Return arrivals over `duration_s`: constant or Poisson at `rate_per_s`, flows by weight, indices 0, 1, 2 ..."""
    names, shares = list(weights), list(weights.values())
    times = _instants(rate_per_s, int(duration_s * 1e9), arrivals, rng)
    return [Arrival(at, rng.choices(names, shares)[0], index) for index, at in enumerate(times)]


def _instants(rate_per_s: float, end_ns: int, arrivals: Arrivals, rng: random.Random) -> Iterator[int]:
    mean_ns = 1e9 / rate_per_s
    at = 0.0
    while True:
        at += rng.expovariate(1 / mean_ns) if arrivals == "poisson" else mean_ns
        if at >= end_ns:
            return
        yield int(at)


def draw_mix(weights: Mapping[str, float], count: int, first_index: int, rng: random.Random) -> list[Arrival]:
    """Return `count` requests by weight without times, for a closed loop; indices from `first_index` upwards."""
    flows = rng.choices(list(weights), list(weights.values()), k=count)
    return [Arrival(0, flow, first_index + number) for number, flow in enumerate(flows)]
