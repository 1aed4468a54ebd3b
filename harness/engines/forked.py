"""The native engine's crew: every job is carried out by a process of its own, forked from the fork server."""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engines.engine import CrewPlan, Engine
from harness.errors import HarnessError

if TYPE_CHECKING:
    from harness.engines.job import Job, LoadResult
    from harness.forkserver import ForkServer

_TARGET = "harness.engines.native:run_job"


class ForkedLoad:
    """The native engine at work in a process of its own."""

    def __init__(self, job: Job, folder: Path, server: ForkServer, cores: list[int]) -> None:
        from harness.forkserver import Spawn  # noqa: PLC0415 - the registry is read by `archbench --help`

        self.server = server
        self.end_ns = job.t0_ns + (job.marks_ns[-1] if job.marks_ns else 0)
        self.log = folder / "engine.log"
        self.result_path = folder / "load.result"
        self.result_path.unlink(missing_ok=True)
        job_path = folder / "load.job"
        job_path.write_bytes(pickle.dumps(job, protocol=pickle.HIGHEST_PROTOCOL))
        arguments = (str(job_path), str(self.result_path))
        self.pid = server.spawn(Spawn(_TARGET, arguments, str(self.log), cores))

    def wait(self, timeout_s: float) -> LoadResult:
        """Wait for the engine to end and return what it brought. Raises HarnessError when it brought nothing.

        Sleeps through the windows: whoever looks every few milliseconds disturbs the core that it looks from.
        """
        time.sleep(max(0, self.end_ns - time.monotonic_ns()) / 1e9)
        deadline = time.monotonic() + timeout_s
        while (code := self.server.exit_code(self.pid)) is None:
            if time.monotonic() > deadline:
                raise HarnessError(f"the load engine did not end within {timeout_s:.0f} s")
            time.sleep(0.005)
        if code != 0:
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise HarnessError(f"the load engine ended with code {code}:\n{tail}")
        result: LoadResult = pickle.loads(self.result_path.read_bytes())  # noqa: S301 - from our own child
        return result


class ForkedCrew:
    """Forks a native engine for each job."""

    def __init__(self, server: ForkServer, cores: list[int]) -> None:
        self.server = server
        self.cores = cores

    def submit(self, job: Job, folder: Path) -> ForkedLoad:
        """Fork an engine for the job."""
        return ForkedLoad(job, folder, self.server, self.cores)

    def describe(self) -> dict[str, Any]:
        """Return what the record should say of it."""
        return {"engine_workers": 1, "generator_cores": self.cores}


@contextlib.contextmanager
def _start(plan: CrewPlan) -> Iterator[ForkedCrew]:
    yield ForkedCrew(plan.server, plan.cores)


ENGINE = Engine("one process on one core, epoll, every sample recorded", lambda: None, _start)
