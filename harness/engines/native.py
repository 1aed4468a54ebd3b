"""The native load engine: one process, one core, one epoll loop over non-blocking sockets.

Open loop: every request goes out at its intended time whatever became of the ones before it, so that a stall of the
system is charged to every request that should have gone out meanwhile (Tene's coordinated omission; wrk2). The loop
sleeps until a millisecond or two before the next arrival and then spins, because the kernel's poll timeout is whole
milliseconds. No coroutine, future or timer a request: on one core this reaches the rates that docs/benchmarks.md shows.
"""

from __future__ import annotations

import errno
import gc
import heapq
import itertools
import os
import pickle
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gateway_proxy.http1 import ProtocolError, ResponseParser
from harness.cpu import process_cpu_ns
from harness.engines.board import BOARD_BYTES, open_board, stop_asked, write_board
from harness.engines.job import DROPPED, ERROR, OK, TIMEOUT, Job, LoadResult, Mark, Request, Rows

_READ, _WRITE = 1, 4  # EPOLLIN and EPOLLOUT, POLLIN and POLLOUT alike
_SPIN_NS = 2_000_000
_NEVER = 1 << 62
_BOARD_NS = 100_000_000
_AT_ONCE = 2  # requests of a closed loop, after as many answers
_MORE_ROWS = 4096  # a closed loop's rows grow by so many at once
_SPARE_WATCHES = 256  # of connections that are closed
_H = ord("H")
# More than 128 KiB would make the allocator map and unmap pages for every read: three times the system time.
_RECEIVE_BYTES = 16_384


def run_job(job_path: str, result_path: str) -> None:
    """Carry out the pickled Job and leave a pickled LoadResult (it appears whole or not at all)."""
    job: Job = pickle.loads(Path(job_path).read_bytes())  # noqa: S301 - written by our own harness a moment ago
    result = _engine_for(job).run()
    partial = Path(result_path + ".partial")
    partial.write_bytes(pickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL))
    partial.rename(result_path)


def _engine_for(job: Job) -> Engine:
    """Return the engine that the job needs: looking for another address is work that one with one address is spared."""
    if not job.alternatives:
        return Engine(job)
    from harness.engines.native_failover import FailoverEngine  # noqa: PLC0415 - it is built on this module

    return FailoverEngine(job)


class _StopAskedError(Exception):
    """The board asks for an end before the job's own; raised between two turns of the loop, where all is consistent."""


