"""Arithmetic on declared figures: `reads: {pairs: [{name, throughput_per_s: [low, high], latency_ms: [low, high]}]}`.

Little's law (Little 1961): requests in flight = throughput x time in the system, for any stable system. Pairs that
imply the same number in flight are one finding told twice.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from results.claims.kind import Finding, Kind, Quantity, Reads
from results.evidence import Evidence
from results.figures import interval, spoken
from scenarios.model import Claim

Range = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class Pair(Reads):
    """One declared pair of throughput and latency, each a range."""

    name: str
    throughput_per_s: Range
    latency_ms: Range

    @model_validator(mode="after")
    def _ordered(self) -> Pair:
        for low, high in (self.throughput_per_s, self.latency_ms):
            if low > high:
                raise ValueError(f"{self.name}: low {low:g} is above high {high:g}")
        return self

    @property
    def in_flight(self) -> tuple[float, float]:
        """The number of requests in flight that the pair implies."""
        (slow, fast), (short, long) = self.throughput_per_s, self.latency_ms
        return slow * short / 1000, fast * long / 1000


class LittlesLawReads(Reads):
    """The pairs that must be compatible."""

    pairs: tuple[Pair, ...] = Field(min_length=2)

    def arms(self) -> tuple[str, ...]:
        """Return nothing: only declared figures are read."""
        return ()


def judge(claim: Claim, reads: LittlesLawReads, evidence: Evidence) -> Finding:  # noqa: ARG001
    """Confirm when one number of requests in flight fits all pairs."""
    low = max(pair.in_flight[0] for pair in reads.pairs)
    high = min(pair.in_flight[1] for pair in reads.pairs)
    implied = spoken([f"{pair.name} implies {interval(*pair.in_flight)} in flight" for pair in reads.pairs])
    details = tuple(
        {"name": p.name, "in_flight_low": p.in_flight[0], "in_flight_high": p.in_flight[1]} for p in reads.pairs
    )
    text = "; ".join(f"{pair.name} {interval(*pair.in_flight)}" for pair in reads.pairs)
    if low > high:
        return Finding("refuted", f"By Little's law {implied}; no number fits all.", None, text, details)
    why = (
        f"By Little's law {implied}; {interval(low, high)} fits all. The figures agree, and just for that latency"
        " and throughput are one finding told twice, not two independent ones."
    )
    return Finding("confirmed", why, Quantity(None, low, high, claim.unit, None), text, details)


KIND = Kind(LittlesLawReads, judge, lambda _claim, _reads, _evidence: frozenset())
