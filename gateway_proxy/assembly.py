"""From a configuration to what does it: pools, routes with their steps, and what is looked after once a tick.

What a configuration does not ask for is neither built nor imported. At a reload, what has not changed is taken over:
pools with their connections, rate limits with their buckets, counts, the open log.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway_proxy import config
from gateway_proxy.balance import BALANCERS
from gateway_proxy.config import GatewayConfig
from gateway_proxy.exchange import EndStep, Step
from gateway_proxy.health import judges_for
from gateway_proxy.inquiry import Inquirer
from gateway_proxy.pool import Pool
from gateway_proxy.routes import Route, Routes, Timeouts

if TYPE_CHECKING:
    from gateway_proxy.features.accesslog import AccessLog
    from gateway_proxy.features.metrics import Metrics
    from gateway_proxy.features.ratelimit import RateLimit
    from gateway_proxy.state import Gateway

UNROUTED = "(none)"


class AssemblyProblem(Exception):  # noqa: N818 - a sentence for the user, like FileProblem
    """The configuration is valid, but a key, log or certificate that it names cannot be used; says which and why."""


@dataclass
class Assembly:
    """What a configuration came to. `sweeps` are called once a tick with the time in seconds of the loop's clock."""

    config: GatewayConfig
    pools: dict[str, Pool]
    inquirer: Inquirer
    limits: dict[Hashable, RateLimit]
    log: AccessLog | None
    metrics: Metrics | None
    routes: Routes = field(init=False)
    unrouted: Route = field(init=False)
    sweeps: list[Callable[[float], None]] = field(default_factory=list)

    @property
    def shortest_timeout_s(self) -> float:
        """The shortest time that anything waits, which decides how often deadlines are looked at."""
        limits = self.config.limits
        waits = [limits.head_timeout_s, limits.body_timeout_s, limits.idle_timeout_s]
        for route in self.routes.everything:
            waits += [route.timeouts.response_head_s, route.timeouts.idle_s]
            waits += [route.timeouts.exchange_s] if route.timeouts.exchange_s else []
        return min(waits)

    def reopen(self) -> None:
        """Go on in new files of the same names, as after a rotation."""
        if self.log is not None:
            self.log.reopen()

    def replaced_by(self, new: Assembly) -> None:
        """End what the new assembly does not use any more."""
        for name, pool in self.pools.items():
            if new.pools.get(name) is not pool:
                pool.close()
        if self.log is not None and new.log is not self.log:
            self.log.close()

    def close(self) -> None:
        """End everything that is under way."""
        for pool in self.pools.values():
            pool.close()
        self.inquirer.close()
        if self.log is not None:
            self.log.close()


def assemble(settings: GatewayConfig, gateway: Gateway, before: Assembly | None) -> Assembly:
    """Return what the configuration asks for, with what is unchanged taken over from `before`.

    Raises AssemblyProblem for keys that cannot be used or a log that cannot be opened; `before` is untouched.
    """
    rng = random.Random() if settings.seed is None else random.Random(f"{settings.seed}:{gateway.worker}")
    inquirer = before.inquirer if before is not None else Inquirer(gateway.loop)
    log = _log(settings, before)
    made = Assembly(
        settings,
        pools={name: _pool(name, settings, gateway, before, inquirer, rng) for name in settings.upstreams},
        inquirer=inquirer,
        limits={},
        log=log,
        metrics=_metrics(settings, gateway, before),
    )
    builder = _Builder(settings, gateway, made, before, rng)
    try:
        made.routes = Routes(builder.route(route) for route in settings.routes)
    except Exception:
        if log is not None and (before is None or log is not before.log):
            log.close()
        raise
    made.unrouted = builder.unrouted()
    if log is not None:
        made.sweeps.append(log.flush_if_due)
    made.sweeps.append(lambda _now: inquirer.close_idle())
    return made


def _pool(
    name: str,
    settings: GatewayConfig,
    gateway: Gateway,
    before: Assembly | None,
    inquirer: Inquirer,
    rng: random.Random,
) -> Pool:
    upstream = settings.upstreams[name]
    old = before.pools.get(name) if before is not None else None
    if old is not None and old.config == upstream:
        return old
    pool = Pool(name, upstream, BALANCERS[upstream.balance](rng))
    pool.judges = list(judges_for(upstream, pool, inquirer.ask, rng, gateway.now))
    if upstream.circuit_breaker is not None:
        from gateway_proxy.breaker import Breaker  # noqa: PLC0415

        pool.breaker = Breaker(upstream.circuit_breaker, gateway.now)
    return pool


def _log(settings: GatewayConfig, before: Assembly | None) -> AccessLog | None:
    if settings.access_log is None:
        return None
    if before is not None and before.config.access_log == settings.access_log:
        return before.log
    from gateway_proxy.features.accesslog import AccessLog  # noqa: PLC0415

    log = settings.access_log
    try:
        return AccessLog(log.file, log.flush_s)
    except OSError as error:
        raise AssemblyProblem(f"access_log.file: {log.file}: {error.strerror or error}") from None


def _metrics(settings: GatewayConfig, gateway: Gateway, before: Assembly | None) -> Metrics | None:
    if not settings.metrics:
        return None
    if before is not None and before.metrics is not None:
        return before.metrics
    from gateway_proxy.features import metrics  # noqa: PLC0415 - prometheus_client

    return metrics.Metrics(
        [
            metrics.client_connections(lambda: len(gateway.clients)),
            metrics.upstream_connections(lambda: _connections(gateway)),
        ]
    )


def _connections(gateway: Gateway) -> Iterator[tuple[str, int, int]]:
    for pool in gateway.pools.values():
        idle = sum(len(target.idle) for target in pool.targets)
        yield pool.name, idle, sum(target.opened for target in pool.targets) - idle


