"""nginx as the gateway: one process, connections to upstreams kept, no retries of its own.

One process and no master, so that a crash is one SIGKILL and CPU time one clock. Any proxy_set_header inside a
location would drop the inherited ones, so they all stand in the server block; without HTTP/1.1 and an empty Connection
field nginx would open a connection for every request. Routes see a path normalised, services as it came, so one with
a `..` segment is refused: each would read it differently.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

from harness.forkserver import ForkServer
from harness.gateways.gateway import Gateway, GatewayPlan, Route
from harness.gateways.pools import ACCESS_LOG, Pool
from harness.gateways.program import find_program, program_version, start_program

_MOST_IDLE = 128
_HEAD = """\
daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log {access_log};
  client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  tcp_nodelay on;
  keepalive_timeout 90s;
  keepalive_requests 1000000;
  map $http_via $via { default "$http_via, 1.1 nginx"; "" "1.1 nginx"; }
"""
_UPSTREAM = """\
  upstream {name} {{ server {address}; keepalive {idle}; keepalive_requests 1000000; keepalive_timeout 90s; }}
"""
_SERVER = """\
  server {{
    listen {address} backlog=4096;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header Via $via;
    add_header Via "1.1 nginx" always;
    proxy_connect_timeout 1s; proxy_read_timeout 10s; proxy_send_timeout 10s;
    proxy_next_upstream off;
    client_max_body_size 0;
    if ($request_uri ~* "^[^?]*(/|%2f)(\\.|%2e)(\\.|%2e)(/|%2f|\\?|$)") {{ return 404; }}
{locations}    location / {{ return 404; }}
  }}
}}
"""
_LOCATION = """\
    location = {prefix} {{ proxy_pass http://{service}; }}
    location {prefix}/ {{ proxy_pass http://{service}; }}
"""
_ROUTED = re.compile(r"location (?:= )?(\S*) \{ proxy_pass http://([^;/]+); \}")


class Nginx:
    """Debian's nginx-light, or any nginx on the path."""

    name = "nginx"
    ends_on = signal.SIGQUIT

    def missing(self) -> str | None:
        """Return the sentence that says how to get it, or None when it is there."""
        return None if find_program("nginx") else "nginx is not installed (Debian: apt-get install nginx-light)"

    def cannot(self, pool: Pool) -> str | None:  # noqa: ARG002
        """It has every pool profile."""
        return None

    def version(self) -> str:
        """Return nginx's version."""
        return "nginx " + program_version("nginx", ["-v"], r"nginx/(\S+)")

    def render(self, plan: GatewayPlan) -> str:
        """Return nginx.conf."""
        routed = dict.fromkeys(route.service for route in plan.routes)
        upstreams = [_upstream(name, plan) for name in routed]
        locations = "".join(map(_location, plan.routes))
        server = _SERVER.format(address=f"{plan.host}:{plan.port}", locations=locations)
        head = _HEAD.replace("{access_log}", ACCESS_LOG if plan.pool.access_log else "off")
        return head + "".join(upstreams) + server

    def routes_in(self, config: str) -> tuple[Route, ...]:
        """Return the routes of the locations: a prefix has two, itself and what stands below it."""
        found = _ROUTED.findall(config)
        return tuple(dict.fromkeys(Route(path.rstrip("/") or "/", service) for path, service in found))

    def start(self, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path) -> int:
        """Write the configuration into a folder of its own and start nginx there."""
        home = folder / "nginx"
        home.mkdir(exist_ok=True)
        (home / "nginx.conf").write_text(config, encoding="utf-8")
        command = ["nginx", "-e", "stderr", "-p", ".", "-c", "nginx.conf"]
        return start_program(command, server, cores, log, home)

    def reload(
        self, pid: int, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path
    ) -> int | None:
        """One process without a master heeds SIGHUP, but its listening socket goes on with the old configuration."""
        del pid, config, folder, server, cores, log
        return None


def _upstream(name: str, plan: GatewayPlan) -> str:
    address = f"{plan.host}:{plan.service_ports[name]}"
    return _UPSTREAM.format(name=name, address=address, idle=plan.pool.most_idle or _MOST_IDLE)


def _location(route: Route) -> str:
    """A prefix matches whole path segments: itself, and what stands below it."""
    return _LOCATION.format(prefix=route.prefix.rstrip("/"), service=route.service)


GATEWAY: Gateway = Nginx()
