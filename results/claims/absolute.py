"""A figure of one mode on this host, against a band: `reads: {metric, mode}`, with flow or component if it has one."""

from __future__ import annotations

from results.claims.interval import MetricReads, in_ms, judge_measured, nearest_end, tags
from results.claims.kind import ArmName, Finding, Kind
from results.evidence import Evidence
from results.metrics import METRICS
from scenarios.model import Claim


class AbsoluteReads(MetricReads):
    """The metric and the mode that it is read in."""

    mode: ArmName

    def arms(self) -> tuple[str, ...]:
        """Return the one arm."""
        return (self.mode,)


def judge(claim: Claim, reads: AbsoluteReads, evidence: Evidence) -> Finding:
    """Hold the mode's figure against the band."""
    measured = evidence.blocks.measure(reads.key, reads.mode)
    what = f"{METRICS[reads.metric].label}{reads.about} in {reads.mode} mode"
    missing = f"no usable block of {reads.mode} has {reads.metric}"
    return judge_measured(measured, claim, what, missing, evidence)


def claimed_ms(claim: Claim, reads: AbsoluteReads, evidence: Evidence) -> float | None:  # noqa: ARG001
    """Return the least latency that is claimed."""
    return nearest_end(claim.band, 0.0) if in_ms(reads) else None


KIND = Kind(
    AbsoluteReads,
    judge,
    lambda _claim, reads, _evidence: tags(reads, compares=False),
    needs_band=True,
    claimed_ms=claimed_ms,
)
