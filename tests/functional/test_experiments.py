"""Experiments on real processes: what they find, and that they see it when a gateway does otherwise."""

import contextlib
import random
import signal
from dataclasses import replace

import psutil
import pytest

from harness.engines.forked import ForkedCrew
from harness.experiments.wanted import run_experiment
from harness.forkserver import PRELOAD, ForkServer
from harness.gateways import GATEWAYS
from harness.platform import PlatformSpec
from harness.ports import free_ports
from harness.profiles import PROFILES
from harness.run import RunRequest, run
from harness.trial import TrialSettings, learners_needed
from results.record import PlannedTrial, RecordReader
from scenarios.load import load_scenario
from stub_services.requests import RequestBook
from stub_services.stores import build_template
from tests.functional.checking_gateway import DEFECTS, Checking
from tests.functional.test_run import TINY

pytestmark = [pytest.mark.functional, pytest.mark.alone]

IELTS = load_scenario("ielts")
SECRET = "a-secret-of-thirty-two-bytes-or-more"
RATE_PER_S = 60.0
REFUSED = {401, 503}


@pytest.fixture(scope="module")
def server():
    with contextlib.closing(ForkServer((*PRELOAD, "tests.functional.checking_gateway"))) as server:
        yield server


@pytest.fixture(scope="module")
def settings(tmp_path_factory, server):
    """A run's settings without the run."""
    scratch = tmp_path_factory.mktemp("scratch")
    ports = dict(zip(IELTS.components, free_ports(6, random.Random()), strict=True))
    learners = learners_needed(RATE_PER_S, PROFILES["quick"], 0)
    spec = PlatformSpec(
        IELTS, "direct", ports, "builtin", "bare", "none", 1.0, 1, "key", SECRET, [], scratch / "template"
    )
    build_template(spec.template, learners)
    return TrialSettings(
        spec=spec,
        profile=PROFILES["quick"],
        book=RequestBook(learners, SECRET),
        learners=learners,
        rate_per_s=RATE_PER_S,
        saturation_shots=0,
        connections=8,
        timeout_ms=5000,  # other tests may keep the machine busy
        crew=ForkedCrew(server, []),
        scratch=scratch,
        seed=1,
        watchdogs=[],
        objective=IELTS.load.objective_for("bare"),
    )


def tried(name, mode, settings, server, gateway="builtin"):
    """Run one experiment; return its outcome."""
    with_gateway = replace(settings, spec=replace(settings.spec, gateway=gateway))
    before = _children()
    outcome = run_experiment(PlannedTrial(0, 0, mode, mode, experiment=name), with_gateway, server)
    assert _children() == before, "the experiment left processes behind"
    assert not (settings.scratch / outcome.record.trial.folder).exists()
    return outcome


def _children():
    return {process.pid for process in psutil.Process().children(recursive=True)}


def statuses(outcome):
    """Probe -> the statuses that came back, each once."""
    found = {}
    for probe in outcome.record.probes:
        found.setdefault(probe.name, set()).add(probe.status)
    return {name: found[name].pop() if len(found[name]) == 1 else found[name] for name in found}


def tallies(outcome):
    return {tally.name: tally.value for tally in outcome.record.tallies}


# -- moving a service ----------------------------------------------------------------------------------------------


def _kinds(outcome):
    return [(event.kind, event.component) for event in outcome.record.events]


def _lost(outcome):
    """(flow, window, outcome, status, effect) of every request that did not succeed."""
    columns = [outcome.samples[name] for name in ("flow", "window", "outcome", "status", "effect")]
    rows = zip(*columns, strict=True)
    return [row for row in rows if row[2] != "ok" or row[4] not in ("met", "none")]


def _is_whole(outcome):
    """Every request that was due has its row, and nothing was lost but in the move, or in flight when it began."""
    counts, columns = outcome.record.counts, outcome.samples
    assert outcome.record.state == "done", outcome.record.doubts
    assert counts["planned"] == len(columns["flow"]) > RATE_PER_S * 0.3
    assert counts["planned"] - counts["dropped"] == counts["sent"]
    assert counts["sent"] == counts["ok"] + counts["error"] + counts["timeout"]
    assert {row[1] for row in _lost(outcome)} <= {"before", "move"}
    assert {"warmup", "before", "move"} <= set(columns["window"]) <= {"warmup", "before", "move", "after", "between"}


