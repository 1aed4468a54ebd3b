"""1xx answers and Expect: relayed as they come, to those who know them (RFC 9110 10.1.1, 15.2)."""

import contextlib
import threading

import pytest

from tests.functional.gateway_rig import GET, OK, answering
from tests.functional.gateway_rules.asking import HEAD, POST, theirs

pytestmark = pytest.mark.functional

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
EXPECTING = POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"

SEQUENCES = {
    "none": [],
    "100": [CONTINUE],
    "102 twice": [b"HTTP/1.1 102 Processing\r\n\r\n"] * 2,
    "103": [HINTS],
    "100, 102, 103": [CONTINUE, b"HTTP/1.1 102 Processing\r\n\r\n", HINTS],
    "103 thrice": [HINTS] * 3,
    "one that nobody has registered": [b"HTTP/1.1 142 Odd\r\nX: a\r\n\r\n"],
    "one with a length": [b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"],
    "one with a coding": [b"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n"],
    "one without a reason": [b"HTTP/1.1 103 \r\n\r\n"],
    "one that says close": [b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n"],
    "a hundred": [b"HTTP/1.1 102 Processing\r\n\r\n"] * 100,
}
FINALS = {
    "a length": (GET, OK, b"ok"),
    "chunks": (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
    "HEAD": (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", b""),
    "204": (GET, b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "304": (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n", b""),
}


def statuses_of(interim):
    return [int(answer.split(b" ")[1]) for answer in interim]


@pytest.mark.parametrize("interim", SEQUENCES.values(), ids=SEQUENCES.keys())
@pytest.mark.parametrize(("request_bytes", "final", "body"), FINALS.values(), ids=FINALS.keys())
def test_interim_answers_are_relayed_in_order_before_the_final_one(
    gateway, upstream, interim, request_bytes, final, body
):
    upstream.play(answering(b"".join(interim) + final))
    with gateway.connect() as wire:
        for _ in range(2):
            wire.send(request_bytes)
            got = [wire.message(bodiless=True) for _ in interim]
            assert [answer.status for answer in got] == statuses_of(interim)
            assert not any(answer.get("content-length") or answer.get("transfer-encoding") for answer in got)
            assert wire.message(bodiless=not body).body == body


def test_each_interim_answer_is_relayed_when_it_comes(gateway, upstream):
    relayed = threading.Semaphore(0)

    def script(wire):
        wire.message()
        for _ in range(3):
            wire.send(HINTS)
            assert relayed.acquire(timeout=5)
        wire.send(OK)

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(GET)
        for _ in range(3):
            assert wire.message(bodiless=True).status == 103
            relayed.release()
        assert wire.message().status == 200


def test_an_interim_answer_that_comes_byte_by_byte(gateway, upstream):
    def script(wire):
        wire.message()
        for number in CONTINUE + HINTS + OK:
            wire.send(bytes([number]), pause_s=0.0005)

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(GET)
        assert [wire.message(bodiless=True).status for _ in range(2)] == [100, 103]
        assert wire.message().body == b"ok"


def test_an_interim_answer_loses_what_connection_names_and_no_more(gateway, upstream):
    lines = b"X-A: 1\r\nConnection: x-b, keep-alive\r\nX-B: 2\r\nKeep-Alive: timeout=5\r\nX-C: 3\r\n"
    upstream.play(answering(b"HTTP/1.1 103 Early Hints\r\n" + lines + b"\r\n" + OK[:-4] + b"X-B: 4\r\n\r\nok"))
    with gateway.connect() as wire:
        wire.send(GET)
        assert theirs(wire.message(bodiless=True)) == [("X-A", "1"), ("X-C", "3")]
        assert theirs(wire.message()) == [("Content-Length", "2"), ("X-B", "4")]


@pytest.mark.parametrize("interim", [[CONTINUE], [HINTS] * 3], ids=["100", "103 thrice"])
@pytest.mark.parametrize("keep", [b"", b"Connection: keep-alive\r\n"])
def test_http_1_0_gets_no_interim_answer(gateway, upstream, interim, keep):
    upstream.play(answering(b"".join(interim) + OK))
    with gateway.connect() as wire:
        wire.send(b"GET /a HTTP/1.0\r\n" + keep + b"\r\n")
        assert (wire.message().status, wire.seen.count(b"HTTP/1.1")) == (200, 1)


BAD_ENDS = {
    "a close": b"",
    "garbage": b"garbage\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nConte",
    "a bad length": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    "a status below 100": b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("end", BAD_ENDS.values(), ids=BAD_ENDS.keys())
def test_interim_answers_without_a_final_one_end_in_a_502(gateway, upstream, end):
    def script(wire):
        wire.message()
        wire.send(HINTS + end)

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(GET)
        assert wire.message(bodiless=True).status == 103
        assert wire.message().status == 502


def test_a_get_is_not_sent_again_once_an_interim_answer_came(keeping):
    gateway, upstream = keeping

    def script(wire):
        wire.message()
        wire.send(OK)
        wire.message()
        wire.send(HINTS)

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(GET)
        assert wire.message().status == 200
        again = upstream.play(answering())
        wire.send(GET)
        assert (wire.message(bodiless=True).status, wire.message().status) == (103, 502)
    assert again.requests == []


@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue", b"100-CONTINUE"])
def test_expect_travels_and_the_upstream_alone_says_100(gateway, upstream, value):
    def script(wire):
        assert b"Expect: " + value in wire.until(b"\r\n\r\n")
        assert wire.quiet(0.05)
        wire.send(CONTINUE)
        assert wire.exactly(5) == b"hello"
        wire.send(OK)

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(EXPECTING.replace(b"100-continue", value))
        assert wire.message(bodiless=True).status == 100
        wire.send(b"hello")
        assert wire.message().body == b"ok"


def test_a_client_that_does_not_wait_for_100_may_send_at_once(gateway, upstream):
    script = upstream.play(answering(CONTINUE + OK))
    with gateway.connect() as wire:
        wire.send(EXPECTING + b"hello" + GET)
        assert [wire.message(bodiless=status == 100).status for status in (100, 200, 100, 200)] == [100, 200, 100, 200]
    assert [request.body for request in script.requests] == [b"hello", b""]


def test_expect_in_chunks(gateway, upstream):
    def script(wire):
        wire.until(b"\r\n\r\n")
        wire.send(CONTINUE)
        assert wire.until(b"0\r\n\r\n").lower() == b"5\r\nhello\r\n0\r\n\r\n"
        wire.send(OK)

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert wire.message(bodiless=True).status == 100
        wire.send(b"5\r\nhello\r\n0\r\n\r\n")
        assert wire.message().body == b"ok"


def test_expect_of_http_1_0_is_ignored(gateway, upstream):
    script = upstream.script
    gateway.ask(b"POST /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
    assert (script.requests[0].get("expect"), script.requests[0].body) == (None, b"hello")


def test_an_unknown_expectation_is_the_upstreams_to_refuse(gateway, upstream):
    script = upstream.play(answering(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"))
    assert gateway.ask(POST + b"Expect: a-miracle\r\nContent-Length: 5\r\n\r\nhello").status == 417
    assert script.requests[0].get("expect") == "a-miracle"


EARLY = {
    "417": b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nok",
    "401": b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nok",
    "200": OK,
    "in chunks": b"HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "after 100": CONTINUE + OK,
}


@pytest.mark.parametrize("answer", EARLY.values(), ids=EARLY.keys())
@pytest.mark.parametrize("part", [b"", b"hel"], ids=["no body", "half a body"])
def test_what_follows_an_early_answer_is_never_taken_for_a_request(keeping, answer, part):
    """The client may send the rest of its body or, if it was told not to, anything: it has to be closed."""
    gateway, upstream = keeping

    def script(wire):
        wire.until(b"\r\n\r\n" + part)
        wire.send(answer)
        assert wire.gone()

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(EXPECTING.replace(b": 5", b": %d" % (len(GET) + len(part))) + part)
        got = wire.message(bodiless=answer.startswith(CONTINUE))
        if got.status == 100:
            got = wire.message()
        assert (got.body, got.get("connection")) == (b"ok", "close")
        after = upstream.play(answering())
        with contextlib.suppress(ConnectionError):
            wire.send(GET + GET)
        assert wire.gone()
    assert after.requests == []
