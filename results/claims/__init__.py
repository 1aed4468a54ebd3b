"""Claim kinds: how a statement becomes a comparison. A new kind is one new file and one line in KINDS."""

from results.claims import (
    absolute,
    behaviour,
    blast_radius,
    count,
    difference,
    edits,
    failover,
    littles_law,
    no_single_point,
    not_testable,
    ordering,
    ratio,
    survives,
    unaffected,
)
from results.claims.kind import ClaimProblem, Finding, Kind, Quantity

KINDS: dict[str, Kind] = {
    "absolute": absolute.KIND,
    "ratio": ratio.KIND,
    "difference": difference.KIND,
    "ordering": ordering.KIND,
    "count": count.KIND,
    "edits": edits.KIND,
    "blast_radius": blast_radius.KIND,
    "unaffected": unaffected.KIND,
    "no_single_point": no_single_point.KIND,
    "failover": failover.KIND,
    "behaviour": behaviour.KIND,
    "survives": survives.KIND,
    "littles_law": littles_law.KIND,
    "not_testable": not_testable.KIND,
}

__all__ = ["KINDS", "ClaimProblem", "Finding", "Kind", "Quantity"]
