"""Flows that start inside a service: at times drawn beforehand, one learner each.

A schedule is a file of 16-byte entries (time of the monotonic clock in ns, learner index). An entry that came due
while the service was down is never started, and none is started twice: what was started stands in the sweep log,
which is written before the flow begins, so that work cut off by a SIGKILL is known to have begun.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from stub_services.alarm import Alarm
from stub_services.calllog import open_log, read_records
from stub_services.policies import Result
from stub_services.service import SweepFlow
from stub_services.web import Request

LATE_NS = 50_000_000
"""An entry this much overdue when the schedule is read was due while nobody was there to start it."""

SweepOutcome = Literal["", "ok", "error", "timeout"]

_ENTRY = struct.Struct("<qq")
_RECORD = struct.Struct("<iBBHqqq")  # entry, begun or done, outcome, status, at, intended, learner
assert _RECORD.size == 32  # a power of two never crosses a page: an append is whole
_BEGUN, _DONE = 0, 1
_OUTCOMES: tuple[SweepOutcome, ...] = ("", "ok", "error", "timeout")

logger = logging.getLogger("stub_services.sweeps")


class SweepRow(NamedTuple):
    """One flow that was started; `entry` is its place in the schedule.

    `done_ns` is -1 and `outcome` empty when it never ended; `status` 0 is no answer.
    """

    entry: int
    started_ns: int
    done_ns: int
    outcome: SweepOutcome
    status: int
    intended_ns: int
    learner: int


def write_schedule(path: Path, entries: Sequence[tuple[int, int]]) -> None:
    """Write (intended time.monotonic_ns, learner index) entries; the file appears whole. Raises OSError."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(b"".join(_ENTRY.pack(*entry) for entry in entries))
    partial.replace(path)


def read_schedule(path: Path) -> list[tuple[int, int]]:
    """Return the entries of a schedule, none when there is no file."""
    return [(intended_ns, learner) for intended_ns, learner in read_records(path, _ENTRY)]


def read_sweeps(path: Path) -> list[SweepRow]:
    """Read a `.sweeps` file: what was started, in order, and how it ended. A missing file is empty."""
    rows: dict[tuple[int, int], SweepRow] = {}
    for index, kind, outcome, status, at_ns, intended_ns, learner in read_records(path, _RECORD):
        entry = (index, intended_ns)
        if kind == _BEGUN:
            rows[entry] = SweepRow(index, at_ns, -1, "", 0, intended_ns, learner)
        elif entry in rows:
            rows[entry] = rows[entry]._replace(done_ns=at_ns, outcome=_OUTCOMES[outcome], status=status)
    return list(rows.values())


class Sweeper:
    """Starts a flow for each entry of the schedule at its time. Belongs to the running loop.

    `log` is the sweep log, None when nothing is recorded. Raises OSError when it cannot be opened.
    """

    def __init__(self, flow: SweepFlow, schedule: Path | None, log: Path | None) -> None:
        self._flow = flow
        self._schedule = schedule
        self._log = -1 if log is None else open_log(log, _RECORD.size)
        self._begun = set() if log is None else {(row.entry, row.intended_ns) for row in read_sweeps(log)}
        self._due: list[tuple[int, int, int]] = []  # (intended, entry, learner), the next one last
        self._alarm = Alarm(self._start_due)
        self._running: set[asyncio.Task[None]] = set()

    def load(self) -> int:
        """Read the schedule, instead of what is left of an earlier one. Returns how many entries are to come."""
        entries = [] if self._schedule is None else read_schedule(self._schedule)
        oldest_ns = time.monotonic_ns() - LATE_NS
        self._due = [
            (intended_ns, index, learner)
            for index, (intended_ns, learner) in enumerate(entries)
            if intended_ns >= oldest_ns and (index, intended_ns) not in self._begun
        ]
        self._due.sort(reverse=True)
        self._set_alarm()
        return len(self._due)

    async def reload(self, request: Request) -> tuple[int, bytes]:
        """Handle the request to read the schedule again."""
        del request
        self.load()
        return 204, b""

    def close(self) -> None:
        """Start nothing any more, and let go of what runs."""
        self._alarm.close()
        for task in self._running:
            task.cancel()
        if self._log >= 0:
            os.close(self._log)
            self._log = -1

    def _set_alarm(self) -> None:
        if self._due:
            self._alarm.set(self._due[-1][0])
        else:
            self._alarm.cancel()

    def _start_due(self) -> None:
        now = time.monotonic_ns()
        while self._due and self._due[-1][0] <= now:
            intended_ns, index, learner = self._due.pop()
            self._begun.add((index, intended_ns))
            task = asyncio.create_task(self._run(intended_ns, index, learner))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        self._set_alarm()

    async def _run(self, intended_ns: int, index: int, learner: int) -> None:
        self._note(index, _BEGUN, "", 0, intended_ns, learner)
        try:
            result = await self._flow(learner)
        except Exception:
            logger.exception("the sweep of learner %d failed", learner)
            self._note(index, _DONE, "error", 0, intended_ns, learner)
        else:
            self._note(index, _DONE, _outcome(result), result.reply.status, intended_ns, learner)

    def _note(self, index: int, kind: int, outcome: SweepOutcome, status: int, intended_ns: int, learner: int) -> None:
        if self._log >= 0:
            number = _OUTCOMES.index(outcome)
            os.write(self._log, _RECORD.pack(index, kind, number, status, time.monotonic_ns(), intended_ns, learner))


def _outcome(result: Result) -> SweepOutcome:
    return "error" if result.outcome == "rejected" else result.outcome
