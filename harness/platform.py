"""The platform of one trial: the gateway and the services as fresh processes, each on its port, pinned and logged."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.errors import BadInputError, StartError
from harness.forkserver import ForkServer, Spawn
from harness.gateways import GatewayPlan
from harness.gateways.choice import chosen
from harness.gateways.gateway import routes_for
from harness.ports import require_free
from scenarios.instances import GATEWAY, gateway_instances
from scenarios.model import Scenario
from scenarios.modes import MODES
from stub_services.settings import Settings

LOOPBACK = "127.0.0.1"
_READY_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class PlatformSpec:
    """What a platform is started with; the mode shows only in the peers' addresses and the gateway's routes.

    Raises BadInputError when a service has the name of an instance of the gateway.
    """

    scenario: Scenario
    mode: str
    ports: dict[str, int]  # component -> port
    gateway: str  # as parse_choice returns it
    work: str
    policy: str
    clock_scale: float
    seed: int
    internal_api_key: str
    jwt_secret: str
    cores: list[int]
    template: Path  # a folder of store files that every trial starts from
    host: str = LOOPBACK  # the address on which every component listens

    gateway_replicas: int = 1  # instances of the gateway; callers know the addresses of all

    def __post_init__(self) -> None:
        taken = [name for name in self.scenario.service_names if name in self.gateways]
        if taken:
            raise BadInputError(f"service {taken[0]!r} has the name of an instance of the gateway; call it otherwise")

    @property
    def gateways(self) -> tuple[str, ...]:
        """The names of the gateway's instances."""
        return gateway_instances(self.gateway_replicas)

    @property
    def components(self) -> tuple[str, ...]:
        """Every process of the platform by its name."""
        return (*self.scenario.service_names, *self.gateways)

    def base_urls(self, service: str, origin: str) -> list[str]:
        """Return where a caller of this origin reaches the service: there itself, or at any instance of the gateway."""
        through = MODES[self.mode]("external" if origin == "external" else "internal")
        return [f"http://{self.host}:{self.ports[name]}" for name in (self.gateways if through else (service,))]

    def gateway_config(self, instance: str = GATEWAY) -> str:
        """Return the exact configuration of an instance of this platform's gateway; they differ in the port alone."""
        ports = {name: self.ports[name] for name in self.scenario.service_names}
        product, pool = chosen(self.gateway)
        plan = GatewayPlan(self.ports[instance], routes_for(self.scenario, self.mode), ports, self.host, pool)
        return product.render(plan)


