"""Where a run keeps what it throws away: stores, logs and jobs of trials, on memory-backed storage if there is any."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - tmpfs on Linux; folders below it are made unguessable and private
ROOM_BYTES = 256 * 2**20


def shared_memory_free_bytes() -> int:
    """Return the room on memory-backed storage, 0 where there is none."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """Yield a folder for the stores, on memory-backed storage where there is any with room; it is removed again."""
    roomy = os.access(SHARED_MEMORY, os.W_OK) and shared_memory_free_bytes() > ROOM_BYTES
    with tempfile.TemporaryDirectory(
        prefix="archbench-", dir=SHARED_MEMORY if roomy else None, ignore_cleanup_errors=True
    ) as folder:
        yield folder
