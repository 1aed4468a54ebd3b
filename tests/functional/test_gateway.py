"""The gateway as a process: the bytes that both sides see, rule by rule of RFC 9110 and RFC 9112."""

from __future__ import annotations

import contextlib
import time

import pytest

from tests.functional.gateway_rig import GET, OK, Upstream, answering, gateway_for, wait_until

pytestmark = pytest.mark.functional

POST = b"POST /a HTTP/1.1\r\nHost: h\r\n"


@pytest.fixture(scope="module")
def server():
    upstream = Upstream()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def shared(server, tmp_path_factory):
    """A gateway that keeps no idle connection, so that no test sees another's."""
    with gateway_for(tmp_path_factory.mktemp("gateway"), server.port, ", max_idle_per_target: 0") as gateway:
        yield gateway


@pytest.fixture
def upstream(server):
    server.play(answering())
    server.failures.clear()
    yield server
    assert server.failures == []


@pytest.fixture
def gateway(shared, upstream):
    return shared


@pytest.fixture
def pooling(tmp_path):
    """A gateway and an upstream of their own, with idle connections kept."""
    upstream = Upstream()
    try:
        with gateway_for(tmp_path, upstream.port) as gateway:
            yield gateway, upstream
    finally:
        upstream.stop()
    assert upstream.failures == []


# -- framing of requests: rules 1 to 6 ---------------------------------------------------------------------------

