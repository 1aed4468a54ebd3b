"""Answers of an upstream that are odd in one thing each; the client sends two GETs where nothing else is said."""

from __future__ import annotations

from tests.functional.differences.case import NEXT, OK, Case
from tests.functional.differences.requests import GET, POST

LENIENT = "RFC 9112 6.3: an invalid length makes the answer unusable. nginx takes it for none, and waits for the close."
TWO_LENGTHS = "RFC 9112 6.3: two lengths make the answer unusable. nginx takes the last one."
EQUAL_LENGTHS = "Equal lengths may be taken for one (RFC 9112 6.3); ours refuses them all."
BOTH = "A length with a coding is likely an attack (RFC 9112 6.3); ours refuses, nginx and HAProxy drop the length."
NGINX_CODINGS = "nginx reads a coding that it does not know as none, or one with chunked in it as chunked."
CODINGS_REFUSED = "Ours and HAProxy take `chunked` alone. nginx skips a coding that it does not know."
OLD_HOST = "The client's HTTP/1.0 (see there): nginx, as configured here, sends no Host."
OLD_CODING = "RFC 9112 6.1: the framing of such an answer is faulty. nginx reads it as chunked, HAProxy passes it on."
NGINX_TRAILERS = "nginx drops all trailers, unread."
FORGED_TRAILER = "Ours drops trailers that frame (RFC 9110 6.5.1), nginx drops all, HAProxy refuses these."
LF = "LF alone may end a line (RFC 9112 2.2); for nginx and HAProxy it does."
WAITS_FOR_CRLF = (
    "LF alone may end a line (RFC 9112 2.2). Ours knows CRLF only and waits, until the answer is late (504)."
)
SIZE_SPACE = "No grammar allows white space between a chunk size and the line's end; nginx and HAProxy skip it."
BEGUN = "Broken in the bytes that came with the head: ours and HAProxy answer 502, nginx breaks off without an answer."
VERSION = "Ours takes HTTP/1.0 and HTTP/1.1; the others any version of two digits."
ANSWER_09 = "What does not begin as nginx expects is HTTP/0.9 to it: a body up to the close, which does not come here."
STATUS = (
    "RFC 9110 15: three digits from 100 to 599, and a client may take others for 5xx. HAProxy passes any number on."
)
STATUS_09 = f"{STATUS} {ANSWER_09}"
NO_REASON = "RFC 9112 4 has a space even where there is no reason: ours and HAProxy add it, nginx does not."
REASON = "RFC 9112 4 has no controls in a reason; nginx and HAProxy pass them on."
SPACES = "RFC 9112 4: single spaces; nginx and HAProxy skip further ones."
FOLDED = "A folded line may be refused or joined (RFC 9112 5.2); HAProxy joins it."
CONTROLS = "RFC 9110 5.5 has no controls in values; nginx and HAProxy pass them on."
NUL = "RFC 9110 5.5: refuse NUL, or make it a space. HAProxy passes it on."
NGINX_SKIPS = "nginx drops a line that is no field, and goes on."
NAMED = "What Connection names is dropped (RFC 9110 7.6.1); nginx and HAProxy drop only what they know themselves."
ACCEL = "nginx obeys X-Accel fields, which are orders to it."
INTERIM = "nginx 1.22 takes an interim answer for the final one (RFC 9110 15.2 has it relayed)."
UNTIL_CLOSE = (
    "HAProxy passes a body up to the close on up to the close; ours and nginx chunk it and keep the connection."
)

TWO = GET + b"\r\n" + NEXT
HEAD = b"HEAD /CASE HTTP/1.1\r\nHost: h\r\n\r\n"
OLD = b"GET /CASE HTTP/1.0\r\n\r\n"
START = b"HTTP/1.1 200 OK\r\n"
CHUNKS = START + b"Transfer-Encoding: chunked\r\n\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


def _answer(name: str, answer: bytes, *, sends: bytes = TWO, then: str = "keep", why: str = "", ours: str = "") -> Case:
    """A first answer that is odd, and plain ones after it."""
    return Case(name, sends, (answer, OK), then, why=why, ours=ours)


def _fields(name: str, fields: bytes, *, why: str = "") -> Case:
    return _answer(name, START + fields + b"\r\n\r\nok", why=why)


def _chunked(name: str, body: bytes, *, then: str = "keep", sends: bytes = TWO, why: str = "") -> Case:
    return _answer(name, CHUNKS + body, then=then, sends=sends, why=why)


