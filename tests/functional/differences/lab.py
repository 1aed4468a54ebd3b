"""The bench: gateways started once, each case's bytes sent to each of them, what both sides saw written down.

Every case has a route, a path and an upstream of its own, so that all of them run at once and none meets another's
connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.forkserver import ForkServer
from harness.gateways import GATEWAYS, GatewayPlan, Route
from harness.ports import free_ports
from tests.bench.rig import wait_for_port
from tests.functional.differences.case import Case
from tests.fuzz.strict import BrokenError, read_request

CONTENDERS = ("builtin", "nginx", "haproxy")
PRELOAD = ("gateway_proxy.server", "harness.gateways.builtin", "harness.gateways.program")
QUIET_S = 0.8  # without a byte anywhere on the bench, so that a slow machine only takes longer
PAUSE_S = 0.2  # between the pieces of a request
_PATIENCE_S = 8.0  # gateways wait for ten seconds
_RESET = struct.pack("ii", 1, 0)


class Bench:
    """When anything last happened on the bench."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.upstreams: list[asyncio.Transport] = []

    def touch(self) -> None:
        self.last = time.monotonic()

    @property
    def quiet_for_s(self) -> float:
        return time.monotonic() - self.last


@dataclass
class Exchange:
    """What both sides saw of one case at one gateway; `end` is open, closed or reset."""

    case: Case
    path: bytes
    received: bytes = b""
    end: str = "open"
    upstream: list[bytes] = field(default_factory=list)  # what came, for each connection
    answered: int = 0

    @property
    def sent(self) -> bytes:
        return b"".join(self.case.pieces(self.path))


class _UpstreamConnection(asyncio.Protocol):
    def __init__(self, exchange: Exchange, bench: Bench) -> None:
        self.exchange, self.bench = exchange, bench
        self.number = len(exchange.upstream)
        self.at = 0
        self.answered_early = False
        exchange.upstream.append(b"")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.bench.upstreams.append(transport)

    def data_received(self, data: bytes) -> None:
        self.bench.touch()
        upstream = self.exchange.upstream
        upstream[self.number] += data
        while self.at < len(upstream[self.number]) and not self.transport.is_closing():
            if not self._read(upstream[self.number]):
                return

    def _read(self, data: bytes) -> bool:
        try:
            message = read_request(data, self.at)
        except BrokenError:
            self.transport.close()
            return False
        if message is None:
            return False
        if not self.answered_early and (message.complete or self.exchange.case.early):
            self._answer()
            self.answered_early = True
        if message.complete:
            self.answered_early = False
            self.at = message.end
        return message.complete

    def _answer(self) -> None:
        case = self.exchange.case
        self.transport.write(case.answers[min(self.exchange.answered, len(case.answers) - 1)])
        self.exchange.answered += 1
        if case.then == "close":
            self.transport.close()
        elif case.then == "reset":
            asyncio.get_running_loop().call_later(PAUSE_S, self._reset)

    def _reset(self) -> None:
        self.bench.touch()
        if not self.transport.is_closing():
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()


class _Client(asyncio.Protocol):
    def __init__(self, exchange: Exchange, bench: Bench) -> None:
        self.exchange, self.bench = exchange, bench
        self.done = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.bench.touch()
        self.exchange.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.bench.touch()
        self.exchange.end = "reset" if exc else "closed"
        self.done.set()


async def _converse(exchange: Exchange, port: int, bench: Bench) -> None:
    """Play the client until the gateway closes or the bench has been quiet for a while."""
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(lambda: _Client(exchange, bench), "127.0.0.1", port)
    for number, piece in enumerate(exchange.case.pieces(exchange.path)):
        await asyncio.sleep(PAUSE_S if number else 0)
        bench.touch()
        if not transport.is_closing():
            transport.write(piece)
    until = time.monotonic() + _PATIENCE_S
    while not client.done.is_set() and bench.quiet_for_s < QUIET_S and time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(client.done.wait(), QUIET_S - bench.quiet_for_s)
    end = exchange.end
    transport.abort()
    await client.done.wait()
    exchange.end = end


async def _listen(exchange: Exchange, bench: Bench) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: _UpstreamConnection(exchange, bench), "127.0.0.1", 0)


async def _observe(
    cases: Sequence[Case], names: Sequence[str], folder: Path, server: ForkServer
) -> dict[str, list[Exchange]]:
    bench = Bench()
    seen = {name: [Exchange(case, b"/c%03d" % number) for number, case in enumerate(cases)] for name in names}
    async with contextlib.AsyncExitStack() as stack:
        ports = {}
        for name, exchanges in seen.items():
            servers = [await stack.enter_async_context(await _listen(exchange, bench)) for exchange in exchanges]
            ports[name] = {f"c{n:03d}": server.sockets[0].getsockname()[1] for n, server in enumerate(servers)}
        gateways = stack.enter_context(_running(ports, folder, server))
        everything = [(exchange, gateways[name]) for name in names for exchange in seen[name]]
        for timed in (False, True):  # pieces mean something only when nothing else keeps the processes busy
            wave = [(exchange, port) for exchange, port in everything if exchange.case.is_timed == timed]
            bench.touch()
            await asyncio.gather(*(_converse(exchange, port, bench) for exchange, port in wave))
    for transport in bench.upstreams:
        transport.abort()
    await asyncio.sleep(0)  # one that is left to the end of the loop is complained about, in some later test
    return seen


@contextlib.contextmanager
def _running(ports: dict[str, dict[str, int]], folder: Path, server: ForkServer) -> Iterator[dict[str, int]]:
    """Run the gateways in front of the upstreams; yield each one's port."""
    listening = dict(zip(ports, free_ports(len(ports), random.Random()), strict=True))
    pids = [_start(name, listening[name], ports[name], folder / name, server) for name in ports]
    try:
        for port in listening.values():
            wait_for_port(port)
        yield listening
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _start(name: str, port: int, services: dict[str, int], folder: Path, server: ForkServer) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    plan = GatewayPlan(port, tuple(Route(f"/{service}", service) for service in services), services)
    gateway = GATEWAYS[name]
    return gateway.start(gateway.render(plan), folder, server, [], folder / "gateway.log")


def observe(cases: Sequence[Case], names: Sequence[str], folder: Path) -> dict[str, list[Exchange]]:
    """Send every case to every gateway, and return what was seen, in the order of the cases."""
    with contextlib.closing(ForkServer(preload=PRELOAD)) as server, _many_files():
        return asyncio.run(_observe(cases, names, folder, server))


@contextlib.contextmanager
def _many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
