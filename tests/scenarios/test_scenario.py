"""A scenario file is refused with its line and what would be right."""

import re

import pytest

from scenarios import SCENARIOS
from scenarios.faults import FAULTS, parse_fault
from scenarios.files import FileProblem, load_model
from scenarios.load import UnknownScenarioError, load_scenario
from scenarios.model import Scenario

TEXT = SCENARIOS["ielts"].read_text(encoding="utf-8")


def _refused(text):
    with pytest.raises(FileProblem) as refused:
        load_model(text, "mine.yaml", Scenario)
    return refused.value


def _line(text, fragment):
    return text[: text.index(fragment)].count("\n") + 1


def test_the_built_in_scenario_is_whole():
    scenario = load_scenario("ielts")
    assert len(scenario.flows) == 8
    assert len(scenario.claims) == 29
    assert scenario.components == ("auth", "user", "course", "exercise", "notification", "gateway")


@pytest.mark.parametrize(
    ("good", "bad", "says"),
    [
        ("utilisation: 0.25", "utilization: 0.4", "unknown key 'utilization'.*did you mean 'utilisation'"),
        (
            "peers: [user, notification]\n    public: [/api/v1/courses]",
            "peers: [usr]",
            "calls 'usr'.*one of auth, user",
        ),
        ("    public: [/api/v1/user/profile]", "    peers: [auth]", "circle: .*auth"),
        ("needs: [course, user, notification]", "needs: [mail]", "names 'mail', which is no service"),
        ("  connections: 64", "  rate_per_s: -5", "greater than 0"),
        ("utilisation: 0.25", "utilisation: 0.8", "less than or equal to 0.5"),
        ("band: {low: 2, high: 3}", "band: {low: 3, high: 2}", "low 3.* is above high 2"),
        ("name: login\n", "name: register\n", "'register' is declared twice"),
        ("origin: internal", "origin: inside", "'external' or 'internal'"),
        ("weight: 1", "weight: heavy", "valid number"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(good, bad, says):
    assert good in TEXT
    text = TEXT.replace(good, bad, 1)
    problem = _refused(text)
    assert re.search(says, problem.message), problem.message
    assert str(problem).startswith(f"mine.yaml:{problem.line}: ")


def test_the_line_is_the_one_that_is_wrong():
    text = TEXT.replace("utilisation: 0.25", "utilisation: 0.9", 1)
    assert _refused(text).line == _line(text, "utilisation: 0.9")


def test_an_unknown_scenario_is_refused_with_the_choices():
    with pytest.raises(UnknownScenarioError, match="unknown scenario 'ielt': one of ielts, or the path"):
        load_scenario("ielt")


@pytest.mark.parametrize("text", ["crash", "crash:nobody", "burn:user", ":", "crash:user:now"])
def test_an_unknown_fault_is_refused_with_the_choices(text):
    with pytest.raises(ValueError, match="KIND one of crash and TARGET one of gateway, user"):
        parse_fault(text, FAULTS, ("user", "gateway"))


def test_with_some_flows_alone_a_claim_about_another_is_not_testable():
    scenario = load_scenario("ielts").only(("login", "view_profile"))
    assert [flow.name for flow in scenario.flows] == ["login", "view_profile"]
    claims = {claim.id: claim for claim in scenario.claims}
    assert claims["registration-survives"].not_testable == "flow register was left out of the run"
    assert not claims["latency-ratio"].not_testable


@pytest.mark.parametrize("internal", ["/api/v1/auth", "/api/v1/auth/internal", "/api/v1/courses/x/"])
def test_an_internal_prefix_that_a_public_one_leads_to_is_refused(internal):
    text = TEXT.replace("internal: [/api/v1/notification/internal]", f"internal: [{internal}]")
    assert "keep internal prefixes apart" in _refused(text).message
