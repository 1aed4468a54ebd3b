"""Reads answers' heads and writes them anew for the client."""

from __future__ import annotations

from gateway_proxy.http1.errors import ProtocolError
from gateway_proxy.http1.fields import (
    CHUNKED,
    HOP_BY_HOP,
    NONE,
    PSEUDONYM,
    UNTIL_CLOSE,
    Framing,
    cut_named,
    joined,
    lines_of,
    nameable,
    persists,
    split_list,
)
from gateway_proxy.http1.grammar import ANSWER, ANSWER_FIELDS, PLAIN_ANSWER

_LENGTH_FIELD = frozenset({b"content-length"})
_CODING_FIELD = frozenset({b"transfer-encoding"})
_ZERO, _SPACE = b"0 "


class ResponseReader:
    """Reads the answers' heads of one upstream connection; every reading replaces what the last one left.

    `length` is the body's in bytes, CHUNKED or UNTIL_CLOSE, with 0 where no body may follow (RFC 9112 6.3).
    `protocol` is what a 101 switches to, `named` the fields that Connection drops beyond the usual; lower case.
    """

    __slots__ = (
        "_cut",
        "_framed",
        "_head",
        "_options",
        "_plain",
        "_tail",
        "_via",
        "_with_via",
        "keep_alive",
        "length",
        "named",
        "protocol",
        "status",
    )

    def __init__(self, via: bool = True) -> None:
        self._with_via = via
        self._tail = b"Via: 1.1 %b\r\n\r\n" % PSEUDONYM if via else b"\r\n"
        self._head = self._via = self.protocol = b""
        self._cut = self._options = self.named = NONE
        self._plain = False
        self.status = self.length = self._framed = 0
        self.keep_alive = False

    @property
    def head(self) -> bytes:
        """The head as it came, or as much of it as matters."""
        return self._head

    def read_plain(self, data: bytes) -> int:
        """Take the head at the start of `data` if it is whole and plain; return its length, or 0 if it is not.

        Not for answers to HEAD, whose length is not their body's.
        """
        match = PLAIN_ANSWER(data)
        if match is None:
            return 0
        status, before, length, after = match.groups()
        if status in (b"204", b"304"):
            return 0
        self.status = int(status)
        self.length = self._framed = int(length)
        self.keep_alive = self._plain = True
        self.named = NONE
        end = match.end()
        if before is None and after is None:
            self._head = data[:end]
        else:
            self._head = _without(data[:end], *(match.span(group) for group in (2, 4)))
        return end

    def read(self, head: bytes, answers_head: bool = False) -> None:
        """Take one head, up to and including its empty line. Raises ProtocolError when it is not valid."""
        match = ANSWER(head)
        if match is None or match.end() != len(head):
            raise ProtocolError("not an HTTP/1.1 answer")
        http10 = match[1] == b"0"
        self._head = head
        self._plain = False
        self.status = int(match[2])
        if self.status < 100:
            raise ProtocolError(f"status {self.status}")
        self._read_fields(head, http10)
        self.keep_alive = self.length != UNTIL_CLOSE and persists(self._options, http10)
        if answers_head or self.status < 200 or self.status in (204, 304):
            self.keep_alive = persists(self._options, http10)
            self.length = 0

    def _read_fields(self, head: bytes, http10: bool) -> None:
        framing = Framing()
        self._via = self.protocol = b""
        self._options = NONE
        for low, value in lines_of(head, ANSWER_FIELDS):
            if low == b"content-length":
                framing.take_length(value)
            elif low == b"transfer-encoding":
                framing.take_coding(value)
            elif low == b"connection":
                self._options |= split_list(value.lower())
            elif low == b"via":
                self._via = joined(self._via, value)
            elif low == b"upgrade":
                self.protocol = value.lower()
        if framing.coding is not None and http10:
            raise ProtocolError("transfer coding in HTTP/1.0")
        settled = framing.settle()
        self.length = self._framed = UNTIL_CLOSE if settled is None else settled
        self.named = nameable(self._options)
        self._cut = HOP_BY_HOP | self.named | (frozenset({b"via"}) if self._with_via else NONE)

    def render_whole(self, data: bytes, end: int) -> bytes:
        """Return the plain answer whose head is the first `end` bytes of `data`, with its body, for the client."""
        return b"".join((self._head[:-2], self._tail, data[end:]))

    def render(self, extra: bytes, chunked: bool, dropped: frozenset[bytes] = NONE) -> bytes:
        """Return the head for the client in HTTP/1.1, with the whole lines of `extra`, without the fields `dropped`.

        `chunked` says that a body of unknown length will be sent in chunks, and not up to the close.
        """
        if self._plain:
            head = cut_named(self._head, dropped) if dropped else self._head
            return b"%b%b%b" % (head[:-2], extra, self._tail)
        head = cut_named(self._head, self._cut | dropped)
        if self._framed < 0 or self.status < 200 or self.status == 204:
            head, extra = self._frame(head, extra, chunked)
        if head[7] == _ZERO or head[12] != _SPACE:
            head = _status_line(head)
        return b"%b%b%b\r\n" % (head[:-2], self._via_line(), extra)

    def _frame(self, head: bytes, extra: bytes, chunked: bool) -> tuple[bytes, bytes]:
        """Announce the framing of this hop, and none where no body may follow (RFC 9110 8.6, RFC 9112 6.1)."""
        if self._framed == CHUNKED and not chunked:
            head = cut_named(head, _CODING_FIELD)
        elif self._framed == UNTIL_CLOSE and chunked:
            extra += b"Transfer-Encoding: chunked\r\n"
        elif self._framed >= 0:
            head = cut_named(head, _LENGTH_FIELD)
        return head, extra

    def _via_line(self) -> bytes:
        if not self._with_via:
            return b""
        own = (b"1.0 " if self._head[7] == _ZERO else b"1.1 ") + PSEUDONYM
        return b"Via: %b\r\n" % joined(self._via, own)


def _without(head: bytes, *spans: tuple[int, int]) -> bytes:
    """Return `head` without these stretches, which stand in order; (-1, -1) is none."""
    for start, end in reversed(spans):
        if start >= 0:
            head = head[:start] + head[end:]
    return head


def _status_line(head: bytes) -> bytes:
    """Write an HTTP/1.0 or reason-less status line as HTTP/1.1 has it: version, code, space, reason."""
    space = b"" if head[12:13] == b" " else b" "
    return b"HTTP/1.1 %b%b%b" % (head[9:12], space, head[12:])
