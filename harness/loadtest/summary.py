"""What came of a load: counts that reconcile, three histograms, the floor beside them, a verdict on the figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from harness.engines.job import DROPPED, ERROR, OK, TIMEOUT, Job, LoadResult
from harness.floor import Ceiling, Floor
from harness.histogram import Column, Histogram, requests_needed
from harness.loadtest import validity
from harness.loadtest.request import LoadRequest

_AT_A_TIME = 65_536
_SHARES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9}


@dataclass(frozen=True)
class Distribution:
    """Milliseconds."""

    mean: float
    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float

    @staticmethod
    def of(histogram: Histogram) -> Distribution:
        """Return a histogram's figures; zeros when nothing was recorded."""
        p50, p90, p99, p99_9 = histogram.percentiles_ms(list(_SHARES.values()))
        return Distribution(histogram.mean_ms, p50, p90, p99, p99_9, histogram.max_ms)


@dataclass(frozen=True)
class LoadSummary:
    """What came of it. planned = sent + dropped; sent = completed + errors + timeouts. Rates per second.

    `unanswered` of the errors brought no valid answer, the others a status that is not accepted. `floor` is the same
    engine against a target that does nothing: at the same rate, or, in a closed loop, over as many connections,
    `floor_per_s` then being its throughput. An interrupted load counts what was due until it was stopped.
    """

    request: LoadRequest
    planned: int
    sent: int
    completed: int
    errors: int
    unanswered: int
    timeouts: int
    dropped: int
    seconds: float
    offered_rate: float
    achieved_rate: float
    latency: Histogram
    service: Histogram
    slip: Histogram
    statuses: dict[int, int]
    generator_cpu_s: float
    busy_share: float
    connections_opened: int
    floor: Histogram
    floor_per_s: float
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def valid(self) -> bool:
        """Say whether the figures are to be believed."""
        return not self.reasons

    def as_dict(self) -> dict[str, Any]:
        """Return plain data, as `--json` writes it: every percentile, and beside them which have enough requests."""
        return {
            "url": self.request.url,
            "method": self.request.method,
            "mode": "closed" if self.request.closed else "open",
            "rate_per_s": None if self.request.closed else self.request.rate_per_s,
            "arrivals": None if self.request.closed else self.request.arrivals,
            "connections": self.request.in_flight_at_most,
            "seed": self.request.seed,
            "duration_s": self.request.duration_s,
            "warmup_s": self.request.warmup_s,
            "timeout_s": self.request.timeout_s,
            "measured_s": self.seconds,
            **self._counts(),
            "offered_rate": self.offered_rate,
            "achieved_rate": self.achieved_rate,
            "latency_ms": asdict(Distribution.of(self.latency)),
            "service_ms": asdict(Distribution.of(self.service)),
            "slip_ms": asdict(Distribution.of(self.slip)),
            "floor_ms": {**asdict(Distribution.of(self.floor)), "requests": len(self.floor)},
            "floor_rate": self.floor_per_s,
            "backed_percentiles": self._backed(),
            "histogram": self._encoded(),
            "generator_cpu_s": self.generator_cpu_s,
            "generator_busy_share": self.busy_share,
            "interrupted": self.interrupted,
            "valid": self.valid,
            "reasons": self.reasons,
            "warnings": self.warnings,
        }

    def _counts(self) -> dict[str, Any]:
        return {
            "planned": self.planned,
            "sent": self.sent,
            "completed": self.completed,
            "errors": self.errors,
            "unanswered": self.unanswered,
            "timeouts": self.timeouts,
            "dropped": self.dropped,
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "connections_opened": self.connections_opened,
        }

    def _backed(self) -> list[str]:
        return [name for name, share in _SHARES.items() if len(self.latency) >= requests_needed(share)]

    def _encoded(self) -> dict[str, Any]:
        encoded = {name: getattr(self, name).encode() for name in ("latency", "service", "slip")}
        return {"format": "HdrHistogram V2, zlib, base64; microseconds", **encoded}


class _Columns(NamedTuple):
    """The requests that count, one row each: ns since t0, -1 for what never happened."""

    due: Column
    sent: Column
    done: Column
    status: Column
    outcome: Column

    def part(self, start: int, end: int) -> _Columns:
        return _Columns(*(column[start:end] for column in self))


