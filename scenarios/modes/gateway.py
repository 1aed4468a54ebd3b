"""Everybody, clients and services alike, goes through the gateway."""

from typing import Literal


def path(origin: Literal["external", "internal"]) -> tuple[str, ...]:  # noqa: ARG001
    """Return the intermediaries of a hop: the gateway, whoever makes it."""
    return ("gateway",)
