"""What a load engine has to provide: say what it lacks, start a crew, carry out one job after the other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # `archbench --help` reads the registry and needs none of it
    from harness.engines.job import Job, LoadResult
    from harness.forkserver import ForkServer


class Pending(Protocol):
    """A job that is being carried out."""

    def wait(self, timeout_s: float) -> LoadResult:
        """Wait for the job's end, at most `timeout_s` after it was due to end, and return what it brought.

        Raises HarnessError (a sentence) when it brought nothing.
        """


class Crew(Protocol):
    """An engine that stands ready. It takes one job at a time."""

    def submit(self, job: Job, folder: Path) -> Pending:
        """Begin the job; `folder` is for what passes between the processes."""

    def describe(self) -> dict[str, Any]:
        """Return what the record should say of it: versions, workers."""


@dataclass(frozen=True)
class CrewPlan:
    """What a crew is started with: `workers` processes on `cores`; a scratch folder; where it listens for others.

    `await_workers` is how many more are expected to join from other machines.
    """

    server: ForkServer
    cores: list[int]
    scratch: Path
    workers: int = 1
    listen: tuple[str, int] = ("127.0.0.1", 0)
    await_workers: int = 0


@dataclass(frozen=True)
class Engine:
    """A load engine as the registry knows it. `start` yields a crew and ends every process of it afterwards."""

    says: str
    missing: Callable[[], str | None]
    start: Callable[[CrewPlan], AbstractContextManager[Crew]]
    several: bool = False  # whether it has workers: `workers`, `listen` and `await_workers` of the plan
