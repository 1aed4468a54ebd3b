"""From a record to figures: what is counted, what is left out, and records that are not whole."""

import json

import pytest

from results.blocks import Key
from results.build import build, write_reports
from results.record import CALL_COLUMNS, SAMPLE_COLUMNS, RecordError, RecordReader, RecordWriter, TrialRecord, Window
from tests.results.synthetic import MS, S, World, shipped, write_record


def figures(results):
    return {(one.key.metric, one.key.flow, one.key.component, one.arm): one.measured for one in results.estimates}


def by_hand(run_dir, rows, *, calls=(), windows=(), generator=None):
    """A record of two direct blocks with just these requests."""
    world = World(faults=False, steady_blocks=2, claims=[], keep=lambda t: False)
    write_record(run_dir, world)
    for trial in RecordReader(run_dir).plan.trials:
        if trial.arm == "direct":
            record = TrialRecord(trial, "done", list(windows), generator=generator or {})
            RecordWriter(run_dir).add(record, columns(SAMPLE_COLUMNS, rows), columns(CALL_COLUMNS, calls))
    return build(run_dir)


def columns(types, rows):
    return {name: [row[name] for row in rows] for name in types}


def request(ms, *, at_ms=10, outcome="ok", flow="login", window="open", effect="none", slip_ms=0):
    start = at_ms * MS
    done = -1 if ms is None else start + int(ms * MS)
    return {
        "flow": flow,
        "window": window,
        "intended_ns": start,
        "sent_ns": -1 if outcome == "dropped" else start + slip_ms * MS,
        "done_ns": done,
        "outcome": outcome,
        "status": 200,
        "effect": effect,
        "anomaly": "",
    }


OPEN = Window("open", 0, S, 4, {"auth": 8000, "user": 4000, "generator": 10**9})


def test_latency_runs_from_the_intended_start_and_a_timeout_counts_as_one(tmp_path):
    rows = [request(2, slip_ms=1), request(4), request(None, outcome="timeout"), request(90, outcome="error")]
    found = figures(by_hand(tmp_path, rows, windows=[OPEN]))
    assert found["flow_latency_mean", "login", "", "direct"].point == pytest.approx((2 + 4 + 1000) / 3)
    assert found["service_time_mean", "login", "", "direct"].point == pytest.approx((1 + 4) / 2)
    assert found["error_share", "", "", "direct"].point == pytest.approx(0.5)
    assert found["goodput", "", "", "direct"].point == pytest.approx(2)


def test_success_needs_the_deadline_and_the_effect(tmp_path):
    rows = [
        request(2),
        request(1500),
        request(2, effect="missing"),
        request(2, effect="duplicate"),
        request(2, effect="met"),
    ]
    assert figures(by_hand(tmp_path, rows, windows=[OPEN]))["goodput", "", "", "direct"].point == pytest.approx(2)


@pytest.mark.parametrize(("count", "printed"), [(199, {"p50"}), (200, {"p50", "p95"}), (1000, {"p50", "p95", "p99"})])
def test_a_percentile_needs_requests(tmp_path, count, printed):
    found = figures(by_hand(tmp_path, [request(2 + at / 1000) for at in range(count)], windows=[OPEN]))
    stats = {stat for stat in ("p50", "p95", "p99") if (f"flow_latency_{stat}", "login", "", "direct") in found}
    assert stats == printed


def test_cpu_is_per_answered_request_without_the_generator(tmp_path):
    found = figures(by_hand(tmp_path, [request(2)] * 4, windows=[OPEN]))
    assert found["cpu_per_request", "", "auth", "direct"].point == pytest.approx(2.0)
    assert found["cpu_per_request", "", "total", "direct"].point == pytest.approx(3.0)
    assert ("cpu_per_request", "", "generator", "direct") not in found


def test_saturation_counts_good_answers_inside_its_window(tmp_path):
    full = Window("saturation", S, 3 * S)
    rows = [request(1, at_ms=at, window="saturation") for at in (1000, 1500, 2000, 2999)]
    rows += [request(1, at_ms=3000, window="saturation"), request(1, at_ms=1200, window="saturation", outcome="error")]
    found = figures(by_hand(tmp_path, rows, windows=[OPEN, full]))
    assert found["saturation_throughput", "", "", "direct"].point == pytest.approx(2.0)


