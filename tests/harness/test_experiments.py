"""What experiments count and ask, without a process: configurations read back, edits, rules, and the plan."""

import dataclasses
import random
from array import array

import pytest

from gateway_proxy import config as gateway_config
from harness.engines.job import LoadResult, Rows
from harness.errors import BadInputError
from harness.experiments import EXPERIMENTS, edited_places, gateway_routes
from harness.experiments.edited_places import moved
from harness.experiments.guarded import guarded, public_prefix, token_methods
from harness.experiments.service_move import stopped_at, until
from harness.experiments.wanted import wanted
from harness.gateways import GATEWAYS, GatewayPlan, Route
from harness.gateways.gateway import routes_for
from harness.planning import ExperimentPlan, plan_trials
from harness.platform import PlatformSpec
from harness.profiles import PROFILES
from harness.schedule import Arrival
from harness.timeline import move_timeline, settle
from harness.trial import Script
from results.record import Event
from scenarios.files import FileProblem, load_model
from scenarios.load import load_scenario
from scenarios.model import Scenario
from scenarios.modes import MODES
from stub_services.requests import RequestBook

SECRET = "a-secret-of-thirty-two-bytes-or-more"
IELTS = load_scenario("ielts")
PORTS = {name: 20_000 + number for number, name in enumerate(IELTS.components)}
SERVICE_PORTS = {name: port for name, port in PORTS.items() if name != "gateway"}


def spec(mode, tmp_path, gateway="builtin", scenario=IELTS):
    return PlatformSpec(scenario, mode, PORTS, gateway, "bare", "none", 1.0, 1, "key", SECRET, [], tmp_path)


def edited(before, after, service, folder):
    """What differs; nothing is started, so there is no fork server."""
    return edited_places.edited(before, after, service, folder, None)


def rendered(name, routes):
    return GATEWAYS[name].render(GatewayPlan(18_000, tuple(routes), SERVICE_PORTS))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", GATEWAYS)
def test_the_routes_read_back_from_a_configuration_are_those_of_the_plan(name, mode):
    routes = routes_for(IELTS, mode)
    assert sorted(GATEWAYS[name].routes_in(rendered(name, routes))) == sorted(routes)


@pytest.mark.parametrize("name", GATEWAYS)
def test_routes_are_read_from_the_text_and_not_from_anything_else(name):
    product, text = GATEWAYS[name], rendered(name, routes_for(IELTS, "gateway"))
    changed = text.replace("/api/v1/notification/internal", "/api/v2/elsewhere")
    assert Route("/api/v2/elsewhere", "notification") in product.routes_in(changed)
    assert "/api/v1/notification/internal" not in {route.prefix for route in product.routes_in(changed)}
    assert product.routes_in(rendered(name, [Route("/a", "auth")])) == (Route("/a", "auth"),)


@pytest.mark.parametrize(("mode", "internal"), [("direct", 0), ("gateway", 2), ("hybrid", 0)])
def test_internal_routes_are_counted_apart_from_public_ones(mode, internal):
    found = {tally.name: tally for tally in gateway_routes.tallies_of(routes_for(IELTS, mode), IELTS)}
    assert (found["internal_routes"].value, found["public_routes"].value) == (internal, 4)
    assert ("/api/v1/user/internal to user" in found["internal_routes"].detail) == (mode == "gateway")


@pytest.mark.parametrize(
    ("mode", "service", "places"),
    [
        ("direct", "user", {"auth", "course", "exercise", "clients"}),
        ("direct", "notification", {"auth", "course", "exercise"}),  # nothing public: no client knows it
        ("gateway", "user", {"gateway"}),
        ("hybrid", "user", {"auth", "course", "exercise", "gateway"}),
        ("hybrid", "notification", {"auth", "course", "exercise"}),  # the gateway of hybrid mode does not know it
    ],
)
@pytest.mark.parametrize("name", GATEWAYS)
def test_a_move_edits_just_those_who_know_the_address(name, mode, service, places, tmp_path):
    before = spec(mode, tmp_path, name)
    after = moved(before, service)
    edits = edited(before, after, service, tmp_path)
    assert set(edits) == places
    port = str(after.ports[service])
    assert all(port in line for lines in edits.values() for line in lines)
    assert edited(before, before, service, tmp_path) == {}


