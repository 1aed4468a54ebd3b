"""Load on one URL, as a tool of its own: the native engine, and figures that say whether they are to be believed.

Latency is counted from the intended start, service time from the send, slip is the difference of the two; each goes
into an HdrHistogram (three significant digits, microseconds). A timeout enters as the timeout.
"""

from __future__ import annotations

import contextlib
import random
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hdrh.histogram import HdrHistogram

from gateway_proxy.http1 import render_request
from harness.cpu import usable_cores
from harness.engines.forked import ForkedLoad
from harness.engines.job import DROPPED, ERROR, OK, TIMEOUT, ClosedLoop, Job, LoadResult, Request, Rows, Schedule
from harness.environment import require_file_handles
from harness.errors import BadInputError
from harness.forkserver import ForkServer
from harness.schedule import Arrivals, draw_schedule
from harness.scratch import scratch_folder

_LEAD_NS = 100_000_000
_SUCCESS = frozenset(range(200, 400))
_BUSY_LIMIT = 0.8
_ACHIEVED_LIMIT = 0.99
_SLIP_SHARE = 0.1
_HISTOGRAM_MOST_US = 600_000_000


@dataclass(frozen=True)
class LoadRequest:
    """What to send where. `rate_per_s` is not used in a closed loop."""

    url: str
    rate_per_s: float
    duration_s: float
    arrivals: Arrivals = "constant"
    connections: int = 1000
    closed: bool = False
    timeout_s: float = 5.0
    seed: int = 1


@dataclass(frozen=True)
class Distribution:
    """Milliseconds."""

    mean: float
    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float


