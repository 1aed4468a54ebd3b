"""Gateways that can stand in the gateway's place. A new one is one new file and one line in GATEWAYS."""

from harness.gateways import builtin, caddy, envoy, haproxy, nginx, traefik
from harness.gateways.gateway import Gateway, GatewayPlan, Route

GATEWAYS: dict[str, Gateway] = {
    "builtin": builtin.GATEWAY,
    "nginx": nginx.GATEWAY,
    "haproxy": haproxy.GATEWAY,
    "envoy": envoy.GATEWAY,
    "traefik": traefik.GATEWAY,
    "caddy": caddy.GATEWAY,
}

__all__ = ["GATEWAYS", "Gateway", "GatewayPlan", "Route"]
