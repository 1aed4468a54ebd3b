"""A mode is a pure function of who makes the hop."""

import pytest

from harness.gateways.gateway import routes_for
from scenarios.load import load_scenario
from scenarios.modes import MODES


@pytest.mark.parametrize(
    ("mode", "external", "internal"),
    [("direct", (), ()), ("gateway", ("gateway",), ("gateway",)), ("hybrid", ("gateway",), ())],
)
def test_the_path_of_a_hop(mode, external, internal):
    assert MODES[mode]("external") == external
    assert MODES[mode]("internal") == internal


def test_only_gateway_mode_routes_internal_endpoints():
    scenario = load_scenario("ielts")
    routes = {mode: {route.prefix for route in routes_for(scenario, mode)} for mode in MODES}
    assert routes["gateway"] - routes["hybrid"] == {"/api/v1/user/internal", "/api/v1/notification/internal"}
    assert routes["direct"] == routes["hybrid"]
