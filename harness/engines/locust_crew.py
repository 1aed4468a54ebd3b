"""Locust as a load engine: a master and several workers, on this machine and on others.

    harness --(one line a job)--> master --(Locust's channel)--> local workers, and `archbench worker` from elsewhere

The crew lives for a whole run: Locust's users (one dispatcher a worker) are started once, and a job costs what its
messages cost. Locust replaces half of the standard library when it is imported, so it is imported in its own processes
only; this module starts and watches them. They die with the harness: standard input ends, and the kernel sees to the
rest (Linux).

Local workers share our monotonic clock. For a worker on another machine the master compares clocks (clockoffset.py)
from messages there and back, and sends it t0 by its own clock. A wrong offset moves that worker's whole share by at
most half a round trip and what the clocks drift in between; it does not enter latencies, which begin and end on one
clock.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import ipaddress
import json
import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from harness.engines.engine import CrewPlan, Engine
from harness.errors import BadInputError, HarnessError

if TYPE_CHECKING:
    from harness.engines.job import Job, LoadResult

PATIENCE_S = 60.0
AWAIT_PATIENCE_S = 180.0
_END_PATIENCE_S = 45.0
_POLL_S = 0.005
_WHOLE_PATIENCE_S = 30.0


def missing() -> str | None:
    """Return the sentence that says how to get Locust, or None when it is there."""
    if importlib.util.find_spec("locust") is None:
        return "Locust is not installed: pip install 'archbench[locust]'"
    return None


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT. Raises BadInputError (a sentence) for anything else."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise BadInputError(f"{text!r} is not HOST:PORT, for example 192.0.2.1:5557")
    return host, int(port)


def parse_listen(text: str) -> tuple[str, int]:
    """Return IP address and port of HOST:PORT, an address of this machine at which others reach it.

    Raises BadInputError (a sentence) for a name that nobody knows, and for the address that stands for all of them.
    """
    host, port = parse_address(text)
    try:
        address = socket.gethostbyname(host)
    except OSError as unknown:
        raise BadInputError(f"{host!r} is no address: {unknown}") from unknown
    if ipaddress.ip_address(address).is_unspecified:
        raise BadInputError(f"{host!r} stands for every address; name the one at which the workers reach this machine")
    return address, port


def become_worker(master: str) -> NoReturn:
    """Turn this process into a worker of the master at HOST:PORT.

    Raises BadInputError for another kind of text, HarnessError when Locust is not installed.
    """
    host, port = parse_address(master)
    if problem := missing():
        raise HarnessError(problem)
    command = [sys.executable, "-m", "harness.engines.locust_worker", "--master", f"{host}:{port}"]
    os.execv(sys.executable, command)  # noqa: S606 - our own module, in a process without anything else


class LocustLoad:
    """A job that the crew is carrying out."""

    def __init__(self, crew: LocustCrew, job: Job, result: Path) -> None:
        self.crew = crew
        self.result = result
        self.problem = result.with_suffix(".problem")
        self.end_ns = job.t0_ns + _length_ns(job)

    def wait(self, timeout_s: float) -> LoadResult:
        """Wait for the job's end and return what it brought; when a worker was lost, for its replacement as well.

        Raises HarnessError when the job failed, the master died, or nothing came within `timeout_s` after the end.
        """
        time.sleep(max(0, self.end_ns - time.monotonic_ns()) / 1e9)
        deadline = time.monotonic() + timeout_s
        while not self.result.exists():
            if self.problem.exists():
                raise HarnessError(self.problem.read_text(encoding="utf-8"))
            self.crew.require_alive()
            if time.monotonic() > deadline:
                raise HarnessError(f"the Locust crew did not end the job within {timeout_s:.0f} s")
            time.sleep(_POLL_S)
        found: LoadResult = pickle.loads(self.result.read_bytes())  # noqa: S301 - from our own child
        if found.lost:
            self.crew.await_whole()
        return found


def _length_ns(job: Job) -> int:
    """Return when the job is due to end, in ns from t0."""
    schedule_ns = job.schedule.at_ns[-1] if len(job.schedule) else 0
    return max(schedule_ns, job.closed.end_ns if job.closed else 0, *job.marks_ns, 0)


class LocustCrew:
    """Locust's master, as the harness sees it."""

    def __init__(self, plan: CrewPlan) -> None:
        self.plan = plan
        self.folder = plan.scratch / "locust"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state_path = self.folder / "state"
        self.state_path.unlink(missing_ok=True)
        self.log = self.folder / "master.log"
        self.jobs = 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "harness.engines.locust_master", str(self._write_plan())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the harness alone
            )

    def _write_plan(self) -> Path:
        plan = {
            "listen": self.plan.listen,
            "workers": self.plan.workers,
            "await_workers": self.plan.await_workers,
            "cores": self.plan.cores,
            "folder": str(self.folder),
            "state": str(self.state_path),
            "parent": os.getpid(),
            "patience_s": PATIENCE_S,
            "await_patience_s": AWAIT_PATIENCE_S,
        }
        path = self.folder / "plan"
        path.write_text(json.dumps(plan), encoding="utf-8")
        return path

    def state(self) -> dict[str, Any]:
        """Return what the master last said of the crew: port, whole, problem, members."""
        found: dict[str, Any] = {"whole": False, "problem": "", "members": []}
        with contextlib.suppress(FileNotFoundError):
            found |= json.loads(self.state_path.read_bytes())
        return found

    def await_whole(self, patience_s: float = _WHOLE_PATIENCE_S) -> None:
        """Wait until every worker is ready, or until that cannot be; the next job says why."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and self.process.poll() is None:
            state = self.state()
            if state["whole"] or state["problem"]:
                return
            time.sleep(_POLL_S)

    def require_ready(self) -> None:
        """Wait for the crew's start. Raises HarnessError when it does not come about."""
        patience_s = AWAIT_PATIENCE_S if self.plan.await_workers else PATIENCE_S
        self.await_whole(patience_s + 10)  # the master gives up first, and says why
        state = self.state()
        if state["problem"]:
            raise HarnessError(state["problem"])
        self.require_alive()
        if not state["whole"]:
            raise HarnessError(f"the Locust crew was not ready within {patience_s:.0f} s")

    def require_alive(self) -> None:
        """Raise HarnessError with the end of its log when the master has ended."""
        code = self.process.poll()
        if code is not None:
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise HarnessError(f"Locust's master ended with code {code}:\n{tail}")

    def submit(self, job: Job, folder: Path) -> LocustLoad:
        """Hand the job to the master. Raises HarnessError when there is no master any more."""
        self.require_alive()
        result = folder / "load.result"
        for old in (result, result.with_suffix(".problem")):
            old.unlink(missing_ok=True)
        path = folder / "load.job"
        path.write_bytes(pickle.dumps(job, protocol=pickle.HIGHEST_PROTOCOL))
        self.jobs += 1
        command = {"job": self.jobs, "path": str(path), "result": str(result)}
        self._tell(json.dumps(command).encode() + b"\n")
        return LocustLoad(self, job, result)

    def _tell(self, line: bytes) -> None:
        try:
            self.process.stdin.write(line)  # type: ignore[union-attr]  # it was asked for
            self.process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            self.process.wait(timeout=5)
            self.require_alive()

    def describe(self) -> dict[str, Any]:
        """Return what the record should say of it."""
        members = self.state()["members"]
        versions = [f"{name} {importlib.metadata.version(name)}" for name in ("locust", "geventhttpclient", "gevent")]
        return {
            "engine_workers": len(members),
            "generator_cores": self.plan.cores,
            "engine_version": ", ".join(versions),
            "engine_members": members,
        }

    def end(self) -> None:
        """Let the workers finish what is in flight and end every process of the crew."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()  # type: ignore[union-attr]
        try:
            self.process.wait(timeout=_END_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End every process of the crew at once."""
        self.process.terminate()  # the master ends its workers, then itself
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=5)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()  # type: ignore[union-attr]


@contextlib.contextmanager
def _start(plan: CrewPlan) -> Iterator[LocustCrew]:
    crew = LocustCrew(plan)
    try:
        crew.require_ready()
        yield crew
    except BaseException:
        crew.kill()
        raise
    crew.end()


_SAYS = "Locust's master and workers, several processes here and on other machines"
ENGINE = Engine(_SAYS, missing, _start, several=True)
