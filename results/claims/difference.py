"""One arm less another, block by block: `reads: {metric, minuend, subtrahend}`.

`contradicts` may name another claim about the same difference; the verdict then says whether both can be true.
"""

from __future__ import annotations

from dataclasses import replace

from results.claims.interval import MetricReads, in_ms, judge_measured, nearest_end, tags
from results.claims.kind import ArmName, Finding, Kind
from results.evidence import Evidence
from results.figures import band_text
from results.metrics import METRICS
from scenarios.model import Band, Claim


class DifferenceReads(MetricReads):
    """The metric, the two arms, and the claim that says otherwise, if there is one."""

    minuend: ArmName
    subtrahend: ArmName
    contradicts: str = ""

    def arms(self) -> tuple[str, ...]:
        """Return both arms."""
        return (self.minuend, self.subtrahend)


def judge(claim: Claim, reads: DifferenceReads, evidence: Evidence) -> Finding:
    """Hold the difference against the band, and the band against that of the contradicting claim."""
    measured = evidence.blocks.difference(reads.key, reads.minuend, reads.subtrahend)
    what = f"{METRICS[reads.metric].label}{reads.about}, {reads.minuend} less {reads.subtrahend},"
    missing = f"no block has {reads.metric} for both {reads.minuend} and {reads.subtrahend}"
    finding = judge_measured(measured, claim, what, missing, evidence)
    return replace(finding, why=finding.why + _contradiction(claim, reads, evidence))


def _contradiction(claim: Claim, reads: DifferenceReads, evidence: Evidence) -> str:
    other = next((c for c in evidence.scenario.claims if c.id == reads.contradicts), None)
    if other is None or other.band is None or claim.band is None:
        return ""
    both = f"{band_text(claim.band)} here, {band_text(other.band)} in {other.id}"
    return f" The document contradicts itself about this difference: {both}; {_common(claim.band, other.band)}."


def _common(one: Band, other: Band) -> str:
    low = max((end for end in (one.low, other.low) if end is not None), default=None)
    high = min((end for end in (one.high, other.high) if end is not None), default=None)
    if low is not None and high is not None and low > high:
        return "they cannot both be true"
    return f"both are true only at {band_text(Band(low=low, high=high))}"


def claimed_ms(claim: Claim, reads: DifferenceReads, evidence: Evidence) -> float | None:  # noqa: ARG001
    """Return the least difference that is claimed."""
    return nearest_end(claim.band, 0.0) if in_ms(reads) else None


KIND = Kind(
    DifferenceReads,
    judge,
    lambda _claim, reads, _evidence: tags(reads, compares=True),
    needs_band=True,
    claimed_ms=claimed_ms,
)
