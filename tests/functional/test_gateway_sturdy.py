"""Two hundred bad clients or upstreams at once: each is dealt with, none leaves a trace, neighbours notice nothing."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from pathlib import Path

import pytest

from tests.functional.gateway_rig import GET, OK, Script, Upstream, Wire, gateway_for, wait_until

pytestmark = [pytest.mark.functional, pytest.mark.alone]  # crowds of clients with deadlines

CROWD = 200
POST = b"POST /a HTTP/1.1\r\nHost: h\r\n"
NEIGHBOUR = b"GET /a/neighbour HTTP/1.1\r\nHost: h\r\n\r\n"
NEIGHBOUR_S = 3.0  # generous: what is under test here shares its cores with the tests
GROWTH_BYTES = 30_000_000
LIMITS = "limits: {head_timeout_s: 0.6, body_timeout_s: 0.6, idle_timeout_s: 1.2}"
OPTIONS = ", response_timeout_s: 0.8, max_idle_per_target: 4"


def answers(wire):
    wire.send(OK)


class Odd(Upstream):
    """Answers well, but what the test has another script for."""

    def __init__(self) -> None:
        super().__init__()
        self.script = self._serve
        self.odd: dict[str, Script] = {}  # by the last segment of the path
        self.requests: list[str] = []

    def _serve(self, wire: Wire) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                line = wire.until(b"\r\n\r\n").split(b"\r\n")[0].decode()
                kind = line.split(" ")[1].rpartition("/")[2]
                if kind != "neighbour":
                    self.requests.append(line)
                self.odd.get(kind, answers)(wire)

    @property
    def open(self) -> int:
        return sum(wire.sock.fileno() != -1 for wire in self.wires)


@pytest.fixture(scope="module")
def server():
    upstream = Odd()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def running(server, tmp_path_factory):
    with gateway_for(tmp_path_factory.mktemp("sturdy"), server.port, OPTIONS, LIMITS) as gateway:
        assert gateway.ask(NEIGHBOUR).status == 200
        yield gateway, min(_own_sockets(gateway, server) for _ in range(20))


def _own_sockets(gateway, server):
    """Return how many sockets the gateway has besides those to the upstream; too many while a client's is closing."""
    time.sleep(0.02)
    return _sockets(gateway) - server.open


@pytest.fixture
def upstream(server):
    server.failures.clear()
    server.requests = []
    server.odd = {}
    yield server
    assert server.failures == []


@pytest.fixture
def gateway(running, upstream):
    """The gateway, with a neighbour who keeps asking; afterwards no socket may be left that nobody knows of."""
    gateway, own_sockets = running
    before = gateway.rss_bytes()
    with Neighbour(gateway) as neighbour:
        yield gateway
    assert neighbour.answered > 0
    assert neighbour.worst_s < NEIGHBOUR_S
    wait_until(lambda: upstream.open <= 4 and _sockets(gateway) == own_sockets + upstream.open)
    assert gateway.rss_bytes() - before < GROWTH_BYTES


