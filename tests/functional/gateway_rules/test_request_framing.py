"""Where a request's body ends: Content-Length, Transfer-Encoding, chunks and trailers (RFC 9112 6, 7)."""

import contextlib

import pytest

from tests.functional.gateway_rules.asking import AFTER, CHUNKED, POST, refused, taken

pytestmark = pytest.mark.functional

HELLO = b"5\r\nhello\r\n0\r\n\r\n"
# To who reads up to the length it is a body; to who reads chunks, a body of nothing and another request.
DISPUTED = b"0\r\n\r\n" + AFTER

BAD_LENGTHS = {
    "two that are equal": b"Content-Length: 5\r\nContent-Length: 5",
    "two that differ": b"Content-Length: 5\r\nContent-Length: 6",
    "two that differ, 0 first": b"Content-Length: 0\r\ncontent-length: 5",
    "two that differ, 0 last": b"Content-Length: 5\r\nCONTENT-LENGTH: 0",
    "two with a field between": b"Content-Length: 5\r\nX: a\r\nContent-Length: 6",
    "a list of equal ones": b"Content-Length: 5, 5",
    "a list of different ones": b"Content-Length: 5, 6",
    "a list with an empty member": b"Content-Length: 5,",
    "a list that begins with an empty member": b"Content-Length: ,5",
    "a plus sign": b"Content-Length: +5",
    "a minus sign": b"Content-Length: -5",
    "minus 0": b"Content-Length: -0",
    "hexadecimal": b"Content-Length: 0x5",
    "hexadecimal digits": b"Content-Length: a",
    "an underscore": b"Content-Length: 0_5",
    "a fraction": b"Content-Length: 5.0",
    "an exponent": b"Content-Length: 5e0",
    "empty": b"Content-Length:",
    "white space alone": b"Content-Length: \t ",
    "a word": b"Content-Length: five",
    "quoted": b'Content-Length: "5"',
    "two numbers": b"Content-Length: 5 5",
    "a parameter": b"Content-Length: 5;x",
    "a vertical tab after it": b"Content-Length: 5\x0b",
    "a form feed before it": b"Content-Length: \x0c5",
    "a NUL after it": b"Content-Length: 5\x00",
    "a bare CR after it": b"Content-Length: 5\r 5",
    "digits of another script": "Content-Length: \u0665".encode(),
    "a non-breaking space before it": b"Content-Length: \xa05",
    "2^63": b"Content-Length: 9223372036854775808",
    "2^64": b"Content-Length: 18446744073709551616",
    "2^64 + 5": b"Content-Length: 18446744073709551621",
    "forty digits": b"Content-Length: " + b"9" * 40,
    "on a folded line": b"Content-Length:\r\n 5",
    "a space before the colon": b"Content-Length : 5",
    "behind a bare LF": b"X: a\nContent-Length: 5",
}


@pytest.mark.parametrize("field", BAD_LENGTHS.values(), ids=BAD_LENGTHS.keys())
def test_an_invalid_length_is_refused(gateway, upstream, field):
    refused(gateway, upstream, POST + field + b"\r\n\r\nhello")


GOOD_LENGTHS = {
    "plain": b"Content-Length: 5",
    "no space after the colon": b"Content-Length:5",
    "white space around it": b"Content-Length: \t5 \t",
    "leading zeros": b"Content-Length: 000000000000000000005",
    "another case": b"cOnTeNt-LeNgTh: 5",
    "named by Connection": b"Connection: content-length\r\nContent-Length: 5",
}


@pytest.mark.parametrize("field", GOOD_LENGTHS.values(), ids=GOOD_LENGTHS.keys())
def test_a_valid_length_frames_the_body(gateway, upstream, field):
    request = taken(gateway, upstream, POST + field + b"\r\n\r\nhello")
    assert (request.body, int(request.get("content-length")), request.get("transfer-encoding")) == (b"hello", 5, None)


def test_no_length_is_no_body(gateway, upstream):
    assert taken(gateway, upstream, POST + b"\r\n").body == b""


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"OPTIONS", b"PUT", b"PATCH"])
def test_a_body_is_sent_on_whatever_the_method(gateway, upstream, method):
    request = method + POST[4:] + b"Content-Length: 5\r\n\r\nhello"
    assert taken(gateway, upstream, request).body == b"hello"


