"""What a worker of a distributed engine is given, what it reports, and how the reports become one result.

Worker k of n has the rows k, k + n, k + 2n ... of the schedule: the shares are disjoint and complete, and each of them
is as long as the whole. On the wire everything is numbers, text and little-endian columns: a worker on another machine
is never sent, and never sends, anything that could run.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram

from harness.engines.job import (
    DROPPED,
    ERROR,
    OK,
    TIMEOUT,
    ClosedLoop,
    FailingOver,
    Job,
    LoadResult,
    Mark,
    Request,
    Rows,
)
from harness.errors import HarnessError
from harness.histogram import DIGITS, MOST_US, Histogram

PROTOCOL = 2
"""Master and workers must agree on this number; it changes with anything below."""

HISTOGRAMS = ("latency", "service", "slip", "closed_service")
"""Open loop: from the intended start, from the send, send less intended. Closed loop: from the send."""

_COLUMNS = (("sent_ns", "q"), ("done_ns", "q"), ("status", "h"), ("outcome", "b"))
_MOMENTS = ("connects_ns", "failed_ns", "again_ns")


def portion(total: int, place: int, of: int) -> int:
    """Return how much of `total` falls to a place: portions differ by at most one and add up to the total."""
    return total // of + (place < total % of)


def _to_wire(column: array[int]) -> bytes:
    if sys.byteorder == "little":
        return column.tobytes()
    swapped = column[:]
    swapped.byteswap()
    return swapped.tobytes()


def _from_wire(kind: str, data: bytes) -> array[int]:
    column: array[int] = array(kind)
    column.frombytes(data)
    if sys.byteorder != "little":
        column.byteswap()
    return column


@dataclass(frozen=True)
class RequestTable:
    """Rendered requests in columns, so that a hundred thousand of them are taken off the wire at once."""

    payloads: bytes
    ends: array[int]
    targets: array[int]
    kinds: array[int]  # which of `accepts`
    accepts: list[frozenset[int]]

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Request:
        """Return one request."""
        start = self.ends[index - 1] if index else 0
        payload = self.payloads[start : self.ends[index]]
        return Request(self.targets[index], payload, self.accepts[self.kinds[index]])

    @staticmethod
    def of(requests: Iterable[Request]) -> RequestTable:
        """Return the table of these requests, in their order."""
        ends, targets, kinds = array("q"), array("q"), array("q")
        payloads: list[bytes] = []
        accepts: dict[frozenset[int], int] = {}
        end = 0
        for target, payload, accepted in requests:
            payloads.append(payload)
            end += len(payload)
            ends.append(end)
            targets.append(target)
            kinds.append(accepts.setdefault(accepted, len(accepts)))
        return RequestTable(b"".join(payloads), ends, targets, kinds, list(accepts))

    def pack(self) -> dict[str, Any]:
        """Return it for the wire."""
        columns = {name: _to_wire(getattr(self, name)) for name in ("ends", "targets", "kinds")}
        return {"payloads": self.payloads, "accepts": [sorted(accepted) for accepted in self.accepts], **columns}

    @staticmethod
    def unpack(packed: Mapping[str, Any]) -> RequestTable:
        """Return what was packed."""
        ends, targets, kinds = (_from_wire("q", packed[name]) for name in ("ends", "targets", "kinds"))
        return RequestTable(packed["payloads"], ends, targets, kinds, [frozenset(one) for one in packed["accepts"]])


@dataclass(frozen=True)
class ClosedShare:
    """A worker's part of the closed loop. Its n-th request is `requests[n]`, or, repeating, `first + n * step`."""

    requests: RequestTable
    first: int
    step: int
    connections: int
    start_ns: int
    end_ns: int
    repeat: bool

    def request_at(self, number: int) -> int | None:
        """Return where in `requests` the n-th request of this worker stands; None when they have run out."""
        if self.repeat:
            return (self.first + number * self.step) % len(self.requests)
        return number if number < len(self.requests) else None


@dataclass(frozen=True)
class Share:
    """A worker's part of a job. `t0_ns` is of its own monotonic clock; `tell` asks for word on its progress."""

    job: int
    place: int
    of: int
    t0_ns: int
    timeout_ns: int
    max_in_flight: int
    targets: list[tuple[str, int]]
    at_ns: array[int]
    which: array[int]
    requests: RequestTable
    closed: ClosedShare | None = None
    tell: bool = False
    alternatives: list[list[tuple[str, int]]] = field(default_factory=list)

    def pack(self) -> dict[str, Any]:
        """Return it for the wire."""
        plain = ("job", "place", "of", "t0_ns", "timeout_ns", "max_in_flight", "targets", "tell", "alternatives")
        packed = {name: getattr(self, name) for name in plain}
        closed = None if self.closed is None else {**vars(self.closed), "requests": self.closed.requests.pack()}
        columns = {"at_ns": _to_wire(self.at_ns), "which": _to_wire(self.which)}
        return {**packed, **columns, "requests": self.requests.pack(), "closed": closed}

    @staticmethod
    def unpack(packed: Mapping[str, Any]) -> Share:
        """Return what was packed."""
        closed = packed["closed"]
        if closed is not None:
            closed = ClosedShare(**{**closed, "requests": RequestTable.unpack(closed["requests"])})
        columns = {"at_ns": _from_wire("q", packed["at_ns"]), "which": _from_wire("q", packed["which"])}
        targets = _addresses(packed["targets"])
        alternatives = [_addresses(group) for group in packed["alternatives"]]
        requests = RequestTable.unpack(packed["requests"])
        parts = {"targets": targets, "alternatives": alternatives, "requests": requests, "closed": closed}
        return Share(**{**packed, **columns, **parts})


