"""Does the native engine slow down or grow over ten minutes at 5000 requests a second?

    python -m tests.bench.soak [--minutes 10] [--rate 5000] [--write]

The engine runs as under `archbench load`, on a core of its own, against a static nginx on another. Its memory is
sampled every five seconds, and closely while it hands its result over, which is when it holds most. The first and the
last minute are compared. Exit code 1 when a limit is not met; --write puts the page into docs/soak.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from harness.engines import ENGINES, Crew, CrewPlan
from harness.engines.job import OK, Job, LoadResult
from harness.forkserver import ForkServer
from harness.loadtest import LoadRequest
from harness.scratch import scratch_folder
from tests.bench import engines, rig
from tests.bench.engine_speed import SERVER
from tests.bench.figures import when_and_where

TARGET = Path(__file__).parents[2] / "docs" / "soak.md"
SAMPLE_S = 5.0
CLOSELY_S = 0.01
PATIENCE_S = 120.0
MOST_BYTES_A_REQUEST = 100.0
MOST_GROWTH_BYTES = 1.0  # for every request of the second half: connections, which are bounded, open in the first
MOST_SLOWER = 1.1  # CPU time a request, last minute over first
MOST_SLIP_US = 250.0


class Sample(NamedTuple):
    """Resident memory so many seconds after the first request was due."""

    at_s: float
    rss_bytes: int


@dataclass(frozen=True)
class Stretch:
    """A minute of it."""

    requests: int
    slip_p99_us: float
    latency_p99_ms: float
    cpu_share: float

    @property
    def cpu_us(self) -> float:
        """CPU time a request, for requests that are equally many a second."""
        return self.cpu_share / self.requests


@dataclass(frozen=True)
class Soak:
    """What was seen. `idle_bytes` is the memory of the same engine with next to nothing planned."""

    rate: int
    seconds: float
    outcomes: dict[str, int]
    busy_share: float
    idle_bytes: int
    samples: list[Sample]
    first: Stretch
    last: Stretch

    @property
    def planned(self) -> int:
        return sum(self.outcomes.values())

    @property
    def during(self) -> list[Sample]:
        """The samples while requests were sent."""
        return [sample for sample in self.samples if 0 < sample.at_s < self.seconds]

    @property
    def peak_bytes(self) -> int:
        return max(sample.rss_bytes for sample in self.samples)

    @property
    def bytes_a_request(self) -> float:
        """All memory above that of an idle engine, the result's handing over included."""
        return (self.peak_bytes - self.idle_bytes) / self.planned

    @property
    def growth_bytes(self) -> float:
        """What the memory grew by in the second half, for each request sent meanwhile."""
        start, end = self.during[len(self.during) // 2], self.during[-1]
        return (end.rss_bytes - start.rss_bytes) / ((end.at_s - start.at_s) * self.rate)


def measure(crew: Crew, scratch: Path, server: ForkServer, job: Job) -> tuple[LoadResult, list[Sample]]:
    """Carry the job out and return its result and its memory over time."""
    pending = crew.submit(job, scratch)
    (pid,) = rig.children(server.pid)
    samples: list[Sample] = []
    watcher = threading.Thread(target=_watch, args=(pid, job, samples))
    watcher.start()
    try:
        return pending.wait(PATIENCE_S), samples
    finally:
        watcher.join()


def _watch(pid: int, job: Job, samples: list[Sample]) -> None:
    process, end_s = psutil.Process(pid), job.marks_ns[-1] / 1e9
    with contextlib.suppress(psutil.Error):
        while True:
            at_s = (time.monotonic_ns() - job.t0_ns) / 1e9
            samples.append(Sample(at_s, process.memory_info().rss))
            left_s = end_s - at_s
            if left_s < 0 and process.status() == psutil.STATUS_ZOMBIE:
                return
            time.sleep(min(SAMPLE_S, end_s / 10, max(left_s, CLOSELY_S)))


def stretch(job: Job, result: LoadResult, start: int) -> Stretch:
    """Return the figures between two of the marks: the one numbered `start` and the next."""
    edges = job.marks_ns[start : start + 2]
    first, end = (int(place) for place in np.searchsorted(np.asarray(job.schedule.at_ns), edges))
    slip = engines.slip_ns(job, result)[first:end]
    latency = engines.latency_ns(job, result)[first:end]
    before, after = result.marks[start : start + 2]
    used_ns = after.cpu_ns["generator"] - before.cpu_ns["generator"]
    return Stretch(
        requests=end - first,
        slip_p99_us=float(np.percentile(slip, 99)) / 1e3,
        latency_p99_ms=float(np.percentile(latency, 99)) / 1e6,
        cpu_share=used_ns / (after.at_ns - before.at_ns),
    )


def run(rate: int, minutes: float) -> Soak:
    """Measure an engine with next to nothing to do, and then the soak itself."""
    cores = rig.split_cores()
    others, generator = [cores.measured], [min(cores.others)]
    os.sched_setaffinity(0, others)
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(_target(others))
        scratch = Path(stack.enter_context(scratch_folder()))
        server = stack.enter_context(contextlib.closing(ForkServer(("harness.engines.native",), others)))
        crew = stack.enter_context(ENGINES["native"].start(CrewPlan(server, generator, scratch)))
        _, idle = measure(crew, scratch, server, engines.job_for(LoadRequest(url, 20, 1)))
        request = LoadRequest(url, rate, minutes * 60)
        job = engines.job_for(request, _marks_ns(request.total_s))
        result, samples = measure(crew, scratch, server, job)
    return Soak(
        rate=rate,
        seconds=request.total_s,
        outcomes=_outcomes(result),
        busy_share=result.busy_share,
        idle_bytes=max(sample.rss_bytes for sample in idle),
        samples=samples,
        first=stretch(job, result, 0),
        last=stretch(job, result, 2),
    )


@contextlib.contextmanager
def _target(cores: Sequence[int]) -> Iterator[str]:
    port = rig.free_port()
    http = SERVER.format(port=port, body="x" * 100)
    with tempfile.TemporaryDirectory() as folder, rig.nginx(Path(folder), port, http, cores):
        yield f"http://127.0.0.1:{port}/"


def _marks_ns(seconds: float) -> list[int]:
    """Return the edges of the first and of the last minute, or of the halves of anything shorter than two."""
    span = min(60.0, seconds / 2)
    return [round(edge * 1e9) for edge in (0, span, seconds - span, seconds)]


def _outcomes(result: LoadResult) -> dict[str, int]:
    outcomes = result.open.outcome
    return {"ok": outcomes.count(OK), "not ok": len(outcomes) - outcomes.count(OK)}


def limits(soak: Soak) -> dict[str, tuple[float, float]]:
    """Return what was measured and what it may be at most, by name."""
    return {
        "requests not answered well": (soak.outcomes["not ok"], 0),
        "bytes of memory a request, at its peak": (soak.bytes_a_request, MOST_BYTES_A_REQUEST),
        "bytes of growth a request, second half": (soak.growth_bytes, MOST_GROWTH_BYTES),
        "CPU time a request, last minute / first": (soak.last.cpu_us / soak.first.cpu_us, MOST_SLOWER),
        "slip p99 of the last minute, us": (soak.last.slip_p99_us, MOST_SLIP_US),
    }


def holds(soak: Soak) -> bool:
    """Say whether every limit is met."""
    return all(value <= most for value, most in limits(soak).values())


def table(soak: Soak) -> str:
    """Return the findings as markdown."""
    rows = ["| | measured | at most | |", "|---|---|---|---|"]
    for name, (value, most) in limits(soak).items():
        rows.append(f"| {name} | {value:.2f} | {most:g} | {rig.met(value <= most)} |")
    rows += ["", "| | first minute | last minute |", "|---|---|---|"]
    for name, places in (("slip_p99_us", 1), ("latency_p99_ms", 3)):
        values = (getattr(part, name) for part in (soak.first, soak.last))
        rows.append(f"| {name.replace('_', ' ')} | {' | '.join(f'{value:.{places}f}' for value in values)} |")
    rows.append(f"| CPU share of its core | {soak.first.cpu_share:.1%} | {soak.last.cpu_share:.1%} |")
    rows += ["", "| resident memory | MiB |", "|---|---|"]
    rows += [f"| {name} | {amount / 2**20:.1f} |" for name, amount in _memory(soak)]
    return "\n".join(rows)


def _memory(soak: Soak) -> Iterator[tuple[str, int]]:
    yield "an engine with twenty requests planned", soak.idle_bytes
    during = soak.during
    for sample in (during[0], during[len(during) // 2], during[-1]):
        yield f"after {sample.at_s:.0f} s", sample.rss_bytes
    yield "at its peak, handing the result over", soak.peak_bytes


def page(soak: Soak, where: str) -> str:
    """Return docs/soak.md."""
    return (
        "# Does the load engine slow down or grow?\n\n"
        "Written by `make soak`: the native engine as `archbench load` runs it, on one core, a static nginx on the "
        f"other.\n\n{where}\n\n"
        f"{soak.rate} requests a second for {soak.seconds / 60:g} minutes, {soak.planned} planned; busy for "
        f"{soak.busy_share:.0%} of the time; memory sampled {len(soak.during)} times while sending.\n\n"
        f"{table(soak)}\n"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.parent.name}/{TARGET.name}")
    chosen = parser.parse_args(arguments)
    where = when_and_where()
    try:
        soak = run(chosen.rate, chosen.minutes)
    except rig.MissingToolError as error:
        print(error, file=sys.stderr)
        return 1
    text = page(soak, where)
    print(text)
    if chosen.write:
        TARGET.write_text(text, encoding="utf-8")
    return 0 if holds(soak) else 1


if __name__ == "__main__":
    sys.exit(main())
