"""Every gateway there is, up at the same time on one core, with the configuration that runs would give it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.forkserver import ForkServer
from harness.gateways import GATEWAYS, GatewayPlan, Route
from harness.gateways.gateway import routes_for
from scenarios.load import load_scenario
from tests.bench import rig

NEAR = "/near"  # a route to the upstream that has the gateways' core
_START_WITHIN_S = 30.0


@dataclass(frozen=True)
class Side:
    """A gateway that is up."""

    name: str
    version: str
    port: int
    pid: int

    @property
    def base(self) -> str:
        """Its URL, without a path."""
        return f"http://127.0.0.1:{self.port}"


class Clock:
    """The CPU time of a process with its threads and children, between two moments."""

    def __init__(self, pid: int) -> None:
        self.pids = rig.family(pid)
        self.began_ns = rig.cpu_ns(self.pids)

    def used_ns(self) -> int:
        """Return what was used since. Raises RuntimeError when a process came or went: its time would be lost."""
        if (now := rig.family(self.pids[0])) != self.pids:
            raise RuntimeError(f"processes came or went while they were measured: {self.pids}, then {now}")
        return rig.cpu_ns(self.pids) - self.began_ns


def missing(names: Sequence[str]) -> dict[str, str]:
    """Return, for every gateway that cannot be started here, the sentence that says how to get it."""
    problems = {name: GATEWAYS[name].missing() for name in names}
    return {name: says.replace(sys.executable, ".venv/bin/python") for name, says in problems.items() if says}


def plan(port: int, upstream: int, near: int) -> GatewayPlan:
    """Return the built-in scenario's plan for gateway mode, one upstream in the place of every service."""
    scenario = load_scenario("ielts")
    ports = {service.name: upstream for service in scenario.services}
    return GatewayPlan(port, (*routes_for(scenario, "gateway"), Route(NEAR, "near")), {**ports, "near": near})


@contextlib.contextmanager
def running(
    names: Sequence[str], ports: tuple[int, int], folder: Path, cores: Sequence[int]
) -> Iterator[Mapping[str, Side]]:
    """Start those of the gateways that are there; `ports` are those of the upstream and of the near one."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(ForkServer()) as server:
        yield {name: _start(name, ports, folder, server, list(cores)) for name in names if name not in missing(names)}


def _start(name: str, ports: tuple[int, int], folder: Path, server: ForkServer, cores: list[int]) -> Side:
    gateway, (port,), log = GATEWAYS[name], rig.free_ports(1), folder / f"{name}.log"
    pid = gateway.start(gateway.render(plan(port, *ports)), folder, server, cores, log)
    await_start(server, pid, port, log)
    return Side(name, gateway.version(), port, pid)


def await_start(server: ForkServer, pid: int, port: int, log: Path) -> None:
    """Return when it accepts connections. Raises RuntimeError, with its last words, when it ends before."""
    end = time.monotonic() + _START_WITHIN_S
    while True:
        with contextlib.suppress(OSError):
            return rig.wait_for_port(port, 0.1)
        if server.exit_code(pid) is not None or time.monotonic() > end:
            words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise RuntimeError(f"did not start: {words[-1] if words else 'it said nothing'}")