def _addresses(packed: Iterable[Sequence[Any]]) -> list[tuple[str, int]]:
    return [(host, port) for host, port in packed]


def deal(job: Job, number: int, place: int, of: int, t0_ns: int) -> Share:
    """Return the share of the worker at this place (of `of`) in the job with this number."""
    schedule = job.schedule
    used = schedule.which[place::of]
    table = {index: row for row, index in enumerate(dict.fromkeys(used))}
    return Share(
        job=number,
        place=place,
        of=of,
        t0_ns=t0_ns,
        timeout_ns=job.timeout_ns,
        max_in_flight=max(1, portion(job.max_in_flight, place, of)),
        targets=job.targets,
        at_ns=schedule.at_ns[place::of],
        which=array("q", map(table.__getitem__, used)),
        requests=RequestTable.of(schedule.requests[index] for index in table),
        closed=_deal_closed(job.closed, place, of),
        tell=bool(job.board),
        alternatives=job.alternatives,
    )


def _deal_closed(closed: ClosedLoop | None, place: int, of: int) -> ClosedShare | None:
    if closed is None or place >= _sharers(closed, of):
        return None
    step = _sharers(closed, of)
    mine = closed.requests if closed.repeat else closed.requests[place::step]
    connections = portion(closed.connections, place, of)
    table = RequestTable.of(mine)
    return ClosedShare(table, place, step, connections, closed.start_ns, closed.end_ns, closed.repeat)


def _sharers(closed: ClosedLoop, of: int) -> int:
    """With fewer connections than workers, some workers have none."""
    return min(of, closed.connections)


@dataclass(frozen=True)
class Report:
    """What one worker did with its share. `counts` were kept while it ran; the rows must say the same."""

    job: int
    place: int
    open: Rows
    closed: Rows
    counts: dict[str, int]
    histograms: dict[str, str]
    busy_share: float
    late_start_ns: int
    closed_end_ns: int
    connections_opened: int
    failing_over: FailingOver = field(default_factory=FailingOver)

    def pack(self) -> dict[str, Any]:
        """Return it for the wire."""
        passed_on = {name: _to_wire(moments) for name, moments in vars(self.failing_over).items()}
        rows = {"open": _pack_rows(self.open), "closed": _pack_rows(self.closed)}
        return {**vars(self), **rows, "failing_over": passed_on}

    @staticmethod
    def unpack(packed: Mapping[str, Any]) -> Report:
        """Return what was packed."""
        rows = {name: _unpack_rows(packed[name]) for name in ("open", "closed")}
        moments = {name: _from_wire("q", column) for name, column in packed["failing_over"].items()}
        return Report(**{**packed, **rows, "failing_over": FailingOver(**moments)})


def _pack_rows(rows: Rows) -> dict[str, bytes]:
    return {name: _to_wire(getattr(rows, name)) for name, _ in _COLUMNS}


def _unpack_rows(packed: Mapping[str, bytes]) -> Rows:
    return Rows(*(_from_wire(kind, packed[name]) for name, kind in _COLUMNS))


def histograms_of(open_rows: Rows, at_ns: Sequence[int], closed: Rows, timeout_ns: int) -> dict[str, Histogram]:
    """Return the distributions of what was sent; a timeout enters as the timeout, from the send."""
    latency, service, slip, closed_service = (array("q") for _ in HISTOGRAMS)
    for due, sent, done, outcome in zip(at_ns, open_rows.sent_ns, open_rows.done_ns, open_rows.outcome, strict=True):
        if outcome != DROPPED:
            took = timeout_ns if outcome == TIMEOUT else done - sent
            service.append(took)
            slip.append(sent - due)
            latency.append(sent - due + took)
    for sent, done, outcome in zip(closed.sent_ns, closed.done_ns, closed.outcome, strict=True):
        closed_service.append(timeout_ns if outcome == TIMEOUT else done - sent)
    columns = (latency, service, slip, closed_service)
    return {name: _histogram(values) for name, values in zip(HISTOGRAMS, columns, strict=True)}


def _histogram(values_ns: array[int]) -> Histogram:
    histogram = Histogram()
    histogram.record(values_ns)
    return histogram


