"""Connections to peers: HTTP/1.1 over `asyncio.Protocol`, kept alive, one exchange at a time on each.

The caps are those of Go's net/http.Transport: on *idle* connections only. Active ones are unlimited, one that comes
back to a host that has its fill is closed, the last one back is the first one out, and beyond the total the one that
has been idle longest goes. A request that finds no idle connection dials, and takes whichever comes first: its own
dial or a connection that somebody else gives back. Nothing is ever sent twice from here.

No task and no timer per exchange: one future, and one coarse sweep for the deadlines of all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from gateway_proxy.http1 import ProtocolError, ResponseParser

Failure = Literal["", "dial", "broken", "timeout"]
"""Why there is no answer: none could be dialled, the connection broke, time ran out. Empty: there is one."""


class Reply(NamedTuple):
    """What an exchange came to. `status` is 0 and `failure` says why when no answer came; `hops` 0 is unknown."""

    status: int = 0
    failure: Failure = ""
    hops: int = 0
    body: bytes = b""


@dataclass(frozen=True)
class Caps:
    """How many idle connections are kept, in all and for one host, and for how long."""

    idle_total: int = 100
    idle_per_host: int = 10
    idle_s: float = 90.0


class Host:
    """One address and what the pool holds for it. A dial may take `connect_timeout_s`; None: as long as the request."""

    __slots__ = ("connect_timeout_s", "host", "idle", "port", "waiting")

    def __init__(self, host: str, port: int, connect_timeout_s: float | None = None) -> None:
        self.host = host
        self.port = port
        self.connect_timeout_s = connect_timeout_s
        self.idle: list[Connection] = []  # the longest idle first
        self.waiting: deque[Exchange] = deque()


class Exchange:
    """One request on its way: the future of its reply, and when time is up."""

    __slots__ = ("connection", "deadline", "dial", "future", "request")

    def __init__(self, future: asyncio.Future[Reply], request: bytes, deadline: float) -> None:
        self.future = future
        self.request = request
        self.deadline = deadline
        self.connection: Connection | None = None
        self.dial: asyncio.Task[None] | None = None


class Pool:
    """All connections of one process to its peers. Belongs to the running loop; times in seconds of `clock`.

    Deadlines are looked at every `sweep_s`, so an exchange may end that much late.
    """

    def __init__(self, clock: Callable[[], float], caps: Caps | None = None, sweep_s: float = 0.05) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._caps = caps or Caps()
        self._sweep_s = sweep_s
        self._open: dict[Exchange, None] = {}
        self._hosts: list[Host] = []
        self._idle_total = 0
        self._timer = self._loop.call_later(sweep_s, self._sweep)

    def host(self, host: str, port: int, connect_timeout_s: float | None = None) -> Host:
        """Return a new place for connections to that address."""
        self._hosts.append(Host(host, port, connect_timeout_s))
        return self._hosts[-1]

    def exchange(self, host: Host, request: bytes, timeout_s: float, *, dial: bool = False) -> asyncio.Future[Reply]:
        """Send the request and return the future of its reply, which is never an exception.

        With `dial` a connection is tried although one may be idle.
        """
        exchange = Exchange(self._loop.create_future(), request, self._clock() + timeout_s)
        self._open[exchange] = None
        connection = None if dial else self._take_idle(host)
        if connection is not None:
            connection.send(exchange)
        else:
            host.waiting.append(exchange)
            exchange.dial = self._loop.create_task(self._dial(host, exchange))
        return exchange.future

    def close(self) -> None:
        """Close every connection; open exchanges end as broken."""
        self._timer.cancel()
        for exchange in list(self._open):
            self.fail(exchange, "broken")
        for host in self._hosts:
            for connection in host.idle:
                connection.close()
            host.idle.clear()

    def finish(self, exchange: Exchange, reply: Reply) -> None:
        """Hand the reply to whoever waits for it, unless nobody does any more."""
        self._open.pop(exchange, None)
        if not exchange.future.done():
            exchange.future.set_result(reply)

    def fail(self, exchange: Exchange, failure: Failure) -> None:
        """End an exchange without an answer; its connection and its dial are of no use to others."""
        if exchange.connection is not None:
            exchange.connection.drop()
        if exchange.dial is not None:
            exchange.dial.cancel()
        self.finish(exchange, Reply(failure=failure))

    def give_back(self, connection: Connection) -> None:
        """Take a connection that is free: for who waits longest, else to keep, else to close."""
        host = connection.host
        while host.waiting:
            exchange = host.waiting.popleft()
            if exchange.connection is None and not exchange.future.done():
                connection.send(exchange)
                return
        if len(host.idle) >= self._caps.idle_per_host:
            connection.close()
            return
        connection.idle_since = self._clock()
        host.idle.append(connection)
        self._idle_total += 1
        if self._idle_total > self._caps.idle_total:
            self._drop_longest_idle()

    def forget(self, connection: Connection) -> None:
        """Take a connection that closed by itself off the idle ones."""
        if connection in connection.host.idle:
            connection.host.idle.remove(connection)
            self._idle_total -= 1

    def _take_idle(self, host: Host) -> Connection | None:
        oldest = self._clock() - self._caps.idle_s
        while host.idle:
            connection = host.idle.pop()
            self._idle_total -= 1
            if connection.idle_since > oldest and not connection.closing:
                return connection
            connection.close()
        return None

    def _drop_longest_idle(self) -> None:
        host = min((host for host in self._hosts if host.idle), key=lambda host: host.idle[0].idle_since)
        host.idle.pop(0).close()
        self._idle_total -= 1

    async def _dial(self, host: Host, exchange: Exchange) -> None:
        dialling = self._loop.create_connection(lambda: Connection(self, host), host.host, host.port)
        try:
            if host.connect_timeout_s is None:
                _, connection = await dialling
            else:
                async with asyncio.timeout(host.connect_timeout_s):
                    _, connection = await dialling
        except OSError:  # TimeoutError is one
            if exchange.connection is None:
                exchange.dial = None
                self.finish(exchange, Reply(failure="dial"))
            return
        exchange.dial = None
        if exchange.connection is None and not exchange.future.done():
            connection.send(exchange)
        else:
            self.give_back(connection)

    def _sweep(self) -> None:
        now = self._clock()
        for exchange in [exchange for exchange in self._open if exchange.deadline <= now]:
            self.fail(exchange, "timeout")
        for exchange in [exchange for exchange in self._open if exchange.future.done()]:
            self.fail(exchange, "broken")  # its caller was cancelled; nobody reads the answer
        for host in self._hosts:
            self._sweep_idle(host, now - self._caps.idle_s)
        self._timer = self._loop.call_later(self._sweep_s, self._sweep)

    def _sweep_idle(self, host: Host, oldest: float) -> None:
        while host.idle and host.idle[0].idle_since <= oldest:
            host.idle.pop(0).close()
            self._idle_total -= 1
        while host.waiting and (host.waiting[0].future.done() or host.waiting[0].connection is not None):
            host.waiting.popleft()  # answered by its own dial; left in the queue because removing costs a search


class Connection(asyncio.Protocol):
    """One connection to a peer. At most one exchange at a time."""

    def __init__(self, pool: Pool, host: Host) -> None:
        self.pool = pool
        self.host = host
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._parser = ResponseParser()

    @property
    def closing(self) -> bool:
        """Say whether the connection cannot carry another exchange."""
        return self._transport is None or self._transport.is_closing()

    def send(self, exchange: Exchange) -> None:
        """Write the exchange's request; its reply goes to the pool."""
        exchange.connection = self
        if self._transport is None:
            self.pool.finish(exchange, Reply(failure="broken"))
            return
        self._exchange = exchange
        self._parser.begin()
        self._transport.write(exchange.request)

    def close(self) -> None:
        """Close after what is written."""
        if self._transport is not None:
            self._transport.close()

    def drop(self) -> None:
        """Close at once, in the middle of an exchange."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; hand the complete reply over and the connection back."""
        if self._exchange is None:
            self.close()  # bytes that nobody asked for: what follows could not be told apart
            return
        try:
            self._parser.feed(data)
        except ProtocolError:
            self.pool.fail(self._exchange, "broken")
            return
        if self._parser.complete:
            self._complete(reusable=self._parser.keep_alive)

    def eof_received(self) -> None:
        """End a body that is delimited by the end of the connection; anything else breaks in `connection_lost`."""
        with contextlib.suppress(ProtocolError):
            # An answer that lets the connection live has a length; cut short it is broken, whatever the parser says.
            if self._exchange is not None and not self._parser.keep_alive and self._parser.eof():
                self._complete(reusable=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Break the exchange under way, if any."""
        del exc
        self._transport = None
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            self.pool.finish(exchange, Reply(failure="broken"))
        self.pool.forget(self)

    def _complete(self, *, reusable: bool) -> None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        parser = self._parser
        self.pool.finish(exchange, Reply(parser.status, "", _hops(parser.headers), bytes(parser.body)))
        if reusable and not self.closing:
            self.pool.give_back(self)
        else:
            self.close()


def _hops(headers: list[tuple[bytes, bytes]]) -> int:
    """Read X-Hops, the connections that the request passed, as the callee counted them; 0 when it is not there."""
    for name, value in headers:
        if len(name) == 6 and name.lower() == b"x-hops":
            return int(value) if value.isdigit() else 0
    return 0
