"""One figure per metric, flow, component, arm and block: what all steady-state statistics start from.

Latency counts answers that were acceptable and timeouts (as at least the timeout); quick errors are kept out of it and
show in the error share.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from results.capacity import CapacitySearch
from results.estimate import Measured, compare, measure, subtract
from results.loaded import NS_PER_S, Loaded, window_of
from results.metrics import LEAST_REQUESTS, METRICS, QUANTILES
from results.record import MIX, TrialRecord, Window
from scenarios.instances import GATEWAY, gateway_instances

GENERATOR = "generator"
ALL_EXTERNAL = "all external"
ALL_INTERNAL = "all internal"


class Key(NamedTuple):
    """What a figure is about; flow and component are empty where they do not apply."""

    metric: str
    flow: str = ""
    component: str = ""


class Figure(NamedTuple):
    """One figure of one trial."""

    key: Key
    trial: int
    value: float


@dataclass(frozen=True)
class BlockTable:
    """key -> arm -> block -> value. Missing trials are simply not there.

    `brackets` (key -> arm -> factor) says how far above its values the truth may lie, in every block alike: a search
    tells a capacity from above only as closely as it was asked to, and blocks look at the same rates (docs/adr/0005).
    Intervals take it in; it is 1 where nothing is said.
    """

    values: Mapping[Key, Mapping[str, Mapping[int, float]]]
    seed: int = 0
    brackets: Mapping[Key, Mapping[str, float]] = field(default_factory=dict)

    def of(self, key: Key, arm: str) -> Mapping[int, float]:
        """Return the value of each block in which the arm has one."""
        return self.values.get(key, {}).get(arm, {})

    def arms(self, key: Key) -> tuple[str, ...]:
        """Return the arms in which the key has any value."""
        return tuple(self.values.get(key, {}))

    def measure(self, key: Key, arm: str) -> Measured | None:
        """Estimate the key in one arm; None without any block."""
        metric = METRICS[key.metric]
        values = list(self.of(key, arm).values())
        log = metric.log and all(value > 0 for value in values)
        measured = measure(values, metric.unit, log=log, seed=self.seed)
        above = math.log(self._bracket(key, arm)) if log else self._above(key, arm)
        return _with_brackets(measured, 0.0, above)

    def ratio(self, key: Key, numerator: str, denominator: str) -> Measured | None:
        """Estimate one arm over another, block by block; None when no block has both."""
        measured = compare(self.of(key, numerator), self.of(key, denominator), seed=self.seed)
        below, above = (math.log(self._bracket(key, arm)) for arm in (denominator, numerator))
        return _with_brackets(measured, below, above)

    def difference(self, key: Key, minuend: str, subtrahend: str) -> Measured | None:
        """Estimate one arm less another, block by block; None when no block has both."""
        unit = METRICS[key.metric].unit
        measured = subtract(self.of(key, minuend), self.of(key, subtrahend), unit, seed=self.seed)
        return _with_brackets(measured, self._above(key, subtrahend), self._above(key, minuend))

    def _bracket(self, key: Key, arm: str) -> float:
        return self.brackets.get(key, {}).get(arm, 1.0)

    def _above(self, key: Key, arm: str) -> float:
        """Return how far above its largest value the truth may lie, in the unit of the values."""
        return (self._bracket(key, arm) - 1) * max(self.of(key, arm).values(), default=0.0)


def _with_brackets(measured: Measured | None, below: float, above: float) -> Measured | None:
    if measured is None or not (below or above):
        return measured
    return measured.widened(below, above, "and how closely the search looked")


def block_table(loaded: Loaded, searches: Iterable[CapacitySearch] = ()) -> BlockTable:
    """Compute every steady-state figure of the record, and the capacities that these searches found."""
    values: dict[Key, dict[str, dict[int, float]]] = {}
    settled = [search for search in searches if search.settled]
    for key, at, value in (*_figures(loaded), *_capacity(settled)):
        trial = loaded.trials[at].trial
        values.setdefault(key, {}).setdefault(trial.arm, {})[trial.block] = value
    return BlockTable(values, loaded.plan.seed, _brackets(settled))


def _figures(loaded: Loaded) -> Iterator[Figure]:
    steady = [at for at, _ in loaded.steady()]
    samples = loaded.samples[loaded.samples["trial"].isin(steady)]
    rows = samples[samples["window"] == "open"]
    yield from _flow_figures(rows)
    calls = loaded.calls
    chosen = calls["trial"].isin(steady) & (calls["window"] == "open") & (calls["outcome"] == "ok")
    yield from _statistics("call_latency", calls[chosen].groupby("trial")["latency_ms"], "")
    for at, trial in loaded.steady():
        yield from _rates(at, trial, rows[rows["trial"] == at])
        yield from _saturation(at, trial, samples[samples["trial"] == at], loaded.plan.gateway_replicas)
        yield from _cpu(at, trial, loaded.plan.gateway_replicas)


def _flow_figures(rows: pd.DataFrame) -> Iterator[Figure]:
    counted = rows[rows["outcome"].isin(["ok", "timeout"])]
    for origin, label in (("external", ALL_EXTERNAL), ("internal", ALL_INTERNAL)):
        yield from _timings(counted[counted["origin"] == origin].groupby("trial"), label)
    yield from _timings(counted.groupby(["trial", "flow"], observed=True), None)


def _timings(groups: Any, flow: str | None) -> Iterator[Figure]:
    for name, column in (("flow_latency", "latency_ms"), ("service_time", "service_ms"), ("slip", "slip_ms")):
        yield from _statistics(name, groups[column], flow)


def _statistics(name: str, groups: Any, flow: str | None) -> Iterator[Figure]:
    """Yield mean and percentiles of each group; `flow` None means that the group's second key is the flow."""
    counts = groups.count().to_dict()
    for group, value in groups.mean().items():
        if not math.isnan(value):
            yield _figure(f"{name}_mean", group, flow, value)
    for stat, quantile in QUANTILES.items():
        for group, value in groups.quantile(quantile).items():
            if counts[group] >= LEAST_REQUESTS.get(stat, 1):
                yield _figure(f"{name}_{stat}", group, flow, value)


