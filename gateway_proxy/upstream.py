"""One connection to a target: sends a request that a client connection hands it, and streams the answer back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from gateway_proxy.http1 import (
    BARE_LF,
    CHUNKED,
    UNTIL_CLOSE,
    Body,
    ChunkedBody,
    ClosedBody,
    ProtocolError,
    ResponseReader,
    SizedBody,
)

if TYPE_CHECKING:
    from gateway_proxy.client import ClientConnection
    from gateway_proxy.pool import Pool, Target
    from gateway_proxy.state import Gateway

_INTERIM_LIMIT = 100  # of one request; more are an attack on us or a loop


class UpstreamConnection(asyncio.Protocol):
    """Idle in its pool, or busy with the request of one client connection."""

    __slots__ = (
        "_body",
        "_buffer",
        "_counted",
        "_gateway",
        "_interim",
        "_pool",
        "_reader",
        "_tunnel",
        "client",
        "idle_since",
        "reused",
        "target",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, gateway: Gateway, pool: Pool, target: Target) -> None:
        self._gateway = gateway
        self._pool = pool
        self.target = target
        self.client: ClientConnection | None = None
        self.reused = False  # a connection that died idle looks like one that dies on the next request
        self.idle_since = 0.0
        self._reader = ResponseReader(gateway.config.forwarding.via)
        self._buffer = b""
        self._body: Body | None = None
        self._interim = 0
        self._tunnel = False  # after a 101: bytes are bytes
        self._counted = False  # among the target's open connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and count the connection."""
        self._counted = True
        self.target.opened += 1
        self.transport = cast("asyncio.Transport", transport)

    def forget(self) -> None:
        """Count the connection no more: it is closed, or was given up while it was being made."""
        if self._counted:
            self._counted = False
            self.target.opened -= 1

    def send(self, client: ClientConnection, request: bytes) -> None:
        """Send the head of `client`'s request, and what of its body is there."""
        self.client = client
        self._interim = 0
        self.transport.write(request)

    def close(self) -> None:
        """Close; the connection is no longer anybody's."""
        self.client = None
        self.transport.close()

    def abort(self) -> None:
        """Close at once, without sending what is buffered: nobody waits for the answer."""
        self.client = None
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer; bytes that answer nothing cost the connection (RFC 9112 9.3.2).

        The common case, a plain answer that came whole, is written out here.
        """
        client = self.client
        if client is None:
            self._pool_forget()
            self.transport.abort()
            return
        if self._body is None and not self._buffer and not client.asks_head and not self._tunnel:
            reader, gateway = self._reader, self._gateway
            end = reader.read_plain(data)
            if end and not (end > gateway.surely_few_bytes and gateway.is_too_large(data[:end])):
                if len(data) - end != reader.length or client.write_paused or not client.takes_plainly:
                    client.touched = gateway.now
                    self._answer(client, data[end:])
                    return
                featured = client.featured
                if featured is None:
                    client.transport.write(reader.render_whole(data, end))
                elif featured.takes_over(reader):
                    client.detach()
                    self.abort()
                    return
                else:
                    client.answered = True
                    featured.exchange.body_bytes += reader.length
                    head = reader.render(featured.answer_lines, chunked=False, dropped=featured.answer_dropped)
                    client.transport.write(head + data[end:])
                self.client = None
                self.reused = True
                if self.transport.is_closing() or not self._pool.release(self, gateway.now):
                    self.transport.close()
                client.answer_complete()
                return
        self._take_more(client, data)

    def _take_more(self, client: ClientConnection, data: bytes) -> None:
        client.touched = self._gateway.now
        if self._tunnel:
            client.transport.write(data)
            return
        try:
            if self._body is not None:
                self._stream(client, data)
            else:
                self._read_head(client, self._buffer + data if self._buffer else data)
        except ProtocolError as error:
            self.abort()
            client.upstream_failed(502, f"invalid answer from the upstream: {error}")

    def _read_head(self, client: ClientConnection, data: bytes) -> None:
        """Read the head of the final answer, after any number of interim ones."""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4:
            self._hold(data)
            return
        self._buffer = b""
        reader = self._reader
        head = data if end == len(data) else data[:end]
        if self._gateway.is_too_large(head):
            raise ProtocolError("head too large")
        reader.read(head, client.asks_head)
        if reader.status < 200:
            self._relay_interim(client, data[end:])
        else:
            self._answer(client, data[end:])

    def _answer(self, client: ClientConnection, rest: bytes) -> None:
        """Pass on the answer whose head was read, or drop it for another attempt."""
        reader = self._reader
        if client.featured is not None and client.featured.takes_over(reader):
            client.detach()
            self.abort()
        elif reader.length >= 0:
            self._answer_sized(client, rest)
        else:
            self._answer_streamed(client, rest)

    def _hold(self, data: bytes) -> None:
        """Keep part of a head, unless it cannot become one."""
        start = b"HTTP/1."
        if data[:7] != start[: len(data)]:
            raise ProtocolError("not an HTTP/1.1 answer")
        if self._gateway.is_too_large(data):
            raise ProtocolError("head too large")
        if BARE_LF(data):
            raise ProtocolError("a line of the head ends in a bare LF")
        self._buffer = data

    def _relay_interim(self, client: ClientConnection, rest: bytes) -> None:
        """Relay 100, 103 and others (RFC 9110 15.2); 101 answers an offer that was never forwarded."""
        if self._reader.status == 101:
            self._begin_tunnel(client, rest)
            return
        self._interim += 1
        if self._interim > _INTERIM_LIMIT:
            raise ProtocolError(f"more than {_INTERIM_LIMIT} interim answers")
        client.relay_interim(self._reader.render(b"", chunked=False))
        if rest:
            self._read_head(client, rest)

    def _begin_tunnel(self, client: ClientConnection, rest: bytes) -> None:
        """Change protocols if the client's offer was passed on and taken up as it stood (RFC 9110 7.8)."""
        featured, reader = client.featured, self._reader
        if featured is None or not featured.upgrade or reader.protocol != featured.upgrade:
            raise ProtocolError("101 without a matching Upgrade")
        featured.takes_over(reader)
        lines = b"Connection: upgrade\r\nUpgrade: %b\r\n" % featured.upgrade
        self._tunnel = True
        early = client.begin_tunnel(reader.render(lines + featured.answer_lines, chunked=False))
        if early:
            self.transport.write(early)
        if rest:
            client.transport.write(rest)

    def _answer_sized(self, client: ClientConnection, rest: bytes) -> None:
        """Pass on an answer whose length is known; the common one is here whole."""
        reader = self._reader
        head = reader.render(client.answer_begins(), chunked=False, dropped=client.answer_dropped)
        missing = reader.length - len(rest)
        if missing > 0:
            self._body = body = SizedBody(reader.length)
            client.send_body(head, body.read(rest) if rest else b"", sized=True)
            return
        if missing < 0:
            reader.keep_alive = False
            rest = rest[: reader.length]
        client.send_body(head, rest, sized=True)
        self._finish(client)

    def _answer_streamed(self, client: ClientConnection, rest: bytes) -> None:
        """Pass on an answer of unknown length: in chunks, or up to the close for HTTP/1.0.

        What came with the head is read before the client is told anything: broken chunks there are still a 502.
        """
        self._body = body = ChunkedBody() if self._reader.length == CHUNKED else ClosedBody()
        payload = body.read(rest) if rest else b""
        trailers = body.trailers(self._reader.named) if body.complete else b""
        own = client.answer_begins(until_close=True)
        head = self._reader.render(own, chunked=client.takes_chunks, dropped=client.answer_dropped)
        self._pass_on(client, head, payload, trailers)

    def _stream(self, client: ClientConnection, data: bytes) -> None:
        body = cast("Body", self._body)
        payload = body.read(data)
        self._pass_on(client, b"", payload, body.trailers(self._reader.named) if body.complete else b"")

    def _pass_on(self, client: ClientConnection, head: bytes, payload: bytes, trailers: bytes) -> None:
        body = cast("Body", self._body)
        sized = self._reader.length >= 0
        if not body.complete:
            client.send_body(head, payload, sized=sized)
            return
        if body.rest:
            self._reader.keep_alive = False
        client.send_body(head, payload, sized=sized, last=True, trailers=trailers)
        self._finish(client)

    def _finish(self, client: ClientConnection) -> None:
        """End the exchange: the connection returns to its pool if nothing on it is in doubt."""
        self.client = None
        self._body = None
        transport = self.transport
        if client.uploading:
            transport.abort()  # the rest of the request will not come: RFC 9110 10.1.1
        elif not self._reader.keep_alive or transport.is_closing() or self._gateway.draining:
            transport.close()
        else:
            self._release(client)
        client.answer_complete()

    def _release(self, client: ClientConnection) -> None:
        if client.write_paused:
            self.transport.resume_reading()
        self.reused = True
        if not self._pool.release(self, self._gateway.now):
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, fail or repeat what was under way; a body without a length ends here (RFC 9112 6.3, 8)."""
        self.forget()
        client, self.client = self.client, None
        if client is None:
            self._pool_forget()
        elif self._tunnel:
            client.end_tunnel()
        elif self._body is not None:
            self._end_body(client, exc)
        elif self.reused and not self._buffer and client.repeat():
            return
        else:
            client.upstream_failed(502, "the upstream closed the connection before its answer")

    def _end_body(self, client: ClientConnection, exc: Exception | None) -> None:
        if self._reader.length == UNTIL_CLOSE and exc is None:
            client.send_body(b"", b"", sized=False, last=True)
            client.answer_complete()
        else:
            client.upstream_failed(502, "the upstream cut its answer off")

    def _pool_forget(self) -> None:
        if self in self.target.idle:
            self.target.idle.remove(self)

    def pause_writing(self) -> None:
        """The upstream takes the request slowly: let the client wait."""
        if self.client is not None:
            self.client.pause_upload()

    def resume_writing(self) -> None:
        """The upstream takes more: let the client send on."""
        if self.client is not None:
            self.client.resume_upload()
