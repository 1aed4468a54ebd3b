"""The gateway's own answers: errors and health."""

import json
from email.utils import formatdate
from http import HTTPStatus

_BODILESS = (204, 304)  # RFC 9110 15.3.5, 15.4.5; a length is not announced either (8.6)
_MEANINGS = {status.value: status.phrase for status in HTTPStatus}


def local_answer(status: int, why: str, own_fields: bytes, head_only: bool) -> bytes:
    """Return a whole answer with a small JSON body that says `why`; `own_fields` are lines for this hop.

    `head_only` leaves the body out, as an answer to HEAD does (RFC 9110 9.3.2).
    """
    phrase = _MEANINGS.get(status, "Unknown")
    if status in _BODILESS:
        head = f"HTTP/1.1 {status} {phrase}\r\nDate: {formatdate(usegmt=True)}\r\n"
        return b"%b%b\r\n" % (head.encode("ascii"), own_fields)
    key = "status" if status < 400 else "error"
    body = json.dumps({key: why, "code": status, "from": "gateway"}).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nDate: {formatdate(usegmt=True)}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    return b"%b%b\r\n%b" % (head.encode("ascii"), own_fields, b"" if head_only else body)
