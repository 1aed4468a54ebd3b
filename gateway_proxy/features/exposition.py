"""Snapshots of metrics, of one process or of several, as Prometheus reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

Snapshot = Mapping[str, Any]
Totals = dict[tuple[str, ...], float]

_NS_PER_S = 1_000_000_000
_TOTAL_HELP = (
    "From the request's head being there in full to the last byte of the answer being handed to the client's "
    "connection, or to the exchange being given up."
)
_GATEWAY_HELP = (
    "The gateway's own share: the request's duration without the upstream's. What a step makes a request wait for, "
    "such as an inquiry about a token or an injected delay, is part of it."
)
_UPSTREAM_HELP = (
    "From sending the request to the last byte of the answer, summed over attempts, dialling included; requests that "
    "were never sent are left out."
)
_HISTOGRAMS = {
    "total": ("gateway_request_duration_seconds", _TOTAL_HELP),
    "gateway": ("gateway_own_duration_seconds", _GATEWAY_HELP),
    "upstream": ("gateway_upstream_duration_seconds", _UPSTREAM_HELP),
}


def render_merged(snapshots: Iterable[Snapshot]) -> tuple[bytes, str]:
    """Return snapshots of Metrics, added up, in Prometheus's text format 0.0.4, and its media type."""
    registry = CollectorRegistry()
    registry.register(_Collected(list(snapshots)))
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


class _Collected:
    """A Collector of prometheus_client."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        return families(self._snapshots)


def families(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    """Yield the metric families of snapshots, added up."""
    yield _requests(snapshots)
    yield _refusals(snapshots)
    yield _by_upstream("attempts", "Requests sent to an upstream, first attempts and retries.", snapshots)
    yield _by_upstream("retries", "Attempts beyond a request's first.", snapshots)
    for part, (name, text) in _HISTOGRAMS.items():
        yield _histogram(part, name, text, snapshots)
    yield from _sources(snapshots)


def _requests(snapshots: Sequence[Snapshot]) -> Metric:
    family = CounterMetricFamily(
        "gateway_requests_total",
        "Exchanges that ended, by the class of the status that the client got (none: it got none) and the outcome.",
        labels=("route", "method", "status", "outcome"),
    )
    rows = ((*row[:2], _class_of(row[2]), *row[3:]) for snapshot in snapshots for row in snapshot["requests"])
    return _filled(family, rows)


def _refusals(snapshots: Sequence[Snapshot]) -> Metric:
    family = CounterMetricFamily(
        "gateway_refusals_total",
        "Requests that the gateway refused; the reason is the phrase of the status that it answered with.",
        labels=("route", "reason"),
    )
    rows = ((row[0], _reason(row[1]), row[2]) for snapshot in snapshots for row in snapshot["refusals"])
    return _filled(family, rows)


def _by_upstream(what: str, text: str, snapshots: Sequence[Snapshot]) -> Metric:
    family = CounterMetricFamily(f"gateway_{what}_total", text, labels=("upstream",))
    return _filled(family, (row for snapshot in snapshots for row in snapshot[what].items()))


def _sources(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    sources = [source for snapshot in snapshots for source in snapshot["sources"]]
    for name in dict.fromkeys(source["name"] for source in sources):
        alike = [source for source in sources if source["name"] == name]
        kind = CounterMetricFamily if alike[0]["kind"] == "counter" else GaugeMetricFamily
        family = kind(name, alike[0]["help"], labels=alike[0]["labels"])
        yield _filled(family, (row for source in alike for row in source["values"]))


def _filled(family: CounterMetricFamily | GaugeMetricFamily, rows: Iterable[Sequence[Any]]) -> Metric:
    """Add rows of label values and a number to the family, one for each set of label values."""
    totals: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for *labels, number in rows:
        totals[tuple(labels)] += number
    for key, total in sorted(totals.items()):
        family.add_metric(key, total)
    return family


def _histogram(part: str, name: str, text: str, snapshots: Sequence[Snapshot]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=("route",))
    bounds = [str(bound_ns / _NS_PER_S) for bound_ns in snapshots[0]["bounds_ns"]] if snapshots else []
    for route in sorted({route for snapshot in snapshots for route in snapshot["times"]}):
        parts = [snapshot["times"][route][part] for snapshot in snapshots if route in snapshot["times"]]
        counts = [sum(column) for column in zip(*(one["counts"] for one in parts), strict=True)]
        buckets = list(zip([*bounds, "+Inf"], accumulate(counts), strict=True))
        family.add_metric([route], buckets, sum(one["sum_ns"] for one in parts) / _NS_PER_S)
    return family


def _class_of(hundreds: int) -> str:
    return f"{hundreds}xx" if hundreds else "none"


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
    except ValueError:
        return f"status_{status}"
