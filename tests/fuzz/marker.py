"""Marks that say which request of which conversation bytes belong to, and that no mutation can forge."""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

_MARK = re.compile(rb"(m([0-9a-f]{6})-([0-9a-f]{2}))-([0-9a-f]{8})")


class Mark(NamedTuple):
    """The request `request` of the conversation `conversation`."""

    conversation: int
    request: int

    def __bytes__(self) -> bytes:
        plain = b"m%06x-%02x" % self
        return b"%b-%08x" % (plain, zlib.crc32(plain))


def marks(data: bytes) -> list[Mark]:
    """Return the marks in `data`, in their order; one that was changed by a bit is none."""
    return [
        Mark(int(found[2], 16), int(found[3], 16))
        for found in _MARK.finditer(data)
        if int(found[4], 16) == zlib.crc32(found[1])
    ]
