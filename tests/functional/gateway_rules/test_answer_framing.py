"""Where an answer ends, what is no answer, and what follows one (RFC 9112 4, 6.3, 8, 9.3; RFC 9110 6.4, 15)."""

import contextlib

import pytest

from tests.functional.gateway_rig import GET, OK, answering, wait_until
from tests.functional.gateway_rules.asking import CHUNKED_OK, HEAD, theirs

pytestmark = pytest.mark.functional

START = b"HTTP/1.1 200 OK\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


def _with(fields):
    return START + fields + b"\r\n\r\nok"


BAD_ANSWERS = {
    "two equal lengths": _with(b"Content-Length: 2\r\nContent-Length: 2"),
    "two lengths": _with(b"Content-Length: 2\r\nContent-Length: 0"),
    "a list of equal lengths": _with(b"Content-Length: 2, 2"),
    "a list of lengths": _with(b"Content-Length: 2, 3"),
    "a length with a plus sign": _with(b"Content-Length: +2"),
    "a length with a minus sign": _with(b"Content-Length: -2"),
    "a hexadecimal length": _with(b"Content-Length: 0x2"),
    "an empty length": _with(b"Content-Length:"),
    "a word for a length": _with(b"Content-Length: two"),
    "a fraction for a length": _with(b"Content-Length: 2.0"),
    "a length of 2^63": _with(b"Content-Length: 9223372036854775808"),
    "a length of 2^64 + 2": _with(b"Content-Length: 18446744073709551618"),
    "a folded length": _with(b"Content-Length:\r\n 2"),
    "length, then coding": START + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "coding, then length": START + b"Transfer-Encoding: chunked\r\nContent-Length: 12\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "gzip": START + b"Transfer-Encoding: gzip\r\n\r\nok",
    "gzip, then chunked": START + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked, then gzip": START + b"Transfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "identity": _with(b"Transfer-Encoding: identity\r\nContent-Length: 2"),
    "xchunked": START + b"Transfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "an empty coding": _with(b"Transfer-Encoding:\r\nContent-Length: 2"),
    "a vertical tab before chunked": START + b"Transfer-Encoding: \x0bchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked twice": START + b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked twice, as two fields": CHUNKED_OK[:-2] + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked and gzip, as two fields": CHUNKED_OK[:-2] + b"Transfer-Encoding: gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": CHUNKED_OK.replace(b"1.1", b"1.0") + b"2\r\nok\r\n0\r\n\r\n",
    "a folded line": _with(b"X: a\r\n b\r\nContent-Length: 2"),
    "a line folded with a tab": _with(b"X: a\r\n\tb\r\nContent-Length: 2"),
    "a first line that begins with a space": _with(b" X: a\r\nContent-Length: 2"),
    "a space before the colon": _with(b"X : a\r\nContent-Length: 2"),
    "no colon": _with(b"X\r\nContent-Length: 2"),
    "no name": _with(b": a\r\nContent-Length: 2"),
    "a space in a name": _with(b"X Y: a\r\nContent-Length: 2"),
    "a NUL in a name": _with(b"X\x00: a\r\nContent-Length: 2"),
    "a NUL in a value": _with(b"X: a\x00\r\nContent-Length: 2"),
    "a bare CR in a value": _with(b"X: a\rSet-Cookie: a=b\r\nContent-Length: 2"),
    "a bare LF in a value": _with(b"X: a\nSet-Cookie: a=b\r\nContent-Length: 2"),
    "a control in a value": _with(b"X: a\x01\r\nContent-Length: 2"),
    "a NUL in the reason": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 2\r\n\r\nok",
    "a control in the reason": b"HTTP/1.1 200 O\x1bK\r\nContent-Length: 2\r\n\r\nok",
    "a bare CR in the reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok",
    "a bare LF in the reason": b"HTTP/1.1 200 O\nX: a\r\nContent-Length: 2\r\n\r\nok",
    "one digit": b"HTTP/1.1 2 OK\r\nContent-Length: 2\r\n\r\nok",
    "two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok",
    "four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "a letter in the status": b"HTTP/1.1 20x OK\r\nContent-Length: 2\r\n\r\nok",
    "a sign before the status": b"HTTP/1.1 -200 OK\r\nContent-Length: 2\r\n\r\nok",
    "000": b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok",
    "099": b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
    "two spaces before the status": b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a tab before the status": b"HTTP/1.1\t200 OK\r\nContent-Length: 2\r\n\r\nok",
    "no space before the reason": b"HTTP/1.1 200OK\r\nContent-Length: 2\r\n\r\nok",
    "a space before the version": b" HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "an empty line before": b"\r\n" + OK,
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.": b"HTTP/1. 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a version in lower case": b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "another protocol": b"ICY 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a request": GET,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "101 fields": _with(b"X: a\r\n" * 100 + b"Content-Length: 2"),
}


