"""What an answer has to be like for an offered rate to count as carried, and how windows vote on a rate.

Plain arithmetic that both sides stand on: the harness searches by it, the results are computed by it again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class Objective(BaseModel):
    """A service level objective: at most `error_share` fail, and the 99th percentile of latency is at most `p99_ms`.

    Latency counts from the intended start; a timeout is a failure and enters with at least the timeout.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    p99_ms: Annotated[float, Field(gt=0)] = 25.0
    error_share: Annotated[float, Field(ge=0, lt=1)] = 0.01

    def met(self, latencies_ms: Sequence[float], bad: int, planned: int) -> bool:
        """Say whether these answers meet it: latencies of what was answered or timed out, failures, all planned."""
        if planned == 0 or bad > self.error_share * planned:
            return False
        return nearest_rank(sorted(latencies_ms), 0.99) <= self.p99_ms

    def __str__(self) -> str:
        return f"p99 at most {self.p99_ms:g} ms and at most {100 * self.error_share:g} % failed"


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value with at least this share of the values at or below it; infinite without values."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if len(ordered) else math.inf


class Votes(NamedTuple):
    """How many windows at one rate met the objective and how many missed it."""

    met: int = 0
    missed: int = 0

    def with_window(self, *, met: bool) -> Votes:
        """Return the votes with one more window."""
        return Votes(self.met + met, self.missed + (not met))


def bracket(votes: Mapping[float, Votes]) -> tuple[float | None, float | None]:
    """Return the highest rate carried and the lowest one not carried, by majority of the windows at each rate.

    The first is below the second; either is None when there is no such rate.
    """
    high = min((rate for rate, vote in votes.items() if vote.missed > vote.met), default=None)
    carried = [rate for rate, vote in votes.items() if vote.met > vote.missed and (high is None or rate < high)]
    return max(carried, default=None), high
