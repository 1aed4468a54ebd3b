"""What a service process is told at its start: where it listens, where its peers are, how it works.

Only addresses of peers: whether such an address belongs to the peer or to a gateway is the mode, and the mode is
nobody's business in here.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

Work = Literal["bare", "realistic"]
PolicyName = Literal["none", "documented", "corrected"]

DEFAULT_PORTS: dict[str, int] = {
    "auth": 8081,
    "user": 8082,
    "course": 8083,
    "exercise": 8084,
    "notification": 8085,
}
"""Service -> port, as the built-in scenario declares them (a test compares the two)."""

SERVICE_NAMES = tuple(DEFAULT_PORTS)
WORKS: tuple[Work, ...] = ("bare", "realistic")
POLICIES: tuple[PolicyName, ...] = ("none", "documented", "corrected")
MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: an HS256 key is at least as long as the hash

_DEV_API_KEY = "development-internal-key"
_DEV_JWT_SECRET = "development-secret-that-is-no-secret"  # noqa: S105 - for a machine of one's own, and says so


class SettingsError(ValueError):
    """A setting that cannot be used; the message is one line for the person who set it."""


@dataclass(frozen=True)
class Settings:
    """Everything a service process needs to know. Raises SettingsError for values that cannot work.

    `peers` maps a service to its base URL, or to several that serve the same, separated by commas. `clock_scale`
    divides the policies' pauses and breaker times. `log_dir` receives the call, sweep and event logs; None records
    nothing. `sweep_schedule` names the file with the due times of internally started flows; it may appear later.
    """

    name: str
    port: int
    store_dir: Path
    peers: Mapping[str, str]
    internal_api_key: str
    jwt_secret: str
    host: str = "127.0.0.1"
    work: Work = "bare"
    policy: PolicyName = "none"
    clock_scale: float = 1.0
    seed: int = 1
    log_dir: Path | None = None
    sweep_schedule: Path | None = None

    def __post_init__(self) -> None:
        _one_of("service", self.name, SERVICE_NAMES)
        _one_of("WORK", self.work, WORKS)
        _one_of("POLICY", self.policy, POLICIES)
        _check(0 <= self.port <= 65535, f"port {self.port} is not between 0 and 65535")
        _check(0 < self.clock_scale < math.inf, f"CLOCK_SCALE {self.clock_scale:g} is not a number above 0")
        key = self.internal_api_key
        _check(
            bool(key) and key.isascii() and key.isprintable(),
            "INTERNAL_API_KEY is empty, or holds what no HTTP field can",
        )
        _check(
            len(self.jwt_secret.encode()) >= MIN_SECRET_BYTES,
            f"JWT_SECRET has {len(self.jwt_secret.encode())} bytes; HS256 needs at least {MIN_SECRET_BYTES}",
        )
        for peer, url in self.peers.items():
            _one_of("peer", peer, SERVICE_NAMES)
            peer_addresses(peer, url)

    @classmethod
    def from_environment(cls, name: str, port: int, environ: Mapping[str, str]) -> Settings:
        """Read the settings from environment variables, with defaults for a machine of one's own.

        Raises SettingsError with a one-line message; OSError when the default store folder cannot be made.
        """
        return cls(
            name=name,
            port=port,
            store_dir=_store_dir(environ),
            peers={peer: _peer_url(peer, environ) for peer in SERVICE_NAMES},
            internal_api_key=environ.get("INTERNAL_API_KEY", _DEV_API_KEY),
            jwt_secret=environ.get("JWT_SECRET", _DEV_JWT_SECRET),
            work=cast("Work", environ.get("WORK", "bare")),
            policy=cast("PolicyName", environ.get("POLICY", "none")),
            clock_scale=_number(environ, "CLOCK_SCALE", 1.0),
            seed=_whole_number(environ, "SEED", 1),
            log_dir=_optional_path(environ, "LOG_DIR"),
            sweep_schedule=_optional_path(environ, "SWEEP_SCHEDULE"),
        )


def peer_addresses(peer: str, urls: str) -> list[tuple[str, int]]:
    """Return (host, port) of each of a peer's base URLs, which are separated by commas, in their order.

    Raises SettingsError unless each is `http://HOST[:PORT]` and none stands there twice.
    """
    found = [peer_address(peer, url.strip()) for url in urls.split(",")]
    _check(len(set(found)) == len(found), f"the URLs of {peer}, {urls!r}, name an address twice; each of them once")
    return found


def peer_address(peer: str, url: str) -> tuple[str, int]:
    """Return (host, port) of a peer's base URL. Raises SettingsError unless it is `http://HOST[:PORT]`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as broken:
        raise SettingsError(f"the URL of {peer}, {url!r}, cannot be read: {broken}") from None
    _check(parts.scheme == "http" and bool(parts.hostname), f"the URL of {peer}, {url!r}, is not http://HOST:PORT")
    _check(
        not parts.path.strip("/") and not parts.query, f"the URL of {peer}, {url!r}, has a path; give http://HOST:PORT"
    )
    return str(parts.hostname), 80 if port is None else port


def _peer_url(peer: str, environ: Mapping[str, str]) -> str:
    return environ.get(f"{peer.upper()}_SERVICE_URL", f"http://127.0.0.1:{DEFAULT_PORTS[peer]}")


def _store_dir(environ: Mapping[str, str]) -> Path:
    folder = Path(environ.get("STORE_DIR") or Path(tempfile.gettempdir()) / "archbench-stores")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _optional_path(environ: Mapping[str, str], variable: str) -> Path | None:
    return Path(environ[variable]) if environ.get(variable) else None


def _number(environ: Mapping[str, str], variable: str, default: float) -> float:
    try:
        return float(environ.get(variable, default))
    except ValueError:
        raise SettingsError(f"{variable} {environ[variable]!r} is not a number") from None


def _whole_number(environ: Mapping[str, str], variable: str, default: int) -> int:
    try:
        return int(environ.get(variable, default))
    except ValueError:
        raise SettingsError(f"{variable} {environ[variable]!r} is not a whole number") from None


def _one_of(what: str, value: str, choices: tuple[str, ...]) -> None:
    _check(value in choices, f"{what} {value!r} is none of {', '.join(choices)}")


def _check(good: bool, message: str) -> None:
    if not good:
        raise SettingsError(message)
