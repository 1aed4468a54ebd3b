"""Requests a second of the native load engine beside h2load --h1, k6 and Locust, in turn, against one static nginx.

    python -m tests.bench.engine_speed [--seconds 2] [--rounds 12] [--json FILE]

Closed loop over 32 keep-alive connections, the generator on one core, nginx on another. The engine records every
sample (sent, done, status, outcome); h2load keeps aggregates. k6: executor constant-vus, bodies discarded,
GOMAXPROCS=1. Locust: FastHttpUser, one process, no waiting. Each round has all four, in an order that goes round, and
gives one ratio to each. h2load is as fast as this nginx answers, so that its row is the server's limit.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import k6, locust_speed, rig

CONNECTIONS = 32
SERVER = 'server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 "{body}"; }} }}\n'
ENGINE = "native engine"
LIMITS = {"h2load --h1": 0.7, "k6": 2.5, "Locust's FastHttpUser": 10.0}

Measure = Callable[[int, float, int], float]


def _drive(port: int, seconds: float, core: int, answer: multiprocessing.Queue[tuple[int, int, float]]) -> None:
    """Run the engine in this process; put how many were answered, how many failed, and the time it took."""
    from gateway_proxy.http1 import render_request
    from harness.engines.job import OK, ClosedLoop, Job, Request, Schedule
    from harness.engines.native import Engine

    os.sched_setaffinity(0, [core])
    request = Request(0, render_request("GET", "/", f"127.0.0.1:{port}"), frozenset({200}))
    closed = ClosedLoop([request], CONNECTIONS, 0, int(seconds * 1e9), repeat=True)
    job = Job([("127.0.0.1", port)], Schedule.of([]), time.monotonic_ns(), int(5e9), 4096, closed)
    result = Engine(job).run()
    outcomes = result.closed.outcome
    answered = outcomes.count(OK)
    answer.put((answered, len(outcomes) - answered, max(result.closed.done_ns) / 1e9))


def measure_engine(port: int, seconds: float, core: int) -> float:
    """Return the engine's requests a second in a process of its own."""
    context = multiprocessing.get_context("spawn")
    answer: multiprocessing.Queue[tuple[int, int, float]] = context.Queue()
    process = context.Process(target=_drive, args=(port, seconds, core, answer))
    process.start()
    answered, failed, took_s = answer.get(timeout=seconds + 60)
    process.join(timeout=30)
    if failed:
        raise RuntimeError(f"{failed} requests failed")
    return answered / took_s


def measure_h2load(port: int, seconds: float, core: int) -> float:
    """Return h2load's requests a second."""
    load = rig.h2load([_url(port)], CONNECTIONS, seconds, [core])
    if load.failed:
        raise RuntimeError(f"{load.failed} of h2load's requests failed")
    return load.per_s


def measure_k6(port: int, seconds: float, core: int) -> float:
    """Return k6's requests a second."""
    summary = k6.closed(_url(port), CONNECTIONS, seconds, core)
    if summary.failed:
        raise RuntimeError(f"{summary.failed} of k6's requests failed")
    return summary.per_s


def measure_locust(port: int, seconds: float, core: int) -> float:
    """Return the requests a second of Locust's FastHttpUser."""
    return locust_speed.closed(_url(port), CONNECTIONS, seconds, core)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/"


CONTENDERS: dict[str, Measure] = {
    ENGINE: measure_engine,
    "h2load --h1": measure_h2load,
    "k6": measure_k6,
    "Locust's FastHttpUser": measure_locust,
}


def run(seconds: float, rounds: int) -> list[dict[str, float]]:
    """Return requests a second by contender, one dictionary a round."""
    k6.require()
    locust_speed.require()
    cores = rig.split_cores()
    generator = min(cores.others)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = rig.free_port()
        text = SERVER.format(port=port, body="x" * 100)
        stack.enter_context(rig.nginx(directory, port, text, [cores.measured]))
        measure_h2load(port, 1, generator)
        return [
            {name: CONTENDERS[name](port, seconds, generator) for name in rig.rotated(CONTENDERS, number)}
            for number in range(rounds)
        ]


def table(measured: Sequence[dict[str, float]]) -> str:
    """Return the rounds as a markdown table; the median is judged, and in how many rounds the limit was met is told."""
    rows = ["| | median | min | max | at least | |", "|---|---|---|---|---|---|"]
    rows += [f"| {name}, requests/s | {rig.Spread.of([one[name] for one in measured])} | | |" for name in CONTENDERS]
    for name, limit in LIMITS.items():
        ratios = [one[ENGINE] / one[name] for one in measured]
        met = f"{rig.met(statistics.median(ratios) >= limit)} ({sum(ratio >= limit for ratio in ratios)}/{len(ratios)})"
        rows.append(f"| {ENGINE} / {name}, paired | {rig.Spread.of(ratios)} | {limit:g} | {met} |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    return rig.paired_benchmark(__doc__ or "", run, table, list, arguments, seconds=2.0, rounds=12)


if __name__ == "__main__":
    sys.exit(main())
