"""Reads request heads and writes them anew for the next hop.

Only what decides something is looked at; the rest travels as the raw bytes that came: order, case, duplicates and
spaces as they were (RFC 9110 5.2, 5.3). A field that must not travel is cut out of the raw head.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway_proxy.http1.errors import ProtocolError
from gateway_proxy.http1.fields import (
    CHUNKED,
    NONE,
    PSEUDONYM,
    X_FORWARDED,
    Framing,
    Line,
    cut_named,
    joined,
    lines_of,
    nameable,
    persists,
    split_list,
)
from gateway_proxy.http1.grammar import (
    ABSOLUTE,
    HOST,
    METHOD,
    METHODS,
    PLAIN_REQUEST,
    REQUEST,
    REQUEST_FIELDS,
    VERSION,
)

_HOST_FIELD = frozenset({b"host"})


class Hop:
    """What one client's connection tells the next hop about itself; made once, not for every request.

    `peer` is the client's address as it stands in X-Forwarded-For; `scheme` http or https.
    """

    __slots__ = ("cut", "forwarded", "max_hops", "peer", "scheme", "via", "x_forwarded")

    def __init__(
        self,
        peer: str,
        x_forwarded: bool = True,
        via: bool = True,
        max_hops: int = 16,
        forwarded: bool = False,
        scheme: bytes = b"http",
    ) -> None:
        self.peer = peer.encode("ascii")
        self.scheme = scheme
        self.x_forwarded = x_forwarded
        self.forwarded = forwarded
        self.via = via
        self.max_hops = max_hops
        kept = {b"host", b"content-length", b"transfer-encoding", b"expect"}
        kept |= (set() if via else {b"via"}) | (set() if forwarded else {b"forwarded"})
        self.cut = REQUEST_FIELDS - kept - (NONE if x_forwarded else X_FORWARDED)

    def lines(self, host: bytes | None, came: Came) -> bytes:
        """Return the fields that this hop adds, and the end of the head."""
        parts = []
        if self.x_forwarded:
            chain = joined(came.forwarded_for, self.peer)
            parts.append(b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (chain, self.scheme))
            if host is not None:
                parts.append(b"X-Forwarded-Host: %b\r\n" % host)
        if self.forwarded:
            parts.append(b"Forwarded: %b\r\n" % joined(came.forwarded, self._element(host)))
        if self.via:
            own = (b"1.0 " if came.http10 else b"1.1 ") + PSEUDONYM
            parts.append(b"Via: %b\r\n" % joined(came.via, own))
        return b"".join([*parts, b"\r\n"])

    def _element(self, host: bytes | None) -> bytes:
        """Return this hop's element of Forwarded (RFC 7239 4)."""
        node = b'"[%b]"' % self.peer if b":" in self.peer else self.peer
        named = b';host="%b"' % host if host is not None else b""
        return b"for=%b%b;proto=%b" % (node, named, self.scheme)


class Came:
    """What a request that is not plain brought along: of this hop, and of those before."""

    __slots__ = ("forwarded", "forwarded_for", "http10", "offers", "options", "via")

    def __init__(self, http10: bool = False) -> None:
        self.http10 = http10
        self.options = NONE  # of Connection
        self.forwarded_for = self.forwarded = self.via = b""
        self.offers = b""  # of Upgrade


_NOTHING = Came()


