"""Can this machine give figures to be trusted, and what is installed? Findings, each with what to do about it.

A finding says whether it was measured now or is only what the system states; what cannot be seen is said to be so.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, NamedTuple

import psutil

from harness import hostprobes
from harness.cpu import LINUX, usable_cores
from harness.environment import PROCESSES, describe_host, require_file_handles
from harness.errors import HarnessError
from harness.floor import Ceiling, Floor, measure_ceiling, measure_floor
from harness.forkserver import ForkServer
from harness.gateways import GATEWAYS
from harness.gateways.program import find_program, program_version
from harness.run import FILES_NEEDED, split_cores
from harness.scratch import ROOM_BYTES, shared_memory_free_bytes

State = Literal["ok", "look", "bad"]
GROUPS = ("machine", "timing", "load generator", "programs", "what it can settle")

_STEAL_LIMIT = 0.02
_LOAD_LIMIT = 0.25
_GOOD_CLOCKS = {"tsc", "arch_sys_counter", "kvm-clock", "hyperv_clocksource_tsc_page"}
_CLOCK_COST_LIMIT_NS = 1000
_ROUND_TRIP_LIMIT_US = 100.0
_LATE_LIMIT_US = 1000.0
_SPIN_LIMIT_US = 50.0
_FLOOR_RATE_PER_S = 1000.0
_TRUSTED_SHARE = 0.5  # of the ceiling: beyond it requests begin to wait for one another in the generator
_SLIP_FACTOR = 10  # a difference counts when the slip is at most a tenth of it
_QUIET = "stop what else runs here and repeat"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `advice` is empty when there is nothing to do; `values` are for machines.

    `state`: ok; look (figures are weaker for it); bad (figures are wrong for it). `stops` when nothing runs with it.
    """

    group: str
    subject: str
    found: str
    state: State = "ok"
    advice: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    stops: bool = False


class _Generator(NamedTuple):
    floor: Floor
    ceiling: Ceiling


def examine() -> list[Finding]:
    """Look at the host for less than five seconds; nothing is started that stays."""
    generator_cores, platform_cores = split_cores(usable_cores())
    host = describe_host(generator_cores, platform_cores)
    with hostprobes.pinned(generator_cores) as pins:
        timing = list(_timing(host["probes"]))
    generator = _try_generator(generator_cores, platform_cores)
    return [
        *_machine(host, pins),
        *timing,
        *_generator_findings(generator),
        *_programs(),
        *_settles(host, pins, generator),
    ]


def can_run(findings: list[Finding]) -> bool:
    """Say whether archbench can run here at all."""
    return not any(finding.stops for finding in findings)


# -- the machine -----------------------------------------------------------------------------------------------


def _machine(host: dict[str, Any], pins: bool) -> Iterator[Finding]:
    yield _finding("machine", "system", f"{host['os']}, {host['cpu']}")
    yield _finding("machine", "Python", host["python"])
    yield _cores(host["generator_cores"], host["platform_cores"])
    yield _pinning(pins)
    yield _quota(len(usable_cores()))
    yield _governor(host["governor"])
    yield _turbo()
    steal, load = host["probes"]["steal_share"], host["probes"]["other_load_share"]
    yield _judged(
        ("machine", "steal", f"{steal:.1%}, measured while idle for 0.15 s"),
        ("look", "the hypervisor takes CPU time away; repeat on a quieter host") if steal > _STEAL_LIMIT else None,
        {"share": steal},
    )
    yield _judged(
        ("machine", "other load", f"{load:.0%} of all cores, measured while idle for 0.15 s"),
        ("look", f"something else uses the processor; {_QUIET}") if load > _LOAD_LIMIT else None,
        {"share": load},
    )
    yield _file_handles()
    yield _storage()
    yield _memory()


def _finding(group: str, subject: str, found: str, **values: Any) -> Finding:
    return Finding(group, subject, found, values=values)


def _judged(what: tuple[str, str, str], problem: tuple[State, str] | None, values: dict[str, Any]) -> Finding:
    state, advice = problem or ("ok", "")
    return Finding(*what, state, advice, values)


