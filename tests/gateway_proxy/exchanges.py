"""Exchanges for the features' tests: a request read by the gateway's own reader, and how it went."""

from gateway_proxy.exchange import Exchange
from gateway_proxy.http1 import RequestReader

MS = 1_000_000


def exchange_of(*fields, method="GET", target="/a/b?c=d", peer="127.0.0.1", route="a"):
    """An exchange whose request has these field lines, such as "Origin: x"."""
    lines = [f"{method} {target} HTTP/1.1", "Host: h", *fields, "", ""]
    head = "\r\n".join(lines).encode("latin-1")
    reader = RequestReader(peer)
    reader.read(head)
    return Exchange(reader, head, peer.encode(), route, 0)


def ended(exchange, **outcome):
    """The exchange with what became of it."""
    for name, value in outcome.items():
        setattr(exchange, name, value)
    return exchange


def lines_of(lines):
    """Whole field lines as a dict, which they must be fit for: each ends in CRLF, each name once."""
    text = b"".join(lines).decode("utf-8")
    assert text.endswith("\r\n") or not text
    pairs = [line.split(": ", 1) for line in text.split("\r\n")[:-1]]
    assert len({name.lower() for name, _ in pairs}) == len(pairs)
    return dict(pairs)
