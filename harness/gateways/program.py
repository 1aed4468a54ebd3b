"""Gateways that are programs of the system: found on the path, started in a forked child, asked their version."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.forkserver import ForkServer, Spawn

_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def find_program(name: str) -> str | None:
    """Return the program's path; system administrators' folders are looked through as well."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}")


def program_version(name: str, arguments: Sequence[str], pattern: str) -> str:
    """Return what `pattern` finds in the program's own word about its version."""
    path = find_program(name)
    if path is None:
        return "not installed"
    told = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=10, check=False)
    found = re.search(pattern, told.stdout + told.stderr)
    return found[1] if found else "unknown"


def start_program(command: Sequence[str], server: ForkServer, cores: list[int], log: Path) -> int:
    """Start a program as a child of the fork server, pinned and logged like any component; return its process id."""
    path = find_program(command[0]) or command[0]
    return server.spawn(Spawn("harness.gateways.program:become", ((path, *command[1:]),), str(log), cores))


def become(command: Sequence[str]) -> None:
    """Turn the forked child into the program; it keeps its process id, its cores and its log."""
    os.execv(command[0], list(command))  # noqa: S606 - the gateway that the user asked for