class RequestReader:
    """Reads the request heads of one client connection; every reading replaces what the last one left.

    `length` is the body's in bytes, or CHUNKED. `host` is None only for HTTP/1.0 without the field. `offers` are the
    protocols of a valid Upgrade (RFC 9110 7.8), lower case.
    """

    __slots__ = (
        "_came",
        "_head",
        "_new_host",
        "_plain",
        "_suffix",
        "_suffix_host",
        "hop",
        "host",
        "http10",
        "keep_alive",
        "length",
        "method",
        "target",
    )

    def __init__(self, peer: str | Hop) -> None:
        self.hop = Hop(peer) if isinstance(peer, str) else peer
        self._suffix_host: bytes | None = None  # of which the suffix was written
        self._suffix = self._head = b""
        self._came = _NOTHING
        self._new_host: bytes | None = None
        self._plain = False
        self.method = self.target = b""
        self.host: bytes | None = None
        self.http10 = False
        self.keep_alive = True
        self.length = 0

    @property
    def offers(self) -> frozenset[bytes]:
        """The protocols that the client offers to change to; none unless Connection says so too."""
        came = self._came
        if self._plain or self.http10 or b"upgrade" not in came.options or not came.offers:
            return NONE
        return split_list(came.offers.lower())

    @property
    def named(self) -> frozenset[bytes]:
        """The fields that Connection names, beyond those that are always dropped; lower case."""
        return NONE if self._plain else nameable(self._came.options)

    @property
    def head(self) -> bytes:
        """The head as it came."""
        return self._head

    def read_plain(self, data: bytes) -> int:
        """Take the head at the start of `data` if it is whole and plain; return its length, or 0 if it is not.

        Raises ProtocolError for an invalid Host.
        """
        match = PLAIN_REQUEST(data)
        if match is None:
            return 0
        self.method, self.target, host, length = match.groups()
        self.host = host
        self.length = int(length) if length else 0
        self.http10 = False
        self.keep_alive = self._plain = True
        self._new_host = None
        end = match.end()
        self._head = data if end == len(data) else data[:end]
        if host != self._suffix_host:
            self._take_host(host)
        return end

    def read(self, head: bytes) -> None:
        """Take one head, up to and including its empty line. Raises ProtocolError with the status to answer."""
        self.method = self.target = b""
        self.host = None
        self.length = CHUNKED  # until it is known: where a refused request ends is not
        self._head = head
        match = REQUEST(head)
        if match is None or match.end() != len(head):
            raise _why_malformed(head)
        self.method, self.target, minor = match.groups()
        if self.method not in METHODS:
            raise ProtocolError("method not implemented", 501)
        self.http10 = minor == b"0"
        self._new_host = None
        if self.target[:1] != b"/" or b"#" in self.target or self.method == b"CONNECT":
            self._read_other_target()
        self._read_fields(head)

    def _read_other_target(self) -> None:
        """Take absolute-form apart, whose authority overrides Host (RFC 9112 3.2.2); allow `OPTIONS *`."""
        if self.method == b"CONNECT":
            raise ProtocolError("CONNECT is not offered", 501)
        if b"#" in self.target:
            raise ProtocolError("fragment in the request target")
        absolute = ABSOLUTE(self.target)
        if absolute and absolute[1].lower() == self.hop.scheme:
            self._new_host, path = absolute[2], absolute[3]
            bare = b"*" if self.method == b"OPTIONS" and not path else b"/"
            self.target = path if path.startswith(b"/") else bare + path
            if not HOST(self._new_host):
                raise ProtocolError("invalid authority in the request target")
        elif self.target != b"*" or self.method != b"OPTIONS":
            raise ProtocolError("malformed request target")

    def _read_fields(self, head: bytes) -> None:
        framing = Framing()
        self._came = came = Came(self.http10)
        self._plain = True
        for line in lines_of(head, REQUEST_FIELDS):
            low = line.low
            if low == b"host":
                if self.host is not None:
                    raise ProtocolError("more than one Host")
                self.host = line.value
            elif low == b"content-length":
                framing.take_length(line.value)
            else:
                self._plain = False
                self._read_rarer(line, framing, came)
        if self.http10:
            self._plain = False
        self.length = framing.settle() or 0
        self.keep_alive = persists(came.options, self.http10)
        self._check_host()

    def _read_rarer(self, line: Line, framing: Framing, came: Came) -> None:
        low, value = line
        if low == b"transfer-encoding":
            if self.http10:
                raise ProtocolError("Transfer-Encoding in HTTP/1.0")  # RFC 9112 6.1
            framing.take_coding(value)
        elif low == b"connection":
            came.options |= split_list(value.lower())
        elif low == b"via":
            came.via = joined(came.via, value)
            self._check_loop(came.via)
        elif low == b"x-forwarded-for":
            came.forwarded_for = joined(came.forwarded_for, value)
        elif low == b"forwarded":
            came.forwarded = joined(came.forwarded, value)
        elif low == b"upgrade":
            came.offers = joined(came.offers, value)

    def _check_loop(self, via: bytes) -> None:
        entries = [entry.split() for entry in via.split(b",")]
        hops = sum(len(entry) > 1 and entry[1] == PSEUDONYM for entry in entries)
        if hops >= self.hop.max_hops:
            raise ProtocolError(f"the request passed {hops} gateways: a loop", 508)

    def _check_host(self) -> None:
        """Judge Host: RFC 9112 3.2 asks for exactly one, and a valid one."""
        if self.host is None:
            if not self.http10:
                raise ProtocolError("no Host")
        elif self.host != self._suffix_host and not HOST(self.host):
            raise ProtocolError("invalid Host")

    def _take_host(self, host: bytes) -> None:
        """Judge a Host, and write once what this connection adds to every plain request for it."""
        if not HOST(host):
            raise ProtocolError("invalid Host")
        self._suffix = self.hop.lines(host, _NOTHING)
        self._suffix_host = host

    def render(self, default_host: bytes) -> bytes:
        """Return the head for the next hop, in HTTP/1.1; `default_host` stands in where HTTP/1.0 named none."""
        if self._plain and self._new_host is None:
            if self.host != self._suffix_host:
                self._take_host(self.host or b"")
            return self._head[:-2] + self._suffix
        return self._render_anew(default_host)

    def render_changed(
        self,
        default_host: bytes,
        target: bytes,
        dropped: frozenset[bytes] | set[bytes],
        lines: Iterable[bytes],
        upgrade: bytes = b"",
    ) -> bytes:
        """Return the head for the next hop with another target, without fields, with further lines.

        `dropped` are names in lower case, `lines` whole field lines. `upgrade` is an offer to be passed on.
        """
        head = self.render(default_host)
        if target != self.target:
            head = b"%b %b HTTP/1.1%b" % (self.method, target, head[head.find(b"\r\n") :])
        if dropped:
            head = cut_named(head, dropped)
        more = b"".join(lines)
        if upgrade:
            more += b"Connection: upgrade\r\nUpgrade: %b\r\n" % upgrade
        return head[:-2] + more + b"\r\n" if more else head

    def _render_anew(self, default_host: bytes) -> bytes:
        head, came, hop = self._head, self._came if not self._plain else _NOTHING, self.hop
        if self.http10 or self._new_host is not None:
            head = self._with_new_line(head, default_host)
        if not self._plain:
            cut = hop.cut | self.named
            if b"x-forwarded-for" in self.named:
                came.forwarded_for = b""
            if b"forwarded" in self.named:
                came.forwarded = b""
            # HTTP/1.0 cannot be told to continue: RFC 9110 10.1.1 ignores its Expect.
            head = cut_named(head, cut | {b"expect"} if self.http10 else cut)
        return head[:-2] + hop.lines(self.host, came)

    def _with_new_line(self, head: bytes, default_host: bytes) -> bytes:
        """Write the request line anew, with Host after it where the client's does not hold."""
        fields = head[head.find(b"\r\n") :]
        line = b"%b %b HTTP/1.1" % (self.method, self.target)
        if self._new_host is not None:
            fields = cut_named(fields, _HOST_FIELD)
            self.host = self._new_host
        elif self.host is not None:
            return line + fields
        return b"%b\r\nHost: %b%b" % (line, self.host or default_host, fields)


def _why_malformed(head: bytes) -> ProtocolError:
    """Say what a head that does not match the grammar gets wrong first."""
    line, _, fields = head.partition(b"\r\n")
    parts = line.split(b" ")
    if len(parts) != 3 or not METHOD(parts[0]):
        return ProtocolError("malformed request line")
    if VERSION(parts[2]) and parts[2] not in (b"HTTP/1.0", b"HTTP/1.1"):
        return ProtocolError("HTTP version not supported", 505)
    if not parts[2].startswith(b"HTTP/1."):
        return ProtocolError("malformed request line")
    if any(line[:1] in (b" ", b"\t") for line in fields.split(b"\r\n")):
        return ProtocolError("a field is folded over several lines")
    return ProtocolError("malformed request head")
