"""How far a load engine is, for whoever shows progress: a few integers in a mapped file, written without a call.

One byte behind them goes the other way: whoever watches may ask the engine to stop.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_LAYOUT = struct.Struct("<7q")
_STOP_AT = _LAYOUT.size
BOARD_BYTES = _STOP_AT + 1


class Progress(NamedTuple):
    """Where an engine stands: `at_ns` since t0, requests sent so far and how those that ended did, and the dropped."""

    at_ns: int = 0
    sent: int = 0
    ok: int = 0
    error: int = 0
    timeout: int = 0
    dropped: int = 0
    in_flight: int = 0


def new_board(path: Path) -> None:
    """Make an empty board."""
    path.write_bytes(bytes(BOARD_BYTES))


def open_board(path: str) -> mmap.mmap:
    """Map a board, for writing."""
    with Path(path).open("r+b") as file:
        return mmap.mmap(file.fileno(), BOARD_BYTES)


def write_board(board: mmap.mmap | bytearray, values: Sequence[int]) -> None:
    """Write a Progress's values."""
    _LAYOUT.pack_into(board, 0, *values)


def read_board(path: Path) -> Progress:
    """Return what stands on the board; a value may be newer than its neighbour."""
    return Progress(*_LAYOUT.unpack_from(path.read_bytes()))


def ask_stop(path: Path) -> None:
    """Ask the engine to send nothing more; it looks whenever it writes the board."""
    with path.open("r+b") as file:
        file.seek(_STOP_AT)
        file.write(b"\1")


def stop_asked(board: mmap.mmap | bytearray) -> bool:
    """Say whether somebody has asked the engine to stop."""
    return board[_STOP_AT] != 0
