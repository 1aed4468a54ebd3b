"""A statement that no experiment here answers; the scenario says why in `not_testable`."""

from __future__ import annotations

from results.claims.kind import Finding, Kind, Reads
from results.evidence import Evidence
from scenarios.model import Claim


def judge(claim: Claim, reads: Reads, evidence: Evidence) -> Finding:  # noqa: ARG001
    """Return the reason that the scenario gives."""
    reason = claim.not_testable or "no band, no load or no experiment is declared for it"
    return Finding("not testable", reason[0].upper() + reason[1:] + ".")


KIND = Kind(Reads, judge, lambda _claim, _reads, _evidence: frozenset())
