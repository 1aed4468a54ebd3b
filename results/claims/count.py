"""A number that every request must agree on: `reads: {metric: hops, expect: {mode: count}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from results.claims.kind import Finding, Kind, ModeName, Quantity, Reads
from results.doubt import RECORD
from results.evidence import Evidence
from results.figures import number, percent, spoken
from results.verdict import Word, combine
from scenarios.model import Claim


class CountReads(Reads):
    """What is counted, and the count that each mode is said to have."""

    metric: Literal["hops"]
    expect: dict[ModeName, int] = Field(min_length=1)

    def arms(self) -> tuple[str, ...]:
        """Return the modes in which something is expected."""
        return tuple(self.expect)


def judge(claim: Claim, reads: CountReads, evidence: Evidence) -> Finding:
    """Confirm when all counted requests of each mode agree with the claim; one that does not refutes it."""
    parts = [_part(mode, expected, evidence.hops.get(mode, {})) for mode, expected in reads.expect.items()]
    words: list[Word] = [part["verdict"] for part in parts]
    counted = sum(part["counted"] for part in parts)
    agree = sum(part["agree"] for part in parts)
    measured = Quantity(agree / counted, None, None, "share of calls as expected", None) if counted else None
    text = ", ".join(f"{part['mode']} {part['found']}" for part in parts)
    return Finding(combine(words), f"{_why(parts)} ({claim.unit or 'count'}).", measured, text, tuple(parts))


def _part(mode: str, expected: int, counts: Mapping[int, int]) -> dict[str, Any]:
    counted, agree = sum(counts.values()), counts.get(expected, 0)
    word: Word = "inconclusive" if not counted else "confirmed" if agree == counted else "refuted"
    return {
        "mode": mode,
        "expected": expected,
        "found": _found(counts),
        "counted": counted,
        "agree": agree,
        "verdict": word,
    }


def _found(counts: Mapping[int, int]) -> str:
    total = sum(counts.values())
    if len(counts) == 1:
        return number(next(iter(counts)))
    return spoken([f"{hops} in {percent(calls / total)}" for hops, calls in sorted(counts.items())]) or "not counted"


def _why(parts: list[dict[str, Any]]) -> str:
    sentences = [
        f"{part['mode']}: {part['found']} over {part['counted']} internal calls, {part['expected']} expected"
        for part in parts
    ]
    return "; ".join(sentences)


KIND = Kind(CountReads, judge, lambda _claim, _reads, _evidence: frozenset({RECORD}))
