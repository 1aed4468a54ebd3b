"""What the gateway counts of its exchanges, in plain numbers: the hot path knows nothing of Prometheus.

Order: any; it reads what the others left. Several workers hand over snapshots, which `render_merged` adds up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from prometheus_client.metrics_core import Metric

from gateway_proxy.exchange import Exchange
from gateway_proxy.features.exposition import families, render_merged

__all__ = ["BOUNDS_NS", "Metrics", "Source", "client_connections", "render_merged", "upstream_connections"]

_US = 1000
# From well below what a hop through the gateway costs to what clients wait for at most.
BOUNDS_NS = tuple(
    round(us * _US)
    for us in (50, 100, 250, 500, 1e3, 2.5e3, 5e3, 1e4, 2.5e4, 5e4, 1e5, 2.5e5, 5e5, 1e6, 2.5e6, 5e6, 1e7)
)
_METHODS = {
    method.encode("ascii"): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
}


class Source(NamedTuple):
    """Numbers that somebody else keeps: read when metrics are, by label values; workers' values are added up."""

    name: str
    help: str
    labels: tuple[str, ...]
    read: Callable[[], Mapping[tuple[str, ...], float]]
    kind: Literal["gauge", "counter"] = "gauge"


def client_connections(count: Callable[[], int]) -> Source:
    """Return the source of how many connections of clients are open."""
    return Source("gateway_client_connections", "Connections of clients that are open.", (), lambda: {(): count()})


def upstream_connections(count: Callable[[], Iterable[tuple[str, int, int]]]) -> Source:
    """Return the source of connections to upstreams; `count` yields an upstream's name, its idle and active ones."""

    def read() -> dict[tuple[str, ...], float]:
        states = ((name, ("idle", idle), ("active", active)) for name, idle, active in count())
        return {(name, state): number for name, *pairs in states for state, number in pairs}

    return Source(
        "gateway_upstream_connections",
        "Connections to an upstream: idle ones wait in its pool, active ones carry a request.",
        ("upstream", "state"),
        read,
    )


class _Times:
    """One route's histograms: how many exchanges fell in each bucket (not cumulative), and the sums."""

    __slots__ = ("gateway", "gateway_ns", "total", "total_ns", "upstream", "upstream_ns")

    def __init__(self) -> None:
        self.total, self.gateway, self.upstream = ([0] * (len(BOUNDS_NS) + 1) for _ in range(3))
        self.total_ns = self.gateway_ns = self.upstream_ns = 0

    def snapshot(self) -> dict[str, Any]:
        """Return name -> counts and sum."""
        return {
            name: {"counts": list(getattr(self, name)), "sum_ns": getattr(self, f"{name}_ns")}
            for name in ("total", "gateway", "upstream")
        }


class Metrics:
    """Counts every exchange; `sources` are read only when somebody asks for the metrics.

    Times are those of gateway_proxy.exchange: total is ended_ns - began_ns, upstream is upstream_ns (only exchanges
    that were sent count), gateway is the rest. What a step makes a request wait for, such as an inquiry about a token
    or an injected delay, is the gateway's own time. Methods outside a short list count as `other`.
    """

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self._sources = tuple(sources)
        self._requests: defaultdict[tuple[str, str, int, str], int] = defaultdict(int)
        self._times: defaultdict[str, _Times] = defaultdict(_Times)
        self._attempts: defaultdict[str, int] = defaultdict(int)
        self._retries: defaultdict[str, int] = defaultdict(int)
        self._refusals: defaultdict[tuple[str, int], int] = defaultdict(int)

    def __call__(self, exchange: Exchange) -> None:
        """Count the exchange."""
        route, outcome = exchange.route, exchange.outcome
        self._requests[route, _METHODS.get(exchange.method, "other"), exchange.status // 100, outcome] += 1
        times = self._times[route]
        total_ns, upstream_ns = exchange.ended_ns - exchange.began_ns, exchange.upstream_ns
        times.total[bisect_left(BOUNDS_NS, total_ns)] += 1
        times.total_ns += total_ns
        times.gateway[bisect_left(BOUNDS_NS, total_ns - upstream_ns)] += 1
        times.gateway_ns += total_ns - upstream_ns
        if exchange.attempts:
            times.upstream[bisect_left(BOUNDS_NS, upstream_ns)] += 1
            times.upstream_ns += upstream_ns
            self._count_attempts(exchange.upstream, exchange.attempts)
        if outcome == "refused" and exchange.status >= 400:  # not the answer to a preflight
            self._refusals[route, exchange.status] += 1

    def _count_attempts(self, upstream: str, attempts: int) -> None:
        self._attempts[upstream] += attempts
        if attempts > 1:
            self._retries[upstream] += attempts - 1

    def snapshot(self) -> dict[str, Any]:
        """Return all there is as plain lists, dictionaries, texts and numbers, for `render_merged` in any process."""
        return {
            "bounds_ns": list(BOUNDS_NS),
            "requests": [[*key, count] for key, count in self._requests.items()],
            "times": {route: times.snapshot() for route, times in self._times.items()},
            "attempts": dict(self._attempts),
            "retries": dict(self._retries),
            "refusals": [[*key, count] for key, count in self._refusals.items()],
            "sources": [_read(source) for source in self._sources],
        }

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics: a Collector of prometheus_client, for a registry of its own."""
        return families([self.snapshot()])

    def render(self) -> tuple[bytes, str]:
        """Return the metrics of this process in Prometheus's text format, and its media type."""
        return render_merged([self.snapshot()])


def _read(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "help": source.help,
        "kind": source.kind,
        "labels": list(source.labels),
        "values": [[*labels, value] for labels, value in source.read().items()],
    }
