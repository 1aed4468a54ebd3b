"""A rendered request taken apart again, for clients that want to write the head themselves."""

from __future__ import annotations

import re
from typing import NamedTuple

_VERSION = "HTTP/1.1"
_NUMBERED = re.compile(r"(?!v\d+$).*\d.*")  # v1 is a version of the interface


class Rendered(NamedTuple):
    """The parts of a request. A field that stood there several times has a list of values, in order."""

    method: str
    target: str
    headers: dict[str, str | list[str]]
    body: bytes


def parse_rendered(payload: bytes) -> Rendered:
    """Return the parts of what render_request made. Raises ValueError for anything that it cannot have made."""
    head, end_of_head, body = payload.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    target, _, version = rest.rpartition(" ")
    if not end_of_head or not method or not target or version != _VERSION:
        raise ValueError(f"not a rendered request: {payload[:80]!r}")
    headers = _headers(fields)
    if int(str(headers.get("Content-Length", 0))) != len(body):
        raise ValueError(f"the body of {method} {target} has {len(body)} bytes, and its head says otherwise")
    return Rendered(method, target, headers, body)


def _headers(fields: list[str]) -> dict[str, str | list[str]]:
    headers: dict[str, str | list[str]] = {}
    for line in fields:
        name, separator, value = line.partition(": ")
        if not separator:
            raise ValueError(f"not a rendered field: {line!r}")
        before = headers.get(name)
        if before is None:
            headers[name] = value
        else:
            headers[name] = [*(before if isinstance(before, list) else [before]), value]
    return headers


def label_of(method: str, target: str) -> str:
    """Return a name for statistics that many requests share: no query, and * for segments that number something."""
    path, _, _ = target.partition("?")
    segments = ("*" if _NUMBERED.fullmatch(segment) else segment for segment in path.split("/"))
    return f"{method} {'/'.join(segments)}"
