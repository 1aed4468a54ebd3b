"""Places to edit when a service moves: `reads: {service, expect: {mode: count | every_caller}, shows: [mode]}`.

A place is one process's configuration, or the clients outside taken together. What a live move lost stands beside it;
the verdict is about the places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from results.claims.count import agreement, found, in_words, part, verdict_of
from results.claims.kind import Finding, Kind, ModeName, Reads
from results.doubt import RECORD
from results.evidence import Evidence
from results.figures import number, plural, spoken
from results.moves import Move
from scenarios.model import Claim, Scenario

_PLACES, _LINES = "edited_places", "edited_lines"


class EditsReads(Reads):
    """The service that moves, the places that each mode is said to need, and modes that are shown beside."""

    service: str
    expect: dict[ModeName, int | Literal["every_caller"]] = Field(min_length=1)
    shows: tuple[ModeName, ...] = ()

    def targets(self) -> tuple[str, ...]:
        """Return the one service."""
        return (self.service,)

    def arms(self) -> tuple[str, ...]:
        """Return the modes in which something is expected."""
        return tuple(self.expect)


def judge(claim: Claim, reads: EditsReads, evidence: Evidence) -> Finding:
    """Confirm when every count of each mode agrees with the claim; one that does not refutes it."""
    del claim
    parts = [
        part(mode, _expected(expected, reads.service, evidence.scenario), _counts(mode, reads.service, evidence))
        for mode, expected in reads.expect.items()
    ]
    beside = [_shown(mode, _counts(mode, reads.service, evidence)) for mode in reads.shows]
    every = [one | _places(one["mode"], reads.service, evidence) for one in [*parts, *beside]]
    text = in_words([one for one in every if one["counted"]])
    moves = [move for one in every if (move := _move(one["mode"], reads.service, evidence))]
    return Finding(verdict_of(parts), _why(every, moves), agreement(parts), text, tuple(every))


def _counts(mode: str, service: str, evidence: Evidence) -> Mapping[int, int]:
    return evidence.counted(f"{_PLACES}:{service}", mode)


def _expected(expected: int | str, service: str, scenario: Scenario) -> int:
    return every_caller(service, scenario) if expected == "every_caller" else int(expected)


def every_caller(service: str, scenario: Scenario) -> int:
    """Return how many know the service's address where no gateway does: its callers, and clients of what is public."""
    callers = sum(service in one.peers for one in scenario.services)
    return callers + bool(scenario.service(service).public)


def _shown(mode: str, counts: Mapping[int, int]) -> dict[str, Any]:
    """Return a mode of which nothing is expected; it has no vote."""
    return {"mode": mode, "expected": None, "found": found(counts), "counted": sum(counts.values())}


def _places(mode: str, service: str, evidence: Evidence) -> dict[str, Any]:
    """Return which places and how many lines, and what a live move in this mode lost."""
    tallies = {tally.name: tally for where, tally in evidence.tallies if where == mode}
    places, lines = (tallies.get(f"{name}:{service}") for name in (_PLACES, _LINES))
    move = _move(mode, service, evidence)
    return {
        "places": places.detail if places else "",
        "lines": lines.value if lines else None,
        **({"lost": move.lost, "offered": move.offered, "longest_gap_ms": move.gap_ms} if move else {}),
    }


def _move(mode: str, service: str, evidence: Evidence) -> Move | None:
    return next((move for move in evidence.moves if (move.mode, move.service) == (mode, service)), None)


def _why(every: list[dict[str, Any]], moves: list[Move]) -> str:
    counted = [one for one in every if one["counted"]]
    missing = [one["mode"] for one in every if not one["counted"]]
    said = [f"Places to edit: {'; '.join(map(_counted, counted))}."] if counted else []
    said += [f"Not counted in {spoken(missing)} mode."] if missing else []
    return " ".join([*said, _live(moves)])


def _counted(one: dict[str, Any]) -> str:
    expected = "" if one["expected"] is None else f", {one['expected']} expected"
    return f"{one['mode']} {one['found']} ({one['places'] or 'none'}){expected}"


def _live(moves: list[Move]) -> str:
    if not moves:
        return "No live move counts in this run."
    return f"Moved live, under load: {'; '.join(map(_lost, moves))}."


def _lost(move: Move) -> str:
    lost = f"{move.lost} of {plural(move.offered, 'request')} lost"
    gap = f" (longest gap of a flow {number(move.gap_ms)} ms)" if move.lost else ""
    return f"{move.mode} {lost}{gap}, {spoken(move.steps) or 'nobody told'}"


KIND = Kind(EditsReads, judge, lambda _claim, _reads, _evidence: frozenset({RECORD}))