def summarise(
    request: LoadRequest, job: Job, result: LoadResult, floor: Floor | Ceiling, *, own_core: bool, interrupted: bool
) -> LoadSummary:
    """Return the figures of what the engine brought, those of the warm-up left out."""
    columns, everything = _counted(request, job, result)
    counts = np.bincount(columns.outcome, minlength=4).tolist()
    planned = len(columns.outcome)
    latency, service, slip = _histograms(columns, job.timeout_ns)
    seconds = _seconds(request, job, result, interrupted)
    completed = _completed_inside(everything, job, seconds) if request.closed else counts[OK]
    found = LoadSummary(
        request=request,
        planned=planned,
        sent=planned - counts[DROPPED],
        completed=counts[OK],
        errors=counts[ERROR],
        unanswered=int(((columns.outcome == ERROR) & (columns.status == 0)).sum()),
        timeouts=counts[TIMEOUT],
        dropped=counts[DROPPED],
        seconds=seconds,
        offered_rate=planned / seconds if seconds else 0.0,
        achieved_rate=completed / seconds if seconds else 0.0,
        latency=latency,
        service=service,
        slip=slip,
        statuses=_statuses(columns.status),
        generator_cpu_s=_cpu_s(result),
        busy_share=result.busy_share,
        connections_opened=result.connections_opened,
        floor=floor.latency,
        floor_per_s=floor.sent_in_time_per_s if isinstance(floor, Floor) else floor.per_s,
        interrupted=interrupted,
    )
    evidence = _evidence(found, result, floor, own_core=own_core)
    found.reasons.extend(validity.reasons(evidence))
    found.warnings.extend(validity.warnings(evidence))
    return found


def _counted(request: LoadRequest, job: Job, result: LoadResult) -> tuple[_Columns, _Columns]:
    """Return the columns without the warm-up and without what was no longer due, and all of them."""
    rows = result.closed if request.closed else result.open
    sent = np.asarray(rows.sent_ns)
    due = sent if request.closed else np.asarray(job.schedule.at_ns)
    columns = _Columns(due, sent, np.asarray(rows.done_ns), np.asarray(rows.status), np.asarray(rows.outcome))
    # Rows are launched in order, so that those before the first that was neither sent nor refused by the cap came due.
    reached = len(due) if request.closed else int((sent >= 0).sum()) + result.capped
    first = int(np.searchsorted(due, job.marks_ns[0]))
    return columns.part(first, max(first, reached)), columns


def _histograms(columns: _Columns, timeout_ns: int) -> tuple[Histogram, Histogram, Histogram]:
    """Return latency, service time and slip; a timeout enters with the timeout, what was not sent not at all."""
    latency, service, slip = Histogram(), Histogram(), Histogram()
    for start in range(0, len(columns.due), _AT_A_TIME):
        due, sent, done, _, outcome = columns.part(start, start + _AT_A_TIME)
        late = sent - due
        took = np.where(outcome == TIMEOUT, timeout_ns, done - sent)
        ended = (done >= 0) | (outcome == TIMEOUT)
        latency.record((took + late)[ended])
        service.record(took[ended])
        slip.record(late[sent >= 0])
    return latency, service, slip


def _seconds(request: LoadRequest, job: Job, result: LoadResult, interrupted: bool) -> float:
    """Return how long the counted window really was."""
    if request.closed:
        end_ns = result.closed_end_ns
    elif interrupted and result.marks:
        end_ns = min(result.marks[-1].at_ns, job.marks_ns[-1])
    else:
        return request.duration_s
    return max(0.0, (end_ns - job.marks_ns[0]) / 1e9)


def _completed_inside(columns: _Columns, job: Job, seconds: float) -> int:
    """Return how many answers came inside the window, whenever they were asked for: throughput has no stragglers."""
    start = job.marks_ns[0]
    inside = (columns.done >= start) & (columns.done <= start + round(seconds * 1e9))
    return int(((columns.outcome == OK) & inside).sum())


def _judged_at(count: int) -> float:
    """Return the highest percentile, p99 at most, that so many requests back; p99 itself when they back none."""
    return next((share for share in (99.0, 95.0, 90.0, 50.0) if count >= requests_needed(share)), 99.0)


def _statuses(status: Column) -> dict[int, int]:
    seen, counts = np.unique(status[status > 0], return_counts=True)
    return dict(zip(seen.tolist(), counts.tolist(), strict=True))


def _cpu_s(result: LoadResult) -> float:
    used = [mark.cpu_ns.get("generator", 0) for mark in result.marks]
    return (used[-1] - used[0]) / 1e9 if used else 0.0


def _evidence(found: LoadSummary, result: LoadResult, floor: Floor | Ceiling, *, own_core: bool) -> validity.Evidence:
    judged_at = _judged_at(len(found.latency))
    enough = len(floor.latency) >= requests_needed(50)
    return validity.Evidence(
        closed=found.request.closed,
        connections=found.request.in_flight_at_most,
        planned=found.planned,
        sent=found.sent,
        completed=found.completed,
        failed=found.errors + found.timeouts,
        capped=result.capped,
        opened=result.connections_opened,
        late_start_ms=result.late_start_ns / 1e6,
        busy_share=result.busy_share,
        achieved_per_s=found.achieved_rate,
        latency_p50=found.latency.percentile_ms(50.0),
        judged_at=judged_at,
        latency_tail=found.latency.percentile_ms(judged_at),
        slip_tail=found.slip.percentile_ms(judged_at),
        floor_p50=floor.latency.percentile_ms(50.0) if enough else None,
        floor_per_s=found.floor_per_s,
        floor_kept_up=not isinstance(floor, Floor) or floor.kept_up,
        offered_per_s=floor.rate_per_s if isinstance(floor, Floor) else 0.0,
        own_core=own_core,
    )