def test_what_is_edited_is_counted_in_places_and_in_lines(tmp_path):
    before = spec("gateway", tmp_path, "caddy")  # which writes the address once for each route
    edits = edited(before, moved(before, "user"), "user", tmp_path)
    places, lines = edited_places.tallies_of("user", edits)
    assert (places.name, places.value, places.detail) == ("edited_places:user", 1, "gateway")
    assert (lines.name, lines.value) == ("edited_lines:user", 2)


def test_nothing_secret_stands_in_what_is_recorded_of_an_edit(tmp_path):
    before = spec("direct", tmp_path)
    edits = edited(before, moved(before, "user"), "user", tmp_path)
    assert SECRET in str(edited_places.every_text(before, "user", tmp_path, None))
    assert SECRET not in str(edited_places.tallies_of("user", edits))


def test_every_experiment_of_the_scenario_is_tried_in_the_modes_that_the_run_has():
    tried = wanted(IELTS, ("direct", "gateway"))
    assert {name for _, name in tried} == set(IELTS.experiments) == set(EXPERIMENTS)
    assert ("gateway", "token-check") in tried
    assert ("direct", "token-check") not in tried
    assert {mode for mode, _ in tried} == {"direct", "gateway"}
    assert wanted(IELTS.model_copy(update={"experiments": {}}), tuple(MODES)) == ()


CHECK = IELTS.experiments["token-check"]
LIMITS = IELTS.experiments["central-limits"]


@pytest.mark.parametrize(
    ("experiments", "says"),
    [
        ({"luck": {}}, "unknown experiment 'luck': one of gateway-routes, edited-places"),
        ({"edited-places": {}}, r"experiments\.edited-places\.service"),
        ({"gateway-routes": {"colour": 1}}, r"experiments\.gateway-routes\.colour"),
        ({"service-move": {"service": "course"}}, "course calls user, notification; name a service that calls nobody"),
        ({"token-check": CHECK | {"with_token": "nap"}}, "'nap' is no flow that clients start: one of register"),
        ({"token-check": CHECK | {"with_token": "login"}}, "the request of login carries no token"),
        ({"central-limits": LIMITS | {"flow": "view_profile"}}, "the request of view_profile carries a token"),
        ({"central-limits": LIMITS | {"sent": 10}}, r"sent \(10\) is not above allowed \(10\)"),
    ],
)
def test_an_experiment_that_cannot_be_tried_is_refused_before_anything_runs(experiments, says):
    with pytest.raises(BadInputError, match=says):
        wanted(IELTS.model_copy(update={"experiments": experiments}), tuple(MODES))


def test_an_experiment_with_a_service_that_is_none_is_refused_with_its_line():
    text = (
        "name: x\ntitle: x\nservices: [{name: user, port: 1}]\n"
        "flows: [{name: f, origin: external, service: user, needs: [user], weight: 1}]\n"
        "experiments:\n  edited-places: {service: moon}\n"
    )
    with pytest.raises(FileProblem, match=r"x\.yaml:6: .*'moon', which is no service: one of user"):
        load_model(text, "x.yaml", Scenario)


