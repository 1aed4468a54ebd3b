"""No component whose fault takes (nearly) everything along: `reads: {fault, mode, origin, share}`.

Refuted by one component whose fault surely degrades `share` (0.8 if not given) or more of the weight of such flows.
"""

from __future__ import annotations

from typing import Literal

from results.blast import SYSTEM_WIDE_FROM, BlastRadius
from results.claims.faults import blocks_behind, blocks_hint, fault_tags
from results.claims.kind import Finding, Kind, ModeName, Quantity, Reads
from results.evidence import Evidence
from results.figures import percent, spoken
from results.impact import Case
from results.verdict import Word, combine
from scenarios.model import Claim


class NoSinglePointReads(Reads):
    """The kind of fault, the mode, and whose flows are meant."""

    fault: str
    mode: ModeName
    origin: Literal["external", "internal", "all"] = "all"
    share: float = SYSTEM_WIDE_FROM

    def arms(self) -> tuple[str, ...]:
        """Return the one mode."""
        return (self.mode,)


def judge(claim: Claim, reads: NoSinglePointReads, evidence: Evidence) -> Finding:  # noqa: ARG001
    """Try each component in turn."""
    cases = _cases(reads, evidence)
    radii = {case: evidence.radius(case, reads.origin) for case in cases}
    words = [_word(radius, reads.share) for radius in radii.values()]
    known = [radius for radius in radii.values() if radius]
    high = max((r.degraded.high for r in known), default=None)
    low = max((r.degraded.low for r in known), default=None)
    measured = Quantity(low, low, high, "largest share of weight degraded by one component", None) if known else None
    open_flows = [flow for case in cases for flow in evidence.flows(case)]
    settled = combine(words) != "inconclusive" or None in radii.values()
    more, hint = (None, "") if settled else blocks_hint(open_flows)
    details = tuple(_detail(case, radius, reads.share) for case, radius in radii.items())
    text = f"up to {percent(high)} of the weight degraded" if known else ""
    blocks = blocks_behind(open_flows)
    return Finding(combine(words), _why(radii, reads) + hint, measured, text, details, more, blocks)


def _cases(reads: NoSinglePointReads, evidence: Evidence) -> list[Case]:
    return [Case(reads.fault, component, reads.mode) for component in evidence.scenario.components]


def _word(radius: BlastRadius | None, share: float) -> Word:
    if radius is None:
        return "inconclusive"
    if radius.degraded.low >= share:
        return "refuted"
    return "confirmed" if radius.degraded.high < share else "inconclusive"


def _detail(case: Case, radius: BlastRadius | None, share: float) -> dict[str, object]:
    low, high = (radius.degraded.low, radius.degraded.high) if radius else (None, None)
    return {"target": case.target, "degraded_low": low, "degraded_high": high, "verdict": _word(radius, share)}


def _why(radii: dict[Case, BlastRadius | None], reads: NoSinglePointReads) -> str:
    whose = f"the weight of {reads.origin} flows" if reads.origin != "all" else "the weight of all flows"
    share, where = percent(reads.share), f"In {reads.mode} mode"
    sure = {case.target: radius.degraded.low for case, radius in radii.items() if radius}
    hit = [f"{target} ({percent(low)})" for target, low in sure.items() if low >= reads.share]
    if hit:
        return f"{where} the {reads.fault} of {spoken(hit)} degrades at least {share} of {whose}."
    missing = [case.target for case, radius in radii.items() if radius is None]
    if missing:
        return f"{where} there is no usable {reads.fault} trial of {spoken(missing)}."
    unclear = [case.target for case, r in radii.items() if r and r.degraded.high >= reads.share]
    if unclear:
        return f"{where} a {reads.fault} of {spoken(unclear)} may degrade {share} or more of {whose}."
    return f"{where} no {reads.fault} of one component degrades {share} or more of {whose}."


KIND = Kind(NoSinglePointReads, judge, lambda _claim, reads, evidence: fault_tags(_cases(reads, evidence)))
