"""CPU of one `register` flow, summed over auth, user and notification, in units of nginx proxying one request.

    .venv/bin/python -m tests.bench.register_cpu [--seconds S] [--rounds N] [--connections C] [--json FILE]

Bare work, direct calls, no policy, calls logged as in a trial. The three services share one core with an nginx that
proxies 1 kB answers; the two sides are never loaded at the same time. The loads and nginx's upstream have the other
cores. Rounds alternate the sides and each gives one ratio, so that what moves the machine moves both.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from gateway_proxy.http1 import render_request
from stub_services.pool import Caps, Pool
from stub_services.requests import RequestBook
from stub_services.stores import build_template
from tests.bench import rig

SECRET = "a secret of the benchmark, long enough"
SERVICES = ("auth", "user", "notification")
LIMIT = 25.0
ANSWER_BYTES = 1000

PROXY = """\
upstream up {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000000; }}
server {{
listen 127.0.0.1:{port} backlog=1024;
location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }}
}}
"""
UPSTREAM = """\
server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200 "{answer}"; }} }}
"""


@dataclass(frozen=True)
class Round:
    """CPU microseconds a request: each service's share of a registration, and nginx."""

    services: dict[str, float]
    nginx: float

    @property
    def register(self) -> float:
        return sum(self.services.values())

    @property
    def ratio(self) -> float:
        return self.register / self.nginx


class Services:
    """Three running services, and how to register at them."""

    def __init__(self, pids: dict[str, int], port: int) -> None:
        self.pids = pids
        self.port = port
        self.book = RequestBook(0, SECRET)
        self.registered = 0

    def measure(self, seconds: float, connections: int) -> dict[str, float]:
        """Register for a while and return CPU microseconds a registration, by service."""
        before = {name: rig.cpu_ns([pid]) for name, pid in self.pids.items()}
        first = self.registered
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._drive(seconds, connections))
        count = self.registered - first
        return {name: (rig.cpu_ns([pid]) - before[name]) / 1000 / count for name, pid in self.pids.items()}

    async def _drive(self, seconds: float, connections: int) -> None:
        pool = Pool(time.monotonic, Caps(idle_per_host=connections))
        host = pool.host("127.0.0.1", self.port)
        ends = time.monotonic() + seconds

        async def client() -> None:
            while time.monotonic() < ends:
                self.registered += 1
                reply = await pool.exchange(host, self._render(self.registered), 10.0)
                if reply.status != 201:
                    raise RuntimeError(f"status {reply.status} {reply.failure}: {reply.body[:100]!r}")

        await asyncio.gather(*(client() for _ in range(connections)))
        pool.close()

    def _render(self, index: int) -> bytes:
        method, path, headers, body = self.book.request("register", index)
        return render_request(method, path, "auth", headers, body)


@contextlib.contextmanager
def services(folder: Path, core: int) -> Iterator[Services]:
    """Run the three services on a core."""
    build_template(folder / "stores", 0)
    ports = {name: rig.free_port() for name in SERVICES}
    environ = [f"{name.upper()}_SERVICE_URL=http://127.0.0.1:{port}" for name, port in ports.items()]
    environ += [f"STORE_DIR={folder / 'stores'}", f"LOG_DIR={folder / 'logs'}", f"JWT_SECRET={SECRET}"]
    with contextlib.ExitStack() as stack:
        pids = {}
        for name, port in ports.items():
            command = ["env", *environ, *rig.python_module("stub_services", name, "--port", str(port))]
            pids[name] = stack.enter_context(rig.pinned(command, [core])).pid
            rig.wait_for_port(port)
        yield Services(pids, ports["auth"])


def measure_nginx(pids: list[int], port: int, seconds: float, connections: int, cores: list[int]) -> float:
    """Return CPU microseconds a proxied request."""
    before = rig.cpu_ns(pids)
    load = rig.h2load([f"http://127.0.0.1:{port}/"], connections, seconds, cores)
    if load.failed or not load.completed:
        raise RuntimeError(f"nginx answered {load.completed} requests and failed {load.failed}")
    return (rig.cpu_ns(pids) - before) / 1000 / load.completed


def run(seconds: float, rounds: int, connections: int) -> list[Round]:
    """Measure `rounds` rounds after a short one to warm up."""
    cores = rig.split_cores()
    others = sorted(cores.others)
    with tempfile.TemporaryDirectory(prefix="archbench-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        os.sched_setaffinity(0, others)
        upstream, port = rig.free_port(), rig.free_port()
        answer = UPSTREAM.format(port=upstream, answer="x" * ANSWER_BYTES)
        stack.enter_context(rig.nginx(folder / "upstream", upstream, answer, others))
        proxy = PROXY.format(port=port, upstream=upstream)
        nginx = stack.enter_context(rig.nginx(folder / "proxy", port, proxy, [cores.measured]))
        running = stack.enter_context(services(folder, cores.measured))

        def once(span: float) -> Round:
            return Round(running.measure(span, connections), measure_nginx(nginx, port, span, connections, others))

        once(min(seconds, 1.0))
        return [once(seconds) for _ in range(rounds)]


def table(measured: list[Round]) -> str:
    """Render the rounds as a Markdown table of median, least and most."""
    rows = {f"{name}, us": [one.services[name] for one in measured] for name in SERVICES}
    rows["register, us"] = [one.register for one in measured]
    rows["nginx, us"] = [one.nginx for one in measured]
    rows["**register / nginx**"] = [one.ratio for one in measured]
    lines = [f"| {name} | {rig.Spread.of(values)} |" for name, values in rows.items()]
    return "\n".join(["| CPU | median | least | most |", "|---|---|---|---|", *lines])


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 1 when the median ratio is above the limit or a tool is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of load, each side of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    try:
        measured = run(chosen.seconds, chosen.rounds, chosen.connections)
    except rig.MissingToolError as error:
        print(error, file=sys.stderr)
        return 1
    print(table(measured))
    print(f"\n{chosen.rounds} rounds of {chosen.seconds:g} s a side, {chosen.connections} connections; limit {LIMIT:g}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps([asdict(one) for one in measured], indent=1), encoding="utf-8")
    return 0 if statistics.median(one.ratio for one in measured) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