def _sockets(gateway):
    """Return how many sockets the gateway has open."""
    count = 0
    for entry in Path(f"/proc/{gateway.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += str(entry.readlink()).startswith("socket:")
    return count


class Neighbour:
    """A client that asks all the time, on one connection and on new ones in turn, and has to be answered well."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.answered = 0
        self.worst_s = 0.0
        self.failure = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            with self.gateway.connect() as kept:
                while not self._stop.wait(0.005):
                    self._ask(kept)
                    with self.gateway.connect() as fresh:
                        self._ask(fresh)
        except BaseException as error:  # noqa: BLE001 - raised again by the test's thread
            self.failure = error

    def _ask(self, wire):
        started = time.monotonic()
        wire.send(NEIGHBOUR)
        assert wire.message().body == b"ok"
        self.worst_s = max(self.worst_s, time.monotonic() - started)
        self.answered += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(20)
        if self.failure is not None:
            raise self.failure


@contextlib.contextmanager
def crowd(gateway, *sent, count=CROWD):
    """So many clients, which have sent one or another of `sent` in turn."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(gateway.connect()) for _ in range(count)]
        for number, wire in enumerate(wires):
            with contextlib.suppress(ConnectionError):
                wire.send(sent[number % len(sent)])
        yield wires


def at(path, request):
    return request.replace(b"/a", b"/a/" + path.encode(), 1)


def ends(wires):
    """Return how each connection ended: by the status of the last answer and a close, or by a reset."""
    found = []
    for wire in wires:
        try:
            data = wire.to_close()
        except ConnectionResetError:
            found.append("reset")
        else:
            statuses = re.findall(rb"HTTP/1\.1 ([0-9]{3})", data)
            found.append(statuses[-1].decode() if statuses else "closed")
    return found


# -- clients that are slow ---------------------------------------------------------------------------------------------


def test_slow_heads_are_all_told_408_and_not_sent_on(gateway, upstream):
    with crowd(gateway, b"", GET[:-2]) as wires:
        dripped = b"GET /a HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 100
        started, sent = time.monotonic(), 0
        while time.monotonic() - started < 1:
            for wire in wires[::2]:
                with contextlib.suppress(ConnectionError):
                    wire.send(dripped[sent : sent + 1])
            sent += 1
            time.sleep(0.05)
        assert set(ends(wires[::2])) <= {"408", "reset"}  # a reset where we sent on after the close
        assert ends(wires[1::2]) == ["408"] * (CROWD // 2)
        assert sent < len(dripped)
    assert upstream.requests == []


def test_slow_bodies_are_all_told_408_and_their_requests_cancelled(gateway, upstream):
    cancelled = []

    def odd(wire):
        _read_to_the_end(wire)
        cancelled.append(wire)

    bodies = (
        b"Content-Length: 100\r\n\r\nhalf",
        b"Content-Length: 1\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf",
        b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX: ",
    )
    upstream.odd["slow"] = odd
    with crowd(gateway, *(at("slow", POST) + body for body in bodies)) as wires:
        assert ends(wires) == ["408"] * CROWD
    wait_until(lambda: len(cancelled) == CROWD)
    assert not any(wire.seen.endswith(b"0\r\n\r\n") for wire in cancelled)


def test_a_body_that_drips_faster_than_its_deadline_arrives(gateway, upstream):
    upstream.odd["drips"] = lambda wire: (wire.exactly(5), wire.send(OK))
    with crowd(gateway, at("drips", POST) + b"Content-Length: 5\r\n\r\n", count=20) as wires:
        for _ in range(5):
            time.sleep(0.2)
            for wire in wires:
                wire.send(b"x")
        assert [wire.message().status for wire in wires] == [200] * 20


def test_idle_clients_cost_nothing_and_are_closed_in_silence(gateway):
    with crowd(gateway, b"", GET, count=500) as wires:
        assert ends(wires) == ["closed", "200"] * 250


def test_an_empty_line_while_idle_does_not_start_the_clock_of_the_next_head(gateway):
    """Old clients send one after a POST; the next request may come much later, and in pieces."""
    with gateway.connect() as wire:
        wire.send(GET)
        assert wire.message().status == 200
        wire.send(b"\r\n")
        time.sleep(0.9)
        wire.send(GET[:10], GET[10:], pause_s=0.25)
        assert wire.message().status == 200


def test_slow_readers_are_dropped_and_their_answers_never_piled_up(gateway, upstream):
    size, sent = 20_000_000, []

    def odd(wire):
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        _send_without_end(wire, b"x" * 100_000)
        sent.append(True)

    upstream.odd["large"] = odd
    before = gateway.rss_bytes()
    with crowd(gateway, at("large", GET), count=40):
        time.sleep(0.4)
        assert gateway.rss_bytes() - before < GROWTH_BYTES
        wait_until(lambda: len(sent) == 40)


def test_clients_that_pipeline_without_reading_are_made_to_wait(gateway):
    before = gateway.rss_bytes()
    flood = GET * 700_000
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(gateway.connect()) for _ in range(10)]
        for wire in wires:
            wire.sock.setblocking(False)
        sent = [0] * len(wires)
        until = time.monotonic() + 0.8
        while time.monotonic() < until:
            for number, wire in enumerate(wires):
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    sent[number] += wire.sock.send(flood[sent[number] : sent[number] + 65536])
            time.sleep(0.002)
        assert gateway.rss_bytes() - before < GROWTH_BYTES
        assert min(sent) < len(flood), "nobody was made to wait"


# -- clients that vanish -----------------------------------------------------------------------------------------------

PHASES = {
    "after connecting": b"",
    "inside the first line": GET[:7],
    "inside the head": GET[:-3],
    "before the answer": at("never", GET),
    "before a body": at("body", POST) + b"Content-Length: 9\r\n\r\n",
    "inside a body": at("body", POST) + b"Content-Length: 9\r\n\r\nhalf",
    "inside a chunk": at("body", POST) + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    "between chunks": at("body", POST) + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "before the trailers' end": at("body", POST) + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX: a\r\n",
    "inside the answer": at("half", GET),
    "inside an answer up to the close": at("endless", GET),
    "after a refusal": b"GET /a\r\n\r\n",
    "inside the second request": GET + GET[:9],
    "before the second answer": GET + at("never", GET),
}


@pytest.mark.parametrize("how", ["close", "reset"])
def test_clients_that_vanish_at_any_point_cancel_what_they_asked_for(gateway, upstream, how):
    ended = []

    def until_gone(*pieces):
        def script(wire):
            with contextlib.suppress(ConnectionError):
                wire.send(*pieces)
            _read_to_the_end(wire)
            ended.append(wire)

        return script

    upstream.odd = {
        "never": until_gone(),
        "body": until_gone(),
        "half": until_gone(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        "endless": until_gone(b"HTTP/1.1 200 OK\r\n\r\nhalf"),
    }
    with crowd(gateway, *PHASES.values()) as wires:
        time.sleep(0.2)
        for wire in wires:
            getattr(wire, how)()
    wait_until(
        lambda: len(ended) == sum(line.split("/")[-2].split(" ")[0] in upstream.odd for line in upstream.requests)
    )
    assert len(ended) > CROWD // 3
    assert not any(wire.seen.endswith(b"0\r\n\r\n") for wire in ended)


# -- upstreams that are ill --------------------------------------------------------------------------------------------


def _send_without_end(wire, piece):
    with contextlib.suppress(ConnectionError):
        while True:
            wire.send(piece)


def _read_to_the_end(wire):
    with contextlib.suppress(ConnectionError):
        wire.to_close()


def _stalls(wire):
    assert wire.gone()


def _stalls_inside_its_answer(wire):
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    assert wire.gone()


def _stalls_inside_its_head(wire):
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    assert wire.gone()


def _truncates(wire):
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    time.sleep(0.05)
    wire.close()


def _truncates_chunks(wire):
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf")
    time.sleep(0.05)
    wire.reset()


def _says_more(wire):
    wire.send(OK + OK.replace(b"ok", b"no") * 50)
    assert wire.gone()


def _never_ends_its_head(wire):
    wire.send(b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 20_000)
    _read_to_the_end(wire)


def _never_ends_its_interim_answers(wire):
    wire.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)
    _read_to_the_end(wire)


def _speaks_another_protocol(wire):
    wire.send(b"220 mail.example ESMTP\r\n")
    assert wire.gone()


def _answers_early(wire):
    wire.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
    _read_to_the_end(wire)


ILL = {
    "stalls": (_stalls, "504"),
    "stalls-inside-its-answer": (_stalls_inside_its_answer, "reset"),
    "stalls-inside-its-head": (_stalls_inside_its_head, "504"),
    "closes": (Wire.close, "502"),
    "resets": (Wire.reset, "502"),
    "truncates": (_truncates, "reset"),
    "truncates-chunks": (_truncates_chunks, "reset"),
    "says-more": (_says_more, "200"),
    "never-ends-its-head": (_never_ends_its_head, "502"),
    "never-ends-its-interim-answers": (_never_ends_its_interim_answers, "502"),
    "speaks-another-protocol": (_speaks_another_protocol, "502"),
    "is-well": (answers, "200"),
}


def test_ill_upstreams_cost_their_own_requests_and_no_others(gateway, upstream):
    upstream.odd = {kind: odd for kind, (odd, _) in ILL.items()}
    requests = [at(kind, GET)[:-2] + b"Connection: close\r\n\r\n" for kind in ILL]
    with crowd(gateway, *requests) as wires:
        found = ends(wires)
    assert {kind: set(found[number :: len(ILL)]) for number, kind in enumerate(ILL)} == {
        kind: {end} for kind, (_, end) in ILL.items()
    }


def test_early_answers_end_uploads_that_go_on(gateway, upstream):
    upstream.odd["early"] = _answers_early
    with crowd(gateway, at("early", POST) + b"Content-Length: 100000000\r\n\r\n" + b"x" * 50_000) as wires:
        answers_got = [wire.message() for wire in wires]
    assert {(answer.status, answer.get("connection")) for answer in answers_got} == {(413, "close")}


# -- what never ends ---------------------------------------------------------------------------------------------------

ENDLESS = {
    "a first line": (b"GET /", b"a" * 5000, {"431"}),
    "a field": (GET[:-2] + b"X: ", b"a" * 5000, {"431"}),
    "fields": (GET[:-2], b"X: a\r\n" * 800, {"431"}),
    "a chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 5000, {"400"}),
    "a chunk extension": (POST + b"Transfer-Encoding: chunked\r\n\r\n5;", b"a" * 5000, {"400"}),
    "a trailer": (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", b"a" * 5000, {"400", "431"}),
    "trailers": (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n" * 800, {"400", "431"}),
    "empty lines": (b"", b"\r\n" * 2500, {"closed", "400", "408"}),
}


def test_what_never_ends_is_stopped(gateway, upstream):
    upstream.odd["endless"] = _read_to_the_end
    kinds = list(ENDLESS.values())
    with crowd(gateway, *(at("endless", start) for start, _, _ in kinds), count=80) as wires:
        waiting = {wire: kinds[number % len(kinds)] for number, wire in enumerate(wires)}
        until = time.monotonic() + 8
        while waiting and time.monotonic() < until:
            for wire, (_, more, expected) in list(waiting.items()):
                if (end := _sends_on(wire, more)) is not None:
                    assert end in expected | {"reset"}, more[:10]
                    del waiting[wire]
            time.sleep(0.01)
    assert not waiting


def _sends_on(wire, more):
    """Send more, unless the connection has ended: then return how."""
    wire.sock.setblocking(False)
    try:
        with contextlib.suppress(BlockingIOError):
            wire.sock.send(more)
        data = wire.sock.recv(4096)
    except BlockingIOError:
        return None
    except ConnectionError:
        return "reset"
    return data[9:12].decode() if data else "closed"


def test_a_body_of_tiny_chunks_holds_nobody_up(gateway, upstream):
    count = 60_000

    def odd(wire):
        wire.until(b"\r\n0\r\n\r\n")
        wire.send(OK)

    upstream.odd["tiny"] = odd
    with gateway.connect() as wire:
        started = time.monotonic()
        wire.send(at("tiny", POST) + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * count + b"0\r\n\r\n")
        assert wire.message().status == 200
        assert time.monotonic() - started < 5


def test_a_large_head_that_comes_byte_by_byte_holds_nobody_up(gateway):
    head = GET[:-2] + b"X: " + b"a" * 8000 + b"\r\n\r\n"
    with gateway.connect() as wire:
        wire.sock.setsockopt(6, 1, 1)  # TCP_NODELAY
        for number in head:
            wire.send(bytes([number]))
        assert wire.message().status == 200