CODED_AND_SIZED = {
    "length first": b"Content-Length: %d\r\nTransfer-Encoding: chunked",
    "coding first": b"Transfer-Encoding: chunked\r\nContent-Length: %d",
    "far apart": b"Content-Length: %d\r\nX: a\r\nY: b\r\nTransfer-Encoding: chunked",
    "a coding that is not chunked": b"Content-Length: %d\r\nTransfer-Encoding: xchunked",
    "identity": b"Content-Length: %d\r\nTransfer-Encoding: identity",
    "an empty coding": b"Content-Length: %d\r\nTransfer-Encoding:",
    "a tab before the coding": b"Content-Length: %d\r\nTransfer-Encoding:\tchunked",
    "a vertical tab before the coding": b"Content-Length: %d\r\nTransfer-Encoding: \x0bchunked",
    "a space before the coding's colon": b"Content-Length: %d\r\nTransfer-Encoding : chunked",
    "a folded coding": b"Content-Length: %d\r\nTransfer-Encoding:\r\n chunked",
    "a coding folded into another field": b"Content-Length: %d\r\nX: a\r\n Transfer-Encoding: chunked",
    "a coding behind a bare LF": b"Content-Length: %d\r\nX: a\nTransfer-Encoding: chunked",
    "a coding behind a bare CR": b"Content-Length: %d\r\nX: a\rTransfer-Encoding: chunked",
    "a coding with a NUL in its name": b"Content-Length: %d\r\nTransfer-Encoding\x00: chunked",
    "a coding between quotes": b'Content-Length: %d\r\nX: "\r\nTransfer-Encoding: chunked\r\nY: "',
    "a coding that Connection names": (
        b"Content-Length: %d\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked"
    ),
    "a length that Connection names": b"Connection: content-length\r\nContent-Length: %d\r\nTransfer-Encoding: chunked",
}


@pytest.mark.parametrize("fields", CODED_AND_SIZED.values(), ids=CODED_AND_SIZED.keys())
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_length_with_a_coding_is_refused(gateway, upstream, fields, version):
    head = POST.replace(b"1.1", version) + fields % len(DISPUTED) + b"\r\nConnection: keep-alive\r\n\r\n"
    refused(gateway, upstream, head + DISPUTED, (400, 501))


def test_a_length_of_0_with_a_coding_is_refused(gateway, upstream):
    refused(gateway, upstream, POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO)


@pytest.mark.parametrize("name", [b"Transfer_Encoding", b"Transfer-Encoding-", b"X-Transfer-Encoding", b"TE"])
def test_a_field_that_is_only_like_a_coding_frames_nothing(gateway, upstream, name):
    request = taken(gateway, upstream, POST + b"Content-Length: 5\r\n" + name + b": chunked\r\n\r\nhello")
    assert (request.body, request.get("transfer-encoding")) == (b"hello", None)


BAD_CODINGS = {
    "gzip": b"gzip",
    "gzip, then chunked": b"gzip, chunked",
    "chunked, then gzip": b"chunked, gzip",
    "chunked twice": b"chunked, chunked",
    "chunked twice, as two fields": b"chunked\r\nTransfer-Encoding: chunked",
    "gzip and chunked, as two fields": b"gzip\r\nTransfer-Encoding: chunked",
    "chunked and identity, as two fields": b"chunked\r\nTransfer-Encoding: identity",
    "identity": b"identity",
    "identity, then chunked": b"identity, chunked",
    "empty": b"",
    "an empty member before": b", chunked",
    "an empty member after": b"chunked,",
    "xchunked": b"xchunked",
    "chunkedx": b"chunkedx",
    "a parameter": b"chunked;q=1",
    "quoted": b'"chunked"',
    "a vertical tab before": b"\x0bchunked",
    "a vertical tab after": b"chunked\x0b",
    "a form feed before": b"\x0cchunked",
    "a NUL after": b"chunked\x00",
    "a non-breaking space before": b"\xa0chunked",
    "a letter beyond ASCII": "chun\u212aed".encode(),  # the Kelvin sign, whose lower case is k
    "a folded line": b"\r\n chunked",
}


@pytest.mark.parametrize("value", BAD_CODINGS.values(), ids=BAD_CODINGS.keys())
def test_a_coding_other_than_chunked_alone_is_refused(gateway, upstream, value):
    refused(gateway, upstream, POST + b"Transfer-Encoding: " + value + b"\r\n\r\n" + HELLO, (400, 501))


@pytest.mark.parametrize("keep", [b"", b"Connection: keep-alive\r\n"])
def test_a_coding_in_http_1_0_is_refused(gateway, upstream, keep):
    refused(gateway, upstream, b"POST /a HTTP/1.0\r\n" + keep + b"Transfer-Encoding: chunked\r\n\r\n" + HELLO)


GOOD_CODINGS = {
    "plain": b"Transfer-Encoding: chunked",
    "upper case": b"TRANSFER-ENCODING: CHUNKED",
    "white space around it": b"Transfer-Encoding:\t chunked  ",
    "named by Connection": b"Connection: transfer-encoding\r\nTransfer-Encoding: chunked",
}


