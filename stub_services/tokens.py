"""Bearer tokens: JWT, HS256, signed by auth and checked by every service with the same secret.

PyJWT checks them. To sign, only its HMAC is used: the header is always the same and the claims are ours, and looking
both over each time, as `jwt.encode` does, takes four times as long as the signature.
"""

from __future__ import annotations

import json
import time

import jwt
from jwt.algorithms import HMACAlgorithm
from jwt.utils import base64url_encode

LIFETIME_S = 3600

_READER = jwt.PyJWT({"require": ["exp", "sub"]})
_HMAC = HMACAlgorithm(HMACAlgorithm.SHA256)
_HEADER = base64url_encode(b'{"alg":"HS256","typ":"JWT"}')


class BadTokenError(Exception):
    """No token, not one of ours, or an expired one."""


def sign(user_id: str, secret: str, now: float | None = None, lifetime_s: int = LIFETIME_S) -> str:
    """Return a token for the learner, valid for `lifetime_s` from `now` (seconds of the epoch)."""
    issued = int(time.time() if now is None else now)
    claims = {"sub": user_id, "role": "learner", "iat": issued, "exp": issued + lifetime_s}
    signed = _HEADER + b"." + base64url_encode(json.dumps(claims).encode())
    return (signed + b"." + base64url_encode(_HMAC.sign(signed, secret.encode()))).decode()


def verify(authorization: bytes | None, secret: str) -> str:
    """Return the learner's id from an Authorization header. Raises BadTokenError."""
    if authorization is None or authorization[:7].lower() != b"bearer ":
        raise BadTokenError
    try:
        claims = _READER.decode(authorization[7:], secret, algorithms=["HS256"])
    except jwt.InvalidTokenError as refused:
        raise BadTokenError from refused
    return str(claims["sub"])
