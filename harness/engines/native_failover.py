"""The native engine for targets that have several addresses: in turn, and past one to which nobody can connect.

The rules are those of stub_services.failover. Accounting is the engine's own: a request that is passed on keeps its
row, its intended start, its first send and its deadline, and has one outcome. All that this takes stands here, so that
an engine whose targets have one address each does not do any of it.
"""

from __future__ import annotations

import errno
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from harness.engines.job import ERROR, TIMEOUT, FailingOver, Job, LoadResult, Request, Rows
from harness.engines.native import _NEVER, _READ, _WRITE, Engine, _Connection
from stub_services.failover import CONNECT_TIMEOUT_S, IDEMPOTENT, PUT_ASIDE_S, Turns

_CONNECT_TIMEOUT_NS = int(CONNECT_TIMEOUT_S * 1e9)
_PUT_ASIDE_NS = int(PUT_ASIDE_S * 1e9)
_IDEMPOTENT = frozenset(method.encode() for method in IDEMPOTENT)


class _Flight:
    """One request on its way: the places where it was tried, the connection that has it, whether bytes of it left."""

    __slots__ = ("connection", "left", "request", "row", "rows", "tried")

    connection: _FailoverConnection

    def __init__(self, request: Request, rows: Rows, row: int) -> None:
        self.request = request
        self.rows = rows
        self.row = row
        self.tried: list[int] = []
        self.left = False

    @property
    def repeatable(self) -> bool:
        """Say whether it may arrive twice (RFC 9110, section 9.2.2)."""
        method, _, _ = self.request.payload.partition(b" ")
        return method in _IDEMPOTENT

    @property
    def current(self) -> bool:
        """Say whether it is still under way."""
        return self.connection.flight is self and self.connection.row >= 0


class _FailoverConnection(_Connection):
    """A connection whose request, if it fails, may go to another place; `target` is the place it leads to."""

    __slots__ = ("flight", "refused", "untouched")

    engine: FailoverEngine
    flight: _Flight

    def __init__(self, engine: FailoverEngine, place: int) -> None:
        super().__init__(engine, place)
        self.refused = False  # known at once, and told by the poller like one that is known later
        self.untouched = False  # no byte of the request can have left

    def send(self, payload: bytes) -> None:
        self.untouched = True
        super().send(payload)
        self.untouched = False

    def _flush(self) -> None:
        if self.connecting:
            if self.refused or self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.engine.connect_failed(self)
                return
            self.connecting = False
            self.engine.connected(self)
        super()._flush()

    def fail(self, outcome: int) -> None:
        flight = self.flight
        if outcome == ERROR and self.row >= 0 and (self.untouched or flight.repeatable):
            flight.left = flight.left or not self.untouched
            self.engine.pass_on(self)
        else:
            super().fail(outcome)


