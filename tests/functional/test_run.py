"""A whole run, small: real platforms, real load, a real crash, and the record that it leaves."""

import dataclasses
import errno
import json
import os
import random
import socket
from collections import Counter

import psutil
import pytest

from harness import run as run_module
from harness.errors import BadInputError, PortTakenError, StartError
from harness.ports import free_ports
from harness.profiles import PROFILES
from harness.run import RunRequest, run
from results.record import RecordReader, RecordWriter
from scenarios.load import load_scenario
from stub_services.stores import build_template

pytestmark = [pytest.mark.functional, pytest.mark.alone]

TINY = dataclasses.replace(
    PROFILES["quick"],
    name="tiny",
    steady_blocks=1,
    fault_blocks=1,
    warmup_s=0.2,
    open_s=0.5,
    saturation_s=0.3,
    experiment_blocks=0,
    pilot_s=0.2,
    search=dataclasses.replace(PROFILES["quick"].search, blocks=1, window_s=0.3, precision=0.25),
)
SEARCHED = 3


def _children():
    return {process.pid for process in psutil.Process().children(recursive=True)}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A tiny run with two faults, read back."""
    before = _children()
    request = RunRequest(
        load_scenario("ielts"),
        profile=TINY,
        faults=("crash:user", "crash:gateway"),
        out=tmp_path_factory.mktemp("runs"),
    )
    outcomes = list(run(request))
    assert _children() == before, "the run left processes behind"
    assert outcomes[0].planned == 4 + 2 * 3 + SEARCHED
    assert outcomes[-1].written == outcomes[-1].planned  # more, where the host stood still and a trial was repeated
    return RecordReader(outcomes[-1].run_dir)


def _trial(record, arm, fault="", search=""):
    """The last one: where the host stood still the first is void."""
    wanted = (arm, fault, search)
    return [t for t in record.trials() if (t.trial.arm, t.trial.fault, t.trial.search) == wanted][-1]


def _rows(record, trial, window=None, **wanted):
    rows = record.samples(trial.trial).to_pylist()
    rows = [row for row in rows if window is None or row["window"] == window]
    return [row for row in rows if all(row[name] in value for name, value in wanted.items())]


EXTERNAL = {"register", "login", "view_profile", "browse_courses", "complete_lesson", "submit_exercise"}
INTERNAL = {"study_reminders", "progress_sync"}


def test_no_request_fails_and_every_effect_is_met_without_a_fault(record):
    for trial in record.trials():
        if trial.trial.fault or trial.trial.search:
            continue
        rows = _rows(record, trial)
        assert {row["flow"] for row in rows} == EXTERNAL | INTERNAL
        assert Counter(row["outcome"] for row in rows) == {"ok": len(rows)}
        assert {row["effect"] for row in rows} == {"met", "none"}
        assert trial.counts["planned"] == trial.counts["sent"] == len(rows)


def test_every_arm_of_a_block_replays_the_same_schedule(record):
    def schedule(arm):
        rows = _rows(record, _trial(record, arm), "open", flow=EXTERNAL)
        return [(row["flow"], row["intended_ns"]) for row in rows]

    assert schedule("direct") == schedule("direct-null") == schedule("gateway") == schedule("hybrid")
    assert len(schedule("direct")) > 20


def test_internal_calls_pass_two_connections_in_gateway_mode_and_one_otherwise(record):
    for arm, hops in (("direct", 1), ("direct-null", 1), ("gateway", 2), ("hybrid", 1)):
        calls = record.calls(_trial(record, arm).trial).to_pylist()
        assert {row["hops"] for row in calls} == {hops}
        assert {row["operation"] for row in calls} == {
            "profile/create",
            "progress/update",
            "statistics/update",
            "profile/read",
            "send",
        }


def test_the_gateway_uses_cpu_only_where_requests_pass_it(record):
    def gateway_us(arm):
        window = next(w for w in _trial(record, arm).windows if w.name == "open")
        return window.cpu_ns["gateway"] / window.requests / 1e3

    assert gateway_us("direct") < 5
    assert gateway_us("gateway") > gateway_us("hybrid") > 10


def test_saturation_brings_more_requests_a_second_than_the_open_loop_offered(record):
    for trial in record.trials():
        if not trial.trial.fault and not trial.trial.search:
            rates = {w.name: w.requests / (w.end_ns - w.start_ns) * 1e9 for w in trial.windows}
            assert rates["saturation"] > 1.5 * rates["open"]


@pytest.mark.parametrize("mode", ["direct", "gateway", "hybrid"])
def test_a_search_brackets_the_capacity_with_windows_of_the_whole_mix(record, mode):
    trial = _trial(record, mode, search="mix")
    counted = [window for window in trial.windows if window.name.startswith("capacity-")]
    assert counted or trial.state == "void"
    for window in trial.windows:
        rows = _rows(record, trial, window.name)
        assert {row["flow"] for row in rows} == EXTERNAL | INTERNAL
        assert len(rows) == pytest.approx(window.offered_per_s * (window.end_ns - window.start_ns) / 1e9, rel=0.2)
    rows = _rows(record, trial)
    assert trial.counts["planned"] == len(rows)
    assert trial.counts["planned"] - trial.counts["dropped"] == trial.counts["sent"]
    assert trial.counts["sent"] == sum(trial.counts[outcome] for outcome in ("ok", "error", "timeout"))
    assert {row["effect"] for row in rows} == {"unread"}
    assert [event.kind for event in trial.events] == ["search_end"]


def test_the_first_window_of_a_search_replays_the_same_arrivals_in_every_mode_but_for_the_scale_of_time(record):
    def first(mode):
        trial = _trial(record, mode, search="mix")
        rate = trial.windows[0].offered_per_s
        rows = sorted(_rows(record, trial, flow=EXTERNAL), key=lambda row: row["intended_ns"])
        start = trial.windows[0].start_ns - 100_000_000
        return [(row["flow"], round((row["intended_ns"] - start) * rate / 1e9, 3)) for row in rows[:100]]

    assert first("direct") == first("gateway") == first("hybrid")


def test_probes_are_refused_without_the_key_and_in_hybrid_at_the_gateway(record):
    for arm, at_gateway in (("direct", {404}), ("hybrid", {404}), ("gateway", {200, 201})):
        probes = _trial(record, arm).probes
        statuses = {name: {p.status for p in probes if p.name == name} for name in {p.name for p in probes}}
        assert statuses["internal_without_key"] == {403}
        assert statuses["internal_with_key"] <= {200, 201}
        assert statuses["internal_through_gateway"] == at_gateway


@pytest.mark.parametrize("mode", ["direct", "gateway", "hybrid"])
def test_a_crash_was_seen_to_come_and_to_go(record, mode):
    trial = _trial(record, mode, "crash:user")
    at = {event.kind: event.at_ns for event in trial.events}
    assert at["inject"] <= at["fault_seen"] < at["lift"] <= at["heal_seen"]
    assert trial.state == "done"


def test_a_dead_gateway_stops_external_flows_in_hybrid_and_leaves_internal_ones_alone(record):
    trial = _trial(record, "hybrid", "crash:gateway")
    outside = _rows(record, trial, "fault", flow=EXTERNAL)
    inside = _rows(record, trial, "fault", flow=INTERNAL)
    assert outside
    assert {row["outcome"] for row in outside} == {"error"}
    assert inside
    assert {(row["outcome"], row["effect"]) for row in inside} == {("ok", "met")}


def test_a_dead_gateway_stops_everything_in_gateway_mode_and_nothing_in_direct_mode(record):
    for mode, outcome in (("gateway", {"error"}), ("direct", {"ok"})):
        rows = _rows(record, _trial(record, mode, "crash:gateway"), "fault")
        assert {row["flow"] for row in rows} >= INTERNAL
        assert {row["outcome"] for row in rows} == outcome


def test_registrations_leave_orphans_while_the_user_service_is_down(record):
    rows = _rows(record, _trial(record, "direct", "crash:user"), "fault", flow={"register"})
    assert rows
    assert {(row["outcome"], row["effect"], row["anomaly"]) for row in rows} == {("ok", "missing", "orphan")}


def test_goodput_comes_back_after_the_restart(record):
    trial = _trial(record, "gateway", "crash:user")
    healed = next(event.at_ns for event in trial.events if event.kind == "heal_seen")
    late = [row for row in _rows(record, trial, "after") if row["intended_ns"] > healed + 50_000_000]
    assert late
    assert {row["outcome"] for row in late} == {"ok"}


def test_the_record_says_what_was_run(record):
    plan = record.plan
    assert plan.profile == "tiny"
    assert "pilot saturation" in plan.rate_reason
    assert {"direct", "gateway", "hybrid"} == set(plan.gateway_config)
    assert "/api/v1/user/internal" in plan.gateway_config["gateway"]
    assert "/api/v1/user/internal" not in plan.gateway_config["hybrid"]
    assert record.environment["probes"]["loopback_rtt_us"] > 0
    assert (record.run_dir.parent / "latest").resolve() == record.run_dir.resolve()


def test_a_run_that_is_stopped_early_keeps_what_it_measured_and_leaves_no_process(tmp_path):
    before = _children()
    stopped = run(RunRequest(load_scenario("ielts"), profile=TINY, out=tmp_path))
    for outcome in stopped:
        if outcome.written == 2:
            break
    stopped.close()
    assert _children() == before
    kept = list(RecordReader(outcome.run_dir).trials())
    assert len(kept) == 2
    assert {trial.state for trial in kept} <= {"done", "void"}  # void: the host stood still


def test_a_full_disk_ends_the_run_and_the_record_so_far_stays_readable(tmp_path, monkeypatch):
    real_add = RecordWriter.add

    def add(self, record, samples, calls):
        if record.trial.index == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real_add(self, record, samples, calls)

    monkeypatch.setattr(RecordWriter, "add", add)
    outcomes = run(RunRequest(load_scenario("ielts"), profile=TINY, out=tmp_path))
    seen = []
    with pytest.raises(OSError, match="No space left"):
        seen.extend(outcomes)
    run_dir = next(tmp_path.glob("*-ielts-tiny"))
    assert len(list(RecordReader(run_dir).trials())) == 1


def test_a_service_that_does_not_start_is_named_with_its_last_log_lines(tmp_path, monkeypatch):
    def build_broken(folder, learners):
        build_template(folder, learners)
        (folder / "auth_db.sqlite").write_bytes(b"this is no store" * 300)

    monkeypatch.setattr(run_module, "build_template", build_broken)
    with pytest.raises(StartError, match=r"(?s)auth did not start on port \d+ in direct mode: .*not a database"):
        list(run(RunRequest(load_scenario("ielts"), profile=TINY, out=tmp_path)))
    assert not list(tmp_path.glob("*/record"))


def test_a_port_that_is_taken_is_named_with_its_holder(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        ports = [port, *free_ports(5, random.Random(1))]
        monkeypatch.setattr(run_module, "free_ports", lambda _count, _rng: ports)
        with pytest.raises(PortTakenError, match=rf"port {port} for auth is in use by .*process {os.getpid()}"):
            list(run(RunRequest(load_scenario("ielts"), profile=TINY, out=tmp_path)))


def test_an_unknown_flow_is_refused_with_the_choices(tmp_path):
    with pytest.raises(BadInputError, match=r"unknown flow 'logon': one of register, login"):
        list(run(RunRequest(load_scenario("ielts"), flows=("logon",), out=tmp_path)))


def test_a_rate_that_is_too_high_for_latency_figures_is_refused(tmp_path):
    scenario = load_scenario("ielts")
    scenario = scenario.model_copy(update={"load": scenario.load.model_copy(update={"rate_per_s": 1e6})})
    with pytest.raises(BadInputError, match="at most 50 % is allowed"):
        list(run(RunRequest(scenario, profile=TINY, out=tmp_path)))


def test_the_plan_is_plain_data(record):
    assert json.loads((record.run_dir / "record" / "plan.json").read_text())["seed"] == 1
