"""Requests a second of the native load engine against h2load --h1, in turn, on one core, against the same static nginx.

    python -m tests.bench.engine_speed [--seconds 3] [--rounds 5] [--json FILE]

Closed loop over 32 keep-alive connections, the generator on one core, nginx on another. The engine records every
sample (sent, done, status, outcome); h2load keeps aggregates. Each round gives one ratio.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import rig

CONNECTIONS = 32
SERVER = 'server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 "{body}"; }} }}\n'


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


def run(seconds: float, rounds: int) -> list[tuple[float, float]]:
    """Return (h2load, engine) requests a second, one pair a round, each first in every other one."""
    cores = rig.split_cores()
    generator = min(cores.others)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = rig.free_port()
        text = SERVER.format(port=port, body="x" * 100)
        stack.enter_context(rig.nginx(directory, port, text, [cores.measured]))
        urls = [f"http://127.0.0.1:{port}/"]
        rig.h2load(urls, CONNECTIONS, 1, [generator])
        pairs = []
        for number in range(rounds):
            if number % 2:
                engine = measure_engine(port, seconds, generator)
                pairs.append((rig.h2load(urls, CONNECTIONS, seconds, [generator]).per_s, engine))
            else:
                theirs = rig.h2load(urls, CONNECTIONS, seconds, [generator]).per_s
                pairs.append((theirs, measure_engine(port, seconds, generator)))
        return pairs


def table(pairs: list[tuple[float, float]]) -> str:
    """Return the rounds as a markdown table."""
    return "\n".join(
        [
            "| | median | min | max |",
            "|---|---|---|---|",
            f"| h2load --h1, requests/s | {rig.Spread.of([pair[0] for pair in pairs])} |",
            f"| native engine, requests/s | {rig.Spread.of([pair[1] for pair in pairs])} |",
            f"| engine / h2load, paired | {rig.Spread.of([ours / theirs for theirs, ours in pairs])} |",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    return rig.paired_benchmark(__doc__ or "", run, table, list, arguments)


if __name__ == "__main__":
    sys.exit(main())
