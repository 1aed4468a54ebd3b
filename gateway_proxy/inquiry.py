"""Questions that the gateway asks for itself: health checks, and what an authentication service thinks of a token.

A small HTTP/1.1 client on the gateway's loop that keeps connections alive. A task exists only while a connection is
dialled; an inquiry on an idle connection costs one write and one timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from gateway_proxy.http1 import ProtocolError, ResponseParser, render_request

BODY_LIMIT_BYTES = 65536
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110 9.2.1: asking twice changes nothing


class Reply(NamedTuple):
    """A whole answer: status, fields as they came (names in their own case), and the body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Failure(NamedTuple):
    """There is no answer, and why."""

    why: str


Done = Callable[[Reply | Failure], None]
Cancel = Callable[[], None]


class Inquirer:
    """Asks addresses and hands back their answers. Everything happens on `loop`.

    At most `max_idle` unused connections are kept for an address, none longer than `idle_timeout_s` (seconds; looked
    at by `close_idle`); with `max_connections` in use for it, further inquiries fail at once.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        max_idle: int = 8,
        max_connections: int = 1024,
        idle_timeout_s: float = 60.0,
    ) -> None:
        self.loop = loop
        self._max_idle = max_idle
        self._max_connections = max_connections
        self._idle_timeout_s = idle_timeout_s
        self._places: dict[str, _Place] = {}
        self._open: set[_Inquiry] = set()

    def ask(
        self,
        address: str,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        timeout_s: float,
        done: Done,
    ) -> Cancel:
        """Send a request without a body to `address` (HOST:PORT) and return what cancels it.

        `done` is called once, later, from the loop: with the whole answer, or with a Failure when there is none in
        `timeout_s` seconds (dialling included), when it is not HTTP, when its body is larger than 64 KiB, or when the
        request cannot be rendered. After cancelling it is not called. Nothing is raised.
        """
        inquiry = _Inquiry(self, method, done)
        self._open.add(inquiry)
        inquiry.timer = self.loop.call_later(timeout_s, inquiry.fail, "no answer in time")
        try:
            inquiry.request = render_request(method, target, address, headers)
            self._send(self._place(address), inquiry)
        except ProtocolError as error:
            self.loop.call_soon(inquiry.fail, str(error))
        return inquiry.cancel

    def close_idle(self) -> None:
        """Close the connections that nobody has used for the idle timeout; for a sweep."""
        before = self.loop.time() - self._idle_timeout_s
        for place in self._places.values():
            while place.idle and place.idle[0].idle_since < before:
                place.idle.pop(0).transport.close()

    def close(self) -> None:
        """Fail what is open and close every connection."""
        for inquiry in list(self._open):
            inquiry.fail("the gateway ends")
        for place in self._places.values():
            while place.idle:
                place.idle.pop().transport.close()

    def forget(self, inquiry: _Inquiry) -> None:
        """Note that an inquiry has ended."""
        self._open.discard(inquiry)

    def release(self, connection: _Connection) -> None:
        """Keep a connection for the next inquiry, if there are not enough."""
        idle = connection.place.idle
        if len(idle) >= self._max_idle:
            connection.transport.close()
            return
        connection.idle_since = self.loop.time()
        idle.append(connection)

    def dial_for(self, place: _Place, inquiry: _Inquiry) -> None:
        """Have a new connection made for the inquiry."""
        if place.opened + place.dialling >= self._max_connections:
            self.loop.call_soon(inquiry.fail, f"{self._max_connections} connections are in use")
            return
        place.dialling += 1
        inquiry.dial = self.loop.create_task(self._dial(place, inquiry))
        inquiry.dial.add_done_callback(place.dialled)

    def _place(self, address: str) -> _Place:
        place = self._places.get(address)
        if place is None:
            place = self._places[address] = _Place(address)
        return place

    def _send(self, place: _Place, inquiry: _Inquiry) -> None:
        while place.idle:
            connection = place.idle.pop()
            if not connection.transport.is_closing():
                connection.send(inquiry)
                return
        self.dial_for(place, inquiry)

    async def _dial(self, place: _Place, inquiry: _Inquiry) -> None:
        try:
            _, connection = await self.loop.create_connection(lambda: _Connection(self, place), place.host, place.port)
        except OSError as error:
            inquiry.dial = None
            inquiry.fail(f"cannot be reached: {error.strerror or error}")
        else:
            connection.send(inquiry)


class _Place:
    """One address and its connections; the last one used is the first one taken."""

    __slots__ = ("dialling", "host", "idle", "opened", "port")

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not (host and port.isdigit()):
            raise ProtocolError(f"{address!r} is not HOST:PORT")
        self.host = host.removeprefix("[").removesuffix("]")
        self.port = int(port)
        self.idle: list[_Connection] = []
        self.opened = self.dialling = 0

    def dialled(self, _dial: asyncio.Task[None]) -> None:
        """Note the end of an attempt to connect; one that was cancelled before it began has an end as well."""
        self.dialling -= 1


class _Inquiry:
    """One question on its way; ends once, by an outcome or by being cancelled."""

    __slots__ = ("_done", "_inquirer", "connection", "dial", "head_only", "repeatable", "request", "timer")

    timer: asyncio.TimerHandle

    def __init__(self, inquirer: Inquirer, method: str, done: Done) -> None:
        self._inquirer = inquirer
        self._done: Done | None = done
        self.head_only = method == "HEAD"
        self.repeatable = method in _REPEATABLE
        self.request = b""
        self.connection: _Connection | None = None
        self.dial: asyncio.Task[None] | None = None

    def fail(self, why: str) -> None:
        """End without an answer; the connection it is on is of no use to others."""
        self._drop()
        self.finish(Failure(why))

    def cancel(self) -> None:
        """End, and tell nobody."""
        self._done = None
        self._drop()
        self.finish(Failure("cancelled"))

    def finish(self, outcome: Reply | Failure) -> None:
        """Hand over the outcome, unless that was done or nobody wants it."""
        self.timer.cancel()
        self._inquirer.forget(self)
        done, self._done = self._done, None
        if done is not None:
            done(outcome)

    def _drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()
        if self.dial is not None:
            self.dial.cancel()
            self.dial = None


class _Connection(asyncio.Protocol):
    """Idle, or busy with one inquiry."""

    __slots__ = ("_got", "_inquirer", "_inquiry", "_parser", "_reused", "idle_since", "place", "transport")

    transport: asyncio.Transport

    def __init__(self, inquirer: Inquirer, place: _Place) -> None:
        self._inquirer = inquirer
        self.place = place
        self._parser = ResponseParser()
        self._inquiry: _Inquiry | None = None
        self._got = self._reused = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and count the connection."""
        self.place.opened += 1
        self.transport = cast("asyncio.Transport", transport)

    def send(self, inquiry: _Inquiry) -> None:
        """Ask on this connection."""
        self._inquiry = inquiry
        inquiry.connection = self
        inquiry.dial = None
        self._got = False
        self._parser.begin(inquiry.head_only)
        self.transport.write(inquiry.request)

    def abort(self) -> None:
        """Close at once: nobody waits for the answer."""
        self._inquiry = None
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer; bytes that answer nothing cost the connection (RFC 9112 9.3.2)."""
        inquiry, parser = self._inquiry, self._parser
        if inquiry is None:
            self._forget()
            self.transport.abort()
            return
        self._got = True
        try:
            parser.feed(data)
        except ProtocolError as error:
            inquiry.fail(str(error))
            return
        if parser.body_length > BODY_LIMIT_BYTES:
            inquiry.fail(f"an answer of more than {BODY_LIMIT_BYTES} bytes")
        elif parser.complete:
            self._complete(inquiry)

    def _complete(self, inquiry: _Inquiry) -> None:
        parser = self._parser
        self._inquiry = inquiry.connection = None
        self._reused = True
        if parser.keep_alive and not self.transport.is_closing():
            self._inquirer.release(self)
        else:
            self.transport.close()
        inquiry.finish(Reply(parser.status, parser.headers, parser.body))

    def connection_lost(self, exc: Exception | None) -> None:
        """End, fail or repeat the inquiry under way; a body without a length ends here (RFC 9112 6.3)."""
        self.place.opened -= 1
        self._forget()
        inquiry = self._inquiry
        if inquiry is None:
            return
        self._inquiry = inquiry.connection = None
        if self._reused and not self._got and inquiry.repeatable:
            # The request met the close of an idle connection, which says nothing about the peer.
            self._inquirer.dial_for(self.place, inquiry)
            return
        self._end(inquiry, exc)

    def _end(self, inquiry: _Inquiry, exc: Exception | None) -> None:
        try:
            ended = exc is None and self._parser.eof()
        except ProtocolError as error:
            inquiry.fail(str(error))
            return
        if ended:
            inquiry.finish(Reply(self._parser.status, self._parser.headers, self._parser.body))
        else:
            inquiry.fail("the connection broke")

    def _forget(self) -> None:
        if self in self.place.idle:
            self.place.idle.remove(self)
