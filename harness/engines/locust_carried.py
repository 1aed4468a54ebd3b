"""A job while a Locust crew carries it out: who has reported, who was lost, and what the master looks at meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.event import Event
from locust.runners import MasterRunner

from harness.cpu import process_cpu_ns
from harness.engines import locust_process as wire
from harness.engines.board import open_board, stop_asked, write_board
from harness.engines.job import OUTCOMES, Job, LoadResult, Mark
from harness.engines.locust_members import Member
from harness.engines.shares import Merged, Report, deal
from harness.errors import HarnessError

_BOARD_S = 0.1
Send = Callable[[Member, str, Mapping[str, Any]], None]


class Carried:
    """A job that the crew is carrying out; `send` sends content of any size, `changed` wakes the master."""

    def __init__(
        self, runner: MasterRunner, send: Send, changed: Event, members: list[Member], number: int, job: Job
    ) -> None:
        self.runner = runner
        self.send = send
        self.changed = changed
        self.number = number
        self.job = job
        self.members = members
        self.merged = Merged(job, len(self.members))
        self.lost: dict[int, str] = {}
        self.told: dict[int, dict[str, int]] = {}
        self.marks: list[Mark] = []
        self.problem = ""
        self.stopping = Event()
        self.helpers: list[gevent.Greenlet] = []

    def begin(self) -> None:
        """Give every worker its share; t0 is translated to the clock of each."""
        now = time.monotonic_ns()
        for place, member in enumerate(self.members):
            share = deal(self.job, self.number, place, len(self.members), self.job.t0_ns + member.offset_ns(now))
            self.send(member, wire.SHARE, share.pack())
        self.helpers.append(gevent.spawn(self._read_marks))
        if self.job.board:
            self.helpers.append(gevent.spawn(self._keep_board))

    @property
    def over(self) -> bool:
        """Whether every worker has reported or is lost, and every mark was read."""
        settled = len(self.merged.reports) + len(self.lost) == len(self.members)
        return bool(self.problem) or (settled and self.helpers[0].dead)

    def take(self, report: Report) -> None:
        """Take a worker's report; a place that was given up for lost stays lost."""
        if report.place + 1 in self.lost:
            return
        try:
            self.merged.add(report)
        except HarnessError as mismatch:
            self.problem = str(mismatch)

    def lose(self, member: Member) -> None:
        """Give up a worker whose report has not come."""
        if member.number - 1 not in self.merged.reports:
            self.lost[member.number] = member.name

    def halt(self) -> None:
        """Let no worker send any more for this job."""
        for member in self.members:
            if member.client:
                self.runner.send_message(wire.HALT, {"job": self.number}, member.client)
        for helper in self.helpers:
            helper.kill(block=False)

    def end(self) -> LoadResult:
        """Return the result. Raises HarnessError when a worker failed or its counts do not reconcile."""
        if self.problem:
            raise HarnessError(self.problem)
        for helper in self.helpers:
            helper.kill(block=False)
        if self.job.board:
            self._show()
        return self.merged.result(self.marks, [self.lost[number] for number in sorted(self.lost)])

    # -- what is looked at meanwhile ---------------------------------------------------------------------------

    def _read_marks(self) -> None:
        """Read the CPU clocks at the marks: the platform is on this machine, and so are the workers that count."""
        for mark_ns in self.job.marks_ns:
            while (left := mark_ns + self.job.t0_ns - time.monotonic_ns()) > 0 and not self.stopping.is_set():
                self.stopping.wait(timeout=left / 1e9)
            self.marks.append(self._mark())
            if self.stopping.is_set():
                break
        self.changed.set()

    def _mark(self) -> Mark:
        ours = [os.getpid(), *(member.pid for member in self.members if member.local)]
        clocks = {"generator": sum(_cpu_ns(pid) or 0 for pid in ours)}
        watched = ((name, _cpu_ns(pid)) for name, pid in self.job.watched.items())
        clocks |= {name: used for name, used in watched if used is not None}
        return Mark(time.monotonic_ns() - self.job.t0_ns, clocks)

    def _keep_board(self) -> None:
        """Show how far the job is, and stop it when whoever watches asks for that."""
        while True:
            self._show()
            gevent.sleep(_BOARD_S)

    def _show(self) -> None:
        board = open_board(self.job.board)
        counts = [sum(told.get(name, 0) for told in self.told.values()) for name in ("sent", *OUTCOMES, "in_flight")]
        write_board(board, (time.monotonic_ns() - self.job.t0_ns, *counts))
        if stop_asked(board) and not self.stopping.is_set():
            self.stopping.set()
            for member in self.members:
                self.runner.send_message(wire.HALT, {"job": self.number}, member.client)
        board.close()


def _cpu_ns(pid: int) -> int | None:
    try:
        return process_cpu_ns(pid)
    except ProcessLookupError:
        return None
