"""The gateway's configuration: frozen values, checked when they are read.

Times are in seconds, sizes in bytes, shares in 0..1. Every optional key has the default shown here; `null` switches a
limit off. Names of files are taken from the folder in which the gateway was started.
"""

from __future__ import annotations

import ipaddress
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from gateway_proxy.config import kinds
from gateway_proxy.config.kinds import Count, FileName, Frozen, Name, Port, Seconds, Size
from gateway_proxy.config.routes import Route, Timeouts
from gateway_proxy.config.upstreams import Upstream
from scenarios.files import FileProblem, LocatedError, load_model

__all__ = ["FileProblem", "GatewayConfig", "Route", "Timeouts", "Upstream", "load", "parse"]

MOST_WORKERS = 64


def _check_loopback(host: str) -> str:
    if host != "localhost" and not _is_loopback(host):
        raise ValueError(f"{host!r} is not on loopback; the admin port asks nobody who they are")
    return host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Tls(Frozen):
    """Files in PEM: the certificate with its chain, and its key."""

    certificate_file: FileName
    key_file: FileName


class Listen(Frozen):
    """Where the gateway accepts connections; `host` is an address of this machine or a name for one."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port
    tls: Tls | None = None


class Admin(Frozen):
    """Where the admin application listens: status, routes, pools, breakers, metrics, reload."""

    host: Annotated[str, AfterValidator(_check_loopback)] = "127.0.0.1"
    port: Port


class Limits(Frozen):
    """What one client may ask for before it gets a 4xx, or 503 when the gateway is full."""

    head_bytes: Annotated[int, Field(strict=True, ge=256)] = 65536
    fields: Count = 100
    body_bytes: Size | None = None
    connections: Count = 10000
    head_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 30.0
    idle_timeout_s: Seconds = 90.0


class Forwarding(Frozen):
    """Fields that tell the next hop about this one; requests with `max_hops` of our Via entries are a loop."""

    x_forwarded: bool = True
    forwarded: bool = False  # RFC 7239
    via: bool = True
    max_hops: Count = 16


class RequestId(Frozen):
    """Give every request an id, told upstream, to the client and in the log; `trust` keeps the one that came."""

    field: kinds.OwnField = "X-Request-Id"
    trust: bool = False


class Trace(Frozen):
    """Take part in traces as W3C Trace Context has it: keep the trace that came, with a parent of our own."""

    sampled_share: kinds.Share = 1.0


class AccessLog(Frozen):
    """A JSON object a line for every answer, written in batches, at the latest every `flush_s`."""

    file: FileName
    flush_s: Seconds = 1.0


class GatewayConfig(Frozen):
    """Everything the gateway is told: where it listens, who stands behind it, and which path goes where."""

    listen: Listen
    upstreams: dict[Name, Upstream] = Field(min_length=1)
    routes: tuple[Route, ...] = Field(min_length=1)
    limits: Limits = Limits()
    forwarding: Forwarding = Forwarding()
    health_path: kinds.Path | None = None
    grace_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 10.0
    workers: Annotated[int, Field(strict=True, ge=1, le=MOST_WORKERS)] = 1
    admin: Admin | None = None
    metrics: bool = False
    access_log: AccessLog | None = None
    request_id: RequestId | None = None
    trace: Trace | None = None
    seed: Annotated[int, Field(strict=True, ge=0)] | None = None  # of jitter, shares and ids; none: from the system

    @cached_property
    def url(self) -> str:
        """The URL of the gateway's root, without a trailing slash."""
        host = f"[{self.listen.host}]" if ":" in self.listen.host else self.listen.host
        return f"{'https' if self.listen.tls else 'http'}://{host}:{self.listen.port}"

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        _check_upstreams_exist(self)
        _check_routes_differ(self)
        if self.metrics and self.admin is None:
            raise LocatedError(("metrics",), "needs admin: metrics are read there, at /metrics")
        return self


def _check_upstreams_exist(config: GatewayConfig) -> None:
    for index, route in enumerate(config.routes):
        for where, name in _upstreams_of(route):
            if name not in config.upstreams:
                known = ", ".join(config.upstreams)
                raise LocatedError(("routes", index, *where), f"{name!r} is no upstream; declared: {known}")


def _upstreams_of(route: Route) -> list[tuple[tuple[str | int, ...], str]]:
    named: list[tuple[tuple[str | int, ...], str]] = [
        (("split", number, "upstream"), share.upstream) for number, share in enumerate(route.split)
    ]
    if route.upstream is not None:
        named.append((("upstream",), route.upstream))
    if route.auth is not None and route.auth.ask is not None:
        named.append((("auth", "ask", "upstream"), route.auth.ask.upstream))
    return named


def _check_routes_differ(config: GatewayConfig) -> None:
    seen: dict[object, int] = {}
    for index, route in enumerate(config.routes):
        if route.matchers in seen:
            raise LocatedError(
                ("routes", index, "prefix"),
                f"{route.prefix!r} is already the prefix of routes[{seen[route.matchers]}]; each prefix once, "
                "unless host, methods or fields differ",
            )
        seen[route.matchers] = index


def load(path: str | Path) -> GatewayConfig:
    """Return the configuration in the file. Raises FileProblem with file and line, also if it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise FileProblem(str(path), 1, f"cannot be read: {reason}") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> GatewayConfig:
    """Return the configuration in `text`. Raises FileProblem with `name` and the line that is wrong."""
    return load_model(text, name, GatewayConfig)
