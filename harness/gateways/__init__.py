"""Gateways that can stand in the gateway's place. A new one is one new file and one line in GATEWAYS."""

from harness.gateways import builtin, haproxy, nginx
from harness.gateways.gateway import Gateway, GatewayPlan, Route

GATEWAYS: dict[str, Gateway] = {
    "builtin": builtin.GATEWAY,
    "nginx": nginx.GATEWAY,
    "haproxy": haproxy.GATEWAY,
}

__all__ = ["GATEWAYS", "Gateway", "GatewayPlan", "Route"]
