"""The gateway's half of the wire: what is cut, kept and added; where chunked bodies end, with llhttp as the oracle."""

from __future__ import annotations

import contextlib
import gc
import itertools

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway_proxy.http1 import (
    CHUNKED,
    UNTIL_CLOSE,
    ChunkedBody,
    ProtocolError,
    RequestReader,
    ResponseReader,
    chunk,
    last_chunk,
)

TOKEN = st.text("abcXYZ-_019", min_size=1, max_size=8).map(lambda text: f"x{text}")
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=12)
OWN = b"X-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\nVia: 1.1 archbench\r\n\r\n"


def head_of(line, fields):
    return line + b"".join(b"%b: %b\r\n" % (n.encode(), v.encode("latin-1")) for n, v in fields) + b"\r\n"


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=10))
def test_end_to_end_fields_pass_untouched(fields):
    head = head_of(b"GET /p HTTP/1.1\r\nHost: h\r\n", fields)
    reader = RequestReader("10.0.0.9")
    for _ in range(2):
        reader.read(head)
        assert reader.render(b"up") == head[:-2] + OWN
    answer = head_of(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", fields)
    responses = ResponseReader()
    responses.read(answer)
    assert responses.render(b"", chunked=False) == answer[:-2] + b"Via: 1.1 archbench\r\n\r\n"


@given(st.lists(st.tuples(TOKEN, VALUE), max_size=8), st.sets(st.integers(0, 7)), st.randoms())
def test_fields_that_connection_names_are_dropped_wherever_they_stand(fields, chosen, random):
    named = {name.lower() for index, (name, _) in enumerate(fields) if index in chosen}
    listed = ", ".join(random.choice([name, name.upper()]) for name in sorted(named))
    everything = [*fields, ("Connection", listed), ("Keep-Alive", "5"), ("TE", "trailers")]
    random.shuffle(everything)
    reader = RequestReader("10.0.0.9")
    reader.read(head_of(b"GET /p HTTP/1.1\r\nHost: h\r\n", everything))
    dropped = named | {"connection", "keep-alive", "te"}
    kept = [(name, value) for name, value in everything if name.lower() not in dropped]
    assert reader.render(b"up") == head_of(b"GET /p HTTP/1.1\r\nHost: h\r\n", kept)[:-2] + OWN


def test_a_reader_keeps_nothing_of_the_request_before():
    reader = RequestReader("10.0.0.9")
    reader.read(b"POST / HTTP/1.0\r\nConnection: keep-alive, X\r\nVia: 1.0 a\r\nX: y\r\nContent-Length: 5\r\n\r\n")
    assert (reader.length, reader.http10, reader.keep_alive, reader.host) == (5, True, True, None)
    assert reader.render(b"up:1").startswith(b"POST / HTTP/1.1\r\nHost: up:1\r\nContent-Length: 5\r\nX-Forw")
    plain = b"GET /p HTTP/1.1\r\nHost: h\r\nX: z\r\n\r\n"
    reader.read(plain)
    assert (reader.length, reader.http10, reader.keep_alive, reader.host) == (0, False, True, b"h")
    assert reader.render(b"up:1") == plain[:-2] + OWN


@pytest.mark.parametrize(
    ("fields", "length", "keep_alive"),
    [
        (b"Content-Length: 7 \r\n", 7, True),
        (b"Content-Length: 7\r\nConnection: close\r\n", 7, False),
        (b"Transfer-Encoding: Chunked\r\n", CHUNKED, True),
        (b"", UNTIL_CLOSE, False),
        (b"Connection: keep-alive\r\n", UNTIL_CLOSE, False),
        (b"Connection: x\r\nConnection: close\r\nContent-Length: 0\r\n", 0, False),
        (b"Connection: close\r\nConnection: keep-alive\r\nContent-Length: 0\r\n", 0, False),
    ],
)
def test_the_framing_of_an_answer(fields, length, keep_alive):
    reader = ResponseReader()
    reader.read(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
    assert (reader.length, reader.keep_alive) == (length, keep_alive)


@pytest.mark.parametrize("status", [100, 103, 204, 304])
def test_some_answers_have_no_body_and_keep_the_connection(status):
    for fields in (b"", b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n"):
        reader = ResponseReader()
        reader.read(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, fields))
        assert (reader.length, reader.keep_alive) == (0, True)
        assert b"Transfer-Encoding" not in reader.render(b"", chunked=False)


@given(st.binary(max_size=120))
def test_arbitrary_heads_raise_nothing_but_protocol_errors(data):
    head = data.replace(b"\r\n\r\n", b"") + b"\r\n\r\n"
    for reader, start in (
        (RequestReader("p"), b"GET / HTTP/1.1\r\nHost: h\r\n"),
        (ResponseReader(), b"HTTP/1.1 200 OK\r\n"),
    ):
        for whole in (head, start + head):
            try:
                reader.read(whole)
                assert whole.endswith(b"\r\n\r\n")
            except ProtocolError:
                break


# -- chunked bodies ----------------------------------------------------------------------------------------------------


def encode(pieces, extension=b""):
    lines = [b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces if piece]
    return b"".join(lines) + b"0\r\n\r\n"


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.lists(st.integers(0, 300), max_size=8),
    st.binary(max_size=10),
    st.sampled_from([b"", b";a", b";a=b", b';a="b c"']),
)
def test_a_chunked_body_is_the_same_however_it_is_cut(pieces, cuts, after, extension):
    data = encode(pieces, extension) + after
    body = ChunkedBody()
    payload = b""
    points = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for start, end in itertools.pairwise(points):
        if body.complete:
            after = after[: len(after) - (len(data) - start)]
            break
        payload += body.read(data[start:end])
    assert (payload, body.complete, body.rest) == (b"".join(pieces), True, after)


@given(st.binary(max_size=60))
@example(b"5\r\nhello\r\n0\r\n\r\n")
@example(b"0\r\nX: y\r\n\r\n")
def test_what_is_accepted_here_llhttp_accepts_too_with_the_same_payload(data):
    body = ChunkedBody()
    try:
        payload = body.read(data)
        body.trailers()
    except ProtocolError:
        return
    if body.complete:
        theirs = Collector()
        parser = httptools.HttpRequestParser(theirs)
        parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + data[: len(data) - len(body.rest)])
        assert (theirs.payload, theirs.complete) == (payload, True)


