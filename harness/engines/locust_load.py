"""A Locust worker carries out its share of a job.

The dispatcher sleeps until shortly before a request is due and then turns the event loop until it is; every request is
a greenlet of its own. A turn is one pass of the loop, the poll for I/O included. It is not gevent.sleep(0): whoever
spins with that is called again within the same pass, for up to 5 ms, and no answer is read meanwhile.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import gevent
from gevent import Timeout
from geventhttpclient.response import HTTPParseError

from harness.engines.job import DROPPED, ERROR, OK, OUTCOMES, TIMEOUT, FailingOver, Request, Rows
from harness.engines.locust_client import Client, Clients
from harness.engines.locust_failover import Several
from harness.engines.rendered import label_of, parse_rendered
from harness.engines.shares import ClosedShare, Report, RequestTable, Share, histograms_of
from harness.errors import HarnessError

Tell = Callable[[dict[str, int]], None]
Fire = Callable[..., None]

_SPIN_NS = 2_000_000  # epoll waits whole milliseconds
_LOOK_UP_NS = 200_000_000
_TELL_EVERY_S = 0.1


class _Prepared(NamedTuple):
    """A request as the client wants it."""

    client: Client
    several: Several | None  # where the target has more addresses than that of `client`
    method: str
    target: str
    headers: dict[str, str | list[str]]
    body: bytes
    accepts: frozenset[int]
    label: str


class Load:
    """One share of a job. `fire` is Locust's request event, `leaving` says that the worker has been told to stop."""

    def __init__(self, share: Share, fire: Fire, leaving: Callable[[], bool]) -> None:
        self.share = share
        self.fire = fire
        self.leaving = leaving
        self.halted = False
        self.clock = time.monotonic_ns
        self.t0_ns = share.t0_ns
        self.timeout_s = share.timeout_ns / 1e9
        self.clients = Clients()
        self.failing_over = FailingOver()
        self.several: list[Several | None] = []
        self.open_rows = Rows.blank(len(share.at_ns))
        self.closed_rows = Rows.blank(0)
        self.in_flight = 0
        self.sent = 0
        self.closed_sent = 0
        self.ended = [0, 0, 0, 0]  # of the open loop, by outcome
        self.capped = 0
        self.closed_end_ns = -1
        self.loop = gevent.get_hub().loop
        self.turn_over = self.loop.idle(priority=self.loop.MAXPRI)
        self.steps = 0  # requests begun or ended: a turn without one was an idle one
        self.idle_cpu_ns = 0
        self.turned_ns = 0
        self.mistake = ""

    def halt(self) -> None:
        """Send nothing more; what is in flight comes to its end."""
        self.halted = True

    @property
    def stopping(self) -> bool:
        """Whether nothing more is to be sent."""
        return self.halted or self.leaving()

    def run(self, tell: Tell | None = None) -> Report:
        """Carry the share out, down to the last answer. `tell` is called with counts while it runs.

        Raises HarnessError with the traceback when a request failed by a mistake of ours.
        """
        for host, port in self.share.targets:
            self.clients.client_of(host, port)
        self.several = [self._several(target) for target in range(len(self.share.alternatives))]
        teller = gevent.spawn(self._keep_telling, tell) if tell else None
        started, cpu_before = self.clock(), time.process_time_ns()
        try:
            self._open_loop()
            if self.share.closed is not None:
                self._closed_loop(self.share.closed)
            wall, cpu = self.clock() - started, time.process_time_ns() - cpu_before
            if self.mistake:
                raise HarnessError(self.mistake)
            return self._report(max(0, started - self.t0_ns), max(0, cpu - self.idle_cpu_ns) / max(1, wall))
        finally:
            if tell is not None and teller is not None:
                teller.kill()
                tell(self.counts())
            self.clients.close()

    def _several(self, target: int) -> Several | None:
        if not self.share.alternatives[target]:
            return None
        addresses = [self.share.targets[target], *self.share.alternatives[target]]
        clients = [self.clients.client_of(*address) for address in addresses]
        return Several(clients, lambda: self.clock() - self.t0_ns, self.failing_over)

    def _report(self, late_ns: int, busy_share: float) -> Report:
        share = self.share
        found = histograms_of(self.open_rows, share.at_ns, self.closed_rows, share.timeout_ns)
        return Report(
            job=share.job,
            place=share.place,
            open=self.open_rows,
            closed=self.closed_rows,
            counts=self.counts(),
            histograms={name: histogram.encode() for name, histogram in found.items()},
            busy_share=busy_share,
            late_start_ns=late_ns,
            closed_end_ns=self.closed_end_ns,
            connections_opened=self.clients.opened,
            failing_over=self.failing_over,
        )

    def counts(self) -> dict[str, int]:
        """Return what was done so far; `sent` and the outcomes are of the open loop."""
        outcomes = dict(zip(OUTCOMES, self.ended, strict=True))
        known = {"planned": len(self.share.at_ns), "sent": self.sent, "closed": self.closed_sent}
        return {**known, **outcomes, "capped": self.capped, "in_flight": self.in_flight}

    def _keep_telling(self, tell: Tell) -> None:
        while True:
            tell(self.counts())
            gevent.sleep(_TELL_EVERY_S)

    # -- the open loop -----------------------------------------------------------------------------------------

    def _open_loop(self) -> None:
        share, row = self.share, 0
        for row, due in enumerate(share.at_ns):
            prepared = self._prepare(share.requests, share.which[row])
            if not self._wait_until(due + self.t0_ns):
                break
            self._launch_open(prepared, row)
            self._turn()  # the request goes out now; the next one is prepared after that
        else:
            row = len(share.at_ns)
        self.ended[DROPPED] += len(share.at_ns) - row
        self._drain()

    def _launch_open(self, prepared: _Prepared, row: int) -> None:
        if self.in_flight >= self.share.max_in_flight:
            self.ended[DROPPED] += 1
            self.capped += 1  # the row stays DROPPED; a cap that was hit makes the window invalid
            return
        self.in_flight += 1
        self.sent += 1
        gevent.spawn(self._send_open, prepared, row)

    def _send_open(self, prepared: _Prepared, row: int) -> None:
        rows = self.open_rows
        outcome = self._exchange(prepared, rows, row)
        self.ended[outcome] += 1
        self.in_flight -= 1
        self._tell_locust(prepared, rows, row, self.share.at_ns[row])

    # -- the closed loop ---------------------------------------------------------------------------------------

    def _closed_loop(self, closed: ClosedShare) -> None:
        if not self._wait_until(closed.start_ns + self.t0_ns):
            return
        drivers = [gevent.spawn(self._drive, closed) for _ in range(closed.connections)]
        gevent.joinall(drivers, raise_error=True)

    def _drive(self, closed: ClosedShare) -> None:
        """Keep one request in flight."""
        while (at := self._next_closed(closed)) is not None:
            row = self.closed_sent
            self.closed_sent += 1
            self._append_closed()
            self.in_flight += 1
            prepared = self._prepare(closed.requests, at)
            if self._exchange(prepared, self.closed_rows, row) == ERROR:
                gevent.sleep(0)  # a refusal comes without a wait: let the others have their turn
            self.in_flight -= 1
            self._tell_locust(prepared, self.closed_rows, row, self.closed_rows.sent_ns[row])

    def _next_closed(self, closed: ClosedShare) -> int | None:
        at = None if self.closed_end_ns >= 0 else closed.request_at(self.closed_sent)
        now = self.clock() - self.t0_ns
        if at is not None and now < closed.end_ns and not self.stopping:
            return at
        if self.closed_end_ns < 0:
            self.closed_end_ns = now
        return None

    def _append_closed(self) -> None:
        rows = self.closed_rows
        rows.sent_ns.append(-1)
        rows.done_ns.append(-1)
        rows.status.append(0)
        rows.outcome.append(ERROR)

    # -- both --------------------------------------------------------------------------------------------------

    def _prepare(self, requests: RequestTable, index: int) -> _Prepared:
        request: Request = requests[index]
        method, target, headers, body = parse_rendered(request.payload)
        client = self.clients.client_of(*self.share.targets[request.target])
        several = self.several[request.target] if self.several else None
        return _Prepared(client, several, method, target, headers, body, request.accepts, label_of(method, target))

    def _exchange(self, prepared: _Prepared, rows: Rows, row: int) -> int:
        """Send the request, read the whole answer, fill the row; return the outcome."""
        self.steps += 1
        self.loop.update_now()  # a timer counts from the loop's idea of now, which is as old as this pass
        timer = Timeout.start_new(self.timeout_s)
        rows.sent_ns[row] = self.clock() - self.t0_ns
        outcome = ERROR
        try:
            answer = _ask(prepared)
            rows.done_ns[row] = self.clock() - self.t0_ns
            rows.status[row] = answer.get_code()
            outcome = OK if rows.status[row] in prepared.accepts else ERROR
        except Timeout as over:
            if over is not timer:
                raise
            outcome = TIMEOUT
        except (OSError, HTTPParseError):
            rows.done_ns[row] = self.clock() - self.t0_ns
        except Exception:  # noqa: BLE001 - a mistake of ours: the row keeps its place, the job fails with the traceback
            rows.done_ns[row] = self.clock() - self.t0_ns
            self.mistake = self.mistake or traceback.format_exc()
        finally:
            timer.close()
        rows.outcome[row] = outcome
        self.steps += 1
        return outcome

    def _tell_locust(self, prepared: _Prepared, rows: Rows, row: int, since_ns: int) -> None:
        """Let Locust count it: latency from the intended start, in ms."""
        outcome = rows.outcome[row]
        ended = rows.sent_ns[row] + self.share.timeout_ns if outcome == TIMEOUT else rows.done_ns[row]
        self.fire(
            request_type=prepared.method,
            name=prepared.label,
            response_time=(ended - since_ns) / 1e6,
            response_length=0,
            exception=None if outcome == OK else _WHY[outcome] + (f" {rows.status[row]}" if rows.status[row] else ""),
            context={},
        )

    def _wait_until(self, due_ns: int) -> bool:
        """Wait for the moment, of this machine's clock; return False when nothing is to be sent any more."""
        self.turned_ns = 0
        while (left := due_ns - self.clock()) > 0:
            if self.stopping:
                return False
            if left > _SPIN_NS:
                gevent.sleep(min(left - _SPIN_NS, _LOOK_UP_NS) / 1e9)
                self.turned_ns = 0
            else:
                self._turn()
        return not self.stopping

    def _turn(self) -> None:
        """Let the event loop pass once. CPU time of passes in which no request began or ended counts as idle."""
        if not self.turned_ns:
            self.turned_ns = time.process_time_ns()
        steps = self.steps
        gevent.get_hub().wait(self.turn_over)
        now = time.process_time_ns()
        if steps == self.steps:
            self.idle_cpu_ns += now - self.turned_ns
        self.turned_ns = now

    def _drain(self) -> None:
        while self.in_flight:
            gevent.sleep(0.001)


def _ask(prepared: _Prepared) -> Any:
    """Send the request and return its answer, read whole."""
    request = prepared.method, prepared.target, prepared.body, prepared.headers
    if prepared.several is not None:
        return prepared.several.ask(*request)
    answer = prepared.client.request(*request)
    answer.read()
    return answer


_WHY = {ERROR: "not answered well", TIMEOUT: "timeout"}
