"""The connections to an upstream: which target is next, which idle connection is taken, when idle ones are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_proxy.config import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway_proxy.upstream import UpstreamConnection


class Target:
    """One address behind an upstream, with its idle connections; the last one used is the first one taken."""

    __slots__ = ("authority", "dialling", "host", "idle", "opened", "port")

    def __init__(self, authority: str) -> None:
        host, _, port = authority.rpartition(":")
        self.host = host.removeprefix("[").removesuffix("]")
        self.port = int(port)
        self.authority = authority.encode("ascii")
        self.idle: list[UpstreamConnection] = []
        self.opened = 0
        self.dialling = 0


class Pool:
    """The targets of one upstream, taken in turn."""

    __slots__ = (
        "_idle_timeout_s",
        "_max_idle",
        "_max_opened",
        "_next",
        "connect_timeout_s",
        "name",
        "response_timeout_s",
        "targets",
    )

    def __init__(self, name: str, upstream: Upstream) -> None:
        self.name = name
        self.targets = [Target(target.address) for target in upstream.targets]
        self.connect_timeout_s = upstream.connect_timeout_s
        self.response_timeout_s = upstream.response_timeout_s
        self._idle_timeout_s = upstream.idle_timeout_s
        self._max_idle = upstream.max_idle_per_target
        self._max_opened = upstream.max_connections_per_target
        self._next = 0

    def next_target(self) -> Target:
        """Return the target whose turn it is."""
        if len(self.targets) == 1:
            return self.targets[0]
        self._next = (self._next + 1) % len(self.targets)
        return self.targets[self._next]

    def candidates(self, first: Target) -> Iterable[Target]:
        """Yield `first` and then the other targets, each once, as long as it may open another connection."""
        start = self.targets.index(first)
        for target in self.targets[start:] + self.targets[:start]:
            if self._max_opened is None or target.opened + target.dialling < self._max_opened:
                yield target

    def release(self, connection: UpstreamConnection, now: float) -> bool:
        """Keep an unused connection for the next request; False when there are enough, and it is to be closed."""
        idle = connection.target.idle
        if len(idle) >= self._max_idle:
            return False
        connection.idle_since = now
        idle.append(connection)
        return True

    def close_idle(self, now: float) -> None:
        """Close the connections that nobody has used for the idle timeout; the oldest stand first."""
        for target in self.targets:
            while target.idle and target.idle[0].idle_since + self._idle_timeout_s < now:
                target.idle.pop(0).close()
