"""What requests and answers have in common: field lines, lists, framing, and what concerns one hop only."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gateway_proxy.http1.errors import ProtocolError
from gateway_proxy.http1.grammar import FIELD_LINES

PSEUDONYM = b"archbench"
CHUNKED = -1
UNTIL_CLOSE = -2
NONE: frozenset[bytes] = frozenset()
_FEW = 4  # names for which looking for each is cheaper than looking at every line

HOP_BY_HOP = frozenset(
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
X_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
# Connection may not take away what frames or routes the message: dropping these would change its meaning.
_NOT_NAMEABLE = frozenset({b"host", b"content-length", b"transfer-encoding", b"trailer", b"via", b"close", b""})
_TRAILER_REFUSED = (
    HOP_BY_HOP | X_FORWARDED | {b"host", b"content-length", b"transfer-encoding", b"trailer", b"via", b"forwarded"}
)
_LENGTH = re.compile(rb"0*[0-9]{1,18}\Z").match


class Line(NamedTuple):
    """One field line: its name in lower case, its value without white space around it."""

    low: bytes
    value: bytes


def lines_of(head: bytes, names: frozenset[bytes]) -> Iterator[Line]:
    """Yield the field lines of a valid head that have one of these names (lower case), in their order."""
    for line in head.split(b"\r\n")[1:-2]:
        name, _, value = line.partition(b":")
        low = name.lower()
        if low in names:
            yield Line(low, value.strip(b" \t"))


class Framing:
    """Which body follows, gathered from Content-Length and Transfer-Encoding as they come (RFC 9112 6.1 to 6.3)."""

    __slots__ = ("coding", "length")

    def __init__(self) -> None:
        self.length: int | None = None
        self.coding: bytes | None = None

    def take_length(self, value: bytes) -> None:
        """Take a Content-Length. Raises ProtocolError for a second one, a list, a sign or anything but digits."""
        if self.length is not None:
            raise ProtocolError("more than one Content-Length")
        if not _LENGTH(value):
            raise ProtocolError("invalid Content-Length")
        self.length = int(value)

    def take_coding(self, value: bytes) -> None:
        """Take a Transfer-Encoding; several are one list."""
        self.coding = value if self.coding is None else b"%b, %b" % (self.coding, value)

    def settle(self) -> int | None:
        """Return CHUNKED, the length, or None for neither. Raises ProtocolError when that is in doubt."""
        if self.coding is None:
            return self.length
        if self.length is not None:
            raise ProtocolError("Content-Length together with Transfer-Encoding")
        codings = [coding.strip(b" \t").lower() for coding in self.coding.split(b",")]
        if codings[-1] != b"chunked" or b"chunked" in codings[:-1]:
            raise ProtocolError("Transfer-Encoding does not end in chunked, once")
        if len(codings) > 1:
            raise ProtocolError("transfer coding not implemented", 501)
        return CHUNKED


def joined(before: bytes, value: bytes) -> bytes:
    """Return the two as one list."""
    return b"%b, %b" % (before, value) if before else value


def split_list(value: bytes) -> frozenset[bytes]:
    """Return the members of a comma-separated list (RFC 9110 5.6.1)."""
    return frozenset(option.strip(b" \t") for option in value.split(b","))


def persists(options: frozenset[bytes], http10: bool) -> bool:
    """Say whether a connection with these options of Connection stays open (RFC 9112 9.3)."""
    return b"close" not in options and (not http10 or b"keep-alive" in options)


def nameable(options: frozenset[bytes]) -> frozenset[bytes]:
    """Return the fields that Connection asks to drop, beyond those that are always dropped (RFC 9110 7.6.1)."""
    return options - _NOT_NAMEABLE - HOP_BY_HOP


def cut_named(head: bytes, names: frozenset[bytes] | set[bytes]) -> bytes:
    """Return `head` without any line of the fields `names` (lower case)."""
    if len(names) <= _FEW:
        return _cut_few(head, names)
    first, *lines = head.split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].lower() not in names]
    return b"\r\n".join([first, *kept])


def _cut_few(head: bytes, names: Iterable[bytes]) -> bytes:
    """Look for each name, which mostly does not stand there, instead of looking at each line."""
    low = head.lower()
    for name in names:
        begin = b"\r\n%b:" % name
        at = low.find(begin)
        while at >= 0:
            end = low.find(b"\r\n", at + 2)
            head, low = head[:at] + head[end:], low[:at] + low[end:]
            at = low.find(begin, at)
    return head


def clean_trailers(section: bytes, owned: frozenset[bytes] = NONE) -> bytes:
    """Return a trailer section's lines that may travel on (RFC 9110 6.5.1), each with its line end.

    `owned` are fields (lower case) that only this hop may send; `_` is taken for `-`, as some receivers do. Raises
    ProtocolError when they are no field lines.
    """
    if not FIELD_LINES(section):
        raise ProtocolError("malformed trailer field")
    lines = section.split(b"\r\n")[:-1]
    return b"".join(line + b"\r\n" for line in lines if _may_travel(line.partition(b":")[0].lower(), owned))


def _may_travel(name: bytes, owned: frozenset[bytes]) -> bool:
    return name not in _TRAILER_REFUSED and name.replace(b"_", b"-") not in owned
