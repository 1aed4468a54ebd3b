"""What a load tells while it runs. Measuring code never prints: whoever wants to show progress listens here."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from harness.engines.board import Progress


class LoadPlan(NamedTuple):
    """What is about to be sent: seconds with the warm-up, requests a second (None in a closed loop), connections."""

    total_s: float
    warmup_s: float
    rate_per_s: float | None
    connections: int


class LoadObserver(Protocol):
    """Hooks; all are called on the caller's own thread, `progress` about four times a second."""

    def preparing(self, what: str) -> None:
        """Something before the window is under way."""

    def begins(self, plan: LoadPlan) -> None:
        """The engine has been started."""

    def progress(self, progress: Progress) -> None:
        """The engine is this far; `at_ns` is negative before the first request is due."""

    def stopping(self) -> None:
        """It was interrupted: nothing more is sent, what is in flight is waited for."""


class Silent:
    """An observer that shows nothing."""

    def preparing(self, what: str) -> None:
        """Show nothing."""

    def begins(self, plan: LoadPlan) -> None:
        """Show nothing."""

    def progress(self, progress: Progress) -> None:
        """Show nothing."""

    def stopping(self) -> None:
        """Show nothing."""