class Collector:
    def __init__(self):
        self.payload, self.complete = b"", False

    def on_body(self, data):
        self.payload += data

    def on_message_complete(self):
        self.complete = True


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n", b"+1\r\n", b"-1\r\n", b"0x1\r\n", b"1_0\r\n", b" 1\r\n", b"1 \r\n", b"1 ;a\r\n", b"g\r\n",
        b";a\r\n", b"1\n", b"1;a\nb\r\n", b"1;a\rb\r\n", b"1;\x00\r\n", b"ffffffffffffffff\r\n", b"2\r\nabc\r\n",
        b"1\r\na\n", b"1\r\na\rb",
        b"0\r\n\n", b"0\r\nX: y\n\r\n", b"1;" + b"a" * 5000, b"0\r\nX: " + b"a" * 70000, b"0\r\n" + b"X: y\r\n" * 20000,
    ],
)  # fmt: skip
def test_broken_chunks_are_refused_at_any_cut(data):
    for cut in range(min(len(data), 12)):
        with pytest.raises(ProtocolError):
            read_in_two(data, cut)


def read_in_two(data, cut):
    body = ChunkedBody()
    for part in (data[:cut], data[cut:]):
        if part:
            body.read(part)


@pytest.mark.parametrize("trailers", [b"X\r\n", b" X: y\r\n", b"X : y\r\n", b"X: \0\r\n", b"X: a\r\n b\r\n"])
def test_broken_trailers_are_refused(trailers):
    body = ChunkedBody()
    body.read(b"0\r\n" + trailers + b"\r\n")
    with pytest.raises(ProtocolError):
        body.trailers()


def test_trailers_that_frame_or_route_do_not_travel():
    body = ChunkedBody()
    body.read(b"0\r\nX: y\r\nContent-Length: 5\r\nHOST: z\r\nTransfer-Encoding: chunked\r\nY: z\r\n\r\n")
    assert body.trailers() == b"X: y\r\nY: z\r\n"


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_chunks_that_are_written_can_be_read(pieces):
    body = ChunkedBody()
    written = b"".join(map(chunk, pieces)) + last_chunk(b"X: y\r\n")
    assert body.read(written) == b"".join(pieces)
    assert (body.complete, body.trailers()) == (True, b"X: y\r\n")


def test_many_small_chunks_cost_linear_time():
    data = b"1\r\nx\r\n" * 200_000
    assert len(ChunkedBody().read(data)) == 200_000


@pytest.mark.parametrize(
    "data", [b"5\r\nhello\r\n0\r\nX: a\r\n\r\n", b"5\r\nhel", b"5\r\nhello\r\n0\r\n", b"", b"no size\r\n"]
)
def test_a_body_leaves_nothing_to_the_garbage_collector(data):
    """It looks seldom: what waits for it looks like a leak for the first tens of thousands of bodies."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            body = ChunkedBody()
            with contextlib.suppress(ProtocolError):
                body.read(data)
        del body
        assert gc.collect() == 0
    finally:
        gc.enable()
