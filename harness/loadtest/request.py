"""What somebody asks `archbench load` for, and whether it can be done: every refusal is one sentence."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import psutil

from gateway_proxy.http1 import ProtocolError, render_request
from harness.environment import require_file_handles
from harness.errors import BadInputError
from harness.schedule import Arrivals

OPEN_CONNECTIONS = 1000
CLOSED_CONNECTIONS = 64
BYTES_A_REQUEST = 100
_LONGEST_S = 1e6
_SPARE_HANDLES = 64
_NOT_OFFERED = {"CONNECT": "it opens a tunnel and measures nothing"}


@dataclass(frozen=True)
class LoadRequest:
    """What to send where. `rate_per_s` is not used in a closed loop.

    `duration_s` follows `warmup_s`, whose requests are sent and not counted. `connections` caps the requests in
    flight; None: 1000 at a rate, 64 in a closed loop. `accepts` are the statuses that count as completed.
    """

    url: str
    rate_per_s: float = 100.0
    duration_s: float = 10.0
    arrivals: Arrivals = "constant"
    connections: int | None = None
    closed: bool = False
    timeout_s: float = 5.0
    seed: int = 1
    warmup_s: float = 0.0
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    accepts: frozenset[int] = frozenset(range(200, 400))

    @property
    def in_flight_at_most(self) -> int:
        """The number of connections."""
        return self.connections or (CLOSED_CONNECTIONS if self.closed else OPEN_CONNECTIONS)

    @property
    def total_s(self) -> float:
        """Seconds from the first request that is due to the end of the window."""
        return self.warmup_s + self.duration_s

    @property
    def planned(self) -> float:
        """How many requests a schedule at this rate has, about; 0 in a closed loop."""
        return 0.0 if self.closed else self.rate_per_s * self.total_s


class Prepared(NamedTuple):
    """A request that can be carried out: where to, and the bytes to send."""

    address: tuple[str, int]
    payload: bytes


def prepare(request: LoadRequest) -> Prepared:
    """Check the request and render it. Raises BadInputError, a sentence, when it cannot be carried out as written."""
    for problem in _problems(request):
        raise BadInputError(problem)
    parts = _parts(request.url)
    payload = _render(request, parts)
    return Prepared(_address(request.url, parts), payload)


def _problems(request: LoadRequest) -> Iterator[str]:
    """Yield what is wrong with the numbers."""
    rate, duration = request.rate_per_s, request.duration_s
    if not request.closed and not (math.isfinite(rate) and rate > 0):
        yield f"a rate of {rate:g} requests a second sends nothing; give one above 0"
    if not 0 < duration <= _LONGEST_S:
        yield f"a duration of {duration:g} s measures nothing; give one above 0, at most {_LONGEST_S:.0f}"
    if not 0 <= request.warmup_s <= _LONGEST_S:
        yield f"a warm-up of {request.warmup_s:g} s is impossible; give 0 or more, at most {_LONGEST_S:.0f}"
    if not 0 < request.timeout_s <= 3600:
        yield f"a timeout of {request.timeout_s:g} s is impossible; give one above 0, at most 3600"
    if request.connections is not None and request.connections < 1:
        yield f"{request.connections} connections carry nothing; at least one connection is needed"
    if problem := require_file_handles(request.in_flight_at_most + _SPARE_HANDLES):
        yield f"{request.in_flight_at_most} connections are too many: {problem}"
    if request.seed < 0:
        yield f"a seed of {request.seed} is impossible; give 0 or more"
    if not request.accepts:
        yield "no status is accepted, so no request could succeed"
    if reason := _NOT_OFFERED.get(request.method.upper()):
        yield f"the method {request.method} is not offered: {reason}"
    yield from _too_many(request.planned)


def _too_many(planned: float) -> Iterator[str]:
    room = psutil.virtual_memory().available / 2
    if planned * BYTES_A_REQUEST > room:
        yield (
            f"{planned:.3g} planned requests are too many for this machine's memory, which has room for "
            f"{room / BYTES_A_REQUEST:.3g}; lower the rate or the duration"
        )


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as broken:
        raise BadInputError(f"{url!r} is not an http:// URL: {broken}") from broken
    if parts.scheme != "http" or not parts.hostname:
        raise BadInputError(f"{url!r} is not an http:// URL (https is not supported)")
    if parts.username is not None:
        raise BadInputError(f"{url!r} holds credentials; give them as a header: -H 'Authorization: ...'")
    return parts


def _address(url: str, parts: SplitResult) -> tuple[str, int]:
    try:
        port = 80 if parts.port is None else parts.port
        address = socket.getaddrinfo(parts.hostname, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    except (OSError, ValueError) as unknown:
        raise BadInputError(f"{url!r} does not lead anywhere (over IPv4): {unknown}") from unknown
    if not port:
        raise BadInputError(f"{url!r} does not lead anywhere: nobody listens on port 0")
    return str(address[0]), int(address[1])


def _render(request: LoadRequest, parts: SplitResult) -> bytes:
    """Return the request's bytes. A Host among the headers replaces the URL's; other framing fields are refused."""
    hosts = [value for name, value in request.headers if name.lower() == "host"]
    if len(hosts) > 1:
        raise BadInputError("more than one Host header is given; a request has one")
    others = [(name, value) for name, value in request.headers if name.lower() != "host"]
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        return render_request(request.method, path, (hosts or [parts.netloc])[0], others, request.body)
    except ProtocolError as refused:
        raise BadInputError(f"this request cannot be sent: {refused}") from refused


def parse_header(text: str) -> tuple[str, str]:
    """Return the name and value of `Name: value`. Raises BadInputError when there is no colon."""
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise BadInputError(f"{text!r} is not a header; write 'Name: value'")
    return name, value.strip(" \t")


def parse_statuses(text: str) -> frozenset[int]:
    """Return the statuses of `200-299,304`. Raises BadInputError for anything else."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low, high = _status(first, text), _status(last if dash else first, text)
        if low > high:
            raise BadInputError(f"{part.strip()!r} in {text!r} runs backwards")
        found.update(range(low, high + 1))
    return frozenset(found)


def _status(text: str, whole: str) -> int:
    if text.isascii() and text.isdigit() and 100 <= int(text) <= 599:
        return int(text)
    raise BadInputError(f"{whole!r} is not a set of statuses; write for example 200-299,304")


def read_body(path: Path) -> bytes:
    """Return the file's bytes. Raises BadInputError when there is no such file or it cannot be read."""
    if not path.exists():
        raise BadInputError(f"the body file {path} does not exist")
    if not path.is_file():
        raise BadInputError(f"the body file {path} is not a file")
    try:
        return path.read_bytes()
    except OSError as unreadable:
        raise BadInputError(f"the body file {path} cannot be read: {unreadable.strerror}") from unreadable


def require_writable(path: Path) -> None:
    """Raise BadInputError unless figures could be written to `path`: better known before the load than after it."""
    if path.is_dir():
        raise BadInputError(f"{path} is a folder; name a file for the figures")
    if not path.parent.is_dir():
        raise BadInputError(f"the folder {path.parent} for the figures does not exist")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise BadInputError(f"{path} cannot be written")
