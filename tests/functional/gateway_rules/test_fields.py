"""What travels from hop to hop and what does not: Connection, Via, X-Forwarded-*, order (RFC 9110 5.3, 7.6)."""

import pytest

from tests.functional.gateway_rig import GET, OK, answering
from tests.functional.gateway_rules.asking import POST, taken, theirs

pytestmark = pytest.mark.functional

NAMED = {
    "one": b"Connection: x-a\r\nX-A: 1\r\n",
    "upper case": b"Connection: X-A\r\nx-a: 1\r\n",
    "mixed case": b"cOnNeCtIoN: X-a\r\nx-A: 1\r\n",
    "before the Connection field": b"X-A: 1\r\nConnection: x-a\r\n",
    "a field that comes twice": b"X-A: 1\r\nConnection: x-a\r\nx-a: 2\r\n",
    "a list": b"Connection: x-b, x-a\r\nX-A: 1\r\nX-B: 2\r\n",
    "a list without spaces": b"Connection: x-b,x-a\r\nX-A: 1\r\nX-B: 2\r\n",
    "a list with empty members": b"Connection: , x-a ,,\tx-b\t,\r\nX-A: 1\r\nX-B: 2\r\n",
    "two Connection fields": b"Connection: x-a\r\nX-A: 1\r\nConnection: x-b\r\nX-B: 2\r\n",
    "beside keep-alive": b"Connection: keep-alive, x-a\r\nX-A: 1\r\n",
    "after keep-alive alone": b"Connection: keep-alive\r\nConnection: x-a\r\nX-A: 1\r\n",
    "a field that is not there": b"Connection: x-a\r\n",
    "a name that begins like another": b"Connection: x-k\r\n",
    "cookies": b"Connection: cookie\r\nCookie: a=b\r\n",
}


@pytest.mark.parametrize("lines", NAMED.values(), ids=NAMED.keys())
def test_a_request_loses_what_connection_names(gateway, upstream, lines):
    request = taken(gateway, upstream, GET[:-2] + b"X-Kept: a\r\n" + lines + b"X-Kept: b\r\n\r\n")
    assert theirs(request) == [("Host", "h"), ("X-Kept", "a"), ("X-Kept", "b")]


@pytest.mark.parametrize("lines", NAMED.values(), ids=NAMED.keys())
def test_an_answer_loses_what_connection_names(gateway, upstream, lines):
    upstream.play(answering(OK[:-4] + b"X-Kept: a\r\n" + lines + b"X-Kept: b\r\n\r\nok"))
    answer = gateway.ask()
    assert theirs(answer) == [("Content-Length", "2"), ("X-Kept", "a"), ("X-Kept", "b")]
    assert answer.body == b"ok"


def test_connection_that_names_close_in_a_list_closes(gateway, upstream):
    script = upstream.script
    with gateway.connect() as wire:
        wire.send(GET[:-2] + b"Connection: x-a, CLOSE\r\nX-A: 1\r\n\r\n" + GET)
        assert wire.message().get("connection") == "close"
        assert wire.to_close() == b""
    assert [theirs(request) for request in script.requests] == [[("Host", "h")]]


UNNAMEABLE = {
    "Host": b"Connection: host\r\n",
    "Content-Length": b"Connection: content-length\r\n",
    "Transfer-Encoding": b"Connection: transfer-encoding\r\n",
    "all of them": b"Connection: Host, Content-Length, Transfer-Encoding, Via\r\n",
}


@pytest.mark.parametrize("line", UNNAMEABLE.values(), ids=UNNAMEABLE.keys())
def test_connection_cannot_take_away_what_frames_or_routes(gateway, upstream, line):
    upstream.play(answering(b"HTTP/1.1 200 OK\r\n" + line + b"Content-Length: 2\r\n\r\nok"))
    script = upstream.script
    with gateway.connect() as wire:
        wire.send(POST + line + b"Content-Length: 5\r\n\r\nhello" + GET)
        assert (wire.message().body, wire.message().body) == (b"ok", b"ok")
    assert [(request.get("host"), request.body) for request in script.requests] == [("h", b"hello"), ("h", b"")]


@pytest.mark.parametrize("name", [b"X-Forwarded-For", b"x-forwarded-for"])
def test_connection_that_names_x_forwarded_for_takes_the_clients_away_and_not_ours(gateway, upstream, name):
    lines = b"Connection: " + name + b"\r\nX-Forwarded-For: 10.0.0.1\r\n"
    assert taken(gateway, upstream, GET[:-2] + lines + b"\r\n").all("x-forwarded-for") == ["127.0.0.1"]


def test_connection_that_names_via_does_not_hide_a_loop(gateway, upstream):
    lines = b"Connection: via\r\nVia: " + b", ".join([b"1.1 archbench"] * 16) + b"\r\n"
    assert gateway.ask(GET[:-2] + lines + b"\r\n").status == 508
    assert upstream.wires == []


HOP_BY_HOP = [
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"TE: trailers",
    b"TE: gzip;q=0.5",
    b"Proxy-Authorization: Basic eDp5",
    b"Proxy-Authenticate: Basic",
]


