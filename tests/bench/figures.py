"""Runs every speed benchmark and writes docs/benchmarks.md: python -m tests.bench.figures [NAME ...]

Takes about 25 minutes on an otherwise idle machine with two cores, ten of them for the three of the gateway. Each
benchmark can be run alone as well.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from harness.environment import describe_host

BENCHMARKS = {
    "gateway_cpu": "Gateways side by side: CPU per proxied request, and what each adds to the latency",
    "gateway_features": "Built-in gateway: what each feature costs a request",
    "gateway_memory": "Built-in gateway, 2,000 idle and 500 busy connections at once: at most 150 MB",
    "register_cpu": "CPU of one `register` flow, three services, bare work, direct: at most 25 times nginx's proxying",
    "engine_speed": "Load engine, closed loop on one core: beside `h2load --h1`, k6 and Locust",
    "slip": "Load engine, open loop: how late it sends; p99 at most 100 us at 1000/s, 250 us at 5000/s",
    "agreement": "Load engines and k6 against one target of known service time: within 5 % of each other?",
    "whole_run": "What a user waits for: 120 s and 1 GiB, 0.5 s, 0.5 s, 5 s",
}
TARGET = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def section(name: str, title: str) -> str:
    """Run a benchmark and return its section. Raises CalledProcessError when it fails."""
    done = subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], check=True, stdout=subprocess.PIPE, text=True)
    return f"## {title}\n\n    .venv/bin/python -m tests.bench.{name}\n\n{done.stdout.strip()}\n"


def micro() -> str:
    """Time the single steps of the hot paths and return their section. Raises CalledProcessError when one fails."""
    path = "tests/bench/test_micro.py"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "micro.json"
        command = ["pytest", path, "-q", "--benchmark-enable", "--benchmark-only", f"--benchmark-json={out}"]
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
        benchmarks = json.loads(out.read_text(encoding="utf-8"))["benchmarks"]
    rows = ["| us | median | min | rounds |", "|---|---|---|---|"]
    for one in benchmarks:
        name, stats = one["name"].removeprefix("test_").replace("_", " "), one["stats"]
        rows.append(f"| {name} | {stats['median'] * 1e6:.2f} | {stats['min'] * 1e6:.2f} | {stats['rounds']} |")
    command_line = f".venv/bin/python -m pytest {path} --benchmark-enable --benchmark-only"
    return "\n".join(["## Single steps of the hot paths", "", f"    {command_line}", "", *rows, ""])


def heading() -> str:
    """Return the page's head."""
    return (
        "# Speed figures\n\n"
        "Written by `make figures`. Ratios are paired within a run; absolute figures belong to this machine and hour.\n"
        f"\n{when_and_where()}\n"
    )


def when_and_where() -> str:
    """Return a line on when this is, and on what machine."""
    host = describe_host([], [])
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {host['cpu']}, {host['cores']} cores, {host['os']}, "
        f"Python {platform.python_version()}; loopback round trip {host['probes']['loopback_rtt_us']:.1f} us, "
        f"CPU loop {host['probes']['cpu_loop_ms']:.1f} ms, steal {host['probes']['steal_share']:.1%}."
    )


def main() -> int:
    wanted = sys.argv[1:] or list(BENCHMARKS)
    parts = [heading(), *(section(name, BENCHMARKS[name]) for name in wanted), micro()]
    text = "\n".join(parts)
    print(text)
    if not sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
