"""Which route a request takes: the longest prefix that ends at a segment of the path, if its conditions hold."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from gateway_proxy import config
from gateway_proxy.exchange import AnswerStep, EndStep, Step, field_of

if TYPE_CHECKING:
    from gateway_proxy.http1 import RequestReader
    from gateway_proxy.pool import Pool
    from gateway_proxy.retries import RetryRule

_LONG_BYTES = 256
_QUESTION, _DOT, _PERCENT = b"?.%"  # looking for an int in bytes is several times cheaper than looking for bytes
# A slash however it is written, two dots however they are written, and a slash or the end.
_CLIMBS = re.compile(rb"(?:/|\\|%2f|%5c)(?:\.|%2e){2}(?:/|\\|%2f|%5c|\Z)", re.IGNORECASE).search


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a route waits, in seconds; `exchange_s` is None when the whole may last."""

    connect_s: float
    response_head_s: float
    idle_s: float
    exchange_s: float | None = None


class Route:
    """One route, ready to be taken. `plain` says that there is nothing to do but to forward.

    `changes_targets` says that the request target is rewritten.

    `steps` run before a request is forwarded, `answer_steps` when the final answer's head is there, `end_steps` when
    all is over, each in their order. `answer_dropped` are fields (lower case) that upstreams must not send to clients.
    """

    __slots__ = (
        "_answers_preflights",
        "_fields",
        "_host",
        "_methods",
        "_replacement",
        "_shares",
        "_weights",
        "answer_dropped",
        "answer_steps",
        "changes_targets",
        "end_steps",
        "name",
        "plain",
        "pool",
        "prefix",
        "replayed_bytes",
        "request_owned",
        "retry",
        "rng",
        "steps",
        "timeouts",
        "upgrade",
    )

    def __init__(
        self,
        name: str,
        pools: Sequence[tuple[Pool, int]],
        timeouts: Timeouts,
        route: config.Route,
        rng: random.Random,
    ) -> None:
        self.name = name
        self.pool = pools[0][0]
        self.timeouts = timeouts
        self.prefix = route.prefix.rstrip("/").encode("ascii")
        self._shares = [pool for pool, _ in pools]
        self._weights = list(accumulate(weight for _, weight in pools))
        self._host = route.host.encode("ascii") if route.host else b""
        self._methods = frozenset(method.encode("ascii") for method in route.methods)
        self._fields = [(name.encode("ascii"), value.encode("ascii")) for name, value in route.fields.items()]
        self._replacement = _replacement(route)
        self.changes_targets = self._replacement is not None
        self._answers_preflights = route.cors is not None
        self.upgrade = frozenset(protocol.encode("ascii") for protocol in route.upgrade)
        self.rng = rng
        self.steps: tuple[Step, ...] = ()
        self.answer_steps: tuple[AnswerStep, ...] = ()
        self.answer_dropped: frozenset[bytes] = frozenset()
        self.request_owned: frozenset[bytes] = frozenset()
        self.end_steps: tuple[EndStep, ...] = ()
        self.retry: RetryRule | None = None
        self.replayed_bytes = 0  # the longest body that is held to be sent again
        self.plain = False

    @property
    def is_conditional(self) -> bool:
        """Whether more than the path decides."""
        return bool(self._host or self._methods or self._fields)

    @property
    def precedence(self) -> tuple[bool, int, bool]:
        """How particular the conditions are; the most particular route of a prefix is asked first."""
        return (bool(self._host), len(self._fields), bool(self._methods))

    @property
    def pools(self) -> Sequence[Pool]:
        """All pools among which it is split."""
        return self._shares

    def matches(self, reader: RequestReader) -> bool:
        """Say whether host, method and fields of the request are this route's."""
        if self._host and not self._is_host(reader.host):
            return False
        if self._methods and reader.method not in self._methods and not self._is_preflight(reader):
            return False
        return all(field_of(reader.head, name) == value for name, value in self._fields)

    def _is_preflight(self, reader: RequestReader) -> bool:
        """A preflight asks on behalf of the method that it names (Fetch, CORS-preflight)."""
        if not self._answers_preflights or reader.method != b"OPTIONS":
            return False
        return field_of(reader.head, b"Access-Control-Request-Method") in self._methods

    def _is_host(self, host: bytes | None) -> bool:
        """Compare without the port; `*.` stands for at least one label."""
        name = (host or b"").lower().partition(b":")[0]
        if self._host.startswith(b"*."):
            return name.endswith(self._host[1:]) and len(name) > len(self._host) - 1
        return name == self._host

    def choose_pool(self) -> Pool:
        """Return the pool of one request: by its share, drawn at random, where there are several."""
        if len(self._shares) == 1:
            return self.pool
        drawn = self.rng.random() * self._weights[-1]
        return next(pool for pool, until in zip(self._shares, self._weights, strict=True) if drawn < until)

    def rewrite(self, target: bytes) -> bytes:
        """Return the request target as the upstream gets it: another prefix, the rest raw as it came."""
        if self._replacement is None or target[: len(self.prefix)] != self.prefix:
            return target
        changed = self._replacement + target[len(self.prefix) :]
        return changed if changed[:1] == b"/" else b"/" + changed


