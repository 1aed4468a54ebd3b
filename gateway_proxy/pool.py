"""The connections to an upstream: which target is next, which idle connection is taken, when idle ones are closed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gateway_proxy.balance import Balancer
from gateway_proxy.config import Upstream
from gateway_proxy.health import Judge

if TYPE_CHECKING:
    from gateway_proxy.breaker import Breaker
    from gateway_proxy.upstream import UpstreamConnection


class Target:
    """One address behind an upstream, with its idle connections; the last one used is the first one taken.

    `active` counts requests in flight, where somebody asks for it; `held_out` holds the reasons why it gets none.
    """

    __slots__ = ("active", "address", "authority", "dialling", "held_out", "host", "idle", "opened", "port", "weight")

    def __init__(self, address: str, weight: int = 1) -> None:
        host, _, port = address.rpartition(":")
        self.host = host.removeprefix("[").removesuffix("]")
        self.port = int(port)
        self.address = address
        self.authority = address.encode("ascii")
        self.weight = weight
        self.idle: list[UpstreamConnection] = []
        self.held_out: set[str] = set()
        self.active = self.opened = self.dialling = 0


class Pool:
    """The targets of one upstream. `single` spares the balancer where there is nothing to choose."""

    __slots__ = (
        "_idle_timeout_s",
        "_max_idle",
        "_max_opened",
        "available",
        "balancer",
        "breaker",
        "closed",
        "config",
        "connect_timeout_s",
        "counting",
        "judges",
        "name",
        "response_timeout_s",
        "single",
        "targets",
    )

    def __init__(self, name: str, upstream: Upstream, balancer: Balancer[Target]) -> None:
        self.name = name
        self.config = upstream
        self.targets = [Target(target.address, target.weight) for target in upstream.targets]
        self.available: Sequence[Target] = self.targets
        self.single = self.targets[0] if len(self.targets) == 1 else None
        self.balancer = balancer
        balancer.changed(self.targets)
        self.judges: list[Judge[Target]] = []
        self.breaker: Breaker | None = None
        self.counting = upstream.balance in ("least_connections", "two_choices")
        self.connect_timeout_s = upstream.connect_timeout_s
        self.response_timeout_s = upstream.response_timeout_s
        self._idle_timeout_s = upstream.idle_timeout_s
        self._max_idle = upstream.max_idle_per_target
        self._max_opened = upstream.max_connections_per_target
        self.closed = False

    @property
    def watched(self) -> bool:
        """Whether somebody wants to know of every request: it then costs more."""
        return bool(self.judges or self.counting or self.breaker or self.config.balance == "consistent_hash")

    def next_target(self, key: bytes = b"") -> Target:
        """Return the target of the next request."""
        return self.balancer.pick(key) if self.single is None else self.single

    def another(self, than: Target, key: bytes) -> Target:
        """Return a target for a second attempt: another one than that if there is one."""
        picked = self.next_target(key)
        others = [target for target in self.available if target is not than]
        return others[self.available.index(picked) % len(others)] if picked is than and others else picked

    def candidates(self, first: Target) -> Iterable[Target]:
        """Yield `first` and then the other targets, each once, as long as it may open another connection."""
        start = self.targets.index(first)
        for target in self.targets[start:] + self.targets[:start]:
            wanted = target is first or target in self.available
            if wanted and (self._max_opened is None or target.opened + target.dialling < self._max_opened):
                yield target

    def hold_out(self, target: Target, reason: str) -> None:
        """Send the target no more requests, for this reason; when none is left, all are asked."""
        target.held_out.add(reason)
        self._choose_available()

    def readmit(self, target: Target, reason: str) -> None:
        """Take a reason back."""
        target.held_out.discard(reason)
        self._choose_available()

    def _choose_available(self) -> None:
        self.available = [target for target in self.targets if not target.held_out] or self.targets
        self.balancer.changed(self.available)

    def seen(self, target: Target, status: int, now: float) -> None:
        """Tell the judges of one outcome: the answer's status, or 0 for no answer."""
        for judge in self.judges:
            judge.seen(target, status, now)

    def sweep(self, now: float) -> None:
        """Do what is due, once a tick."""
        self.close_idle(now)
        for judge in self.judges:
            judge.sweep(now)

    def release(self, connection: UpstreamConnection, now: float) -> bool:
        """Keep an unused connection for the next request; False when there are enough, and it is to be closed."""
        idle = connection.target.idle
        if len(idle) >= self._max_idle or self.closed:
            return False
        connection.idle_since = now
        idle.append(connection)
        return True

    def close_idle(self, now: float) -> None:
        """Close the connections that nobody has used for the idle timeout; the oldest stand first."""
        for target in self.targets:
            while target.idle and target.idle[0].idle_since + self._idle_timeout_s < now:
                target.idle.pop(0).close()

    def close(self) -> None:
        """Close idle connections now, and those in use when they are done."""
        self.closed = True
        for judge in self.judges:
            judge.close()
        for target in self.targets:
            while target.idle:
                target.idle.pop().close()
