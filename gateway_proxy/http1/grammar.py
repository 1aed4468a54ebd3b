"""The grammar of heads as regular expressions (RFC 9110 5, RFC 9112 2 to 5), strict: what does not match is refused.

Every repetition is possessive or in an atomic group, so that matching is linear in the head's length. Groups are never
possessive: Python before 3.11.5, which Debian 12 has, does not match some of them that it should (gh-106052). llhttp,
which reads heads in the services' client, is the witness in the tests: no head passes here that it refuses, and both
find the same fields.
"""

import re

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_VALUE = rb"[\t -~\x80-\xff]*+"
_LINE = _TOKEN + rb"++:" + _VALUE + rb"\r\n"

REQUEST_FIELDS = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"via",
        b"expect",
        b"te",
        b"upgrade",
        b"keep-alive",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"forwarded",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"http2-settings",
    }
)
"""Fields of a request that frame it, concern this hop only, or are written by this hop: lower case."""

ANSWER_FIELDS = (
    REQUEST_FIELDS
    - {b"host", b"expect", b"forwarded"}
    - {
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    }
)
"""The same of an answer."""


def _other_line(names: frozenset[bytes]) -> bytes:
    """Return the pattern of a field line that has none of these names; most lines are told by their first letter."""
    letters = {bytes([name[0]]) for name in names}
    rest = b"".join(bytes([c]) for c in b"abcdefghijklmnopqrstuvwxyz" if bytes([c]) not in letters)
    told = b"[" + rest + rest.upper() + b"]"
    named = rb"(?!(?i:" + b"|".join(re.escape(name) for name in sorted(names)) + rb"):)"
    return b"(?:" + told + b"|" + named + _TOKEN + b")" + _TOKEN + rb"*+:" + _VALUE + rb"\r\n"


_OTHER_OF_REQUEST = rb"(?>(?:" + _other_line(REQUEST_FIELDS) + rb")*)"
_OTHER_OF_ANSWER = rb"(?>(?:" + _other_line(ANSWER_FIELDS) + rb")*)"
_LENGTH = rb"[Cc]ontent-[Ll]ength: ?([0-9]{1,15}+)\r\n"
_KEPT = rb"(?>([Cc]onnection: [Kk]eep-[Aa]live\r\n)?)"

PLAIN_REQUEST = re.compile(
    rb"(GET|POST|HEAD|PUT|DELETE|PATCH|OPTIONS) (/[!\"$-~]*+) HTTP/1\.1\r\n[Hh]ost: ([!-~]++)\r\n"
    + _OTHER_OF_REQUEST
    + rb"(?>(?:"
    + _LENGTH
    + _OTHER_OF_REQUEST
    + rb")?)\r\n"
).match
"""Most requests: Host stands first, at most a length beside it, nothing else to decide on.

Groups: method, target, host (not judged yet), length."""

PLAIN_ANSWER = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9]) [\t -~\x80-\xff]*+\r\n"
    + _OTHER_OF_ANSWER
    + _KEPT
    + _OTHER_OF_ANSWER
    + _LENGTH
    + _OTHER_OF_ANSWER
    + _KEPT
    + _OTHER_OF_ANSWER
    + rb"\r\n"
).match
"""Most answers: of a known length. Groups: status, a Connection line to be cut, length, a Connection line to be cut."""

REQUEST = re.compile(rb"(" + _TOKEN + rb"++) ([!-~]++) HTTP/1\.([01])\r\n(?>(?:" + _LINE + rb")*)\r\n").match
"""Any request; groups: method, target, minor version."""

ANSWER = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?>(?: [\t -~\x80-\xff]*+)?)\r\n(?>(?:" + _LINE + rb")*)\r\n").match
"""Any answer; groups: minor version, status."""

FIELD_LINES = re.compile(rb"(?>(?:" + _LINE + rb")*)").fullmatch

BARE_LF = re.compile(rb"(?<!\r)\n").search
"""A line end that is none (RFC 9112 2.2): a head with one never ends as it should, so there is no use in waiting."""

METHOD = re.compile(_TOKEN + rb"++").fullmatch
VERSION = re.compile(rb"HTTP/[0-9]\.[0-9]").fullmatch
_HOST_NAME = rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"
HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|" + _HOST_NAME + rb")(?::[0-9]{0,5})?\Z").match
ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)(.*)\Z", re.IGNORECASE | re.DOTALL).match

METHODS = frozenset(
    b"ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE NOTIFY "
    b"OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK "
    b"UNLOCK UNSUBSCRIBE".split()
)
"""Methods that are known (the IANA registry's); others are a 501 (RFC 9110 9.1)."""
