"""What a machine's timers, clocks and limits are like, measured or read from the system; `doctor` says what it means.

Times are nanoseconds unless a name says otherwise. Nothing here judges, and what cannot be seen is None.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.cpu import pin, usable_cores

_SYS = Path("/sys")
_ROUNDS = 100
_MS = 1_000_000
_SPIN_NS = 2_000_000  # as the load engine does


class Lateness(NamedTuple):
    """How late a wait of one millisecond ends."""

    p50_us: float
    p99_us: float


class Quota(NamedTuple):
    """A limit on CPU time: so many CPUs, from this file."""

    cpus: float
    path: Path


@contextlib.contextmanager
def pinned(cores: list[int]) -> Iterator[bool]:
    """Keep this process on these cores; say whether that worked, and give back what was before."""
    before = usable_cores()
    try:
        yield can_pin(cores)
    finally:
        with contextlib.suppress(OSError):
            pin(before)


def can_pin(cores: list[int]) -> bool:
    """Pin this process and say whether the system did it."""
    try:
        return pin(cores) and usable_cores() == cores
    except OSError:
        return False


def cpu_quota(cgroup: Path = Path("/proc/self/cgroup"), root: Path = _SYS / "fs/cgroup") -> Quota | None:
    """Return the tightest limit on CPU time that a container or service manager has set, or None."""
    found = [quota for folder in _cgroup_folders(cgroup, root) if (quota := _quota_in(folder)) is not None]
    return min(found, default=None)


def _cgroup_folders(cgroup: Path, root: Path) -> Iterator[Path]:
    """Yield this process's control groups with all that contain them, both hierarchies."""
    lines = cgroup.read_text(encoding="utf-8").splitlines() if cgroup.is_file() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            base = root if controllers == "" else root / "cpu"
            own = base / path.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(base))


def _quota_in(folder: Path) -> Quota | None:
    unified, quota, period = folder / "cpu.max", folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"
    words: list[str] = []
    if unified.is_file():
        words = unified.read_text(encoding="ascii").split()
    elif quota.is_file() and period.is_file():
        words = [quota.read_text(encoding="ascii").strip(), period.read_text(encoding="ascii").strip()]
    if len(words) != 2 or not words[0].isdigit() or not int(words[1]):
        return None  # "max", or -1: no limit
    return Quota(int(words[0]) / int(words[1]), unified if unified.is_file() else quota)


def clock_source(root: Path = _SYS) -> str | None:
    """Return the kernel's clock source, or None where it does not say."""
    return _word(root / "devices/system/clocksource/clocksource0/current_clocksource")


def turbo(root: Path = _SYS) -> bool | None:
    """Say whether the processor may raise its frequency by itself; None where it cannot be seen."""
    cpu = root / "devices/system/cpu"
    if (disabled := _word(cpu / "intel_pstate/no_turbo")) is not None:
        return disabled == "0"
    boost = _word(cpu / "cpufreq/boost")
    return None if boost is None else boost == "1"


def _word(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def clock_cost_ns(rounds: int = 20_000) -> float:
    """Return what one reading of the monotonic clock costs, loop included."""
    start = time.monotonic_ns()
    for _ in range(rounds):
        time.monotonic_ns()
    return (time.monotonic_ns() - start) / rounds


def sleep_lateness(rounds: int = _ROUNDS) -> Lateness:
    """Return how late `time.sleep` of a millisecond ends."""
    return _lateness(lambda due: time.sleep(max(0, due - time.monotonic_ns()) / 1e9), _MS, rounds)


def poll_lateness(rounds: int = _ROUNDS) -> Lateness:
    """Return how late a poll of a millisecond without events ends: what an engine that only sleeps would add."""
    with contextlib.ExitStack() as stack:
        if hasattr(select, "epoll"):
            epoll = stack.enter_context(contextlib.closing(select.epoll()))
            return _lateness(lambda _: epoll.poll(0.001), _MS, rounds)
        poll = select.poll()
        return _lateness(lambda _: poll.poll(1), _MS, rounds)


def spin_lateness(rounds: int = _ROUNDS) -> Lateness:
    """Return how late a wait of three milliseconds ends that first sleeps and then spins, as the load engine does."""

    def wait(due: int) -> None:
        time.sleep(max(0, due - _SPIN_NS - time.monotonic_ns()) / 1e9)
        while time.monotonic_ns() < due:
            pass

    return _lateness(wait, 3 * _MS, rounds)


def _lateness(wait: Callable[[int], object], wait_ns: int, rounds: int) -> Lateness:
    """Return how late `wait(due)` returns; a poll may come up early, which is not late."""
    late = []
    for _ in range(rounds):
        due = time.monotonic_ns() + wait_ns
        wait(due)
        late.append(max(0, time.monotonic_ns() - due) / 1e3)
    late.sort()
    return Lateness(late[len(late) // 2], late[min(len(late) - 1, len(late) * 99 // 100)])
