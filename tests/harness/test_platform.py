"""What a platform is started with: who reaches whom where, in each mode, with one gateway instance and with two."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.engines.job import LoadResult, Rows
from harness.errors import BadInputError
from harness.load import Renderer
from harness.platform import PlatformSpec
from harness.trial import connects_since_fault
from results.record import Event
from scenarios.load import load_scenario
from scenarios.model import Scenario
from stub_services.requests import RequestBook

SCENARIO = load_scenario("ielts")
PORTS = {name: 9001 + number for number, name in enumerate([*SCENARIO.components, "gateway-2"])}
FIRST, SECOND = ("127.0.0.1", PORTS["gateway"]), ("127.0.0.1", PORTS["gateway-2"])


def _spec(mode, replicas=2):
    one = PlatformSpec(SCENARIO, mode, PORTS, "builtin", "bare", "none", 1.0, 1, "key", "s" * 32, [], Path())
    return replace(one, gateway_replicas=replicas)


BOTH = ["gateway", "gateway-2"]


@pytest.mark.parametrize(
    ("mode", "external", "internal"),
    [("direct", ["user"], ["user"]), ("gateway", BOTH, BOTH), ("hybrid", BOTH, ["user"])],
)
def test_callers_know_every_instance_of_what_they_pass(mode, external, internal):
    for origin, names in (("external", external), ("internal", internal)):
        assert _spec(mode).base_urls("user", origin) == [f"http://127.0.0.1:{PORTS[name]}" for name in names]


@pytest.mark.parametrize("mode", ["direct", "gateway", "hybrid"])
def test_requests_have_alternatives_only_where_they_pass_one_of_several_instances(mode):
    book = RequestBook(10, "s" * 32)
    alone, two = (Renderer(book, _spec(mode, replicas)) for replicas in (1, 2))
    assert alone.alternatives == []
    assert two.targets == alone.targets
    assert (two.targets, two.alternatives) == (([FIRST], [[SECOND]]) if mode != "direct" else (alone.targets, []))


def test_instances_are_configured_alike_but_for_their_port():
    spec = _spec("gateway")
    first, second = spec.gateway_config(), spec.gateway_config("gateway-2")
    assert first != second
    assert first.replace(str(FIRST[1]), str(SECOND[1])) == second
    assert _spec("gateway", 1).gateway_config() == first


def test_a_service_with_the_name_of_an_instance_is_refused():
    service = {"name": "gateway-2", "port": 9999}
    data = SCENARIO.model_dump()
    scenario = Scenario.model_validate({**data, "services": [*data["services"], service]})
    with pytest.raises(BadInputError, match="'gateway-2' has the name of an instance"):
        replace(_spec("direct"), scenario=scenario)


def test_connects_are_counted_from_the_injection_and_only_where_there_is_a_choice():
    nothing = Rows.blank(0)
    result = LoadResult(nothing, nothing, [], 0.0, 0, 0, -1, 0)
    inject = [Event(50, "inject", "gateway")]
    assert connects_since_fault(result, inject) == {}
    result.failing_over.connects_ns.extend([10, 50, 60])
    assert connects_since_fault(result, inject) == {"connects_since_fault": 2.0}
    assert connects_since_fault(result, []) == {}
