"""From a configuration to what does it: pools, routes with their steps, and what is to be looked after once a tick."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway_proxy import config
from gateway_proxy.config import GatewayConfig
from gateway_proxy.pool import Pool, Target
from gateway_proxy.routes import Route, Routes, Timeouts

if TYPE_CHECKING:
    from gateway_proxy.state import Gateway


@dataclass
class Assembly:
    """What a configuration came to. `sweeps` are called once a tick with the time in seconds."""

    pools: dict[str, Pool]
    routes: Routes
    unrouted: Route
    shortest_timeout_s: float
    sweeps: list[Callable[[float], None]] = field(default_factory=list)

    def close(self) -> None:
        """End everything that is under way."""

    def close_all_but(self, kept: Assembly) -> None:
        """End what the new assembly does not use any more."""


class _Turns:
    def __init__(self) -> None:
        self._next = 0

    def changed(self, available: Sequence[Target]) -> None:
        self._available = available

    def pick(self, key: bytes) -> Target:
        self._next += 1
        return self._available[self._next % len(self._available)]


def assemble(settings: GatewayConfig, gateway: Gateway, before: Assembly | None) -> Assembly:
    rng = random.Random(settings.seed)
    pools = {name: Pool(name, upstream, _Turns()) for name, upstream in settings.upstreams.items()}
    routes = [_route(route, pools, rng) for route in settings.routes]
    unrouted = _route(config.Route(prefix="/", upstream=next(iter(pools))), pools, rng)
    limits = settings.limits
    shortest = min(
        limits.head_timeout_s,
        limits.body_timeout_s,
        limits.idle_timeout_s,
        *(upstream.response_timeout_s for upstream in settings.upstreams.values()),
    )
    return Assembly(pools, Routes(routes), unrouted, shortest)


def _route(route: config.Route, pools: dict[str, Pool], rng: random.Random) -> Route:
    shares = [(pools[share.upstream], share.weight) for share in route.shares]
    upstream = shares[0][0].config
    timeouts = Timeouts(upstream.connect_timeout_s, upstream.response_timeout_s, upstream.response_timeout_s)
    made = Route(route.prefix, shares, timeouts, route, rng)
    made.plain = True
    return made
