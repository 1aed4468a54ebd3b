"""The client with which the services call each other: operations, the policy around them, and the log of calls."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from gateway_proxy.http1 import render_request
from stub_services.breaker import Breaker, State
from stub_services.calllog import CallLog
from stub_services.failover import CONNECT_TIMEOUT_S
from stub_services.policies import (
    CorrectedPolicy,
    DocumentedPolicy,
    Guard,
    NoPolicy,
    Policy,
    Result,
    RetryBudget,
)
from stub_services.pool import Caps, Host, Pool
from stub_services.replicas import Replicas, Sending
from stub_services.settings import Settings, peer_addresses

logger = logging.getLogger("stub_services.client")


@dataclass(frozen=True)
class Operation:
    """Something a service can ask of a peer; named as in the scenario."""

    name: str
    callee: str
    method: str
    idempotent: bool = False


PROFILE_CREATE = Operation("profile/create", "user", "POST", idempotent=True)
PROFILE_READ = Operation("profile/read", "user", "GET", idempotent=True)
PROGRESS_UPDATE = Operation("progress/update", "user", "PUT")
STATISTICS_UPDATE = Operation("statistics/update", "user", "PUT")
SEND = Operation("send", "notification", "POST")


@dataclass(frozen=True)
class _Peer:
    host: Host
    authority: str
    guard: Guard
    replicas: Replicas | None  # where the peer has several addresses; `host` is the first of them


class Client:
    """Calls to all peers of one service. Must be made inside the running loop.

    `clock` in seconds and `rng` are the policies' sources of time and chance.
    """

    def __init__(
        self,
        settings: Settings,
        log: CallLog,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        caps: Caps | None = None,
    ) -> None:
        self._log = log
        self._clock = clock
        self._scale = settings.clock_scale
        self._pool = Pool(clock, caps)
        self._policy = _policy(settings, clock, rng or random.Random(settings.seed))
        self._peers = {name: self._peer(name, url) for name, url in settings.peers.items()}
        self._headers = [("X-Internal-API-Key", settings.internal_api_key), ("Content-Type", "application/json")]
        self._heads: dict[str, bytes] = {}
        self._complaints = Complaints(clock)

    async def call(self, operation: Operation, target: str, body: bytes | None, key: str) -> Result:
        """Make a call and log it. Failures are results, never exceptions.

        `key` names the effect wanted; under a policy that sends keys it is what makes a repeat recognisable.
        """
        start_ns = time.monotonic_ns()
        peer = self._peers[operation.callee]
        keyed = self._policy.sends_keys and not operation.idempotent
        retriable = keyed or operation.idempotent
        request = self._render(operation, target, body, key if keyed else "")
        if peer.replicas is None:
            attempt = partial(self._pool.exchange, peer.host, request)
            result = await self._policy.run(attempt, peer.guard, retriable=retriable)
        else:
            sending = Sending(peer.replicas, request, repeatable=retriable)
            result = sending.counted(await self._policy.run(sending, peer.guard, retriable=retriable))
        reply = result.reply
        self._log.call(
            start_ns, operation.callee, operation.name, result.attempts, result.outcome, reply.status, reply.hops
        )
        if result.outcome != "ok":
            self._complaints.about(operation, result)
        return result

    def _render(self, operation: Operation, target: str, body: bytes | None, key: str) -> bytes:
        """Render the request; heads are kept where only the length of the body changes from call to call."""
        authority = self._peers[operation.callee].authority
        if key:
            return render_request(operation.method, target, authority, [*self._headers, ("Idempotency-Key", key)], body)
        if body is None:
            return render_request(operation.method, target, authority, self._headers)
        head = self._heads.get(target)
        if head is None:  # one a constant target: those with a learner in them have no body
            empty = render_request(operation.method, target, authority, self._headers)
            head = self._heads[target] = empty.removesuffix(b"\r\n")
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _peer(self, name: str, urls: str) -> _Peer:
        """Make a peer. Its requests name the first address as their Host, whichever of the addresses they go to."""
        addresses = peer_addresses(name, urls)
        several = len(addresses) > 1
        hosts = [self._pool.host(*address, CONNECT_TIMEOUT_S if several else None) for address in addresses]
        note = partial(self._log.event, peer=name)
        breaker = Breaker(
            self._clock,
            interval_s=10.0 / self._scale,
            timeout_s=30.0 / self._scale,
            on_change=partial(self._note_breaker, name),
        )
        budget = RetryBudget(self._clock, window_s=10.0 / self._scale)
        replicas = Replicas(self._pool, hosts, self._clock, note) if several else None
        return _Peer(hosts[0], f"{hosts[0].host}:{hosts[0].port}", Guard(breaker, budget), replicas)

    def _note_breaker(self, peer: str, state: State) -> None:
        self._log.event(f"breaker_{state.value}", peer)


class Complaints:
    """Says that calls fail, at most once a second for each operation: a line a failure would be a load of its own."""

    def __init__(self, clock: Callable[[], float], every_s: float = 1.0) -> None:
        self._clock = clock
        self._every_s = every_s
        self._last: dict[str, float] = {}
        self._silent: dict[str, int] = {}

    def about(self, operation: Operation, result: Result) -> None:
        """Log the failure, or count it for the next line."""
        now = self._clock()
        name = operation.name
        if now - self._last.get(name, -self._every_s) < self._every_s:
            self._silent[name] = self._silent.get(name, 0) + 1
            return
        self._last[name] = now
        logger.warning(
            "%s at %s failed: %s, status %d, %s (and %d before it)",
            name,
            operation.callee,
            result.outcome,
            result.reply.status,
            result.reply.failure or "answered",
            self._silent.pop(name, 0),
        )


def _policy(settings: Settings, clock: Callable[[], float], rng: random.Random) -> Policy:
    if settings.policy == "documented":
        return DocumentedPolicy(asyncio.sleep, settings.clock_scale)
    if settings.policy == "corrected":
        return CorrectedPolicy(clock, rng, asyncio.sleep, settings.clock_scale)
    return NoPolicy()