@pytest.mark.parametrize("line", HOP_BY_HOP, ids=lambda line: line.decode())
def test_a_field_of_one_hop_is_dropped_even_where_connection_does_not_name_it(gateway, upstream, line):
    upstream.play(answering(OK[:-4] + line + b"\r\n" + line.lower() + b"\r\n\r\nok"))
    script = upstream.script
    answer = gateway.ask(GET[:-2] + line + b"\r\n" + line.upper() + b"\r\n\r\n")
    assert theirs(script.requests[0]) == [("Host", "h")]
    assert (theirs(answer), answer.body) == ([("Content-Length", "2")], b"ok")


END_TO_END = [
    b"Trailer: X-Sum",
    b"Authorization: Basic eDp5",
    b"Accept-Encoding: gzip",
    b"Range: bytes=0-1",
    b"If-None-Match: *",
    b"Cache-Control: no-transform",
    b"Max-Forwards: 3",
    b"Upgrade-Insecure-Requests: 1",
    b"X-Internal-API-Key: k",
    b"User-Agent: a/1 (b)",
    b"Origin: http://h",
    b"From: a@b",
    b"Content_Length: 5",
    b"Date: Tue, 15 Nov 1994 08:12:31 GMT",
]


@pytest.mark.parametrize("line", END_TO_END, ids=lambda line: line.decode())
def test_a_field_of_both_ends_travels(gateway, upstream, line):
    upstream.play(answering(OK[:-4] + line + b"\r\n\r\nok"))
    script = upstream.script
    answer = gateway.ask(GET[:-2] + line + b"\r\n\r\n")
    assert line + b"\r\n" in script.requests[0].head
    assert line + b"\r\n" in answer.head


def test_order_case_and_duplicates_of_fields_are_kept_in_both_directions(gateway, upstream):
    lines = b"X-B: 1\r\nx-a: 2\r\nX-B: 3\r\nCookie: a=b\r\nX-a: 4\r\nCOOKIE: c=d\r\nx-b: 1, 2\r\n"
    upstream.play(answering(OK[:-4] + lines + b"\r\nok"))
    script = upstream.script
    answer = gateway.ask(GET[:-2] + lines + b"\r\n")
    assert lines in script.requests[0].head
    assert lines in answer.head


def test_set_cookie_is_never_joined_or_moved(gateway, upstream):
    cookies = [f"name{n}=value{n}; Expires=Wed, 21 Oct 2026 07:28:00 GMT" for n in range(20)]
    lines = "".join(f"{'Set-Cookie' if n % 3 else 'set-cookie'}: {cookie}\r\n" for n, cookie in enumerate(cookies))
    upstream.play(answering(OK[:-4] + lines.encode() + b"\r\nok"))
    assert gateway.ask().all("set-cookie") == cookies


def test_via_names_the_version_that_was_received(gateway, upstream):
    script = upstream.script
    gateway.ask(b"GET /a HTTP/1.0\r\nHost: h\r\n\r\n")
    gateway.ask(GET)
    assert [request.get("via") for request in script.requests] == ["1.0 archbench", "1.1 archbench"]


CHAINS = {
    "nothing": (b"", "127.0.0.1"),
    "one": (b"X-Forwarded-For: 10.0.0.1\r\n", "10.0.0.1, 127.0.0.1"),
    "a list": (b"X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", "10.0.0.1, 10.0.0.2, 127.0.0.1"),
    "several fields": (b"X-Forwarded-For: 10.0.0.1\r\nx-forwarded-for: 10.0.0.2\r\n", "10.0.0.1, 10.0.0.2, 127.0.0.1"),
    "an empty one": (b"X-Forwarded-For:\r\n", "127.0.0.1"),
}


@pytest.mark.parametrize(("lines", "chain"), CHAINS.values(), ids=CHAINS.keys())
def test_x_forwarded_for_is_one_field_that_ends_with_the_client(gateway, upstream, lines, chain):
    assert taken(gateway, upstream, GET[:-2] + lines + b"\r\n").all("x-forwarded-for") == [chain]


def test_x_forwarded_proto_and_host_are_not_the_clients_to_say(gateway, upstream):
    lines = b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nx-forwarded-host: worse\r\n"
    request = taken(gateway, upstream, GET[:-2] + lines + b"\r\n")
    assert (request.all("x-forwarded-proto"), request.all("x-forwarded-host")) == (["http"], ["h"])


LOOPS = {
    "one field": b"Via: " + b", ".join([b"1.1 archbench"] * 16) + b"\r\n",
    "16 fields": b"Via: 1.1 archbench\r\n" * 16,
    "among others": b"Via: 1.0 other, 1.1 archbench (a comment)\r\nvia:\t1.1 other\r\n" * 16,
    "no spaces": b"Via:" + b",".join([b"1.1 archbench"] * 16) + b"\r\n",
}


@pytest.mark.parametrize("lines", LOOPS.values(), ids=LOOPS.keys())
def test_a_request_that_passed_here_too_often_is_a_loop(gateway, upstream, lines):
    answer = gateway.ask(GET[:-2] + lines + b"\r\n")
    assert answer.status == 508
    assert upstream.wires == []


def test_via_of_others_is_no_loop(gateway, upstream):
    lines = b"Via: " + b", ".join([b"1.1 archbench2, 1.1 x-archbench, 1.1 other (archbench)"] * 20) + b"\r\n"
    assert taken(gateway, upstream, GET[:-2] + lines + b"\r\n").get("via").endswith(", 1.1 archbench")
