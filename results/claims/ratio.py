"""One arm over another, block by block: `reads: {metric, numerator, denominator}`."""

from __future__ import annotations

from dataclasses import replace

from results.claims.interval import MetricReads, in_ms, judge_measured, nearest_end, tags
from results.claims.kind import ArmName, Finding, Kind
from results.evidence import Evidence
from results.metrics import METRICS
from scenarios.model import Claim
from scenarios.modes import MODES

_CONTENTION = (
    " But internal calls take the same path in both arms, and the processes share cores on this host: the difference"
    " may be the gateway's work for clients on the services' cores. A core for each process would tell."
)


class RatioReads(MetricReads):
    """The metric and the two arms."""

    numerator: ArmName
    denominator: ArmName

    def arms(self) -> tuple[str, ...]:
        """Return both arms."""
        return (self.numerator, self.denominator)


def judge(claim: Claim, reads: RatioReads, evidence: Evidence) -> Finding:
    """Hold the ratio against the band."""
    measured = evidence.blocks.ratio(reads.key, reads.numerator, reads.denominator)
    what = f"{METRICS[reads.metric].label}{reads.about}, {reads.numerator} over {reads.denominator},"
    missing = f"no block has {reads.metric} for both {reads.numerator} and {reads.denominator}"
    finding = judge_measured(measured, claim, what, missing, evidence)
    if finding.verdict == "refuted" and _may_be_contention(claim, reads, evidence):
        return replace(finding, verdict="invalid", why=finding.why + _CONTENTION)
    return finding


def _may_be_contention(claim: Claim, reads: RatioReads, evidence: Evidence) -> bool:
    """Say whether too high a ratio may come from cores that this host lets processes share (docs/adr/0004).

    Where internal calls take the same path in both arms, a slower call can only come from the company it has: the
    gateway working for clients on the services' cores. That bias is upwards, so that being inside the band or below
    it still counts.
    """
    ratio = evidence.blocks.ratio(reads.key, reads.numerator, reads.denominator)
    above = (
        ratio is not None and claim.band is not None and claim.band.high is not None and ratio.point > claim.band.high
    )
    cores = evidence.environment.get("platform_cores")
    processes = len(evidence.scenario.components) + evidence.plan.gateway_replicas - 1
    shared = cores is not None and len(cores) < processes
    return above and shared and reads.metric.startswith("call_latency") and _same_internal_path(reads)


def _same_internal_path(reads: RatioReads) -> bool:
    one, other = (MODES.get(arm.removesuffix("-null")) for arm in (reads.numerator, reads.denominator))
    return one is not None and other is not None and one("internal") == other("internal")


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
