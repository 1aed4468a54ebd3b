"""The client's parser: one answer a request, its end known exactly, however the bytes are cut."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.http1 import ProtocolError, ResponseParser, render_request

SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b \r\n\r\nhello"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-T: 1\r\n\r\n"
CLOSED = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nhello"
EARLY = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
LINE_END = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab\r\n"


def read(data, cuts=(), head_only=False, keep=True):
    parser = ResponseParser(keep_body=keep, keep_headers=keep)
    parser.begin(head_only)
    feed(parser, data, cuts)
    return parser


def feed(parser, data, cuts=()):
    points = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(points):
        if start < end:
            parser.feed(data[start:end])


def shown(parser):
    return parser.status, parser.headers, parser.body, parser.body_length, parser.keep_alive, parser.complete


WHOLE = {
    "sized": (SIZED, (200, [(b"Content-Length", b"5"), (b"X-A", b"b")], b"hello", 5, True, True)),
    "chunked": (CHUNKED, (201, [(b"Transfer-Encoding", b"chunked")], b"hello", 5, True, True)),
    "after interim": (EARLY + LINE_END, (200, [(b"Content-Length", b"4")], b"ab\r\n", 4, True, True)),
    "empty": (EMPTY, (204, [], b"", 0, True, True)),
    "HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        (200, [(b"Content-Length", b"0")], b"", 0, False, True),
    ),
    "wants to close": (
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\n!",
        (200, [(b"Connection", b"x, Close"), (b"Content-Length", b"1")], b"!", 1, False, True),
    ),
}


@pytest.mark.parametrize(("data", "expected"), WHOLE.values(), ids=WHOLE.keys())
@given(cuts=st.lists(st.integers(0, 150), max_size=8))
def test_an_answer_is_the_same_however_it_is_cut(data, expected, cuts):
    parser = read(data, [cut for cut in cuts if cut < len(data)])
    assert shown(parser) == expected
    assert not parser.eof()


@pytest.mark.parametrize("data", [SIZED, CHUNKED, EARLY + SIZED, LINE_END, EMPTY])
@pytest.mark.parametrize("extra", [b"\r\n", b"\n", b"H", b"\r\n\r\n", SIZED, b"\0"])
def test_bytes_after_an_answer_are_an_error_at_any_cut(data, extra):
    whole = data + extra
    for cut in range(len(whole)):
        with pytest.raises(ProtocolError):
            read(whole, [cut])


@pytest.mark.parametrize("data", [SIZED, CHUNKED, EARLY + SIZED])
def test_an_answer_that_is_cut_off_is_never_complete(data):
    for end in range(len(data)):
        parser = read(data[:end])
        assert not parser.complete
        with pytest.raises(ProtocolError):
            parser.eof()
        with pytest.raises(ProtocolError):
            parser.feed(b"x")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        EARLY + b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ],
)
def test_a_close_ends_a_body_without_a_length(head):
    for cut in range(len(head)):
        parser = read(head + b"hello", [cut])
        assert not parser.complete
        assert parser.eof()
        assert (parser.body, parser.complete, parser.keep_alive) == (b"hello", True, False)


def test_a_close_does_not_end_a_sized_body_on_a_connection_that_closes():
    for data in (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nCONTENT-LENGTH: 9\r\n\r\nhello",
        EARLY + b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello",
    ):
        for cut in range(len(data)):
            with pytest.raises(ProtocolError):
                read(data, [cut]).eof()


@pytest.mark.parametrize(
    ("data", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", True),
        (EARLY + b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", False),
    ],
)
def test_an_answer_to_head_ends_with_its_head(data, keep_alive):
    for cut in range(len(data)):
        parser = read(data, [cut], head_only=True)
        assert (parser.complete, parser.body, parser.keep_alive) == (True, b"", keep_alive)
        with pytest.raises(ProtocolError):
            read(data + b"h", [cut], head_only=True)
        parser.begin()
        feed(parser, SIZED)
        assert parser.body == b"hello"


@given(
    st.lists(st.tuples(st.sampled_from([SIZED, CHUNKED, EARLY + SIZED, EMPTY]), st.booleans()), max_size=6),
    st.booleans(),
)
def test_one_parser_reads_many_answers(answers, keep):
    parser = ResponseParser(keep_body=keep, keep_headers=keep)
    for data, cut in answers:
        parser.begin()
        feed(parser, data, [len(data) // 2] if cut else [])
        fresh = read(data, keep=keep)
        assert shown(parser) == shown(fresh)


def test_a_parser_recovers_for_a_new_connection():
    parser = ResponseParser()
    for bad in (
        b"garbage\r\n",
        SIZED + b"x",
        SIZED[:-2],
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ):
        parser.begin()
        with contextlib.suppress(ProtocolError):
            parser.feed(bad)
        parser.begin()
        parser.feed(SIZED)
        assert shown(parser) == WHOLE["sized"][1]


def test_bytes_before_any_request_answer_nothing():
    with pytest.raises(ProtocolError):
        ResponseParser().feed(SIZED)
    assert not ResponseParser().eof()


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 200 OK\nX: a\n\n",
        b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000,
    ],
)
@pytest.mark.parametrize("keep", [True, False])
def test_what_is_no_answer_is_an_error_at_any_cut(data, keep):
    for cut in (0, 1, 20, 33, 37, len(data) - 1):
        with pytest.raises(ProtocolError):
            read(data, [cut] if cut < len(data) else [], keep=keep)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise_anything_else(data):
    parser = ResponseParser()
    parser.begin()
    try:
        parser.feed(b"HTTP/1.1 200 OK\r\n" + data)
        parser.eof()
    except ProtocolError:
        pass


# -- requests ----------------------------------------------------------------------------------------------------------


def test_a_request_has_host_first_and_a_length_only_with_a_body():
    assert render_request("GET", "/a?b", "h:1", [("X", "y z")]) == b"GET /a?b HTTP/1.1\r\nHost: h:1\r\nX: y z\r\n\r\n"
    assert render_request("POST", "/", "h", (), b"ab") == b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"
    assert render_request("POST", "/", "h", body=b"") == b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("evil", ["\r", "\n", "\0", "\r\nX: y", "\x7f", "\u2028"])
def test_a_request_cannot_be_made_to_hold_a_second_one(evil):
    for arguments in (
        ("G" + evil, "/", "h", ()),
        ("GET", "/" + evil, "h", ()),
        ("GET", "/", "h" + evil, ()),
        ("GET", "/", "h", [("X" + evil, "y")]),
        ("GET", "/", "h", [("X", "y" + evil)]),
    ):
        with pytest.raises(ProtocolError):
            render_request(*arguments)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "a b", "", "a:"])
def test_a_request_is_framed_by_its_renderer_alone(name):
    with pytest.raises(ProtocolError):
        render_request("GET", "/", "h", [(name, "x")])
