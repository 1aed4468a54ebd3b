"""What a load engine is asked to do and what it brings back: flat, picklable values, no behaviour.

Times are nanoseconds of the monotonic clock, relative to `t0_ns`. Outcomes: OK, ERROR, TIMEOUT, DROPPED.

A request costs 12 bytes while it is planned and 19 once it has its row, whatever is sent: the rendered requests
themselves are shared where they are alike.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

OK, ERROR, TIMEOUT, DROPPED = range(4)
OUTCOMES = ("ok", "error", "timeout", "dropped")


class Request(NamedTuple):
    """One rendered request: to which target, its bytes, the statuses to accept."""

    target: int
    payload: bytes
    accepts: frozenset[int]


@dataclass(frozen=True)
class Schedule:
    """An open loop in columns: `requests[which[row]]` is due `at_ns[row]` after t0; rows are in order of time."""

    at_ns: array[int]
    which: array[int]
    requests: list[Request]

    def __len__(self) -> int:
        return len(self.at_ns)

    @staticmethod
    def of(due: Iterable[tuple[int, Request]]) -> Schedule:
        """Return the schedule of these requests, each its own."""
        pairs = list(due)
        return Schedule(
            array("q", [at_ns for at_ns, _ in pairs]),
            array("I", range(len(pairs))),
            [request for _, request in pairs],
        )

    @staticmethod
    def repeating(at_ns: Iterable[int], request: Request) -> Schedule:
        """Return the schedule of one and the same request at these times."""
        times = array("q", at_ns)
        return Schedule(times, array("I", [0]) * len(times), [request])


@dataclass(frozen=True)
class ClosedLoop:
    """A window in which `connections` requests are kept in flight until its end, taken from `requests` in order.

    When they have run out the loop stops early, or starts again with the first one if they `repeat`.
    """

    requests: list[Request]
    connections: int
    start_ns: int
    end_ns: int
    repeat: bool = False


@dataclass(frozen=True)
class Job:
    """An open-loop schedule, then perhaps a closed loop. `marks_ns` are the moments at which CPU clocks are read.

    `board` names a file of BOARD_BYTES to which the engine writes how far it is (harness.engines.board); empty: none.
    `alternatives` has for each target the further addresses that serve the same, and is empty where none has any:
    docs/failover.md says what an engine does with them.
    """

    targets: list[tuple[str, int]]
    schedule: Schedule
    t0_ns: int
    timeout_ns: int
    max_in_flight: int
    closed: ClosedLoop | None = None
    marks_ns: list[int] = field(default_factory=list)
    watched: dict[str, int] = field(default_factory=dict)  # component -> process id
    board: str = ""
    alternatives: list[list[tuple[str, int]]] = field(default_factory=list)


@dataclass
class Rows:
    """Columns, one row a request: sent and done are -1 when it never happened."""

    sent_ns: array[int]
    done_ns: array[int]
    status: array[int]
    outcome: array[int]

    @staticmethod
    def blank(count: int) -> Rows:
        """Return `count` rows of requests that have not been sent."""
        return Rows(
            array("q", [-1]) * count,
            array("q", [-1]) * count,
            array("h", [0]) * count,
            array("b", [DROPPED]) * count,
        )

    def extend(self, count: int) -> None:
        """Add `count` rows of requests that have not been sent."""
        more = Rows.blank(count)
        self.sent_ns += more.sent_ns
        self.done_ns += more.done_ns
        self.status += more.status
        self.outcome += more.outcome

    def first(self, count: int) -> Rows:
        """Return the first `count` rows."""
        return Rows(self.sent_ns[:count], self.done_ns[:count], self.status[:count], self.outcome[:count])


@dataclass
class Mark:
    """The CPU clocks of the watched processes at one moment; a process that was gone is absent."""

    at_ns: int
    cpu_ns: dict[str, int]


@dataclass
class FailingOver:
    """What it took to pass requests on, as moments: connects tried, those that failed, requests sent again.

    Kept only where a target has several addresses; otherwise all three stay empty.
    """

    connects_ns: array[int] = field(default_factory=lambda: array("q"))
    failed_ns: array[int] = field(default_factory=lambda: array("q"))
    again_ns: array[int] = field(default_factory=lambda: array("q"))


@dataclass
class LoadResult:
    """What was sent and what came back. `open` has a row for every planned request, `closed` for every one it sent.

    Row i of `closed` is request i of the loop, or `closed_which[i]` where several workers share the loop and one has
    come further than another.
    """

    open: Rows
    closed: Rows
    marks: list[Mark]
    busy_share: float  # of the engine's wall time that was not waiting
    late_start_ns: int  # by how much the engine came up after t0; 0 when in time
    capped: int  # requests not sent because too many were in flight
    closed_end_ns: int  # when the closed loop really stopped sending (its requests may have run out)
    connections_opened: int
    lost: list[str] = field(default_factory=list)  # workers that went away: what became of their share is not known
    closed_which: array[int] = field(default_factory=lambda: array("I"))
    histograms: dict[str, str] = field(default_factory=dict)  # of distributed engines: name -> encoded, in microseconds
    failing_over: FailingOver = field(default_factory=FailingOver)
