"""A whole run with two gateways, small: the arms of both in the same blocks, and a report with a column for each."""

import contextlib
import dataclasses
import json

import pytest

from harness.gateways import GATEWAYS
from harness.platform import Platform
from harness.run import RunRequest, run
from results.build import write_reports
from results.record import RecordReader
from scenarios.load import load_scenario
from tests.functional.test_run import TINY

pytestmark = [pytest.mark.functional, pytest.mark.alone]

OTHER = "nginx:go-default"
ARMS = ("direct", "direct-null", "gateway", "hybrid", f"gateway@{OTHER}", f"hybrid@{OTHER}")
SHORT = dataclasses.replace(TINY, open_s=0.4, saturation_blocks=0, pilot_s=0.4, fault_s=0.6)


STARTED = set()  # (the trial's folder, its mode, its gateway) of every platform that was started


@contextlib.contextmanager
def _watched():
    start = Platform.__enter__

    def enter(platform):
        STARTED.add((platform.folder.name, platform.spec.mode, platform.spec.gateway))
        return start(platform)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Platform, "__enter__", enter)
        yield


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """One block and one fault; searches are planned and begun for each gateway by tests without processes."""
    if problem := GATEWAYS["nginx"].missing():
        pytest.skip(problem)
    request = RunRequest(
        load_scenario("ielts"),
        profile=SHORT,
        faults=("crash:gateway",),
        capacity="none",
        out=tmp_path_factory.mktemp("runs"),
        further_gateways=(OTHER,),
    )
    with _watched():
        outcomes = list(run(request))
    assert outcomes[0].planned == len(ARMS) + len(ARMS) - 1
    return RecordReader(outcomes[-1].run_dir)


def _trial(record, arm, fault=""):
    """The last one that came to its end: where the host stood still the first is void, or the second as well."""
    trials = [t for t in record.trials() if (t.trial.arm, t.trial.fault) == (arm, fault)]
    done = [t for t in trials if t.state == "done"]
    return (done or trials)[-1]


def _rows(record, trial, window):
    return [row for row in record.samples(trial.trial).to_pylist() if row["window"] == window]


def test_every_arm_of_both_gateways_replays_the_same_schedule(record):
    def schedule(arm):
        rows = _rows(record, _trial(record, arm), "open")
        return sorted((row["flow"], row["intended_ns"]) for row in rows if row["flow"] == "login")

    assert len({tuple(schedule(arm)) for arm in ARMS}) == 1
    assert schedule("direct")


def test_each_arm_runs_with_its_own_gateway(record):
    for trial in record.plan.trials:
        gateway = OTHER if "@" in trial.arm else "builtin"
        assert (trial.folder, trial.arm.partition("@")[0].removesuffix("-null"), gateway) in STARTED
        assert trial.gateway == (OTHER if "@" in trial.arm else "")
    assert {(mode, gateway) for folder, mode, gateway in STARTED if folder.startswith("pilot-")} == {
        *((mode, "builtin") for mode in ("direct", "gateway", "hybrid")),
        *((mode, OTHER) for mode in ("gateway", "hybrid")),
    }


def test_requests_pass_the_further_gateway_as_its_mode_says(record):
    for arm, hops in ((f"gateway@{OTHER}", 2), (f"hybrid@{OTHER}", 1)):
        trial = _trial(record, arm)
        assert {row["hops"] for row in record.calls(trial.trial).to_pylist()} == {hops}
        assert {row["outcome"] for row in record.samples(trial.trial).to_pylist()} == {"ok"}


def test_the_rate_is_at_most_half_of_what_the_slowest_arm_of_all_gateways_carries(record):
    shown = record.plan.rate_reason.partition(": ")[2].partition(";")[0]
    carried = {arm: float(rate) for arm, rate in (one.rsplit(" ", 1) for one in shown.split(", "))}
    assert set(carried) == set(ARMS) - {"direct-null"}
    assert record.plan.offered_rate_per_s <= 0.5 * min(carried.values())


def test_a_crash_of_the_gateway_is_one_of_each_gateway_and_one_in_direct_mode(record):
    crashed = sorted(trial.arm for trial in record.plan.trials if trial.fault)
    assert crashed == sorted(set(ARMS) - {"direct-null"})
    for arm in (f"gateway@{OTHER}", "gateway"):
        rows = _rows(record, _trial(record, arm, "crash:gateway"), "fault")
        assert {row["outcome"] for row in rows} == {"error"}


def test_the_record_and_the_reports_say_which_gateways_were_run_and_how(record):
    first, other = record.plan.gateways
    assert (first.name, first.pool, other.name, other.pool) == ("builtin", "kept", OTHER, "go-default")
    assert other.version == GATEWAYS["nginx"].version()
    assert "keepalive 2;" in other.config["gateway"]
    write_reports(record.run_dir)
    data = json.loads((record.run_dir / "results.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in data["gateways"]] == ["builtin", OTHER]
    measured = {
        (entry["name"], one["mode"])
        for entry in data["gateways"]
        for one in entry["estimates"]
        if one["metric"] == "call_latency_mean"
    }
    usable = [t for t in record.trials() if not t.trial.fault and t.trial.folder not in data["design"]["left_out"]]
    assert measured
    assert {(t.trial.gateway or "builtin", t.trial.mode) for t in usable} <= measured
    for name in ("report.html", "report.md"):
        text = (record.run_dir / name).read_text(encoding="utf-8")
        assert f"{OTHER}: {other.version}; pool profile go-default" in text
        assert "keepalive 2;" in text
