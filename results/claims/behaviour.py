"""Something asked of the platform by name, with the status that must come back.

`reads: {checks: [{probe, modes, status}]}`; the harness takes the probes outside all windows.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from pydantic import Field

from results.claims.kind import Finding, Kind, ModeName, Quantity, Reads
from results.doubt import RECORD
from results.evidence import Evidence
from results.figures import spoken
from results.record import Probe
from results.verdict import Word, combine
from scenarios.model import Claim


class Check(Reads):
    """One probe, the modes it is asked in and the statuses that are right."""

    probe: str
    modes: tuple[ModeName, ...] = Field(min_length=1)
    status: tuple[int, ...] = Field(min_length=1)


class BehaviourReads(Reads):
    """All checks; each must hold in each of its modes."""

    checks: tuple[Check, ...] = Field(min_length=1)

    def arms(self) -> tuple[str, ...]:
        """Return the modes of all checks."""
        return tuple(mode for check in self.checks for mode in check.modes)


def judge(claim: Claim, reads: BehaviourReads, evidence: Evidence) -> Finding:  # noqa: ARG001
    """Confirm when every probe of every check came back as it must; one that did not refutes it."""
    parts = [_part(check, mode, evidence) for check in reads.checks for mode in check.modes]
    words: list[Word] = [part["verdict"] for part in parts]
    asked, right = sum(part["asked"] for part in parts), sum(part["right"] for part in parts)
    measured = Quantity(right / asked, None, None, "share of answers as claimed", None) if asked else None
    return Finding(combine(words), _why(parts), measured, f"{right} of {asked} answers as claimed", tuple(parts))


def _part(check: Check, mode: str, evidence: Evidence) -> dict[str, Any]:
    taken = [probe for where, probe in evidence.probes if where == mode and probe.name == check.probe]
    wrong = [probe for probe in taken if probe.status not in check.status]
    word: Word = "inconclusive" if not taken else "refuted" if wrong else "confirmed"
    return {
        "probe": check.probe,
        "mode": mode,
        "expected": list(check.status),
        "asked": len(taken),
        "right": len(taken) - len(wrong),
        "wrong": _summary(wrong),
        "verdict": word,
    }


def _summary(wrong: list[Probe]) -> list[str]:
    return [f"{subject} answered {status}" for subject, status in Counter((p.subject, p.status) for p in wrong)]


def _why(parts: list[dict[str, Any]]) -> str:
    wrong = [f"{text} ({part['mode']})" for part in parts for text in part["wrong"]]
    missing = [f"{part['probe']} in {part['mode']}" for part in parts if not part["asked"]]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        return f"Not as claimed: {'; '.join(wrong[:3])}{more}."
    if missing:
        return f"Not asked in this run: {spoken(missing)}."
    return f"All {sum(part['asked'] for part in parts)} answers came back with the status that the claim needs."


KIND = Kind(BehaviourReads, judge, lambda _claim, _reads, _evidence: frozenset({RECORD}))
