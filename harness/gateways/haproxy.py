"""HAProxy as the gateway: one thread, connections to servers reused across clients, no retries of its own.

Its defaults would spoil a comparison: `retries 3` makes a dead server cost three seconds, `http-reuse safe` opens a
server connection for every client, and a second HAProxy shares the port in silence. It takes paths as they come, so one
with a `..` segment is refused.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

from harness.forkserver import ForkServer
from harness.gateways.gateway import Gateway, GatewayPlan, Route
from harness.gateways.pools import Pool
from harness.gateways.program import find_program, program_version, start_program

_HEAD = """\
global
  maxconn 3000
  nbthread 1
  noreuseport
defaults
  mode http
  option http-keep-alive
  option forwardfor
  http-reuse always
  retries 0
  timeout connect 1s
  timeout client 90s
  timeout server 10s
  timeout http-keep-alive 90s
"""
_FRONTEND = """\
frontend gateway
  bind {address} backlog 4096
  http-request add-header Via "1.1 haproxy"
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-response add-header Via "1.1 haproxy"
  http-request return status 404 if {{ path_sub -i .. %2e }} {{ path_reg -i (/|%2f)(\\.|%2e){{2}}(/|%2f|$) }}
{acls}{rules}  default_backend nowhere
backend nowhere
  http-request return status 404
"""
_BACKEND = """\
backend {name}
  server only {address} pool-purge-delay 90s{most_idle}
"""
_LOG_TARGET = "  log stdout format raw local0\n"  # into the component's log: a file of its own it cannot write
_LOG_LINES = "  log global\n  option httplog\n"
_COMMAND = ("haproxy", "-db", "-f", "haproxy.cfg")
_PATH = re.compile(r"^  acl (\S+) path(?: (\S*))?$", re.MULTILINE)
_RULE = re.compile(r"^  use_backend (\S+) if (\S+)$", re.MULTILINE)


class Haproxy:
    """Debian's haproxy, or any on the path."""

    name = "haproxy"
    ends_on = signal.SIGUSR1

    def missing(self) -> str | None:
        """Return the sentence that says how to get it, or None when it is there."""
        return None if find_program("haproxy") else "HAProxy is not installed (Debian: apt-get install haproxy)"

    def cannot(self, pool: Pool) -> str | None:  # noqa: ARG002
        """It has every pool profile."""
        return None

    def version(self) -> str:
        """Return HAProxy's version."""
        return "haproxy " + program_version("haproxy", ["-v"], r"version (\S+)")

    def render(self, plan: GatewayPlan) -> str:
        """Return haproxy.cfg."""
        routes = sorted(plan.routes, key=lambda route: -len(route.prefix))  # the first that matches is taken
        names = [f"route{number}" for number in range(len(routes))]
        front = _FRONTEND.format(
            address=f"{plan.host}:{plan.port}",
            acls="".join(_acl(name, route) for name, route in zip(names, routes, strict=True)),
            rules="".join(
                f"  use_backend {route.service} if {name}\n" for name, route in zip(names, routes, strict=True)
            ),
        )
        routed = dict.fromkeys(route.service for route in plan.routes)
        return _head(plan.pool) + front + "".join(_backend(name, plan) for name in routed)

    def routes_in(self, config: str) -> tuple[Route, ...]:
        """Return the routes of the rules, each with the path that its condition names."""
        paths = dict(_PATH.findall(config))
        return tuple(Route(paths[name] or "/", service) for service, name in _RULE.findall(config))

    def start(self, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path) -> int:
        """Write the configuration into a folder of its own and start HAProxy there, in the foreground."""
        home = folder / "haproxy"
        home.mkdir(exist_ok=True)
        (home / "haproxy.cfg").write_text(config, encoding="utf-8")
        return start_program(_COMMAND, server, cores, log, home)

    def reload(
        self, pid: int, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path
    ) -> int | None:
        """Start a new process that has the old one let go of the port and finish (-sf).

        Without SO_REUSEPORT (noreuseport) nobody listens between the two, for a few milliseconds.
        """
        home = folder / "haproxy"
        (home / "haproxy.cfg").write_text(config, encoding="utf-8")
        return start_program([*_COMMAND, "-sf", str(pid)], server, cores, log, home)


def _head(pool: Pool) -> str:
    """Each request is logged to standard output where the pool profile has that: to files HAProxy cannot log."""
    if not pool.access_log:
        return _HEAD
    return _HEAD.replace("defaults\n", f"{_LOG_TARGET}defaults\n") + _LOG_LINES


def _backend(name: str, plan: GatewayPlan) -> str:
    idle = "" if plan.pool.most_idle is None else f" pool-max-conn {plan.pool.most_idle}"
    return _BACKEND.format(name=name, address=f"{plan.host}:{plan.service_ports[name]}", most_idle=idle)


def _acl(name: str, route: Route) -> str:
    """A prefix matches whole path segments: itself, or what stands below it."""
    prefix = route.prefix.rstrip("/")
    return f"  acl {name} path {prefix}\n  acl {name} path_beg {prefix}/\n"


GATEWAY: Gateway = Haproxy()
