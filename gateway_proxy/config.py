"""The gateway's configuration: frozen values, checked when they are read.

Times are in seconds, sizes in bytes. Every optional key has the default shown here; `null` switches a limit off.
"""

import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from scenarios.files import FileProblem, LocatedError, load_model

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*)\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")

Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Count = Annotated[int, Field(strict=True, ge=1)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Prefix = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$")]


def _check_target(target: str) -> str:
    host, _, port = target.rpartition(":")
    if not (_HOST.match(host) and _PORT.match(port) and 1 <= int(port) <= 65535):
        raise ValueError(f"{target!r} is not HOST:PORT, such as 127.0.0.1:8082")
    return target


def _check_prefix(prefix: str) -> str:
    for mark in "?#":
        if mark in prefix:
            raise ValueError(f"{prefix!r} contains {mark!r}; a prefix is a path alone")
    return prefix


def _check_workers(workers: int) -> int:
    if workers != 1:
        raise ValueError(f"{workers} workers are not supported; start one gateway per core on ports of their own")
    return workers


Target = Annotated[str, AfterValidator(_check_target)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Listen(_Frozen):
    """Where the gateway accepts connections; `host` is an address of this machine or a name for one."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Port


class Upstream(_Frozen):
    """A service behind the gateway: its targets in turn, and how long they may take.

    `response_timeout_s` bounds the wait for the next bytes of an answer, and for the peer to take bytes of a request.
    """

    targets: tuple[Target, ...] = Field(min_length=1)
    connect_timeout_s: Seconds = 1.0
    response_timeout_s: Seconds = 10.0
    max_idle_per_target: Annotated[int, Field(strict=True, ge=0)] = 128
    max_connections_per_target: Count | None = None
    idle_timeout_s: Seconds = 90.0


class Route(_Frozen):
    """Requests whose path is `prefix`, or goes on below it, go to `upstream`: whole path segments, raw bytes."""

    prefix: Annotated[Prefix, AfterValidator(_check_prefix)]
    upstream: Name


class Limits(_Frozen):
    """What one client may ask for before it gets a 4xx, or 503 when the gateway is full."""

    head_bytes: Annotated[int, Field(strict=True, ge=256)] = 65536
    fields: Count = 100
    body_bytes: Annotated[int, Field(strict=True, ge=0)] | None = None
    connections: Count = 10000
    head_timeout_s: Seconds = 10.0
    body_timeout_s: Seconds = 30.0
    idle_timeout_s: Seconds = 90.0


class Forwarding(_Frozen):
    """Fields that tell the next hop about this one; requests with `max_hops` of our Via entries are a loop."""

    x_forwarded: bool = True
    via: bool = True
    max_hops: Count = 16


class GatewayConfig(_Frozen):
    """Everything the gateway is told: where it listens, who stands behind it, and which path goes where."""

    listen: Listen
    upstreams: dict[Name, Upstream] = Field(min_length=1)
    routes: tuple[Route, ...] = Field(min_length=1)
    limits: Limits = Limits()
    forwarding: Forwarding = Forwarding()
    health_path: Annotated[Prefix, AfterValidator(_check_prefix)] | None = None
    grace_s: Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)] = 10.0
    workers: Annotated[int, Field(strict=True), AfterValidator(_check_workers)] = 1

    @cached_property
    def url(self) -> str:
        """The URL of the gateway's root, without a trailing slash."""
        host = f"[{self.listen.host}]" if ":" in self.listen.host else self.listen.host
        return f"http://{host}:{self.listen.port}"

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        _check_upstreams_exist(self)
        _check_prefixes_differ(self)
        return self


def _check_upstreams_exist(config: GatewayConfig) -> None:
    for index, route in enumerate(config.routes):
        if route.upstream not in config.upstreams:
            known = ", ".join(config.upstreams)
            raise LocatedError(("routes", index, "upstream"), f"{route.upstream!r} is no upstream; declared: {known}")


def _check_prefixes_differ(config: GatewayConfig) -> None:
    seen: dict[str, int] = {}
    for index, route in enumerate(config.routes):
        prefix = route.prefix.rstrip("/")
        if prefix in seen:
            raise LocatedError(
                ("routes", index, "prefix"),
                f"{route.prefix!r} is already the prefix of routes[{seen[prefix]}]; each prefix once",
            )
        seen[prefix] = index


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