def _cores(generator: list[int], platform: list[int]) -> Finding:
    usable = len(set(generator) | set(platform))
    problem: tuple[State, str] | None = None
    if usable == 1:
        problem = "bad", "generator and target share the only core and slow each other down; use two cores or more"
    elif len(platform) < PROCESSES:
        problem = (
            "look",
            f"the platform's {PROCESSES} processes share {len(platform)} core(s); {PROCESSES + 1} separate all",
        )
    found = f"{usable} usable; generator on {_listed(generator)}, platform on {_listed(platform)}"
    return _judged(("machine", "cores", found), problem, {"generator": generator, "platform": platform})


def _listed(cores: list[int]) -> str:
    return ", ".join(map(str, cores))


def _pinning(pins: bool) -> Finding:
    problem: tuple[State, str] | None = None
    if not pins:
        problem = "look", "processes wander between cores, and the generator's with them; use Linux, allow affinity"
    found = "works, tried with this process" if pins else "does not work here"
    return _judged(("machine", "pinning", found), problem, {"works": pins})


def _quota(cores: int) -> Finding:
    quota = hostprobes.cpu_quota()
    if quota is None:
        return _finding("machine", "CPU quota", "none set" if LINUX else "not visible here", cpus=None)
    problem: tuple[State, str] | None = None
    if quota.cpus < cores:
        problem = "bad", "it stops all processes for tens of ms when it is used up; give whole cores (a cpuset) instead"
    return _judged(("machine", "CPU quota", f"{quota.cpus:g} CPUs ({quota.path})"), problem, {"cpus": quota.cpus})


def _governor(governor: str) -> Finding:
    problem: tuple[State, str] | None = None
    if governor == "unknown":
        problem = "look", "the frequency may change unseen; compare figures within a run, not between hours"
    elif governor != "performance":
        problem = "look", "the frequency follows the load; set it: cpupower frequency-set -g performance"
    found = "not visible (usual in a virtual machine)" if governor == "unknown" else governor
    return _judged(("machine", "frequency governor", found), problem, {"governor": governor})


def _turbo() -> Finding:
    turbo = hostprobes.turbo()
    if turbo is None:
        return _finding("machine", "turbo", "not visible", enabled=None)
    advice = "the frequency depends on heat and on the other cores; switch it off for absolute figures"
    return _judged(
        ("machine", "turbo", "on" if turbo else "off"), ("look", advice) if turbo else None, {"enabled": turbo}
    )


def _file_handles() -> Finding:
    problem = require_file_handles(FILES_NEEDED)
    return Finding(
        "machine",
        "file handles",
        f"{FILES_NEEDED} needed, " + ("not allowed" if problem else "allowed"),
        "bad" if problem else "ok",
        problem or "",
        {"needed": FILES_NEEDED},
        stops=problem is not None,
    )


def _storage() -> Finding:
    free = shared_memory_free_bytes()
    problem: tuple[State, str] | None = None
    if free <= ROOM_BYTES:
        problem = (
            "look",
            f"stores stand on disk, and latencies hold it; mount /dev/shm with {ROOM_BYTES >> 20} MiB or more",
        )
    found = f"{free / 2**20:.0f} MiB free in /dev/shm" if free else "none"
    return _judged(("machine", "memory-backed storage", found), problem, {"free_bytes": free})


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    problem: tuple[State, str] | None = None
    if free < 2**30:
        problem = "look", "a run with its report takes up to 1 GiB; close something"
    return _judged(("machine", "memory", f"{free / 2**20:.0f} MiB available"), problem, {"available_bytes": free})


# -- timing ----------------------------------------------------------------------------------------------------


def _timing(probes: dict[str, float]) -> Iterator[Finding]:
    yield _clock_source()
    yield _clock()
    yield _late("time.sleep(1 ms)", hostprobes.sleep_lateness(), _LATE_LIMIT_US, "the timer is coarse or the core busy")
    yield _late("poll(1 ms)", hostprobes.poll_lateness(), _LATE_LIMIT_US, "the timer is coarse or the core busy")
    yield _late(
        "sleep, then spin", hostprobes.spin_lateness(), _SPIN_LIMIT_US, "something else takes the generator's core"
    )
    round_trip = probes["loopback_rtt_us"]
    yield _judged(
        ("timing", "loopback round trip", f"{round_trip:.1f} us"),
        ("look", f"the kernel's share of every latency is large here; {_QUIET}")
        if round_trip > _ROUND_TRIP_LIMIT_US
        else None,
        {"us": round_trip},
    )
    loop = probes["cpu_loop_ms"]
    yield _finding("timing", "CPU loop", f"{loop:.1f} ms (a fixed Python loop: a unit to compare machines by)", ms=loop)