@dataclass
class Merged:
    """The reports of a job as they come in; those of workers that were lost never do."""

    job: Job
    of: int
    reports: dict[int, Report] = field(default_factory=dict)

    def add(self, report: Report) -> None:
        """Take a report. Raises HarnessError unless its counts, rows and histograms agree exactly."""
        _reconcile(report, len(self.job.schedule.at_ns[report.place :: self.of]))
        self.reports[report.place] = report

    def result(self, marks: list[Mark], lost: list[str]) -> LoadResult:
        """Return the whole. Raises HarnessError when rows are missing although no worker is."""
        reports = list(self.reports.values())
        if len(reports) < self.of and not lost:
            raise HarnessError(f"only {len(reports)} of {self.of} load workers reported")
        closed, which = self._closed_rows()
        closed_ends = [report.closed_end_ns for report in reports if report.closed_end_ns >= 0]
        return LoadResult(
            open=self._open_rows(),
            closed=closed,
            closed_which=which,
            marks=marks,
            busy_share=max((report.busy_share for report in reports), default=0.0),
            late_start_ns=max((report.late_start_ns for report in reports), default=0),
            capped=sum(report.counts["capped"] for report in reports),
            closed_end_ns=min(closed_ends, default=-1),  # from then on not all connections were kept busy
            connections_opened=sum(report.connections_opened for report in reports),
            lost=lost,
            histograms=_merge_histograms(reports),
            failing_over=_merge_failing_over(reports),
        )

    def _open_rows(self) -> Rows:
        rows = Rows.blank(len(self.job.schedule))
        for place, report in self.reports.items():
            _lay(rows, report.open, place, self.of)
        return rows

    def _closed_rows(self) -> tuple[Rows, array[int]]:
        """Return what was sent, in the order of the loop's requests, and which request each row is."""
        closed = self.job.closed
        if closed is None:
            return Rows.blank(0), array("I")
        step = _sharers(closed, self.of)
        sent = sorted(
            (place + row * step, report.closed, row)
            for place, report in self.reports.items()
            for row in range(len(report.closed.sent_ns))
        )
        columns = (array(kind, (getattr(rows, name)[row] for _, rows, row in sent)) for name, kind in _COLUMNS)
        return Rows(*columns), array("I", (number % len(closed.requests) for number, _, _ in sent))


def _lay(whole: Rows, part: Rows, first: int, step: int) -> None:
    stop = first + len(part.sent_ns) * step
    for name, _ in _COLUMNS:
        getattr(whole, name)[first:stop:step] = getattr(part, name)


def _merge_failing_over(reports: Sequence[Report]) -> FailingOver:
    """Put the moments of all workers in order; each is of its own t0, and those are one instant."""
    merged = {name: sorted(at for one in reports for at in getattr(one.failing_over, name)) for name in _MOMENTS}
    return FailingOver(**{name: array("q", moments) for name, moments in merged.items()})


def _merge_histograms(reports: Sequence[Report]) -> dict[str, str]:
    """Add them up as the library has them: Histogram.decode would work out a mean for each, which takes long."""
    merged = {name: HdrHistogram(1, MOST_US, DIGITS) for name in HISTOGRAMS}
    for report in reports:
        for name, histogram in merged.items():
            histogram.decode_and_add(report.histograms[name].encode("ascii"))
    return {name: histogram.encode().decode("ascii") for name, histogram in merged.items()}


def _count(encoded: str) -> int:
    return int(HdrHistogram.decode(encoded.encode("ascii")).get_total_count())


@dataclass(frozen=True)
class _Tally:
    planned: int
    sent: int
    ok: int
    error: int
    timeout: int
    dropped: int
    closed: int

    @staticmethod
    def of(report: Report) -> _Tally:
        """Count the rows."""
        outcomes, closed = Counter(report.open.outcome), len(report.closed.outcome)
        planned = len(report.open.outcome)
        return _Tally(
            planned,
            sum(sent >= 0 for sent in report.open.sent_ns),
            outcomes[OK],
            outcomes[ERROR],
            outcomes[TIMEOUT],
            outcomes[DROPPED],
            closed,
        )


def _reconcile(report: Report, planned: int) -> None:
    """Raise HarnessError unless planned = sent + dropped and sent = ok + error + timeout, however it is counted."""
    rows = _Tally.of(report)
    counted = {name: report.counts[name] for name in asdict(rows)}
    in_histograms = {name: _count(report.histograms[name]) for name in HISTOGRAMS}
    expected = {name: rows.closed if name == "closed_service" else rows.sent for name in HISTOGRAMS}
    balanced = rows.planned == planned == rows.sent + rows.dropped
    balanced = balanced and rows.sent == rows.ok + rows.error + rows.timeout
    if not (balanced and counted == asdict(rows) and in_histograms == expected):
        raise HarnessError(
            f"the counts of load worker {report.place + 1} do not reconcile: {planned} planned for it; "
            f"counted {counted}, rows {asdict(rows)}, histograms {in_histograms}"
        )
