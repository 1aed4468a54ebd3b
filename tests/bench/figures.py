"""Runs speed benchmarks and puts their sections into docs/benchmarks.md: python -m tests.bench.figures [NAME ...]

Without names all of them, which takes about 25 minutes on an otherwise idle machine with two cores, ten of them for the
three of the gateway. Each section says when and where it was measured. Each benchmark can be run alone as well.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
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
MICRO = "Single steps of the hot paths"
TARGET = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def section(name: str) -> str:
    """Run a benchmark and return its section. Raises CalledProcessError when it fails."""
    where = when_and_where()
    done = subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], check=True, stdout=subprocess.PIPE, text=True)
    return as_section(BENCHMARKS[name], f".venv/bin/python -m tests.bench.{name}", where, done.stdout.strip())


def as_section(title: str, command: str, where: str, text: str) -> str:
    """Return a section of the page: how it is measured again, when and where it was, and what came of it."""
    return f"## {title}\n\n    {command}\n\n{where}\n\n{text}\n"


def micro() -> str:
    """Time the single steps of the hot paths and return their section. Raises CalledProcessError when one fails."""
    path, where = "tests/bench/test_micro.py", when_and_where()
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
    return as_section(MICRO, command_line, where, "\n".join(rows))


HEADING = (
    "# Speed figures\n\n"
    "Written by `make figures`. Ratios are paired within a run; absolute figures belong to the machine and the hour\n"
    "that each section names.\n"
)


def updated(page: str, measured: Mapping[str, str]) -> str:
    """Return the page with these sections (title -> text) in place of its own, in the order of BENCHMARKS."""
    sections = {text.partition("\n")[0]: f"## {text.rstrip()}\n" for text in page.split("\n## ")[1:]} | measured
    known = [*BENCHMARKS.values(), MICRO]
    return "\n".join([HEADING, *(sections[title] for title in known if title in sections)])


def when_and_where() -> str:
    """Return a line on when this is, and on what machine."""
    host = describe_host([], [])
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {host['cpu']}, {host['cores']} cores, {host['os']}, "
        f"Python {platform.python_version()}; loopback round trip {host['probes']['loopback_rtt_us']:.1f} us, "
        f"CPU loop {host['probes']['cpu_loop_ms']:.1f} ms, steal {host['probes']['steal_share']:.1%}."
    )


def main() -> int:
    wanted = sys.argv[1:] or [*BENCHMARKS, "micro"]
    for name in wanted:
        title, text = (MICRO, micro()) if name == "micro" else (BENCHMARKS[name], section(name))
        print(text, flush=True)
        page = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
        TARGET.write_text(updated(page, {title: text}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