class _Builder:
    """Turns the routes of one configuration into routes that can be taken."""

    def __init__(
        self, settings: GatewayConfig, gateway: Gateway, made: Assembly, before: Assembly | None, rng: random.Random
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._made = made
        self._before = before
        self._rng = rng
        self._ids = list(self._id_steps())
        self._ends: tuple[EndStep, ...] = tuple(step for step in (made.log, made.metrics) if step is not None)

    def route(self, route: config.Route) -> Route:
        """Return the route with its steps, in the order that their files state."""
        shares = [(self._made.pools[share.upstream], share.weight) for share in route.shares]
        made = Route(_name(route), shares, _timeouts(route, shares[0][0]), route, self._rng)
        cors = self._cors(route)
        steps: list[Any] = [*self._ids, cors, *self._gates(route), self._fault(route)]
        made.steps = tuple(step for step in steps if step is not None)
        made.answer_steps = (cors.answer,) if cors is not None else ()
        made.answer_dropped = frozenset().union(*(getattr(step, "answer_dropped", ()) for step in made.steps))
        made.request_owned = frozenset().union(*(getattr(step, "request_owned", ()) for step in made.steps))
        made.end_steps = self._ends
        made.retry = self._retry(route)
        made.replayed_bytes = route.retry.max_body_bytes if route.retry is not None else 0
        made.plain = self._is_plain(made)
        return made

    def unrouted(self) -> Route:
        """Return what requests without a route are counted under."""
        pool = next(iter(self._made.pools.values()))
        nowhere = config.Route(prefix="/", upstream=pool.name)
        made = Route(UNROUTED, [(pool, 1)], _timeouts(nowhere, pool), nowhere, self._rng)
        made.end_steps = self._ends
        made.plain = not self._ends
        return made

    def _is_plain(self, route: Route) -> bool:
        more = (route.steps, route.end_steps, route.retry, route.upgrade, route.changes_targets, len(route.pools) > 1)
        return not any(more) and not route.pool.watched

    def _id_steps(self) -> Iterator[Step]:
        if self._settings.request_id is not None:
            from gateway_proxy.features.ids import RequestIds  # noqa: PLC0415

            yield RequestIds(self._settings.request_id, self._rng)
        if self._settings.trace is not None:
            from gateway_proxy.features.ids import TraceContext  # noqa: PLC0415

            yield TraceContext(self._settings.trace, self._rng)

    def _cors(self, route: config.Route) -> Any:
        if route.cors is None:
            return None
        from gateway_proxy.features.cors import Cors  # noqa: PLC0415

        return Cors(route.cors)

    def _gates(self, route: config.Route) -> Sequence[Step | None]:
        """Return who may pass and how often: a limit by claim needs the token to be read first."""
        limit, auth = self._limit(route), self._auth(route)
        by_claim = route.rate_limit is not None and route.rate_limit.key.startswith("claim:")
        return (auth, limit) if by_claim else (limit, auth)

    def _limit(self, route: config.Route) -> RateLimit | None:
        if route.rate_limit is None:
            return None
        key = (route.matchers, route.rate_limit)
        old = self._before.limits.get(key) if self._before is not None else None
        if old is None:
            from gateway_proxy.features.ratelimit import RateLimit  # noqa: PLC0415

            old = RateLimit(route.rate_limit, time.monotonic_ns, "gateway")
        self._made.limits[key] = old
        return old

    def _auth(self, route: config.Route) -> Step | None:
        auth = route.auth
        if auth is None:
            return None
        if auth.jwt is not None:
            from gateway_proxy.features.tokens import JwtCheck, KeyProblem  # noqa: PLC0415 - PyJWT and cryptography

            try:
                return JwtCheck(auth.jwt, auth.claims, time.time)
            except KeyProblem as problem:
                raise AssemblyProblem(f"auth.jwt of the route {route.prefix}: {problem}") from None
        assert auth.ask is not None
        from gateway_proxy.features.ask import AskAuth  # noqa: PLC0415

        return AskAuth(auth.ask, self._asker(auth.ask.upstream), time.monotonic)

    def _asker(self, upstream: str) -> Any:
        """Return how to ask: at a target of the upstream's choosing, each time anew."""
        pool, ask = self._made.pools[upstream], self._made.inquirer.ask

        def asker(method: str, target: str, headers: Any, timeout_s: float, done: Any) -> Any:
            return ask(pool.next_target().address, method, target, headers, timeout_s, done)

        return asker

    def _fault(self, route: config.Route) -> Step | None:
        if route.fault is None:
            return None
        from gateway_proxy.features.faults import InjectedFault  # noqa: PLC0415

        return InjectedFault(route.fault, self._rng, self._gateway.loop)

    def _retry(self, route: config.Route) -> Any:
        if route.retry is None:
            return None
        from gateway_proxy.retries import RetryRule  # noqa: PLC0415

        return RetryRule(route.retry, self._rng)


def _timeouts(route: config.Route, pool: Pool) -> Timeouts:
    own, upstream = route.timeouts or config.Timeouts(), pool.config
    return Timeouts(
        connect_s=own.connect_s or upstream.connect_timeout_s,
        response_head_s=own.response_head_s or upstream.response_timeout_s,
        idle_s=own.idle_s or upstream.response_timeout_s,
        exchange_s=own.exchange_s,
    )


def _name(route: config.Route) -> str:
    """Return what the route is called in logs and metrics: its prefix, and its conditions if it has any."""
    conditions = [
        *([route.host] if route.host else []),
        *route.methods,
        *(f"{name}={value}" for name, value in route.fields.items()),
    ]
    return f"{route.prefix} [{' '.join(conditions)}]" if conditions else route.prefix
