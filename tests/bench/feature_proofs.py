"""Is a feature in force? Asked of the running gateway: what a feature costs that does nothing is no figure.

A proof is a function from a Probe to a truth. Each would be false of a gateway that knows nothing of its feature.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench import heads

PREFIX = "/api/v1/user"
STRICT = "/strict"  # a route with the same feature, set so that it shows at once
TIMEOUT_S = 5.0
PATIENCE_S = 3.0


@dataclass(frozen=True)
class Answer:
    """What came back; names of fields in lower case."""

    status: int
    fields: dict[str, str]
    body: str


@dataclass(frozen=True)
class Probe:
    """How to ask a gateway: `lines` are the field lines that the feature's load has; `log` is the upstream's."""

    port: int
    admin_port: int
    log: Path
    access_log: Path
    lines: tuple[str, ...] = ()
    secure: bool = False

    def get(self, path: str, *lines: str, port: int = 0, method: str = "GET") -> Answer:
        """Ask on a connection of its own."""
        connection = self._connect(port or self.port)
        try:
            pairs = (line.partition(": ") for line in lines)
            connection.request(method, path, headers={name: value for name, _, value in pairs})
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    def _connect(self, port: int) -> http.client.HTTPConnection:
        if not self.secure:
            return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)

    def echo(self, prefix: str = PREFIX, number: int = 0) -> dict[str, str]:
        """Return what the upstream saw of a request with the feature's fields."""
        body = self.get(f"{prefix}/echo/{number}", *self.lines).body
        return dict(line.split("=", 1) for line in body.splitlines() if "=" in line)

    def reached(self, count: int) -> list[str]:
        """Return which of the upstream's ports so many requests reached, each with a path of its own."""
        return [self.echo(number=number).get("port", "") for number in range(count)]

    def statuses(self, count: int, path: str = STRICT) -> list[int]:
        """Return the statuses of so many requests, one after the other."""
        return [self.get(path, *self.lines).status for _ in range(count)]

    def logged(self) -> int:
        """Return how many marked requests the upstream has logged."""
        return heads.read_log(self.log)[0]


Proof = Callable[[Probe], bool]


def serves(probe: Probe) -> bool:
    """It answers at all (over TLS, say)."""
    return bool(probe.echo())


def sees(name: str) -> Proof:
    """The upstream sees this field (feature_proofs.Probe.echo), which the client did not send."""
    return lambda probe: bool(probe.echo().get(name))


def hides(name: str) -> Proof:
    """The upstream does not see this field."""
    return lambda probe: probe.echo().get(name) == ""


def target(wanted: str) -> Proof:
    """The upstream sees this target."""
    return lambda probe: probe.echo().get("target") == wanted


def answers_with(name: str) -> Proof:
    """The answer has this field."""
    return lambda probe: name in probe.get(f"{PREFIX}/1", *probe.lines).fields


def logs(probe: Probe) -> bool:
    """The access log gets a line, at the latest when it is flushed."""
    probe.get(f"{PREFIX}/1")
    return _soon(lambda: probe.access_log.exists() and probe.access_log.stat().st_size > 0)


def has_metrics(probe: Probe) -> bool:
    """The admin port, which may listen later than the other, serves metrics."""

    def served() -> bool:
        with contextlib.suppress(ConnectionRefusedError):
            return probe.get("/metrics", port=probe.admin_port).status == 200
        return False

    return _soon(served)


def _soon(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def refuses(status: int) -> Proof:
    """The fields of the load let a request pass; without them it gets this status."""

    def proof(probe: Probe) -> bool:
        with_fields, without = probe.get(f"{PREFIX}/1", *probe.lines), probe.get(f"{PREFIX}/1")
        return (with_fields.status, without.status) == (200, status)

    return proof


def refuses_other_methods(probe: Probe) -> bool:
    """A GET has a route and a DELETE has none."""
    return probe.get(f"{PREFIX}/1").status == 200 and probe.get(f"{PREFIX}/1", method="DELETE").status in {404, 405}


def strict_gives(*wanted: int) -> Proof:
    """So many requests to the strict route get these statuses."""
    return lambda probe: probe.statuses(len(wanted)) == list(wanted)


def takes_turns(probe: Probe) -> bool:
    """Three targets are reached one after the other, and again in the same order."""
    reached = probe.reached(12)
    return len(set(reached)) == 3 and reached[:9] == reached[3:]


def chooses_by_chance(probe: Probe) -> bool:
    """Several targets are reached, in no order that repeats."""
    reached = probe.reached(24)
    return len(set(reached)) > 1 and reached[:21] != reached[3:]


def keeps_to_the_path(probe: Probe) -> bool:
    """The same path reaches the same target every time; other paths reach others."""
    first = probe.reached(12)
    probe.reached(1)  # so that taking turns would come out differently
    again = probe.reached(12)
    return first == again and len(set(first)) > 1


def avoids_the_busy_one(probe: Probe) -> bool:
    """While one target has a request in flight, the others get all that comes; then nobody is kept from it."""
    connection = http.client.HTTPConnection("127.0.0.1", probe.port, timeout=TIMEOUT_S)
    connection.putrequest("POST", f"{PREFIX}/sink/1")
    connection.putheader("Content-Length", "2")
    connection.endheaders(b"1")
    time.sleep(0.1)
    others = probe.reached(9)
    connection.send(b"2")
    busy = connection.getresponse().read().decode().rpartition(" ")[2]
    connection.close()
    return busy.isdigit() and "" not in others and busy not in others


def reaches_both(probe: Probe) -> bool:
    """Forty requests do not all reach the same upstream."""
    return len(set(probe.reached(40))) == 2


def asks_more_than_once(probe: Probe) -> bool:
    """One request to the strict route, whose upstream fails, is one attempt there and more."""
    before = probe.logged()
    probe.get(f"{STRICT}?{heads.MARK}")
    return probe.logged() - before > 1


def stops_asking(probe: Probe) -> bool:
    """Of ten requests to the strict route, whose upstream fails, only the first few reach it."""
    before = probe.logged()
    statuses = probe.statuses(10, f"{STRICT}?{heads.MARK}")
    return set(statuses) == {503} and 0 < probe.logged() - before < 6


def leaves_the_bad_one_alone(probe: Probe) -> bool:
    """Once its failures are known, the strict route's failing target (one of two) gets no more requests."""
    probe.statuses(12)
    time.sleep(0.6)  # outliers are looked for at intervals
    probe.statuses(4)
    return probe.statuses(12) == [200] * 12


def finds_the_bad_one_unasked(probe: Probe) -> bool:
    """Without any request from here, the strict route's failing target (one of two) gets none when they come."""
    time.sleep(0.6)  # it asks ten times a second
    return probe.statuses(12) == [200] * 12


def passes_an_upgrade(probe: Probe) -> bool:
    """The upstream is offered the protocol that the client offers."""
    body = probe.get(f"{PREFIX}/echo/0", "connection: upgrade", "upgrade: websocket").body
    return "upgrade=websocket" in body.splitlines()
