"""One answer out of the answers of several workers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from gateway_proxy.controls import BreakerStatus, PoolStatus, TargetStatus

_WORST_FIRST = ("open", "half_open", "closed")
_SUMMED = frozenset({"counter", "histogram"})
_SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)(?:\{((?:[^"{}]|"(?:[^"\\]|\\.)*")*)\})?[ \t]+(\S+)')


def pools(answers: Sequence[Mapping[str, PoolStatus]]) -> dict[str, PoolStatus]:
    """Return every upstream with its targets' figures summed, held out for whatever reason any worker has."""
    merged: dict[str, dict[str, TargetStatus]] = {}
    balance: dict[str, str] = {}
    for answer in answers:
        for name, pool in answer.items():
            balance[name] = pool["balance"]
            targets = merged.setdefault(name, {})
            for target in pool["targets"]:
                before = targets.get(target["address"])
                targets[target["address"]] = target if before is None else _sum(before, target)
    return {name: {"balance": balance[name], "targets": list(targets.values())} for name, targets in merged.items()}


def _sum(one: TargetStatus, other: TargetStatus) -> TargetStatus:
    return {
        "address": other["address"],
        "weight": other["weight"],
        "active": one["active"] + other["active"],
        "idle": one["idle"] + other["idle"],
        "opened": one["opened"] + other["opened"],
        "held_out": sorted({*one["held_out"], *other["held_out"]}),
    }


def breakers(answers: Sequence[Mapping[str, BreakerStatus]]) -> dict[str, BreakerStatus]:
    """Return every breaker in the worst state that any worker has it in, with sums of what it did."""
    merged: dict[str, BreakerStatus] = {}
    for answer in answers:
        for name, breaker in answer.items():
            merged[name] = _worse(merged[name], breaker) if name in merged else breaker
    return merged


def _worse(one: BreakerStatus, other: BreakerStatus) -> BreakerStatus:
    return {
        "state": min(one["state"], other["state"], key=_WORST_FIRST.index),
        "failures_in_a_row": max(one["failures_in_a_row"], other["failures_in_a_row"]),
        "opened": one["opened"] + other["opened"],
        "refused": one["refused"] + other["refused"],
    }


class _Family:
    """One metric: its comments, and its samples by name and labels."""

    def __init__(self) -> None:
        self.comments: dict[str, str] = {}
        self.kind = "untyped"
        self.samples: dict[str, float] = {}


def metrics(texts: Mapping[int, str]) -> str:
    """Return one text of the Prometheus text format (0.0.4) from each worker's own, by its number.

    Counters and histograms are summed. A gauge, a summary's quantile or an untyped value has no sum in general, so
    that each worker's stands by itself, told apart by the label `worker`.
    """
    families: dict[str, _Family] = {}
    for number, text in texts.items():
        _add(families, number, text)
    return "".join(_rendered(family) for family in families.values())


def _add(families: dict[str, _Family], number: int, text: str) -> None:
    family = _Family()
    for line in text.splitlines():
        if line.startswith(("# HELP ", "# TYPE ")):
            _, what, name, rest = [*line.split(" ", 3), ""][:4]
            family = families.setdefault(name, _Family())
            family.comments.setdefault(what, line)
            if what == "TYPE":
                family.kind = rest
        elif (found := _SAMPLE.match(line)) is not None:
            name, labels, value = found.groups()
            if not family.comments:
                family = families.setdefault(name, _Family())  # a sample without comments
            _add_sample(family, number, name, labels or "", float(value))


def _add_sample(family: _Family, number: int, name: str, labels: str, value: float) -> None:
    summed = family.kind in _SUMMED or (family.kind == "summary" and name.endswith(("_sum", "_count")))
    own = labels if summed else f'{labels}{"," if labels else ""}worker="{number}"'
    key = f"{name}{{{own}}}" if own else name
    family.samples[key] = family.samples.get(key, 0.0) + value


def _rendered(family: _Family) -> str:
    lines = [*family.comments.values(), *(f"{key} {_number(value)}" for key, value in family.samples.items())]
    return "".join(f"{line}\n" for line in lines)


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)
