"""Clients enter through the gateway, services call each other directly."""

from typing import Literal


def path(origin: Literal["external", "internal"]) -> tuple[str, ...]:
    """Return the intermediaries of a hop: the gateway for clients, none between services."""
    return ("gateway",) if origin == "external" else ()
