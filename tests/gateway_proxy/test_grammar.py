"""The grammar of heads: the short way reads what the long way reads; llhttp is the witness that neither is generous."""

from __future__ import annotations

import re
from types import SimpleNamespace

import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway_proxy.http1 import CHUNKED, ProtocolError, RequestReader, ResponseReader, grammar
from gateway_proxy.http1.grammar import ANSWER, ANSWER_FIELDS, METHODS, REQUEST, REQUEST_FIELDS

NAMES = st.one_of(
    st.sampled_from(sorted(REQUEST_FIELDS)),
    st.sampled_from([b"Accept", b"x-a", b"Cookie", b"Hostess", b"Content-Lengt", b"Content-Length2", b"viaa", b"Tea"]),
).flatmap(lambda name: st.sampled_from([name, name.title(), name.upper()]))
VALUES = st.one_of(
    st.sampled_from(
        [b"h", b"h:80", b"5", b"05", b"5, 5", b"+5", b"chunked", b"gzip, chunked", b"keep-alive", b"close"]
    ),
    st.sampled_from(
        [b"close, x-a", b"100-continue", b"websocket", b"1.1 a", b"", b"\xe4", b"a\tb", b"[::1]:1", b"a b"]
    ),
)
SPACES = st.sampled_from([b"", b" ", b"\t", b"  "])
FIELDS = st.lists(st.tuples(NAMES, SPACES, VALUES, SPACES), max_size=6)
REQUEST_LINES = st.builds(
    lambda method, target, version: b"%b %b %b" % (method, target, version),
    st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"PATCH", b"PROPFIND", b"CONNECT", b"BREW", b"get"]),
    st.sampled_from([b"/", b"/a?b=%2f", b"/a#b", b"*", b"http://o/p", b"http://o", b"a", b"//", b"/a\xe4", b"/a;b"]),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1.1 "]),
)
STATUS_LINES = st.builds(
    lambda version, status: b"%b %b" % (version, status),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2"]),
    st.sampled_from(
        [b"200 OK", b"204 ", b"304 N", b"100 C", b"500 \xe4 x", b"200", b"99 x", b"600 x", b"2000 x", b"20"]
    ),
)
CHANGES = st.lists(
    st.tuples(st.integers(0, 300), st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b":", b"\x7f", b"\x80", b"\t"])),
    max_size=2,
)


def spoil(head, changes):
    """Put a byte where there was another, but keep the end of the head."""
    for place, byte in changes:
        at = place % max(1, len(head) - 4)
        head = head[:at] + byte + head[at + 1 :]
    body = head[:-4].replace(b"\r\n\r\n", b"\r\n")
    return body + b"\r\n\r\n"


def head_of(line, fields):
    return line + b"\r\n" + b"".join(b"%b:%b%b%b\r\n" % field for field in fields) + b"\r\n"


def heads(lines, first=()):
    starts = st.sampled_from([(), first])
    return st.builds(
        lambda line, start, fields, changes: spoil(head_of(line, [*start, *fields]), changes),
        lines,
        starts,
        FIELDS,
        CHANGES,
    )


REQUESTS = heads(REQUEST_LINES, ((b"Host", b" ", b"h", b""),))
ANSWERS = heads(STATUS_LINES, ((b"Content-Length", b" ", b"5", b""),))


def state(reader):
    return (reader.method, reader.target, reader.host, reader.length, reader.keep_alive, reader.http10, reader.offers)


