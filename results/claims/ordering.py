"""A figure of one mode that is itself an order between components (`bottleneck_demand`): `reads: {metric, mode}`.

The band says on which side of 1 the order lies. Unlike `absolute` it is free of the host's speed, so it may gate.
"""

from __future__ import annotations

from results.claims.absolute import AbsoluteReads, claimed_ms, judge
from results.claims.interval import tags
from results.claims.kind import Kind

KIND = Kind(
    AbsoluteReads,
    judge,
    lambda _claim, reads, _evidence: tags(reads, compares=True),
    needs_band=True,
    claimed_ms=claimed_ms,
)
