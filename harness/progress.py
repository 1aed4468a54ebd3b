"""Shows a person what is running, which block, and how much time is left. Measures nothing."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from results.record import PlannedTrial, TrialRecord


class ProgressBars:
    """An Observer that draws a bar on a terminal and prints plain lines into a file or a CI log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("trials"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            refresh_per_second=2,  # drawing takes time on the load generator's core
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._done = 0
        self._total = 0
        self._first_start = 0.0
        self._block = -1

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def preparing(self, what: str) -> None:
        """Show what is under way before the first trial."""
        self._say(what)

    def planned(self, trials: int) -> None:
        """Begin to count."""
        self._total = trials
        self._first_start = time.monotonic()
        self._task = self._bar.add_task("starting", total=trials, left="")

    def starting(self, trial: PlannedTrial) -> None:
        """Show the trial that begins."""
        about = trial.fault or trial.experiment or (f"capacity of {trial.search}" if trial.search else "")
        what = f"block {trial.block + 1}: {trial.arm}" + (f", {about}" if about else "")
        if self._task is not None:
            self._bar.update(self._task, description=f"{what:<42}")
        if trial.block != self._block:
            self._block = trial.block
            self._plain(f"block {trial.block + 1}: trial {self._done + 1} of {self._total}")

    def finished(self, record: TrialRecord) -> None:
        """Count the trial, and say what went wrong with it if something did."""
        self._done += 1
        if record.state != "done":
            reasons = record.error or ", ".join(doubt.name for doubt in record.doubts if doubt.fatal)
            self._console.print(f"trial {record.trial.folder} is {record.state}: {reasons}", markup=False)
        if self._task is not None:
            self._bar.update(self._task, advance=1, left=self._time_left())

    def _time_left(self) -> str:
        mean_s = (time.monotonic() - self._first_start) / self._done
        return f"{mean_s * (self._total - self._done):.0f} s left"

    def _say(self, what: str) -> None:
        self._console.print(f"[dim]{what} ...[/dim]")

    def _plain(self, what: str) -> None:
        if not self._console.is_terminal:
            self._console.print(what)
