"""Our own gateway, forked from the preloaded fork server."""

from __future__ import annotations

import os
import signal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.forkserver import ForkServer, Spawn
from harness.gateways.gateway import Gateway, GatewayPlan, Route, rewrite
from harness.gateways.pools import ACCESS_LOG, Pool

_FILE = "gateway.yaml"
_MOST_IDLE = 128


class Builtin:
    """`python -m gateway_proxy` with one worker."""

    name = "builtin"
    ends_on = signal.SIGTERM

    def missing(self) -> str | None:
        """It is always there."""
        return None

    def cannot(self, pool: Pool) -> str | None:  # noqa: ARG002
        """It has every pool profile."""
        return None

    def version(self) -> str:
        """Return archbench's version, the event loop's and the parser's."""
        return f"archbench {_version('archbench')}, uvloop {_version('uvloop')}, httptools {_version('httptools')}"

    def render(self, plan: GatewayPlan) -> str:
        """Return the YAML configuration."""
        routed = {route.service for route in plan.routes}
        config = {
            "listen": {"host": plan.host, "port": plan.port},
            "upstreams": {
                service: {
                    "targets": [f"{plan.host}:{port}"],
                    "connect_timeout_s": 1,
                    "response_timeout_s": 10,
                    "max_idle_per_target": plan.pool.most_idle or _MOST_IDLE,
                    "idle_timeout_s": 90,
                }
                for service, port in plan.service_ports.items()
                if service in routed
            },
            "routes": [{"prefix": route.prefix, "upstream": route.service} for route in plan.routes],
            **_access_log(plan.pool),
        }
        import yaml  # noqa: PLC0415 - not for --help

        return yaml.safe_dump(config, sort_keys=False)

    def routes_in(self, config: str) -> tuple[Route, ...]:
        """Return the routes of the YAML."""
        import yaml  # noqa: PLC0415 - not for --help

        return tuple(Route(route["prefix"], route["upstream"]) for route in yaml.safe_load(config)["routes"])

    def start(self, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path) -> int:
        """Write the configuration and fork the gateway."""
        path = folder / _FILE
        path.write_text(config, encoding="utf-8")
        return server.spawn(Spawn("harness.gateways.builtin:run_gateway", (str(path),), str(log), cores))

    def reload(
        self, pid: int, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path
    ) -> int | None:
        """SIGHUP: requests in flight are finished as they began."""
        del server, cores, log
        return rewrite(pid, folder / _FILE, config, signal.SIGHUP)


def _access_log(pool: Pool) -> dict[str, Any]:
    """Return the part of the configuration that logs each request, where the pool profile has that."""
    return {"access_log": {"file": ACCESS_LOG}} if pool.access_log else {}


def run_gateway(path: str) -> None:
    """Serve the configuration, working in its folder; runs in the forked process."""
    from gateway_proxy import config  # noqa: PLC0415 - preloaded there, not needed here
    from gateway_proxy.server import serve  # noqa: PLC0415

    os.chdir(Path(path).parent)  # as the other gateways, so that a relative name in it means a file beside it
    name = Path(path).name
    serve(config.load(name), path=name)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


GATEWAY: Gateway = Builtin()