REFUSED = {
    "length and chunked": (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked and length": (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "differing lengths": (b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    "a list of lengths": (b"Content-Length: 5, 6\r\n\r\nhello", 400),
    "a signed length": (b"Content-Length: +5\r\n\r\nhello", 400),
    "a length in hex": (b"Content-Length: 0x5\r\n\r\nhello", 400),
    "an empty length": (b"Content-Length:\r\n\r\n", 400),
    "a length beyond 64 bits": (b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    "chunked not last": (b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    "no chunked": (b"Transfer-Encoding: gzip\r\n\r\n", 400),
    "chunked twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "nearly chunked": (b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "another coding": (b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "obs-fold": (b"X: a\r\n b\r\n\r\n", 400),
    "space before the colon": (b"X : a\r\n\r\n", 400),
    "no name": (b": a\r\n\r\n", 400),
    "NUL in a value": (b"X: a\0b\r\n\r\n", 400),
    "CR in a value": (b"X: a\rb\r\n\r\n", 400),
    "bare LF": (b"X: a\nY: b\r\n\r\n", 400),
    "a control in a value": (b"X: a\x0bb\r\n\r\n", 400),
    "a second Host": (b"Host: h\r\n\r\n", 400),
    "chunk size with a sign": (b"Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size with an underscore": (b"Transfer-Encoding: chunked\r\n\r\n1_0\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size with 0x": (b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400),
    "chunk size with a space": (b"Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", 400),
    "chunk size that overflows": (b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n", 400),
    "chunk size with a bare LF": (b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", 400),
    "bare LF in an extension": (b"Transfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n", 400),
    "chunk longer than its size": (b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", 400),
}


@pytest.mark.parametrize(("rest", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_a_request_with_broken_framing_is_refused_and_the_connection_closed(gateway, rest, status):
    with gateway.connect() as wire:
        wire.send(POST + rest + GET)  # what follows must never be taken for a request
        answer = wire.message()
        assert answer.status == status
        assert answer.get("connection") == "close"
        assert wire.to_close() == b""


def test_a_request_with_a_broken_head_never_reaches_the_upstream(gateway, upstream):
    for rest, _ in REFUSED.values():
        if b"chunked\r\n\r\n" not in rest:
            gateway.ask(POST + rest)
    assert upstream.wires == []


LINES = {
    "no Host": (b"GET /a HTTP/1.1\r\n\r\n", 400),
    "an empty Host": (b"GET /a HTTP/1.1\r\nHost:\r\n\r\n", 400),
    "a Host with a space": (b"GET /a HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "a Host with a path": (b"GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "a Host with user information": (b"GET /a HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    "chunked in HTTP/1.0": (b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two spaces": (b"GET  /a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "HTTP/0.9 with the version in a field": (b"GET /a\r\nX: HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /a\r\n\r\n", 400),
    "HTTP/2": (b"GET /a HTTP/2.0\r\nHost: h\r\n\r\n", 505),
    "a fragment": (b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "a control in the target": (b"GET /a\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "a target that is no path": (b"GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "an unknown method": (b"FOO /a HTTP/1.1\r\nHost: h\r\n\r\n", 501),
    "a tunnel": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
    "no route": (b"GET /ab HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    "no hidden route": (b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 404),
}


@pytest.mark.parametrize(("request_bytes", "status"), LINES.values(), ids=LINES.keys())
def test_a_request_that_cannot_be_forwarded_is_answered_here(gateway, upstream, request_bytes, status):
    assert gateway.ask(request_bytes).status == status
    assert upstream.wires == []


def test_the_authority_of_an_absolute_target_overrides_host(gateway, upstream):
    script = upstream.play(answering())
    gateway.ask(b"GET http://other:81/a/b?c HTTP/1.1\r\nHost: h\r\n\r\n")
    (request,) = script.requests
    assert request.first == "GET /a/b?c HTTP/1.1"
    assert request.get("host") == "other:81"
    assert request.get("x-forwarded-host") == "other:81"


def test_empty_lines_before_a_request_are_skipped(gateway):
    assert gateway.ask(b"\r\n\r\n" + GET).status == 200


# -- what travels on: rules 7, 8 and 15 ----------------------------------------------------------------------------


def test_the_head_travels_as_it_came(gateway, upstream):
    script = upstream.play(answering())
    lines = (
        b"hOsT: h\r\nX-B: 1\r\nx-a:  two  spaces \r\nX-B: 2\r\nEmpty:\r\nCookie: a=b\r\nCookie: c=d\r\n"
        b"X-Latin: \xe4\r\n"
    )
    gateway.ask(b"GET /a/%2e/./x//y?q=%20&q=%zz HTTP/1.1\r\n" + lines + b"\r\n")
    (request,) = script.requests
    own = b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nVia: 1.1 archbench\r\n\r\n"
    assert request.head == b"GET /a/%2e/./x//y?q=%20&q=%zz HTTP/1.1\r\n" + lines + own


def test_the_answers_head_travels_as_it_came(gateway, upstream):
    lines = b"Set-Cookie: a=1\r\nX-B: x\r\nset-cookie: b=2\r\nContent-Length: 0\r\nX-Latin: \xe4\r\n"
    upstream.play(answering(b"HTTP/1.1 299 Fine by me\r\n" + lines + b"\r\n"))
    assert gateway.ask().head == b"HTTP/1.1 299 Fine by me\r\n" + lines + b"Via: 1.1 archbench\r\n\r\n"


def test_hop_by_hop_fields_and_those_that_connection_names_are_dropped(gateway, upstream):
    script = upstream.play(
        answering(
            b"HTTP/1.1 200 OK\r\nConnection: x-secret\r\nKeep-Alive: timeout=5\r\nX-Secret: 1\r\nUpgrade: h2c\r\n"
            b"connection: X-Other\r\nX-Other: 2\r\nX-Kept: 3\r\nContent-Length: 2\r\n\r\nok"
        )
    )
    answer = gateway.ask(
        b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, X-Named\r\nx-named: 1\r\nKeep-Alive: 5\r\n"
        b"TE: trailers\r\nCONNECTION: x-more\r\nX-More: 1\r\nX-NAMED: 2\r\nProxy-Connection: keep-alive\r\n"
        b"Upgrade: websocket\r\nX-Kept: 1\r\nProxy-Authorization: x\r\n\r\n"
    )
    (request,) = script.requests
    assert [name for name, _ in request.fields[:-4]] == ["Host", "X-Kept"]
    assert [name for name, _ in answer.fields] == ["X-Kept", "Content-Length", "Via"]


def test_connection_cannot_take_host_or_framing_away(gateway, upstream):
    script = upstream.play(answering())
    gateway.ask(POST + b"Content-Length: 2\r\nConnection: Host, Content-Length, Transfer-Encoding\r\n\r\nhi")
    (request,) = script.requests
    assert (request.get("host"), request.body) == ("h", b"hi")


def test_forwarded_fields_are_appended_to_what_came_and_never_doubled(gateway, upstream):
    script = upstream.play(answering(OK.replace(b"\r\n\r\n", b"\r\nVia: 1.0 there\r\n\r\n")))
    answer = gateway.ask(
        b"GET /a HTTP/1.1\r\nVia: 1.0 fred\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Host: evil\r\nVia: 1.1 jim (x)\r\nx-forwarded-for: 10.0.0.2\r\nHost: h:80\r\n\r\n"
    )
    (request,) = script.requests
    assert request.get("x-forwarded-for") == "10.0.0.1, 10.0.0.2, 127.0.0.1"
    assert request.get("x-forwarded-proto") == "http"
    assert request.get("x-forwarded-host") == "h:80"
    assert request.get("via") == "1.0 fred, 1.1 jim (x), 1.1 archbench"
    assert answer.get("via") == "1.0 there, 1.1 archbench"


def test_forwarded_fields_that_connection_names_are_stripped_before_ours_are_added(gateway, upstream):
    script = upstream.play(answering())
    gateway.ask(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: X-Forwarded-For\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n")
    (request,) = script.requests
    assert len(request.all("x-forwarded-for")) == 1
    assert request.get(
        "x-forwarded-for",
    ).endswith("127.0.0.1")


def test_a_request_that_goes_round_in_circles_is_stopped(gateway):
    via = b", ".join([b"1.1 archbench"] * 16)
    assert gateway.ask(b"GET /a HTTP/1.1\r\nHost: h\r\nVia: " + via + b"\r\n\r\n").status == 508
    assert gateway.ask(b"GET /a HTTP/1.1\r\nHost: h\r\nVia: " + via[15:] + b"\r\n\r\n").status == 200


def test_an_upgrade_offer_is_ignored(gateway, upstream):
    script = upstream.play(answering())
    answer = gateway.ask(b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    (request,) = script.requests
    assert (answer.status, request.get("upgrade"), request.get("connection")) == (200, None, None)


def test_an_upgrade_offer_does_not_hide_the_body(gateway, upstream):
    script = upstream.play(answering())
    with gateway.connect() as wire:
        wire.send(POST + b"Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc" + GET)
        assert (wire.message().status, wire.message().status) == (200, 200)
    assert [request.body for request in script.requests] == [b"abc", b""]


def test_a_101_that_nobody_asked_for_is_a_bad_answer(gateway, upstream):
    upstream.play(answering(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"))
    assert gateway.ask().status == 502


# -- interim answers and Expect: rule 9 ------------------------------------------------------------------------------


def test_interim_answers_are_relayed_without_hop_by_hop_fields(gateway, upstream):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nConnection: x-y\r\nX-Y: 1\r\n\r\n"
    upstream.play(answering(b"HTTP/1.1 102 Processing\r\n\r\n" + hints + OK))
    with gateway.connect() as wire:
        wire.send(GET)
        assert wire.message(bodiless=True).status == 102
        hints = wire.message(bodiless=True)
        assert (hints.status, [name for name, _ in hints.fields]) == (103, ["Link", "Via"])
        assert wire.message().body == b"ok"


def test_interim_answers_without_end_are_a_bad_answer(gateway, upstream):
    upstream.play(answering(b"HTTP/1.1 102 Processing\r\n\r\n" * 3000))
    with gateway.connect() as wire:
        wire.send(GET)
        statuses = [wire.message(bodiless=True).status for _ in range(101)]
    assert statuses == [102] * 100 + [502]


def test_an_http_1_0_client_gets_no_interim_answer(gateway, upstream):
    upstream.play(answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK))
    assert gateway.ask(b"GET /a HTTP/1.0\r\n\r\n").status == 200


def test_expect_is_forwarded_and_the_client_told_to_continue_by_the_upstream(gateway, upstream):
    def script(wire):
        assert b"Expect: 100-continue" in wire.until(b"\r\n\r\n")
        assert wire.quiet(0.1)
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert wire.exactly(5) == b"hello"
        wire.send(OK)

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert wire.message(bodiless=True).status == 100
        wire.send(b"hello")
        assert wire.message().body == b"ok"


def test_a_final_answer_before_the_body_stops_the_upload_and_ends_both_connections(gateway, upstream):
    def script(wire):
        wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
        assert wire.gone()

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        answer = wire.message()
        assert (answer.status, answer.get("connection")) == (417, "close")
        assert wire.to_close() == b""


# -- framing of answers: rules 2, 10, 11, 13 -------------------------------------------------------------------------

BODILESS = {
    "HEAD": (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", "50"),
    "HEAD in chunks": (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    "HEAD without a length": (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n", None),
    "204": (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 50\r\n\r\n", None),
    "204 in chunks": (b"GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    "304": (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n", "50"),
}


@pytest.mark.parametrize(("method", "answer_bytes", "length"), BODILESS.values(), ids=BODILESS.keys())
def test_an_answer_without_a_body_ends_with_its_head(pooling, method, answer_bytes, length):
    gateway, upstream = pooling
    upstream.play(answering(answer_bytes))
    with gateway.connect() as wire:
        for _ in range(3):
            wire.send(method + b" /a HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = wire.message(bodiless=True)
            assert (answer.get("content-length"), answer.get("transfer-encoding")) == (length, None)
        assert wire.quiet(0.05)
    assert len(upstream.wires) == 1, "the upstream's connection was not reused"


BAD_ANSWERS = {
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n",
    "an empty line": b"\r\n\r\n",
    "garbage with an empty line": b"hello\r\n\r\n",
    "differing lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "an invalid length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
    "a bare LF": b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 2\r\n\r\nok",
    "a NUL": b"HTTP/1.1 200 OK\r\nX: a\0\r\nContent-Length: 2\r\n\r\nok",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "a status below 100": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a head that is too large": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000 + b"\r\n\r\n",
    "a head that never ends": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000,
    "nothing but a close": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
}


@pytest.mark.parametrize("answer_bytes", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
def test_a_bad_answer_is_a_502_and_costs_the_upstream_its_connection(gateway, upstream, answer_bytes):
    def script(wire):
        wire.message()
        wire.send(answer_bytes)
        if answer_bytes not in (b"", BAD_ANSWERS["half a head"]):
            assert wire.gone()

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(GET)
        assert wire.message().status == 502
        upstream.play(answering())
        wire.send(GET)
        assert wire.message().status == 200, "the client's connection must survive a 502"


def test_bytes_after_an_answer_are_not_passed_on_and_drop_the_upstreams_connection(pooling):
    gateway, upstream = pooling

    def script(wire):
        wire.message()
        wire.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        assert wire.gone()

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(GET)
        assert wire.message().body == b"ok"
        upstream.play(answering())
        wire.send(GET)
        assert wire.message().body == b"ok"
        assert wire.quiet(0.05)


def test_bytes_on_an_idle_upstream_connection_drop_it(pooling):
    gateway, upstream = pooling

    def script(wire):
        wire.message()
        wire.send(OK)
        time.sleep(0.1)
        wire.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        assert wire.gone()

    upstream.play(script)
    assert gateway.ask().status == 200
    time.sleep(0.2)
    upstream.play(answering())
    assert gateway.ask().status == 200


CUT = {
    "sized": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", GET),
    "chunked inside a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello", GET),
    "chunked for HTTP/1.0": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"GET /a HTTP/1.0\r\n\r\n",
    ),
}


@pytest.mark.parametrize(("answer_bytes", "request_bytes"), CUT.values(), ids=CUT.keys())
def test_a_truncated_answer_never_looks_complete(gateway, upstream, answer_bytes, request_bytes):
    def script(wire):
        wire.until(b"\r\n\r\n")
        wire.send(answer_bytes)
        time.sleep(0.1)

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(request_bytes)
        with pytest.raises((EOFError, ConnectionResetError)):
            wire.message()
        assert b"0\r\n\r\n" not in wire.seen.partition(b"\r\n\r\n")[2]


def test_a_close_delimited_answer_that_ends_in_a_reset_is_truncated(gateway, upstream):
    def script(wire):
        wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        time.sleep(0.1)
        wire.reset()

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(GET)
        with pytest.raises((EOFError, ConnectionResetError)):
            wire.message()


def test_a_close_delimited_answer_is_chunked_for_http_1_1_and_the_connection_lives_on(gateway, upstream):
    def script(wire):
        wire.until(b"\r\n\r\n")
        wire.send(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nhel", b"lo", pause_s=0.05)

    upstream.play(script)
    with gateway.connect() as wire:
        for _ in range(2):
            wire.send(GET)
            answer = wire.message()
            assert (answer.first, answer.body) == ("HTTP/1.1 200 OK", b"hello")
            assert answer.get("transfer-encoding") == "chunked"
            assert answer.get("via") == "1.0 archbench"


@pytest.mark.parametrize(
    "answer_bytes",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    ],
)
def test_an_http_1_0_client_gets_a_body_of_unknown_length_up_to_the_close(gateway, upstream, answer_bytes):
    def script(wire):
        wire.until(b"\r\n\r\n")
        wire.send(answer_bytes)

    upstream.play(script)
    answer = gateway.ask(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (answer.body, answer.get("transfer-encoding"), answer.get("connection")) == (b"hello", None, "close")


def test_an_http_1_0_client_may_keep_its_connection(gateway):
    with gateway.connect() as wire:
        for _ in range(2):
            wire.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert wire.message().get("connection") == "keep-alive"


def test_chunks_are_framed_anew_without_extensions_and_trailers_travel_on(gateway, upstream):
    def script(wire):
        request = wire.message()
        assert request.raw_body.lower() == b"5\r\nhello\r\n0\r\n"
        assert request.trailers == [b"X-Sum: 7\r\n"]
        wire.send(
            b'HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n00002;x="y"\r\nab\r\n3\r\ncde\r\n0;last\r\n'
            b"X-Check: 1\r\nContent-Type: x\r\nConnection: x\r\nHost: y\r\n\r\n"
        )

    upstream.play(script)
    answer = gateway.ask(
        POST + b"Transfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\nX-Sum: 7\r\nTransfer-Encoding: x\r\n\r\n"
    )
    assert (answer.body, answer.raw_body.count(b";")) == (b"abcde", 0)
    assert answer.trailers == [b"X-Check: 1\r\n", b"Content-Type: x\r\n"]


# -- order and reuse: rules 12 and 13 --------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(gateway, upstream):
    def script(wire):
        with contextlib.suppress(EOFError):
            while True:
                request = wire.message()
                number = request.first.split("/a/")[1].split(" ")[0].encode()
                time.sleep(0.05 if number == b"1" else 0)
                wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(number), number))

    upstream.play(script)
    with gateway.connect() as wire:
        requests = [b"GET /a/%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(1, 6)]
        requests[2] = b"POST /a/3 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
        requests[3] = b"POST /a/4 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        wire.send(b"".join([*requests, b"GET /none HTTP/1.1\r\nHost: h\r\n\r\n", requests[0]]))
        assert [wire.message().body for _ in range(5)] == [b"1", b"2", b"3", b"4", b"5"]
        assert wire.message().status == 404
        assert wire.message().body == b"1"


def test_thousands_of_pipelined_requests_that_are_answered_here(gateway):
    with gateway.connect() as wire:
        wire.send(b"GET /none HTTP/1.1\r\nHost: h\r\n\r\n" * 5000)
        assert {wire.message().status for _ in range(5000)} == {404}


def test_upstream_connections_are_reused_across_clients(pooling):
    gateway, upstream = pooling
    assert {gateway.ask().status for _ in range(10)} == {200}
    assert gateway.ask(POST + b"Content-Length: 2\r\n\r\nhi").status == 200
    assert len(upstream.wires) == 1


def test_a_connection_that_the_upstream_wants_closed_is_not_reused(pooling):
    gateway, upstream = pooling
    upstream.play(answering(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    with gateway.connect() as wire:
        for _ in range(3):
            wire.send(GET)
            assert wire.message().get("connection") is None, "one hop's close is not the other's"
    assert len(upstream.wires) == 3


def closes_instead_of_a_second_answer(wire):
    wire.message()
    wire.send(OK)
    wire.message()


def test_a_get_that_meets_the_close_of_an_idle_connection_is_sent_again_once(pooling):
    gateway, upstream = pooling
    upstream.play(closes_instead_of_a_second_answer)
    assert gateway.ask().status == 200
    script = upstream.play(answering())
    assert gateway.ask().status == 200
    assert len(script.requests) == 1


def test_a_get_is_not_sent_a_third_time(pooling):
    gateway, upstream = pooling
    upstream.play(closes_instead_of_a_second_answer)
    assert gateway.ask().status == 200
    script = upstream.play(lambda wire: wire.message() and None)
    assert gateway.ask().status == 502
    assert len(upstream.wires) == 1, script


def test_a_post_that_meets_the_close_of_an_idle_connection_is_not_sent_again(pooling):
    gateway, upstream = pooling
    upstream.play(closes_instead_of_a_second_answer)
    assert gateway.ask().status == 200
    script = upstream.play(answering())
    assert gateway.ask(POST + b"Content-Length: 2\r\n\r\nhi").status == 502
    assert script.requests == []


def test_a_get_on_a_new_connection_is_not_sent_again(gateway, upstream):
    upstream.play(lambda wire: wire.message() and None)
    assert gateway.ask().status == 502
    assert len(upstream.wires) == 1


# -- who goes away: rule 16 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_goes_away_cancels_its_request(gateway, upstream, how):
    seen = []

    def script(wire):
        wire.message()
        seen.append("request")
        assert wire.gone()
        seen.append("gone")

    upstream.play(script)
    wire = gateway.connect()
    wire.send(GET)
    wait_until(lambda: seen == ["request"])
    getattr(wire, how)()
    wait_until(lambda: seen == ["request", "gone"])


def test_a_client_that_goes_away_inside_its_body_cancels_its_request(gateway, upstream):
    seen = []

    def script(wire):
        wire.until(b"\r\n\r\nhel")
        seen.append("part")
        assert wire.gone()
        seen.append("gone")

    upstream.play(script)
    wire = gateway.connect()
    wire.send(POST + b"Content-Length: 5\r\n\r\nhel")
    wait_until(lambda: seen == ["part"])
    wire.close()
    wait_until(lambda: seen == ["part", "gone"])


def send_without_end(wire, sent):
    while sum(sent) < 1000000000:
        sent.append(wire.sock.send(b"x" * 65536))


def test_a_client_that_goes_away_inside_the_answer_cancels_it(gateway, upstream):
    sent = []

    def script(wire):
        wire.message()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with pytest.raises(ConnectionError):
            send_without_end(wire, sent)

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(GET)
        wire.exactly(1000000)
    wait_until(lambda: upstream.wires[0].sock.fileno() == -1)
    assert sum(sent) < 100_000_000


# -- streaming ---------------------------------------------------------------------------------------------------------

LARGE = 50_000_000


def test_a_large_answer_streams_in_bounded_memory_to_a_slow_reader(gateway, upstream):
    def script(wire):
        wire.message()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        for _ in range(LARGE // 50_000):
            wire.send(b"0123456789" * 5000)

    upstream.play(script)
    before = gateway.rss_bytes()
    with gateway.connect() as wire:
        wire.send(GET)
        head = wire.until(b"\r\n\r\n")
        time.sleep(0.3)  # an unbounded gateway would now hold all of it
        assert gateway.rss_bytes() - before < 10_000_000
        received, mismatched = len(wire.seen) - len(head), 0
        while received < LARGE:
            data = wire.sock.recv(1_000_000)
            mismatched += data[:1] != b"%d" % (received % 10)
            received += len(data)
        assert (received, mismatched) == (LARGE, 0)
    assert gateway.rss_bytes() - before < 10_000_000


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_request_streams_in_bounded_memory_to_a_slow_upstream(gateway, upstream, chunked):
    received = []

    def script(wire):
        wire.until(b"\r\n\r\n")
        time.sleep(0.3)
        received.append(gateway.rss_bytes())
        size = len(wire.seen)
        while size < LARGE:
            size += len(wire.sock.recv(1_000_000))
        wire.send(OK)

    upstream.play(script)
    before = gateway.rss_bytes()
    with gateway.connect() as wire:
        if chunked:
            wire.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
            wire.send(*[b"c350\r\n" + b"x" * 50_000 + b"\r\n"] * (LARGE // 50_000), b"0\r\n\r\n")
        else:
            wire.send(POST + b"Content-Length: %d\r\n\r\n" % LARGE)
            wire.send(*[b"x" * 50_000] * (LARGE // 50_000))
        assert wire.message().status == 200
    assert received[0] - before < 10_000_000
    assert gateway.rss_bytes() - before < 10_000_000


def test_each_piece_of_an_answer_is_passed_on_when_it_comes(gateway, upstream):
    go_on = []

    def script(wire):
        wire.message()
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"):
            wire.send(piece)
            wait_until(lambda: bool(go_on))
            go_on.pop()

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(GET)
        wire.until(b"\r\n\r\n")
        for piece in (b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"):
            assert wire.exactly(len(piece)) == piece
            go_on.append(True)


def test_each_piece_of_a_request_is_passed_on_when_it_comes(gateway, upstream):
    seen = []

    def script(wire):
        wire.until(b"\r\n\r\n")
        while len(seen) < 3:
            seen.append(wire.exactly(1))
        wire.send(OK)

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(POST + b"Content-Length: 3\r\n\r\n")
        for number, piece in enumerate((b"a", b"b", b"c")):
            wire.send(piece)
            wait_until(lambda number=number: len(seen) == number + 1)
        assert wire.message().status == 200


def test_an_answer_that_comes_byte_by_byte(gateway, upstream):
    def script(wire):
        wire.message()
        for number in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n":
            wire.send(bytes([number]), pause_s=0.001)

    upstream.play(script)
    assert gateway.ask().body == b"hello"


def test_a_request_that_comes_byte_by_byte(gateway, upstream):
    script = upstream.play(answering())
    with gateway.connect() as wire:
        for number in POST + b"Content-Length: 5\r\n\r\nhello":
            wire.send(bytes([number]), pause_s=0.001)
        assert wire.message().status == 200
    assert script.requests[0].body == b"hello"
