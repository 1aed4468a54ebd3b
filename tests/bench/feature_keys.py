"""Keys, tokens and a certificate for the features that need them, drawn anew for every run."""

from __future__ import annotations

import datetime as dt
import ipaddress
import secrets
import time
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_LIVES_S = 24 * 3600


class Keys:
    """What a gateway is given to check tokens with and to serve TLS with, as files; and tokens that it will accept."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.secret = secrets.token_hex(32)
        self._rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.public_key_file = folder / "public.pem"
        self.public_key_file.write_bytes(_public(self._rsa))
        self.certificate_file, self.key_file = folder / "certificate.pem", folder / "key.pem"
        _write_certificate(self.certificate_file, self.key_file)
        self._tokens: dict[tuple[str, int], str] = {}

    def token(self, algorithm: str, number: int) -> str:
        """Return the token of user `number`, signed with HS256 or RS256."""
        if (algorithm, number) not in self._tokens:
            now = int(time.time())
            claims = {"sub": f"user-{number}", "iat": now, "exp": now + _LIVES_S, "scope": "read write"}
            key = self.secret if algorithm == "HS256" else self._rsa
            self._tokens[algorithm, number] = jwt.encode(claims, key, algorithm)
        return self._tokens[algorithm, number]


def _public(key: rsa.RSAPrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def _write_certificate(certificate_file: Path, key_file: Path) -> None:
    """Write a certificate for loopback that its own key has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(seconds=_LIVES_S))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
