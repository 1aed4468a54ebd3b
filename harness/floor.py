"""The load generator's own floor and ceiling on this machine: the same engine against a target that does nothing.

The floor is what stands in every latency beside the target: the engine, two system calls a side and the kernel's
loopback. The ceiling is the closed-loop throughput at which the engine itself is the bottleneck. With two cores
or more the target has another core than the engine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gateway_proxy.http1 import render_request
from harness.engines import Crew
from harness.engines.forked import ForkedCrew
from harness.engines.job import OK, ClosedLoop, Job, LoadResult, Request, Rows, Schedule
from harness.errors import HarnessError, StartError
from harness.forkserver import ForkServer, Spawn
from harness.histogram import Histogram
from harness.scratch import scratch_folder

FLOOR_S = 0.35
CEILING_S = 0.4
CEILING_CONNECTIONS = 64
_WARMUP_NS = 50_000_000  # connections are opened meanwhile
_LEAD_NS = 80_000_000
_TIMEOUT_NS = 1_000_000_000
_IN_FLIGHT = 1000
_PATIENCE_S = 10.0
_IN_TIME = 0.5  # of the requests sent no later than _LATE_NS: beyond its limit it falls behind, disturbed it catches up
_LATE_NS = 10_000_000
_MOST_PER_S = 1_000_000.0  # no generator in Python comes near; keeps the schedule small
_PAYLOAD = render_request("GET", "/", "127.0.0.1")


@dataclass(frozen=True)
class Floor:
    """What the engine measures where there is nothing to measure. `requests` were counted after a short warm-up."""

    rate_per_s: float
    requests: int
    sent_in_time_per_s: float
    latency: Histogram  # from the intended start
    slip: Histogram

    @property
    def kept_up(self) -> bool:
        """Say whether the generator keeps this rate on this machine."""
        return self.sent_in_time_per_s >= _IN_TIME * self.rate_per_s

    def figures(self) -> dict[str, float]:
        """Return the plain figures; percentiles of fewer than 1000 requests are what they are."""
        p50, p99 = self.latency.percentiles_ms((50.0, 99.0))
        return {
            "rate_per_s": self.rate_per_s,
            "requests": float(self.requests),
            "p50_us": p50 * 1e3,
            "p99_us": p99 * 1e3,
            "max_us": self.latency.max_ms * 1e3,
        }


@dataclass(frozen=True)
class Ceiling:
    """What the engine gets through at most: answers a second over so many connections, and what each took."""

    connections: int
    per_s: float
    busy_share: float
    latency: Histogram  # here from the send: a closed loop has no other start


def generator_floor(
    server: ForkServer, crew: Crew, platform_cores: Sequence[int], rate_per_s: float
) -> dict[str, float]:
    """Return a crew's floor at this rate as plain figures: rate_per_s, requests, p50_us, p99_us, max_us. Takes 0.5 s.

    Raises HarnessError when the engine or the target does not come up.
    """
    return measure_floor(server, (), platform_cores, rate_per_s, crew=crew).figures()


def measure_floor(
    server: ForkServer,
    generator_cores: Sequence[int],
    target_cores: Sequence[int],
    rate_per_s: float,
    seconds: float = FLOOR_S,
    payload: bytes = _PAYLOAD,
    crew: Crew | None = None,
) -> Floor:
    """Drive a target that does nothing at constant arrivals, a million a second at most, for `seconds`.

    `crew` is the engine to drive it with, in place of the native one on `generator_cores`.

    Raises HarnessError when the engine or the target does not come up.
    """
    rate = min(rate_per_s, _MOST_PER_S)
    end_ns = _WARMUP_NS + round(seconds * 1e9)
    at_ns = array("q", range(0, end_ns, round(1e9 / rate)))
    schedule = Schedule(at_ns, array("I", [0]) * len(at_ns), [_request(payload)])
    crew = crew or ForkedCrew(server, list(generator_cores))
    job, result = _drive(server, crew, target_cores, _Load(schedule, None, end_ns, len(payload)))
    return _floor(rate, job.schedule.at_ns, result.open)


def measure_ceiling(
    server: ForkServer,
    generator_cores: Sequence[int],
    target_cores: Sequence[int],
    connections: int = CEILING_CONNECTIONS,
    seconds: float = CEILING_S,
    payload: bytes = _PAYLOAD,
) -> Ceiling:
    """Keep so many requests in flight to a target that does nothing for `seconds` and a short warm-up.

    Raises HarnessError when the engine or the target does not come up.
    """
    end_ns = _WARMUP_NS + round(seconds * 1e9)
    closed = ClosedLoop([_request(payload)], connections, 0, end_ns, repeat=True)
    crew = ForkedCrew(server, list(generator_cores))
    _, result = _drive(server, crew, target_cores, _Load(Schedule.of([]), closed, end_ns, len(payload)))
    return _ceiling(connections, result)


@dataclass(frozen=True)
class _Load:
    schedule: Schedule
    closed: ClosedLoop | None
    end_ns: int
    request_bytes: int


def _request(payload: bytes) -> Request:
    return Request(0, payload, frozenset({200}))


def _drive(server: ForkServer, crew: Crew, target_cores: Sequence[int], load: _Load) -> tuple[Job, LoadResult]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(scratch_folder()))
        address = stack.enter_context(noop_target(server, target_cores, folder, load.request_bytes))
        job = Job(
            targets=[address],
            schedule=load.schedule,
            t0_ns=time.monotonic_ns() + _LEAD_NS,
            timeout_ns=_TIMEOUT_NS,
            max_in_flight=_IN_FLIGHT,
            closed=load.closed,
            marks_ns=[0, load.end_ns],
        )
        return job, crew.submit(job, folder).wait(_PATIENCE_S)


@contextlib.contextmanager
def noop_target(
    server: ForkServer, cores: Sequence[int], folder: Path, request_bytes: int
) -> Iterator[tuple[str, int]]:
    """Start a target that does nothing, yield its address, and end it. Raises StartError when it does not come up."""
    port_path, log = folder / "noop.port", folder / "noop.log"
    port_path.unlink(missing_ok=True)
    pid = server.spawn(Spawn("harness.noop:serve", (str(port_path), request_bytes), str(log), list(cores)))
    try:
        yield "127.0.0.1", _await_port(server, pid, port_path, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _await_end(server, pid)


def _await_port(server: ForkServer, pid: int, path: Path, log: Path) -> int:
    deadline = time.monotonic() + _PATIENCE_S
    while not path.exists():
        if server.exit_code(pid) is not None or time.monotonic() > deadline:
            says = log.read_text(encoding="utf-8", errors="replace")[-2000:] if log.exists() else ""
            raise StartError(f"the target that does nothing did not start:\n{says}")
        time.sleep(0.002)
    return int(path.read_text(encoding="ascii"))


def _await_end(server: ForkServer, pid: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while server.exit_code(pid) is None:
        if time.monotonic() > deadline:
            raise HarnessError("the target that does nothing could not be ended")
        time.sleep(0.002)


def _floor(rate_per_s: float, at_ns: array[int], rows: Rows) -> Floor:
    due, sent, done = (np.asarray(column) for column in (at_ns, rows.sent_ns, rows.done_ns))
    counted = due >= _WARMUP_NS
    due, sent, done = due[counted], sent[counted], done[counted]
    in_time = int(((sent >= 0) & (sent - due < _LATE_NS)).sum())
    latency, slip = Histogram(), Histogram()
    latency.record((done - due)[done >= 0])
    slip.record((sent - due)[sent >= 0])
    return Floor(rate_per_s, len(latency), rate_per_s * in_time / max(1, len(due)), latency, slip)


def _ceiling(connections: int, result: LoadResult) -> Ceiling:
    rows, end_ns = result.closed, result.closed_end_ns
    sent, done = np.asarray(rows.sent_ns), np.asarray(rows.done_ns)
    answered = (np.asarray(rows.outcome) == OK) & (done >= _WARMUP_NS) & (done <= end_ns)
    latency = Histogram()
    latency.record((done - sent)[answered])
    per_s = len(latency) / max(1e-9, (end_ns - _WARMUP_NS) / 1e9)
    return Ceiling(connections, per_s, result.busy_share, latency)
