"""One client's connection: reads requests, hands each to an upstream connection, and sends the answers in order.

Nothing here waits: a request is read, judged, routed and written to an idle upstream connection within one call of
`data_received`. A task exists only while a new upstream connection is dialled. The common case, a request that came
whole, without a body, to a route that only forwards, is written out in `data_received` itself: every call costs.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

from gateway_proxy.answers import local_answer
from gateway_proxy.dialling import Dial
from gateway_proxy.exchange import Refusal
from gateway_proxy.featured import Featured
from gateway_proxy.http1 import (
    BARE_LF,
    CHUNKED,
    Body,
    ChunkedBody,
    ProtocolError,
    RequestReader,
    SizedBody,
    chunk,
    last_chunk,
)

if TYPE_CHECKING:
    from gateway_proxy.pool import Pool, Target
    from gateway_proxy.routes import Route, Timeouts
    from gateway_proxy.state import Gateway
    from gateway_proxy.upstream import UpstreamConnection

_IDLE, _BUSY, _LINGERING, _TUNNEL, _CLOSED = range(5)
_HELD_LIMIT_BYTES = 65536
_LINGER_S = 2.0
_LAST_REQUEST_S = 0.5  # a new connection may take to its request when the gateway stops
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close with RST
_NOTHING: frozenset[bytes] = frozenset()
_REPEATABLE = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})  # RFC 9110 9.2.2


class ClientConnection(asyncio.Protocol):
    """Idle between requests, busy with one, lingering (answered, while the client still sends), or a tunnel."""

    __slots__ = (
        "_began",
        "_body",
        "_buffer",
        "_dial",
        "_gateway",
        "_head_begun",
        "_held",
        "_interim",
        "_looping",
        "_persists",
        "_pool",
        "_reading_paused",
        "_repeatable",
        "_request",
        "_state",
        "_taken_bytes",
        "_timeouts",
        "_unsent_bytes",
        "_upload_paused",
        "_upstream",
        "answered",
        "asks_head",
        "featured",
        "reader",
        "takes_chunks",
        "touched",
        "transport",
        "write_paused",
    )

    transport: asyncio.Transport
    reader: RequestReader
    _pool: Pool
    _timeouts: Timeouts

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._state = _IDLE
        self._buffer = b""
        self._looping = False
        self._upstream: UpstreamConnection | None = None
        self._dial: Dial | None = None
        self._body: Body | None = None  # of the request, as long as more of it is to come
        self._held: list[bytes] = []  # of the request, until there is an upstream connection
        self._request = b""
        self.featured: Featured | None = None  # the request under way, if its route does more than forward
        self._repeatable = self._persists = self.answered = self.asks_head = False
        self._interim = self._head_begun = False
        self.takes_chunks = True
        self.write_paused = self._reading_paused = self._upload_paused = False
        self._taken_bytes = self._unsent_bytes = 0
        self.touched = self._began = gateway.now

    @property
    def uploading(self) -> bool:
        """Whether more of the request's body is to come."""
        return self._body is not None

    # -- the connection ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the client, or answer 503 when the gateway is full."""
        self.transport = cast("asyncio.Transport", transport)
        gateway = self._gateway
        peer = transport.get_extra_info("peername")
        self.reader = RequestReader(gateway.hop(peer[0] if isinstance(peer, tuple) else "unknown"))
        full = len(gateway.clients) >= gateway.config.limits.connections
        gateway.clients.add(self)
        if full:
            self._refuse(503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Cancel what was under way for the client: nobody is there to take the answer."""
        tunnel = self._state == _TUNNEL
        self._state = _CLOSED
        self._buffer = b""
        self._end("ok" if tunnel else "client_gone")
        if tunnel and self._upstream is not None:
            self._upstream.close()  # what the client sent last still goes out
        self._drop_upstream()
        self._gateway.forget(self)

    def eof_received(self) -> bool:
        """Take the client's FIN as its going away: it cannot be told from a vanished client before it is too late.

        One that only closed its half still reads: what it has of an answer must not look whole (RFC 9112 8).
        """
        if self._state == _BUSY and self.answered:
            self._end("client_gone")
            self.abort()
        return False

    def abort(self) -> None:
        """Drop the connection with a reset, so that a truncated answer cannot look like a whole one (RFC 9112 8)."""
        self._state = _CLOSED
        self._end("aborted")
        self._drop_upstream()
        sock = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def drain(self) -> None:
        """Close when idle; otherwise the request in flight is the last one.

        A connection that was just made may have a request on its way and gets a moment; `_persists` is set by the
        first request.
        """
        if self._state == _IDLE and not self._buffer and self._persists:
            self._close()

    def _close(self) -> None:
        self._state = _CLOSED
        self.touched = self._gateway.now
        self._drop_upstream()
        self.transport.close()

    def _drop_upstream(self) -> None:
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()

    def _end(self, outcome: str) -> None:
        """End the exchange for the route's features."""
        featured, self.featured = self.featured, None
        if featured is not None:
            featured.end(outcome)

    # -- requests ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes: of a head, of the body under way, or of a request that has to wait its turn."""
        if self._state != _IDLE or self._buffer or self.write_paused:
            self._take_more(data)
            return
        gateway, reader = self._gateway, self.reader
        try:
            end = reader.read_plain(data)
        except ProtocolError:
            end = 0  # which is said by the long way
        if not end or (end > gateway.surely_few_bytes and gateway.is_too_large(data[:end])):
            self._begin_slowly(data)
            return
        self.touched = self._began = gateway.now
        self.answered = self._interim = False
        self._persists = self.takes_chunks = True
        method = reader.method
        self.asks_head = method == b"HEAD"
        route = gateway.routes.find(reader)
        if route is None or end != len(data) or reader.length or reader.target == gateway.health_path:
            self._buffer = data[end:]
            self._take_route(route)
            return
        self._repeatable = method != b"POST" and method != b"PATCH"  # noqa: PLR1714 - cheaper than a tuple's search
        self._timeouts = route.timeouts
        self._pool = pool = route.pool
        if not route.plain:
            self._state = _BUSY
            self.featured = featured = Featured(self, gateway, route)
            featured.begin(b"")
            return
        target = pool.single or pool.next_target()
        self._request = request = reader.render(target.authority)
        self._state = _BUSY
        self._send_to(target, request)

    def _take_more(self, data: bytes) -> None:
        if self._state == _IDLE and not self.write_paused:
            self._begin_slowly(data)
        elif self._state == _IDLE:
            self._wait_its_turn(data)
        elif self._state == _BUSY:
            if self._body is not None:
                self.touched = self._gateway.now
                self._upload(data)
            else:
                self._wait_its_turn(data)
        elif self._state == _TUNNEL and self._upstream is not None:
            self.touched = self._gateway.now
            self._upstream.transport.write(data)

    def _begin_slowly(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        self._advance()

    def _wait_its_turn(self, data: bytes) -> None:
        """Hold pipelined bytes, up to a limit: they are read when the answer before them is sent (RFC 9112 9.3.2)."""
        self._buffer += data
        if len(self._buffer) > _HELD_LIMIT_BYTES:
            self._pause_reading()

    def _read_on(self) -> None:
        """Read the client again when there is room for what it pipelines."""
        if len(self._buffer) <= _HELD_LIMIT_BYTES:
            self._resume_reading()

    def _advance(self) -> None:
        """Begin the requests in the buffer, one after another, as long as each is answered at once."""
        if self._looping:
            return
        self._looping = True
        try:
            while self._state == _IDLE and self._buffer and not self.write_paused:
                if not self._begin_next():
                    break
        finally:
            self._looping = False

    def _begin_next(self) -> bool:
        """Begin the request at the start of the buffer; False when its head is not there in full."""
        data = self._buffer
        if data[0] == 13 or data[0] == 10:
            data = data.lstrip(b"\r\n")  # RFC 9112 2.2
            if not data:
                self._buffer = data
                return False
        end = data.find(b"\r\n\r\n") + 4
        gateway = self._gateway
        if end < 4:
            self._hold_head(data, gateway.head_bytes)
            return False
        self.touched = self._began = gateway.now
        self._head_begun = False
        if end == len(data):
            head, self._buffer = data, b""
        else:
            head, self._buffer = data[:end], data[end:]
        if gateway.is_too_large(head):
            self._refuse(431, "head too large")
        else:
            self._begin(head)
        return True

    def _hold_head(self, data: bytes, limit: int) -> None:
        """Wait for the rest of a head; its time runs from its first byte, so that dripping does not extend it."""
        if not self._head_begun:
            self._head_begun = True
            self.touched = self._gateway.now
        self._buffer = data
        self._resume_reading()
        if len(data) > limit:
            self._refuse(431, "head too large")
        elif BARE_LF(data):
            self._refuse(400, "a line of the head ends in a bare LF")

    def _begin(self, head: bytes) -> None:
        reader = self.reader
        self.answered = self._interim = False
        try:
            if not reader.read_plain(head):
                reader.read(head)
        except ProtocolError as error:
            self.asks_head = reader.method == b"HEAD"
            self._refuse(error.status, str(error))
            return
        self.asks_head = reader.method == b"HEAD"
        self.takes_chunks = not reader.http10
        self._persists = reader.keep_alive
        self._take_route(self._gateway.routes.find(reader))

    def _take_route(self, route: Route | None) -> None:
        """Answer here, or forward by the route; what is there of the request's body is in the buffer."""
        if self.reader.target == self._gateway.health_path:
            self._answer_here(200, "ok")
        elif route is None:
            self._answer_here(404, "no route for this path")
        else:
            self._start_features(route)
            self._timeouts = route.timeouts
            self._take_body(route)

    def _start_features(self, route: Route) -> None:
        if not route.plain:
            self.featured = Featured(self, self._gateway, route)

    def _answer_here(self, status: int, why: str) -> None:
        """Answer without an upstream; a body that would go nowhere is not read."""
        if self.reader.length:
            self._refuse(status, why)
        else:
            self._answer(status, why)

    def _take_body(self, route: Route) -> None:
        """Take what is there of the body and forward; a body that is announced to be too large is refused at once."""
        limit = self._gateway.config.limits.body_bytes
        length = self.reader.length
        if limit is not None and length > limit:
            self._refuse(413, f"body of more than {limit} bytes")
            return
        first = b""
        if length:
            self._body = ChunkedBody() if length == CHUNKED else SizedBody(length)
            self._taken_bytes = 0
            data, self._buffer = self._buffer, b""
            try:
                first = self._take(data) if data else b""
            except ProtocolError as error:
                self._refuse(error.status, str(error))
                return
        self._forward(route, first)

    def _forward(self, route: Route, first: bytes) -> None:
        """Send the request to an idle connection of the pool, or have one dialled; `first` is of its body."""
        self._state = _BUSY
        self._pool = pool = route.pool
        self._repeatable = self._body is None and self.reader.method in _REPEATABLE
        if self.featured is not None:
            self.featured.begin(first)
            return
        target = pool.next_target()
        head = self.reader.render(target.authority)
        self._request = head + first if first else head
        self._send_to(target, self._request)

    def send_featured(self, pool: Pool, target: Target, request: bytes, again: bool) -> None:
        """Send a request, changed or not, for the features of its route; `again` with all that is there of its body."""
        if again:
            self._held = []
        self._pool = pool
        self._request = request
        self.touched = self._gateway.now
        self._send_to(target, request)

    def _send_to(self, target: Target, request: bytes) -> None:
        idle = target.idle
        while idle:
            connection = idle.pop()
            if not connection.transport.is_closing():
                self._upstream = connection
                connection.send(self, request)
                if self._held or self._upload_paused:
                    self._flush_held(connection)
                return
        self._dial_for(target)

    def _dial_for(self, target: Target) -> None:
        self._dial = Dial(
            self._gateway, self._pool, target, self._timeouts.connect_s, self._connected, self._not_connected
        )

    def _connected(self, connection: UpstreamConnection) -> None:
        self._dial = None
        self.touched = self._gateway.now
        self._upstream = connection
        if self.featured is not None:
            self.featured.connected(connection.target)
        connection.send(self, self._request)
        self._flush_held(connection)

    def _not_connected(self, status: int, why: str) -> None:
        self._dial = None
        self.upstream_failed(status, why)

    def _flush_held(self, connection: UpstreamConnection) -> None:
        if self._held:
            connection.transport.write(b"".join(self._held))
            self._held = []
        if self._upload_paused:
            self.resume_upload()

    def repeat(self) -> bool:
        """Send the request again, on a new connection, if that can do no harm; False if it can.

        Only for a reused connection that died before any byte of an answer: the request met the close of an idle
        connection (RFC 9112 9.3.1). Never for a method that is not idempotent or a body that is gone.
        """
        if not self._repeatable or self._interim or self.answered:
            return False
        self._repeatable = False
        self._upstream = None
        target = None if self.featured is None else self.featured.target
        self._dial_for(target or self._pool.next_target())
        return True

    # -- the request's body --------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> bytes:
        """Return body bytes as they go upstream; at the end of the body, what follows waits in the buffer."""
        body = cast("Body", self._body)
        payload = body.read(data)
        self._taken_bytes += len(payload)
        limit = self._gateway.config.limits.body_bytes
        if limit is not None and self._taken_bytes > limit:
            raise ProtocolError(f"body of more than {limit} bytes", 413)
        if isinstance(body, ChunkedBody):
            payload = chunk(payload)
            if body.complete:
                owned = _NOTHING if self.featured is None else self.featured.request_owned
                payload += last_chunk(body.trailers(owned | self.reader.named))
        if body.complete:
            self._buffer = body.rest
            self._body = None
        return payload

    def _upload(self, data: bytes) -> None:
        try:
            payload = self._take(data)
        except ProtocolError as error:
            self._drop_upstream()
            self._fail(error.status, str(error))
            return
        if self.featured is not None:
            self.featured.uploaded(payload)
        if self._upstream is not None:
            self._upstream.transport.write(payload)
        else:
            self._held.append(payload)
            self.pause_upload()

    def pause_upload(self) -> None:
        """Stop reading the client until the upstream takes more."""
        self._upload_paused = True
        self._pause_reading()

    def resume_upload(self) -> None:
        """Read the client again."""
        self._upload_paused = False
        self._resume_reading()

    def _pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_paused and not self.transport.is_closing():
            self._reading_paused = False
            self.touched = self._gateway.now
            self.transport.resume_reading()

    # -- the answer ----------------------------------------------------------------------------------------------

    @property
    def takes_plainly(self) -> bool:
        """Whether a whole answer may be passed on as it is, with nothing to note but its end."""
        return self._persists and self.takes_chunks and self._body is None and not self._gateway.draining

    @property
    def answer_dropped(self) -> frozenset[bytes]:
        """The fields (lower case) that the upstream may not send to the client."""
        return _NOTHING if self.featured is None else self.featured.answer_dropped

    def relay_interim(self, head: bytes) -> None:
        """Pass on a 1xx answer, which HTTP/1.0 does not know (RFC 9110 15.2)."""
        self._interim = True
        if self.takes_chunks:
            self.transport.write(head)

    def answer_begins(self, until_close: bool = False) -> bytes:
        """Note that the final answer begins, and return the fields that this hop adds to it as whole lines."""
        self.answered = True
        if self._body is not None or self._gateway.draining or (until_close and not self.takes_chunks):
            self._persists = False
        lines = b"" if self.featured is None else self.featured.answer_lines
        if not self._persists:
            return lines + b"Connection: close\r\n"
        return lines if self.takes_chunks else lines + b"Connection: keep-alive\r\n"

    def send_body(self, head: bytes, payload: bytes, sized: bool, last: bool = False, trailers: bytes = b"") -> None:
        """Send body bytes, in the framing that the head announced, in one write with the head if that is not sent."""
        if self.featured is not None:
            self.featured.exchange.body_bytes += len(payload)
        if not sized and self.takes_chunks:
            payload = chunk(payload)
            if last:
                payload += last_chunk(trailers)
        if head or payload:
            self.transport.write(head + payload)

    def answer_complete(self) -> None:
        """End the exchange and begin the next one."""
        self._upstream = None
        self._request = b""
        self.touched = self._gateway.now
        if self.featured is not None:
            self._end("ok")
        if self._body is not None:
            self._linger()
        elif not self._persists or self._gateway.draining:
            self._close()
        else:
            self._state = _IDLE
            if self._reading_paused:
                self._upload_paused = False
                self._read_on()
            if self._buffer:
                self._advance()

    def upstream_failed(self, status: int, why: str) -> None:
        """Answer for the upstream, or try again, or abort an answer that has begun."""
        self._upstream = None
        if self._state == _BUSY and not (self.featured is not None and self.featured.failed(status)):
            self._fail(status, why)

    def _fail(self, status: int, why: str) -> None:
        """Answer in the upstream's place; an answer that has begun must not look complete (RFC 9112 8)."""
        if self.answered:
            self.abort()
        elif self._body is not None:
            self._refuse(status, why)
        else:
            self._answer(status, why)

    def refuse_featured(self, refusal: Refusal) -> None:
        """Answer as a feature of the route wants it."""
        if self._body is not None:
            self._refuse(*refusal)
        else:
            self._answer(*refusal)

    def _answer(self, status: int, why: str, lines: bytes = b"") -> None:
        """Answer in the upstream's place and go on."""
        self._write_own(status, why, lines)
        self.answer_complete()

    def _refuse(self, status: int, why: str, lines: bytes = b"") -> None:
        """Answer and close: where the next request would begin is unknown, or not worth reading up to."""
        self._persists = False
        self._buffer = b""
        self._write_own(status, why, lines)
        self._linger()

    def _write_own(self, status: int, why: str, lines: bytes) -> None:
        if self.featured is None:
            self._start_features(self._gateway.unrouted)
        if self.featured is not None:
            self.featured.answered_here(status)
        self._held = []
        answer = local_answer(status, why, lines + self.answer_begins(), self.asks_head)
        if self.featured is not None:
            self.featured.exchange.body_bytes = len(answer) - answer.find(b"\r\n\r\n") - 4
        self.transport.write(answer)

    def _linger(self) -> None:
        """Close our half and discard what the client still sends: a reset could overtake the answer (RFC 9112 9.6)."""
        self._state = _LINGERING
        self._body = None
        self._end("ok")
        self._drop_upstream()
        self.touched = self._gateway.now
        self._resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self._close()  # TLS has no half that could be closed

    def begin_tunnel(self, head: bytes) -> bytes:
        """Pass on the 101; from here on bytes are bytes. Return those that the client has sent already."""
        self.answered = True
        self._state = _TUNNEL
        self.touched = self._gateway.now
        self.transport.write(head)
        early, self._buffer = self._buffer, b""
        if self._reading_paused:
            self._resume_reading()
        return early

    def end_tunnel(self) -> None:
        """Close when the other end is gone and what it sent has gone out."""
        self._upstream = None
        self._end("ok")
        self._close()

    def detach(self) -> None:
        """Let go of the upstream connection: the request will be sent again on another one."""
        self._upstream = None

    def pause_writing(self) -> None:
        """The client takes the answer slowly: let the upstream wait."""
        self.write_paused = True
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        """The client takes more: let the upstream send on."""
        self.write_paused = False
        self.touched = self._gateway.now
        if self._upstream is not None:
            self._upstream.transport.resume_reading()
        elif self._state == _IDLE:
            self._read_on()
            if self._buffer:
                self._advance()

    # -- deadlines -----------------------------------------------------------------------------------------------

    def check_deadline(self) -> None:
        """Act on what has taken too long: 408 for the client, 504 for the upstream, a close for silence."""
        gateway = self._gateway
        waited_s = gateway.now - self.touched - gateway.tick_s
        if self._state == _BUSY and self._exchange_is_over():
            if self.featured is not None:
                self.featured.expired()
            self._drop_upstream()
            self._fail(504, "the exchange did not end in time")
            return
        if waited_s < 0:
            return
        if self._state == _IDLE:
            self._check_idle(waited_s)
        elif self._state == _LINGERING:
            if waited_s > _LINGER_S:
                self.abort()
        elif self._state == _CLOSED or self.write_paused:
            self._check_slow_reader(waited_s)
        elif self._state == _BUSY:
            self._check_busy(waited_s)
        elif waited_s > gateway.config.limits.idle_timeout_s:
            self.abort()  # a tunnel in which nothing moves

    def _exchange_is_over(self) -> bool:
        limit_s = self._timeouts.exchange_s
        return limit_s is not None and self._gateway.now - self._began - self._gateway.tick_s > limit_s

    def _check_busy(self, waited_s: float) -> None:
        if self._body is not None and not self._upload_paused and not self.answered:
            if waited_s > self._gateway.config.limits.body_timeout_s:
                self._drop_upstream()
                self._refuse(408, "the body did not arrive in time")
        elif self._upstream is not None:
            limit_s = self._timeouts.idle_s if self.answered else self._timeouts.response_head_s
            if waited_s > limit_s:
                self._drop_upstream()
                self.upstream_failed(504, "the upstream did not answer in time")

    def _check_idle(self, waited_s: float) -> None:
        limits = self._gateway.config.limits
        if self._gateway.draining and not self._buffer and waited_s > _LAST_REQUEST_S:
            self._close()
            return
        if self._buffer and not self.write_paused:
            if waited_s > limits.head_timeout_s:
                self._refuse(408, "the head did not arrive in time")
        elif waited_s > limits.idle_timeout_s:
            self._close()

    def _check_slow_reader(self, waited_s: float) -> None:
        """Abort when the client has taken nothing of its answer for the body timeout."""
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent_bytes:
            self._unsent_bytes = unsent
            self.touched = self._gateway.now
        elif waited_s > self._gateway.config.limits.body_timeout_s:
            self.abort()
