"""The kinds of values that the gateway's configuration is made of: times in seconds, sizes in bytes, shares in 0..1."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*)\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_TOKEN = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"  # noqa: S105 - RFC 9110 5.6.2, no password


class Frozen(BaseModel):
    """A part of the configuration: unknown keys are refused, values cannot be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _check_address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not (_HOST.match(host) and _PORT.match(port) and 1 <= int(port) <= 65535):
        raise ValueError(f"{address!r} is not HOST:PORT, such as 127.0.0.1:8082")
    return address


def _check_path(path: str) -> str:
    for mark in "?#":
        if mark in path:
            raise ValueError(f"{path!r} contains {mark!r}; a prefix is a path alone")
    return path


_NOT_OWN = frozenset(
    {"authorization", "connection", "content-length", "cookie", "expect", "host", "keep-alive", "te", "trailer"}
    | {"transfer-encoding", "upgrade", "via"}
)


def _check_own(name: str) -> str:
    if name.lower() in _NOT_OWN:
        raise ValueError(f"{name!r} frames, routes or authorises a request; take a field of its own")
    return name


Port = Annotated[int, Field(strict=True, ge=1, le=65535)]
Count = Annotated[int, Field(strict=True, ge=1)]
Size = Annotated[int, Field(strict=True, ge=0)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
PositiveShare = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Weight = Annotated[int, Field(strict=True, ge=1, le=1000)]
Status = Annotated[int, Field(strict=True, ge=200, le=599)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
FieldName = Annotated[str, StringConstraints(pattern=_TOKEN)]
OwnField = Annotated[FieldName, AfterValidator(_check_own)]
FieldValue = Annotated[str, StringConstraints(pattern=r"^[!-~](?:[ -~]*[!-~])?$")]
Method = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z-]*$")]
Path = Annotated[str, StringConstraints(pattern=r"^/[!-~]*$"), AfterValidator(_check_path)]
Address = Annotated[str, AfterValidator(_check_address)]
FileName = Annotated[str, Field(min_length=1)]
