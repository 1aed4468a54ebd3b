"""An HTTP/1.1 reader of its own, written from the grammar of RFC 9110 and RFC 9112: the judge of what a gateway sends.

It shares no code with the gateway or with llhttp. It knows one way to read a message, and takes anything that another
reader could take for something else as broken. It leaves two things open that no reader can disagree about: the bytes
of a request target, and the inside of a chunk extension.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Field = tuple[bytes, bytes]

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%b) ([^\x00-\x20\x7f#]+) HTTP/1\.([01])\Z" % _TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)\Z")
_FIELD_LINE = re.compile(rb"(%b):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*\Z" % _TOKEN)
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\Z")
_LENGTH = re.compile(rb"[0-9]{1,30}\Z")
_LENGTH_LIMIT = 2**63  # beyond it a length wraps round for some
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?\Z")
_ABSOLUTE = re.compile(rb"(?i:http)://([^/?#]*)(.*)\Z", re.DOTALL)


class BrokenError(Exception):
    """Bytes that are no HTTP/1.1 message, or could be read as two different ones."""


@dataclass
class Message:
    """One message as it was read; `framing` is none, sized, chunked or close."""

    start: bytes
    fields: list[Field]
    framing: str = "none"
    body: bytes = b""
    trailers: list[Field] = field(default_factory=list)
    complete: bool = False
    end: int = 0  # where the next one begins

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.fields if key.lower() == name]

    @property
    def http10(self) -> bool:
        return self.start.endswith(b" HTTP/1.0") or self.start.startswith(b"HTTP/1.0 ")

    @property
    def method(self) -> bytes:
        return self.start.partition(b" ")[0]

    @property
    def target(self) -> bytes:
        return self.start.split(b" ")[1]

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    @property
    def interim(self) -> bool:
        return self.status < 200

    @property
    def options(self) -> set[bytes]:
        """What Connection says, in lower case."""
        listed = b",".join(self.all(b"connection")).lower().split(b",")
        return {option.strip(b" \t") for option in listed} - {b""}

    @property
    def persists(self) -> bool:
        if self.framing == "close" or b"close" in self.options:
            return False
        return not self.http10 or b"keep-alive" in self.options


@dataclass
class Reading:
    """What stands on a connection: whole messages, perhaps a part of one more, and why reading stopped if it did."""

    messages: list[Message]
    partial: Message | None = None
    broken: str = ""
    rest: bytes = b""  # what begins no message yet, or is broken


def read_requests(data: bytes) -> Reading:
    """Read a client's bytes."""
    return _read_all(data, lambda at: read_request(data, at))


def read_answers(data: bytes, methods: Iterable[bytes], closed: bool) -> Reading:
    """Read a server's bytes: answers to these methods, in order; `closed` says that the connection ended cleanly."""
    waiting = list(methods)

    def one(at: int) -> Message | None:
        message = read_answer(data, at, waiting[0] if waiting else b"GET", closed)
        if message is not None and message.complete and not message.interim:
            if not waiting:
                raise BrokenError("an answer that nobody asked for")
            waiting.pop(0)
        return message

    return _read_all(data, one)


def _read_all(data: bytes, one: Callable[[int], Message | None]) -> Reading:
    reading = Reading([])
    at = 0
    while at < len(data):
        try:
            message = one(at)
        except BrokenError as error:
            return Reading(reading.messages, getattr(error, "partial", None), str(error), data[at:])
        if message is None or not message.complete:
            reading.partial, reading.rest = message, data[at:]
            return reading
        reading.messages.append(message)
        at = message.end
    return reading


def read_request(data: bytes, at: int = 0) -> Message | None:
    """Return the request at `at`, whole or not; None when its head is not there. Raises BrokenError."""
    message = _read_head(data, at, _REQUEST_LINE)
    if message is not None:
        _check_host(message)
        message.framing = _framing(message) or "none"
        _read_body(message, data, closed=False)
    return message


