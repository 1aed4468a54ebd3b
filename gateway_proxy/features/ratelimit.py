"""Rate limits: a token bucket for each key, kept as one number (the generic cell rate algorithm, ATM Forum TM 4.0).

The number is when the bucket will be full again. A request moves it on by `window / requests`, and is refused when that
would be more than `burst` times that far in the future.

Order: after CORS; before authentication when the key is the client, the route or a field, so that guessing tokens is
limited too; after JwtCheck when the key is a claim. Limits are each process's own: with several workers a client may
get that many times as much.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

from gateway_proxy.config.routes import RateLimit as Config
from gateway_proxy.exchange import Exchange, Refusal

_S = 1_000_000_000
_LOOKS = 4  # at buckets that may be forgotten, for each new key
_LONG_BYTES = 64
_COLON = ord(":")
_MAPPED = bytes(10) + b"\xff\xff"  # an IPv4 address written as IPv6: RFC 4291 2.5.5.2

KeyOf = Callable[[Exchange], bytes]


class RateLimit:
    """Takes a token for every request, or refuses with 429.

    `clock_ns` is monotonic. Answers carry RateLimit-Policy and RateLimit as in draft-ietf-httpapi-ratelimit-headers-11,
    the policy named `name`: `r` requests may be sent at once, and who spends them over `t` seconds goes at the policy's
    rate; for `r=0`, `t` is when the next is let pass, as Retry-After says.

    At most `max_keys` buckets are kept. Only a full one is ever forgotten, which changes nothing, as a new one is full:
    whoever has used a bucket up cannot get it back by flooding the gateway with other keys. When no full one is
    found, new keys share a single bucket until one is.
    """

    def __init__(self, config: Config, clock_ns: Callable[[], int], name: str) -> None:
        self._clock_ns = clock_ns
        self._interval_ns = max(1, -(-round(config.window_s * _S) // config.requests))
        self._burst_ns = (config.burst or config.requests) * self._interval_ns
        self._key_of = _key_of(config.key)
        self._most = config.max_keys
        self._full_ns: OrderedDict[bytes | None, int] = OrderedDict()  # None: of those who share
        self._lines = _policy_lines(config, name)

    def __call__(self, exchange: Exchange) -> Refusal | None:
        """Let the request pass, or refuse it; both say what is left."""
        now_ns = self._clock_ns()
        key: bytes | None = self._key_of(exchange)
        full_ns = self._full_ns.get(key)
        if full_ns is None:
            key, full_ns = self._newcomer(key, now_ns)
        spent_ns = self._interval_ns + (full_ns - now_ns if full_ns > now_ns else 0)
        left_ns = self._burst_ns - spent_ns
        if left_ns < 0:
            return self._refuse(exchange, _seconds(-left_ns))
        self._full_ns[key] = now_ns + spent_ns
        left = left_ns // self._interval_ns
        over_ns = left * self._interval_ns if left else self._interval_ns - left_ns
        exchange.answer_lines.append(b"%b%d;t=%d\r\n" % (self._lines, left, _seconds(over_ns)))
        return None

    def _refuse(self, exchange: Exchange, wait_s: int) -> Refusal:
        exchange.answer_lines.append(b"%b0;t=%d\r\n" % (self._lines, wait_s))
        return Refusal(429, "rate limit", b"Retry-After: %d\r\n" % wait_s)

    def _newcomer(self, key: bytes | None, now_ns: int) -> tuple[bytes | None, int]:
        """Return the bucket for a key that has none: a new one, or what all have to share."""
        if len(self._full_ns) < self._most or self._forget_one(now_ns):
            return key, 0
        return None, self._full_ns.get(None, 0)

    def _forget_one(self, now_ns: int) -> bool:
        """Forget one of the oldest buckets if it is full; those that are not go to the end of the queue."""
        for _ in range(_LOOKS):
            key, full_ns = self._full_ns.popitem(last=False)
            if full_ns <= now_ns:
                return True
            self._full_ns[key] = full_ns
        return False


def _seconds(time_ns: int) -> int:
    """Return whole seconds, rounded up."""
    return -(-time_ns // _S)


def _policy_lines(config: Config, name: str) -> bytes:
    """Return the policy's line, and the other one up to where its number goes.

    The window is left out when it is not of whole seconds, which is all that the draft can say.
    """
    quoted = "".join(f"\\{char}" if char in '"\\' else char for char in name if " " <= char <= "~")
    window = f";w={int(config.window_s)}" if config.window_s.is_integer() else ""
    policy = f'"{quoted}";q={config.requests}{window}'
    return f'RateLimit-Policy: {policy}\r\nRateLimit: "{quoted}";r='.encode("ascii")


def _key_of(key: str) -> KeyOf:
    """Return what tells one client from another; those without the field or claim share a bucket."""
    kind, _, name = key.partition(":")
    if kind == "client":
        return _network
    if kind == "route":
        return lambda _exchange: b""
    if kind == "field":
        return lambda exchange: _short(exchange.field(name.encode("ascii")) or b"")
    return lambda exchange: _short(_text(exchange.claims.get(name)))


def _network(exchange: Exchange) -> bytes:
    """Return the client's address; of IPv6 its network of 64 bits, as who has one address there has them all."""
    peer = exchange.peer
    if _COLON not in peer:
        return peer
    try:
        packed = socket.inet_pton(socket.AF_INET6, peer.decode("ascii").partition("%")[0])
    except (OSError, UnicodeDecodeError):
        return peer
    return packed if packed.startswith(_MAPPED) else packed[:8]


def _text(claim: object) -> bytes:
    return b"" if claim is None else str(claim).encode("utf-8", "surrogatepass")


def _short(value: bytes) -> bytes:
    """Return the value, or what stands for it: keys are the client's choice, and so would be the memory they take."""
    return value if len(value) <= _LONG_BYTES else blake2b(value, digest_size=16).digest()
