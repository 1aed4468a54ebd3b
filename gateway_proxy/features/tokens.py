"""Bearer tokens checked here: JSON Web Tokens, HS256 or RS256, by PyJWT; a good one is checked once and remembered.

Order: after ids and CORS, and after rate limits by client, route or field; before rate limits by claim and faults.
"""

from __future__ import annotations

import json
import math
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jwt

from gateway_proxy.config.routes import Jwt
from gateway_proxy.exchange import Exchange, Refusal
from gateway_proxy.features.fields import all_values, lookalikes
from gateway_proxy.features.keys import Key, KeyProblem, load_keys
from gateway_proxy.features.remembered import Remembered

__all__ = ["JwtCheck", "KeyProblem"]

TOKEN_LIMIT_BYTES = 16384
_BEARER = re.compile(rb"bearer(?: +|\Z)", re.IGNORECASE)
_COMPACT = re.compile(rb"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")  # RFC 7515 7.1
_UNFIT = re.compile("[\0-\x1f\x7f-\x9f]|^ | $")  # controls, and what a reader of fields would strip
_CHALLENGE = b'WWW-Authenticate: Bearer realm="gateway"'
_NO_TOKEN = Refusal(401, "a bearer token is needed", _CHALLENGE + b"\r\n")
_TWO_TOKENS = Refusal(400, "more than one Authorization", _CHALLENGE + b', error="invalid_request"\r\n')
# Times are judged here, by a clock that is an argument; PyJWT would read its own.
_READER = jwt.PyJWT({"require": ["exp"], "verify_exp": False, "verify_nbf": False, "verify_iat": False})


class _Good(NamedTuple):
    """What a token that is good brings: its claims, and the lines that tell the upstream of them."""

    claims: dict[str, Any]
    lines: bytes


class _BadTokenError(Exception):
    """The token is refused; the message is for its bearer."""


