"""Something asked of the platform by name, with the status that must come back.

`reads: {checks: [{probe, modes, status, says}], counts: [{tally, modes, is, says}], controls, beside, replicated}`; the
harness takes the probes outside all windows. Checks that say the same are one part of the statement. Unless all
`controls` hold nothing is settled: they show that what is asked about is there at all. What stands `beside` has no
vote. `replicated` is a sentence for runs with several instances or workers of the gateway.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from results.claims.asked import Check, Count
from results.claims.kind import Finding, Kind, Quantity, Reads
from results.doubt import RECORD
from results.evidence import Evidence
from results.figures import spoken
from results.verdict import Word, combine
from scenarios.model import Claim

Role = Literal["check", "control", "beside"]
Part = dict[str, Any]


class BehaviourReads(Reads):
    """All checks and counts; each must hold in each of its modes."""

    checks: tuple[Check, ...] = Field(min_length=1)
    counts: tuple[Count, ...] = ()
    controls: tuple[Check | Count, ...] = ()
    beside: tuple[Check | Count, ...] = ()
    replicated: str = ""

    def by_role(self) -> dict[Role, tuple[Check | Count, ...]]:
        """Return everything that is read by what it is read for."""
        return {"check": (*self.checks, *self.counts), "control": self.controls, "beside": self.beside}

    def arms(self) -> tuple[str, ...]:
        """Return the modes of all checks."""
        return tuple(mode for check in self.checks for mode in check.modes)


def judge(claim: Claim, reads: BehaviourReads, evidence: Evidence) -> Finding:  # noqa: ARG001
    """Confirm when every probe of every check came back as it must; one that did not refutes it."""
    parts: list[Part] = [
        {**check.part(mode, evidence), "role": role}
        for role, checks in reads.by_role().items()
        for check in checks
        for mode in check.modes
    ]
    judged = _of("check", parts)
    asked, right = sum(part["asked"] for part in judged), sum(part["right"] for part in judged)
    measured = Quantity(right / asked, None, None, "share of answers as claimed", None) if asked else None
    text = f"{right} of {asked} answers as claimed"
    return _set_apart(Finding(_word(parts), _why(parts), measured, text, tuple(parts)), reads, evidence)


def _of(role: Role, parts: Sequence[Part]) -> list[Part]:
    return [part for part in parts if part["role"] == role]


def _broken(parts: Sequence[Part]) -> list[Part]:
    return [part for part in _of("control", parts) if part["verdict"] != "confirmed"]


def _word(parts: Sequence[Part]) -> Word:
    return "inconclusive" if _broken(parts) else combine([part["verdict"] for part in _of("check", parts)])


def _why(parts: Sequence[Part]) -> str:
    judged = _of("check", parts)
    if not any(part["asked"] for part in judged):
        return _of_all(judged)
    plain = [part for part in judged if not part["says"]]
    sentences = [_of_all(plain)] if plain else []
    sentences += [_sentence(says, group) for says, group in _by_words(judged).items() if says]
    broken = _by_words(_broken(parts))
    sentences += [f"Nothing is settled, for a control failed: {_sentence(says, g)}" for says, g in broken.items()]
    sentences += [f"Beside it: {_sentence(says, g)}" for says, g in _by_words(_of("beside", parts)).items()]
    return " ".join(sentences)


def _by_words(parts: Iterable[Part]) -> dict[str, list[Part]]:
    groups: dict[str, list[Part]] = {}
    for part in parts:
        groups.setdefault(part["says"], []).append(part)
    return groups


def _sentence(says: str, parts: Sequence[Part]) -> str:
    """Return one part of the statement with its own verdict and evidence."""
    asked, right = sum(part["asked"] for part in parts), sum(part["right"] for part in parts)
    wrong = _wrong(parts)
    evidence = f"{right} of {asked} as it says" if asked else "not asked in this run"
    but = f"; {'; '.join(wrong[:2])}{_more(wrong, 2)}" if wrong else ""
    what = says or spoken([part["probe"] for part in parts])
    return f"{what[0].upper()}{what[1:]}: {combine([part['verdict'] for part in parts])} ({evidence}{but})."


def _wrong(parts: Sequence[Part]) -> list[str]:
    return [f"{text} ({part['mode']})" for part in parts for text in part["wrong"]]


def _more(wrong: Sequence[str], shown: int) -> str:
    return f" and {len(wrong) - shown} more" if len(wrong) > shown else ""


def _of_all(parts: Sequence[Part]) -> str:
    """Return one sentence about checks that have no words of their own."""
    wrong = _wrong(parts)
    missing = [f"{part['probe']} in {part['mode']}" for part in parts if not part["asked"]]
    if wrong:
        return f"Not as claimed: {'; '.join(wrong[:3])}{_more(wrong, 3)}."
    if missing:
        return f"Not asked in this run: {spoken(missing)}."
    return f"All {sum(part['asked'] for part in parts)} answers came back with the status that the claim needs."


def _set_apart(finding: Finding, reads: BehaviourReads, evidence: Evidence) -> Finding:
    """Say with which gateway it was tried, if an experiment used one of its own, and what several of them change."""
    names = [check.name for checks in reads.by_role().values() for check in checks]
    used = sorted({evidence.stand_ins[name] for name in names if name in evidence.stand_ins})
    tried = f" Tried with {spoken(used)} as the gateway." if used else ""
    several = evidence.plan.gateway_replicas > 1 or int(evidence.plan.settings.get("gateway_workers", 1)) > 1
    why = finding.why + tried + (f" {reads.replicated}" if several and reads.replicated else "")
    return replace(finding, why=why, scope={"gateway": used[0]} if len(used) == 1 else {})


KIND = Kind(BehaviourReads, judge, lambda _claim, _reads, _evidence: frozenset({RECORD}))
