"""The reader that judges the gateway, and the readers beside it: what each makes of the same bytes."""

import pytest

from tests.fuzz.readers import READERS, disagreement
from tests.fuzz.strict import read_answers, read_requests

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
SIZED = b"POST /b?c HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"PUT /d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n3;x\r\nabc\r\n02\r\nde\r\n0\r\nX: y\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"


def test_requests_are_read_one_after_another():
    reading = read_requests(GET + SIZED + CHUNKED + GET)
    assert [message.target for message in reading.messages] == [b"/a", b"/b?c", b"/d", b"/a"]
    assert [message.body for message in reading.messages] == [b"", b"hello", b"abcde", b""]
    assert reading.messages[2].trailers == [(b"X", b"y")]
    assert (reading.broken, reading.partial, reading.rest) == ("", None, b"")


@pytest.mark.parametrize("whole", [GET, SIZED, CHUNKED])
def test_no_part_of_a_request_is_whole_or_broken(whole):
    for end in range(len(whole)):
        reading = read_requests(whole[:end])
        assert (reading.messages, reading.broken) == ([], "")
        assert reading.rest == whole[:end]


BROKEN = {
    "length and coding": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "a length of 2^63": POST + b"Content-Length: 9223372036854775808\r\n\r\n",
    "another coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded line": GET[:-2] + b"X: a\r\n b\r\n\r\n",
    "a space before the colon": GET[:-2] + b"X : a\r\n\r\n",
    "a bare LF": GET[:-2] + b"X: a\nY: b\r\n\r\n",
    "a NUL": GET[:-2] + b"X: a\0\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    "a bad Host": b"GET / HTTP/1.1\r\nHost: h%\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: h\r\n\r\n",
    "a bad size": POST + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "a long chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
    "a bare LF after a size": POST + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
    "a folded trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n b\r\n\r\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_what_could_be_read_in_two_ways_is_broken(data):
    reading = read_requests(GET + data)
    assert len(reading.messages) == 1
    assert reading.broken
    assert reading.rest == data


def test_an_answers_end_depends_on_what_was_asked():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    reading = read_answers(b"HTTP/1.1 100 C\r\n\r\n" + head + head + b"hello", [b"HEAD", b"GET"], closed=False)
    assert [(message.status, message.body) for message in reading.messages] == [(100, b""), (200, b""), (200, b"hello")]


def test_an_answer_up_to_the_close_is_whole_only_after_a_clean_one():
    data = b"HTTP/1.1 200 OK\r\n\r\nhello"
    assert read_answers(data, [b"GET"], closed=True).messages[0].body == b"hello"
    assert read_answers(data, [b"GET"], closed=False).messages == []


def test_an_answer_that_nobody_asked_for_is_broken():
    answer = b"HTTP/1.1 204 No Content\r\n\r\n"
    assert read_answers(answer * 2, [b"GET"], closed=False).broken


def test_every_reader_reads_correct_requests_alike():
    assert disagreement(GET + SIZED + CHUNKED + GET) == ""
    assert {
        name: len(reader(GET + SIZED + CHUNKED + GET).requests) for name, reader in READERS.items()
    } == dict.fromkeys(READERS, 4)


@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
        POST + b"Content-Length: %d\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" % (5 + len(GET)) + GET,
        POST + b"X: a\nContent-Length: 5\r\n\r\nhello" + GET,
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n" + GET,
        GET[:-2] + b"X: a\r\n\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
    ids=["both", "a coding that some take for chunked", "a hidden length", "LF after a size", "LF before a request"],
)
def test_readers_disagree_about_what_smugglers_send(data):
    assert disagreement(data)