class JwtCheck:
    """Lets requests with a good bearer token pass; 401 as RFC 6750 3 has it for the others.

    Good: signed with the key that its `kid` names, if keys have names, by that key's one algorithm; `exp` is there
    and `exp + leeway_s` not reached; `nbf` reached, less `leeway_s`; `iss` and `aud` as configured (a token with `aud`
    is refused where no audience is configured: RFC 7519 4.1.3). `iat` is not judged. `clock` is in seconds of the
    epoch.

    `claims` (claim -> field) are told upstream. The client's own fields of these names, also spelt with `_` for `-`,
    are dropped. A claim that is missing is not told. A string is sent as UTF-8, a number or boolean as JSON, a list of
    strings with commas between; a token is refused whose claim cannot be told so unharmed.

    `request_owned` names these fields (lower case) for who forwards trailers: some servers add trailers to the fields
    of the head (uvicorn does), where a client could forge them after all.

    Keys are read here: a new JwtCheck at a reload takes new keys and forgets every token. Raises KeyProblem.
    `exchange.claims` is one object for all requests with that token; nobody may change it.
    """

    def __init__(self, config: Jwt, claims: Mapping[str, str], clock: Callable[[], float]) -> None:
        self._config = config
        self._claims = dict(claims)
        self._clock = clock
        self._keys = load_keys(config)
        self._good: Remembered[_Good] = Remembered(config.cached_tokens)
        self._authorizations = all_values("Authorization")
        self.request_owned = frozenset(field.lower().encode("ascii") for field in claims.values())
        self._forged = lookalikes(claims.values()) if claims else None

    def __call__(self, exchange: Exchange) -> Refusal | None:
        """Check the token, and tell the upstream what it claims."""
        if self._forged is not None:
            for name in self._forged(exchange.head):
                exchange.dropped.add(name.lower())
        came = self._authorizations(exchange.head)
        if len(came) != 1:
            return _TWO_TOKENS if came else _NO_TOKEN
        now = self._clock()
        good = self._good.get(came[0], now)
        if good is None:
            try:
                good = self._check(came[0], now)
            except _BadTokenError as refused:
                return _refusal(str(refused))
            if good is None:
                return _NO_TOKEN
        exchange.claims = good.claims
        if good.lines:
            exchange.request_lines.append(good.lines)
        return None

    def _check(self, authorization: bytes, now: float) -> _Good | None:
        """Return what a token brings; None if there is none. Raises _BadTokenError."""
        value = authorization.strip(b" \t")
        scheme = _BEARER.match(value)
        if scheme is None:
            return None
        claims = self._verified(value[scheme.end() :])
        until = self._judge_times(claims, now)
        good = _Good(claims, _lines_of(claims, self._claims))
        self._good.put(authorization, good, until)
        return good

    def _verified(self, token: bytes) -> dict[str, Any]:
        key = self._key_for(token)
        try:
            claims: dict[str, Any] = _READER.decode(
                token,
                key.material,
                algorithms=[key.algorithm],
                audience=self._config.audience,
                issuer=self._config.issuer,
            )
        except jwt.InvalidAudienceError:
            raise _BadTokenError("the token is for another audience") from None
        except jwt.InvalidIssuerError:
            raise _BadTokenError("the token is from another issuer") from None
        except jwt.MissingRequiredClaimError as missing:
            raise _BadTokenError(f"the token has no {missing.claim}") from None
        except jwt.PyJWTError:
            raise _BadTokenError("the token is not valid") from None
        return claims

    def _key_for(self, token: bytes) -> Key:
        compact = _COMPACT.match(token) if len(token) <= TOKEN_LIMIT_BYTES else None
        if compact is None:
            raise _BadTokenError("not a token in compact form")
        key = self._keys.find(_kid(compact[1]) if self._keys.named else None)
        if key is None:
            raise _BadTokenError("the token is signed with an unknown key")
        return key

    def _judge_times(self, claims: dict[str, Any], now: float) -> float:
        """Return until when the token is good, leeway included. Raises _BadTokenError when it is not good now."""
        until = _time(claims, "exp") + self._config.leeway_s
        if until <= now:
            raise _BadTokenError("the token has expired")
        if "nbf" in claims and _time(claims, "nbf") - self._config.leeway_s > now:
            raise _BadTokenError("the token is not yet valid")
        return until


def _kid(header: bytes) -> object:
    """Return the `kid` of a token's header, which nobody has vouched for yet; PyJWT reads the rest of it."""
    try:
        fields = json.loads(urlsafe_b64decode(header + b"=="))
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise _BadTokenError("the token is not valid")
    return fields.get("kid")


def _time(claims: dict[str, Any], name: str) -> float:
    """Return a NumericDate (RFC 7519 2) in seconds of the epoch."""
    value = claims[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < math.inf:
        raise _BadTokenError(f"{name} is not a time")
    try:
        return float(value)
    except OverflowError:
        raise _BadTokenError(f"{name} is not a time") from None


def _lines_of(claims: dict[str, Any], names: dict[str, str]) -> bytes:
    lines = []
    for claim, field in names.items():
        value = _text(claims.get(claim))
        if value is None:
            continue
        if _UNFIT.search(value):
            raise _BadTokenError("a claim cannot be told in a field")
        lines.append(f"{field}: {value}\r\n")
    try:
        return "".join(lines).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say
        raise _BadTokenError("a claim cannot be told in a field") from None


def _text(value: object) -> str | None:
    """Return a claim as a field has it. Raises _BadTokenError for objects, and lists that commas do not keep apart."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list) and all(map(_keeps_apart, value)):
        return ",".join(value)
    raise _BadTokenError("a claim cannot be told in a field")


def _keeps_apart(item: object) -> bool:
    return isinstance(item, str) and item != "" and item == item.strip() and "," not in item


def _refusal(why: str) -> Refusal:
    line = f', error="invalid_token", error_description="{why}"\r\n'
    return Refusal(401, why, _CHALLENGE + line.encode("ascii"))
