"""What the rules' tests share: requests to vary, and the two ways in which one ends."""

from __future__ import annotations

from tests.functional.gateway_rig import GET, Message

HEAD = b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: h\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
AFTER = GET.replace(b"/a", b"/a/after")
OWN = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via")


def refused(gateway, upstream, request, statuses=(400,)):
    """Send a request and another one after it: it has to be refused, and nothing of either to be sent on."""
    with gateway.connect() as wire:
        wire.send(request + AFTER)
        answer = wire.message()
        assert answer.status in statuses, answer.head
        assert answer.get("connection") == "close"
        assert wire.to_close() == b""
    assert upstream.wires == []


def taken(gateway, upstream, request, methods=()):
    """Send a request and another one after it: both have to reach the upstream. Return the first as it came there."""
    script = upstream.script
    with gateway.connect() as wire:
        wire.send(request + AFTER)
        assert (wire.message().status, wire.message().status) == (200, 200)
    first, second = script.requests
    assert second.first == "GET /a/after HTTP/1.1"
    return first


def theirs(message: Message) -> list[tuple[str, str]]:
    """Return the fields that are not the gateway's own, in their order."""
    return [(name, value) for name, value in message.fields if name.lower() not in OWN]
