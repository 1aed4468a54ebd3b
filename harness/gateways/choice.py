"""A gateway as it is asked for: NAME, or NAME:POOL for the same product with another pool profile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.gateways import GATEWAYS, Gateway
from harness.gateways.pools import KEPT, POOLS, Pool


def parse_choice(text: str) -> str:
    """Return the choice as it is written everywhere: NAME, or NAME:POOL with a profile that is not `kept`.

    Raises ValueError, a sentence, for a name or a profile that is unknown and for one that the product cannot have.
    """
    name, colon, profile = text.partition(":")
    if name not in GATEWAYS:
        raise ValueError(f"{name!r} is not one of {_quoted(GATEWAYS)}")
    if colon and profile not in POOLS:
        raise ValueError(f"{profile!r} is no pool profile: one of {_quoted(POOLS)}")
    pool = POOLS[profile] if colon else KEPT
    if lack := GATEWAYS[name].cannot(pool):
        raise ValueError(f"{name} cannot have the pool profile {pool.name}; missing in this product: {lack}")
    return name if pool is KEPT else f"{name}:{pool.name}"


def chosen(choice: str) -> tuple[Gateway, Pool]:
    """Return the product and the pool profile of a parsed choice."""
    name, _, profile = choice.partition(":")
    return GATEWAYS[name], POOLS[profile or KEPT.name]


def missing(choices: Sequence[str]) -> str | None:
    """Return one sentence about every product that is not there and how to get it; None when all are."""
    problems = dict.fromkeys(chosen(choice)[0].missing() for choice in choices)
    return "; ".join(problem for problem in problems if problem) or None


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