def test_in_direct_mode_every_caller_is_restarted_and_the_clients_go_where_they_are_told(settings, server):
    outcome = tried("service-move", "direct", settings, server)
    _is_whole(outcome)
    assert _kinds(outcome) == [
        ("move_begin", "user"),
        ("restart", "auth"),
        ("restart", "course"),
        ("restart", "exercise"),
        ("move_end", "user"),
    ]
    assert {row[0] for row in _lost(outcome)} <= {flow.name for flow in IELTS.flows} - {"view_profile"}
    assert set(outcome.calls["callee"]) == {"user", "notification"}


RELOADING = {"builtin": True, "nginx": False, "haproxy": True, "envoy": False, "traefik": True, "caddy": True}


@pytest.mark.parametrize("name", GATEWAYS)
def test_in_gateway_mode_the_gateway_alone_is_told_by_reloading_where_it_can(name, settings, server):
    if problem := GATEWAYS[name].missing():
        pytest.skip(problem)
    outcome = tried("service-move", "gateway", settings, server, name)
    how = "reload" if RELOADING[name] else "restart"
    assert _kinds(outcome) == [
        ("move_begin", "user"),
        (how, "gateway"),
        ("switched", "gateway"),
        ("move_end", "user"),
    ], [event for event in outcome.record.events if event.kind == "restart"]
    _is_whole(outcome)


def test_a_gateway_that_keeps_what_is_in_flight_loses_nothing_in_a_move(settings, server, monkeypatch):
    monkeypatch.setitem(GATEWAYS, "builtin", Checking())
    outcome = tried("service-move", "gateway", settings, server)
    assert ("reload", "gateway") in _kinds(outcome)
    assert _lost(outcome) == []


class Deaf(Checking):
    """A gateway that is told to reload and goes on as before."""

    def reload(self, pid, config, folder, server, cores, log):
        return pid


def test_a_gateway_that_does_not_take_the_move_up_voids_the_trial(settings, server, monkeypatch):
    monkeypatch.setitem(GATEWAYS, "builtin", Deaf())
    monkeypatch.setattr("harness.experiments.rolling._SWITCH_PATIENCE_S", 0.2)
    outcome = tried("service-move", "gateway", settings, server)
    assert outcome.record.state == "void"
    assert [doubt.name for doubt in outcome.record.doubts if doubt.fatal] == ["move_not_observed"]
    assert _lost(outcome), "the old instance was ended, and nobody knew"


class Dying(Checking):
    """A gateway that ends when it is told to reload."""

    def reload(self, pid, config, folder, server, cores, log):
        (folder / "gateway.yaml").write_text(config)
        psutil.Process(pid).send_signal(signal.SIGKILL)
        return pid


def test_a_gateway_that_ends_of_a_reload_is_started_again_and_that_is_said(settings, server, monkeypatch):
    monkeypatch.setitem(GATEWAYS, "builtin", Dying())
    outcome = tried("service-move", "gateway", settings, server)
    (restart,) = [event for event in outcome.record.events if event.kind == "restart"]
    assert (restart.component, restart.detail) == ("gateway", "builtin ended when it was told to reload")
    assert outcome.record.state == "done"
    assert _lost(outcome)


# -- tokens --------------------------------------------------------------------------------------------------------

