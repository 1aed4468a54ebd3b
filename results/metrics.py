"""The quantities that are computed from a record: name, unit, scale, and which way is worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One quantity. `log`: positive and of ratio scale. `compared`: each arm over direct is reported."""

    name: str
    unit: str
    says: str
    log: bool = True
    worse: Literal["higher", "lower"] = "higher"
    compared: bool = True
    gated: bool = False

    @property
    def label(self) -> str:
        """The name in words."""
        return self.name.replace("_", " ").replace("cpu", "CPU")


QUANTILES: dict[str, float] = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
LEAST_REQUESTS: dict[str, int] = {"p95": 200, "p99": 1000}
"""Fewer requests in a block than this, and the percentile is not printed."""

_CALL = "latency of an internal call as its caller sees it, open loop"
_FLOW = "done less intended start of a flow, open loop; a timeout counts as at least the timeout"
_SERVICE = "done less sent of a flow, open loop"
_SLIP = "sent less intended start, the generator's own lateness"


def _family(name: str, stats: tuple[str, ...], says: str, *, compared: bool = True) -> list[Metric]:
    return [Metric(f"{name}_{stat}", "ms", f"{stat} of the {says}", compared=compared) for stat in stats]


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("call_latency_mean", "ms", f"mean {_CALL}", gated=True),
        *_family("call_latency", tuple(QUANTILES), _CALL),
        *_family("flow_latency", ("mean", *QUANTILES), _FLOW),
        *_family("service_time", ("mean", *QUANTILES), _SERVICE),
        *_family("slip", ("mean", *QUANTILES), _SLIP, compared=False),
        Metric(
            "capacity",
            "req/s",
            "highest offered rate that meets the objective, found by search; no flow named: the whole mix",
            worse="lower",
        ),
        Metric(
            "saturation_throughput",
            "req/s",
            "ok answers a second in the closed-loop saturation window",
            worse="lower",
            gated=True,
        ),
        Metric("cpu_per_request", "us", "CPU time per answered request, open loop", gated=True),
        Metric(
            "bottleneck_demand",
            "x",
            "CPU of the gateway over that of the busiest service, at saturation",
            compared=False,
        ),
        Metric("achieved_rate", "req/s", "requests sent a second, open loop", worse="lower", compared=False),
        Metric("goodput", "req/s", "successes a second, open loop", worse="lower", compared=False),
        Metric(
            "error_share", "share", "errors, timeouts and dropped among the planned requests", log=False, compared=False
        ),
    )
}
