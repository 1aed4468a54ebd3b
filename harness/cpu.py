"""CPU time of a process in nanoseconds, and the cores that a process may use.

On Linux the scheduler's own per-process clock is read (POSIX clock_getcpuclockid, here by its number): all threads,
dead ones included, at nanosecond resolution and for about a microsecond a read. Elsewhere psutil's coarser times.
"""

import os
import sys
import time

LINUX = sys.platform.startswith("linux")
_CPUCLOCK_SCHED = 2


def process_cpu_ns(pid: int) -> int:
    """Return the CPU time that the process has used. Raises ProcessLookupError when there is no such process."""
    if LINUX:
        try:
            return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED)
        except OSError as gone:
            raise ProcessLookupError(pid) from gone
    return _coarse_cpu_ns(pid)


def _coarse_cpu_ns(pid: int) -> int:
    import psutil  # noqa: PLC0415 - only where the clock above is missing

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess as gone:
        raise ProcessLookupError(pid) from gone
    return int((times.user + times.system) * 1e9)


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use; made-up numbers where pinning is impossible."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(cores: list[int], pid: int = 0) -> bool:
    """Keep a process on these cores; say whether the system could do that."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(pid, cores)
    return True