def test_a_guarded_gateway_checks_and_limits_public_routes_and_leaves_internal_ones_alone(tmp_path):
    tokens = token_methods(RequestBook(1, SECRET), IELTS, 0)
    assert tokens == {
        "/api/v1/user/profile": ("GET",),
        "/api/v1/courses": ("POST",),
        "/api/v1/exercises": ("POST",),
    }
    jwt = {"jwt": {"algorithms": ["HS256"], "secret": SECRET}}
    limit = {"requests": 5, "window_s": 3600, "burst": 5}
    text = guarded(spec("gateway", tmp_path, "nginx"), tokens, jwt, limit).gateway_config()
    routes = gateway_config.parse(text, "gateway.yaml").routes
    checked = {(route.prefix, route.methods) for route in routes if route.auth}
    assert checked == {(prefix, methods) for prefix, methods in tokens.items()}
    assert {route.prefix for route in routes if route.rate_limit} == {p for s in IELTS.services for p in s.public}
    plain = {route.prefix for route in routes if not route.rate_limit and not route.auth}
    assert plain == {prefix for service in IELTS.services for prefix in service.internal}


def test_a_public_prefix_is_found_by_whole_segments_and_the_longest_wins():
    assert public_prefix("/api/v1/courses/lessons/x", IELTS) == ("/api/v1/courses", "course")
    assert public_prefix("/api/v1/courses2", IELTS) == ("", "")
    assert public_prefix("/api/v1/user/internal/x", IELTS) == ("", "")


def test_experiments_stand_at_the_end_of_the_first_blocks_and_change_nothing_else_in_the_plan():
    faults = ("crash:user",)
    tried = (("direct", "gateway-routes"), ("gateway", "gateway-routes"))
    plain = plan_trials(tuple(MODES), faults, 4, 2, random.Random(7))
    trials = plan_trials(tuple(MODES), faults, 4, 2, random.Random(7), experiments=ExperimentPlan(1, tried))
    first = [trial for trial in trials if trial.block == 0]
    assert [(trial.mode, trial.experiment) for trial in first[-2:]] == list(tried)
    assert len({trial.folder for trial in trials}) == len(trials) == len(plain) + 2
    rest = [dataclasses.replace(trial, index=0) for trial in trials if not trial.experiment]
    assert rest == [dataclasses.replace(trial, index=0) for trial in plain]


def test_the_quick_profile_tries_each_experiment_in_one_block_only():
    assert PROFILES["quick"].experiment_blocks == 1
    assert all(profile.experiment_blocks <= profile.steady_blocks for profile in PROFILES.values())


def test_the_windows_of_a_move_are_what_it_took():
    timeline = move_timeline(PROFILES["quick"])
    begin = timeline.inject_ns
    events = [Event(begin + 5, "move_begin", "user"), Event(begin + 90, "move_end", "user")]
    _, _, move, after = settle(timeline, events, -1)
    assert (move.start_ns, move.end_ns) == (begin, begin + 90)  # clients are told when it is due
    assert (after.start_ns, after.end_ns) == (begin + 90, timeline.open_end_ns)


@pytest.mark.parametrize(
    ("sent", "stopped_ns"), [((1, 1, 1), None), ((1, 1, -1), 30), ((1, -1, -1), 20), ((-1, 1, 1), None)]
)
def test_requests_that_a_stopped_engine_did_not_send_any_more_were_not_due(sent, stopped_ns):
    """One that was left out in the middle was due, and stays as dropped."""
    arrivals = [Arrival(at, "login", number) for number, at in enumerate((10, 20, 30))]
    rows = Rows.blank(3)
    rows.sent_ns[:] = array("q", sent)
    found = stopped_at(arrivals, LoadResult(rows, Rows.blank(0), [], 0.0, 0, 0, -1, 0))
    assert found == stopped_ns or (stopped_ns is None and found > 30)


def test_of_a_load_that_is_stopped_early_what_was_due_before_counts_and_nothing_else():
    timeline = move_timeline(PROFILES["quick"])
    stop = timeline.inject_ns + 1000
    arrivals = [Arrival(at, "login", number) for number, at in enumerate((0, stop - 1, stop, stop + 1))]
    script = until(stop, Script(timeline, arrivals, arrivals[1:], []))
    assert [arrival.at_ns for arrival in script.outside] == [0, stop - 1]
    assert [arrival.at_ns for arrival in script.inside] == [stop - 1]
    assert script.timeline.windows[-1].end_ns == script.timeline.open_end_ns == stop
