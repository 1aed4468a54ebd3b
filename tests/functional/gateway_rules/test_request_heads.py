"""The lines of a request's head: what is refused, and what travels on byte by byte (RFC 9110 5, RFC 9112 2, 3, 5)."""

import pytest

from tests.functional.gateway_rig import GET
from tests.functional.gateway_rules.asking import AFTER, POST, refused, taken, theirs

pytestmark = pytest.mark.functional

START = b"GET /a HTTP/1.1\r\n"

BAD_LINES = {
    "a folded line": b"Host: h\r\nX: a\r\n b\r\n",
    "a line folded with a tab": b"Host: h\r\nX: a\r\n\tb\r\n",
    "a folded line of white space": b"Host: h\r\nX: a\r\n \r\n",
    "a folded Host": b"Host:\r\n h\r\n",
    "a first line that begins with a space": b" X: a\r\nHost: h\r\n",
    "a first line that begins with a tab": b"\tX: a\r\nHost: h\r\n",
    "a space before the colon": b"Host: h\r\nX : a\r\n",
    "a tab before the colon": b"Host: h\r\nX\t: a\r\n",
    "a space before Host's colon": b"Host : h\r\n",
    "a space inside the name": b"Host: h\r\nX Y: a\r\n",
    "no name": b"Host: h\r\n: a\r\n",
    "no colon": b"Host: h\r\nX\r\n",
    "a request line": b"Host: h\r\nGET /a HTTP/1.1\r\n",
    "a NUL in the name": b"Host: h\r\nX\x00Y: a\r\n",
    "a control in the name": b"Host: h\r\nX\x01Y: a\r\n",
    "a letter beyond ASCII in the name": b"Host: h\r\nX\xe4: a\r\n",
    "a parenthesis in the name": b"Host: h\r\nX(: a\r\n",
    "a slash in the name": b"Host: h\r\nX/Y: a\r\n",
    "a quote in the name": b'Host: h\r\n"X": a\r\n',
    "a NUL in the value": b"Host: h\r\nX: a\x00b\r\n",
    "a NUL alone in the value": b"Host: h\r\nX: \x00\r\n",
    "a bare CR in the value": b"Host: h\r\nX: a\rb\r\n",
    "a bare CR that hides a field": b"Host: h\r\nX: a\rContent-Length: 5\r\n",
    "two CRs at the end of a line": b"Host: h\r\nX: a\r\r\n",
    "a bare LF that hides a field": b"Host: h\r\nX: a\nContent-Length: 5\r\n",
    "a bare LF after the name": b"Host: h\r\nX:\nY: a\r\n",
    "a control in the value": b"Host: h\r\nX: a\x01b\r\n",
    "a vertical tab in the value": b"Host: h\r\nX: a\x0bb\r\n",
    "a form feed in the value": b"Host: h\r\nX: a\x0cb\r\n",
    "an escape in the value": b"Host: h\r\nX: a\x1b[31mb\r\n",
    "DEL in the value": b"Host: h\r\nX: a\x7fb\r\n",
}


