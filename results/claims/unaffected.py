"""Flows that a fault is said to leave alone: `reads: {fault, target, modes, origin: internal | external | all}`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from results.claims.faults import blocks_behind, blocks_hint, describe, fault_tags
from results.claims.kind import Finding, Kind, ModeName, Quantity, Reads
from results.evidence import Evidence
from results.figures import percent, spoken
from results.impact import Case, FlowImpact
from results.verdict import Word, combine
from scenarios.model import Claim

_WORDS: dict[str, Word] = {"unaffected": "confirmed", "affected": "refuted", "degraded": "refuted"}


class UnaffectedReads(Reads):
    """The fault, the modes and whose flows are meant."""

    fault: str
    target: str
    modes: tuple[ModeName, ...] = Field(min_length=1)
    origin: Literal["external", "internal", "all"] = "all"

    def targets(self) -> tuple[str, ...]:
        """Return the one target."""
        return (self.target,)

    def arms(self) -> tuple[str, ...]:
        """Return the modes."""
        return self.modes

    def cases(self) -> list[Case]:
        """Return the case of each mode."""
        return [Case(self.fault, self.target, mode) for mode in self.modes]


def judge(claim: Claim, reads: UnaffectedReads, evidence: Evidence) -> Finding:  # noqa: ARG001
    """Confirm when every such flow was shown to be unaffected in every mode; one that is affected refutes it."""
    flows = {case: _chosen(case, reads.origin, evidence) for case in reads.cases()}
    missing = [case.mode for case, found in flows.items() if not found]
    every = [flow for found in flows.values() for flow in found]
    words = [_WORDS.get(flow.state, "inconclusive") for flow in every] + ["inconclusive" for _ in missing]
    word = combine(words)
    more, hint = blocks_hint(every) if word == "inconclusive" else (None, "")
    details = tuple({"mode": f.case.mode, "flow": f.flow.name, "found": f.state, "impact": f.point} for f in every)
    why = _why(word, every, missing) + hint
    return Finding(word, why, _worst(every), _text(every), details, more, blocks_behind(every))


def _chosen(case: Case, origin: str, evidence: Evidence) -> list[FlowImpact]:
    return [flow for flow in evidence.flows(case) if origin in ("all", flow.flow.origin)]


def _worst(flows: list[FlowImpact]) -> Quantity | None:
    """Return the largest impact among the flows."""
    worst = max(flows, key=lambda flow: -1.0 if flow.point is None else flow.point, default=None)
    if worst is None:
        return None
    return Quantity(worst.point, worst.at95.low, worst.at95.high, "share of goodput lost", 0.95)


def _text(flows: list[FlowImpact]) -> str:
    shown = sum(flow.state == "unaffected" for flow in flows)
    return f"{shown} of {len(flows)} flows shown unaffected"


def _why(word: Word, flows: list[FlowImpact], missing: list[str]) -> str:
    if word == "refuted":
        hit = [f"{describe(flow)} in {flow.case.mode} mode" for flow in flows if flow.state in ("affected", "degraded")]
        return f"{spoken(hit[:4])}."
    if missing:
        return f"No usable trial with a control in its block in {spoken(missing)} mode."
    if word == "confirmed":
        return f"All {len(flows)} flows lose less than 1 point of goodput by equivalence.{_latency(flows)}"
    open_ones = [_open(flow) for flow in flows if flow.state == "undetermined"]
    return f"A loss of 1 point or more is not excluded: {spoken(open_ones[:4])}."


def _open(flow: FlowImpact) -> str:
    where = f"{flow.flow.name} in {flow.case.mode} mode"
    if flow.at90.high is None:
        return f"{where} (fewer than two blocks with a control)"
    return f"{where} (impact {percent(flow.point)}, up to {percent(flow.at90.high)})"


def _latency(flows: list[FlowImpact]) -> str:
    unjudged = sum(flow.latency is None for flow in flows)
    return f" Latency was not judged for {unjudged} of them (fewer than 200 requests a block)." if unjudged else ""


KIND = Kind(UnaffectedReads, judge, lambda _claim, reads, _evidence: fault_tags(reads.cases()))