def test_scaling_every_latency_leaves_the_ratios_unchanged(tmp_path):
    one, other = (
        build(write_record(tmp_path / str(ms), World(faults=False, claims=[], base_ms=ms, noise=0.02)))
        for ms in (1.0, 7.0)
    )
    ratios = [
        {(c.key, c.numerator): c.measured.point for c in results.comparisons if c.key == Key("call_latency_mean")}
        for results in (one, other)
    ]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-3)


def test_the_null_control_is_compared_in_every_compared_metric(usual):
    arms = {}
    for one in usual.comparisons:
        arms.setdefault(one.key, set()).add(one.numerator)
    assert arms[Key("saturation_throughput")] == {"direct-null", "gateway", "hybrid"}
    assert all("direct-null" in found for key, found in arms.items() if key.component != "gateway")


def test_two_gateway_instances_cost_what_both_cost_and_the_busier_one_fills_a_core_first(tmp_path):
    small = {"faults": False, "searches": False, "claims": [], "open_requests": 100, "saturation_requests": 10}
    found = {
        count: figures(build(write_record(tmp_path / str(count), World(gateway_replicas=count, noise=0.0, **small))))
        for count in (1, 2)
    }
    cpu, demand = ("cpu_per_request", "", "gateway", "gateway"), ("bottleneck_demand", "", "", "gateway")
    assert found[2][cpu].point == pytest.approx(found[1][cpu].point, rel=1e-3)
    assert {key[2] for key in found[2]} == {key[2] for key in found[1]}
    assert found[1][demand].point == pytest.approx(1.6, rel=1e-3)
    assert found[2][demand].point == pytest.approx(0.8, rel=1e-3)


def test_a_record_from_before_there_were_several_gateway_instances_is_of_one(tmp_path):
    run = write_record(tmp_path, World(faults=False, keep=lambda t: False))
    path = run / "record" / "plan.json"
    plan = json.loads(path.read_text())
    del plan["gateway_replicas"]
    path.write_text(json.dumps(plan))
    assert RecordReader(run).plan.gateway_replicas == 1


@pytest.mark.parametrize("kept", [0, 1, 2, 5])
def test_an_interrupted_record_still_gives_every_report(tmp_path, kept):
    write_record(tmp_path, World(keep=lambda t: t.index < kept, fault_requests=100))
    assert all(path.stat().st_size > 0 for path in write_reports(tmp_path))
    words = {one["id"]: one["verdict"] for one in json.loads((tmp_path / "results.json").read_text())["claims"]}
    assert words["latency-ratio"] == words["failure-impact"] == "inconclusive"


def test_a_run_without_a_usable_trial_is_invalid_with_a_reason(tmp_path):
    write_record(tmp_path, World(state=lambda t: "failed", faults=False, claims=[shipped("latency-ratio")]))
    results = build(tmp_path)
    assert not results.valid
    (verdict,) = results.verdicts
    assert verdict.finding.verdict == "invalid"
    assert "do not count" in verdict.finding.why


def test_a_trial_with_a_broken_file_is_left_out(tmp_path):
    run = write_record(tmp_path, World(faults=False, claims=[]))
    next(run.glob("record/trials/0003-*")).joinpath("samples.parquet").write_bytes(b"not parquet")
    left_out = build(run).design.left_out
    assert len(left_out) == 1
    assert "samples.parquet cannot be read" in next(iter(left_out.values()))


def test_no_record_is_an_error_with_a_sentence(tmp_path):
    with pytest.raises(RecordError, match="no record in"):
        build(tmp_path)


def test_a_scenario_that_is_none_is_an_error_with_a_sentence(tmp_path):
    write_record(tmp_path, World(faults=False, keep=lambda t: False))
    path = tmp_path / "record" / "plan.json"
    path.write_text(path.read_text().replace('"flows"', '"streams"'))
    with pytest.raises(RecordError, match="scenario"):
        build(tmp_path)


def test_building_twice_gives_the_same(usual_run, usual):
    assert build(usual_run) == usual
