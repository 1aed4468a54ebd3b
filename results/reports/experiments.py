"""The tables of what was tried outside the load windows."""

from __future__ import annotations

from typing import Any

from results.figures import number, spoken
from results.moves import Move
from results.outcome import Results
from results.reports.tables import Table

_KINDS = ("behaviour", "count", "edits")  # whose findings hold one row for each thing asked or counted
_MOVED = (
    "The service {service} moved to another port under the run's own open loop: a second instance on the same store,"
    " then everybody who has to know, one after the other, then the end of the first instance. Lost are requests that"
    " did not succeed, also per 1000 that were due meanwhile; a gap is the longest time in which all due requests of"
    " one flow were lost. Processes here are forked from a warm parent and start in milliseconds: what starts more"
    " slowly loses more with every restart."
)


def moves(results: Results) -> Table:
    """Return what moving a running service lost in each mode."""
    service = results.moves[0].service if results.moves else "that a claim names"
    head = ("Mode", "Lost", "Per 1000 offered", "Longest gap, ms", "Took, ms", "Who was told, and how")
    return Table("Moving a service", _MOVED.format(service=service), head, tuple(map(_moved, results.moves)))


def _moved(move: Move) -> tuple[str, ...]:
    lost, told = f"{move.lost} of {move.offered}", spoken(move.steps)
    return move.mode, lost, number(move.per_1000), number(move.gap_ms), number(move.took_ms), told


def asked(results: Results) -> Table:
    """Return what was asked or counted for each claim, with what was expected and what was found."""
    rows = tuple(
        (verdict.claim.id, _what(part), part["mode"], _expected(part), _found(part), part.get("verdict", "-"))
        for verdict in results.verdicts
        if verdict.claim.kind in _KINDS
        for part in verdict.finding.details
    )
    note = "A status of 0 is no answer; in brackets, how often. What stands beside a claim has no vote on it."
    return Table("Asked and counted", note, ("Claim", "What", "Mode", "Expected", "Found", "Verdict"), rows)


def _what(part: dict[str, Any]) -> str:
    role = f" ({part['role']})" if part.get("role") in ("control", "beside") else ""
    return str(part.get("says") or part.get("probe") or part.get("places") or "count").replace("_", " ") + role


def _expected(part: dict[str, Any]) -> str:
    expected = part["expected"]
    if isinstance(expected, list):
        return " or ".join(map(str, expected))
    return "-" if expected is None else str(expected)


def _found(part: dict[str, Any]) -> str:
    found = part["found"]
    if not isinstance(found, dict):
        return str(found)
    return ", ".join(f"{value} ({times})" if times > 1 else str(value) for value, times in found.items()) or "not asked"