class FailoverEngine(Engine):
    """Carries out a Job with `alternatives`. Every address is a place; a target is the places that serve the same."""

    def __init__(self, job: Job, clock: Callable[[], int] = time.monotonic_ns) -> None:
        places, groups = _places(job)
        super().__init__(replace(job, targets=places), clock)
        self.turns = [Turns(group, _PUT_ASIDE_NS) for group in groups]
        self.turns_of = {place: turns for group, turns in zip(groups, self.turns, strict=True) for place in group}
        self.alone = {group[0] for group in groups if len(group) == 1}
        self.flights: deque[tuple[int, _Flight]] = deque()  # by deadline
        self.dials: deque[tuple[int, _FailoverConnection]] = deque()  # by deadline
        self.failing_over = FailingOver()

    def run(self) -> LoadResult:
        """Run the job, and tell what it took to fail over."""
        return replace(super().run(), failing_over=self.failing_over)

    def connect_failed(self, connection: _FailoverConnection) -> None:
        """Put the place aside; nothing was sent, so the request goes elsewhere whatever it is."""
        now = self.clock()
        self.turns_of[connection.target].failed(connection.target, now)
        self.failing_over.failed_ns.append(now - self.t0_ns)
        self.pass_on(connection)

    def connected(self, connection: _FailoverConnection) -> None:
        """Take the place back, if it was aside."""
        self.turns_of[connection.target].reached(connection.target)
        self._count_again(connection.flight)

    def pass_on(self, connection: _FailoverConnection) -> None:
        """Take the request off this connection and send it to the next place; an error when there is none."""
        flight, connection.row = connection.flight, -1
        connection.close()
        if not self._fly(flight):
            self._lose(flight)

    def _lose(self, flight: _Flight) -> None:
        flight.rows.done_ns[flight.row] = self.clock() - self.t0_ns
        self.ended[ERROR] += 1  # the row says so since it was launched
        self.finished(flight.rows)

    def _launch(self, request: Request, rows: Rows, row: int) -> None:
        now = self.clock()
        rows.sent_ns[row] = now - self.t0_ns
        rows.outcome[row] = ERROR
        self.in_flight += 1
        flight = _Flight(request, rows, row)
        self._fly(flight)
        self.flights.append((now + self.job.timeout_ns, flight))

    def _fly(self, flight: _Flight) -> bool:
        """Send the request to the place whose turn it is; return False when it was tried everywhere."""
        turns = self.turns[flight.request.target]
        place = turns.take(self.clock(), flight.tried)
        if place is None:
            return False
        flight.tried.append(place)
        connection = None if turns.is_doubtful(place) else self._idle_at(place)
        if connection is None:
            connection = self._connect(place)
        else:
            self._count_again(flight)
        flight.connection, connection.flight = connection, flight
        connection.row, connection.rows, connection.accepts = flight.row, flight.rows, flight.request.accepts
        connection.send(flight.request.payload)
        return True

    def _count_again(self, flight: _Flight) -> None:
        if flight.left:
            self.failing_over.again_ns.append(self.clock() - self.t0_ns)

    def _idle_at(self, place: int) -> _FailoverConnection | None:
        idle = self.idle[place]
        while idle:
            connection = idle.pop()
            if connection.fd >= 0:  # not closed by its peer while idle
                return connection  # type: ignore[return-value]  # all of this engine's are
        return None

    def _connect(self, target: int) -> _FailoverConnection:
        connection = _FailoverConnection(self, target)
        now = self.clock()
        self.opened += 1
        self.failing_over.connects_ns.append(now - self.t0_ns)
        self.connections[connection.fd] = connection
        connection.refused = connection.sock.connect_ex(self.job.targets[target]) not in (0, errno.EINPROGRESS)
        self.poller.register(connection.fd, _READ | _WRITE)
        if target not in self.alone:
            self.dials.append((now + _CONNECT_TIMEOUT_NS, connection))
        return connection

    def _turn(self, next_due_ns: int) -> None:
        first = min(self.flights[0][0] if self.flights else _NEVER, self.dials[0][0] if self.dials else _NEVER)
        super()._turn(min(next_due_ns, first))
        self._expire_dials(self.clock())

    def _expire(self, now: int) -> None:
        flights = self.flights
        while flights:
            deadline, flight = flights[0]
            if flight.current and deadline > now:
                return
            flights.popleft()
            if flight.current:
                flight.connection.fail(TIMEOUT)

    def _expire_dials(self, now: int) -> None:
        dials = self.dials
        while dials:
            deadline, connection = dials[0]
            pending = connection.connecting and connection.fd >= 0
            if pending and deadline > now:
                return
            dials.popleft()
            if pending:
                self.connect_failed(connection)


def _places(job: Job) -> tuple[list[tuple[str, int]], list[list[int]]]:
    """Return all addresses, and for each target which of them are its own."""
    places = list(job.targets)
    groups: list[list[int]] = []
    for target, more in enumerate(job.alternatives):
        groups.append([target, *range(len(places), len(places) + len(more))])
        places += more
    return places, groups
