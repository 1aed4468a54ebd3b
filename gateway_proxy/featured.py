"""One exchange on a route that does more than forward: its steps in turn, its attempts, and what they come to.

A request without features has none of this. Times and counts go into the Exchange, which features read at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gateway_proxy.exchange import Exchange, Pending, Refusal, Step

if TYPE_CHECKING:
    from gateway_proxy.client import ClientConnection
    from gateway_proxy.http1 import ResponseReader
    from gateway_proxy.pool import Pool, Target
    from gateway_proxy.routes import Route
    from gateway_proxy.state import Gateway

_OPEN = Refusal(503, "the circuit breaker of the upstream is open")


class Featured:
    """What `client` asked of `route`, from the request's head to the end of the exchange.

    `answer_lines` are what features add to the answer; `upgrade` is the protocol that was offered to the upstream.
    """

    __slots__ = (
        "_cancel",
        "_client",
        "_counted",
        "_failed",
        "_first",
        "_gateway",
        "_held",
        "_route",
        "_steps",
        "_ticket",
        "_trying",
        "answer_lines",
        "exchange",
        "pool",
        "target",
        "upgrade",
    )

    def __init__(self, client: ClientConnection, gateway: Gateway, route: Route) -> None:
        reader = client.reader
        self._client = client
        self._gateway = gateway
        self._route = route
        self._steps: Iterator[Step] = iter(route.steps)
        self._cancel: Callable[[], None] | None = None
        self._first = b""  # of the body: what came with the head
        self._held: list[bytes] | None = None  # the body as it was sent, as long as it may be sent again
        self._ticket: int | None = None
        self._trying = False  # an attempt is under way
        self._failed = False  # the last attempt got no answer
        self._counted: Target | None = None  # among the target's requests in flight
        self.target: Target | None = None  # of the last attempt
        self.answer_lines = b""
        self.upgrade = b""
        self.pool: Pool = route.pool
        self.exchange = Exchange(reader, reader.head, reader.hop.peer, route.name, time.monotonic_ns())
        self.exchange.secure = gateway.config.listen.tls is not None

    # -- before it is forwarded ----------------------------------------------------------------------------------

    def begin(self, first: bytes) -> None:
        """Take the steps one after the other, and then forward; `first` is of the body, as it goes upstream."""
        self._first = first
        self.exchange.request_bytes = len(first)
        rule = self._route.retry
        if rule is not None and (first or self._client.uploading):
            self._held = [first] if len(first) <= self._route.replayed_bytes else None
        elif rule is not None:
            self._held = []
        self._advance()

    def _advance(self) -> None:
        for step in self._steps:
            verdict = step(self.exchange)
            if verdict is None:
                continue
            if isinstance(verdict, Refusal):
                self._client.refuse_featured(verdict)
            else:
                self._wait(verdict)
            return
        self._forward()

    def _wait(self, pending: Pending) -> None:
        if self._client.uploading:
            self._client.pause_upload()
        self._cancel = pending.start(self._resume)

    def _resume(self, refusal: Refusal | None) -> None:
        self._cancel = None
        if refusal is not None:
            self._client.refuse_featured(refusal)
        else:
            self._advance()

    def _forward(self) -> None:
        route = self._route
        self.pool = pool = route.choose_pool()
        self.exchange.upstream = pool.name
        if pool.breaker is None or self._admitted():
            if route.upgrade:
                self._choose_upgrade()
            self._send(pool.single or pool.next_target(self._key()))

    def _admitted(self) -> bool:
        breaker = self.pool.breaker
        if breaker is None:
            return True
        self._ticket = breaker.admits(self._gateway.now)
        if self._ticket is None:
            self._client.refuse_featured(_OPEN)
        return self._ticket is not None

    def _key(self) -> bytes:
        """Return what a consistent hash is taken of."""
        wanted = self.pool.config.hash_on
        if wanted == "client":
            return self.exchange.peer
        if wanted == "path":
            return self.exchange.path
        return self.exchange.field(wanted.encode("ascii")) or b""

    def _choose_upgrade(self) -> None:
        """Pass on an offer to change protocols that the route allows (RFC 9110 7.8); a request with a body has none."""
        reader = self._client.reader
        if not reader.length:
            self.upgrade = min(reader.offers & self._route.upgrade, default=b"")

    # -- attempts ------------------------------------------------------------------------------------------------

    def _send(self, target: Target) -> None:
        exchange, rule = self.exchange, self._route.retry
        exchange.attempts += 1
        exchange.sent_ns = time.monotonic_ns()
        again = exchange.attempts > 1
        if rule is not None and not again:
            rule.request(self._gateway.now)
        self._trying = True
        self.connected(target)
        request = self._head(target)
        if again:
            request += b"".join(self._held or ())
        elif self._first:
            request += self._first
        self._client.send_featured(self.pool, target, request, again)

    def _head(self, target: Target) -> bytes:
        """Return the request's head for this target, with what the steps want."""
        exchange, reader, route = self.exchange, self._client.reader, self._route
        if not (exchange.request_lines or exchange.dropped or self.upgrade or route.changes_targets):
            return reader.render(target.authority)
        line = route.rewrite(reader.target) if route.changes_targets else reader.target
        return reader.render_changed(target.authority, line, exchange.dropped, exchange.request_lines, self.upgrade)

    def connected(self, target: Target) -> None:
        """Note which target the attempt goes to; a dead one may have been passed over."""
        if self._counted is not target:
            self._release_target()
            target.active += 1
            self._counted = target
        self.target = target
        self.exchange.address = target.address

    def _release_target(self) -> None:
        if self._counted is not None:
            self._counted.active -= 1
            self._counted = None

    def uploaded(self, payload: bytes) -> None:
        """Keep what was sent of the body, as long as it is little enough to be sent again."""
        self.exchange.request_bytes += len(payload)
        if self._held is not None and self._route.retry is not None:
            self._held.append(payload)
            if self.exchange.request_bytes > self._route.replayed_bytes:
                self._held = None

    def takes_over(self, answer: ResponseReader) -> bool:
        """Say whether the answer is dropped because the request is sent again; otherwise let features add to it."""
        exchange, status = self.exchange, answer.status
        exchange.answered_ns = time.monotonic_ns()
        if self._route.retry is not None and self._again(status):
            return True
        self._failed = False
        exchange.status = status
        if self._route.answer_steps or exchange.answer_lines:
            self._add_lines(answer)
        return False

    def failed(self, status: int) -> bool:
        """Say whether the request is sent again after an attempt that got no whole answer."""
        self._failed = True
        if self._client.answered:
            self._attempt_ended(0)
            return False
        if status == 503:  # our own limit on connections: no word about the upstream
            self._attempt_dropped()
            return False
        return self._again(0)

    def expired(self) -> None:
        """Note that the time of the whole exchange is over: there is none for another attempt."""
        self._failed = True
        self._attempt_ended(0)

    def _again(self, status: int) -> bool:
        """End the attempt; begin the next one if the rule allows it. `status` 0: no answer."""
        rule, now = self._route.retry, self._gateway.now
        exchange = self.exchange
        wanted = (
            rule is not None
            and self._trying
            and rule.may_retry(exchange.method, exchange.attempts, status, self._held is not None, now)
        )
        if status == 0 or wanted:
            self._attempt_ended(status)
        if not wanted or rule is None:
            return False
        if self._client.uploading:
            self._client.pause_upload()
        timer = self._gateway.loop.call_later(rule.pause_s(exchange.attempts), self._retry)
        self._cancel = timer.cancel
        return True

    def _retry(self) -> None:
        self._cancel = None
        if self._admitted():
            key = self._key()
            self._send(self.pool.another(self.target, key) if self.target else self.pool.next_target(key))

    def _attempt_ended(self, status: int) -> None:
        if not self._trying:
            return
        self._trying = False
        pool, now = self.pool, self._gateway.now
        self.exchange.upstream_ns += time.monotonic_ns() - self.exchange.sent_ns
        self._release_target()
        if pool.judges and self.target is not None:
            pool.seen(self.target, status, now)
        if self._ticket is not None and pool.breaker is not None:
            pool.breaker.ended(self._ticket, status == 0 or status >= 500, now)
            self._ticket = None

    # -- the answer and the end ----------------------------------------------------------------------------------

    def answered_here(self, status: int) -> None:
        """Note an answer of the gateway's own, and let features add to it."""
        self.exchange.own = True
        self.exchange.status = status
        self._add_lines(None)

    @property
    def request_owned(self) -> frozenset[bytes]:
        """The fields (lower case) that the client may not send upstream, not as trailers either."""
        return self._route.request_owned

    @property
    def answer_dropped(self) -> frozenset[bytes]:
        """The fields (lower case) that the upstream may not send to the client."""
        return self._route.answer_dropped

    def _add_lines(self, answer: ResponseReader | None) -> None:
        lines = self.exchange.answer_lines
        before = len(lines)
        for step in self._route.answer_steps:
            step(self.exchange, answer)
        self.answer_lines = b"".join(lines)
        del lines[before:]  # an answer that breaks before it is passed on is followed by another

    def end(self, outcome: str) -> None:
        """End the exchange: ok (answered, by whomever), client_gone, or aborted (an answer that broke off).

        An error of the gateway's own is upstream_failed when it stands for an answer that did not come, else refused.
        """
        exchange = self.exchange
        if self._cancel is not None:
            self._cancel()
            self._cancel = None
        if self._trying:
            self._give_back(outcome)
        if outcome == "ok" and exchange.own and exchange.status >= 400:
            outcome = "upstream_failed" if self._failed else "refused"
        exchange.outcome = outcome
        exchange.ended_ns = time.monotonic_ns()
        for step in self._route.end_steps:
            step(exchange)

    def _give_back(self, outcome: str) -> None:
        """End the last attempt; a client that goes away says nothing about the upstream."""
        if outcome == "client_gone":
            self._attempt_dropped()
        else:
            self._attempt_ended(0 if outcome == "aborted" or self.exchange.own else self.exchange.status)

    def _attempt_dropped(self) -> None:
        """End an attempt of which nothing can be said; the breaker gets its ticket back."""
        self._trying = False
        self._release_target()
        if self._ticket is not None and self.pool.breaker is not None:
            self.pool.breaker.abandoned(self._ticket, self._gateway.now)
            self._ticket = None
