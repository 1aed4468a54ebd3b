"""Our own load engines as benchmarks use them: jobs as `archbench load` makes them, carried out by a crew."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.engines import ENGINES, CrewPlan
from harness.engines.job import OK, Job, LoadResult, Schedule
from harness.forkserver import ForkServer
from harness.loadtest import LoadRequest
from harness.loadtest.plan import build_job
from harness.loadtest.request import prepare
from harness.scratch import scratch_folder
from tests.bench import rig

_PATIENCE_S = 60.0

Drive = Callable[[LoadRequest], tuple[Job, LoadResult]]
Nanoseconds = npt.NDArray[np.int64]


def require(name: str) -> None:
    """Raise MissingToolError unless the engine can be started."""
    if name not in ENGINES:
        raise rig.MissingToolError(f"there is no load engine {name!r} yet")
    if problem := ENGINES[name].missing():
        raise rig.MissingToolError(problem)


@contextlib.contextmanager
def crew(name: str, cores: Sequence[int], others: Sequence[int], payloads: Sequence[bytes] = ()) -> Iterator[Drive]:
    """Start an engine on `cores`; yield what carries out one request for load after the other.

    `payloads`, if there are any, are sent one after the other in place of the request's own rendering.
    """
    require(name)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(scratch_folder()))
        server = stack.enter_context(contextlib.closing(ForkServer(("harness.engines.native",), list(others))))
        started = stack.enter_context(ENGINES[name].start(CrewPlan(server, list(cores), scratch)))

        def drive(request: LoadRequest) -> tuple[Job, LoadResult]:
            job = varied(job_for(request), payloads) if payloads else job_for(request)
            return job, started.submit(job, scratch).wait(_PATIENCE_S)

        yield drive


def job_for(request: LoadRequest, marks_ns: Sequence[int] = ()) -> Job:
    """Return the job that `archbench load` would make of it, to begin shortly; with these marks if any are given."""
    job = build_job(request, prepare(request), time.monotonic_ns(), "")
    return dataclasses.replace(job, marks_ns=list(marks_ns)) if marks_ns else job


def varied(job: Job, payloads: Sequence[bytes]) -> Job:
    """Return an open-loop job that sends these payloads in turn, each to the job's target at the times it had."""
    (once,) = job.schedule.requests
    which = array("I", (number % len(payloads) for number in range(len(job.schedule))))
    requests = [once._replace(payload=payload) for payload in payloads[: len(which)]]
    return dataclasses.replace(job, schedule=Schedule(job.schedule.at_ns, which, requests))


def slip_ns(job: Job, result: LoadResult) -> Nanoseconds:
    """Return sent less intended of every request that was sent."""
    sent, due = _column(result.open.sent_ns), _column(job.schedule.at_ns)
    return (sent - due)[sent >= 0]


def service_ns(result: LoadResult) -> Nanoseconds:
    """Return done less sent of every request that was answered."""
    sent, done = _column(result.open.sent_ns), _column(result.open.done_ns)
    return (done - sent)[done >= 0]


def latency_ns(job: Job, result: LoadResult) -> Nanoseconds:
    """Return done less intended of every request that was answered."""
    done, due = _column(result.open.done_ns), _column(job.schedule.at_ns)
    return (done - due)[done >= 0]


def flaw(result: LoadResult) -> str | None:
    """Say why a result is not to be compared, or None: everything has to be sent in time and answered well."""
    bad = len(result.open.outcome) - result.open.outcome.count(OK)
    if bad:
        return f"{bad} requests were not answered well"
    if result.late_start_ns:
        return f"it came up {result.late_start_ns / 1e6:.0f} ms late"
    return "; ".join(result.lost) or None


def _column(values: Sequence[int]) -> Nanoseconds:
    return np.asarray(values, np.int64)
