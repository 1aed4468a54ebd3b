"""Everybody calls the service itself."""

from typing import Literal


def path(origin: Literal["external", "internal"]) -> tuple[str, ...]:  # noqa: ARG001
    """Return the intermediaries of a hop: none, whoever makes it."""
    return ()
