"""Requests that are odd in one thing each, by theme. What is not odd here is odd nowhere else in the exchange."""

from __future__ import annotations

from tests.functional.differences.case import NEXT, Case

EQUAL_LENGTHS = "Equal lengths may be taken for one (RFC 9112 6.3); HAProxy does."
FOLDED = "A folded line may be refused or joined (RFC 9112 5.2); HAProxy joins it."
LF = "LF alone may end a line (RFC 9112 2.2); for nginx and HAProxy it does."
LF_HAPROXY = "LF alone may end a line (RFC 9112 2.2). For nginx it does too, but it then refuses length with coding."
WAITS_FOR_CRLF = (
    "LF alone may end a line (RFC 9112 2.2). Ours knows CRLF only and waits for it, until the head is late (408)."
)
WHOLE_FIRST = "nginx reads a request whole before it sends it on."
UNDERSCORE = "nginx drops fields with an underscore in their name: some servers take it for a hyphen."
NGINX_TAB = "nginx does not take a tab for the white space that RFC 9110 5.5 allows around a value."
TAB_AFTER = "White space around a value may be a tab (RFC 9110 5.5); to HAProxy alone it may here."
BOTH = "RFC 9112 6.3: refuse it, or drop the length and close afterwards, as HAProxy does."
OLD_CODING = "RFC 9112 6.1: no coding in HTTP/1.0. HAProxy passes it on."
NGINX_TRAILERS = "nginx drops all trailers, unread."
FORGED_TRAILER = "A trailer may not frame or route (RFC 9110 6.5.1): ours drops such ones, nginx all, HAProxy none."
BROKEN_TRAILER = "nginx drops trailers unread. HAProxy reads them as it reads fields."
BROKEN_TRAILER_LF = "nginx drops trailers unread. HAProxy ends lines at LF alone and joins folded ones."
SIZE_SPACE = "No grammar allows white space between a chunk size and the line's end; nginx and HAProxy skip it."
CONTROLS = "RFC 9110 5.5 has no controls in values; nginx and HAProxy pass them on."
NUL = "RFC 9110 5.5: refuse NUL, or make it a space. HAProxy passes it on."
NGINX_SKIPS = "nginx drops a line that is no field, and goes on."
SPACES = "RFC 9112 3: single spaces, though other white space may be taken for them. Each takes other ones."
VERSION_09 = "nginx takes a line without a version for HTTP/0.9, and sends that on as HTTP/1.1 without Host."
VERSION_09_WAIT = f"{VERSION_09} Ours waits for the end of a head."
MINOR_VERSION = "A higher minor version should be read as 1.1 (RFC 9110 6.2); ours refuses it."
OLD_HOST = (
    "HTTP/1.0 has no Host. Ours adds the server's address, HAProxy speaks HTTP/1.0, nginx sends HTTP/1.1 without."
)
METHODS = "Ours knows the registered methods and answers 501 to others (RFC 9110 9.1)."
NGINX_TRACE = "nginx does not offer TRACE."
NO_TUNNEL = "None offers CONNECT; to HAProxy, as configured here, it is a path without a route."
HOST_CHARACTERS = "nginx and HAProxy check few of the characters of a Host, and send it on."
HOST_HAPROXY = "RFC 9112 3.2: 400 to what has no valid Host. HAProxy sends it on as it came."
ABSOLUTE_AUTHORITY = (
    "RFC 9112 3.2.2: the target's authority replaces Host. nginx, as configured here, keeps Host; HAProxy refuses."
)
ABSOLUTE_KEPT = "HAProxy sends the target on as it came; ours and nginx send its path."
SCHEMES = "Ours serves http only; nginx reads any scheme, HAProxy sends the target on."
PERCENT = "nginx decodes paths to route them, and refuses what it cannot decode."
SLASHES = "nginx routes by the path with its slashes merged."
RAW_LETTERS = "RFC 3986 has ASCII only; nginx passes other bytes on."
FRAGMENT = "No fragment belongs in a request (RFC 9112 3.2); nginx routes without it and sends it on."
STAR = "Ours and HAProxy look for a route; nginx refuses."
STAR_GET = "RFC 9112 3.2.4: * is for OPTIONS. HAProxy looks for a route."
NAMED = "What Connection names is dropped (RFC 9110 7.6.1); nginx and HAProxy drop only what they know themselves."
HOP_BY_HOP = "A field of one hop (RFC 9110 7.6.1), which those pass on that show none of `-`."
FOR_THE_PROXY = "Meant for the first proxy that asks for it (RFC 9110 11.7.2); ours asks for none and drops it."
TE_LIST = "HAProxy passes `trailers` on, and no other member."
TRACES = "Ours and nginx extend the field, HAProxy adds one of its own."
LOOPS = "Only ours counts its own entries, and stops a request that goes round."
EXPECTS = "Ours and HAProxy let the server say 100; nginx says it itself and drops the field."
OLD_EXPECT = "An Expect of HTTP/1.0 is to be ignored (RFC 9110 10.1.1); HAProxy passes it on."
ANY_EXPECT = "nginx drops Expect whatever it says."
LATE_HOST = f"{HOST_HAPROXY}"
EARLY = "RFC 9112 9.3: who answers early must read on or close. Ours closes and drops the rest; the others read on."
WAITS_FOR_LINE = "nginx says 400 at the first wrong byte, ours and HAProxy at the end of the head."
EXTRA_BYTES = "HAProxy takes any letters for a method."

