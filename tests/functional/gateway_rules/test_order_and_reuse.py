"""Which answer belongs to which request, and what is sent twice (RFC 9110 9.2.2, RFC 9112 9.3)."""

import contextlib
import socket
import threading

import pytest

from tests.functional.gateway_rig import GET, OK, answering, wait_until
from tests.functional.gateway_rules.asking import AFTER, CHUNKED, CHUNKED_OK, HEAD, POST

pytestmark = pytest.mark.functional

CHUNKED_BODY = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def echoing(wire):
    """Answer each request with its target and body, in one of three framings, to a HEAD with a length alone."""
    number = 0
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            request = wire.message()
            method, target, _ = request.first.split(" ")
            body = target.encode() + b"|" + request.body
            if method == "HEAD":
                wire.send(b"HTTP/1.1 200 OK\r\nX-Target: %b\r\nContent-Length: 999\r\n\r\n" % target.encode())
            elif number % 2:
                wire.send(CHUNKED_OK + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            else:
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            number += 1


def request(number, method=b"GET", body=b"", chunked=False):
    head = b"%b /a/%d HTTP/1.1\r\nHost: h\r\n" % (method, number)
    if chunked:
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return head + (b"Content-Length: %d\r\n\r\n%b" % (len(body), body) if body else b"\r\n")


MIX = [
    request(0),
    request(1, b"POST", b"one"),
    request(2, b"HEAD"),
    request(3, b"POST", b"three", chunked=True),
    b"\r\n" + request(4, b"DELETE"),
    request(5, b"PUT", b"five" * 5000),
    request(6, b"HEAD"),
    request(7, b"OPTIONS"),
    request(8, b"POST", b"0\r\n\r\nGET /a/evil HTTP/1.1\r\nHost: h\r\n\r\n", chunked=True),
    request(9, b"POST", b"GET /a/evil HTTP/1.1\r\nHost: h\r\n\r\n"),
    request(10),
]
BODIES = {1: b"one", 3: b"three", 5: b"five" * 5000, 8: b"0\r\n\r\nGET /a/evil HTTP/1.1\r\nHost: h\r\n\r\n"}
BODIES[9] = BODIES[8][5:]


def check_answers(wire, count):
    for number in range(count):
        head_only = number in (2, 6)
        answer = wire.message(bodiless=head_only)
        assert answer.status == 200
        if head_only:
            assert answer.get("x-target") == f"/a/{number}"
        else:
            assert answer.body == b"/a/%d|%b" % (number, BODIES.get(number, b""))


@pytest.mark.parametrize("size", [1, 7, 100, 1000, 100_000])
def test_a_pipelined_mix_is_answered_in_order_however_it_is_cut(keeping, size):
    gateway, upstream = keeping
    upstream.play(echoing)
    count = len(MIX) if size > 1 else 5
    whole = b"".join(MIX[:count])
    with gateway.connect() as wire:
        wire.send(*[whole[start : start + size] for start in range(0, len(whole), size)])
        check_answers(wire, count)
        assert wire.quiet(0.02)
    assert len(upstream.wires) == 1


def test_many_clients_pipeline_and_each_gets_its_own_answers(keeping):
    gateway, upstream = keeping
    upstream.play(echoing)
    failures = []

    def client(first):
        try:
            with gateway.connect() as wire:
                for start in range(first, first + 20, 4):
                    wire.send(
                        b"".join(request(n, b"POST", b"%d" % n, chunked=bool(n % 2)) for n in range(start, start + 4))
                    )
                    for number in range(start, start + 4):
                        assert wire.message().body == b"/a/%d|%d" % (number, number)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    threads = [threading.Thread(target=client, args=(1000 * n,)) for n in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failures == []


ERRORS = {
    "no route": (GET.replace(b"/a", b"/none"), 404, False),
    "no Host": (b"GET /a HTTP/1.1\r\n\r\n", 400, True),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400, True),
    "length and coding": (POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, True),
    "a bad chunk": (CHUNKED + b"x\r\n", 400, True),
    "a bad chunk after a good one": (CHUNKED + b"1\r\na\r\nx\r\n", 400, True),
    "a folded line": (GET[:-2] + b"X: a\r\n b\r\n\r\n", 400, True),
    "a bad request line": (b"GET  /a HTTP/1.1\r\nHost: h\r\n\r\n", 400, True),
    "garbage": (b"garbage\r\n\r\n", 400, True),
    "an unknown method": (b"FROB /a HTTP/1.1\r\nHost: h\r\n\r\n", 501, True),
    "an unknown coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, True),
    "HTTP/2": (b"GET /a HTTP/2.0\r\nHost: h\r\n\r\n", 505, True),
    "a head that is too large": (GET[:-2] + b"X: " + b"a" * 70000 + b"\r\n\r\n", 431, True),
    "101 fields": (GET[:-2] + b"X: a\r\n" * 100 + b"\r\n", 431, True),
    "a body without a route": (POST.replace(b"/a", b"/none") + b"Content-Length: 3\r\n\r\nabc", 404, True),
}


@pytest.mark.parametrize(("bad", "status", "closes"), ERRORS.values(), ids=ERRORS.keys())
def test_an_error_in_the_middle_is_answered_in_its_turn(gateway, upstream, bad, status, closes):
    script = upstream.play(answering())
    with gateway.connect() as wire:
        wire.send(GET + POST + b"Content-Length: 3\r\n\r\nabc" + bad + AFTER)
        assert [wire.message().status for _ in range(3)] == [200, 200, status]
        if closes:
            assert wire.to_close() == b""
        else:
            assert wire.message().status == 200
    seen = [message.first for message in script.requests]
    assert seen == ["GET /a HTTP/1.1", "POST /a HTTP/1.1"] + [] * closes + ["GET /a/after HTTP/1.1"] * (not closes)


CLOSING = {
    "close": GET[:-2] + b"Connection: close\r\n\r\n",
    "close in upper case": GET[:-2] + b"Connection: CLOSE\r\n\r\n",
    "close in a list": GET[:-2] + b"Connection: x, close\r\n\r\n",
    "close and keep-alive": GET[:-2] + b"Connection: close, keep-alive\r\n\r\n",
    "close in a second field": GET[:-2] + b"Connection: keep-alive\r\nConnection: close\r\n\r\n",
    "HTTP/1.0": b"GET /a HTTP/1.0\r\nHost: h\r\n\r\n",
    "HTTP/1.0 with keep-alive and close": b"GET /a HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
}


@pytest.mark.parametrize("last", CLOSING.values(), ids=CLOSING.keys())
def test_nothing_after_a_last_request_is_read(gateway, upstream, last):
    script = upstream.play(answering())
    with gateway.connect() as wire:
        wire.send(GET + last + AFTER)
        assert wire.message().get("connection") is None
        assert wire.message().get("connection") == "close"
        assert wire.to_close() == b""
    assert len(script.requests) == 2


def test_the_second_request_waits_for_the_end_of_the_first_answer(gateway, upstream):
    """A pipelined request goes upstream only when the answer before it is through: it may depend on it."""
    reached = []

    def script(wire):
        with contextlib.suppress(EOFError):
            while True:
                reached.append(wire.message().first)
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
                assert wire.quiet(0.05)
                reached.append("half")
                wire.send(b"k")

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(POST + b"Content-Length: 0\r\n\r\n" + GET)
        assert (wire.message().body, wire.message().body) == (b"ok", b"ok")
    assert reached == ["POST /a HTTP/1.1", "half", "GET /a HTTP/1.1", "half"]


def closes_instead_of_a_second_answer(wire):
    wire.message()
    wire.send(OK)
    wire.message()


REPEATED = {
    "GET": GET,
    "HEAD": HEAD,
    "OPTIONS": b"OPTIONS /a HTTP/1.1\r\nHost: h\r\n\r\n",
    "TRACE": b"TRACE /a HTTP/1.1\r\nHost: h\r\n\r\n",
    "DELETE": b"DELETE /a HTTP/1.1\r\nHost: h\r\n\r\n",
    "PUT without a body": b"PUT /a HTTP/1.1\r\nHost: h\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", REPEATED.values(), ids=REPEATED.keys())
def test_an_idempotent_request_that_meets_a_closed_connection_is_sent_once_more(keeping, request_bytes):
    gateway, upstream = keeping
    upstream.play(closes_instead_of_a_second_answer)
    assert gateway.ask().status == 200
    script = upstream.play(answering())
    assert gateway.ask(request_bytes).status == 200
    assert len(script.requests) == 1


NOT_REPEATED = {
    "POST": POST + b"\r\n",
    "POST with a body": POST + b"Content-Length: 2\r\n\r\nhi",
    "POST in chunks": CHUNKED + CHUNKED_BODY,
    "PATCH": b"PATCH /a HTTP/1.1\r\nHost: h\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", NOT_REPEATED.values(), ids=NOT_REPEATED.keys())
def test_a_request_that_may_have_done_something_is_never_sent_again(keeping, request_bytes):
    gateway, upstream = keeping
    upstream.play(closes_instead_of_a_second_answer)
    assert gateway.ask().status == 200
    script = upstream.play(answering())
    assert gateway.ask(request_bytes).status == 502
    assert script.requests == []


@pytest.mark.parametrize("part", [b"H", b"HTTP/1.1 200 OK\r\n", OK[:-1]], ids=["a byte", "a line", "all but a byte"])
def test_nothing_is_sent_again_once_a_byte_of_an_answer_came(keeping, part):
    gateway, upstream = keeping

    def script(wire):
        wire.message()
        wire.send(OK)
        wire.message()
        wire.send(part)

    upstream.play(script)
    assert gateway.ask().status == 200
    again = upstream.play(answering())
    with gateway.connect() as wire, contextlib.suppress(EOFError, ConnectionResetError):
        wire.send(GET)
        assert wire.message().status == 502
    assert again.requests == []


def test_a_request_whose_body_is_under_way_is_not_sent_again(keeping):
    gateway, upstream = keeping

    def script(wire):
        wire.message()
        wire.send(OK)
        wire.until(b"hel")

    upstream.play(script)
    assert gateway.ask().status == 200
    again = upstream.play(answering())
    with gateway.connect() as wire:
        wire.send(b"PUT" + POST[4:] + b"Content-Length: 5\r\n\r\nhel")
        assert wire.message().status == 502
    assert again.requests == []


def test_a_close_that_was_seen_before_costs_no_request(keeping):
    """An idle connection that its upstream closes is forgotten at once, so that a POST does not meet it."""
    gateway, upstream = keeping
    upstream.play(lambda wire: wire.message() and wire.send(OK))
    assert gateway.ask().status == 200
    wait_until(lambda: upstream.wires[0].sock.fileno() == -1)
    script = upstream.play(answering())
    for number in range(5):
        assert gateway.ask(request(number, b"POST", b"hi")).status == 200
    assert len(script.requests) == 5


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("sent", [b"", GET[:10], GET[:-2], POST + b"Content-Length: 5\r\n\r\n", GET + GET[:10]])
def test_a_client_that_goes_away_at_any_point_leaves_no_request_behind(gateway, upstream, how, sent):
    whole = threading.Event()

    def script(wire):
        with contextlib.suppress(EOFError, ConnectionError):
            wire.message()
            whole.set()
            wire.send(OK)
            wire.gone()

    upstream.play(script)
    wire = gateway.connect()
    wire.send(sent)
    wire.quiet(0.03)
    getattr(wire, how)()
    wait_until(lambda: all(each.sock.fileno() == -1 for each in upstream.wires))
    assert whole.is_set() == sent.startswith(GET)
    assert gateway.ask().status == 200


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (GET.replace(b"HTTP/1.1", b"HTTP/1.0"), b"HTTP/1.1 200 OK\r\n\r\nhalf"),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
    ],
)
def test_an_answer_that_a_half_closed_client_does_not_get_whole_ends_in_a_reset(gateway, upstream, sent, answer):
    """The close would be the end of a body that has no length: found by the fuzz."""

    def script(wire):
        wire.message()
        wire.send(answer)
        wire.gone()

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(sent)
        wire.until(b"half")
        wire.sock.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            wire.to_close()
    upstream.play(answering())
    assert gateway.ask().status == 200
