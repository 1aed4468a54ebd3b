"""A number that every count must agree on: `reads: {metric: hops | internal_routes, expect: {mode: count}}`.

An expectation is a number, or the name of one that the scenario gives: see NAMED.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from results.claims.kind import Finding, Kind, ModeName, Quantity, Reads
from results.doubt import RECORD
from results.evidence import Evidence
from results.figures import number, percent, plural, spoken
from results.verdict import Word, combine
from scenarios.model import Claim, Scenario

Expected = int | Literal["all_internal"]

NAMED: dict[str, Callable[[Scenario], int]] = {
    "all_internal": lambda scenario: sum(len(service.internal) for service in scenario.services),
}
"""Counts by name: all internal prefixes of the services."""

_COUNTED = {"hops": ("over", "internal call"), "internal_routes": ("in", "configuration")}


class CountReads(Reads):
    """What is counted, and the count that each mode is said to have."""

    metric: Literal["hops", "internal_routes"]
    expect: dict[ModeName, Expected] = Field(min_length=1)

    def arms(self) -> tuple[str, ...]:
        """Return the modes in which something is expected."""
        return tuple(self.expect)


def judge(claim: Claim, reads: CountReads, evidence: Evidence) -> Finding:
    """Confirm when all counts of each mode agree with the claim; one that does not refutes it."""
    parts = [
        part(mode, resolved(expected, evidence.scenario), _counts(reads.metric, mode, evidence))
        for mode, expected in reads.expect.items()
    ]
    why = f"{sentences(parts, *_COUNTED[reads.metric])} ({claim.unit or 'count'})."
    return Finding(verdict_of(parts), why, agreement(parts), in_words(parts), tuple(parts))


def resolved(expected: int | str, scenario: Scenario) -> int:
    """Return the number that is expected, looked up by its name if it has one."""
    return NAMED[expected](scenario) if isinstance(expected, str) else expected


def _counts(metric: str, mode: str, evidence: Evidence) -> Mapping[int, int]:
    return evidence.hops.get(mode, {}) if metric == "hops" else evidence.counted(metric, mode)


def part(mode: str, expected: int, counts: Mapping[int, int]) -> dict[str, Any]:
    """Hold the counts of one mode (count -> how often it was found) against the expected one."""
    counted, agree = sum(counts.values()), counts.get(expected, 0)
    word: Word = "inconclusive" if not counted else "confirmed" if agree == counted else "refuted"
    return {
        "mode": mode,
        "expected": expected,
        "found": found(counts),
        "counted": counted,
        "agree": agree,
        "verdict": word,
    }


def found(counts: Mapping[int, int]) -> str:
    """Return the count in words, or each with its share where they differ."""
    total = sum(counts.values())
    if len(counts) == 1:
        return number(next(iter(counts)))
    return spoken([f"{one} in {percent(times / total)}" for one, times in sorted(counts.items())]) or "not counted"


def verdict_of(parts: Sequence[Mapping[str, Any]]) -> Word:
    """Return the verdict on all modes together."""
    return combine([part["verdict"] for part in parts])


def agreement(parts: Sequence[Mapping[str, Any]]) -> Quantity | None:
    """Return the share of counts that are as expected; None when nothing was counted."""
    counted, agree = (sum(part[name] for part in parts) for name in ("counted", "agree"))
    return Quantity(agree / counted, None, None, "share of counts as expected", None) if counted else None


def in_words(parts: Sequence[Mapping[str, Any]]) -> str:
    """Return `direct 1, gateway 2`."""
    return ", ".join(f"{part['mode']} {part['found']}" for part in parts)


def sentences(parts: Sequence[Mapping[str, Any]], where: str, counted: str) -> str:
    """Say what was found `where` (a preposition) and in what, in the singular."""
    return "; ".join(
        f"{part['mode']}: {part['found']} {where} {plural(part['counted'], counted)}, {part['expected']} expected"
        for part in parts
    )


KIND = Kind(CountReads, judge, lambda _claim, _reads, _evidence: frozenset({RECORD}))