@settings(max_examples=200)
@given(REQUESTS)
@example(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: \0\r\n\r\n")
@example(b"POST /a HTTP/1.1\r\nhost: h\r\nA: b\r\nContent-Length: 5\r\nB: c\r\n\r\n")
def test_a_plain_request_is_read_the_same_by_the_long_way(head):
    short, long = RequestReader("10.0.0.9"), RequestReader("10.0.0.9")
    try:
        end = short.read_plain(head)
    except ProtocolError:
        with pytest.raises(ProtocolError):
            long.read(head)
        return
    if end:
        assert end == len(head)
        long.read(head)
        assert state(short) == state(long)
        assert short.render(b"up:1") == long.render(b"up:1")


def test_most_requests_are_plain_and_those_that_need_thought_are_not():
    plain = b"GET /a HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nTea: x\r\nX-Forwarded: y\r\n\r\n"
    assert RequestReader("p").read_plain(plain + b"GET /next") == len(plain)
    for name in sorted(REQUEST_FIELDS - {b"content-length"}):
        head = b"GET /a HTTP/1.1\r\nHost: h\r\nAccept: x\r\n%b: a\r\n\r\n" % name.title()
        assert RequestReader("p").read_plain(head) == 0, name


class Witness:
    """llhttp's word about a head: the fields it found, or that it refuses."""

    def __init__(self, parser, head):
        self.fields = []
        try:
            parser(SimpleNamespace(on_header=lambda name, value: self.fields.append((name, value)))).feed_data(head)
            self.accepts = True
        except httptools.HttpParserUpgrade:
            self.accepts = True
        except httptools.HttpParserError as error:
            self.accepts = False
            self.why = str(error)


def fields_in(head):
    lines = head.split(b"\r\n")[1:-2]
    return [(line.partition(b":")[0], line.partition(b":")[2].lstrip(b" \t")) for line in lines]


@settings(max_examples=200)
@given(REQUESTS)
@example(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\nContent-Length: 5\r\n\r\n")
def test_no_request_passes_that_llhttp_refuses_and_both_see_the_same_fields(head):
    reader = RequestReader("10.0.0.9")
    try:
        reader.read(head)
    except ProtocolError:
        return
    witness = Witness(httptools.HttpRequestParser, head)
    assert witness.accepts, witness.why
    assert [(name, value.lstrip(b" \t")) for name, value in witness.fields] == fields_in(head)


@settings(max_examples=200)
@given(ANSWERS)
@example(b"HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n\r\n")
def test_no_answer_passes_that_llhttp_refuses_and_both_see_the_same_fields(head):
    reader = ResponseReader()
    try:
        reader.read(head)
    except ProtocolError:
        return
    witness = Witness(httptools.HttpResponseParser, head)
    assert witness.accepts, witness.why
    assert [(name, value.lstrip(b" \t")) for name, value in witness.fields] == fields_in(head)


@settings(max_examples=200)
@given(ANSWERS)
@example(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nA: b\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n\r\n")
def test_a_plain_answer_is_read_the_same_by_the_long_way(head):
    short, long = ResponseReader(), ResponseReader()
    end = short.read_plain(head)
    if end:
        assert end == len(head)
        long.read(head)
        assert (short.status, short.length, short.keep_alive) == (long.status, long.length, long.keep_alive)
        assert short.render(b"", chunked=False) == long.render(b"", chunked=False)
        assert short.render(b"A: b\r\n", chunked=False).count(b"A: b\r\n") >= 1
        assert short.render_whole(head + b"body", end) == long.render(b"", chunked=False) + b"body"


def test_an_answer_that_needs_thought_is_not_plain():
    for name in sorted(ANSWER_FIELDS - {b"content-length"}):
        assert ResponseReader().read_plain(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n%b: a\r\n\r\n" % name) == 0, name
    for status in (100, 204, 304, 600):
        assert ResponseReader().read_plain(b"HTTP/1.1 %d X\r\nContent-Length: 1\r\n\r\n" % status) == 0


@pytest.mark.timeout(20)
def test_a_megabyte_of_malice_is_refused_in_no_more_than_linear_time():
    """A pattern that backtracks would take hours here."""
    for piece, end in (
        (b"a: b\r\n", b"\0\r\n\r\n"),
        (b"aaa", b"\r\n\r\n"),
        (b"Connection: keep-alive\r\n", b"\n\r\n\r\n"),
    ):
        fields = piece * (1_000_000 // len(piece)) + end
        request, answer = b"GET / HTTP/1.1\r\nHost: h\r\n" + fields, b"HTTP/1.1 200 OK\r\n" + fields
        assert (REQUEST(request), ANSWER(answer)) == (None, None)
        assert (RequestReader("p").read_plain(request), ResponseReader().read_plain(answer)) == (0, 0)


def test_methods_that_are_known_are_known_to_llhttp():
    unknown = [
        method
        for method in sorted(METHODS)
        if not Witness(httptools.HttpRequestParser, b"%b / HTTP/1.1\r\n\r\n" % method).accepts
    ]
    assert unknown in ([], [b"CONNECT"])


def test_where_a_request_of_unknown_framing_ends_is_never_guessed():
    for fields in (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n"):
        reader = RequestReader("p")
        with pytest.raises(ProtocolError):
            reader.read(b"POST / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n")
        assert reader.length == CHUNKED


@pytest.mark.parametrize("name", ["PLAIN_REQUEST", "PLAIN_ANSWER", "REQUEST", "ANSWER", "FIELD_LINES", "METHOD"])
def test_no_group_is_possessive(name):
    """Python before 3.11.5 does not match some such groups (gh-106052): plain heads would go the long way."""
    pattern = getattr(grammar, name).__self__.pattern
    assert not re.search(rb"(?<!\\)\)(?:\*|\+|\?|\{[0-9,]+\})\+", pattern)


def test_the_usual_heads_are_plain():
    request = b"GET /a?b HTTP/1.1\r\nHost: h\r\nUser-Agent: x\r\nAccept: */*\r\nContent-Length: 2\r\nX-A: b\r\n\r\n"
    answer = (
        b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 24 Nov 2026 20:20:20 GMT\r\nContent-Type: a/b\r\n"
        b"Content-Length: 100\r\nConnection: keep-alive\r\nETag: x\r\n\r\n"
    )
    assert grammar.PLAIN_REQUEST(request).groups() == (b"GET", b"/a?b", b"h", b"2")
    assert grammar.PLAIN_ANSWER(answer).groups() == (b"200", None, b"100", b"Connection: keep-alive\r\n")