def _figure(metric: str, group: Any, flow: str | None, value: float) -> Figure:
    at, name = group if flow is None else (group, flow)
    return Figure(Key(metric, str(name)), int(at), float(value))


def _rates(at: int, trial: TrialRecord, rows: pd.DataFrame) -> Iterator[Figure]:
    window = window_of(trial, "open")
    if window is None or rows.empty:
        return
    seconds = _seconds(window)
    bad = (rows["outcome"] != "ok").mean()
    yield Figure(Key("achieved_rate"), at, (rows["sent_ns"] >= 0).sum() / seconds)
    yield Figure(Key("goodput"), at, rows["success"].sum() / seconds)
    yield Figure(Key("error_share"), at, float(bad))


def _saturation(at: int, trial: TrialRecord, rows: pd.DataFrame, gateways: int) -> Iterator[Figure]:
    window = window_of(trial, "saturation")
    if window is None:
        return
    done = rows["done_ns"].between(window.start_ns, window.end_ns) & (rows["outcome"] == "ok")
    answered = int(done.sum()) or window.requests
    if answered:
        yield Figure(Key("saturation_throughput"), at, answered / _seconds(window))
    instances = gateway_instances(gateways)
    services = [cpu for name, cpu in window.cpu_ns.items() if name not in {GENERATOR, *instances}]
    busiest = max(window.cpu_ns.get(name, 0) for name in instances)  # each is a process that can fill a core
    if trial.trial.mode != "direct" and busiest and any(services):
        yield Figure(Key("bottleneck_demand"), at, busiest / max(services))


def _cpu(at: int, trial: TrialRecord, gateways: int) -> Iterator[Figure]:
    """What the gateway costs is what all its instances cost; the record has each by its name."""
    window = window_of(trial, "open")
    if window is None or not window.requests:
        return
    platform = {name: cpu for name, cpu in window.cpu_ns.items() if name != GENERATOR}
    for name in gateway_instances(gateways)[1:]:
        platform[GATEWAY] = platform.get(GATEWAY, 0) + platform.pop(name, 0)
    for name, cpu in {**platform, "total": sum(platform.values())}.items():
        yield Figure(Key("cpu_per_request", component=name), at, cpu / 1000 / window.requests)


def _capacity(settled: Iterable[CapacitySearch]) -> Iterator[Figure]:
    for search in settled:
        if search.low is not None:
            yield Figure(_key(search), search.at, search.low)


def _brackets(settled: Iterable[CapacitySearch]) -> dict[Key, dict[str, float]]:
    """Return the widest bracket of each arm, as the rate that was not carried over the one that was."""
    found: dict[Key, dict[str, float]] = {}
    for search in settled:
        if search.low is not None and search.high is not None:
            arms = found.setdefault(_key(search), {})
            arms[search.arm] = max(arms.get(search.arm, 1.0), search.high / search.low)
    return found


def _key(search: CapacitySearch) -> Key:
    return Key("capacity", "" if search.what == MIX else search.what)


def _seconds(window: Window) -> float:
    return (window.end_ns - window.start_ns) / NS_PER_S


def hops_by_mode(loaded: Loaded) -> dict[str, dict[int, int]]:
    """Return mode -> connections passed -> internal calls, over all windows of all usable trials."""
    stamped = loaded.calls[loaded.calls["hops"] > 0]
    counts = stamped.groupby(["trial", "hops"]).size()
    found: dict[str, dict[int, int]] = {}
    for group, calls in counts.items():
        at, hops = int(group[0]), int(group[1])  # type: ignore[index]
        mode = found.setdefault(loaded.trials[at].trial.mode, {})
        mode[hops] = mode.get(hops, 0) + int(calls)
    return found
