"""What benchmarks share: free ports, processes on one core, their CPU clocks, an nginx, a load, paired rounds."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from harness import ports

T = TypeVar("T")
_PATIENCE_S = 15.0

NGINX_HEAD = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
access_log off;
client_body_temp_path {directory}/body;
proxy_temp_path {directory}/proxy;
fastcgi_temp_path {directory}/fastcgi;
uwsgi_temp_path {directory}/uwsgi;
scgi_temp_path {directory}/scgi;
keepalive_requests 1000000000;
"""


class MissingToolError(Exception):
    """A program the benchmark needs is not installed; the message is the command that installs it."""


class LoadError(Exception):
    """A load did not come to its end; the message says how it ended."""


@dataclass(frozen=True)
class Cores:
    """The core of what is measured, and the cores of everything else."""

    measured: int
    others: frozenset[int]


@dataclass(frozen=True)
class Spread:
    """A sample's median and what lies about it: its extremes, or its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def quartiles(cls, values: Sequence[float]) -> Spread:
        """Between `low` and `high` lies the middle half (linear between values)."""
        low, median, high = statistics.quantiles([*values, *values] if len(values) == 1 else values, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.2f} | {self.low:.2f} | {self.high:.2f}"


def require(program: str, package: str) -> str:
    """Return the program's path. Raises MissingToolError with the command that installs it."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise MissingToolError(f"{program} is missing: apt-get install -y {package}")
    return path


def split_cores() -> Cores:
    """Return the last core for what is measured and the rest for everything else."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise MissingToolError("a second core is missing: the load would be measured with what it loads")
    return Cores(cores[-1], frozenset(cores[:-1]))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def free_ports(count: int) -> list[int]:
    """Return so many different ports, none of the range that outgoing connections take theirs from."""
    return ports.free_ports(count, random.Random())


def wait_for_port(port: int, within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


@contextlib.contextmanager
def pinned(command: Sequence[str], cores: Sequence[int]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command on some cores; end it, by its own process id, when the block ends."""
    with subprocess.Popen(["taskset", "-c", ",".join(map(str, cores)), *command]) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def nginx(directory: Path, port: int, http: str, cores: Sequence[int]) -> Iterator[list[int]]:
    """Run nginx with the `http` block's inside; yield the ids of its processes."""
    directory.mkdir(parents=True, exist_ok=True)
    text = NGINX_HEAD.format(directory=directory) + http + "}\n"
    (directory / "nginx.conf").write_text(text, encoding="utf-8")
    command = [require("nginx", "nginx-light"), "-e", "stderr", "-p", str(directory), "-c", "nginx.conf"]
    with pinned(command, cores) as process:
        wait_for_port(port)
        yield [process.pid, *children(process.pid)]


def children(pid: int) -> list[int]:
    """Return the ids of the processes that `pid` started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in listed.split()]


def family(pid: int) -> list[int]:
    """Return the ids of a process and of all that come of it, whichever of its threads started them."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def cpu_ns(pids: Sequence[int]) -> int:
    """Return the CPU time, user and system, that the processes have used so far, from their CPU clocks."""
    return sum(time.clock_gettime_ns((~pid) << 3 | 2) for pid in pids)


@dataclass(frozen=True)
class Load:
    """What a run of h2load did."""

    completed: int
    failed: int
    per_s: float


def h2load(
    urls: Sequence[str],
    connections: int,
    seconds: float,
    cores: Sequence[int],
    headers: Sequence[str] = (),
    options: Sequence[str] = (),
) -> Load:
    """Drive `urls` in turn from keep-alive connections, closed loop, and return what was done.

    `options` are further ones of h2load's, such as a file with targets in place of `urls`. Raises LoadError.
    """
    command = [
        *("taskset", "-c", ",".join(map(str, cores)), require("h2load", "nghttp2-client"), "--h1", "-t1"),
        *(f"-c{connections}", f"-D{round(1000 * seconds)}ms"),
        *(part for header in headers for part in ("-H", header)),
        *options,
        *urls,
    ]
    out = _output(command, seconds + _PATIENCE_S)
    return Load(
        int(_number(r"(\d+) succeeded", out)), int(_number(r"(\d+) failed", out)), _number(r"([\d.]+) req/s", out)
    )


def _output(command: Sequence[str], within_s: float) -> str:
    """Return what a load says. h2load waits forever for a server that hangs up on it."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=within_s).stdout
    except subprocess.TimeoutExpired:
        raise LoadError(f"h2load did not end within {within_s:.0f} s: connections were refused or closed") from None
    except subprocess.CalledProcessError as error:
        raise LoadError(
            f"h2load ended with {error.returncode}: {(error.stdout + error.stderr).strip()[-200:]}"
        ) from None


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"h2load did not say {pattern!r}:\n{text}")
    return float(found[1])


def rotated(names: Iterable[str], number: int) -> list[str]:
    """Return the names beginning with another one each round, so that none is always first."""
    listed = list(names)
    shift = number % len(listed)
    return listed[shift:] + listed[:shift]


def met(holds: bool) -> str:
    """Return what a table says of a limit."""
    return "met" if holds else "**not met**"


@contextlib.contextmanager
def running_on(cores: Iterable[int]) -> Iterator[None]:
    """Keep this process, and what it starts meanwhile, on some cores; give back what was before."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def options(doc: str, seconds: float, rounds: int) -> argparse.ArgumentParser:
    """Return a parser for what every benchmark of rounds can be told: --seconds, --rounds and --json."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=seconds, help="of load, each turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round there")
    return parser


def finish(run: Callable[[], T], table: Callable[[T], str], plain: Callable[[T], Any], json_path: Path | None) -> int:
    """Measure, print the table, write `plain` as JSON if asked to; return the exit code: 1 when a tool is missing."""
    try:
        measured = run()
    except MissingToolError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(measured))
    if json_path is not None:
        json_path.write_text(json.dumps(plain(measured), indent=1), encoding="utf-8")
    return 0


def paired_benchmark(
    doc: str,
    run: Callable[[float, int], list[Any]],
    table: Callable[[list[Any]], str],
    plain: Callable[[list[Any]], Any],
    arguments: Sequence[str] | None,
    seconds: float = 3.0,
    rounds: int = 5,
) -> int:
    """Run a benchmark of paired rounds from the command line: print its table, write `plain` as JSON if asked to."""
    chosen = options(doc, seconds, rounds).parse_args(arguments)
    return finish(lambda: run(chosen.seconds, chosen.rounds), table, plain, chosen.json)


def python_module(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]