def _clock_source() -> Finding:
    source = hostprobes.clock_source()
    problem: tuple[State, str] | None = None
    if source is not None and source not in _GOOD_CLOCKS:
        problem = "look", "every reading asks the kernel or the hypervisor; boot with clocksource=tsc if it is stable"
    return _judged(("timing", "clock source", source or "not visible"), problem, {"source": source})


def _clock() -> Finding:
    resolution_ns = time.get_clock_info("monotonic").resolution * 1e9
    cost_ns = hostprobes.clock_cost_ns()
    found = f"resolution {resolution_ns:.0f} ns (stated), a reading costs {cost_ns:.0f} ns (measured)"
    problem: tuple[State, str] | None = None
    if cost_ns > _CLOCK_COST_LIMIT_NS:
        problem = "look", "the clock costs as much as what it measures; see the clock source"
    return _judged(("timing", "monotonic clock", found), problem, {"resolution_ns": resolution_ns, "cost_ns": cost_ns})


def _late(name: str, late: hostprobes.Lateness, limit_us: float, why: str) -> Finding:
    found = f"{late.p50_us:.1f} us late (p50), {late.p99_us:.1f} us (p99)"
    problem: tuple[State, str] | None = ("look", f"{why}; {_QUIET}") if late.p99_us > limit_us else None
    return _judged(("timing", name, found), problem, {"p50_us": late.p50_us, "p99_us": late.p99_us})


# -- the load generator ----------------------------------------------------------------------------------------


def _try_generator(generator_cores: list[int], platform_cores: list[int]) -> _Generator | str:
    """Return what the generator does against a target that does nothing, or the sentence that says why it does not."""
    try:
        with contextlib.closing(ForkServer(("harness.engines.native",), platform_cores)) as server:
            floor = measure_floor(server, generator_cores, platform_cores, _FLOOR_RATE_PER_S, seconds=1.0)
            return _Generator(floor, measure_ceiling(server, generator_cores, platform_cores))
    except (HarnessError, OSError) as problem:
        return str(problem)


def _generator_findings(generator: _Generator | str) -> Iterator[Finding]:
    if isinstance(generator, str):
        advice = "archbench cannot measure here; free ports and processes on loopback are needed"
        yield Finding("load generator", "generator", generator, "bad", advice, stops=True)
        return
    floor, ceiling = generator
    p50, p99 = floor.latency.percentiles_ms((50.0, 99.0))
    yield _finding(
        "load generator",
        "floor",
        f"{p50 * 1e3:.0f} us (p50), {p99 * 1e3:.0f} us (p99) at {floor.rate_per_s:.0f}/s, {floor.requests} requests",
        p50_us=p50 * 1e3,
        p99_us=p99 * 1e3,
        rate_per_s=floor.rate_per_s,
        requests=floor.requests,
    )
    yield _slip(floor)
    yield _ceiling(ceiling)


def _ceiling(ceiling: Ceiling) -> Finding:
    problem: tuple[State, str] | None = None
    if not ceiling.per_s:
        problem = "look", f"the machine stood still while this was measured; {_QUIET}"
    found = f"{ceiling.per_s:.0f}/s over {ceiling.connections} connections, generator busy {ceiling.busy_share:.0%}"
    values = {"per_s": ceiling.per_s, "connections": ceiling.connections, "busy_share": ceiling.busy_share}
    return _judged(("load generator", "ceiling", found), problem, values)


