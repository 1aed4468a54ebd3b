"""How far a fault reaches: `reads: {fault, expect: [{mode, targets, is: isolated | partial | system-wide}]}`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from results.blast import BlastRadius, surely_affected
from results.claims.faults import blocks_behind, blocks_hint, describe, fault_tags, name
from results.claims.kind import Finding, Kind, ModeName, Quantity, Reads
from results.evidence import Evidence
from results.figures import percent, spoken
from results.impact import Case, FlowImpact
from results.verdict import Word, combine
from scenarios.model import Claim

NOT_MEASURED = "not measured"


class Expectation(Reads):
    """In this mode the fault on each of these targets is said to be of this class."""

    mode: ModeName
    targets_: tuple[str, ...] = Field(min_length=1, alias="targets")
    is_: Literal["isolated", "partial", "system-wide"] = Field(alias="is")


class BlastReads(Reads):
    """The kind of fault and all expectations; each must hold."""

    fault: str
    expect: tuple[Expectation, ...] = Field(min_length=1)

    def targets(self) -> tuple[str, ...]:
        """Return all targets named."""
        return tuple(target for expected in self.expect for target in expected.targets_)

    def arms(self) -> tuple[str, ...]:
        """Return the modes of all expectations."""
        return tuple(expected.mode for expected in self.expect)

    def cases(self) -> list[tuple[Case, str]]:
        """Return every case with the class it is said to have."""
        return [
            (Case(self.fault, target, expected.mode), expected.is_)
            for expected in self.expect
            for target in expected.targets_
        ]


def judge(claim: Claim, reads: BlastReads, evidence: Evidence) -> Finding:  # noqa: ARG001
    """Confirm when every case is classified as claimed; a case that surely is of another class refutes it."""
    parts = [_part(case, expected, evidence) for case, expected in reads.cases()]
    words: list[Word] = [part["verdict"] for part in parts]
    surely = sum(word == "confirmed" for word in words) / len(words)
    possibly = sum(word != "refuted" for word in words) / len(words)
    measured = Quantity(surely, surely, possibly, "share of cases as claimed", None)
    open_flows = _open_flows(reads, parts, evidence)
    settled = combine(words) != "inconclusive" or any(part["found"] == NOT_MEASURED for part in parts)
    more, hint = (None, "") if settled else blocks_hint(open_flows)
    text = f"{words.count('confirmed')} of {len(words)} cases as claimed"
    blocks = blocks_behind([flow for case, _ in reads.cases() for flow in evidence.flows(case)])
    return Finding(combine(words), _why(parts) + hint, measured, text, tuple(parts), more, blocks)


def _part(case: Case, expected: str, evidence: Evidence) -> dict[str, Any]:
    radius = evidence.radius(case, "all")
    found = radius.classification if radius else NOT_MEASURED
    return {
        "case": name(case),
        "mode": case.mode,
        "target": case.target,
        "expected": expected,
        "found": found,
        "possible": list(radius.possible) if radius else [],
        "because": _because(case, radius, expected, evidence),
        "verdict": _word(radius, expected),
    }


def _word(radius: BlastRadius | None, expected: str) -> Word:
    if radius is None or (radius.classification == "undetermined" and expected in radius.possible):
        return "inconclusive"
    return "confirmed" if radius.classification == expected else "refuted"


def _because(case: Case, radius: BlastRadius | None, expected: str, evidence: Evidence) -> str:
    """Name the flows that decide it: those beyond the declared needs, or for system-wide the degraded weight."""
    if radius is None:
        return "no usable trial with a control in its block"
    flows = evidence.flows(case)
    if expected == "system-wide":
        low, high = percent(radius.degraded.low), percent(radius.degraded.high)
        return f"{low if low == high else f'{low} to {high}'} of the weight is degraded"
    beyond = [flow for flow in flows if case.target not in flow.flow.needs]
    hit = [describe(flow) for flow in beyond if surely_affected(flow)]
    unclear = [flow.flow.name for flow in beyond if flow.state == "undetermined"]
    if hit:
        return f"{spoken(hit)}, without needing {case.target} by declaration"
    return f"not shown unaffected: {spoken(unclear)}" if unclear else "every flow that does not need it is unaffected"


def _open_flows(reads: BlastReads, parts: list[dict[str, Any]], evidence: Evidence) -> list[FlowImpact]:
    unsettled = [
        case for (case, _), part in zip(reads.cases(), parts, strict=True) if part["verdict"] == "inconclusive"
    ]
    flows = [flow for case in unsettled for flow in evidence.flows(case)]
    return [flow for flow in flows if flow.case.target not in flow.flow.needs]


def _why(parts: list[dict[str, Any]]) -> str:
    for word in ("refuted", "inconclusive", "confirmed"):
        chosen = [part for part in parts if part["verdict"] == word]
        if chosen:
            return _sentence(word, chosen, len(parts))
    return ""


def _sentence(word: str, chosen: list[dict[str, Any]], total: int) -> str:
    head = {"refuted": "Not as claimed", "inconclusive": "Not settled", "confirmed": "As claimed"}[word]
    groups: dict[tuple[str, str, str], list[str]] = {}
    for part in chosen:
        groups.setdefault((part["mode"], part["found"], part["because"]), []).append(part["target"])
    shown = [f"{spoken(names)} in {mode} mode {found} ({because})" for (mode, found, because), names in groups.items()]
    more = f"; and {len(shown) - 3} more" if len(shown) > 3 else ""
    return f"{head} in {len(chosen)} of {total} cases: {'; '.join(shown[:3])}{more}."


KIND = Kind(BlastReads, judge, lambda _claim, reads, _evidence: fault_tags([case for case, _ in reads.cases()]))
