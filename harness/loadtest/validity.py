"""When the figures of a load are not to be believed, and what to know although they are.

A *reason* says that the instrument was measured and not the target (exit code 5); a *warning* says what the figures
hold beside the target. A slow or failing target is neither: that is what was to be found out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

BUSY_LIMIT = 0.8  # open loop: beyond it requests begin to wait for the generator
SATURATED = 0.95  # closed loop: answers wait for the generator
CEILING_SHARE = 0.8
SLIP_SHARE = 0.1
FLOOR_FACTOR = 2.0
_SENT_SHARE = 0.99
_OPENED_SHARE = 0.1  # of the requests: so many new connections are no keep-alive


@dataclass(frozen=True)
class Evidence:
    """What is judged. Times in ms, rates per second; the tails are the percentile `judged_at`.

    In an open loop `floor_kept_up` says whether the generator kept the same rate against a target that does nothing,
    and `floor_per_s` how much of it was sent in time; in a closed loop `floor_per_s` is the generator's ceiling.
    """

    closed: bool
    connections: int
    planned: int
    sent: int
    completed: int
    failed: int
    capped: int
    opened: int
    late_start_ms: float
    busy_share: float
    achieved_per_s: float
    latency_p50: float
    judged_at: float
    latency_tail: float
    slip_tail: float
    floor_p50: float | None
    floor_per_s: float
    floor_kept_up: bool
    offered_per_s: float
    own_core: bool


def reasons(found: Evidence) -> list[str]:
    """Return why the figures are not to be believed; empty when they are."""
    always = [f"the generator came up {found.late_start_ms:.0f} ms late"] if found.late_start_ms else []
    specific = _closed_reasons(found) if found.closed else _open_reasons(found)
    nothing = [] if found.completed else ["no request was completed: there is nothing to measure"]
    return [*always, *specific, *nothing]


def _open_reasons(found: Evidence) -> list[str]:
    trouble = list(_open_trouble(found))
    if trouble and not found.floor_kept_up:
        own = (
            f"this rate is beyond the generator's own limit on this machine: of {found.offered_per_s:.0f} requests a "
            f"second it sent {found.floor_per_s:.0f} in time to a target that does nothing"
        )
        return [own, *trouble]
    return trouble


def _open_trouble(found: Evidence) -> Iterator[str]:
    if found.capped:
        yield f"{found.capped} requests were not sent: {found.connections} connections were all in use"
    if found.busy_share > BUSY_LIMIT:
        yield f"the generator was busy for {found.busy_share:.0%} of the time: its own limit, not the target's"
    if found.sent < _SENT_SHARE * found.planned:
        yield f"only {found.sent} of {found.planned} planned requests were sent"
    if found.slip_tail > SLIP_SHARE * found.latency_tail:
        share = f"p{found.judged_at:g}"
        yield (
            f"slip {share} is {found.slip_tail:.3f} ms, more than a tenth of the latency {share} of "
            f"{found.latency_tail:.3f} ms: the generator sent late"
        )


def _closed_reasons(found: Evidence) -> list[str]:
    close = found.achieved_per_s >= CEILING_SHARE * found.floor_per_s > 0
    ceiling = (
        f"{found.achieved_per_s:.0f} requests a second are too close to the {found.floor_per_s:.0f}/s that the "
        f"generator reaches against a target that does nothing (at most 80 %): its own limit, not the target's"
    )
    busy = f"the generator was busy for {found.busy_share:.0%} of the time: answers waited for it, its own limit"
    return [*[ceiling] * close, *[busy] * (found.busy_share > SATURATED)]


def warnings(found: Evidence) -> list[str]:
    """Return what to know about figures that may be believed."""
    return list(_warnings(found))


def _warnings(found: Evidence) -> Iterator[str]:
    if _is_mostly_floor(found):
        yield (
            f"half of the latency or more is the generator's own floor: p50 is {found.latency_p50:.3f} ms, and "
            f"{found.floor_p50:.3f} ms against a target that does nothing"
        )
    if found.failed:
        yield (
            f"{found.failed} of {found.sent} requests failed; the time until they failed, for a timeout the timeout, "
            f"is among the latencies"
        )
    if found.opened - found.connections - found.failed > _OPENED_SHARE * found.sent:
        yield (
            f"{found.opened} connections were opened for {found.sent} requests: the target does not keep them, and "
            f"opening is part of the figures"
        )
    if not found.own_core:
        yield "there is one core only: the generator shares it with whatever else runs here"


def _is_mostly_floor(found: Evidence) -> bool:
    """A closed loop's floor is a queue of its own making, and one that did not keep up is no floor."""
    comparable = not found.closed and found.floor_kept_up and found.completed
    return bool(comparable) and found.floor_p50 is not None and found.latency_p50 < FLOOR_FACTOR * found.floor_p50
