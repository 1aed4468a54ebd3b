"""Can this machine give trustworthy figures, and what is installed? Findings with what to do about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.cpu import LINUX, usable_cores
from harness.environment import PROCESSES, describe_host, require_file_handles
from harness.gateways import GATEWAYS
from harness.run import FILES_NEEDED, split_cores
from harness.scratch import ROOM_BYTES, shared_memory_free_bytes


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `advice` is empty when there is nothing to do."""

    subject: str
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at the host for about half a second; nothing is started that stays."""
    generator, platform = split_cores(usable_cores())
    host = describe_host(generator, platform)
    probes = host["probes"]
    return [
        Finding("system", f"{host['os']}, {host['cpu']}, Python {host['python']}"),
        Finding("cores", f"generator on {generator}, platform on {platform}"),
        Finding("frequency governor", host["governor"]),
        Finding("loopback round trip", f"{probes['loopback_rtt_us']:.1f} us"),
        Finding("CPU loop", f"{probes['cpu_loop_ms']:.1f} ms"),
        Finding("steal", f"{probes['steal_share']:.1%}"),
        _storage(),
        Finding("open files", f"{FILES_NEEDED} needed", require_file_handles(FILES_NEEDED) or ""),
        *(Finding(f"doubt: {doubt['name']}", f"{doubt['value']:g}", doubt["advice"]) for doubt in host["doubts"]),
        *(Finding(f"gateway {name}", gateway.version(), gateway.missing() or "") for name, gateway in GATEWAYS.items()),
        *_settles(len(platform)),
    ]


def _storage() -> Finding:
    free = shared_memory_free_bytes()
    advice = "" if free > ROOM_BYTES else "stores will stand on disk; latencies then hold the disk's"
    return Finding("memory-backed storage", f"{free / 2**20:.0f} MiB free", advice)


def _settles(platform_cores: int) -> Iterator[Finding]:
    """Say which claims this machine can settle, from what the platform's cores allow."""
    shared = platform_cores < PROCESSES
    throughput = "as the reciprocal of CPU time only: the processes share cores" if shared else "yes"
    yield Finding("settles ratios of latency and CPU", "yes" if LINUX else "weakly: no pinning, coarse CPU accounting")
    yield Finding("settles ratios of throughput", throughput)
    yield Finding("settles failure impact", "yes")
    yield Finding("settles absolute figures", "for this host only")
