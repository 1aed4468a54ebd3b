"""What balancers and judges see of an upstream: its targets, and the pool that keeps the list of those in use."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar


class Target(Protocol):
    """One address behind an upstream."""

    @property
    def authority(self) -> bytes:
        """HOST:PORT, as configured; no two targets of an upstream share it."""

    @property
    def weight(self) -> int:
        """Its shares of what comes to the upstream, 1 to 1000."""

    @property
    def active(self) -> int:
        """Requests of this process that are in flight there."""

    @property
    def held_out(self) -> Collection[str]:
        """Why it gets no requests; empty when it does."""


T = TypeVar("T", bound=Target)


class TargetPool(Protocol[T]):
    """The targets of one upstream; keeps the balancer's list current."""

    @property
    def targets(self) -> Sequence[T]:
        """All of them, in the order of the configuration."""

    def hold_out(self, target: T, reason: str) -> None:
        """Send it no requests while there is any reason, unless no target is left."""

    def readmit(self, target: T, reason: str) -> None:
        """Take one reason back."""
