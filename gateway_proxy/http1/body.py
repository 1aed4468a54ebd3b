"""Bodies as they stream: where one ends, what of it is payload, and chunk framing (RFC 9112 6, 7)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from gateway_proxy.http1.errors import ProtocolError
from gateway_proxy.http1.fields import NONE, clean_trailers

LAST_CHUNK = b"0\r\n\r\n"
_LINE_LIMIT_BYTES = 4096
_TRAILERS_LIMIT_BYTES = 65536
# A size in hex without sign, space or underscore, and extensions without controls: RFC 9112 7.1.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t !-~\x80-\xff]*)?\Z")


class Body(Protocol):
    """A body being read: `read` returns payload, and once `complete`, `rest` is what followed the body."""

    complete: bool
    rest: bytes

    def read(self, data: bytes) -> bytes:
        """Return the payload in `data`. Raises ProtocolError when the framing is broken."""

    def trailers(self, owned: frozenset[bytes] = NONE) -> bytes:
        """Return the trailer fields that may travel on, as whole lines, without those that are `owned` by this hop."""


class SizedBody:
    """A body of `left` bytes."""

    __slots__ = ("complete", "left", "rest")

    def __init__(self, left: int) -> None:
        self.left = left
        self.complete = left == 0
        self.rest = b""

    def read(self, data: bytes) -> bytes:
        """Return the payload in `data`."""
        if len(data) > self.left:
            self.rest = data[self.left :]
            data = data[: self.left]
        self.left -= len(data)
        self.complete = self.left == 0
        return data

    def trailers(self, owned: frozenset[bytes] = NONE) -> bytes:  # noqa: ARG002 - of the protocol
        """Return nothing: only chunked bodies have trailers."""
        return b""


class ClosedBody:
    """A body that ends when the connection closes (RFC 9112 6.3)."""

    __slots__ = ("complete", "rest")

    def __init__(self) -> None:
        self.complete = False
        self.rest = b""

    def read(self, data: bytes) -> bytes:
        """Return `data`: all of it is payload."""
        return data

    def trailers(self, owned: frozenset[bytes] = NONE) -> bytes:  # noqa: ARG002 - of the protocol
        """Return nothing: only chunked bodies have trailers."""
        return b""


class ChunkedBody:
    """A chunked body, read strictly: a parser that is generous here disagrees with the next one about where it ends."""

    __slots__ = ("_at", "_buffer", "_left", "_trailers", "_trailers_bytes", "_where", "complete", "rest")

    def __init__(self) -> None:
        self.complete = False
        self.rest = b""
        self._buffer = b""
        self._at = 0  # how much of the buffer is read; cutting it at every chunk would cost its square
        self._left = 0
        self._trailers: list[bytes] = []
        self._trailers_bytes = 0
        # Functions and not bound methods: those would be cycles, which wait for the garbage collector.
        self._where: Callable[[ChunkedBody, list[bytes]], bool] = ChunkedBody._size

    def read(self, data: bytes) -> bytes:
        """Return the payload in `data`. Raises ProtocolError when the framing is broken."""
        self._buffer = self._buffer + data if self._buffer else data
        payload: list[bytes] = []
        while not self.complete and self._where(self, payload):
            pass
        self._buffer = self._buffer[self._at :]
        self._at = 0
        if self.complete:
            self.rest, self._buffer = self._buffer, b""
        return payload[0] if len(payload) == 1 else b"".join(payload)

    def trailers(self, owned: frozenset[bytes] = NONE) -> bytes:
        """Return the trailer fields that may travel on. Raises ProtocolError when they are not valid fields."""
        return clean_trailers(b"".join(self._trailers), owned)

    def _line(self, limit: int) -> bytes | None:
        end = self._buffer.find(b"\n", self._at)
        if (len(self._buffer) if end < 0 else end) - self._at > limit:
            raise ProtocolError("line too long in chunk framing")
        if end < 0:
            return None
        line = self._buffer[self._at : end]
        if line[-1:] != b"\r":
            raise ProtocolError("bare LF in chunk framing")
        self._at = end + 1
        return line[:-1]

    def _size(self, _payload: list[bytes]) -> bool:
        line = self._line(_LINE_LIMIT_BYTES)
        if line is None:
            return False
        match = _SIZE_LINE.match(line)
        if match is None:
            raise ProtocolError("invalid chunk size")
        self._left = int(match[1], 16)
        self._where = ChunkedBody._data if self._left else ChunkedBody._trailer
        return True

    def _data(self, payload: list[bytes]) -> bool:
        piece = self._buffer[self._at : self._at + self._left]
        if not piece:
            return False
        payload.append(piece)
        self._at += len(piece)
        self._left -= len(piece)
        if self._left == 0:
            self._where = ChunkedBody._data_end
        return True

    def _data_end(self, _payload: list[bytes]) -> bool:
        end = self._buffer[self._at : self._at + 2]
        if not b"\r\n".startswith(end):
            raise ProtocolError("chunk is longer than its size")
        if len(end) < 2:
            return False
        self._at += 2
        self._where = ChunkedBody._size
        return True

    def _trailer(self, _payload: list[bytes]) -> bool:
        line = self._line(_TRAILERS_LIMIT_BYTES)
        if line is None:
            return False
        if line:
            self._keep_trailer(line + b"\r\n")
        else:
            self.complete = True
        return True

    def _keep_trailer(self, line: bytes) -> None:
        self._trailers.append(line)
        self._trailers_bytes += len(line)
        if self._trailers_bytes > _TRAILERS_LIMIT_BYTES:
            raise ProtocolError("trailer section too large")


def chunk(payload: bytes) -> bytes:
    """Return `payload` as one chunk; nothing for no payload, as an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


def last_chunk(trailers: bytes = b"") -> bytes:
    """Return the end of a chunked body; `trailers` are whole lines."""
    return b"0\r\n%b\r\n" % trailers if trailers else LAST_CHUNK