GET = b"GET /CASE HTTP/1.1\r\nHost: h\r\n"
POST = b"POST /CASE HTTP/1.1\r\nHost: h\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
# For who reads to the length it is a body; for who reads to the last chunk, a body and a request of the smuggler's.
DISPUTED = b"0\r\n\r\nGET /CASE/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
DISPUTED_LENGTH = b"Content-Length: %d\r\n" % len(DISPUTED)


def _sized(field: bytes) -> bytes:
    """A body of five bytes under an odd length, and a request after it."""
    return POST + field + b"\r\n\r\nhello" + NEXT


def _coded(field: bytes) -> bytes:
    """A chunked body under an odd coding, and a request after it."""
    return POST + field + b"\r\n\r\n" + HELLO + NEXT


def _disputed(field: bytes) -> bytes:
    """A length that is right, and a coding that some readers may take for chunked."""
    return POST + DISPUTED_LENGTH + field + b"\r\n\r\n" + DISPUTED


def _chunked(body: bytes) -> bytes:
    return POST + b"Transfer-Encoding: chunked\r\n\r\n" + body + NEXT


def _with(field: bytes) -> bytes:
    return GET + field + b"\r\n\r\n"


def _line(line: bytes) -> bytes:
    return line + b"\r\nHost: h\r\n\r\n"


def _target(target: bytes) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n"


def _host(fields: bytes) -> bytes:
    return b"GET /CASE HTTP/1.1\r\n" + fields + b"\r\n"


LENGTHS = [
    Case("a length", _sized(b"Content-Length: 5")),
    Case("the same length twice", _sized(b"Content-Length: 5\r\nContent-Length: 5"), why=EQUAL_LENGTHS),
    Case("two lengths", _sized(b"Content-Length: 5\r\nContent-Length: 6")),
    Case("two lengths, 0 last", _sized(b"Content-Length: 5\r\ncontent-length: 0")),
    Case("a list of the same length", _sized(b"Content-Length: 5, 5"), why=EQUAL_LENGTHS),
    Case("a list of two lengths", _sized(b"Content-Length: 5, 6")),
    Case("a list with an empty member", _sized(b"Content-Length: 5,")),
    Case("a plus sign", _sized(b"Content-Length: +5")),
    Case("a minus sign", _sized(b"Content-Length: -5")),
    Case("hexadecimal", _sized(b"Content-Length: 0x5")),
    Case("a fraction", _sized(b"Content-Length: 5.0")),
    Case("an exponent", _sized(b"Content-Length: 5e0")),
    Case("leading zeros", _sized(b"Content-Length: 0005")),
    Case("empty", POST + b"Content-Length:\r\n\r\n" + NEXT),
    Case("a word", POST + b"Content-Length: five\r\n\r\n" + NEXT),
    Case("quoted", _sized(b'Content-Length: "5"')),
    Case("tabs around it", _sized(b"Content-Length:\t5\t"), why=NGINX_TAB),
    Case("a vertical tab after it", _sized(b"Content-Length: 5\x0b")),
    Case("a form feed before it", _sized(b"Content-Length: \x0c5")),
    Case("a NUL after it", _sized(b"Content-Length: 5\x00")),
    Case("a space inside", _sized(b"Content-Length: 5 5")),
    Case("a parameter", _sized(b"Content-Length: 5;x")),
    Case("digits of another script", _sized("Content-Length: \u0665".encode())),
    Case("just below 2^63", POST + b"Content-Length: 9223372036854775807\r\n\r\nhello", why=WHOLE_FIRST),
    Case(
        "2^63",
        POST + b"Content-Length: 9223372036854775808\r\n\r\nhello" + NEXT,
        ours="400 close / nothing",
    ),
    Case("2^64 + 5", _sized(b"Content-Length: 18446744073709551621")),
    Case("twenty digits", _sized(b"Content-Length: 99999999999999999999")),
    Case("an underscore in the name", GET + b"Content_Length: 43\r\n\r\n" + NEXT, why=UNDERSCORE),
    Case("a space before the colon", _sized(b"Content-Length : 5")),
    Case("a tab before the colon", _sized(b"Content-Length\t: 5")),
    Case("on a folded line", _sized(b"Content-Length:\r\n 5"), why=FOLDED),
    Case("behind a bare LF", _sized(b"X: a\nContent-Length: 5"), why=LF),
    Case("behind a bare CR", _sized(b"X: a\rContent-Length: 5")),
    Case("a body for GET", GET + b"Content-Length: 5\r\n\r\nhello" + NEXT),
    Case("a body for HEAD", b"HEAD /CASE HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" + NEXT),
    Case("a body for DELETE", b"DELETE /CASE HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" + NEXT),
    Case("0, and a request", POST + b"Content-Length: 0\r\n\r\n" + NEXT),
    Case("none, and a request", POST + b"\r\n" + NEXT),
    Case("none, and bytes that are no request", POST + b"\r\nhello", why=WAITS_FOR_LINE),
    Case("longer than what comes", POST + b"Content-Length: 9\r\n\r\nhello", why=WHOLE_FIRST),
    Case("shorter than what comes", POST + b"Content-Length: 3\r\n\r\nhello" + NEXT, why=EXTRA_BYTES),
]

