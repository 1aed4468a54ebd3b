"""Where a run keeps what it throws away: stores, logs and jobs of trials, on memory-backed storage if there is any."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - tmpfs on Linux; folders below it are made unguessable and private
ROOM_BYTES = 256 * 2**20
_PREFIX = "archbench-"
_LOCK = ".in-use"
_LEAST_AGE_S = 60.0  # a younger folder may not have been locked yet


def shared_memory_free_bytes() -> int:
    """Return the room on memory-backed storage, 0 where there is none."""
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """Yield a folder for the stores, on memory-backed storage where there is any with room; it is removed again.

    A run that is killed outright cannot remove its own: the next one sweeps it, told apart by a lock that ends with
    its holder.
    """
    sweep_stale(SHARED_MEMORY)
    roomy = os.access(SHARED_MEMORY, os.W_OK) and shared_memory_free_bytes() > ROOM_BYTES
    with (
        tempfile.TemporaryDirectory(
            prefix=_PREFIX, dir=SHARED_MEMORY if roomy else None, ignore_cleanup_errors=True
        ) as folder,
        (Path(folder) / _LOCK).open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def sweep_stale(root: Path) -> None:
    """Remove the scratch folders below `root` that no living process holds."""
    for folder in root.glob(f"{_PREFIX}*") if root.is_dir() else ():
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LEAST_AGE_S and _abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    """Say whether the folder is ours and its lock is free; another user's cannot be opened and stays."""
    with (folder / _LOCK).open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True
