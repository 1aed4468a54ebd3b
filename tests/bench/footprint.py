"""What a process holds, from /proc: resident and proportional memory, its peak, file handles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import rig


@dataclass(frozen=True)
class Footprint:
    """What a gateway holds at one moment: MB, file handles."""

    rss_mb: float
    pss_mb: float
    peak_mb: float
    handles: int


def footprint(pid: int) -> Footprint:
    """Return what a process and its children hold. The peak is the sum of their peaks."""
    pids = rig.family(pid)
    status = [_kilobytes(Path(f"/proc/{one}/status")) for one in pids]
    shares = [_kilobytes(Path(f"/proc/{one}/smaps_rollup")) for one in pids]
    return Footprint(
        sum(one["VmRSS"] for one in status) * 1024 / 1e6,
        sum(one["Pss"] for one in shares) * 1024 / 1e6,
        sum(one["VmHWM"] for one in status) * 1024 / 1e6,
        sum(len(list(Path(f"/proc/{one}/fd").iterdir())) for one in pids),
    )


def _kilobytes(path: Path) -> dict[str, int]:
    words = (line.split() for line in path.read_text(encoding="ascii", errors="replace").splitlines())
    return {parts[0].rstrip(":"): int(parts[1]) for parts in words if len(parts) == 3 and parts[2] == "kB"}


def most_of(samples: Sequence[Footprint]) -> Footprint:
    """Return the most of each figure."""
    return Footprint(
        max(one.rss_mb for one in samples),
        max(one.pss_mb for one in samples),
        max(one.peak_mb for one in samples),
        max(one.handles for one in samples),
    )
