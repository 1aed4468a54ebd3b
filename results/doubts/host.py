"""Doubts about the host: those that the harness recorded, and what the settings and probes say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from results.blocks import BlockTable
from results.doubt import LOAD, RECORD, Doubt
from results.loaded import Loaded
from results.record import RecordedDoubt

MOST_STEAL = 0.02
STEAL = "steal_time"
ONE_CORE = "platform_cores_shared"


def from_harness(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Pass on the doubts that the harness has about the host; a malformed one is passed on by its name."""
    recorded = loaded.environment.get("doubts")
    for value in recorded if isinstance(recorded, list) else []:
        if isinstance(value, Mapping):
            yield _doubt(value)


def _doubt(value: Mapping[str, Any]) -> Doubt:
    found, limit = (_number(value.get(name)) for name in ("value", "limit"))
    name, advice = str(value.get("name", "unnamed doubt")), str(value.get("advice", ""))
    return Doubt(name, bool(value.get("fatal", False)), found, limit, advice, RECORD)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def from_trials(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Pass on the doubts recorded in trials, one of each name (the worst). Fatal ones have voided their trial."""
    worst: dict[str, RecordedDoubt] = {}
    counts: dict[str, int] = {}
    for trial in loaded.trials:
        for doubt in trial.doubts:
            counts[doubt.name] = counts.get(doubt.name, 0) + 1
            worst[doubt.name] = max(worst.get(doubt.name, doubt), doubt, key=_excess)
    for name, doubt in worst.items():
        outcome = "they do not count" if doubt.fatal else "they count"
        advice = f"{doubt.advice} (in {counts[name]} of {len(loaded.trials)} trials; {outcome})"
        yield Doubt(name, False, doubt.value, doubt.limit, advice, LOAD)


def _excess(doubt: RecordedDoubt) -> float:
    return abs(doubt.value - doubt.limit)


def one_core(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Say so when all components share one core: then throughput is CPU told in other words."""
    cores = platform_cores(loaded.plan.settings)
    if cores == 1 and not _recorded(loaded, ONE_CORE):
        advice = (
            "all components share one core, so the throughput ratio equals the ratio of CPU per request;"
            " on more cores the platform may scale differently"
        )
        yield Doubt(ONE_CORE, False, 1.0, 2.0, advice, RECORD)


def platform_cores(settings: Mapping[str, Any]) -> int | None:
    """Return how many cores the platform had, from `platform_cores` or `cores.platform` (a count or a list)."""
    cores = settings.get("cores")
    value = settings.get("platform_cores", cores.get("platform") if isinstance(cores, Mapping) else None)
    if isinstance(value, list | tuple):
        return len(value)
    return value if isinstance(value, int) else None


def steal(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Doubt a host whose hypervisor took time away (`steal_share` among the probes)."""
    probes = loaded.environment.get("probes")
    share = _number(probes.get("steal_share")) if isinstance(probes, Mapping) else 0.0
    if share > MOST_STEAL and not _recorded(loaded, STEAL):
        yield Doubt(STEAL, False, share, MOST_STEAL, "the hypervisor took CPU time away: use a quieter host", LOAD)


def _recorded(loaded: Loaded, name: str) -> bool:
    return any(doubt.name == name for doubt in from_harness(loaded, BlockTable({})))
