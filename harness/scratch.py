"""Where a run keeps what it throws away: stores, logs and jobs of trials, on memory-backed storage if there is any."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def scratch_folder() -> Iterator[str]:
    """Yield a folder for the stores, on memory-backed storage where there is any with room; it is removed again."""
    shared = Path("/dev/shm")  # noqa: S108 - tmpfs on Linux; the folder below it is made unguessable and private
    roomy = shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 256 * 2**20
    with tempfile.TemporaryDirectory(
        prefix="archbench-", dir=shared if roomy else None, ignore_cleanup_errors=True
    ) as folder:
        yield folder