def _replacement(route: config.Route) -> bytes | None:
    if route.rewrite_prefix is not None:
        return route.rewrite_prefix.rstrip("/").encode("ascii")
    return b"" if route.strip_prefix else None


class Routes:
    """A lookup from requests to routes.

    Prefixes are compared byte by byte with the raw path, so `%61` is not `a`: what the upstream sees is what decided.
    The cost of a lookup grows with the depth of the path, not with the number of routes; a long path is first cut to
    the depth of the deepest prefix, as walking up from its end would cost the square of its length.

    No route matches a path with a `..` segment, plain or encoded: a service that resolves it would see another path
    than the one that was routed, and reach what no route leads to (RFC 3986 5.2.4 has clients remove them).
    """

    __slots__ = ("_by_prefix", "_conditional", "_deepest", "everything")

    def __init__(self, routes: Iterable[Route]) -> None:
        self.everything = tuple(routes)
        by_prefix: dict[bytes, list[Route]] = {}
        for route in self.everything:
            by_prefix.setdefault(route.prefix, []).append(route)
        for several in by_prefix.values():
            several.sort(key=lambda route: route.precedence, reverse=True)
        self._by_prefix = {prefix: several[0] for prefix, several in by_prefix.items() if _decides(several)}
        self._conditional = {prefix: several for prefix, several in by_prefix.items() if not _decides(several)}
        self._deepest = max((prefix.count(b"/") for prefix in by_prefix), default=0)

    def find(self, reader: RequestReader) -> Route | None:
        """Return the route of a request in origin-form, or None when none matches."""
        target = reader.target
        path = target.partition(b"?")[0] if _QUESTION in target else target
        if (_DOT in path or _PERCENT in path) and _CLIMBS(path):
            return None
        if len(path) > _LONG_BYTES:
            path = b"/".join(path.split(b"/", self._deepest + 1)[: self._deepest + 1])
        if self._conditional:
            return self._find_conditional(path, reader)
        find = self._by_prefix.get
        found = find(path)
        while found is None and path:
            path = path.rpartition(b"/")[0]
            found = find(path)
        return found

    def _find_conditional(self, path: bytes, reader: RequestReader) -> Route | None:
        while True:
            for route in self._conditional.get(path, ()):
                if route.matches(reader):
                    return route
            found = self._by_prefix.get(path)
            if found is not None or not path:
                return found
            path = path.rpartition(b"/")[0]


def _decides(several: Sequence[Route]) -> bool:
    """Say whether the path alone leads to this route."""
    return len(several) == 1 and not several[0].is_conditional