class _PollAdapter:
    """select.poll with the interface of select.epoll (seconds), for systems without epoll."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self.register = self._poll.register
        self.modify = self._poll.modify
        self.unregister = self._poll.unregister

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        return self._poll.poll(timeout * 1000)


def _new_poller() -> Any:
    return select.epoll() if hasattr(select, "epoll") else _PollAdapter()


def _new_parser() -> ResponseParser:
    return ResponseParser(keep_body=False, keep_headers=False)


class _Connection:
    """One keep-alive connection to a target; carries at most one request at a time."""

    __slots__ = (
        "accepts",
        "connecting",
        "deadline_ns",
        "engine",
        "fd",
        "parser",
        "pending",
        "row",
        "rows",
        "sock",
        "target",
        "watched",
    )

    def __init__(self, engine: Engine, target: int) -> None:
        self.engine = engine
        self.target = target
        self.parser = engine.spare_parsers.pop() if engine.spare_parsers else _new_parser()
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self.sock.fileno()
        self.pending: memoryview | None = None
        self.connecting = True
        self.row = -1  # -1: idle
        self.rows = engine.open_rows
        self.accepts: frozenset[int] = frozenset()
        self.deadline_ns = _NEVER  # of the request it carries
        self.watched = False  # the engine will look at the deadline

    def send(self, payload: bytes) -> None:
        self.parser.begin(payload[0] == _H and payload.startswith(b"HEAD "))
        if self.connecting:
            self.pending = memoryview(payload)
            return
        try:
            sent = self.sock.send(payload)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.fail(ERROR)
            return
        if sent < len(payload):
            self.pending = memoryview(payload)[sent:]
            self.engine.poller.modify(self.fd, _READ | _WRITE)

    def ready(self, mask: int) -> None:
        """Do what the poller says can be done."""
        if mask & _WRITE and self.pending is not None:
            self._flush()
        if mask & ~_WRITE and self.fd >= 0:
            self.receive()

    def _flush(self) -> None:
        if self.connecting:
            self.connecting = False
            if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.fail(ERROR)
                return
        try:
            self.pending = self.pending[self.sock.send(self.pending) :] if self.pending else None
        except BlockingIOError:
            return
        except OSError:
            self.fail(ERROR)
            return
        if not self.pending:
            self.pending = None
            self.engine.poller.modify(self.fd, _READ)

    def receive(self) -> None:
        """Read what is there; the poller says that something is."""
        try:
            data = self.sock.recv(_RECEIVE_BYTES)
            if not data:
                self._peer_closed()
                return
            self.parser.feed(data)
        except BlockingIOError:
            return
        except (OSError, ProtocolError):
            self.fail(ERROR)
            return
        if self.parser.complete:
            self._answered()

    def _peer_closed(self) -> None:
        if self.row >= 0 and self.parser.eof():
            self._answered()
            self.close()
        else:
            self.fail(ERROR)

    def _answered(self) -> None:
        engine, rows, row, parser = self.engine, self.rows, self.row, self.parser
        rows.done_ns[row] = engine.clock() - engine.t0_ns
        rows.status[row] = status = parser.status
        outcome = rows.outcome[row] = OK if status in self.accepts else ERROR
        engine.ended[outcome] += 1
        self.row = -1
        # A refusal may come before the request was sent whole; the rest of it would be garbage to the next answer.
        if parser.keep_alive and self.pending is None:
            engine.idle[self.target].append(self)
        else:
            self.close()
        engine.finished(rows)

    def fail(self, outcome: int) -> None:
        """Give the connection up; the request on it, if any, ends with this outcome."""
        row, self.row = self.row, -1
        self.close()
        if row >= 0:
            self.rows.outcome[row] = outcome
            self.engine.ended[outcome] += 1
            if outcome == ERROR:
                self.rows.done_ns[row] = self.engine.clock() - self.engine.t0_ns
            self.engine.finished(self.rows)

    def close(self) -> None:
        if self.engine.connections.pop(self.fd, None) is not None:
            self.sock.close()  # also leaves the poller (epoll forgets closed descriptors)
            self.engine.spare_parsers.append(self.parser)
            self.fd = -1  # the next socket gets the number: whoever asks for it must not take that one for this


def _closed_requests(job: Job) -> Iterator[Request]:
    if job.closed is None:
        return iter(())
    return itertools.cycle(job.closed.requests) if job.closed.repeat else iter(job.closed.requests)


class Engine:
    """Carries out one Job in the calling process. `clock` returns monotonic nanoseconds."""

    def __init__(self, job: Job, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.job = job
        self.clock = clock
        self.t0_ns = job.t0_ns
        self.timeout_ns = job.timeout_ns
        self.poller = _new_poller()
        self.connections: dict[int, _Connection] = {}
        self.spare_parsers: list[ResponseParser] = []  # a parser refers to itself: dropped, it would never be collected
        self.idle: list[list[_Connection]] = [[] for _ in job.targets]
        self.open_rows = Rows.blank(len(job.schedule))
        self.closed_rows = Rows.blank(0)
        self.closed_sent = 0  # rows beyond are blank
        self.watches: list[tuple[int, int, _Connection]] = []  # heap: when to look at which connection's deadline
        self.in_flight = 0
        self.ended = [0, 0, 0, 0]  # by outcome
        self.opened = 0
        self.idle_ns = 0
        self.marks: list[Mark] = []
        self.next_mark_ns = self._next_mark()
        self.free_slots = 0  # closed loop: completions that have not been answered by a new request yet
        self.requests_left = _closed_requests(job)
        self.board = open_board(job.board) if job.board else bytearray(BOARD_BYTES)
        self.board_due_ns = 0 if job.board else _NEVER
        self.closed_open = False
        self.closed_end_ns = -1
        self.stopping = False

    def run(self) -> LoadResult:
        """Run the schedule, then the closed loop, each drained to the last request, unless the board says stop."""
        gc.disable()
        started = self.clock()
        try:
            self._open_loop()
            self._closed_loop()
            self._wait_for_marks()
        except _StopAskedError:
            self._wind_up()
        self._show(self.clock())
        wall = self.clock() - started
        for connection in list(self.connections.values()):
            connection.close()
        return LoadResult(
            open=self.open_rows,
            closed=self.closed_rows.first(self.closed_sent),
            marks=self.marks,
            busy_share=1 - self.idle_ns / wall if wall else 0.0,
            late_start_ns=max(0, started - self.t0_ns),
            capped=self.ended[DROPPED],
            closed_end_ns=self.closed_end_ns,
            connections_opened=self.opened,
        )

    # -- the open loop -----------------------------------------------------------------------------------------

    def _open_loop(self) -> None:
        schedule, clock, t0 = self.job.schedule, self.clock, self.t0_ns
        at_ns, which, requests = schedule.at_ns, schedule.which, schedule.requests
        count, row = len(schedule), 0
        due = at_ns[0] + t0 if count else _NEVER
        while row < count or self.in_flight:
            now = clock()
            while due <= now:
                self._launch_open(requests[which[row]], row)
                row += 1
                due = at_ns[row] + t0 if row < count else _NEVER
            self._turn(due)

    def _launch_open(self, request: Request, row: int) -> None:
        if self.in_flight >= self.job.max_in_flight:
            self.ended[DROPPED] += 1  # the row stays DROPPED; a cap that was hit makes the window invalid
            return
        self._launch(request, self.open_rows, row)

    # -- the closed loop ---------------------------------------------------------------------------------------

    def _closed_loop(self) -> None:
        closed = self.job.closed
        if closed is None:
            return
        end = closed.end_ns + self.t0_ns
        while self.clock() < closed.start_ns + self.t0_ns:
            self._turn(closed.start_ns + self.t0_ns)
        self.closed_open, self.free_slots = True, closed.connections
        while self.closed_open or self.in_flight:
            if self.closed_open and self.clock() >= end:
                self._stop_closed()
            self._refill()
            self._turn(end if self.closed_open else _NEVER)

    def _refill(self) -> None:
        """Send a new request for each one that ended.

        Two at a time: one that is sent alone finds a target that has gone to sleep meanwhile, and waking it is much of
        what a request costs here; many would leave connections idle, which Little's law is tested against.
        """
        rows = self.closed_rows
        while self.free_slots and self.closed_open:
            request = next(self.requests_left, None)
            if request is None:
                self._stop_closed()
                return
            row = self.closed_sent
            if row == len(rows.outcome):
                rows.extend(_MORE_ROWS)
            self.closed_sent = row + 1
            self.free_slots -= 1
            self._launch(request, rows, row)

    def _stop_closed(self) -> None:
        self.closed_open = False
        self.closed_end_ns = self.clock() - self.t0_ns

    # -- both --------------------------------------------------------------------------------------------------

    def _launch(self, request: Request, rows: Rows, row: int) -> None:
        idle = self.idle[request.target]
        connection = idle.pop() if idle else None
        while connection is not None and connection.fd < 0:  # closed by its peer while idle
            connection = idle.pop() if idle else None
        now = self.clock()
        rows.sent_ns[row] = now - self.t0_ns
        rows.outcome[row] = ERROR
        self.in_flight += 1
        if connection is None:
            connection = self._connect(request.target)
        connection.row, connection.rows, connection.accepts = row, rows, request.accepts
        connection.deadline_ns = now + self.timeout_ns
        if not connection.watched:
            self._watch(connection)
        connection.send(request.payload)

    def _connect(self, target: int) -> _Connection:
        connection = _Connection(self, target)
        self.opened += 1
        self.connections[connection.fd] = connection
        code = connection.sock.connect_ex(self.job.targets[target])
        # A refusal that is known at once is still told through the poller, like one that is known later.
        connection.connecting = code in (errno.EINPROGRESS, errno.ECONNREFUSED, errno.EAGAIN)
        self.poller.register(connection.fd, _READ | _WRITE if connection.connecting else _READ)
        return connection

    def finished(self, rows: Rows) -> None:
        """Take note that a request has ended, however it ended."""
        self.in_flight -= 1
        if rows is self.closed_rows:
            self.free_slots += 1

    def _turn(self, next_due_ns: int) -> None:
        """Wait for events until shortly before the next thing to do, and handle them, or until that is due."""
        before = self.clock()
        wait = min(next_due_ns, self.next_mark_ns, self.watches[0][0] if self.watches else _NEVER) - before
        timeout = max(0, (wait - _SPIN_NS) // 1_000_000) / 1000 if wait > _SPIN_NS else 0
        events = self.poller.poll(min(timeout, 0.2))
        after = self.clock()
        if timeout or not events:
            self.idle_ns += after - before
        connections, clock = self.connections, self.clock
        for fd, mask in events:
            connection = connections.get(fd)
            if connection is not None:
                if mask == _READ:
                    connection.receive()
                else:
                    connection.ready(mask)
                if self.free_slots >= _AT_ONCE:
                    self._refill()
                if clock() >= next_due_ns:
                    break  # the next request is due; the poller tells of the other answers again
        self._expire(after)
        if self.next_mark_ns <= after:
            self._mark(after)
        if self.board_due_ns <= after:
            self._show(after)
            if stop_asked(self.board) and not self.stopping:
                raise _StopAskedError

    def _watch(self, connection: _Connection) -> None:
        """See to it that the deadline is looked at; one entry a connection, which outlasts many requests."""
        connection.watched = True
        heapq.heappush(self.watches, (connection.deadline_ns, id(connection), connection))
        if len(self.watches) > 2 * len(self.connections) + _SPARE_WATCHES:  # a peer that closes after each answer
            self.watches = [watch for watch in self.watches if watch[2].fd >= 0]
            heapq.heapify(self.watches)

    def _expire(self, now: int) -> None:
        while self.watches and self.watches[0][0] <= now:
            _, _, connection = heapq.heappop(self.watches)
            connection.watched = False
            if connection.row < 0:
                continue
            if connection.deadline_ns <= now:
                connection.fail(TIMEOUT)
            else:
                self._watch(connection)  # it has carried other requests since

    def _next_mark(self) -> int:
        done = len(self.marks)
        return self.job.marks_ns[done] + self.t0_ns if done < len(self.job.marks_ns) else _NEVER

    def _mark(self, now: int) -> None:
        clocks = {"generator": process_cpu_ns(os.getpid())}
        for component, pid in self.job.watched.items():
            try:
                clocks[component] = process_cpu_ns(pid)
            except ProcessLookupError:
                continue
        self.marks.append(Mark(now - self.t0_ns, clocks))
        self.next_mark_ns = self._next_mark()

    def _show(self, now: int) -> None:
        self.board_due_ns = now + _BOARD_NS
        sent = self.in_flight + sum(self.ended) - self.ended[DROPPED]
        write_board(self.board, (now - self.t0_ns, sent, *self.ended, self.in_flight))

    def _wind_up(self) -> None:
        """Send nothing more, read the CPU clocks a last time, and wait for what is in flight."""
        self.stopping = True
        if self.closed_open:
            self._stop_closed()
        self._mark(self.clock())
        while self.in_flight:
            self._turn(_NEVER)

    def _wait_for_marks(self) -> None:
        while self.next_mark_ns < _NEVER:
            self._turn(self.next_mark_ns)
