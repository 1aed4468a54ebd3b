"""The server's and the gateway's half of the wire: heads read strictly and written anew for the next hop.

llhttp judges every byte of a head (RFC 9112 2.2, 5, 6) and hands over the fields; only those that decide something are
looked at here, and the rest travels as the raw bytes that came: order, case, duplicates and spaces as they were
(RFC 9110 5.2, 5.3). A field that must not travel is cut out of the raw head.
"""

import re
from types import SimpleNamespace

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpResponseParser,
)

from gateway_proxy.http1.errors import ProtocolError

PSEUDONYM = b"archbench"
CHUNKED = -1
UNTIL_CLOSE = -2

Field = tuple[bytes, bytes, bytes]  # name in lower case, name as it came, value

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"upgrade",
        b"http2-settings",
    }
)
_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
_REQUEST_NAMES = _HOP_BY_HOP | _FORWARDED | {b"host", b"content-length", b"transfer-encoding", b"via", b"expect"}
_RESPONSE_NAMES = _HOP_BY_HOP | {b"content-length", b"transfer-encoding", b"via"}
# Connection may not take away what frames or routes the message: dropping these would change its meaning.
_NOT_NAMEABLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"trailer", b"via", b"close", b""})
_TRAILER_REFUSED = _HOP_BY_HOP | _FORWARDED | {b"host", b"content-length", b"transfer-encoding", b"trailer", b"via"}
_CR, _HASH, _SPACE, _ZERO = b"\r# 0"  # an int is found in bytes several times faster than bytes are
_NONE: frozenset[bytes] = frozenset()
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]{0,5})?\Z")
_METHOD_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ ")
_ABSOLUTE = re.compile(rb"http://([^/?#]*)(.*)\Z", re.IGNORECASE | re.DOTALL)


class _Fields:
    """Feeds heads to llhttp and keeps the fields whose names were asked for."""

    __slots__ = ("_callbacks", "_execute", "_parser_type", "found")

    def __init__(self, parser_type: type[HttpRequestParser | HttpResponseParser], names: frozenset[bytes]) -> None:
        found: list[Field] = []
        append = found.append

        def on_header(name: bytes, value: bytes) -> None:
            low = name.lower()
            if low in names:
                append((low, name, value))

        self.found = found
        self._callbacks = SimpleNamespace(on_header=on_header)
        self._parser_type = parser_type
        self.renew()

    def renew(self) -> None:
        """Expect a head next: the parser was left inside a body."""
        self._execute = self._parser_type(self._callbacks).feed_data

    def skip(self, body: bytes) -> None:
        """Tell the parser of a whole body, which is cheaper than a new parser."""
        self._execute(body)

    def read(self, head: bytes) -> list[Field]:
        """Return the fields found in a whole head. Raises ProtocolError when llhttp refuses it."""
        self.found.clear()
        try:
            self._execute(head)
        except HttpParserUpgrade:
            pass  # an offer, which we do not take up
        except HttpParserInvalidMethodError:
            raise ProtocolError("method not implemented", 501 if _METHOD_LINE.match(head) else 400) from None
        except HttpParserError as error:
            raise ProtocolError(str(error)) from None
        return self.found


