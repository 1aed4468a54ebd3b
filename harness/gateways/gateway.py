"""What a gateway has to provide: render a configuration, start a process with it, say which version it is."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from harness.forkserver import ForkServer
from harness.gateways.pools import KEPT, Pool
from scenarios.modes import MODES

if TYPE_CHECKING:  # pydantic, which `archbench --help` does without
    from scenarios.model import Scenario


class Route(NamedTuple):
    """Requests under this prefix (whole path segments) go to this service."""

    prefix: str
    service: str


@dataclass(frozen=True)
class GatewayPlan:
    """What the gateway of one platform has to do: listen here, know these routes, reach services on these ports."""

    port: int
    routes: tuple[Route, ...]
    service_ports: dict[str, int]
    host: str = "127.0.0.1"
    pool: Pool = KEPT


class Gateway(Protocol):
    """One gateway product. `ends_on` is the signal upon which it finishes what is under way and ends."""

    name: str
    ends_on: signal.Signals

    def missing(self) -> str | None:
        """Return the sentence that says how to get it, or None when it can be started."""

    def cannot(self, pool: Pool) -> str | None:
        """Return what the product lacks for this pool profile, or None when it can be rendered."""

    def version(self) -> str:
        """Return the version that would be started."""

    def render(self, plan: GatewayPlan) -> str:
        """Return the exact configuration for the plan."""

    def routes_in(self, config: str) -> tuple[Route, ...]:
        """Return the routes that a rendered configuration holds, read from its text and in its order."""

    def start(self, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path) -> int:
        """Start the gateway with this configuration and return its process id."""

    def reload(
        self, pid: int, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path
    ) -> int | None:
        """Have the running gateway take up another configuration; return the process that serves from then on.

        It returns before that is done. None: in the form in which it is run here it has to be restarted.
        """


def rewrite(pid: int, path: Path, config: str, number: signal.Signals) -> int:
    """Write the configuration and tell the process by a signal to read it; for products that reload in place."""
    path.write_text(config, encoding="utf-8")
    with contextlib.suppress(ProcessLookupError):  # one that has ended is seen to have
        os.kill(pid, number)
    return pid


def routes_for(scenario: Scenario, mode: str) -> tuple[Route, ...]:
    """Return the routes a gateway needs in this mode: a prefix is routed if hops of its kind pass the gateway.

    Public prefixes are always there, so that the gateway of direct mode is a working one that nobody asks.
    """
    internal = "gateway" in MODES[mode]("internal")
    return tuple(
        Route(prefix, service.name)
        for service in scenario.services
        for prefix in (*service.public, *(service.internal if internal else ()))
    )