# What the two ways of checking answer, with the judge up, down, not yet up, and back.
ASKING = {"ask_up": 200, "ask_up_no_token": 401, "ask_down": 503, "ask_before": 503, "ask_back": 200}
LOCALLY = {"local_up": 200, "local_up_no_token": 401, "local_down": 200, "local_before": 200, "local_back": 200}
FREE = {f"{way}_{when}_no_token_needed": 200 for way in ("ask", "local") for when in ("down", "before")}
SEEN = {
    "": {},
    "waits_for_auth": dict.fromkeys(
        ("ask_before", "ask_before_no_token_needed", "local_before", "local_before_no_token_needed"), 0
    ),
    "trusts_once": {"ask_down": 200},
    "unlimited": {},
    "unchecked": {"ask_up_no_token": 404, "ask_down": 200, "ask_before": 200, "local_up_no_token": 404},
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_token_check_shows_what_the_gateway_does_while_its_judge_is_away(defect, settings, server, monkeypatch):
    monkeypatch.setitem(GATEWAYS, "builtin", Checking(defect))
    monkeypatch.setattr("harness.experiments.token_check._UP_PATIENCE_S", 1.5)
    outcome = tried("token-check", "gateway", settings, server, "nginx")  # the run's gateway makes no difference
    assert statuses(outcome) == ASKING | LOCALLY | FREE | SEEN[defect]
    assert outcome.record.used_gateway == "builtin"


def test_our_gateway_serves_no_token_while_the_judge_is_away_unless_it_checks_by_itself(settings, server):
    outcome = tried("token-check", "gateway", settings, server)
    assert statuses(outcome) == ASKING | LOCALLY | FREE


# -- limits --------------------------------------------------------------------------------------------------------

AT_THE_GATEWAY = {
    "within_limit": 200,
    "over_limit": 429,
    "good_token": 200,
    "no_token": 401,
    "bad_token": 401,
    "internal_call": 200,
    "good_token_services_down": 502,
    "no_token_services_down": 401,
    "bad_token_services_down": 401,
}
AT_THE_SERVICES = AT_THE_GATEWAY | {
    "over_limit": 200,
    "good_token_services_down": 0,
    "no_token_services_down": 0,
    "bad_token_services_down": 0,
}


def _limits(mode, settings, server):
    outcome = tried("central-limits", mode, settings, server)
    burst = [probe for probe in outcome.record.probes if probe.name in ("within_limit", "over_limit")]
    assert len(burst) == IELTS.experiments["central-limits"]["sent"]
    return statuses(outcome), tallies(outcome)


@pytest.mark.parametrize(
    ("mode", "defect", "asked", "counted"),
    [
        ("gateway", "", {}, (1, 1)),
        ("hybrid", "", {}, (1, 1)),
        ("hybrid", "unlimited", {"over_limit": 200}, (1, 0)),
        ("hybrid", "unchecked", {"no_token_services_down": 502, "bad_token_services_down": 502}, (0, 1)),
    ],
)
def test_a_gateway_that_limits_and_checks_is_the_one_place(mode, defect, asked, counted, settings, server, monkeypatch):
    monkeypatch.setitem(GATEWAYS, "builtin", Checking(defect))
    found, places = _limits(mode, settings, server)
    assert found == AT_THE_GATEWAY | asked
    assert (places["places_refusing_tokens"], places["places_limiting_rates"]) == counted


def test_without_a_gateway_each_service_refuses_tokens_and_none_limits(settings, server):
    found, places = _limits("direct", settings, server)
    assert found == AT_THE_SERVICES
    assert places == {"places_refusing_tokens": 3, "places_limiting_rates": 0}


@pytest.mark.parametrize("mode", ["gateway", "hybrid"])
def test_our_gateway_limits_and_checks_in_the_place_of_the_services(mode, settings, server):
    found, places = _limits(mode, settings, server)
    assert found == AT_THE_GATEWAY
    assert places == {"places_refusing_tokens": 1, "places_limiting_rates": 1}


# -- a run ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [True, False])
def test_a_run_tries_the_experiments_of_its_scenario_in_its_modes_unless_told_not_to(wanted, tmp_path):
    scenario = IELTS.model_copy(update={"experiments": {"gateway-routes": {}, "edited-places": {"service": "user"}}})
    profile = replace(TINY, experiment_blocks=1, search=replace(TINY.search, what="none"), open_s=0.2, saturation_s=0.1)
    request = RunRequest(scenario, profile, modes=("gateway",), out=tmp_path, experiments=wanted)
    *_, last = run(request)
    trials = [trial for trial in RecordReader(last.run_dir).trials() if trial.trial.experiment]
    assert [trial.trial.experiment for trial in trials] == (["gateway-routes", "edited-places"] if wanted else [])
    assert [tally.value for trial in trials for tally in trial.tallies] == ([2, 4, 1, 1] if wanted else [])
    assert {trial.trial.mode for trial in trials} <= {"gateway"}
