"""Notices when a core of the platform stands still for everybody on it: a hypervisor, an interrupt, a stranger.

A process of its own on each of the platform's cores sleeps for two milliseconds at a time and writes down when it came
up late, as jHiccup does. It sleeps almost always, so that the scheduler lets it in at once, however busy the
platform is; what delays it for tens of milliseconds has delayed every service as well, and belongs to no mode.
The rule that voids a trial (`trialdoubts`) looks at this and not at any outcome.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from harness.forkserver import ForkServer, Spawn

_PERIOD_NS = 2_000_000
_WORTH_NOTING_NS = 2_000_000
_RECORD = struct.Struct("<qq")


class Stall(NamedTuple):
    """The watchdog was due at `at_ns` (monotonic clock) and came up `late_ns` later."""

    at_ns: int
    late_ns: int

    def overlaps(self, from_ns: int, to_ns: int) -> bool:
        """Say whether any of it lies in this stretch of time."""
        return self.at_ns < to_ns and self.at_ns + self.late_ns > from_ns


def watch(path: str) -> None:
    """Append stalls to the file, for ever; runs in the forked process."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    while True:
        due = time.monotonic_ns() + _PERIOD_NS
        time.sleep(_PERIOD_NS / 1e9)
        late = time.monotonic_ns() - due
        if late > _WORTH_NOTING_NS:
            os.write(log, _RECORD.pack(due, late))


def start_watchdogs(cores: Sequence[int], folder: Path, server: ForkServer) -> list[Path]:
    """Start one watchdog on each core; return the files that they write. They end with the fork server."""
    paths = [folder / f"watchdog-{core}.stalls" for core in cores]
    for core, path in zip(cores, paths, strict=True):
        server.spawn(Spawn("harness.watchdog:watch", (str(path),), str(folder / "watchdog.log"), [core]))
    return paths


def read_stalls(paths: Sequence[Path], from_ns: int, to_ns: int) -> list[Stall]:
    """Return the stalls that overlap a stretch of time, in order."""
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            data = path.read_bytes()
            whole = data[: len(data) // _RECORD.size * _RECORD.size]
            found += [Stall(*row) for row in _RECORD.iter_unpack(whole)]
    return sorted(stall for stall in found if stall.overlaps(from_ns, to_ns))