@pytest.mark.parametrize("lines", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_line_that_is_no_field_is_refused(gateway, upstream, lines):
    refused(gateway, upstream, START + lines + b"\r\n")


GOOD_LINES = {
    "no white space": (b"X:a", "a"),
    "tabs around it": (b"X:\t a\t ", "a"),
    "an empty value": (b"X:", ""),
    "a value of white space": (b"X: \t ", ""),
    "a tab inside": (b"X: a\tb", "a\tb"),
    "quotes and brackets": (b'X: "a\\"b" <c> (d) {e} [f]', '"a\\"b" <c> (d) {e} [f]'),
    "a colon": (b"X: a: b", "a: b"),
    "bytes beyond ASCII": (b"X: \xe4\xff\x80", "\xe4\xff\x80"),
    "UTF-8": (b"X: \xc3\xa4", "\xc3\xa4"),
    "every sign that a name may have": (b"!#$%&'*+-.^_`|~09azAZ: a", "a"),
    "7000 bytes": (b"X: " + b"a" * 7000, "a" * 7000),
}


@pytest.mark.parametrize(("line", "value"), GOOD_LINES.values(), ids=GOOD_LINES.keys())
def test_a_field_travels_as_it_came(gateway, upstream, line, value):
    request = taken(gateway, upstream, GET[:-2] + line + b"\r\n\r\n")
    name = line.partition(b":")[0].decode()
    assert theirs(request) == [("Host", "h"), (name, value)]
    assert line + b"\r\n" in request.head


BAD_REQUEST_LINES = {
    "two spaces after the method": (b"GET  /a HTTP/1.1", 400),
    "two spaces before the version": (b"GET /a  HTTP/1.1", 400),
    "a tab after the method": (b"GET\t/a HTTP/1.1", 400),
    "a tab before the version": (b"GET /a\tHTTP/1.1", 400),
    "a form feed after the method": (b"GET\x0c/a HTTP/1.1", 400),
    "a space before the method": (b" GET /a HTTP/1.1", 400),
    "a space after the version": (b"GET /a HTTP/1.1 ", 400),
    "more after the version": (b"GET /a HTTP/1.1 x", 400),
    "a space in the target": (b"GET /a b HTTP/1.1", 400),
    "a bare CR in the target": (b"GET /a\rb HTTP/1.1", 400),
    "a NUL in the target": (b"GET /a\x00 HTTP/1.1", 400),
    "a control in the target": (b"GET /a\x1f HTTP/1.1", 400),
    "DEL in the target": (b"GET /a\x7f HTTP/1.1", 400),
    "a fragment": (b"GET /a#b HTTP/1.1", 400),
    "no target": (b"GET HTTP/1.1", 400),
    "an empty target": (b"GET  HTTP/1.1", 400),
    "no slash": (b"GET a HTTP/1.1", 400),
    "* for GET": (b"GET * HTTP/1.1", 400),
    "an authority alone": (b"GET h:80 HTTP/1.1", 400),
    "no version": (b"GET /a", 400),
    "a version in lower case": (b"GET /a http/1.1", 400),
    "another protocol": (b"GET /a ICY/1.1", 400),
    "HTTP/1.": (b"GET /a HTTP/1.", 400),
    "HTTP/1": (b"GET /a HTTP/1", 400),
    "HTTP/01.1": (b"GET /a HTTP/01.1", 400),
    "HTTP/1.10": (b"GET /a HTTP/1.10", 400),
    "HTTP/-1.1": (b"GET /a HTTP/-1.1", 400),
    "HTTP/2.0": (b"GET /a HTTP/2.0", 505),
    "HTTP/0.9": (b"GET /a HTTP/0.9", 505),
    "HTTP/3.0": (b"GET /a HTTP/3.0", (400, 505)),
    "no method": (b" /a HTTP/1.1", 400),
    "a method that is no token": (b"G(T /a HTTP/1.1", 400),
    "a method with a NUL": (b"G\x00T /a HTTP/1.1", 400),
    "a method in lower case": (b"get /a HTTP/1.1", 501),
    "an unknown method": (b"FROB /a HTTP/1.1", 501),
    "CONNECT": (b"CONNECT h:80 HTTP/1.1", 501),
    "CONNECT to a path": (b"CONNECT /a HTTP/1.1", (400, 501)),
    "HTTP/2's preface": (b"PRI * HTTP/2.0", (400, 505)),
    "another scheme": (b"GET ftp://h/a HTTP/1.1", 400),
    "https": (b"GET https://h/a HTTP/1.1", 400),
    "an absolute target with user information": (b"GET http://user@h/a HTTP/1.1", 400),
    "an absolute target with a password": (b"GET http://user:word@h/a HTTP/1.1", 400),
    "an absolute target without an authority": (b"GET http:///a HTTP/1.1", 400),
    "an absolute target with one slash": (b"GET http:/a HTTP/1.1", 400),
    "an absolute target with a bad port": (b"GET http://h:x/a HTTP/1.1", 400),
    "an absolute target with a backslash": (b"GET http://h\\@evil/a HTTP/1.1", 400),
    "an absolute target with a fragment": (b"GET http://h/a#b HTTP/1.1", 400),
}


@pytest.mark.parametrize(("line", "status"), BAD_REQUEST_LINES.values(), ids=BAD_REQUEST_LINES.keys())
def test_a_request_line_that_is_not_by_the_letter_is_refused(gateway, upstream, line, status):
    refused(gateway, upstream, line + b"\r\nHost: h\r\n\r\n", status if isinstance(status, tuple) else (status,))


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH"])
def test_every_registered_method_of_rfc_9110_is_sent_on(gateway, upstream, method):
    assert (
        taken(gateway, upstream, method + b" /a HTTP/1.1\r\nHost: h\r\n\r\n").first == f"{method.decode()} /a HTTP/1.1"
    )


BAD_HOSTS = {
    "none": b"",
    "empty": b"Host:\r\n",
    "white space": b"Host: \t\r\n",
    "twice the same": b"Host: h\r\nHost: h\r\n",
    "two, far apart": b"Host: h\r\nX: a\r\nhost: other\r\n",
    "two, one empty": b"Host: h\r\nHost:\r\n",
    "a list": b"Host: h other\r\n",
    "a path": b"Host: h/x\r\n",
    "a query": b"Host: h?x\r\n",
    "a fragment": b"Host: h#x\r\n",
    "user information": b"Host: user@h\r\n",
    "a URL": b"Host: http://h\r\n",
    "a backslash": b"Host: h\\x\r\n",
    "quotes": b'Host: "h"\r\n',
    "angle brackets": b"Host: <h>\r\n",
    "braces": b"Host: {h}\r\n",
    "a bar": b"Host: h|x\r\n",
    "a caret": b"Host: h^x\r\n",
    "a port of letters": b"Host: h:http\r\n",
    "a port with a sign": b"Host: h:+80\r\n",
    "two ports": b"Host: h:80:81\r\n",
    "IPv6 without brackets": b"Host: ::1\r\n",
    "half a bracket": b"Host: [::1\r\n",
    "the other half": b"Host: ::1]\r\n",
    "letters in an IPv6 address": b"Host: [::g]\r\n",
    "after an IPv6 address": b"Host: [::1]x\r\n",
    "a lone percent": b"Host: h%\r\n",
    "a percent before no digits": b"Host: %zz\r\n",
    "letters beyond ASCII": b"Host: h\xc3\xa4\r\n",
    "a NUL": b"Host: h\x00\r\n",
    "a tab inside": b"Host: h\tx\r\n",
    "behind a bare LF": b"X: a\nHost: h\r\n",
}


@pytest.mark.parametrize("lines", BAD_HOSTS.values(), ids=BAD_HOSTS.keys())
def test_a_missing_second_or_invalid_host_is_refused(gateway, upstream, lines):
    refused(gateway, upstream, START + lines + b"\r\n")


@pytest.mark.parametrize("lines", [BAD_HOSTS["twice the same"], BAD_HOSTS["a path"], BAD_HOSTS["a lone percent"]])
def test_a_bad_host_is_refused_in_http_1_0_too(gateway, upstream, lines):
    refused(gateway, upstream, START.replace(b"1.1", b"1.0") + lines + b"Connection: keep-alive\r\n\r\n")


def test_a_bad_host_is_refused_whatever_the_target_says(gateway, upstream):
    for lines in (BAD_HOSTS["none"], BAD_HOSTS["two, far apart"], BAD_HOSTS["user information"]):
        refused(gateway, upstream, b"GET http://h/a HTTP/1.1\r\n" + lines + b"\r\n")


def test_a_bad_host_is_refused_after_a_good_one_on_the_same_connection(gateway):
    for lines in BAD_HOSTS.values():
        with gateway.connect() as wire:
            wire.send(GET + START + lines + b"\r\n" + AFTER)
            assert (wire.message().status, wire.message().status) == (200, 400)
            assert wire.to_close() == b""


GOOD_HOSTS = [
    "h",
    "Some.Host",
    "h:80",
    "h:",
    "a-b.c",
    "a_b",
    "10.0.0.1:8080",
    "[::1]",
    "[::1]:80",
    "%68",
    "xn--4ca",
    "h.",
]


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_a_host_travels_as_it_came(gateway, upstream, host):
    request = taken(gateway, upstream, START + f"Host: {host}\r\n\r\n".encode())
    assert (request.get("host"), request.get("x-forwarded-host")) == (host, host)


ABSOLUTE = {
    "another Host": (b"http://other/a/b?c", "other", "/a/b?c"),
    "another port": (b"http://h:81/a", "h:81", "/a"),
    "the same Host": (b"http://h/a", "h", "/a"),
    "a scheme in upper case": (b"HTTP://other/a", "other", "/a"),
    "an IPv6 address": (b"http://[::1]:80/a", "[::1]:80", "/a"),
    "raw path and query": (b"http://other/a//%2F/..;x?%zz=/?", "other", "/a//%2F/..;x?%zz=/?"),
}


@pytest.mark.parametrize(("target", "host", "path"), ABSOLUTE.values(), ids=ABSOLUTE.keys())
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_an_absolute_targets_authority_stands_in_for_host(gateway, upstream, target, host, path, version):
    script = upstream.script
    gateway.ask(b"GET " + target + b" HTTP/" + version + b"\r\nX: a\r\nHost: h\r\nY: b\r\n\r\n")
    (request,) = script.requests
    assert request.first == f"GET {path} HTTP/1.1"
    assert sorted(theirs(request)) == [("Host", host), ("X", "a"), ("Y", "b")]
    assert request.get("x-forwarded-host") == host


TARGETS = [
    "/a?",
    "/a?b=c&b=d",
    "/a??/?",
    "/a/%2f%2F",
    "/a/...",
    "/a/./b",
    "/a//b//",
    "/a/;b=c;d",
    "/a/b%20c+d",
    "/a/%",
    "/a/%zz",
    "/a/%00",
    "/a/%0d%0aX:%20evil",
    "/a/%C3%A4",
    "/a/~!$&'()*+,;=:@",
    '/a/"<>[]^`{|}\\',
    "/a?x=http://h/b",
    "/a/" + "b" * 7000,
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target[:24])
def test_path_and_query_travel_as_they_came(gateway, upstream, target):
    assert taken(gateway, upstream, GET.replace(b"/a", target.encode())).first == f"GET {target} HTTP/1.1"


@pytest.mark.parametrize("target", ["/a/../b", "/a/%2e%2E/b", "/a/..", "/a%2f..%5cb?c"])
def test_a_path_that_climbs_has_no_route(gateway, upstream, target):
    assert gateway.ask(GET.replace(b"/a", target.encode())).status == 404
    assert upstream.script.requests == []


EMPTY = {"CRLF": b"\r\n", "several": b"\r\n" * 5, "after a body": b"\r\n"}


@pytest.mark.parametrize("lines", EMPTY.values(), ids=EMPTY.keys())
def test_empty_lines_before_a_request_are_skipped(gateway, upstream, lines):
    script = upstream.script
    with gateway.connect() as wire:
        wire.send(lines + POST + b"Content-Length: 5\r\n\r\nhello" + lines + AFTER)
        assert (wire.message().status, wire.message().status) == (200, 200)
    assert [request.body for request in script.requests] == [b"hello", b""]


def test_a_head_in_two_pieces_is_read_wherever_it_is_cut(gateway, upstream):
    script = upstream.script
    head = b"GET /a/%2f?x HTTP/1.1\r\nhOST: h\r\nX: a\r\n\r\n"
    with gateway.connect() as wire:
        for cut in range(1, len(head)):
            wire.send(head[:cut], head[cut:], pause_s=0.001)
            assert wire.message().status == 200
    assert {request.first for request in script.requests} == {"GET /a/%2f?x HTTP/1.1"}
    assert {tuple(theirs(request)) for request in script.requests} == {(("hOST", "h"), ("X", "a"))}
    assert len(script.requests) == len(head) - 1