class Platform:
    """The running processes of a trial; use as a context manager, nothing survives it."""

    def __init__(self, spec: PlatformSpec, folder: Path, server: ForkServer) -> None:
        self.spec = spec
        self.folder = folder
        self.store_dir = folder / "stores"
        self.log_dir = folder / "logs"
        self.server = server
        self.pids: dict[str, int] = {}
        self.retired: list[tuple[str, int]] = []  # processes in whose place others were started
        self.ready_s = 0.0

    def __enter__(self) -> Self:
        require_free(self.spec.ports)
        self.store_dir.mkdir(parents=True)
        self.log_dir.mkdir()
        for store in self.spec.template.iterdir():
            shutil.copyfile(store, self.store_dir / store.name)
        started = time.monotonic()
        try:
            for component in self.spec.components:
                self.start(component)
            for component in self.spec.components:
                self.wait_ready(component)
        except BaseException:
            self.stop()
            raise
        self.ready_s = time.monotonic() - started
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, component: str) -> None:
        """Start a component's process, without waiting for it."""
        log = self.log_dir / f"{component}.log"
        if component in self.spec.gateways:
            (gateway, _), config = chosen(self.spec.gateway), self.spec.gateway_config(component)
            home = self.folder if component == GATEWAY else self.folder / component
            home.mkdir(exist_ok=True)
            self.pids[component] = gateway.start(config, home, self.server, self.spec.cores, log)
        else:
            settings = self.service_settings(component)
            self.pids[component] = self.server.spawn(
                Spawn("stub_services.server:serve", (settings,), str(log), self.spec.cores)
            )

    def service_settings(self, name: str) -> Settings:
        """Return what a service is started with."""
        spec = self.spec
        return Settings(
            name=name,
            port=spec.ports[name],
            host=spec.host,
            store_dir=self.store_dir,
            peers={peer: ",".join(spec.base_urls(peer, "internal")) for peer in spec.scenario.service(name).peers},
            internal_api_key=spec.internal_api_key,
            jwt_secret=spec.jwt_secret,
            work=spec.work,  # type: ignore[arg-type]  # one of its literals, checked by the command line
            policy=spec.policy,  # type: ignore[arg-type]
            clock_scale=spec.clock_scale,
            seed=spec.seed,
            log_dir=self.log_dir,
            sweep_schedule=self.folder / f"{name}.schedule",
        )

    def is_serving(self, component: str) -> bool:
        """Say whether the component accepts connections."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection((self.spec.host, self.spec.ports[component]), timeout=0.5),
        ):
            return True
        return False

    def wait_ready(self, component: str, timeout_s: float = _READY_TIMEOUT_S) -> None:
        """Wait until the component serves. Raises StartError with its last log lines when it does not."""
        deadline = time.monotonic() + timeout_s
        while not self.is_serving(component):
            code = self.server.exit_code(self.pids[component])
            if code is not None or time.monotonic() > deadline:
                raise StartError(self._why_not_started(component, code, timeout_s))
            time.sleep(0.002)

    def _why_not_started(self, component: str, code: int | None, timeout_s: float) -> str:
        how = f"it ended with code {code}" if code is not None else f"it did not listen within {timeout_s:g} s"
        tail = "\n".join(f"    {line}" for line in self.last_log_lines(component)) or "    (it logged nothing)"
        port = self.spec.ports[component]
        where = f"on port {port} in {self.spec.mode} mode"
        return f"{component} did not start {where}: {how}; its last log lines:\n{tail}"

    def last_log_lines(self, component: str, count: int = 8) -> list[str]:
        """Return the end of what a component's process printed."""
        with contextlib.suppress(OSError):
            text = (self.log_dir / f"{component}.log").read_text(encoding="utf-8", errors="replace")
            return text.splitlines()[-count:]
        return []

    def died(self) -> Iterator[tuple[str, int]]:
        """Yield the components whose process has ended, and how."""
        for component, pid in self.pids.items():
            code = self.server.exit_code(pid)
            if code is not None:
                yield component, code

    def kill(self, component: str) -> None:
        """Kill a component's process at once; one that has ended is left alone (its number may be another's)."""
        self.tell(self.pids[component], signal.SIGKILL)

    def tell(self, pid: int, number: int) -> None:
        """Send a signal to a process of the platform, unless it has ended."""
        if self.server.exit_code(pid) is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Kill whatever still runs and wait for it; the stores are made to survive that."""
        everything = [*self.retired, *self.pids.items()]
        for _, pid in everything:
            self.tell(pid, signal.SIGKILL)
        for component, pid in everything:
            self._wait_gone(component, pid)

    def _wait_gone(self, component: str, pid: int, timeout_s: float = 5.0) -> None:
        deadline = time.monotonic() + timeout_s
        while self.server.exit_code(pid) is None:
            if time.monotonic() > deadline:
                raise StartError(f"{component} (process {pid}) is still there {timeout_s:g} s after SIGKILL")
            time.sleep(0.001)


@dataclass(frozen=True)
class PlatformComponent:
    """One component of a running platform, as a fault sees it."""

    platform: Platform
    name: str

    def kill(self) -> None:
        """Kill its process."""
        self.platform.kill(self.name)

    def restart(self) -> None:
        """Start a fresh process on the same port and store."""
        self.platform.start(self.name)

    def is_serving(self) -> bool:
        """Say whether it accepts connections."""
        return self.platform.is_serving(self.name)
