"""What the features' benchmark stands on: upstream, keys, fork server, and built-in gateways of any configuration."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from gateway_proxy import config
from harness.forkserver import ForkServer
from harness.gateways import GATEWAYS
from tests.bench import heads, rig, side_by_side
from tests.bench.feature_catalogue import Config, Place
from tests.bench.feature_keys import Keys
from tests.bench.feature_proofs import PREFIX
from tests.bench.upstream import Upstream, upstream

CONNECTIONS = 16
_END_WITHIN_S = 5.0
_PATHS = (f"{PREFIX}/42", f"{PREFIX}/43/notes", f"{PREFIX}/profile")


class UnusableError(Exception):
    """A gateway could not be started with its configuration, or did not answer well with it; the message says why."""


@dataclass(frozen=True)
class Rig:
    """What all features share; `silent` is a port that takes connections and never answers."""

    server: ForkServer
    upstream: Upstream
    silent: int
    keys: Keys
    folder: Path
    cores: rig.Cores

    def places(self, *names: str) -> list[Place]:
        """Return new places for gateways that are up together, with folders of these names."""
        free = rig.free_ports(2 * len(names))
        return [self._place(name, *free[2 * number : 2 * number + 2]) for number, name in enumerate(names)]

    def _place(self, name: str, port: int, admin_port: int) -> Place:
        folder = self.folder / "".join(letter if letter.isalnum() else "-" for letter in name)
        folder.mkdir(parents=True)
        up = self.upstream
        return Place(port, admin_port, up.ports, up.failing, self.silent, folder, self.keys)

    def draw(self, turn: int, seconds: float) -> list[heads.Client]:
        """Draw the heads of a turn."""
        return heads.clients(self.folder / "heads", _PATHS, CONNECTIONS, turn, seconds)


@contextlib.contextmanager
def everything() -> Iterator[Rig]:
    """Start what all features share; keep this process off the measured core."""
    cores = rig.split_cores()
    rig.require("h2load", "nghttp2-client")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="archbench-bench-")))
        stack.enter_context(rig.running_on(cores.others))
        up = stack.enter_context(upstream(folder / "upstream", sorted(cores.others), ports=3))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = stack.enter_context(contextlib.closing(ForkServer()))
        yield Rig(server, up, silent.getsockname()[1], Keys(folder / "keys"), folder, cores)


@contextlib.contextmanager
def gateway(up: Rig, place: Place, configuration: Config) -> Iterator[int]:
    """Fork a gateway onto the measured core; yield its process id. Raises UnusableError when it does not start."""
    text = yaml.safe_dump(configuration, sort_keys=False)
    check(text)
    log = place.folder / "gateway.log"
    pid = GATEWAYS["builtin"].start(text, place.folder, up.server, [up.cores.measured], log)
    try:
        _await(up.server, pid, place.port, log)
        yield pid
    finally:
        _end(up.server, pid)


def check(text: str) -> None:
    """Raise UnusableError when the gateway would refuse this configuration."""
    try:
        config.parse(text, "configuration")
    except config.FileProblem as problem:
        raise UnusableError(str(problem)) from problem


def _await(server: ForkServer, pid: int, port: int, log: Path) -> None:
    try:
        side_by_side.await_start(server, pid, port, log)
    except RuntimeError as error:
        raise UnusableError(str(error)) from error


def _end(server: ForkServer, pid: int) -> None:
    if server.exit_code(pid) is not None:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _END_WITHIN_S
    while server.exit_code(pid) is None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
