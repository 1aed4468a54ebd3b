"""HAProxy as the gateway: one thread, connections to servers reused across clients, no retries of its own.

Its defaults would spoil a comparison: `retries 3` makes a dead server cost three seconds, `http-reuse safe` opens a
server connection for every client, and a second HAProxy shares the port in silence. It takes paths as they come, so one
with a `..` segment is refused.
"""

from __future__ import annotations

from pathlib import Path

from harness.forkserver import ForkServer
from harness.gateways.gateway import Gateway, GatewayPlan, Route
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
  server only {address} pool-purge-delay 90s
"""


class Haproxy:
    """Debian's haproxy, or any on the path."""

    name = "haproxy"

    def missing(self) -> str | None:
        """Return the sentence that says how to get it, or None when it is there."""
        return None if find_program("haproxy") else "HAProxy is not installed (Debian: apt-get install haproxy)"

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
        backends = [_BACKEND.format(name=name, address=f"{plan.host}:{plan.service_ports[name]}") for name in routed]
        return _HEAD + front + "".join(backends)

    def start(self, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path) -> int:
        """Write the configuration into a folder of its own and start HAProxy there, in the foreground."""
        home = folder / "haproxy"
        home.mkdir(exist_ok=True)
        (home / "haproxy.cfg").write_text(config, encoding="utf-8")
        return start_program(["haproxy", "-db", "-f", "haproxy.cfg"], server, cores, log, home)


def _acl(name: str, route: Route) -> str:
    """A prefix matches whole path segments: itself, or what stands below it."""
    prefix = route.prefix.rstrip("/")
    return f"  acl {name} path {prefix}\n  acl {name} path_beg {prefix}/\n"


GATEWAY: Gateway = Haproxy()
