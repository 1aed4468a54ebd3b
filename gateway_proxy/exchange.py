"""One request with its answer, as the features of a route see it. A route without features makes none.

Times are nanoseconds of the monotonic clock, 0 where it did not come to that:

    began_ns      the request's head was there in full
    sent_ns       the head went to the upstream (of the last attempt)
    answered_ns   the head of the final answer was there in full
    ended_ns      the last byte of the answer was handed to the client's connection, or the exchange was given up
    upstream_ns   from sending to the last byte of the answer, summed over attempts; dialling included

The gateway's own share is ended_ns - began_ns - upstream_ns: what a request costs because the gateway is there.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from gateway_proxy.http1 import RequestReader, ResponseReader


class Refusal(NamedTuple):
    """An answer in the upstream's place; `lines` are whole field lines to go with it, ending in CRLF."""

    status: int
    why: str
    lines: bytes = b""


class Exchange:
    """What is known of one exchange. Lines are whole field lines ending in CRLF."""

    __slots__ = (
        "address",
        "answer_lines",
        "answered_ns",
        "attempts",
        "began_ns",
        "body_bytes",
        "claims",
        "dropped",
        "ended_ns",
        "head",
        "host",
        "http10",
        "method",
        "outcome",
        "own",
        "peer",
        "request_bytes",
        "request_id",
        "request_lines",
        "route",
        "secure",
        "sent_ns",
        "status",
        "target",
        "upstream",
        "upstream_ns",
    )

    def __init__(self, reader: RequestReader, head: bytes, peer: bytes, route: str, now_ns: int) -> None:
        self.head = head  # raw, valid, ends in an empty line
        self.method = reader.method
        self.target = reader.target  # raw path and query
        self.host = reader.host or b""
        self.http10 = reader.http10
        self.peer = peer  # the client's address
        self.route = route  # its name in logs and metrics
        self.secure = False
        self.dropped: set[bytes] = set()  # names (lower case) of the client's fields that must not travel
        self.request_lines: list[bytes] = []  # for the upstream, after what came
        self.answer_lines: list[bytes] = []  # for the client
        self.request_id = b""
        self.claims: dict[str, Any] = {}  # of a token that was checked here
        self.upstream = ""  # its name
        self.address = ""  # of the target that the last attempt went to
        self.attempts = 0
        self.status = 0  # that the client got; 0: none
        self.own = False  # answered here
        self.outcome = ""  # ok | refused | upstream_failed | client_gone | aborted
        self.request_bytes = self.body_bytes = 0  # of bodies, as payload
        self.began_ns = now_ns
        self.sent_ns = self.answered_ns = self.ended_ns = self.upstream_ns = 0

    def field(self, name: bytes) -> bytes | None:
        """Return the value of the request's first field `name` (any case), without white space around it."""
        return field_of(self.head, name)

    @property
    def path(self) -> bytes:
        """The raw path."""
        return self.target.partition(b"?")[0]


class Pending(Protocol):
    """A step that cannot answer at once."""

    def start(self, resume: Callable[[Refusal | None], None]) -> Callable[[], None]:
        """Begin; `resume` is called once, later, from the loop. Return what cancels it: `resume` is not called then."""


class Step(Protocol):
    """A feature's part before a request is forwarded: let it pass (None), refuse it, or ask for time."""

    def __call__(self, exchange: Exchange) -> Refusal | Pending | None:
        """Judge, and add to `dropped`, `request_lines` and `answer_lines` what has to travel."""


class AnswerStep(Protocol):
    """A feature's part when the head of the final answer is there, own answers included; adds to `answer_lines`."""

    def __call__(self, exchange: Exchange, answer: ResponseReader | None) -> None:
        """`answer` is the upstream's head; None when the gateway answers itself. `status` is set."""


class EndStep(Protocol):
    """A feature's part when all is over, however it ended."""

    def __call__(self, exchange: Exchange) -> None:
        """Count or log it; times are set."""


def field_of(head: bytes, name: bytes) -> bytes | None:
    """Return the value of the first field `name` (any case) of a valid head, without white space around it."""
    found = _pattern(name).search(head)
    return found[1].strip(b" \t") if found else None


@functools.cache
def _pattern(name: bytes) -> re.Pattern[bytes]:
    """Names come from the configuration, so that there are few."""
    return re.compile(rb"\r\n" + re.escape(name) + rb":([^\r]*)", re.IGNORECASE)
