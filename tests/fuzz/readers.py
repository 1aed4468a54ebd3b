"""Readers of every leniency: what the gateway sends upstream must be the same requests to all of them.

A request is smuggled when two readers see different ones in the same bytes. The strict reader says what is right; the
others stand for servers that exist: llhttp, h11, one that believes Content-Length first, one that believes any
Transfer-Encoding with `chunked` in it first; the last two end lines at LF alone and join folded ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import h11
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from tests.fuzz.strict import read_requests

Request = tuple[bytes, bytes, bytes]  # method, target, body


@dataclass
class Seen:
    """The whole requests that a reader found, and whether it then refused to read on."""

    requests: list[Request] = field(default_factory=list)
    refused: bool = False


def strict(data: bytes) -> Seen:
    reading = read_requests(data)
    found = [(message.method, message.target, message.body) for message in reading.messages]
    return Seen(found, bool(reading.broken))


def by_h11(data: bytes) -> Seen:
    """Read with h11, which ends lines at LF alone and joins folded ones."""
    seen = Seen()
    if not data:
        return seen  # to h11, no data are the end
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
    connection.receive_data(data)
    method = target = body = b""
    try:
        while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                method, target, body = event.method, event.target, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                seen.requests.append((method, target, body))
                _next_cycle(connection)
    except h11.RemoteProtocolError:
        seen.refused = True
    return seen


def _next_cycle(connection: h11.Connection) -> None:
    connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
        connection.start_next_cycle()


class _Gatherer:
    def __init__(self) -> None:
        self.seen = Seen()

    def on_message_begin(self) -> None:
        self.target = self.body = b""

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.seen.requests.append((self.parser.get_method(), self.target, self.body))

    def read(self, data: bytes) -> Seen:
        self.parser = HttpRequestParser(self)
        try:
            self.parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.seen.refused = True
        return self.seen


def by_llhttp(data: bytes) -> Seen:
    return _Gatherer().read(data)


def length_first(data: bytes) -> Seen:
    return _naive(data, coding_wins=False)


def coding_first(data: bytes) -> Seen:
    return _naive(data, coding_wins=True)


READERS: dict[str, Callable[[bytes], Seen]] = {
    "strict": strict,
    "h11": by_h11,
    "llhttp": by_llhttp,
    "length first": length_first,
    "coding first": coding_first,
}


def disagreement(data: bytes) -> str:
    """Return what readers disagree about in the bytes of one connection; empty when they see the same requests.

    Who refuses to read on misreads nothing, and may have seen fewer.
    """
    right = strict(data).requests
    wrong = [f"{name} sees {what.requests[:5]!r}" for name in READERS if _misread(what := READERS[name](data), right)]
    return f"strict sees {right[:5]!r}, {'; '.join(wrong)}" if wrong else ""


def _misread(what: Seen, right: list[Request]) -> bool:
    return what.requests != (right[: len(what.requests)] if what.refused else right)


_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LINE = re.compile(rb"[^\n]*\n")


def _naive(data: bytes, coding_wins: bool) -> Seen:
    seen = Seen()
    at = 0
    while end := _HEAD_END.search(data, at):
        line, _, head = re.sub(rb"\r?\n[ \t]+", b" ", data[at : end.end()]).partition(b"\n")
        words = line.split()
        length = re.search(rb"(?im)^content-length[ \t]*:[^0-9\n]*([0-9]+)", head)
        chunked = re.search(rb"(?im)^transfer-encoding[ \t]*:[^\n]*chunked", head)
        if chunked and (coding_wins or not length):
            found = _naive_chunks(data, end.end())
        else:
            found = _naive_sized(data, end.end(), int(length[1]) if length else 0)
        if found is None or len(words) < 2:
            break
        seen.requests.append((words[0], words[1], found[0]))
        at = found[1]
    return seen


def _naive_sized(data: bytes, at: int, length: int) -> tuple[bytes, int] | None:
    return (data[at : at + length], at + length) if at + length <= len(data) else None


def _naive_chunks(data: bytes, at: int) -> tuple[bytes, int] | None:
    body = b""
    while line := _LINE.match(data, at):
        size = int((re.match(rb"[ \t]*(?:0[xX])?([0-9A-Fa-f]+)", line[0]) or [b"", b"0"])[1], 16)
        at = line.end()
        if size == 0:
            return _after_trailers(data, at, body)
        body += data[at : at + size]
        at += size
        at += 2 if data[at : at + 2] == b"\r\n" else 1
    return None


def _after_trailers(data: bytes, at: int, body: bytes) -> tuple[bytes, int] | None:
    while line := _LINE.match(data, at):
        at = line.end()
        if not line[0].strip():
            return body, at
    return None