@pytest.mark.parametrize("field", GOOD_CODINGS.values(), ids=GOOD_CODINGS.keys())
def test_chunked_alone_frames_the_body(gateway, upstream, field):
    request = taken(gateway, upstream, POST + field + b"\r\n\r\n" + HELLO)
    assert (request.body, request.get("transfer-encoding").lower(), request.get("content-length")) == (
        b"hello",
        "chunked",
        None,
    )


BAD_CHUNKS = {
    "a plus sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a minus sign": b"-5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "a space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "a space after the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "a tab after the size": b"5\t\r\nhello\r\n0\r\n\r\n",
    "a vertical tab after the size": b"5\x0b\r\nhello\r\n0\r\n\r\n",
    "a NUL after the size": b"5\x00\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "an extension without a size": b";a\r\nhello\r\n0\r\n\r\n",
    "a letter that is no digit": b"g\r\nhello\r\n0\r\n\r\n",
    "digits of another script": "\u0665\r\nhello\r\n0\r\n\r\n".encode(),
    "two sizes": b"5 5\r\nhello\r\n0\r\n\r\n",
    "17 digits": b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "2^64 + 5": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "LF alone after the size": b"5\nhello\r\n0\r\n\r\n",
    "CR alone after the size": b"5\rhello\r\n0\r\n\r\n",
    "LF alone after the data": b"5\r\nhello\n0\r\n\r\n",
    "CR alone after the data": b"5\r\nhello\r0\r\n\r\n",
    "nothing after the data": b"5\r\nhello0\r\n\r\n",
    "other bytes after the data": b"5\r\nhelloXX0\r\n\r\n",
    "more data than the size": b"3\r\nhello\r\n0\r\n\r\n",
    "less data than the size": b"6\r\nhello\r\n0\r\n\r\n",
    "a size line that begins with an empty one": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "a minus sign on the last chunk": b"5\r\nhello\r\n-0\r\n\r\n",
    "LF alone after the last chunk": b"5\r\nhello\r\n0\n\r\n",
    "LF alone at the end": b"5\r\nhello\r\n0\r\n\n",
    "CR alone at the end": b"5\r\nhello\r\n0\r\n\r\r",
    "a bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a bare CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "a NUL in an extension": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    "an extension of 5000 bytes": b"5;a=" + b"b" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    "a size of 5000 zeros": b"0" * 5000 + b"5\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("body", BAD_CHUNKS.values(), ids=BAD_CHUNKS.keys())
def test_broken_chunks_are_refused(gateway, upstream, body):
    refused(gateway, upstream, CHUNKED + body)


def test_a_chunk_that_breaks_off_late_never_looks_complete_to_the_upstream(gateway, upstream):
    def script(wire):
        wire.until(b"hello\r\n")
        assert wire.gone()
        assert b"0\r\n\r\n" not in wire.seen

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(CHUNKED + b"5\r\nhello\r\n")
        upstream.wait_for(connections=1)
        wire.send(b"+5\r\nhello\r\n0\r\n\r\n" + AFTER)
        assert wire.message().status == 400
        assert wire.to_close() == b""


GOOD_CHUNKS = {
    "several": b"2\r\nhe\r\n1\r\nl\r\n2\r\nlo\r\n0\r\n\r\n",
    "leading zeros": b"000005\r\nhello\r\n0\r\n\r\n",
    "a last chunk of several zeros": b"5\r\nhello\r\n000\r\n\r\n",
    "an extension": b"5;a=b\r\nhello\r\n0;c\r\n\r\n",
    "an extension without a value": b"5;a\r\nhello\r\n0\r\n\r\n",
    "an extension in quotes": b'5;a="b;c \\" d"\r\nhello\r\n0\r\n\r\n',
    "an extension with white space": b"5; a = b ; c\r\nhello\r\n0\r\n\r\n",
    "two extensions": b"5;a=b;c=d\r\nhello\r\n0\r\n\r\n",
    "an extension beyond ASCII": b'5;a="\xc3\xa4"\r\nhello\r\n0\r\n\r\n',
}


@pytest.mark.parametrize("body", GOOD_CHUNKS.values(), ids=GOOD_CHUNKS.keys())
def test_chunks_are_read_and_framed_anew(gateway, upstream, body):
    request = taken(gateway, upstream, CHUNKED + body)
    assert request.body == b"hello"
    assert request.raw_body.lower() in (b"5\r\nhello\r\n0\r\n", b"2\r\nhe\r\n1\r\nl\r\n2\r\nlo\r\n0\r\n")


def test_sizes_have_digits_in_both_cases(gateway, upstream):
    body = b"a\r\n0123456789\r\nA\r\n0123456789\r\n1B\r\n" + b"x" * 27 + b"\r\n0\r\n\r\n"
    assert taken(gateway, upstream, CHUNKED + body).body == b"0123456789" * 2 + b"x" * 27


def test_data_that_looks_like_framing_is_data(gateway, upstream):
    data = b"0\r\n\r\n" + AFTER
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
    assert taken(gateway, upstream, CHUNKED + body).body == data


FORGED_TRAILERS = {
    "Content-Length": b"Content-Length: 50",
    "Content-Length in another case": b"cOnTent-lEngth: 50",
    "Transfer-Encoding": b"Transfer-Encoding: chunked",
    "Host": b"Host: evil",
    "Connection": b"Connection: close",
    "Keep-Alive": b"Keep-Alive: timeout=1",
    "TE": b"TE: gzip",
    "Trailer": b"Trailer: X",
    "Upgrade": b"Upgrade: x",
    "Proxy-Authorization": b"Proxy-Authorization: x",
    "Proxy-Connection": b"Proxy-Connection: close",
    "Via": b"Via: 1.1 evil",
    "X-Forwarded-For": b"X-Forwarded-For: 10.0.0.1",
    "X-Forwarded-Proto": b"X-Forwarded-Proto: https",
    "X-Forwarded-Host": b"X-Forwarded-Host: evil",
}


@pytest.mark.parametrize("field", FORGED_TRAILERS.values(), ids=FORGED_TRAILERS.keys())
def test_a_trailer_that_frames_routes_or_vouches_is_dropped(gateway, upstream, field):
    request = taken(gateway, upstream, CHUNKED + b"5\r\nhello\r\n0\r\nX-A: 1\r\n" + field + b"\r\nX-B: 2\r\n\r\n")
    assert request.trailers == [b"X-A: 1\r\n", b"X-B: 2\r\n"]


@pytest.mark.parametrize("name", [b"x-named", b"X-NAMED"])
def test_a_trailer_that_connection_names_is_dropped(gateway, upstream, name):
    head = POST + b"Connection: " + name + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    request = taken(gateway, upstream, head + b"5\r\nhello\r\n0\r\nX-Named: 1\r\nX-Kept: 2\r\n\r\n")
    assert request.trailers == [b"X-Kept: 2\r\n"]


BROKEN_TRAILERS = {
    "a folded line": b"X: a\r\n b",
    "a first line that begins with a space": b" X: a",
    "a dropped trailer's folded line": b"Host: a\r\n X: evil",
    "a space before the colon": b"X : a",
    "a space before a dropped trailer's colon": b"Content-Length : 5",
    "no colon": b"X",
    "a request line": b"GET /a HTTP/1.1",
    "no name": b": a",
    "a bare LF": b"X: a\nY: b",
    "a bare CR": b"X: a\rY: b",
    "a NUL": b"X: a\x00",
    "a NUL in the name": b"X\x00: a",
    "a NUL in a dropped trailer": b"Host: a\x00",
    "a bare CR in a dropped trailer": b"Content-Length: 3\rX: evil",
    "a control in a dropped trailer": b"Via: a\x01",
    "a control": b"X: a\x01",
}


@pytest.mark.parametrize("line", BROKEN_TRAILERS.values(), ids=BROKEN_TRAILERS.keys())
def test_a_broken_trailer_is_refused(gateway, upstream, line):
    refused(gateway, upstream, CHUNKED + b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n")


def test_trailers_without_end_are_refused(gateway, upstream):
    """They come in several pieces, so that the upstream may have been told of the request; never of its end."""

    def script(wire):
        with contextlib.suppress(ConnectionError):
            wire.to_close()
        assert b"0\r\n\r\n" not in wire.seen

    upstream.play(script)
    with gateway.connect() as wire:
        wire.send(CHUNKED + b"0\r\n" + b"X: aaaaaaaa\r\n" * 7000 + b"\r\n" + AFTER)
        answer = wire.message()
        assert (answer.status in (400, 431), answer.get("connection")) == (True, "close")
        assert wire.to_close() == b""


def test_a_body_without_a_length_in_http_1_0_is_no_body_and_no_request(gateway, upstream):
    script = upstream.script
    with gateway.connect() as wire:
        wire.send(b"POST /a HTTP/1.0\r\n\r\n" + AFTER)
        assert wire.message().status == 200
        assert wire.to_close() == b""
    assert [request.first for request in script.requests] == ["POST /a HTTP/1.1"]
