"""Changing a running platform a component at a time, as an operator does: politely, and looking whether it worked."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from dataclasses import dataclass

import psutil

from harness.errors import HarnessError
from harness.experiments.experiment import product
from harness.platform import Platform

RELOADED, RESTARTED = "reload", "restart"
_END_PATIENCE_S = 5.0
_SWITCH_PATIENCE_S = 2.0


@dataclass(frozen=True)
class TakenUp:
    """How the gateway took up a configuration, why not by reloading, and whether that was seen to work."""

    how: str
    why: str
    seen: bool


def kill(platform: Platform, *names: str) -> None:
    """Kill components and wait until nobody serves in their place. Raises HarnessError when somebody goes on."""
    for name in names:
        platform.kill(name)
    deadline = time.monotonic() + _END_PATIENCE_S
    for name in names:
        while platform.is_serving(name):
            if time.monotonic() > deadline:
                raise HarnessError(f"{name} goes on serving {_END_PATIENCE_S:g} s after SIGKILL")
            time.sleep(0.001)


def end(platform: Platform, name: str, pid: int) -> None:
    """Have a process finish what is under way and end; kill it when it does not. Raises HarnessError when it stays."""
    politely = product(platform.spec).ends_on if name == "gateway" else signal.SIGTERM
    for number in (politely, signal.SIGKILL):
        platform.tell(pid, number)
        deadline = time.monotonic() + _END_PATIENCE_S
        while time.monotonic() < deadline:
            if platform.server.exit_code(pid) is not None:
                return
            time.sleep(0.001)
    raise HarnessError(f"{name} (process {pid}) is still there {_END_PATIENCE_S:g} s after SIGKILL")


def restart(platform: Platform, name: str) -> None:
    """End a component and start it as the platform's spec has it now. Raises StartError when it does not come up."""
    end(platform, name, platform.pids[name])
    platform.start(name)
    platform.wait_ready(name)


def start_beside(platform: Platform, name: str) -> int:
    """Start a second instance of a component, as the spec has it now; return the first one's process id.

    The first one goes on. Raises StartError when the second one does not come up.
    """
    first = platform.pids[name]
    platform.retired.append((name, first))
    platform.start(name)
    platform.wait_ready(name)
    return first


def reload_gateway(platform: Platform, port: int) -> TakenUp:
    """Have the gateway take up the spec's configuration, and wait until it was seen to reach the service on `port`.

    Where the product cannot reload, or ends of it, it is restarted. Raises StartError when it does not come up then.
    """
    name, before = product(platform.spec).name, platform.pids["gateway"]
    pid = _reload(platform)
    if pid is None:
        restart(platform, "gateway")
        return TakenUp(RESTARTED, f"{name} as it is run here cannot reload", _await_switch(platform, port))
    if pid != before:
        platform.retired.append(("gateway", before))
    platform.pids["gateway"] = pid
    seen = _await_switch(platform, port)
    if platform.server.exit_code(pid) is None:
        return TakenUp(RELOADED, "", seen)
    platform.start("gateway")
    platform.wait_ready("gateway")
    return TakenUp(RESTARTED, f"{name} ended when it was told to reload", _await_switch(platform, port))


def _reload(platform: Platform) -> int | None:
    spec, log = platform.spec, platform.log_dir / "gateway.log"
    running, config = platform.pids["gateway"], spec.gateway_config()
    return product(spec).reload(running, config, platform.folder, platform.server, spec.cores, log)


def _await_switch(platform: Platform, port: int) -> bool:
    """Wait until the gateway holds a connection to this port, asking it for something there meanwhile.

    False when it ended, or has none after a while.
    """
    pid, deadline = platform.pids["gateway"], time.monotonic() + _SWITCH_PATIENCE_S
    paths = [prefix for prefix, at in _routed(platform).items() if at == port]
    while platform.server.exit_code(pid) is None and time.monotonic() < deadline:
        for path in paths[:1]:
            _ask(platform, path)
        if _reaches(pid, port):
            return True
        time.sleep(0.005)
    return False


def _routed(platform: Platform) -> dict[str, int]:
    """Return prefix -> the port to which the gateway's configuration should send it."""
    spec = platform.spec
    routes = product(spec).routes_in(spec.gateway_config())
    return {route.prefix: spec.ports[route.service] for route in routes}


def _ask(platform: Platform, path: str) -> None:
    """Send a request whose answer does not matter through the gateway, on a connection of its own."""
    spec = platform.spec
    with (
        contextlib.suppress(OSError),
        socket.create_connection((spec.host, spec.ports["gateway"]), timeout=0.5) as client,
    ):
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {spec.host}\r\nConnection: close\r\n\r\n".encode())
        client.recv(4096)


def _reaches(pid: int, port: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(c.raddr and c.raddr.port == port for c in psutil.Process(pid).net_connections("tcp"))
    return False
