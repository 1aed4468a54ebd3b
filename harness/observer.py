"""What the harness tells while it runs. Measuring code never prints: whoever wants to show progress listens here."""

from __future__ import annotations

from typing import Protocol

from results.record import PlannedTrial, TrialRecord


class Observer(Protocol):
    """Hooks; each is called on the harness's own thread, outside the measured windows."""

    def preparing(self, what: str) -> None:
        """Something before the first trial is under way (templates, pilots)."""

    def planned(self, trials: int) -> None:
        """The number of trials is known."""

    def starting(self, trial: PlannedTrial) -> None:
        """A trial begins."""

    def finished(self, record: TrialRecord) -> None:
        """A trial has been written to the record."""


class Silent:
    """An observer that shows nothing."""

    def preparing(self, what: str) -> None:
        """Show nothing."""

    def planned(self, trials: int) -> None:
        """Show nothing."""

    def starting(self, trial: PlannedTrial) -> None:
        """Show nothing."""

    def finished(self, record: TrialRecord) -> None:
        """Show nothing."""
