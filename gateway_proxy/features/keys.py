"""The keys that tokens are checked with, each bound to one algorithm, so that none is ever used with another.

A token that claims HS256 and is signed with the text of a public key (algorithm confusion, RFC 8725 2.1) finds no key
here that would be used that way.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import HMACAlgorithm

from gateway_proxy.config.routes import Jwt

_SECRET_LEAST_BYTES = 32  # RFC 7518 3.2
_RSA_LEAST_BITS = 2048  # RFC 7518 3.3
_ALGORITHM_OF = {"oct": "HS256", "RSA": "RS256"}


class KeyProblem(Exception):  # noqa: N818 - like FileProblem: not every problem is an error of ours
    """A key that cannot be read or must not be used; the message names the source and says what is wrong."""


class Key(NamedTuple):
    """What PyJWT verifies with, and the one algorithm it may be used for."""

    algorithm: str
    material: bytes | RSAPublicKey


class Keys:
    """Keys by id, and the one for tokens that name none."""

    def __init__(self, by_id: dict[str, Key], alone: Key | None) -> None:
        self._by_id = by_id
        self._alone = alone

    @property
    def named(self) -> bool:
        """Whether a token's `kid` matters."""
        return bool(self._by_id)

    def find(self, kid: object) -> Key | None:
        """Return the key that a token with this `kid` must be signed with; None as kid: it names none."""
        if kid is None:
            return self._alone
        return self._by_id.get(kid) if isinstance(kid, str) else None


def load_keys(config: Jwt) -> Keys:
    """Return the keys of a configuration, files read. Raises KeyProblem."""
    if config.jwks_file is not None:
        return _from_set(config.jwks_file, config.algorithms)
    return Keys({}, _single(config))


def _single(config: Jwt) -> Key:
    if config.secret is not None:
        return _secret("secret", config.secret.encode())
    if config.secret_file is not None:
        return _secret(config.secret_file, _read(config.secret_file).rstrip(b"\r\n"))
    name = config.public_key_file or ""
    try:
        key = load_pem_public_key(_read(name))
    except (ValueError, UnsupportedAlgorithm):
        raise KeyProblem(f"{name}: holds no public key in PEM") from None
    return _public(name, key)


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise KeyProblem(f"{name}: cannot be read: {error.strerror or error}") from None


def _secret(name: str, secret: bytes) -> Key:
    if len(secret) < _SECRET_LEAST_BYTES:
        raise KeyProblem(f"{name}: {len(secret)} bytes; HS256 needs at least {_SECRET_LEAST_BYTES}")
    try:
        return Key("HS256", HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret))
    except jwt.InvalidKeyError:
        raise KeyProblem(f"{name}: looks like a key for another algorithm, not like a secret") from None


def _public(name: str, key: object) -> Key:
    if not isinstance(key, RSAPublicKey):
        raise KeyProblem(f"{name}: not a public key of RSA, which is what RS256 needs")
    if key.key_size < _RSA_LEAST_BITS:
        raise KeyProblem(f"{name}: {key.key_size} bits; RS256 needs at least {_RSA_LEAST_BITS}")
    return Key("RS256", key)


def _from_set(name: str, algorithms: tuple[str, ...]) -> Keys:
    """Return the keys of a JWK Set (RFC 7517 5) that are for checking signatures with one of `algorithms`."""
    usable = [entry for entry in _entries(name) if _is_usable(entry, algorithms)]
    if not usable:
        raise KeyProblem(f"{name}: no key for {' or '.join(algorithms)}")
    keys = [(entry.get("kid"), _from_entry(f"{name}: key {entry.get('kid')!r}", entry)) for entry in usable]
    by_id = {str(kid): key for kid, key in keys if kid is not None}
    if len(by_id) + sum(kid is None for kid, _ in keys) != len(keys):
        raise KeyProblem(f"{name}: two keys have the same kid")
    if len(by_id) < len(keys) > 1:
        raise KeyProblem(f"{name}: a key without kid among others")
    return Keys(by_id, keys[0][1] if len(keys) == 1 else None)


def _entries(name: str) -> list[dict[str, Any]]:
    try:
        entries = json.loads(_read(name))["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        entries = None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise KeyProblem(f"{name}: not a JWK Set: an object with a list of keys")
    return entries


def _is_usable(entry: dict[str, Any], algorithms: tuple[str, ...]) -> bool:
    algorithm = _ALGORITHM_OF.get(str(entry.get("kty")))
    operations = entry.get("key_ops", ["verify"])
    return (
        algorithm in algorithms
        and entry.get("alg", algorithm) == algorithm
        and entry.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )


def _from_entry(name: str, entry: dict[str, Any]) -> Key:
    try:
        key = jwt.PyJWK.from_dict(entry).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise KeyProblem(f"{name}: not a valid key") from None
    return _secret(name, key) if isinstance(key, bytes) else _public(name, key)
