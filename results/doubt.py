"""A doubt: what may be wrong with the measurement, how wrong it is, and what to do about it.

A doubt is about something, named by tags. A verdict names the tags that it stands on; a fatal doubt about one of them
makes the verdict `invalid`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

RECORD = "record"  # everything that was measured
LOAD = "load"  # everything that depends on the load having been what was planned
METRIC = "metric:"  # followed by a metric's name
COMPARISON = "comparison:"  # followed by metric/flow/component: a claim that sets arms against each other
FAULT = "fault:"  # followed by fault:target:mode
CLAIM = "claim:"  # followed by a claim's id
SEPARATOR = "; "  # between several tags

RUN_WIDE = frozenset({RECORD, LOAD})


@dataclass(frozen=True)
class Doubt:
    """One doubt. `value` was found where `limit` is the most (or least) allowed; `about` is one tag or several."""

    name: str
    fatal: bool
    value: float
    limit: float
    advice: str
    about: str = RECORD

    @property
    def invalidates_run(self) -> bool:
        """Say whether the whole run, not only some claims, is worthless because of it."""
        return self.fatal and self.is_about(RUN_WIDE)

    def is_about(self, tags: frozenset[str]) -> bool:
        """Say whether one of the tags is among those that the doubt is about."""
        return not tags.isdisjoint(self.about.split(SEPARATOR))


def fault_tag(fault: str, target: str, mode: str) -> str:
    """Return the tag of one case of a fault."""
    return f"{FAULT}{fault}:{target}:{mode}"


def spoiling(doubts: tuple[Doubt, ...], stands_on: frozenset[str]) -> tuple[Doubt, ...]:
    """Return the fatal doubts about anything that a verdict stands on."""
    return tuple(doubt for doubt in doubts if doubt.fatal and doubt.is_about(stands_on))


def merged(doubts: Iterable[Doubt]) -> tuple[Doubt, ...]:
    """Put doubts of one name and advice together: about all that they are about, with the widest limit."""
    groups: dict[tuple[str, str], list[Doubt]] = {}
    for doubt in dict.fromkeys(doubts):
        groups.setdefault((doubt.name, doubt.advice), []).append(doubt)
    return tuple(_merge(group) for group in groups.values())


def _merge(group: list[Doubt]) -> Doubt:
    about = SEPARATOR.join(doubt.about for doubt in group)
    return replace(group[0], about=about, limit=max(doubt.limit for doubt in group))