@dataclass(frozen=True)
class LoadSummary:
    """What came of it. planned = sent + dropped; sent = completed + errors + timeouts. Rates per second."""

    planned: int
    sent: int
    completed: int
    errors: int
    timeouts: int
    dropped: int
    offered_rate: float
    achieved_rate: float
    latency_ms: Distribution
    service_ms: Distribution
    slip_ms: Distribution
    generator_cpu_s: float
    valid: bool
    reasons: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, as `--json` writes it."""
        return asdict(self)

    def describe(self) -> str:
        """Return the figures for a terminal."""
        rows = [
            (
                f"planned {self.planned}, sent {self.sent}, completed {self.completed}, errors {self.errors}, "
                f"timeouts {self.timeouts}, dropped {self.dropped}"
            ),
            (
                f"offered {self.offered_rate:.1f}/s, achieved {self.achieved_rate:.1f}/s, "
                f"generator CPU {self.generator_cpu_s:.2f} s"
            ),
            f"{'ms':<10}{'mean':>10}{'p50':>10}{'p90':>10}{'p99':>10}{'p99.9':>10}{'max':>10}",
        ]
        for name, one in (("latency", self.latency_ms), ("service", self.service_ms), ("slip", self.slip_ms)):
            values = (one.mean, one.p50, one.p90, one.p99, one.p99_9, one.max)
            rows.append(f"{name:<10}" + "".join(f"{value:>10.3f}" for value in values))
        rows += [f"not to be believed: {reason}" for reason in self.reasons]
        return "\n".join(rows)


def load(request: LoadRequest) -> LoadSummary:
    """Drive the URL and return the figures. Raises BadInputError for a request that cannot be carried out."""
    address, payload = _target(request.url)
    _require_sense(request)
    schedule = _schedule(request, payload)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(scratch_folder()))
        server = stack.enter_context(contextlib.closing(ForkServer(preload=("harness.engines.native",))))
        job = _job(request, address, payload, schedule)
        pending = ForkedLoad(job, folder, server, usable_cores()[:1])
        result = pending.wait(request.timeout_s + 30)
    return _summary(request, job, result)


def _target(url: str) -> tuple[tuple[str, int], bytes]:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise BadInputError(f"{url!r} is not an http:// URL (https is not supported)")
    try:
        port = parts.port or 80
        address = socket.getaddrinfo(parts.hostname, port, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    except (OSError, ValueError) as unknown:
        raise BadInputError(f"{url!r} does not lead anywhere: {unknown}") from unknown
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return (str(address[0]), int(address[1])), render_request("GET", path, parts.netloc.rpartition("@")[2])


def _require_sense(request: LoadRequest) -> None:
    if request.rate_per_s <= 0 and not request.closed:
        raise BadInputError(f"a rate of {request.rate_per_s:g} requests a second sends nothing; give one above 0")
    if request.duration_s <= 0:
        raise BadInputError(f"a duration of {request.duration_s:g} s measures nothing; give one above 0")
    if request.connections < 1:
        raise BadInputError("at least one connection is needed")
    if problem := require_file_handles(request.connections + 64):
        raise BadInputError(f"{request.connections} connections are too many: {problem}")


def _schedule(request: LoadRequest, payload: bytes) -> Schedule:
    if request.closed:
        return Schedule.of([])
    rng = random.Random(request.seed)
    arrivals = draw_schedule({"": 1.0}, request.rate_per_s, request.duration_s, request.arrivals, rng)
    return Schedule.repeating((arrival.at_ns for arrival in arrivals), Request(0, payload, _SUCCESS))


def _job(request: LoadRequest, address: tuple[str, int], payload: bytes, schedule: Schedule) -> Job:
    end_ns = int(request.duration_s * 1e9)
    again = [Request(0, payload, _SUCCESS)]
    closed = ClosedLoop(again, request.connections, 0, end_ns, repeat=True) if request.closed else None
    return Job(
        targets=[address],
        schedule=schedule,
        t0_ns=time.monotonic_ns() + _LEAD_NS + 1000 * len(schedule),
        timeout_ns=int(request.timeout_s * 1e9),
        max_in_flight=request.connections,
        closed=closed,
        marks_ns=[0, end_ns],
    )


def _summary(request: LoadRequest, job: Job, result: LoadResult) -> LoadSummary:
    rows = result.closed if request.closed else result.open
    intended = rows.sent_ns if request.closed else job.schedule.at_ns
    counts = {code: rows.outcome.count(code) for code in (OK, ERROR, TIMEOUT, DROPPED)}
    planned = len(rows.outcome)
    last_ns = max((done for done in rows.done_ns if done >= 0), default=0)
    seconds = max(request.duration_s, last_ns / 1e9) if request.closed else request.duration_s
    timeout_ns = job.timeout_ns
    latency = _distribution(_waits(rows, intended, timeout_ns))
    slip = _distribution([sent - due for sent, due in zip(rows.sent_ns, intended, strict=True) if sent >= 0])
    cpu = [mark.cpu_ns.get("generator", 0) for mark in result.marks]
    reasons = list(_reasons(request, result, planned - counts[DROPPED], planned, (latency, slip)))
    return LoadSummary(
        planned=planned,
        sent=planned - counts[DROPPED],
        completed=counts[OK],
        errors=counts[ERROR],
        timeouts=counts[TIMEOUT],
        dropped=counts[DROPPED],
        offered_rate=planned / seconds,
        achieved_rate=counts[OK] / seconds,
        latency_ms=latency,
        service_ms=_distribution(_waits(rows, rows.sent_ns, timeout_ns)),
        slip_ms=slip,
        generator_cpu_s=(cpu[-1] - cpu[0]) / 1e9 if cpu else 0.0,
        valid=not reasons,
        reasons=reasons,
    )


def _waits(rows: Rows, since: Any, timeout_ns: int) -> list[int]:
    """Return ns from `since` to the answer; at least the timeout where none came in time; dropped ones are left out."""
    columns = zip(since, rows.done_ns, rows.outcome, strict=True)
    return [
        done - start if outcome != TIMEOUT else timeout_ns
        for start, done, outcome in columns
        if outcome == TIMEOUT or done >= 0
    ]


def _distribution(values_ns: list[int]) -> Distribution:
    histogram = HdrHistogram(1, _HISTOGRAM_MOST_US, 3)
    for value in values_ns:
        histogram.record_value(max(1, value // 1000))
    if not values_ns:
        return Distribution(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    p50, p90, p99, p99_9 = (histogram.get_value_at_percentile(share) / 1e3 for share in (50, 90, 99, 99.9))
    return Distribution(sum(values_ns) / len(values_ns) / 1e6, p50, p90, p99, p99_9, max(values_ns) / 1e6)


def _reasons(
    request: LoadRequest, result: LoadResult, sent: int, planned: int, found: tuple[Distribution, Distribution]
) -> Any:
    """Yield why the figures are not to be believed."""
    latency, slip = found
    if result.late_start_ns and not request.closed:
        yield f"the generator came up {result.late_start_ns / 1e6:.0f} ms late"
    if result.capped:
        yield f"{result.capped} requests were not sent: {request.connections} connections were all in use"
    if not request.closed and result.busy_share > _BUSY_LIMIT:
        yield f"the generator was busy for {result.busy_share:.0%} of the time: its own limit, not the target's"
    if not request.closed and sent < _ACHIEVED_LIMIT * planned:
        yield f"only {sent} of {planned} planned requests were sent"
    if not request.closed and slip.p99 > _SLIP_SHARE * latency.p99:
        yield f"slip p99 is {slip.p99:.3f} ms, more than a tenth of the latency p99 of {latency.p99:.3f} ms"