def read_answer(data: bytes, at: int, method: bytes, closed: bool) -> Message | None:
    """Return the answer to `method` at `at`, whole or not; None when its head is not there. Raises BrokenError."""
    message = _read_head(data, at, _STATUS_LINE)
    if message is None:
        return None
    framing = _framing(message)
    bodiless = message.interim or method == b"HEAD" or message.status in (204, 304)
    message.framing = "none" if bodiless else framing or "close"
    _read_body(message, data, closed)
    return message


def _read_head(data: bytes, at: int, first: re.Pattern[bytes]) -> Message | None:
    end = data.find(b"\r\n\r\n", at)
    lines = data[at : len(data) if end < 0 else end].split(b"\r\n")
    if end < 0:
        lines.pop()  # it may go on
    if lines and not first.match(lines[0]):
        raise BrokenError(f"first line {lines[0][:60]!r}")
    fields = [_field(line) for line in lines[1:]]
    return None if end < 0 else Message(lines[0], fields, end=end + 4)


def _field(line: bytes) -> Field:
    found = _FIELD_LINE.match(line)
    if found is None:
        raise BrokenError(f"field line {line[:60]!r}")
    return found[1], found[2]


def _check_host(message: Message) -> None:
    hosts = message.all(b"host")
    if len(hosts) > 1 or (not hosts and not message.http10):
        raise BrokenError(f"{len(hosts)} Host fields")
    absolute = _ABSOLUTE.match(message.target)
    for host in [*hosts, *([absolute[1]] if absolute else [])]:
        if not _HOST.match(host):
            raise BrokenError(f"Host {host[:60]!r}")
    if not (absolute or message.target.startswith(b"/") or (message.target, message.method) == (b"*", b"OPTIONS")):
        raise BrokenError(f"target {message.target[:60]!r}")


def _framing(message: Message) -> str | None:
    """Return how the body is framed, by RFC 9112 6.3 without its leniences; None when no field says it."""
    lengths, codings = message.all(b"content-length"), message.all(b"transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise BrokenError(f"{len(lengths)} Content-Length and {len(codings)} Transfer-Encoding fields")
    if codings:
        if codings[0].lower() != b"chunked" or message.http10:
            raise BrokenError(f"Transfer-Encoding {codings[0][:60]!r} in {message.start[:60]!r}")
        return "chunked"
    if lengths and not (_LENGTH.match(lengths[0]) and int(lengths[0]) < _LENGTH_LIMIT):
        raise BrokenError(f"Content-Length {lengths[0][:60]!r}")
    return "sized" if lengths else None


def _read_body(message: Message, data: bytes, closed: bool) -> None:
    try:
        if message.framing == "chunked":
            _read_chunks(message, data)
        elif message.framing == "close":
            message.body, message.end, message.complete = data[message.end :], len(data), closed
        elif message.framing == "sized":
            end = message.end + int(message.all(b"content-length")[0])
            message.body, message.complete = data[message.end : end], len(data) >= end
            message.end = end
        else:
            message.complete = True
    except BrokenError as error:
        error.partial = message  # type: ignore[attr-defined]
        raise


def _read_chunks(message: Message, data: bytes) -> None:
    while (line := _line(message, data)) is not None:
        found = _SIZE_LINE.match(line)
        if found is None:
            raise BrokenError(f"chunk size {line[:60]!r}")
        size = int(found[1], 16)
        if size == 0:
            _read_trailers(message, data)
            return
        message.body += data[message.end : message.end + size]
        after = data[message.end + size : message.end + size + 2]
        if not b"\r\n".startswith(after):
            raise BrokenError(f"{after!r} after a chunk")
        if len(after) < 2:
            return
        message.end += size + 2


def _read_trailers(message: Message, data: bytes) -> None:
    while (line := _line(message, data)) is not None:
        if not line:
            message.complete = True
            return
        message.trailers.append(_field(line))


def _line(message: Message, data: bytes) -> bytes | None:
    end = data.find(b"\n", message.end)
    line = data[message.end : len(data) if end < 0 else end]
    if end < 0:
        if b"\r" in line[:-1]:
            raise BrokenError("bare CR in chunk framing")
        return None
    if line[-1:] != b"\r":
        raise BrokenError("bare LF in chunk framing")
    message.end = end + 1
    return line[:-1]