def _start(name: str, line: bytes, *, why: str = "", ours: str = "") -> Case:
    return _answer(name, line + b"\r\nContent-Length: 2\r\n\r\nok", why=why, ours=ours)


LENGTHS = [
    _answer("a length", OK),
    _fields("the same length twice", b"Content-Length: 2\r\nContent-Length: 2", why=EQUAL_LENGTHS),
    _fields("two lengths", b"Content-Length: 2\r\nContent-Length: 3", why=TWO_LENGTHS),
    _fields("a list of the same length", b"Content-Length: 2, 2", why=f"{EQUAL_LENGTHS} {LENIENT}"),
    _fields("a plus sign", b"Content-Length: +2", why=LENIENT),
    _fields("a minus sign", b"Content-Length: -2", why=LENIENT),
    _fields("an empty length", b"Content-Length:", why=LENIENT),
    _fields("a length beyond 64 bits", b"Content-Length: 99999999999999999999", why=LENIENT),
    _fields(
        "a length and chunked",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked",
        why=f"{BOTH} What comes here are no chunks.",
    ),
    _answer(
        "chunked with a length",
        START + b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        why=BOTH,
    ),
    _answer("no length, then a close", START + b"\r\nok", then="close", why=UNTIL_CLOSE),
    _answer(
        "no length, then a reset",
        START + b"\r\nok",
        then="reset",
        why="RFC 9112 8: a reset is no end of a body. HAProxy takes it for one.",
    ),
    _answer("no length, for HTTP/1.0", START + b"\r\nok", then="close", sends=OLD, why=OLD_HOST),
    _answer("a length that is not reached", START + b"Content-Length: 9\r\n\r\nok", then="close"),
    _answer("a length that a reset cuts short", START + b"Content-Length: 9\r\n\r\nok", then="reset"),
    _answer("an answer after the answer", OK + EVIL),
    _answer("garbage after the answer", OK + b"garbage"),
    _answer("an empty line after the answer", OK + b"\r\n"),
    _answer("a length of 0 and a body", START + b"Content-Length: 0\r\n\r\nevil"),
    _answer("204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n"),
    _answer("204 with a body", b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil"),
    _answer("204 with chunks", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    _answer("304 with a length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n"),
    _answer("304 with chunked", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
    _answer("304 with a body", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil"),
    _answer("205 with a length of 0", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
    _answer("205 with a body", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok"),
    _answer("HEAD with a length", START + b"Content-Length: 50\r\n\r\n", sends=HEAD + NEXT),
    _answer("HEAD with chunked", CHUNKS, sends=HEAD + NEXT),
    _answer("HEAD without a length", START + b"\r\n", sends=HEAD + NEXT),
    _answer("HEAD with a body", START + b"Content-Length: 4\r\n\r\nevil", sends=HEAD + NEXT),
]

CODINGS = [
    _chunked("chunked", b"2\r\nok\r\n0\r\n\r\n"),
    _chunked("chunked, for HTTP/1.0", b"2\r\nok\r\n0\r\n\r\n", sends=OLD, why=OLD_HOST),
    _answer("upper case", START + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    _answer("gzip", START + b"Transfer-Encoding: gzip\r\n\r\nok", then="close", why=CODINGS_REFUSED),
    _answer(
        "gzip, chunked", START + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", why=NGINX_CODINGS
    ),
    _answer(
        "chunked twice, as two fields",
        START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        why=NGINX_CODINGS,
        ours="502, 200 / GET, GET /next",
    ),
    _answer(
        "chunked twice, as a list",
        START + b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        why=NGINX_CODINGS,
    ),
    _answer(
        "chunked, identity",
        START + b"Transfer-Encoding: chunked, identity\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        why=NGINX_CODINGS,
    ),
    _answer("identity", START + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", why=CODINGS_REFUSED),
    _answer("xchunked", START + b"Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\nok", why=NGINX_CODINGS),
    _answer(
        "a vertical tab before it",
        START + b"Transfer-Encoding: \x0bchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        why=NGINX_CODINGS,
    ),
    _answer(
        "in HTTP/1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        then="close",
        why=OLD_CODING,
    ),
    _chunked("an extension", b'2;a="b"\r\nok\r\n0;c\r\n\r\n'),
    _chunked("a trailer", b"2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n", why=NGINX_TRAILERS),
    _chunked(
        "trailers that forge",
        b"2\r\nok\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nConnection: close\r\n\r\n",
        why=FORGED_TRAILER,
    ),
    _answer(
        "a trailer that Connection names",
        START + b"Connection: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
        why=f"{NAMED} nginx drops all trailers.",
        ours="200, 200 / GET, GET /next",
    ),
    _chunked("a folded trailer", b"2\r\nok\r\n0\r\nX: a\r\n b\r\n\r\n", why=f"{NGINX_TRAILERS} {FOLDED}"),
    _chunked("0x", b"0x2\r\nok\r\n0\r\n\r\n", why=BEGUN),
    _chunked("a plus sign", b"+2\r\nok\r\n0\r\n\r\n", why=BEGUN),
    _chunked("a space after the size", b"2 \r\nok\r\n0\r\n\r\n", why=SIZE_SPACE),
    _chunked("2^64 + 2", b"10000000000000002\r\nok\r\n0\r\n\r\n", why=BEGUN),
    _chunked("LF alone after the size", b"2\nok\r\n0\r\n\r\n", why=LF),
    _chunked("LF alone after the data", b"2\r\nok\n0\r\n\r\n", why=LF),
    _chunked("more data than the size", b"1\r\nok\r\n0\r\n\r\n", why=BEGUN),
    _chunked("a good chunk, then a bad one", b"2\r\nok\r\nz\r\n", why=BEGUN),
    _chunked("a close between chunks", b"2\r\nok\r\n", then="close"),
    _chunked("a close inside a chunk", b"9\r\nok", then="close"),
    _chunked("a reset inside a chunk", b"9\r\nok", then="reset"),
    _chunked("a close before the last line end", b"2\r\nok\r\n0\r\n", then="close"),
    _chunked("an answer after the last chunk", b"2\r\nok\r\n0\r\n\r\n" + EVIL),
]

HEADS = [
    _start("HTTP/1.0", b"HTTP/1.0 200 OK"),
    _answer("HTTP/1.0 with keep-alive", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"),
    _start("HTTP/1.2", b"HTTP/1.2 200 OK", why=VERSION),
    _start("HTTP/2.0", b"HTTP/2.0 200 OK", why=VERSION),
    _start("a version in lower case", b"http/1.1 200 OK", why=ANSWER_09),
    _start("another protocol", b"ICY 200 OK", why=ANSWER_09),
    _start("no reason and no space", b"HTTP/1.1 200", why=NO_REASON),
    _start("no reason", b"HTTP/1.1 200 "),
    _start("no space before the reason", b"HTTP/1.1 200OK", why=ANSWER_09),
    _start("two spaces", b"HTTP/1.1  200 OK", why=SPACES),
    _start("a reason beyond ASCII", b"HTTP/1.1 200 \xc3\x84"),
    _start("a control in the reason", b"HTTP/1.1 200 O\x01K", why=REASON, ours="502, 200 / GET, GET /next"),
    _start("a bare CR in the reason", b"HTTP/1.1 200 O\rK", why=ANSWER_09),
    _start("a NUL in the reason", b"HTTP/1.1 200 O\x00K", why=REASON, ours="502, 200 / GET, GET /next"),
    _start("status 20", b"HTTP/1.1 20 OK", why=STATUS_09),
    _start("status 2000", b"HTTP/1.1 2000 OK", why=STATUS_09),
    _start("status 099", b"HTTP/1.1 099 OK", why=STATUS),
    _start("status 600", b"HTTP/1.1 600 OK"),
    _start("status 999", b"HTTP/1.1 999 OK"),
    _start("status -200", b"HTTP/1.1 -200 OK", why=ANSWER_09),
    _answer(
        "an empty line before",
        b"\r\n" + OK,
        why=f"RFC 9112 2.2 lets servers skip empty lines; HAProxy skips them in answers as well. {ANSWER_09}",
    ),
    _fields("a folded line", b"X: a\r\n b\r\nContent-Length: 2", why=FOLDED),
    _fields("a space before the colon", b"X : a\r\nContent-Length: 2"),
    _fields("a length with a space before the colon", b"Content-Length : 2"),
    _fields("no colon", b"X\r\nContent-Length: 2", why=NGINX_SKIPS),
    _fields("no name", b": a\r\nContent-Length: 2"),
    _fields("a bare LF", b"X: a\nContent-Length: 2", why=LF),
    _fields("a bare CR", b"X: a\rb\r\nContent-Length: 2"),
    _fields("a NUL in a value", b"X: a\x00b\r\nContent-Length: 2", why=NUL),
    _fields("a control in a value", b"X: a\x01b\r\nContent-Length: 2", why=CONTROLS),
    _answer("LF alone everywhere", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", why=WAITS_FOR_CRLF),
    _fields("letters beyond ASCII in a value", b"X-A: \xe4\r\nContent-Length: 2"),
    _fields("an underscore in a name", b"X_A: a\r\nContent-Length: 2"),
    _answer("a head of 70000 bytes", START + b"X: " + b"a" * 70000 + b"\r\nContent-Length: 2\r\n\r\nok"),
    _answer("half a head, then a close", b"HTTP/1.1 200 OK\r\nContent-Le", then="close"),
    _answer("nothing but a close", b"", then="close"),
    _answer("nothing but a reset", b"", then="reset"),
    _answer("no HTTP at all", b"220 mail.example ESMTP\r\n", why=ANSWER_09),
]

FIELDS = [
    _fields(
        "Set-Cookie twice",
        b"Set-Cookie: a=b\r\nX-Between: x\r\nset-cookie: c=d; Expires=Wed, 1 Jan\r\nContent-Length: 2",
    ),
    _fields(
        "Connection names a field",
        b"Connection: x-a, X-B\r\nX-A: a\r\nX-B: b\r\nX-C: c\r\nContent-Length: 2",
        why=NAMED,
    ),
    _fields("Connection names the length", b"Connection: content-length\r\nContent-Length: 2"),
    _fields("Connection: close", b"Connection: close\r\nContent-Length: 2"),
    _fields("X-Accel-Redirect", b"X-Accel-Redirect: /elsewhere\r\nContent-Length: 2", why=ACCEL),
    _fields(
        "X-Accel-Limit-Rate and -Charset",
        b"X-Accel-Charset: utf-8\r\nX-Accel-Limit-Rate: 1000000\r\nContent-Length: 2",
        why=ACCEL,
    ),
]

INTERIM = [
    _answer("100, then an answer", b"HTTP/1.1 100 Continue\r\n\r\n" + OK, why=INTERIM),
    _answer(
        "102 twice and 103", b"HTTP/1.1 102 P\r\n\r\n" * 2 + b"HTTP/1.1 103 E\r\nX-Hint: a\r\n\r\n" + OK, why=INTERIM
    ),
    _answer(
        "103 whose Connection names a field",
        b"HTTP/1.1 103 E\r\nConnection: x-a\r\nX-A: a\r\nX-B: b\r\n\r\n" + OK,
        why=f"{INTERIM} {NAMED}",
    ),
    _answer("103 with a length", b"HTTP/1.1 103 E\r\nContent-Length: 4\r\n\r\n" + OK, why=INTERIM),
    _answer("199", b"HTTP/1.1 199 Odd\r\n\r\n" + OK, why=INTERIM),
    _answer(
        "103 for HTTP/1.0",
        b"HTTP/1.1 103 E\r\n\r\n" + OK,
        sends=OLD,
        why=f"No interim answers for HTTP/1.0 (RFC 9110 15.2); HAProxy relays them. {OLD_HOST}",
    ),
    _answer("103, then a close", b"HTTP/1.1 103 E\r\n\r\n", then="close", why=INTERIM),
    _answer(
        "103, then garbage",
        b"HTTP/1.1 103 E\r\n\r\ngarbage\r\n\r\n",
        why=f"{INTERIM} HAProxy had not sent the interim answer yet.",
    ),
    _answer(
        "150 of them",
        b"HTTP/1.1 102 P\r\n\r\n" * 150 + OK,
        sends=GET + b"\r\n",
        why=f"{INTERIM} Ours relays at most 100 for a request.",
    ),
    Case(
        "100 for Expect",
        (POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", b"hello" + NEXT),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, OK),
        early=False,
        why=f"{INTERIM} It had answered Expect itself.",
    ),
]

ANSWERS = {
    "Content-Length and bodies of answers": LENGTHS,
    "Transfer-Encoding of answers": CODINGS,
    "Heads of answers": HEADS,
    "Fields of answers": FIELDS,
    "Interim answers": INTERIM,
}