CODINGS = [
    Case("chunked", _coded(b"Transfer-Encoding: chunked")),
    Case("upper case", _coded(b"TRANSFER-ENCODING: CHUNKED")),
    Case("a tab before it", _coded(b"Transfer-Encoding:\tchunked"), why=NGINX_TAB),
    Case("a space after it", _coded(b"Transfer-Encoding: chunked ")),
    Case("a tab after it", _coded(b"Transfer-Encoding: chunked\t"), why=TAB_AFTER),
    Case("chunked twice, as a list", _coded(b"Transfer-Encoding: chunked, chunked")),
    Case("chunked twice, as two fields", _coded(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
    Case("gzip, then chunked", _coded(b"Transfer-Encoding: gzip, chunked")),
    Case("gzip, then chunked, as two fields", _coded(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked")),
    Case("chunked, then gzip", _coded(b"Transfer-Encoding: chunked, gzip")),
    Case("gzip alone", _coded(b"Transfer-Encoding: gzip")),
    Case("identity", _coded(b"Transfer-Encoding: identity")),
    Case("identity, then chunked", _coded(b"Transfer-Encoding: identity, chunked")),
    Case("chunked, then identity", _coded(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")),
    Case("empty", _coded(b"Transfer-Encoding:")),
    Case("an empty member before", _coded(b"Transfer-Encoding: , chunked")),
    Case(
        "an empty member after",
        _coded(b"Transfer-Encoding: chunked,"),
        why="Empty members are to be ignored (RFC 9110 5.6.1), so HAProxy sends this on; ours takes only `chunked`.",
    ),
    Case("xchunked", _coded(b"Transfer-Encoding: xchunked")),
    Case("chunkedx", _coded(b"Transfer-Encoding: chunkedx")),
    Case("a parameter", _coded(b"Transfer-Encoding: chunked;q=1")),
    Case("quoted", _coded(b'Transfer-Encoding: "chunked"')),
    Case("a vertical tab before", _coded(b"Transfer-Encoding: \x0bchunked")),
    Case("a vertical tab after", _coded(b"Transfer-Encoding: chunked\x0b")),
    Case("a NUL after", _coded(b"Transfer-Encoding: chunked\x00")),
    Case("a non-breaking space before", _coded(b"Transfer-Encoding: \xa0chunked")),
    Case("in HTTP/1.0", b"POST /CASE HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO, why=OLD_CODING),
    Case(
        "in HTTP/1.0 with a length",
        b"POST /CASE HTTP/1.0\r\nConnection: keep-alive\r\n"
        + DISPUTED_LENGTH
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + DISPUTED,
        why=OLD_CODING,
    ),
    Case("with a length before it", _disputed(b"Transfer-Encoding: chunked"), why=BOTH),
    Case(
        "with a length after it",
        POST + b"Transfer-Encoding: chunked\r\n" + DISPUTED_LENGTH + b"\r\n" + DISPUTED,
        why=BOTH,
    ),
    Case(
        "with a length of 0", POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + NEXT, why=BOTH
    ),
    Case("xchunked with a length", _disputed(b"Transfer-Encoding: xchunked")),
    Case("identity with a length", _disputed(b"Transfer-Encoding: identity")),
    Case("a vertical tab before, with a length", _disputed(b"Transfer-Encoding: \x0bchunked")),
    Case("an underscore in the name, with a length", _disputed(b"Transfer_Encoding: chunked"), why=UNDERSCORE),
    Case("a space before the colon, with a length", _disputed(b"Transfer-Encoding : chunked")),
    Case("a space before the name, with a length", _disputed(b" Transfer-Encoding: chunked")),
    Case("a folded line, with a length", _disputed(b"Transfer-Encoding:\r\n chunked"), why=f"{FOLDED} {BOTH}"),
    Case("folded into another field, with a length", _disputed(b"X: a\r\n Transfer-Encoding: chunked"), why=FOLDED),
    Case("behind a bare LF, with a length", _disputed(b"X: a\nTransfer-Encoding: chunked"), why=LF_HAPROXY),
    Case("behind a bare CR, with a length", _disputed(b"X: a\rTransfer-Encoding: chunked")),
    Case("behind a NUL, with a length", _disputed(b"X: a\x00\r\nTransfer-Encoding: chunked"), why=NUL),
    Case("a NUL in the name, with a length", _disputed(b"Transfer-Encoding\x00: chunked")),
    Case(
        "a quoted line end, with a length",
        _disputed(b'X: "a\r\nTransfer-Encoding: chunked\r\nY: b"'),
        why=f"Lines end inside quotes too. {BOTH}",
    ),
    Case("named by Connection", _coded(b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked")),
    Case("a length named by Connection", _sized(b"Connection: Content-Length\r\nContent-Length: 5")),
]

CHUNKS = [
    Case("two chunks", _chunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")),
    Case("upper and lower case digits", _chunked(b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n")),
    Case("leading zeros, 8 digits", _chunked(b"00000005\r\nhello\r\n0\r\n\r\n")),
    Case(
        "leading zeros, 17 digits",
        _chunked(b"00000000000000005\r\nhello\r\n0\r\n\r\n"),
        why="Ours takes 15 digits, which is more than any size needs; the others count the value.",
    ),
    Case("a last chunk of several zeros", _chunked(b"5\r\nhello\r\n000\r\n\r\n")),
    Case("2^32 + 5", _chunked(b"100000005\r\nhello\r\n0\r\n\r\n"), why=WHOLE_FIRST),
    Case("2^64 + 5", _chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n")),
    Case("17 digits", _chunked(b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n")),
    Case("a plus sign", _chunked(b"+5\r\nhello\r\n0\r\n\r\n")),
    Case("a minus sign", _chunked(b"-5\r\nhello\r\n0\r\n\r\n")),
    Case("0x", _chunked(b"0x5\r\nhello\r\n0\r\n\r\n")),
    Case("an underscore", _chunked(b"0_5\r\nhello\r\n0\r\n\r\n")),
    Case("a space before the size", _chunked(b" 5\r\nhello\r\n0\r\n\r\n")),
    Case("a space after the size", _chunked(b"5 \r\nhello\r\n0\r\n\r\n"), why=SIZE_SPACE),
    Case("a tab after the size", _chunked(b"5\t\r\nhello\r\n0\r\n\r\n"), why=SIZE_SPACE),
    Case("no digit", _chunked(b"\r\nhello\r\n0\r\n\r\n")),
    Case("a letter that is no digit", _chunked(b"5g\r\nhello\r\n0\r\n\r\n")),
    Case("a NUL after the size", _chunked(b"5\x00\r\nhello\r\n0\r\n\r\n")),
    Case("LF alone after the size", _chunked(b"5\nhello\r\n0\r\n\r\n"), why=LF),
    Case("CR alone after the size", _chunked(b"5\rhello\r\n0\r\n\r\n")),
    Case("LF alone after the data", _chunked(b"5\r\nhello\n0\r\n\r\n"), why=LF),
    Case("CR alone after the data", _chunked(b"5\r\nhello\r0\r\n\r\n")),
    Case("nothing after the data", _chunked(b"5\r\nhello0\r\n\r\n")),
    Case("more data than the size", _chunked(b"3\r\nhello\r\n0\r\n\r\n")),
    Case("less data than the size", _chunked(b"6\r\nhello\r\n0\r\n\r\n"), why=LF),
    Case("LF alone at the end", _chunked(b"5\r\nhello\r\n0\r\n\n"), why=LF),
    Case("LF alone after the last chunk", _chunked(b"5\r\nhello\r\n0\n\r\n"), why=LF),
    Case(
        "no empty line at the end",
        _chunked(b"5\r\nhello\r\n0\r\n"),
        why="nginx drops trailers unread, and what follows is one to it: the next request, up to its empty line.",
    ),
    Case("an extension", _chunked(b"5;a=b\r\nhello\r\n0;c\r\n\r\n")),
    Case("an extension in quotes", _chunked(b'5;a="b;c"\r\nhello\r\n0\r\n\r\n')),
    Case("an extension with a quote that stays open", _chunked(b'5;a="b\r\nhello\r\n0\r\n\r\n')),
    Case("an extension without a name", _chunked(b"5;\r\nhello\r\n0\r\n\r\n")),
    Case(
        "a space before the extension",
        _chunked(b"5 ;a=b\r\nhello\r\n0\r\n\r\n"),
        why="RFC 9112 7.1.1 has white space here be read and dropped; ours refuses it.",
    ),
    Case("a space after the semicolon", _chunked(b"5; a=b\r\nhello\r\n0\r\n\r\n")),
    Case("a bare LF in an extension", _chunked(b"5;a\nb\r\nhello\r\n0\r\n\r\n")),
    Case("a bare CR in an extension", _chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n")),
    Case(
        "a NUL in an extension",
        _chunked(b"5;a\x00b\r\nhello\r\n0\r\n\r\n"),
        why="No grammar allows NUL here; nginx and HAProxy skip extensions unread.",
    ),
    Case("a line end in a quoted extension", _chunked(b'5;a="\r\nhello\r\n0\r\n\r\n"\r\n')),
    Case(
        "an extension of 5000 bytes",
        _chunked(b"5;a=" + b"b" * 5000 + b"\r\nhello\r\n0\r\n\r\n"),
        why="Ours reads at most 4096 bytes of a size line (RFC 9112 7.1.1 asks for a limit).",
    ),
    Case("a trailer", _chunked(b"5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"), why=NGINX_TRAILERS),
    Case("a trailer Content-Length", _chunked(b"5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n"), why=FORGED_TRAILER),
    Case(
        "a trailer Transfer-Encoding",
        _chunked(b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        why=FORGED_TRAILER,
    ),
    Case("a trailer Host", _chunked(b"5\r\nhello\r\n0\r\nHost: evil\r\n\r\n"), why=FORGED_TRAILER),
    Case(
        "a trailer X-Forwarded-For",
        _chunked(b"5\r\nhello\r\n0\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"),
        why=FORGED_TRAILER,
    ),
    Case("a trailer on a folded line", _chunked(b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n"), why=BROKEN_TRAILER_LF),
    Case(
        "a trailer with a space before the colon",
        _chunked(b"5\r\nhello\r\n0\r\nX : a\r\n\r\n"),
        why=BROKEN_TRAILER,
        unsettled="haproxy",
    ),
    Case(
        "a trailer without a colon",
        _chunked(b"5\r\nhello\r\n0\r\nGET /CASE/smuggled HTTP/1.1\r\n\r\n"),
        why=BROKEN_TRAILER,
    ),
    Case("a trailer with a bare LF", _chunked(b"5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n"), why=BROKEN_TRAILER_LF),
    Case("a trailer with a NUL", _chunked(b"5\r\nhello\r\n0\r\nX: a\x00\r\n\r\n"), why=BROKEN_TRAILER),
    Case(
        "a trailer that Connection names",
        POST + b"Connection: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n" + NEXT,
        why=f"{NAMED} nginx drops all trailers.",
        ours="200, 200 / POST 5, GET /next",
    ),
    Case(
        "200 trailers",
        _chunked(b"5\r\nhello\r\n0\r\n" + b"X: a\r\n" * 200 + b"\r\n"),
        why="nginx drops trailers unread. HAProxy counts them as fields; ours counts bytes only.",
    ),
]

HEADS = [
    Case("a plain request", _with(b"X: a")),
    Case("a folded line", _with(b"X: a\r\n b"), why=FOLDED),
    Case("a line folded with a tab", _with(b"X: a\r\n\tb"), why=FOLDED),
    Case("a first field line that begins with a space", b"GET /CASE HTTP/1.1\r\n X: a\r\nHost: h\r\n\r\n"),
    Case("a space before the colon", _with(b"X : a")),
    Case("a tab before the colon", _with(b"X\t: a")),
    Case("no name", _with(b": a")),
    Case("no colon", _with(b"X"), why=NGINX_SKIPS),
    Case("a space in the name", _with(b"X Y: a")),
    Case("a parenthesis in the name", _with(b"X(Y): a"), why=NGINX_SKIPS),
    Case("a letter beyond ASCII in the name", _with(b"X\xe4: a"), why=NGINX_SKIPS),
    Case("a NUL in the name", _with(b"X\x00Y: a")),
    Case("an underscore in the name", _with(b"X_Y: a"), why=UNDERSCORE),
    Case("an empty value", _with(b"X:")),
    Case("letters beyond ASCII in the value", _with(b"X: \xe4\xc3\xa4")),
    Case("a NUL in the value", _with(b"X: a\x00b"), why=NUL),
    Case("a bare CR in the value", _with(b"X: a\rb")),
    Case("a bare LF in the value", _with(b"X: a\nY: b"), why=LF),
    Case("a control in the value", _with(b"X: a\x01b"), why=CONTROLS),
    Case("DEL in the value", _with(b"X: a\x7fb"), why=CONTROLS),
    Case("LF alone everywhere", b"GET /CASE HTTP/1.1\nHost: h\n\n", why=WAITS_FOR_CRLF),
    Case("LF alone at the end", b"GET /CASE HTTP/1.1\r\nHost: h\r\n\n", why=WAITS_FOR_CRLF),
    Case(
        "CR alone everywhere",
        b"GET /CASE HTTP/1.1\rHost: h\r\r",
        why="Ours waits for the end of a head, until it is late (408).",
    ),
    Case(
        "two CRs at the end of a line",
        _with(b"X: a\r"),
        why="RFC 9112 2.2: refuse a bare CR, or make it a space; nginx takes both for the line end.",
    ),
    Case("an empty line before", b"\r\n" + GET + b"\r\n"),
    Case("five empty lines before", b"\r\n" * 5 + GET + b"\r\n"),
    Case("a bare LF before", b"\n" + GET + b"\r\n"),
    Case("a space before", b" " + GET + b"\r\n"),
    Case("a NUL before", b"\x00" + GET + b"\r\n"),
    Case("two spaces after the method", _line(b"GET  /CASE HTTP/1.1"), why=SPACES),
    Case("two spaces before the version", _line(b"GET /CASE  HTTP/1.1"), why=SPACES),
    Case("a tab after the method", _line(b"GET\t/CASE HTTP/1.1"), why=SPACES),
    Case("a form feed after the method", _line(b"GET\x0c/CASE HTTP/1.1")),
    Case("a space after the version", _line(b"GET /CASE HTTP/1.1 "), why=SPACES),
    Case("more after the version", _line(b"GET /CASE HTTP/1.1 x")),
    Case("a version in lower case", _line(b"GET /CASE http/1.1")),
    Case("no version", _line(b"GET /CASE"), why=VERSION_09),
    Case("HTTP/0.9", b"GET /CASE\r\n", why=VERSION_09_WAIT),
    Case("HTTP/1.0", b"GET /CASE HTTP/1.0\r\n\r\n", why=OLD_HOST),
    Case("HTTP/1.2", _line(b"GET /CASE HTTP/1.2"), why=MINOR_VERSION),
    Case("HTTP/1.10", _line(b"GET /CASE HTTP/1.10"), why=MINOR_VERSION),
    Case("HTTP/01.1", _line(b"GET /CASE HTTP/01.1")),
    Case("HTTP/2.0", _line(b"GET /CASE HTTP/2.0"), why="HAProxy reads any version of two digits as HTTP/1.1."),
    Case("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", why="HAProxy goes on in HTTP/2."),
    Case("another protocol", _line(b"GET /CASE ICY/1.1")),
    Case("a method in lower case", _line(b"get /CASE HTTP/1.1"), why=METHODS),
    Case("an unknown method", _line(b"FROB /CASE HTTP/1.1"), why=METHODS),
    Case("a method that is no token", _line(b"G(T /CASE HTTP/1.1")),
    Case("TRACE", _line(b"TRACE /CASE HTTP/1.1"), why=NGINX_TRACE),
    Case("PATCH", _line(b"PATCH /CASE HTTP/1.1")),
    Case("CONNECT", b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", why=NO_TUNNEL),
    Case("a first line of TLS", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"),
    Case("a target of 7000 bytes", _target(b"/CASE/" + b"a" * 7000)),
    Case("a target of 70000 bytes", _target(b"/CASE/" + b"a" * 70000)),
    Case("a field of 7000 bytes", _with(b"X: " + b"a" * 7000)),
    Case("a field of 70000 bytes", _with(b"X: " + b"a" * 70000)),
    Case("99 fields", GET + b"X: a\r\n" * 98 + b"\r\n"),
    Case(
        "101 fields",
        GET + b"X: a\r\n" * 100 + b"\r\n",
        why="Ours and HAProxy have a limit near 100 fields, nginx one of bytes alone.",
    ),
    Case("3000 fields", GET + b"X: a\r\n" * 3000 + b"\r\n"),
]

HOSTS = [
    Case("none", _host(b""), why=HOST_HAPROXY),
    Case("none in HTTP/1.0", b"GET /CASE HTTP/1.0\r\n\r\n", why=OLD_HOST),
    Case(
        "empty",
        _host(b"Host:\r\n"),
        why="Empty is for targets without an authority (RFC 9112 3.2), and http has none (RFC 9110 4.2.1).",
    ),
    Case("twice the same", _host(b"Host: h\r\nHost: h\r\n"), why=HOST_HAPROXY),
    Case("two different ones", _host(b"Host: h\r\nHost: other\r\n")),
    Case("two different ones in HTTP/1.0", b"GET /CASE HTTP/1.0\r\nHost: h\r\nHost: other\r\n\r\n"),
    Case("a list", _host(b"Host: h, other\r\n"), why=HOST_HAPROXY),
    Case("a space inside", _host(b"Host: h other\r\n"), why=HOST_HAPROXY),
    Case("a path", _host(b"Host: h/x\r\n"), why=HOST_HAPROXY),
    Case("a query", _host(b"Host: h?x\r\n"), why=HOST_CHARACTERS),
    Case("a fragment", _host(b"Host: h#x\r\n"), why=HOST_CHARACTERS),
    Case("user information", _host(b"Host: user@h\r\n"), why=HOST_CHARACTERS),
    Case("a backslash", _host(b"Host: h\\x\r\n"), why=HOST_CHARACTERS),
    Case("a quote", _host(b'Host: "h"\r\n'), why=HOST_CHARACTERS),
    Case("an angle bracket", _host(b"Host: <h>\r\n"), why=HOST_CHARACTERS),
    Case("upper case", _host(b"Host: Some.Host\r\n")),
    Case("a port", _host(b"Host: h:8080\r\n")),
    Case("an empty port", _host(b"Host: h:\r\n")),
    Case("a port of letters", _host(b"Host: h:http\r\n"), why=HOST_CHARACTERS),
    Case("a port beyond 65535", _host(b"Host: h:99999\r\n")),
    Case("two ports", _host(b"Host: h:80:81\r\n"), why=HOST_CHARACTERS),
    Case("an IPv6 address", _host(b"Host: [::1]:80\r\n")),
    Case("half a bracket", _host(b"Host: [::1\r\n"), why=HOST_CHARACTERS),
    Case("a percent-encoded letter", _host(b"Host: %68\r\n")),
    Case("a lone percent", _host(b"Host: h%\r\n"), why=HOST_CHARACTERS, ours="400 close / nothing"),
    Case("letters beyond ASCII", _host(b"Host: h\xc3\xa4\r\n"), why=HOST_CHARACTERS),
    Case("a space before the colon", _host(b"Host : h\r\n")),
    Case("a folded line", _host(b"Host:\r\n h\r\n"), why=FOLDED),
    Case("a second one behind a bare LF", _host(b"Host: h\nHost: other\r\n")),
    Case("a second one with a space before the colon", _host(b"Host: h\r\nHost : other\r\n")),
    Case(
        "a second one on a line that begins with a space",
        _host(b"Host: h\r\n Host: other\r\n"),
        why=f"{FOLDED} {HOST_CHARACTERS}",
    ),
    Case("an absolute target with the same Host", _line(b"GET http://h/CASE HTTP/1.1"), why=ABSOLUTE_KEPT),
    Case("an absolute target with another Host", _line(b"GET http://other/CASE HTTP/1.1"), why=ABSOLUTE_AUTHORITY),
    Case("an absolute target with another port", _line(b"GET http://h:8080/CASE?x HTTP/1.1"), why=ABSOLUTE_AUTHORITY),
    Case("an absolute target without Host", b"GET http://h/CASE HTTP/1.1\r\n\r\n", why=HOST_HAPROXY),
    Case("an absolute target with two Hosts", b"GET http://h/CASE HTTP/1.1\r\nHost: h\r\nHost: other\r\n\r\n"),
    Case("an absolute target with an invalid Host", b"GET http://h/CASE HTTP/1.1\r\nHost: a b\r\n\r\n"),
    Case("an absolute target with user information", _line(b"GET http://user@h/CASE HTTP/1.1"), why=ABSOLUTE_KEPT),
    Case("an absolute target without an authority", _line(b"GET http:///CASE HTTP/1.1"), why=ABSOLUTE_KEPT),
    Case("an absolute target with a bad authority", _line(b"GET http://h:x/CASE HTTP/1.1")),
    Case("an absolute target of https", _line(b"GET https://h/CASE HTTP/1.1"), why=SCHEMES),
    Case("an absolute target of another scheme", _line(b"GET ftp://h/CASE HTTP/1.1"), why=SCHEMES),
    Case(
        "an absolute target in upper case",
        _line(b"GET HTTP://H/CASE HTTP/1.1"),
        why="Ours sends the authority on as it came; nginx, as configured here, keeps Host, HAProxy the target.",
    ),
    Case(
        "an absolute target in HTTP/1.0", b"GET http://other/CASE HTTP/1.0\r\nHost: h\r\n\r\n", why=ABSOLUTE_AUTHORITY
    ),
]

TARGETS = [
    Case("a query", _target(b"/CASE?a=b&a=c")),
    Case("an empty query", _target(b"/CASE?")),
    Case("question marks in a query", _target(b"/CASE?a=?/&??")),
    Case("%2f", _target(b"/CASE/a%2fb%2Fc")),
    Case("a semicolon", _target(b"/CASE/a;b=c")),
    Case("two slashes", _target(b"/CASE//a")),
    Case("two slashes first", _target(b"//CASE"), why=SLASHES),
    Case("a dot segment", _target(b"/CASE/./a")),
    Case("two dots", _target(b"/CASE/a/../b")),
    Case("two dots that leave the route", _target(b"/CASE/../other")),
    Case("two dots, encoded", _target(b"/CASE/%2e%2E/other")),
    Case("two dots with %2f", _target(b"/CASE/..%2fother")),
    Case("two dots in a query", _target(b"/CASE?a=/../b")),
    Case("a percent sign alone", _target(b"/CASE/%"), why=PERCENT),
    Case("a percent sign before no digits", _target(b"/CASE/%zz"), why=PERCENT),
    Case("%00", _target(b"/CASE/%00"), why=PERCENT),
    Case("%0d%0a", _target(b"/CASE/%0d%0aHost:%20evil")),
    Case("letters beyond ASCII, encoded", _target(b"/CASE/%C3%A4")),
    Case("letters beyond ASCII, raw", _target(b"/CASE/\xc3\xa4"), why=RAW_LETTERS),
    Case("letters beyond ASCII, raw, in the query", _target(b"/CASE?a=\xc3\xa4"), why=RAW_LETTERS),
    Case("a backslash", _target(b"/CASE\\a")),
    Case("quotes, brackets and the like", _target(b'/CASE/"<>[]^`{|}')),
    Case("a fragment", _target(b"/CASE#a"), why=FRAGMENT),
    Case("a control", _target(b"/CASE\x01")),
    Case("DEL", _target(b"/CASE\x7f")),
    Case("a NUL", _target(b"/CASE\x00")),
    Case("a tab", _target(b"/CASE\ta")),
    Case("a space", _target(b"/CASE a")),
    Case("a bare CR", _target(b"/CASE\ra")),
    Case("no slash", _target(b"CASE")),
    Case("* for GET", _target(b"*"), why=STAR_GET),
    Case("* for OPTIONS", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", why=STAR),
    Case("another route", _target(b"/elsewhere")),
    Case("a longer segment", _target(b"/CASEx")),
]

FIELDS = [
    Case("Connection names a field", _with(b"Connection: X-Named\r\nX-Named: a\r\nX-Kept: b"), why=NAMED),
    Case("Connection names it in another case", _with(b"Connection: x-NAMED\r\nX-Named: a"), why=NAMED),
    Case("Connection names several", _with(b"Connection: x-a ,X-B,, close\r\nX-A: a\r\nX-B: b\r\nX-C: c"), why=NAMED),
    Case("two Connection fields", _with(b"Connection: x-a\r\nConnection: x-b\r\nX-A: a\r\nX-B: b"), why=NAMED),
    Case("Connection names a field that comes twice", _with(b"Connection: x-a\r\nX-A: a\r\nx-a: b"), why=NAMED),
    Case("Connection names Host", _with(b"Connection: host")),
    Case("Connection names Cookie", _with(b"Connection: cookie\r\nCookie: a=b"), why=NAMED),
    Case(
        "Connection names Via",
        _with(b"Connection: via\r\nVia: 1.1 other"),
        why=f"{TRACES} Via must not be lost (RFC 9110 7.6.3), so ours keeps it.",
    ),
    Case(
        "Connection names X-Forwarded-For",
        _with(b"Connection: x-forwarded-for\r\nX-Forwarded-For: 10.0.0.1"),
        why=NAMED,
        ours="200 / GET ~x-forwarded-for=127.0.0.1",
    ),
    Case("Keep-Alive", _with(b"Connection: keep-alive\r\nKeep-Alive: timeout=5"), why=HOP_BY_HOP),
    Case("Keep-Alive that Connection does not name", _with(b"Keep-Alive: timeout=5"), why=HOP_BY_HOP),
    Case("Proxy-Connection", _with(b"Proxy-Connection: keep-alive"), why=HOP_BY_HOP),
    Case("TE", _with(b"TE: trailers"), why=HOP_BY_HOP),
    Case("TE that Connection names", _with(b"Connection: TE\r\nTE: trailers, gzip"), why=TE_LIST),
    Case("Trailer", _with(b"Trailer: X-Sum")),
    Case("Proxy-Authorization", _with(b"Proxy-Authorization: Basic eDp5"), why=FOR_THE_PROXY),
    Case("Authorization", _with(b"Authorization: Basic eDp5")),
    Case("a field twice", _with(b"X-A: a\r\nX-A: b")),
    Case("Cookie twice", _with(b"Cookie: a=b\r\nCookie: c=d")),
    Case("X-Forwarded-For", _with(b"X-Forwarded-For: 10.0.0.1"), why=TRACES),
    Case("X-Forwarded-For twice", _with(b"X-Forwarded-For: 10.0.0.1\r\nx-forwarded-for: 10.0.0.2"), why=TRACES),
    Case("X-Forwarded-Proto and -Host", _with(b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil")),
    Case("X_Forwarded_For", _with(b"X_Forwarded_For: 10.0.0.1"), why=UNDERSCORE),
    Case("Via", _with(b"Via: 1.0 other"), why=TRACES),
    Case("Via of 20 of our own kind", _with(b"Via: " + b", ".join([b"1.1 archbench"] * 20)), why=LOOPS),
    Case("Expect", (POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", b"hello"), why=EXPECTS),
    Case(
        "Expect in HTTP/1.0",
        b"POST /CASE HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        why=OLD_EXPECT,
    ),
    Case("Expect of something else", POST + b"Expect: a-miracle\r\nContent-Length: 5\r\n\r\nhello", why=ANY_EXPECT),
    Case("Max-Forwards of 0 in OPTIONS", b"OPTIONS /CASE HTTP/1.1\r\nHost: h\r\nMax-Forwards: 0\r\n\r\n"),
    Case("Max-Forwards of 5 in TRACE", b"TRACE /CASE HTTP/1.1\r\nHost: h\r\nMax-Forwards: 5\r\n\r\n", why=NGINX_TRACE),
    Case("Accept-Encoding and Range", _with(b"Accept-Encoding: gzip\r\nRange: bytes=0-1\r\nIf-Range: x")),
]

PIPELINES = [
    Case("two requests", GET + b"\r\n" + NEXT),
    Case(
        "GET, POST, HEAD, GET",
        (
            GET + b"\r\nPOST /CASE/b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
            b"HEAD /CASE/c HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT
        ),
        methods=(b"GET", b"POST", b"HEAD"),
    ),
    Case("a request without a route in the middle", (GET + b"\r\nGET /elsewhere HTTP/1.1\r\nHost: h\r\n\r\n" + NEXT)),
    Case("a request without Host in the middle", GET + b"\r\nGET /CASE/b HTTP/1.1\r\n\r\n" + NEXT, why=HOST_HAPROXY),
    Case(
        "a request with two lengths in the middle",
        (GET + b"\r\nPOST /CASE/b HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx" + NEXT),
    ),
    Case(
        "a broken chunk in the middle",
        (GET + b"\r\nPOST /CASE/b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n\r\n" + NEXT),
    ),
    Case("a body without a length in HTTP/1.0", b"POST /CASE HTTP/1.0\r\nHost: h\r\n\r\nhello" + NEXT),
    Case("Connection: close first", GET + b"Connection: close\r\n\r\n" + NEXT),
    Case("HTTP/1.0 first", b"GET /CASE HTTP/1.0\r\nHost: h\r\n\r\n" + NEXT),
    Case("HTTP/1.0 with keep-alive first", b"GET /CASE HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n" + NEXT),
    Case("keep-alive and close first", GET + b"Connection: keep-alive, close\r\n\r\n" + NEXT),
    Case("half a request at the end", GET + b"\r\nGET /CASE/b HTTP/1.1\r\nHo"),
    Case("an empty line between", POST + b"Content-Length: 5\r\n\r\nhello\r\n" + NEXT),
    Case("garbage between", GET + b"\r\nhello\r\n\r\n" + NEXT),
    Case("a NUL between", GET + b"\r\n\x00" + NEXT),
    Case("in pieces", (GET[:3], GET[3:] + b"\r", b"\n" + NEXT[:3], NEXT[3:])),
    Case(
        "a chunked body in pieces",
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5", b"\r", b"\nhel", b"lo\r\n0\r\n\r", b"\n" + NEXT),
    ),
    Case(
        "an early answer, and a request in the place of the body",
        (POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(NEXT), NEXT),
        answers=(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n",),
        early=True,
        why=f"{EARLY} nginx answers Expect itself.",
    ),
    Case(
        "an early answer to half a body",
        (POST + b"Content-Length: 50\r\n\r\nhello", NEXT),
        answers=(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",),
        early=True,
        why=f"{EARLY} {WHOLE_FIRST}",
    ),
]

REQUESTS = {
    "Content-Length of a request": LENGTHS,
    "Transfer-Encoding of a request": CODINGS,
    "Chunks of a request": CHUNKS,
    "Heads of requests": HEADS,
    "Host and authority": HOSTS,
    "Request targets": TARGETS,
    "Fields of a request": FIELDS,
    "Several requests on a connection": PIPELINES,
}
