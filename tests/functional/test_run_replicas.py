"""A whole run, small, with two gateway instances, one of which is crashed: what goes on, what is lost, what is said."""

import dataclasses
from collections import Counter

import pytest

from harness.profiles import PROFILES
from harness.run import RunRequest, run
from results.build import build
from results.record import RecordReader
from scenarios.load import load_scenario

pytestmark = [pytest.mark.functional, pytest.mark.alone]

SHORT = dataclasses.replace(
    PROFILES["quick"],
    name="tiny",
    steady_blocks=1,
    fault_blocks=1,
    warmup_s=0.2,
    saturation_blocks=0,
    after_s=0.8,
)
INTERNAL = {"study_reminders", "progress_sync"}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    request = RunRequest(
        load_scenario("ielts"),
        profile=SHORT,
        faults=("crash:gateway",),
        capacity="none",
        gateway_replicas=2,
        experiments=False,
        out=tmp_path_factory.mktemp("runs"),
    )
    outcomes = list(run(request))
    return RecordReader(outcomes[-1].run_dir)


def _trial(record, arm, fault=""):
    """The last one: where the host stood still the first is void."""
    return [trial for trial in record.trials() if (trial.trial.arm, trial.trial.fault) == (arm, fault)][-1]


def _crash(record, mode):
    return _trial(record, mode, "crash:gateway")


def test_the_record_says_how_many_instances_there_were(record):
    assert record.plan.gateway_replicas == 2


def test_internal_calls_pass_one_instance_and_not_both(record):
    for mode, hops in (("direct", 1), ("gateway", 2), ("hybrid", 1)):
        calls = record.calls(_trial(record, mode).trial).to_pylist()
        assert {row["hops"] for row in calls} == {hops}


def test_both_instances_work_where_requests_pass_the_gateway(record):
    costs = {}  # CPU of each instance, ns a request
    for mode in ("direct", "gateway", "hybrid"):
        window = next(window for window in _trial(record, mode).windows if window.name == "open")
        costs[mode] = [window.cpu_ns[name] / window.requests for name in ("gateway", "gateway-2")]
    for mode in ("gateway", "hybrid"):
        first, second = costs[mode]
        assert 0.5 < first / second < 2
        assert min(costs[mode]) > 3 * max(costs["direct"])  # where they only look at their clocks


@pytest.mark.parametrize("mode", ["gateway", "hybrid"])
def test_the_crash_of_one_instance_costs_little_more_than_what_was_on_its_way(record, mode):
    """What the instance had when it was killed is an error, if it may have been done; the rest goes on."""
    trial = _crash(record, mode)
    at = {event.kind: event.at_ns for event in trial.events if event.component == "gateway"}
    assert at["inject"] <= at["fault_seen"] < at["lift"] <= at["heal_seen"]
    rows = record.samples(trial.trial).to_pylist()
    counts = Counter(row["outcome"] for row in rows)
    assert counts["error"] + counts["timeout"] < 0.05 * len(rows)
    down = [row for row in rows if at["fault_seen"] + 100e6 < row["intended_ns"] < at["lift"]]
    assert len(down) > 20
    assert {row["outcome"] for row in down} == {"ok"}
    assert trial.counts["planned"] == trial.counts["sent"] + trial.counts["dropped"]


def test_whoever_passes_the_gateway_fails_over_and_nobody_else(record):
    callers = {
        mode: {event.component for event in _crash(record, mode).events if event.kind == "connect_failed"}
        for mode in ("direct", "gateway", "hybrid")
    }
    assert callers["direct"] == set()
    assert callers["hybrid"] == {"generator"}
    assert callers["gateway"] > {"generator"}
    assert _crash(record, "hybrid").generator["connects_since_fault"] >= 1
    assert "connects_since_fault" not in _crash(record, "direct").generator


def test_internal_work_does_not_notice_in_hybrid_and_nothing_does_in_direct_mode(record):
    for mode in ("direct", "hybrid"):
        rows = record.samples(_crash(record, mode).trial).to_pylist()
        unaware = [row for row in rows if mode == "direct" or row["flow"] in INTERNAL]
        assert {row["outcome"] for row in unaware} == {"ok"}


def test_the_claim_is_judged_by_the_crash_and_its_cost_is_in_the_details(record):
    """One block gives no interval, so that nothing is settled; what it cost was counted all the same."""
    (verdict,) = (verdict for verdict in build(record.run_dir).verdicts if verdict.claim.id == "gateway-ha")
    assert verdict.finding.verdict in {"inconclusive", "invalid"}  # invalid where the host disturbed the run
    assert verdict.scope["gateway_replicas"] == 2
    parts = {part["mode"]: part for part in verdict.finding.details}
    assert parts.keys() == {"gateway", "hybrid"}
    for mode, part in parts.items():
        rows = record.samples(_crash(record, mode).trial).to_pylist()
        bad = sum(row["outcome"] != "ok" for row in rows)
        assert part["lost"] >= bad
        assert part["at_stake"] > 20
        assert part["connects_failed"] >= 1
