"""One arm over another, block by block: `reads: {metric, numerator, denominator}`."""

from __future__ import annotations

from results.claims.interval import MetricReads, in_ms, judge_measured, nearest_end, tags
from results.claims.kind import ArmName, Finding, Kind
from results.evidence import Evidence
from results.metrics import METRICS
from scenarios.model import Claim


class RatioReads(MetricReads):
    """The metric and the two arms."""

    numerator: ArmName
    denominator: ArmName


def judge(claim: Claim, reads: RatioReads, evidence: Evidence) -> Finding:
    """Hold the ratio against the band."""
    measured = evidence.blocks.ratio(reads.key, reads.numerator, reads.denominator)
    what = f"{METRICS[reads.metric].label}{reads.about}, {reads.numerator} over {reads.denominator},"
    missing = f"no block has {reads.metric} for both {reads.numerator} and {reads.denominator}"
    return judge_measured(measured, claim, what, missing, evidence)


def claimed_ms(claim: Claim, reads: RatioReads, evidence: Evidence) -> float | None:
    """Return the least difference that the ratio claims, at the denominator's measured latency."""
    step = nearest_end(claim.band, 1.0)
    base = evidence.blocks.measure(reads.key, reads.denominator)
    return step * base.point if step is not None and base is not None and in_ms(reads) else None


KIND = Kind(
    RatioReads,
    judge,
    lambda _claim, reads, _evidence: tags(reads, compares=True),
    needs_band=True,
    claimed_ms=claimed_ms,
)
