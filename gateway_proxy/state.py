"""What all connections of a gateway share: configuration, routes, pools, the coarse clock and the list of clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway_proxy.config import GatewayConfig
from gateway_proxy.pool import Pool
from gateway_proxy.routes import Routes

if TYPE_CHECKING:
    from gateway_proxy.client import ClientConnection

_TICK_MIN_S, _TICK_MAX_S = 0.01, 0.25
_TICKS_PER_TIMEOUT = 5


class Gateway:
    """The state of one gateway process.

    `now` (seconds of the loop's clock) is set by the sweep, so that a request costs no reading of the clock: deadlines
    are late by at most two ticks, and a tick is at most a fifth of the shortest timeout.
    """

    def __init__(self, config: GatewayConfig, loop: asyncio.AbstractEventLoop) -> None:
        self.config = config
        self.loop = loop
        self.head_bytes = config.limits.head_bytes
        self.head_lines = config.limits.fields + 2  # with the first line and the empty one
        self.surely_few_bytes = 4 * config.limits.fields  # no field line is shorter than `a:` and its line end
        self.clients: set[ClientConnection] = set()
        self.dials: set[asyncio.Task[None]] = set()
        self.draining = False
        self.emptied = asyncio.Event()
        self.pools = {name: Pool(name, upstream) for name, upstream in config.upstreams.items()}
        self.routes = Routes((route.prefix, self.pools[route.shares[0].upstream]) for route in config.routes)
        self.health_path = None if config.health_path is None else config.health_path.encode("ascii")
        self.tick_s = min(_TICK_MAX_S, max(_TICK_MIN_S, _shortest_timeout_s(config) / _TICKS_PER_TIMEOUT))
        self.now = loop.time()
        self._timer = loop.call_later(self.tick_s, self._sweep)

    def _sweep(self) -> None:
        """Look at every connection's deadline, once a tick."""
        self.now = self.loop.time()
        for client in list(self.clients):
            client.check_deadline()
        for pool in self.pools.values():
            pool.close_idle(self.now)
        self._timer = self.loop.call_later(self.tick_s, self._sweep)

    def is_too_large(self, head: bytes) -> bool:
        """Say whether a head has too many bytes or lines."""
        if len(head) <= self.surely_few_bytes:
            return False
        return len(head) > self.head_bytes or head.count(b"\n") > self.head_lines

    def forget(self, client: ClientConnection) -> None:
        """Note that a client's connection is gone."""
        self.clients.discard(client)
        if self.draining and not self.clients:
            self.emptied.set()

    async def drain(self) -> None:
        """Let requests in flight finish for at most the grace period, then end everything."""
        self.draining = True
        for client in list(self.clients):
            client.drain()
        if self.clients:
            await _wait_at_most(self.emptied, self.config.grace_s)
        self._timer.cancel()
        for client in list(self.clients):
            client.abort()
        for pool in self.pools.values():
            for target in pool.targets:
                for connection in list(target.idle):
                    connection.close()
        await asyncio.sleep(0)


async def _wait_at_most(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _shortest_timeout_s(config: GatewayConfig) -> float:
    limits = config.limits
    own = (limits.head_timeout_s, limits.body_timeout_s, limits.idle_timeout_s)
    return min(*own, *(upstream.response_timeout_s for upstream in config.upstreams.values()))
