"""Communication modes: which intermediaries a hop passes. A new mode is one new file and one line in MODES."""

from collections.abc import Callable
from typing import Literal

from scenarios.modes import direct, gateway, hybrid

Origin = Literal["external", "internal"]
"""Who makes the hop: a client outside the platform, or a service inside it."""

ModePath = Callable[[Origin], tuple[str, ...]]

MODES: dict[str, ModePath] = {
    "direct": direct.path,
    "gateway": gateway.path,
    "hybrid": hybrid.path,
}


def passes_gateway(mode: str) -> bool:
    """Say whether in this mode a hop of any origin passes the gateway."""
    path = MODES[mode]
    return "gateway" in path("external") or "gateway" in path("internal")
