"""From a load request to the engine's job. Times are drawn as columns: 12 bytes a request and no object."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator

import numpy as np

from harness.engines.job import ClosedLoop, Job, Request, Schedule
from harness.errors import BadInputError
from harness.histogram import Column
from harness.loadtest.request import LoadRequest, Prepared

_AT_A_TIME = 65_536
_LEAD_NS = 200_000_000  # for the engine to be forked and to read its job
_LEAD_A_REQUEST_NS = 100
_NOTHING = Schedule.of([])


def build_job(request: LoadRequest, prepared: Prepared, now_ns: int, board: str) -> Job:
    """Return the job, to begin shortly after `now_ns`. Raises BadInputError when chance leaves nothing to send."""
    once = Request(0, prepared.payload, request.accepts)
    end_ns = round(request.total_s * 1e9)
    schedule = _NOTHING if request.closed else _schedule(request, once)
    return Job(
        targets=[prepared.address],
        schedule=schedule,
        t0_ns=now_ns + _LEAD_NS + _LEAD_A_REQUEST_NS * len(schedule),
        timeout_ns=round(request.timeout_s * 1e9),
        max_in_flight=request.in_flight_at_most,
        closed=ClosedLoop([once], request.in_flight_at_most, 0, end_ns, repeat=True) if request.closed else None,
        marks_ns=[round(request.warmup_s * 1e9), end_ns],
        board=board,
    )


def _schedule(request: LoadRequest, once: Request) -> Schedule:
    at_ns = due_times(request)
    if not at_ns:
        raise BadInputError("no request came due: the rate is too low for the duration; raise one of them")
    return Schedule(at_ns, array("I", [0]) * len(at_ns), [once])


def due_times(request: LoadRequest) -> array[int]:
    """Return when each request is due, in ns: the first of constant arrivals at 0, Poisson ones drawn from the seed."""
    drawn = array("q")
    for column in _poisson(request) if request.arrivals == "poisson" else _constant(request):
        drawn.frombytes(column.astype(np.int64).tobytes())
    return drawn


def _constant(request: LoadRequest) -> Iterator[Column]:
    count = math.ceil(round(request.planned, 6))
    for start in range(0, count, _AT_A_TIME):
        numbers = np.arange(start, min(start + _AT_A_TIME, count))
        yield (numbers * (1e9 / request.rate_per_s)).astype(np.int64)


def _poisson(request: LoadRequest) -> Iterator[Column]:
    rng = np.random.default_rng(request.seed)
    end_ns = request.total_s * 1e9
    reached = 0.0
    while reached < end_ns:
        times = reached + np.cumsum(rng.exponential(1e9 / request.rate_per_s, _AT_A_TIME))
        yield times[times < end_ns].astype(np.int64)
        reached = float(times[-1])
