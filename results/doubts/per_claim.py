"""Doubts that spoil one claim: the null control of its metric, and the generator's slip against what it claims."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from results.blocks import BlockTable, Key
from results.doubt import CLAIM, COMPARISON, Doubt
from results.loaded import Loaded

MOST_OFF = 0.05
SLIP_SHARE = 0.1


def null_control(key: Key, blocks: BlockTable) -> Iterator[Doubt]:
    """Fatal when direct against direct again differs: 95 % interval without 1 and the point off by more than 5 %."""
    null = blocks.ratio(key, "direct-null", "direct")
    if null is None or null.at95.low is None or null.at95.high is None:
        return
    off = abs(null.point - 1)
    if off > MOST_OFF and not null.at95.low <= 1 <= null.at95.high:
        metric = key.metric.replace("_", " ")
        advice = f"{metric}: direct differs from direct again, so a difference between modes is not to be trusted"
        yield Doubt("null control off", True, off, MOST_OFF, advice, COMPARISON + "/".join(key))


def slip(claim: str, key: Key, claimed_ms: float, loaded: Loaded) -> Iterator[Doubt]:
    """Fatal when the generator's slip is above a tenth of the difference that is claimed.

    Latency of a flow is counted from the intended start and holds the slip whole: its p99 counts. A call between
    services is timed by its caller and holds none of it; late arrivals only bunch there, and what that can do to a
    mean is bounded by their mean lateness: the mean counts (docs/adr/0004).
    """
    which = "mean" if key.metric == "call_latency_mean" else "p99"
    found = slip_ms(loaded, which)
    limit = SLIP_SHARE * claimed_ms
    if found is not None and found > limit:
        advice = (
            f"the generator sent too late (slip {which}, ms) for the difference that is claimed: "
            "give it a core of its own"
        )
        yield Doubt("generator late", True, found, limit, advice, CLAIM + claim)


def slip_ms(loaded: Loaded, which: str) -> float | None:
    """Return the slip (mean or p99) of the worst arm, median over its blocks; None when it was not recorded."""
    arms: dict[str, list[float]] = {}
    name = f"slip_{which}_us"
    for _, trial in loaded.steady():
        if name in trial.generator:
            arms.setdefault(trial.trial.arm, []).append(trial.generator[name] / 1000)
    return max((median(values) for values in arms.values()), default=None)
