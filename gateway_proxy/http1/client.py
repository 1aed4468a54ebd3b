"""The client's half of the wire: a request as bytes, and a parser for the answers on one connection.

No sockets, no clock. The parser stands in the load engine and in every call between services, so it leaves all it
can to llhttp and keeps to itself only what llhttp cannot know: whether an answer was asked for, and where it ends.
"""

import re
from collections.abc import Sequence
from types import SimpleNamespace

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway_proxy.http1.errors import ProtocolError

HEAD_LIMIT_BYTES = 65536
_CR, _LF = 13, 10
_FRAMED = re.compile(rb"\r\n(?:content-length|transfer-encoding):[^\r]*", re.IGNORECASE)
_PERSISTENCE = re.compile(rb"\r\nconnection:([^\r]*)", re.IGNORECASE)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_TARGET = re.compile(r"[!-~]+\Z")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")
_OWN_FIELDS = frozenset({"host", "content-length"})


def render_request(
    method: str,
    target: str,
    host: str,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes | None = None,
) -> bytes:
    """Return the request as bytes: Host first, Content-Length when there is a body.

    Raises ProtocolError for anything that could smuggle a second field or request: CR, LF, NUL and other controls in
    any part, a name that is no token, a Host or Content-Length among `headers` (RFC 9110 5.5, 5.6.2; RFC 9112 3).
    """
    _require(_TOKEN, "method", method)
    _require(_TARGET, "target", target)
    _require(_TARGET, "Host", host)
    lines = [f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n"]
    lines += [_render_field(name, value) for name, value in headers]
    if body is None:
        return _encoded([*lines, "\r\n"])
    return _encoded([*lines, f"Content-Length: {len(body)}\r\n\r\n"]) + body


def _render_field(name: str, value: str) -> str:
    _require(_TOKEN, "field name", name)
    _require(_VALUE, f"value of {name}", value)
    if name.lower() in _OWN_FIELDS:
        raise ProtocolError(f"{name} is set by render_request; leave it out of the headers")
    if name.lower() == "transfer-encoding":
        raise ProtocolError("a rendered request is framed by Content-Length; leave Transfer-Encoding out")
    return f"{name}: {value}\r\n"


def _require(pattern: re.Pattern[str], what: str, text: str) -> None:
    if not pattern.match(text):
        raise ProtocolError(f"invalid {what}: {text!r}")


def _encoded(lines: list[str]) -> bytes:
    try:
        return "".join(lines).encode("latin-1")
    except UnicodeEncodeError as error:
        raise ProtocolError(f"not representable in a request head: {error.object[error.start]!r}") from None


class ResponseParser:
    """Reads the answers of one connection, one outstanding request at a time, and is reused for all of them.

    Call `begin()` before a request is sent, `feed()` with what arrives until `complete`, `eof()` when the peer closes.
    `headers` and `body` are filled only if asked for; `body_length` (bytes, without chunk framing) always is.
    `keep_alive` says, once the answer is complete, whether the connection may carry another request (RFC 9112 9.3).
    """

    __slots__ = (
        "_callbacks",
        "_data",
        "_execute",
        "_failed",
        "_fresh",
        "_head",
        "_head_only",
        "_headed",
        "_interim",
        "_keep_body",
        "_parser",
        "_pieces",
        "body",
        "body_length",
        "complete",
        "headers",
        "keep_alive",
        "status",
    )

    def __init__(self, keep_body: bool = True, keep_headers: bool = True) -> None:
        self._keep_body = keep_body
        self._callbacks = SimpleNamespace(
            on_message_begin=self._on_message_begin,
            on_headers_complete=self._on_headers_complete,
            on_body=self._on_body_kept if keep_body else self._on_body,
            on_message_complete=self._on_message_complete,
        )
        if keep_headers:
            self._callbacks.on_header = self._on_header
        self._fresh = self._head_only = False
        self._reset_parser()
        self._clear(head_only=False)
        self.complete = True

    def begin(self, head_only: bool = False) -> None:
        """Forget the last answer and expect the next; `head_only` when the request was a HEAD (RFC 9112 6.3)."""
        if not self._fresh:
            self._reset_parser()
        self._fresh = False
        self._head = b""
        self.status = self.body_length = 0
        self.keep_alive = self.complete = self._headed = False
        if head_only or self._head_only or self._keep_body or self.headers:
            self._clear(head_only)

    def _clear(self, head_only: bool) -> None:
        self.status = self.body_length = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.keep_alive = self.complete = self._headed = False
        self._head_only = head_only
        self._pieces: list[bytes] = []

    def _reset_parser(self) -> None:
        self._parser = HttpResponseParser(self._callbacks)
        self._execute = self._parser.feed_data
        self._fresh = True
        self._failed = self._interim = False
        self._head = self._data = b""

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer. Raises ProtocolError when they are no valid answer, or answer nothing.

        After an error the connection must be dropped; `begin()` starts afresh for a new one.
        """
        if self.complete or self._failed:
            raise ProtocolError("bytes that answer no request")  # RFC 9112 9.3.2
        self._data = data
        try:
            if self._head_only:
                self._feed_head(data)
            elif data[-1] == _LF or data[-1] == _CR:
                self._feed_to_line_end(data)
            else:
                self._execute(data)
        except (HttpParserError, HttpParserUpgrade, ProtocolError) as error:
            self._fail(error)
        if not self._headed:
            self._hold(data)

    def eof(self) -> bool:
        """Say whether the close completes the answer: True only for a body that is delimited by it.

        False when no answer was outstanding. Raises ProtocolError when the answer was cut off (RFC 9112 8).
        """
        if self.complete:
            return False
        if self._failed or not self._headed or self.keep_alive or not self._until_close():
            self._failed, self._fresh = True, False
            raise ProtocolError(f"connection closed {'inside' if self._headed else 'before'} the answer")
        self.keep_alive = False
        self._on_message_complete()
        return True

    def _fail(self, error: Exception) -> None:
        self._failed, self._fresh = True, False
        cause = error.__context__ if isinstance(error.__context__, ProtocolError) else error
        raise ProtocolError(f"invalid answer: {cause}") from None

    def _feed_to_line_end(self, data: bytes) -> None:
        """Feed `data` so that a CR or LF after the end of the answer is seen: llhttp would skip it in silence."""
        if len(data) > 1:
            self._execute(data[:-1])
            if self.complete:
                raise ProtocolError("bytes after the end of the answer")
        self._execute(data[-1:])

    def _feed_head(self, data: bytes) -> None:
        """Feed heads only: an answer to HEAD ends with its head, whatever length it announces (RFC 9112 6.3)."""
        rest = self._head + data
        while not self.complete:
            end = rest.find(b"\r\n\r\n") + 4
            if end < 4:
                break
            self._data, rest = rest[:end], rest[end:]
            self._head = b""
            self._execute(self._data)
            if self._headed:
                self._finish_head_only()
        self._head = b""
        if self.complete and rest:
            raise ProtocolError("bytes after the head that answers a HEAD")
        self._data = rest

    def _finish_head_only(self) -> None:
        persists = head_persists(self._data)
        if not self.complete:
            self._on_message_complete()
            self._fresh = False
        self.keep_alive = persists
        self._fresh = self._fresh and persists

    def _hold(self, data: bytes) -> None:
        """Keep a head that arrives in pieces, as `_until_close` reads it again; bounded like any head."""
        self._head = self._data if self._head_only else self._head + data
        if len(self._head) > HEAD_LIMIT_BYTES:
            self._fail(ProtocolError(f"head of more than {HEAD_LIMIT_BYTES} bytes"))

    def _until_close(self) -> bool:
        """Say whether nothing but the close ends the body; llhttp said already that the connection does not persist."""
        return not any(_delimits(match[0]) for match in _FRAMED.finditer(self._head))

    def _on_message_begin(self) -> None:
        if self.complete:
            raise ProtocolError("bytes after the end of the answer")

    def _on_header(self, name: bytes, value: bytes) -> None:
        if not self._headed:  # trailers are not merged into the head: RFC 9110 6.5.1
            self.headers.append((name, value.rstrip(b" \t")))

    def _on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._begin_interim(status)
            return
        self.status = status
        self._headed = True
        self.keep_alive = self._parser.should_keep_alive()
        if not self.keep_alive:
            self._keep_last_head()

    def _begin_interim(self, status: int) -> None:
        if status < 100 or status == 101:
            raise ProtocolError(f"status {status} was not asked for")
        self._interim = True
        self.headers = []

    def _keep_last_head(self) -> None:
        """Remember the head of an answer that may run to the close, without interim ones before it."""
        if not self._parser.get_http_version().startswith("1."):
            raise ProtocolError(f"HTTP version {self._parser.get_http_version()}")
        heads = (self._head + self._data).split(b"\r\n\r\n")
        final = next((head for head in heads if head[9:10] != b"1"), b"")
        self._head = final

    def _on_body(self, data: bytes) -> None:
        self.body_length += len(data)

    def _on_body_kept(self, data: bytes) -> None:
        self.body_length += len(data)
        self._pieces.append(data)

    def _on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        self.complete = True
        self._fresh = self.keep_alive
        if self._keep_body:
            self.body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


def head_persists(head: bytes) -> bool:
    """Say whether a head lets its connection carry another message, framing apart (RFC 9112 9.3)."""
    options = b",".join(match[1] for match in _PERSISTENCE.finditer(head)).lower().split(b",")
    tokens = {option.strip(b" \t") for option in options}
    if b"close" in tokens:
        return False
    return b"HTTP/1.0" not in head[: head.find(b"\r\n")] or b"keep-alive" in tokens


def _delimits(field: bytes) -> bool:
    """Say whether a Content-Length or Transfer-Encoding line ends the body before the close does."""
    name, _, value = field[2:].partition(b":")
    codings = value.lower().split(b",")
    return name.lower() == b"content-length" or codings[-1].strip(b" \t") == b"chunked"