@pytest.mark.parametrize("answer", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
def test_an_answer_that_is_not_by_the_letter_is_a_502_and_its_connection_is_dropped(keeping, answer):
    _is_a_502_and_costs_its_connection(keeping, answer)


def _is_a_502_and_costs_its_connection(keeping, answer):
    gateway, upstream = keeping
    dropped = []

    def script(wire):
        wire.message()
        wire.send(answer)
        dropped.append(wire.gone())

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(GET)
        got = wire.message()
        assert (got.status, b"evil" in got.body) == (502, False)
        after = upstream.play(answering())
        wire.send(GET)
        assert wire.message().status == 200, "the client's connection must survive a 502"
    assert len(after.requests) == 1
    wait_until(lambda: dropped == [True])


GOOD_HEADS = {
    "no reason": (b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 "),
    "no reason and no space": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 "),
    "a reason of several words": (
        b"HTTP/1.1 200 All is well\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 All is well",
    ),
    "a reason beyond ASCII": (b"HTTP/1.1 200 \xc3\x84\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 \xc3\x84"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK"),
    "an unregistered status": (b"HTTP/1.1 299 Odd\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 299 Odd"),
    "599": (b"HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 599 Odd"),
    "leading zeros in the length": (b"HTTP/1.1 200 OK\r\nContent-Length: 0002\r\n\r\nok", "HTTP/1.1 200 OK"),
    "white space around the length": (b"HTTP/1.1 200 OK\r\nContent-Length:\t 2\t\r\n\r\nok", "HTTP/1.1 200 OK"),
}


@pytest.mark.parametrize(("answer", "first"), GOOD_HEADS.values(), ids=GOOD_HEADS.keys())
def test_a_status_line_is_sent_on_in_http_1_1(gateway, upstream, answer, first):
    upstream.play(answering(answer))
    got = gateway.ask()
    assert (got.first, got.body) == (first, b"ok")


NO_BODY = {
    "HEAD with a length": (HEAD, START + b"Content-Length: 50\r\n\r\n", "50"),
    "HEAD with a length of 0": (HEAD, START + b"Content-Length: 0\r\n\r\n", "0"),
    "HEAD in chunks": (HEAD, CHUNKED_OK, None),
    "HEAD without a length": (HEAD, START + b"\r\n", None),
    "HEAD with 404": (HEAD, b"HTTP/1.1 404 Not Found\r\nContent-Length: 50\r\n\r\n", "50"),
    "204": (GET, b"HTTP/1.1 204 No Content\r\n\r\n", None),
    "204 with a length": (GET, b"HTTP/1.1 204 No Content\r\nContent-Length: 50\r\n\r\n", None),
    "204 with a length of 0": (GET, b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", None),
    "204 in chunks": (GET, b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    "304": (GET, b"HTTP/1.1 304 Not Modified\r\n\r\n", None),
    "304 with a length": (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n", "50"),
    "304 in chunks": (GET, b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    "204 to HEAD": (HEAD, b"HTTP/1.1 204 No Content\r\nContent-Length: 50\r\n\r\n", None),
}


@pytest.mark.parametrize(("request_bytes", "answer", "length"), NO_BODY.values(), ids=NO_BODY.keys())
def test_what_has_no_body_ends_with_its_head_and_both_connections_go_on(keeping, request_bytes, answer, length):
    gateway, upstream = keeping
    upstream.play(answering(answer))
    with gateway.connect() as wire:
        for _ in range(3):
            wire.send(request_bytes)
            got = wire.message(bodiless=True)
            assert (got.get("content-length"), got.get("transfer-encoding")) == (length, None)
        assert wire.quiet(0.03)
    assert len(upstream.wires) == 1


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (HEAD, START + b"Content-Length: 4\r\n\r\nevil"),
        (HEAD, CHUNKED_OK + b"4\r\nevil\r\n0\r\n\r\n"),
        (HEAD, START + b"\r\nevil"),
        (GET, b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil"),
        (GET, b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil"),
        (GET, b"HTTP/1.1 304 Not Modified\r\n\r\n" + EVIL),
    ],
    ids=["HEAD", "HEAD in chunks", "HEAD without a length", "204", "204 in chunks", "304", "304 and an answer"],
)
def test_a_body_where_none_may_be_is_not_passed_on_and_drops_the_connection(keeping, request_bytes, answer):
    gateway, upstream = keeping
    dropped = []

    def script(wire):
        wire.message()
        wire.send(answer)
        dropped.append(wire.gone())

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(request_bytes)
        wire.message(bodiless=True)
        upstream.play(answering())
        wire.send(GET)
        assert wire.message().body == b"ok"
        assert wire.quiet(0.03)
        assert b"evil" not in wire.seen
    wait_until(lambda: dropped == [True])


@pytest.mark.parametrize(
    ("rest", "body"),
    [(b"Content-Length: 0\r\n\r\n", b""), (b"Content-Length: 2\r\n\r\nok", b"ok"), (b"\r\n", b"")],
    ids=["a length of 0", "a body", "neither"],
)
def test_a_205_is_framed_by_its_fields(gateway, upstream, rest, body):
    def script(wire):
        wire.message()
        wire.send(b"HTTP/1.1 205 Reset Content\r\n" + rest)

    upstream.play(script)
    with gateway.connect() as wire:
        for _ in range(2):
            wire.send(GET)
            got = wire.message()
            assert (got.status, got.body) == (205, body)


AFTERWARDS = {
    "an answer": OK + EVIL,
    "an answer in chunks": OK + CHUNKED_OK + b"4\r\nevil\r\n0\r\n\r\n",
    "an interim answer": OK + b"HTTP/1.1 103 Early Hints\r\nX: evil\r\n\r\n",
    "garbage": OK + b"evil",
    "a line end": OK + b"\r\n",
    "a NUL": OK + b"\0",
    "more than a length of 0": START + b"Content-Length: 0\r\n\r\nevil",
    "an answer after chunks": CHUNKED_OK + b"2\r\nok\r\n0\r\n\r\n" + EVIL,
    "an answer after trailers": CHUNKED_OK + b"2\r\nok\r\n0\r\nX: a\r\n\r\n" + EVIL,
}


@pytest.mark.parametrize("answer", AFTERWARDS.values(), ids=AFTERWARDS.keys())
def test_bytes_after_an_answer_are_nobodys_and_drop_the_connection(keeping, answer):
    gateway, upstream = keeping
    dropped = []

    def script(wire):
        wire.message()
        wire.send(answer)
        dropped.append(wire.gone())

    upstream.play(script)
    with gateway.connect() as wire, gateway.connect() as other:
        wire.send(GET)
        assert wire.message().status == 200
        upstream.play(answering())
        for one in (other, wire):
            one.send(GET)
            assert one.message().body == b"ok"
            assert one.quiet(0.03)
            assert b"evil" not in one.seen
    wait_until(lambda: dropped == [True])


def test_bytes_on_an_idle_connection_drop_it_and_answer_nobody(keeping):
    gateway, upstream = keeping
    dropped = []

    def script(wire):
        wire.message()
        wire.send(OK)
        wire.quiet(0.05)
        wire.send(EVIL)
        dropped.append(wire.gone())

    upstream.play(script)
    assert gateway.ask().body == b"ok"
    wait_until(lambda: dropped == [True])
    upstream.play(answering())
    assert gateway.ask().body == b"ok"


BROKEN_CHUNKS = {
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a plus sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "a space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "a space after the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "2^64 + 5": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "LF alone after the size": b"5\nhello\r\n0\r\n\r\n",
    "LF alone after the data": b"5\r\nhello\n0\r\n\r\n",
    "nothing after the data": b"5\r\nhello0\r\n\r\n",
    "more data than the size": b"3\r\nhello\r\n0\r\n\r\n",
    "LF alone at the end": b"5\r\nhello\r\n0\r\n\n",
    "a bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a NUL in an extension": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
    "a trailer with a space before the colon": b"5\r\nhello\r\n0\r\nX : a\r\n\r\n",
    "a trailer without a colon": b"5\r\nhello\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n",
    "a trailer with a bare LF": b"5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n",
    "a trailer with a NUL": b"5\r\nhello\r\n0\r\nX: a\x00\r\n\r\n",
    "trailers without end": b"5\r\nhello\r\n0\r\n" + b"X: aaaaaaaa\r\n" * 7000 + b"\r\n",
    "a close after a chunk": b"5\r\nhello\r\n",
    "a close inside a chunk": b"9\r\nhello",
    "a close inside a size": b"5\r\nhello\r\n5",
    "a close before the last line end": b"5\r\nhello\r\n0\r\n",
    "a close inside the trailers": b"5\r\nhello\r\n0\r\nX: a\r\n",
}


BROKEN_AT_ONCE = {
    name: body for name, body in BROKEN_CHUNKS.items() if not name.startswith("a close") and len(body) < 1000
}


@pytest.mark.parametrize("body", BROKEN_AT_ONCE.values(), ids=BROKEN_AT_ONCE.keys())
def test_chunks_that_break_beside_the_head_are_a_502(keeping, body):
    """Nothing was passed on yet, so that the client can still be told."""
    _is_a_502_and_costs_its_connection(keeping, CHUNKED_OK + b"3\r\nabc\r\n" + body)


@pytest.mark.parametrize("body", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS.keys())
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_broken_chunks_never_look_like_a_whole_answer(gateway, upstream, body, version):
    """The client has seen the head and some of the body when the rest turns out to be broken: it gets a reset."""

    def script(wire):
        wire.message()
        wire.send(CHUNKED_OK + b"3\r\nabc\r\n")
        begun.append(True)
        wire.quiet(0.02)
        with contextlib.suppress(ConnectionError):
            wire.send(body)

    begun = []
    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(GET.replace(b"1.1", version))
        with pytest.raises(ConnectionResetError):
            wire.to_close()
        head, _, rest = wire.seen.partition(b"\r\n\r\n")
        assert b" 200 " in head
        assert b"0\r\n\r\n" not in rest


CUT = {
    "sized": START + b"Content-Length: 10\r\n\r\nhello",
    "in chunks": CHUNKED_OK + b"a\r\nhello",
    "between chunks": CHUNKED_OK + b"5\r\nhello\r\n",
    "up to the close": START + b"\r\nhello",
}


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT.keys())
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_reset_inside_an_answer_reaches_the_client_as_a_reset(gateway, upstream, answer, version):
    def script(wire):
        wire.message()
        wire.send(answer)
        wire.quiet(0.05)
        wire.reset()

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(GET.replace(b"1.1", version))
        with pytest.raises(ConnectionResetError):
            wire.to_close()


@pytest.mark.parametrize(
    "half", [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTT", b""], ids=["half a head", "3 bytes", "none"]
)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_an_answer_that_ends_inside_its_head_is_a_502(gateway, upstream, half, end):
    def script(wire):
        wire.message()
        wire.send(half)
        wire.quiet(0.02)
        getattr(wire, end)()

    upstream.play(script)
    with gateway.connect() as wire:
        for _ in range(2):
            wire.send(GET)
            assert wire.message().status == 502


def test_http_1_0_upstreams_may_keep_their_connection(keeping):
    gateway, upstream = keeping
    upstream.play(answering(b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok"))
    for _ in range(3):
        assert gateway.ask().body == b"ok"
    assert len(upstream.wires) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        OK[:-4] + b"Connection: close\r\n\r\nok",
        OK[:-4] + b"Connection: x, CLOSE\r\n\r\nok",
        OK[:-4] + b"Connection: keep-alive, close\r\n\r\nok",
        OK[:-4] + b"Connection: keep-alive\r\nConnection: close\r\n\r\nok",
    ],
    ids=["HTTP/1.0", "HTTP/1.0 and close", "close", "close in a list", "keep-alive and close", "as two fields"],
)
def test_an_upstream_that_does_not_keep_its_connection_gets_no_second_request(keeping, answer):
    gateway, upstream = keeping
    script = upstream.play(answering(answer))
    with gateway.connect() as wire:
        for _ in range(3):
            wire.send(GET)
            assert wire.message().body == b"ok"
    assert (len(upstream.wires), len(script.requests)) == (3, 3)


def test_a_body_up_to_the_close_is_whole_only_by_a_close(gateway, upstream):
    def script(wire):
        wire.message()
        wire.send(b"HTTP/1.1 200 OK\r\n\r\n", b"he", b"llo", pause_s=0.01)

    upstream.play(script)
    with gateway.connect() as wire:
        for _ in range(2):
            wire.send(GET)
            got = wire.message()
            assert (got.body, got.get("transfer-encoding"), got.get("content-length")) == (b"hello", "chunked", None)


FORGED = b"".join(
    name + b": x\r\n"
    for name in (b"Content-Length", b"Transfer-Encoding", b"Connection", b"Host", b"Trailer", b"Keep-Alive", b"Via")
)


def test_trailers_that_frame_route_or_vouch_are_dropped_from_an_answer(gateway, upstream):
    upstream.play(answering(CHUNKED_OK + b"2\r\nok\r\n0\r\nX-A: 1\r\n" + FORGED + b"X-B: 2\r\n\r\n"))
    got = gateway.ask()
    assert (got.body, got.trailers) == (b"ok", [b"X-A: 1\r\n", b"X-B: 2\r\n"])


@pytest.mark.parametrize("name", [b"x-named", b"X-NAMED"])
def test_a_trailer_that_connection_names_is_dropped_from_an_answer(gateway, upstream, name):
    head = CHUNKED_OK[:-2] + b"Connection: " + name + b"\r\n\r\n"
    upstream.play(answering(head + b"2\r\nok\r\n0\r\nX-Named: 1\r\nX-Kept: 2\r\n\r\n"))
    got = gateway.ask()
    assert (got.body, got.trailers) == (b"ok", [b"X-Kept: 2\r\n"])


def test_a_length_stays_beside_a_head_and_only_there(gateway, upstream):
    """RFC 9110 8.6: what HEAD and 304 say of a length is the body's that GET would get; a 204 and a 1xx say none."""
    upstream.play(answering(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX: a\r\n\r\n"))
    with gateway.connect() as wire:
        wire.send(GET)
        assert theirs(wire.message(bodiless=True)) == [("X", "a")]
