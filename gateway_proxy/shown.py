"""The configuration as it may be shown: routes in short, and the whole of it without its secrets."""

from __future__ import annotations

import re
from typing import Any

from gateway_proxy.config import GatewayConfig, Route

REDACTED = "[redacted]"
_FEATURES = (
    "strip_prefix",
    "rewrite_prefix",
    "timeouts",
    "retry",
    "rate_limit",
    "auth",
    "cors",
    "fault",
    "upgrade",
)
_SECRET_KEYS = frozenset({"secret"})
_SECRET_FIELD = re.compile(r"auth|key|token|secret|cookie|password|signature", re.IGNORECASE)


def routes(config: GatewayConfig) -> list[dict[str, Any]]:
    """Return what each route matches, where it goes and what it does, in the order of the file."""
    return [_route(route) for route in config.routes]


def redacted(config: GatewayConfig) -> dict[str, Any]:
    """Return every key of the configuration, with defaults, as JSON values; secrets are replaced.

    Secrets are keys for tokens, and values of the fields that a route matches when their name sounds like one.
    """
    shown: dict[str, Any] = _without_secrets(config.model_dump(mode="json"))
    return shown


def _route(route: Route) -> dict[str, Any]:
    return {
        "prefix": route.prefix,
        "host": route.host,
        "methods": list(route.methods),
        "fields": _fields(route.fields),
        "to": [{"upstream": share.upstream, "weight": share.weight} for share in route.shares],
        "features": [name for name in _FEATURES if getattr(route, name)],
    }


def _without_secrets(value: Any, key: str = "") -> Any:
    if key in _SECRET_KEYS and value is not None:
        return REDACTED
    if isinstance(value, dict):
        if key == "fields":
            return _fields(value)
        return {name: _without_secrets(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    return value


def _fields(fields: dict[str, str]) -> dict[str, str]:
    return {name: REDACTED if _SECRET_FIELD.search(name) else value for name, value in fields.items()}