def _slip(floor: Floor) -> Finding:
    p50, p99 = (value * 1e3 for value in floor.slip.percentiles_ms((50.0, 99.0)))
    problem: tuple[State, str] | None = None
    if p99 > 100:
        problem = "look", f"requests leave late, and small differences of latency drown in it; {_QUIET}"
    found = f"{p50:.0f} us (p50), {p99:.0f} us (p99) at {floor.rate_per_s:.0f}/s"
    return _judged(("load generator", "slip", found), problem, {"p50_us": p50, "p99_us": p99})


# -- programs --------------------------------------------------------------------------------------------------


class _Program(NamedTuple):
    """A program that is looked for: what it is here, how it is asked its version, where the version stands."""

    role: str
    name: str
    ask: str
    pattern: str


_OTHERS = (
    _Program("gateway", "envoy", "--version", r"version: \S*?/(\d[^/\s]*)"),
    _Program("gateway", "traefik", "version", r"Version:\s*(\S+)"),
    _Program("gateway", "caddy", "version", r"v?(\d\S*)"),
    _Program("load tool", "h2load", "--version", r"(\d[\d.]+)"),
    _Program("load tool", "k6", "version", r"v(\d[\d.]+)"),
    _Program("load tool", "wrk", "-v", r"wrk (\S+)"),
)


def _programs() -> Iterator[Finding]:
    for name, gateway in GATEWAYS.items():
        missing = gateway.missing()
        found = "not installed" if missing else _safely(gateway.version)
        yield _judged(("programs", f"gateway {name}", found), ("look", missing) if missing else None, {})
    for role, name, ask, pattern in _OTHERS:
        if name not in GATEWAYS:
            yield _other(f"{role} {name}", name, ask, pattern)
    yield _finding("programs", "load tool locust", _package("locust"))


def _other(subject: str, name: str, ask: str, pattern: str) -> Finding:
    path = find_program(name)
    found = (
        _safely(lambda: f"{name} {program_version(name, [ask], pattern)}")
        if path
        else "not installed; nothing here needs it"
    )
    return _finding("programs", subject, found, path=path)


def _safely(ask: Callable[[], str]) -> str:
    """A program of somebody else's may hang or refuse to start."""
    try:
        return ask()
    except (OSError, ValueError, subprocess.SubprocessError) as problem:
        return f"there, but does not tell its version: {problem}"


def _package(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return "not installed; nothing here needs it"


# -- what it can settle ----------------------------------------------------------------------------------------


def _settles(host: dict[str, Any], pins: bool, generator: _Generator | str) -> Iterator[Finding]:
    yield _settles_ratios(pins)
    shared = len(host["platform_cores"]) < PROCESSES
    throughput = (
        "as the reciprocal of CPU time only: the processes share cores" if shared else "yes, each process on a core"
    )
    yield _settled("ratios of throughput", throughput, weak=shared)
    yield _settled("failure impact", "yes: it counts answers and effects, and needs no exact times")
    yield _settled("absolute figures", "for this machine and hour only", weak=True)
    if not isinstance(generator, str):
        yield from _reach(generator)


def _settles_ratios(pins: bool) -> Finding:
    quota = hostprobes.cpu_quota()
    if quota is not None and quota.cpus < len(usable_cores()):
        return Finding(GROUPS[-1], "settles ratios of latency and CPU", "no: the CPU quota decides who waits", "bad")
    weak = not (pins and LINUX)
    found = "weakly: no pinning, or coarse CPU accounting" if weak else "yes"
    return _settled("ratios of latency and CPU", found, weak=weak)


def _settled(what: str, found: str, *, weak: bool = False) -> Finding:
    return Finding(GROUPS[-1], f"settles {what}", found, "look" if weak else "ok")


def _reach(generator: _Generator) -> Iterator[Finding]:
    rate = _TRUSTED_SHARE * generator.ceiling.per_s
    yield _finding(
        GROUPS[-1],
        "highest rate to trust",
        f"about {_rounded(rate):.0f}/s open loop: half of the ceiling measured now (the half is a rule of thumb)",
        per_s=rate,
    )
    smallest_ms = _SLIP_FACTOR * generator.floor.slip.percentile_ms(99.0)
    yield _finding(
        GROUPS[-1],
        "smallest difference",
        f"{_rounded(smallest_ms):g} ms of latency from the intended start: ten times the slip p99 measured now",
        ms=smallest_ms,
    )


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")
