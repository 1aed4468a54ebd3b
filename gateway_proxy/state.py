"""What all connections of a gateway share: configuration, routes, pools, the coarse clock and the list of clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway_proxy.assembly import Assembly, assemble
from gateway_proxy.config import GatewayConfig
from gateway_proxy.http1 import Hop

if TYPE_CHECKING:
    from gateway_proxy.client import ClientConnection

_TICK_MIN_S, _TICK_MAX_S = 0.01, 0.25
_TICKS_PER_TIMEOUT = 5
_MOST_HOPS = 4096


class Gateway:
    """The state of one gateway process.

    `now` (seconds of the loop's clock) is set by the sweep, so that a request costs no reading of the clock: deadlines
    are late by at most two ticks, and a tick is at most a fifth of the shortest timeout.
    """

    def __init__(self, config: GatewayConfig, loop: asyncio.AbstractEventLoop, worker: int = 0) -> None:
        self.loop = loop
        self.worker = worker  # mixed into the seed: several must not draw the same
        self.clients: set[ClientConnection] = set()
        self.dials: set[asyncio.Task[None]] = set()
        self.draining = False
        self.emptied = asyncio.Event()
        self.generation = 0
        self.now = loop.time()
        self.apply(config)
        self._timer = loop.call_later(self.tick_s, self._sweep)

    def apply(self, config: GatewayConfig) -> None:
        """Work by this configuration from the next request on; requests in flight end by the one they began with.

        Pools whose upstream is unchanged keep their connections. Raises AssemblyProblem, and changes nothing, when
        something that the configuration names cannot be used.
        """
        before: Assembly | None = getattr(self, "assembly", None)
        self.assembly = assembly = assemble(config, self, before)
        self.config = config
        self.head_bytes = config.limits.head_bytes
        self.head_lines = config.limits.fields + 2  # with the first line and the empty one
        self.surely_few_bytes = min(4 * config.limits.fields, self.head_bytes)  # no line is shorter than `a:` and CRLF
        self.routes = assembly.routes
        self.unrouted = assembly.unrouted
        self.pools = assembly.pools
        self.health_path = None if config.health_path is None else config.health_path.encode("ascii")
        self.tick_s = min(_TICK_MAX_S, max(_TICK_MIN_S, assembly.shortest_timeout_s / _TICKS_PER_TIMEOUT))
        self._hops: dict[str, Hop] = {}
        self.generation += 1
        if before is not None:
            before.replaced_by(assembly)

    def hop(self, peer: str) -> Hop:
        """Return what connections of this client's address tell the next hop."""
        hop = self._hops.get(peer)
        if hop is None:
            if len(self._hops) >= _MOST_HOPS:
                self._hops.clear()
            told = self.config.forwarding
            scheme = b"https" if self.config.listen.tls else b"http"
            hop = Hop(peer, told.x_forwarded, told.via, told.max_hops, told.forwarded, scheme)
            self._hops[peer] = hop
        return hop

    def _sweep(self) -> None:
        """Look at every connection's deadline, once a tick."""
        self.now = self.loop.time()
        for client in list(self.clients):
            client.check_deadline()
        for pool in self.pools.values():
            pool.sweep(self.now)
        for sweep in self.assembly.sweeps:
            sweep(self.now)
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
        self.assembly.close()
        await asyncio.sleep(0)


async def _wait_at_most(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
