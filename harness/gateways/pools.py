"""Pool profiles: how many idle connections a gateway keeps to each upstream, and whether it logs each request.

A new profile is one line in POOLS. A gateway renders it into its own configuration, or says what it lacks for it.
"""

from __future__ import annotations

from dataclasses import dataclass

ACCESS_LOG = "access.log"
"""The log's name in the folder in which the gateway works."""


@dataclass(frozen=True)
class Pool:
    """One profile. `most_idle`: idle connections kept to each upstream; None: as many as come together."""

    name: str
    says: str
    most_idle: int | None = None
    access_log: bool = False


KEPT = Pool("kept", "as many idle connections to each upstream as come together, at least 128; no access log")
GO_DEFAULT = Pool("go-default", "two idle connections to each upstream and a line of log for each request", 2, True)

POOLS: dict[str, Pool] = {pool.name: pool for pool in (KEPT, GO_DEFAULT)}
