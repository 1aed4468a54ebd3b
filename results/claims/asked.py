"""One thing asked or counted outside the load windows, held against what must come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from results.claims.kind import ModeName, Reads
from results.evidence import Evidence
from results.record import Probe, Tally
from results.verdict import Word


class Check(Reads):
    """One probe, the modes it is asked in and the statuses that are right; 0 is no answer. `says`: what that shows."""

    probe: str
    modes: tuple[ModeName, ...] = Field(min_length=1)
    status: tuple[int, ...] = Field(min_length=1)
    says: str = ""

    @property
    def name(self) -> str:
        """The name under which it is recorded."""
        return self.probe

    def part(self, mode: str, evidence: Evidence) -> dict[str, Any]:
        """Return what was answered in this mode, and whether it is right."""
        taken = [probe for where, probe in evidence.probes if where == mode and probe.name == self.probe]
        wrong = [probe for probe in taken if probe.status not in self.status]
        found = Counter(probe.status for probe in taken)
        return _part(self, mode, self.status, found, _answers(wrong), len(wrong))


class Count(Reads):
    """Something counted by an experiment, and what it must come to in each mode."""

    tally: str
    modes: tuple[ModeName, ...] = Field(min_length=1)
    is_: int = Field(alias="is")
    says: str = ""

    @property
    def name(self) -> str:
        """The name under which it is recorded."""
        return self.tally

    def part(self, mode: str, evidence: Evidence) -> dict[str, Any]:
        """Return what was counted in this mode, and whether it is right."""
        taken = [tally for where, tally in evidence.tallies if where == mode and tally.name == self.tally]
        wrong = [tally for tally in taken if tally.value != self.is_]
        found = Counter(int(tally.value) for tally in taken)
        return _part(self, mode, [self.is_], found, _counts(wrong), len(wrong))


def _part(
    asked: Check | Count, mode: str, right: Sequence[int], found: Mapping[int, int], wrong: list[str], off: int
) -> dict[str, Any]:
    """Return one row of a finding's details."""
    count = sum(found.values())
    word: Word = "inconclusive" if not count else "refuted" if off else "confirmed"
    return {
        "probe": asked.name,
        "says": asked.says,
        "mode": mode,
        "expected": list(right),
        "asked": count,
        "right": count - off,
        "found": dict(found),
        "wrong": wrong,
        "verdict": word,
    }


def _answers(wrong: Sequence[Probe]) -> list[str]:
    return [
        f"{subject} answered {status}" if status else f"{subject} did not answer"
        for subject, status in Counter((probe.subject, probe.status) for probe in wrong)
    ]


def _counts(wrong: Sequence[Tally]) -> list[str]:
    said = [f"{tally.name.replace('_', ' ')}: {tally.value:g} ({tally.detail or 'none'})" for tally in wrong]
    return list(dict.fromkeys(said))