class RequestReader:
    """Reads the request heads of one client connection; `read` replaces what the last one left.

    `length` is the body's in bytes, or CHUNKED. `host` is None only for HTTP/1.0 without the field. `peer` is the
    client's address as X-Forwarded-For shows it. With `x_forwarded` or `via` off, those fields travel as they came.
    """

    __slots__ = (
        "_cut",
        "_fields",
        "_forwarded_for",
        "_head",
        "_kept",
        "_max_hops",
        "_named",
        "_new_host",
        "_options",
        "_peer",
        "_plain",
        "_suffix",
        "_suffix_host",
        "_via",
        "_with_via",
        "_with_x",
        "host",
        "http10",
        "keep_alive",
        "length",
        "method",
        "target",
    )

    def __init__(self, peer: str, x_forwarded: bool = True, via: bool = True, max_hops: int = 16) -> None:
        self._fields = _Fields(HttpRequestParser, _REQUEST_NAMES)
        self._peer = peer.encode("ascii")
        self._with_x = x_forwarded
        self._with_via = via
        self._max_hops = max_hops
        self._kept = (_NONE if x_forwarded else _FORWARDED) | (_NONE if via else frozenset({b"via"}))
        self._suffix_host = b"\0"  # no Host is equal to it
        self._suffix = b""
        self.method = self.target = b""
        self.http10 = False
        self.keep_alive = True
        self.length = 0

    def read(self, head: bytes) -> None:
        """Take one head, up to and including its empty line. Raises ProtocolError with the status to answer."""
        if self.length or not self.keep_alive:
            self._fields.renew()
        self.length = CHUNKED  # until it is known: a refused head leaves the parser unusable
        self.method = b""
        fields = self._fields.read(head)
        self._head = head
        self._read_line(head)
        self._read_fields(fields)
        if self.host != self._suffix_host:
            self._check_host()

    def _read_line(self, head: bytes) -> None:
        parts = head.split(b" ", 2)
        if len(parts) != 3:
            raise ProtocolError("malformed request line")
        self.method, self.target, rest = parts
        self.http10 = False
        if not rest.startswith(b"HTTP/1.1\r\n"):
            self._check_version(rest)
        self._new_host: bytes | None = None
        target = self.target
        if target[:1] != b"/" or _HASH in target or _CR in target or self.method == b"CONNECT":
            self._read_other_target()

    def _check_version(self, rest: bytes) -> None:
        if not rest.startswith(b"HTTP/"):  # llhttp lets several spaces pass; RFC 9112 3 has one
            raise ProtocolError("malformed request line")
        if not rest.startswith(b"HTTP/1.0\r\n"):
            raise ProtocolError("HTTP version not supported", 505)
        self.http10 = True

    def _read_other_target(self) -> None:
        """Take absolute-form apart, whose authority overrides Host (RFC 9112 3.2.2); allow `OPTIONS *`."""
        if self.method == b"CONNECT":
            raise ProtocolError("CONNECT is not offered", 501)
        if _HASH in self.target:
            raise ProtocolError("fragment in the request target")
        if _CR in self.target:  # llhttp takes a line without a version for HTTP/0.9
            raise ProtocolError("malformed request line")
        absolute = _ABSOLUTE.match(self.target)
        if absolute:
            self._new_host, path = absolute[1], absolute[2]
            bare = b"*" if self.method == b"OPTIONS" and not path else b"/"
            self.target = path if path.startswith(b"/") else bare + path
            if not _HOST.match(self._new_host):
                raise ProtocolError("invalid authority in the request target")
        elif self.target != b"*" or self.method != b"OPTIONS":
            raise ProtocolError("malformed request target")

    def _read_fields(self, fields: list[Field]) -> None:
        host: bytes | None = None
        length = 0
        plain = not self.http10
        for low, _, value in fields:
            if low == b"host":
                if host is not None:
                    raise ProtocolError("more than one Host")
                host = value
            elif low == b"content-length":
                length = int(value)
            else:
                plain = False
        self.host = host
        self.length = length
        self.keep_alive = plain
        self._plain = plain
        if not plain:
            self._read_rarer_fields(fields)

    def _read_rarer_fields(self, fields: list[Field]) -> None:
        self._cut: list[bytes] = []
        self._named = self._options = _NONE
        self._forwarded_for = self._via = b""
        self.keep_alive = not self.http10
        for low, name, value in fields:
            if low != b"host" and low != b"content-length":  # noqa: PLR1714 - cheaper than a tuple's search
                self._read_rarer(low, name, value.strip(b" \t"))

    def _read_rarer(self, low: bytes, name: bytes, value: bytes) -> None:
        """Note a field that frames the body, or is cut, joined or obeyed."""
        if low == b"transfer-encoding":
            self._read_coding(value)
            return
        if low == b"connection":
            self._read_connection(value.lower())
        elif low == b"via":
            self._via = _joined(self._via, value)
            self._check_loop()
        elif low == b"x-forwarded-for":
            self._forwarded_for = _joined(self._forwarded_for, value)
        if low not in self._kept and (low != b"expect" or self.http10):
            self._cut.append(name)  # HTTP/1.0 cannot be told to continue: RFC 9110 10.1.1 ignores its Expect

    def _read_coding(self, value: bytes) -> None:
        if self.http10:
            raise ProtocolError("Transfer-Encoding in HTTP/1.0")  # RFC 9112 6.1
        if value.lower() != b"chunked":
            raise ProtocolError("transfer coding not implemented", 501)
        self.length = CHUNKED

    def _read_connection(self, value: bytes) -> None:
        if value == b"keep-alive" and not self._options:
            self.keep_alive = True
            return
        self._options |= split_list(value)
        self.keep_alive = _persists(self._options, self.http10)
        self._named = _nameable(self._options)

    def _check_loop(self) -> None:
        entries = [entry.split() for entry in self._via.split(b",")]
        hops = sum(len(entry) > 1 and entry[1] == PSEUDONYM for entry in entries)
        if hops >= self._max_hops:
            raise ProtocolError(f"the request passed {hops} gateways: a loop", 508)

    def _check_host(self) -> None:
        """Judge Host once per value: RFC 9112 3.2 asks for exactly one, and a valid one."""
        if self.host is None:
            if not self.http10:
                raise ProtocolError("no Host")
        elif not _HOST.match(self.host.rstrip(b" \t")):
            raise ProtocolError("invalid Host")

    def render(self, default_host: bytes) -> bytes:
        """Return the head for the next hop, in HTTP/1.1; `default_host` stands in where HTTP/1.0 named none."""
        host = self.host
        if not self._plain or self._new_host is not None or host is None:
            return self._render_anew(default_host)
        if host != self._suffix_host:
            self._suffix = self._own_fields(host, b"", b"")
            self._suffix_host = host
        return self._head[:-2] + self._suffix

    def _render_anew(self, default_host: bytes) -> bytes:
        head = self._head
        if self.http10 or self._new_host is not None:
            head = self._with_new_line(head, default_host)
        if self._plain:
            return head[:-2] + self._own_fields(self.host, b"", b"")
        for name in self._cut:
            head = cut_field(head, name)
        if self._named:
            head = cut_named(head, self._named)
        return head[:-2] + self._own_fields(self.host, self._forwarded_for, self._via)

    def _with_new_line(self, head: bytes, default_host: bytes) -> bytes:
        """Write the request line anew, with Host after it where the client's does not hold."""
        fields = head[head.find(b"\r\n") :]
        line = b"%b %b HTTP/1.1" % (self.method, self.target)
        if self._new_host is not None:
            fields = cut_named(fields, frozenset({b"host"}))
            self.host = self._new_host
        elif self.host is not None:
            return line + fields
        return b"%b\r\nHost: %b%b" % (line, self.host or default_host, fields)

    def _own_fields(self, host: bytes | None, forwarded_for: bytes, via: bytes) -> bytes:
        parts = []
        if self._with_x:
            chain = b"%b, %b" % (forwarded_for, self._peer) if forwarded_for else self._peer
            parts.append(b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: http\r\n" % chain)
            if host is not None:
                parts.append(b"X-Forwarded-Host: %b\r\n" % host.rstrip(b" \t"))
        if self._with_via:
            own = (b"1.0 " if self.http10 else b"1.1 ") + PSEUDONYM
            parts.append(b"Via: %b\r\n" % (b"%b, %b" % (via, own) if via else own))
        return b"".join([*parts, b"\r\n"])


class ResponseReader:
    """Reads the answers' heads of one upstream connection; `read` replaces what the last one left.

    `length` is the body's in bytes, CHUNKED or UNTIL_CLOSE, with 0 where no body may follow (RFC 9112 6.3).
    """

    __slots__ = (
        "_cut",
        "_fields",
        "_framed",
        "_head",
        "_named",
        "_options",
        "_tail",
        "_via",
        "_with_via",
        "keep_alive",
        "length",
        "status",
    )

    def __init__(self, via: bool = True) -> None:
        self._fields = _Fields(HttpResponseParser, _RESPONSE_NAMES)
        self._with_via = via
        self._tail = b"Via: 1.1 %b\r\n\r\n" % PSEUDONYM if via else b"\r\n"
        self.status = self.length = self._framed = 0
        self.keep_alive = False

    def read(self, head: bytes, answers_head: bool = False) -> None:
        """Take one head, up to and including its empty line. Raises ProtocolError when it is not valid."""
        http10 = head[7:8] == b"0"
        if not head.startswith(b"HTTP/1.0 " if http10 else b"HTTP/1.1 "):
            raise ProtocolError("not an HTTP/1.1 answer")
        if self._framed:
            self._fields.renew()
        fields = self._fields.read(head)
        self._head = head
        self.status = status = int(head[9:12])
        self.keep_alive = not http10
        self._read_fields(fields, http10)
        self._framed = self.length
        if self.length == UNTIL_CLOSE:
            self.keep_alive = False
        if answers_head or not 200 <= status < 300 or status == 204:
            self._check_status(status, answers_head, http10)

    def _check_status(self, status: int, answers_head: bool, http10: bool) -> None:
        """Take the length away from what cannot have a body."""
        if status < 100:
            raise ProtocolError(f"status {status}")
        if not (answers_head or status < 200 or status in (204, 304)):
            return
        if self.length == UNTIL_CLOSE:
            self.keep_alive = _persists(self._options, http10)
        self.length = 0

    def skip_body(self, body: bytes) -> None:
        """Say that the body followed the head at once, whole; spares the next head a new parser."""
        self._fields.skip(body)
        self._framed = 0

    def _read_fields(self, fields: list[Field], http10: bool) -> None:
        self.length = UNTIL_CLOSE
        self._cut: list[bytes] = []
        self._named = self._options = _NONE
        self._via = b""
        for low, name, value in fields:
            if low == b"content-length":
                self.length = int(value)
            elif low == b"connection":
                self._cut.append(name)
                if value != b"keep-alive" or http10 or self._options:
                    self._read_connection(value.lower(), http10)
            else:
                self._read_rarer(low, name, value.strip(b" \t"), http10)

    def _read_rarer(self, low: bytes, name: bytes, value: bytes, http10: bool) -> None:
        if low == b"transfer-encoding":
            if http10 or value.lower() != b"chunked":
                raise ProtocolError("transfer coding that is not chunked alone")
            self.length = CHUNKED
        elif low != b"via":
            self._cut.append(name)
        elif self._with_via:
            self._via = _joined(self._via, value)
            self._cut.append(name)

    def _read_connection(self, value: bytes, http10: bool) -> None:
        self._options |= split_list(value)
        self.keep_alive = _persists(self._options, http10)
        self._named = _nameable(self._options)

    def render(self, extra: bytes, chunked: bool) -> bytes:
        """Return the head for the client in HTTP/1.1, with the whole lines of `extra`.

        `chunked` says that a body of unknown length will be sent in chunks, and not up to the close.
        """
        head = self._head
        for name in self._cut:
            head = cut_field(head, name)
        if self._named:
            head = cut_named(head, self._named)
        if self._framed < 0 or self.status < 200 or self.status == 204:
            head, extra = self._frame(head, extra, chunked)
        if head[7] == _ZERO or head[12] != _SPACE:
            head = _status_line(head)
        if not extra and not self._via:
            return head[:-2] + self._tail
        return b"%b%b%b\r\n" % (head[:-2], self._via_line(), extra)

    def _frame(self, head: bytes, extra: bytes, chunked: bool) -> tuple[bytes, bytes]:
        """Announce the framing of this hop, and none where no body may follow (RFC 9110 8.6, RFC 9112 6.1)."""
        if self._framed == CHUNKED and not chunked:
            head = cut_named(head, frozenset({b"transfer-encoding"}))
        elif self._framed == UNTIL_CLOSE and chunked:
            extra += b"Transfer-Encoding: chunked\r\n"
        elif self._framed >= 0:
            head = cut_named(head, frozenset({b"content-length"}))
        return head, extra

    def _via_line(self) -> bytes:
        if not self._with_via:
            return b""
        own = (b"1.0 " if self._head[7] == _ZERO else b"1.1 ") + PSEUDONYM
        return b"Via: %b\r\n" % (_joined(self._via, own) if self._via else own)


def _status_line(head: bytes) -> bytes:
    """Write an HTTP/1.0 or reason-less status line as HTTP/1.1 has it: version, code, space, reason."""
    space = b"" if head[12:13] == b" " else b" "
    return b"HTTP/1.1 %b%b%b" % (head[9:12], space, head[12:])


def _joined(before: bytes, value: bytes) -> bytes:
    return b"%b, %b" % (before, value) if before else value


def split_list(value: bytes) -> frozenset[bytes]:
    """Return the members of a comma-separated list (RFC 9110 5.6.1)."""
    return frozenset(option.strip(b" \t") for option in value.split(b","))


def _persists(options: frozenset[bytes], http10: bool) -> bool:
    return b"close" not in options and (not http10 or b"keep-alive" in options)


def _nameable(options: frozenset[bytes]) -> frozenset[bytes]:
    """Return the fields that Connection asks to drop, beyond those that are always dropped (RFC 9110 7.6.1)."""
    return options - _NOT_NAMEABLE - _HOP_BY_HOP


def cut_field(head: bytes, name: bytes) -> bytes:
    """Return `head` without the first line of the field `name`, spelt as it came; the head was read before."""
    start = head.find(b"\r\n%b:" % name)
    return head[:start] + head[head.find(b"\r\n", start + 2) :] if start >= 0 else head


def cut_named(head: bytes, names: frozenset[bytes]) -> bytes:
    """Return `head` without any line of the fields `names` (lower case)."""
    first, *lines = head.split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].lower() not in names]
    return b"\r\n".join([first, *kept])


def clean_trailers(section: bytes) -> bytes:
    """Return a trailer section's lines that may travel on (RFC 9110 6.5.1), each with its line end.

    Raises ProtocolError when llhttp would not accept them in a head.
    """
    lines = section.split(b"\r\n")[:-1]
    kept = [line for line in lines if line.partition(b":")[0].lower() not in _TRAILER_REFUSED]
    if not kept:
        return b""
    trailers = b"".join(line + b"\r\n" for line in kept)
    _Fields(HttpRequestParser, _NONE).read(b"GET / HTTP/1.1\r\n%b\r\n" % trailers)
    return trailers
