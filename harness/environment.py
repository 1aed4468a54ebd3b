"""The host of a run: what it is, what it can do, and what that makes doubtful. Read before the first trial."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from harness.cpu import LINUX
from results.record import RecordedDoubt

_PACKAGES = ("archbench", "uvloop", "httptools", "uvicorn", "starlette", "pyjwt", "scipy", "pandas")
PROCESSES = 6  # of a platform: five services and the gateway
_STEAL_LIMIT = 0.02
_BUSY_LIMIT = 0.25


def describe_host(generator_cores: Sequence[int], platform_cores: Sequence[int]) -> dict[str, Any]:
    """Return the host's fingerprint, versions, probes and doubts. Takes about a third of a second."""
    cpu = _cpu_model()
    facts = {
        "os": f"{platform.system()} {platform.release()}",
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "governor": _governor(),
        "generator_cores": list(generator_cores),
        "platform_cores": list(platform_cores),
    }
    steal, busy = _idle_shares(0.15)
    facts["fingerprint"] = hashlib.sha256(repr((cpu, facts["cores"], facts["os"])).encode()).hexdigest()[:12]
    facts["probes"] = {
        "loopback_rtt_us": loopback_round_trip_us(),
        "cpu_loop_ms": cpu_loop_ms(),
        "steal_share": steal,
        "other_load_share": busy,
    }
    facts["doubts"] = [vars(doubt) for doubt in host_doubts(facts)]
    return facts


def host_doubts(facts: dict[str, Any]) -> list[RecordedDoubt]:
    """Return what makes this host's figures weaker; none of it is fatal by itself."""
    probes = facts["probes"]
    shared = len(facts["platform_cores"])
    found = [
        (
            shared < PROCESSES,
            ("platform_cores_shared", float(shared), float(PROCESSES)),
            f"six processes share {shared} core(s): saturation throughput is then the reciprocal of the summed CPU "
            f"time, and a gateway takes its CPU from the services; a machine with more cores tells the two apart",
        ),
        (
            not set(facts["generator_cores"]).isdisjoint(facts["platform_cores"]),
            ("generator_core_shared", 1.0, 0.0),
            "the load generator shares its core with the platform; use a machine with two cores or more",
        ),
        (
            not LINUX,
            ("not_linux", 1.0, 0.0),
            "processes cannot be pinned and CPU accounting is coarser here; Linux is the measured platform",
        ),
        (
            probes["steal_share"] > _STEAL_LIMIT,
            ("steal_time", probes["steal_share"], _STEAL_LIMIT),
            "the hypervisor took CPU time away; repeat on a quieter host",
        ),
        (
            probes["other_load_share"] > _BUSY_LIMIT,
            ("other_load", probes["other_load_share"], _BUSY_LIMIT),
            "something else was using the processor before the run began; stop it and repeat",
        ),
    ]
    return [RecordedDoubt(name, False, value, limit, advice) for hit, (name, value, limit), advice in found if hit]


def _cpu_model() -> str:
    if LINUX:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _governor() -> str:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text(encoding="utf-8").strip() if path.is_file() else "unknown"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _idle_shares(seconds: float) -> tuple[float, float]:
    """Return the shares of CPU time stolen by the hypervisor and used by anybody while we do nothing."""
    before = psutil.cpu_times()
    time.sleep(seconds)
    after = psutil.cpu_times()
    spent = {name: getattr(after, name) - getattr(before, name) for name in after._fields}
    total = sum(spent.values()) or 1.0
    steal = spent.get("steal", 0.0) / total
    return steal, max(0.0, 1 - (spent["idle"] + spent.get("iowait", 0.0)) / total)


def cpu_loop_ms(rounds: int = 5, steps: int = 200_000) -> float:
    """Return the median time in ms of a fixed pure-Python loop: a unit in which hosts can be compared."""

    def once() -> float:
        start = time.perf_counter_ns()
        total = 0
        for number in range(steps):
            total += number & 7
        return (time.perf_counter_ns() - start) / 1e6

    return statistics.median(once() for _ in range(rounds))


def loopback_round_trip_us(rounds: int = 500) -> float:
    """Return the median time in us of one byte there and back between two threads over a loopback connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        echo = threading.Thread(target=_echo, args=(listener,), daemon=True)
        echo.start()
        with socket.create_connection(listener.getsockname()) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            times = [_ping(client) for _ in range(rounds)]
        echo.join(timeout=5)
    return statistics.median(times)


def _ping(client: socket.socket) -> float:
    start = time.perf_counter_ns()
    client.sendall(b"x")
    client.recv(1)
    return (time.perf_counter_ns() - start) / 1e3


def _echo(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(64):
            connection.sendall(data)


def require_file_handles(needed: int) -> str | None:
    """Raise the soft limit on open files to what is needed; return a sentence when the system does not allow it."""
    if sys.platform == "win32":
        return "this system is not supported: archbench needs Linux or macOS"
    import resource  # noqa: PLC0415 - missing on the systems refused above

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return None
    if hard == resource.RLIM_INFINITY or hard >= needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        return None
    return f"only {hard} open files are allowed and {needed} are needed; raise the limit (ulimit -n {needed})"
