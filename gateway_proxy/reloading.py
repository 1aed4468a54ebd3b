"""Reads the configuration again for a gateway that runs: what is wrong is refused, and so is what needs a restart."""

from __future__ import annotations

from pathlib import Path

import yaml

from gateway_proxy.config import GatewayConfig, parse
from scenarios.files import FileProblem

FIXED = ("listen", "workers", "admin")
"""Keys that belong to sockets and processes, which a reload leaves alone."""


def read_again(path: str, current: GatewayConfig) -> tuple[GatewayConfig, str]:
    """Return the configuration in the file, and the file's text. Raises FileProblem, and then nothing has changed."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise FileProblem(path, 1, f"cannot be read: {reason}") from None
    fresh = parse(text, path)
    refuse_fixed(text, path, fresh, current)
    return fresh, text


def refuse_fixed(text: str, name: str, fresh: GatewayConfig, current: GatewayConfig) -> None:
    """Raise FileProblem, with the line, when `fresh` (read from `text`) changes what a reload cannot change."""
    for key in FIXED:
        if getattr(fresh, key) != getattr(current, key):
            raise FileProblem(name, _line_of(text, key), f"{key}: cannot change without a restart")


def _line_of(text: str, key: str) -> int:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((name.start_mark.line + 1 for name, _ in pairs if name.value == key), 1)
