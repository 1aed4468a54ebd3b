"""What a load engine is asked to do and what it brings back: flat, picklable values, no behaviour.

Times are nanoseconds of the monotonic clock, relative to `t0_ns`. Outcomes: OK, ERROR, TIMEOUT, DROPPED.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

OK, ERROR, TIMEOUT, DROPPED = range(4)
OUTCOMES = ("ok", "error", "timeout", "dropped")


@dataclass(frozen=True)
class Shot:
    """One rendered request: when it is due (0 in a closed loop), to which target, its bytes, the statuses to accept."""

    at_ns: int
    target: int
    payload: bytes
    accepts: frozenset[int]


@dataclass(frozen=True)
class ClosedLoop:
    """A window in which `connections` requests are kept in flight, taken from `shots` in order, until its end."""

    shots: list[Shot]
    connections: int
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class Job:
    """An open-loop schedule, then perhaps a closed loop. `marks_ns` are the moments at which CPU clocks are read."""

    targets: list[tuple[str, int]]
    shots: list[Shot]
    t0_ns: int
    timeout_ns: int
    max_in_flight: int
    closed: ClosedLoop | None = None
    marks_ns: list[int] = field(default_factory=list)
    watched: dict[str, int] = field(default_factory=dict)  # component -> process id


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


@dataclass
class Mark:
    """The CPU clocks of the watched processes at one moment; a process that was gone is absent."""

    at_ns: int
    cpu_ns: dict[str, int]


@dataclass
class LoadResult:
    """What was sent and what came back. `open` has a row for every shot, `closed` one for every request it sent."""

    open: Rows
    closed: Rows
    marks: list[Mark]
    busy_share: float  # of the engine's wall time that was not waiting
    late_start_ns: int  # by how much the engine came up after t0; 0 when in time
    capped: int  # shots not sent because too many were in flight
    closed_end_ns: int  # when the closed loop really stopped sending (its shots may have run out)
    connections_opened: int
