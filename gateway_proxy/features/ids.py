"""Request ids, and the W3C Trace Context: what a request is called on its way.

Order: before every step that may refuse, so that a refusal carries the id as well. Neither reads what others add.
"""

from __future__ import annotations

import random
import re

from gateway_proxy.config import RequestId, Trace
from gateway_proxy.exchange import Exchange
from gateway_proxy.features.fields import all_values

_SANE = re.compile(rb"[!-~]{1,128}\Z")
_TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})\Z")
_KNOWN_FLAGS = 0x03  # sampled and random; the others must be sent as zero


class RequestIds:
    """Gives every request an id of 32 hex digits, or keeps the one that came if that is trusted and sane.

    Sane is one field line of at most 128 visible ASCII characters. Ids come from `rng`: unique, no secret.
    `answer_dropped` names what must not travel from the upstream's answer: an echo of the id that is told here.
    `request_owned` names what only the gateway tells the upstream; the client may not, in trailers either.
    """

    def __init__(self, config: RequestId, rng: random.Random) -> None:
        self._low = config.field.lower().encode("ascii")
        self._name = config.field.encode("ascii")
        self._trust = config.trust
        self._find = all_values(config.field)
        self._random_bytes = rng.randbytes
        self.answer_dropped = self.request_owned = frozenset({self._low})

    def __call__(self, exchange: Exchange) -> None:
        """Name the request: upstream, to the client, and for the log."""
        came = self._find(exchange.head)
        if came:
            exchange.dropped.add(self._low)
        request_id = self._trusted(came) or self._random_bytes(16).hex().encode()
        exchange.request_id = request_id
        line = b"%b: %b\r\n" % (self._name, request_id)
        exchange.request_lines.append(line)
        exchange.answer_lines.append(line)

    def _trusted(self, came: list[bytes]) -> bytes | None:
        if not self._trust or len(came) != 1:
            return None
        request_id = came[0].strip(b" \t")
        return request_id if _SANE.match(request_id) else None


class TraceContext:
    """Takes part in traces (W3C Trace Context, Recommendation of 2021, version 00 of traceparent).

    A valid traceparent is continued: its trace id and flags, with a parent id of our own. Anything else, also two
    of them, begins a new trace, sampled with the configured share, and then what came as tracestate is dropped.
    """

    request_owned = frozenset({b"traceparent", b"tracestate"})  # not to be taken from trailers

    def __init__(self, config: Trace, rng: random.Random) -> None:
        self._share = config.sampled_share
        self._random = rng.random
        self._random_bytes = rng.randbytes
        self._parents = all_values("traceparent")
        self._states = all_values("tracestate")

    def __call__(self, exchange: Exchange) -> None:
        """Continue the trace, or begin one."""
        came = self._parents(exchange.head)
        known = _TRACEPARENT.match(came[0].strip(b" \t")) if len(came) == 1 else None
        if came:
            exchange.dropped.add(b"traceparent")
        if known is None:
            self._begin(exchange)
        else:
            parent = self._random_bytes(8).hex().encode()
            flags = int(known[2], 16) & _KNOWN_FLAGS
            exchange.request_lines.append(b"traceparent: 00-%b-%b-%02x\r\n" % (known[1], parent, flags))

    def _begin(self, exchange: Exchange) -> None:
        if self._states(exchange.head):
            exchange.dropped.add(b"tracestate")
        ids = self._random_bytes(24).hex().encode()  # all zero, which is not allowed, once in 2 ** 64 requests
        sampled = self._random() < self._share
        exchange.request_lines.append(b"traceparent: 00-%b-%b-%02x\r\n" % (ids[:32], ids[32:], sampled))
