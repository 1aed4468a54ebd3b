"""CPU per proxied request: the built-in gateway against nginx, side by side on one core.

    python -m tests.bench.gateway_cpu [--seconds 3] [--rounds 5] [--json FILE]

Both proxies stay up during the whole run, on the same core, in front of the same upstream; the load alternates
between them, and each round gives one ratio, so that what moves the machine moves both. The load comes from three
generators at once, with head sets that differ in size and fields, over several paths.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench import rig

ANSWER_BYTES = 1000
CONNECTIONS = 32
PATHS = ("/api/v1/user/42", "/api/v1/user/43/notes?page=2&sort=-created", "/api/v1/exam", "/api/v1/exam/7/answers/19")
HEADERS = (
    ("accept: */*",),
    (
        "accept: application/json",
        "accept-encoding: gzip, deflate, br",
        "authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJlLXNpZ25hdHVyZQ",
        "x-request-id: 6f1c3a52-9b1e-4a33-8d0f-1f2e3d4c5b6a",
    ),
    (
        "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "accept-encoding: gzip, deflate, br",
        "accept-language: en-GB,en;q=0.5",
        "cookie: session=0123456789abcdef0123456789abcdef; theme=dark; seen=1",
        "referer: http://localhost/exam/7",
        "cache-control: no-cache",
    ),
)

PROXY = """\
upstream up {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000000; }}
server {{
listen 127.0.0.1:{port} backlog=1024;
location /api/v1/ {{
proxy_pass http://up;
proxy_http_version 1.1;
proxy_set_header Connection "";
proxy_set_header Host $http_host;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Proto $scheme;
proxy_set_header X-Forwarded-Host $http_host;
proxy_set_header Via "1.1 nginx";
add_header Via "1.1 nginx";
}} }}
"""
UPSTREAM = """\
server {{ listen 127.0.0.1:{port} backlog=1024;
location / {{ default_type application/json; return 200 "{body}"; }} }}
"""
OURS = """\
listen: {{host: 127.0.0.1, port: {port}}}
upstreams:
  user: {{targets: ["127.0.0.1:{upstream}"]}}
  exam: {{targets: ["127.0.0.1:{upstream}"]}}
routes:
  - {{prefix: /api/v1/user, upstream: user}}
  - {{prefix: /api/v1/exam, upstream: exam}}
"""


@dataclass(frozen=True)
class Side:
    """A proxy that is up: its name, port and processes."""

    name: str
    port: int
    pids: list[int]


@dataclass(frozen=True)
class Round:
    """One turn of one proxy."""

    name: str
    cpu_us: float
    completed: int
    per_s: float


def start_upstream(stack: contextlib.ExitStack, directory: Path, cores: rig.Cores) -> int:
    port = rig.free_port()
    text = UPSTREAM.format(port=port, body="x" * ANSWER_BYTES)
    stack.enter_context(rig.nginx(directory / "upstream", port, text, sorted(cores.others)))
    return port


def start_nginx(stack: contextlib.ExitStack, directory: Path, upstream: int, cores: rig.Cores) -> Side:
    port = rig.free_port()
    text = PROXY.format(port=port, upstream=upstream)
    pids = stack.enter_context(rig.nginx(directory / "proxy", port, text, [cores.measured]))
    return Side("nginx", port, pids)


def start_ours(stack: contextlib.ExitStack, directory: Path, upstream: int, cores: rig.Cores) -> Side:
    port = rig.free_port()
    path = directory / "gateway.yaml"
    path.write_text(OURS.format(port=port, upstream=upstream), encoding="utf-8")
    command = rig.python_module("gateway_proxy", "--config", str(path))
    process = stack.enter_context(rig.pinned(command, [cores.measured]))
    rig.wait_for_port(port)
    return Side("builtin", port, [process.pid])


def measure(side: Side, seconds: float, cores: rig.Cores) -> Round:
    """Load one proxy for some seconds; return its CPU per request in microseconds."""
    urls = [f"http://127.0.0.1:{side.port}{path}" for path in PATHS]
    shares = [CONNECTIONS // len(HEADERS) + (index < CONNECTIONS % len(HEADERS)) for index in range(len(HEADERS))]
    before = rig.cpu_ns(side.pids)
    with ThreadPoolExecutor(len(HEADERS)) as pool:
        tasks = [
            pool.submit(rig.h2load, urls, share, seconds, sorted(cores.others), headers)
            for share, headers in zip(shares, HEADERS, strict=True)
        ]
    loads = [task.result() for task in tasks]
    used = rig.cpu_ns(side.pids) - before
    if any(load.failed for load in loads):
        raise RuntimeError(f"{side.name} failed {sum(load.failed for load in loads)} requests")
    completed = sum(load.completed for load in loads)
    return Round(side.name, used / completed / 1000, completed, sum(load.per_s for load in loads))


def run(seconds: float, rounds: int) -> list[tuple[Round, Round]]:
    """Return pairs of rounds, nginx first in every other one."""
    cores = rig.split_cores()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = start_upstream(stack, directory, cores)
        nginx = start_nginx(stack, directory, upstream, cores)
        ours = start_ours(stack, directory, upstream, cores)
        for side in (nginx, ours):
            measure(side, 1, cores)
        pairs = []
        for number in range(rounds):
            order = (nginx, ours) if number % 2 == 0 else (ours, nginx)
            done = {side.name: measure(side, seconds, cores) for side in order}
            pairs.append((done[nginx.name], done[ours.name]))
        return pairs


def table(pairs: list[tuple[Round, Round]]) -> str:
    """Return the rounds as a markdown table."""
    rows = ["| | median | min | max |", "|---|---|---|---|"]
    for index, name in enumerate(("nginx", "builtin")):
        rows.append(f"| {name}, CPU us/request | {rig.Spread.of([pair[index].cpu_us for pair in pairs])} |")
    rows.append(f"| builtin / nginx, paired | {rig.Spread.of([b.cpu_us / a.cpu_us for a, b in pairs])} |")
    for index, name in enumerate(("nginx", "builtin")):
        rows.append(f"| {name}, requests/s | {rig.Spread.of([pair[index].per_s for pair in pairs])} |")
    return "\n".join(rows)


def _plain(pairs: list[tuple[Round, Round]]) -> list[list[dict[str, object]]]:
    return [[asdict(side) for side in pair] for pair in pairs]


def main(arguments: list[str] | None = None) -> int:
    return rig.paired_benchmark(__doc__ or "", run, table, _plain, arguments)


if __name__ == "__main__":
    sys.exit(main())
