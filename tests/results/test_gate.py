"""The regression gate: what fails, what passes, what stays open, and what is refused."""

import copy
import json
import math

import numpy as np
import pytest

from results.files import BadInput
from results.gate import check, compare
from results.gate_power import simulate
from results.gate_rule import LogRatio, answers, slowdown


@pytest.fixture(scope="module")
def baseline(usual_run):
    return json.loads((usual_run / "results.json").read_text(encoding="utf-8"))


@pytest.fixture
def current(baseline):
    """Results like the baseline, with room to change them; every block sd is small."""
    found = copy.deepcopy(baseline)
    for data in (found, baseline):
        for one in data["comparisons"]:
            one["sd_log"] = 0.01
            if one["numerator"] == "direct-null":
                one["ratio"] = 1.0
    return found


def scale(data, metric, factor, arm="gateway"):
    for one in data["comparisons"]:
        if (one["metric"], one["numerator"]) == (metric, arm):
            one["ratio"] *= factor


def give(data, claim, verdict):
    next(one for one in data["claims"] if one["id"] == claim)["verdict"] = verdict


def test_the_same_run_passes(current, baseline):
    outcome = check(current, baseline)
    assert outcome.exit_code == 0
    assert {ratio.answer for ratio in outcome.ratios} == {"pass"}
    assert {ratio.metric for ratio in outcome.ratios} == {
        "call_latency_mean",
        "saturation_throughput",
        "cpu_per_request total",
    }


@pytest.mark.parametrize(
    ("metric", "factor"), [("call_latency_mean", 1.3), ("cpu_per_request", 1.3), ("saturation_throughput", 0.7)]
)
def test_a_slower_run_fails_whichever_way_is_worse(current, baseline, metric, factor):
    scale(current, metric, factor)
    outcome = check(current, baseline)
    assert outcome.exit_code == 3
    assert metric in outcome.says
    assert [ratio.answer for ratio in outcome.ratios].count("fail") == 1


@pytest.mark.parametrize(("metric", "factor"), [("call_latency_mean", 0.7), ("saturation_throughput", 1.3)])
def test_a_faster_run_passes(current, baseline, metric, factor):
    scale(current, metric, factor)
    assert check(current, baseline).exit_code == 0


def test_between_tolerance_and_margin_it_stays_open(current, baseline):
    scale(current, "call_latency_mean", 1.09)
    for one in current["comparisons"]:
        one["sd_log"] = 0.06
    outcome = check(current, baseline)
    assert (outcome.exit_code, check(current, baseline, strict=True).exit_code) == (0, 4)
    assert "not settled" in outcome.says


def test_a_null_control_that_is_off_turns_a_failure_into_an_open_question(current, baseline):
    scale(current, "call_latency_mean", 1.3)
    scale(current, "call_latency_mean", 1.05, arm="direct-null")
    outcome = check(current, baseline, strict=True)
    assert outcome.exit_code == 4
    assert any("against itself" in ratio.why for ratio in outcome.ratios)


def test_tolerance_and_margin_can_be_set(current, baseline):
    scale(current, "call_latency_mean", 1.3)
    assert check(current, baseline, tolerance=0.5, margin=0.6).exit_code == 0
    with pytest.raises(BadInput, match="below the margin"):
        check(current, baseline, tolerance=0.2, margin=0.1)


@pytest.mark.parametrize(
    ("claim", "verdict", "exit_code", "strict"),
    [
        ("latency-ratio", "refuted", 3, 3),
        ("latency-ratio", "inconclusive", 0, 4),
        ("latency-ratio", "invalid", 5, 5),
        ("latency-direct", "confirmed", 0, 0),  # does not gate
        ("gateway-ha", "confirmed", 0, 0),  # could not be tested before
    ],
)
def test_a_changed_verdict(current, baseline, claim, verdict, exit_code, strict):
    give(current, claim, verdict)
    assert check(current, baseline).exit_code == exit_code
    assert check(current, baseline, strict=True).exit_code == strict
    assert claim in {change.claim for change in check(current, baseline).changes}


def test_a_claim_that_was_refuted_before_does_not_keep_ci_red(current, baseline):
    refuted = {one["id"] for one in baseline["claims"] if one["verdict"] == "refuted" and one["gates"]}
    assert refuted
    assert check(current, baseline).exit_code == 0


def test_a_gating_claim_that_is_gone_fails(current, baseline):
    current["claims"] = [one for one in current["claims"] if one["id"] != "latency-ratio"]
    assert check(current, baseline).exit_code == 3


def test_without_a_baseline_validity_decides(current):
    assert check(current).exit_code == 0
    give(current, "latency-ratio", "inconclusive")
    assert (check(current).exit_code, check(current, strict=True).exit_code) == (0, 4)
    current["validity"] = {"valid": False, "doubts": [{"name": "generator late", "fatal": True}]}
    outcome = check(current)
    assert outcome.exit_code == 5
    assert "generator late" in outcome.says


def test_an_invalid_run_is_never_called_slower(current, baseline):
    scale(current, "call_latency_mean", 2)
    current["validity"]["valid"] = False
    assert check(current, baseline).exit_code == 5


@pytest.mark.parametrize("name", ["scenario", "gateway", "work", "policy"])
def test_other_settings_are_not_compared(current, baseline, name):
    current["run"][name] = "another"
    with pytest.raises(BadInput, match=f"another {name}"):
        check(current, baseline)


def test_results_from_before_there_were_several_gateway_instances_are_of_one(current, baseline):
    before = copy.deepcopy(baseline)
    del before["run"]["gateway_replicas"]
    assert check(current, before).exit_code == 0
    current["run"]["gateway_replicas"] = 2
    with pytest.raises(BadInput, match="another gateway_replicas"):
        check(current, before)


def test_a_metric_of_one_block_stays_open(current, baseline):
    for one in current["comparisons"]:
        one.update(n=1, sd_log=None)
    assert check(current, baseline, strict=True).exit_code == 4


def test_folders_and_files_are_read(usual_run):
    assert check(usual_run, usual_run / "results.json").exit_code in (0, 3, 4)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "no schema_version"),
        ('{"schema_version": 99}', "schema version 99"),
        ('{"schema_version": 1, "run": {}}', "not a whole results.json"),
    ],
)
def test_a_baseline_that_is_none_is_refused_with_a_sentence(usual_run, tmp_path, text, says):
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=says):
        check(usual_run, path)


def test_a_missing_baseline_or_record_is_refused_with_a_sentence(usual_run, tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        check(usual_run, tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"neither .* nor a readable record"):
        check(tmp_path)


def test_two_runs_stand_side_by_side(current, baseline):
    scale(current, "call_latency_mean", 1.3)
    give(current, "latency-ratio", "refuted")
    found = compare(baseline, current)
    row = next(r for r in found.rows if (r.metric, r.arms) == ("call_latency_mean", "gateway/direct"))
    assert row.second[0] == pytest.approx(1.3 * row.first[0])
    assert [(c.claim, c.before, c.now) for c in found.changes] == [("latency-ratio", "confirmed", "refuted")]


def test_failing_is_corrected_for_the_number_of_metrics():
    borderline = slowdown(LogRatio(0.085, 0.05, 8), LogRatio(0.0, 0.05, 8), worse_is_higher=True)
    calm = slowdown(LogRatio(0.0, 0.01, 8), LogRatio(0.0, 0.01, 8), worse_is_higher=True)
    assert answers([borderline])[0] == "fail"
    assert answers([borderline, calm, calm, calm, calm])[0] != "fail"


def test_a_slowdown_without_any_noise_is_certain():
    still = LogRatio(0.0, 0.0, 4)
    assert answers([slowdown(LogRatio(0.05, 0.0, 4), still, worse_is_higher=True)]) == ["fail"]
    assert answers([slowdown(LogRatio(0.05, 0.0, 4), still, worse_is_higher=False)]) == ["pass"]


def test_ten_thousand_virtual_gates_rarely_fail_on_nothing():
    power = simulate("call_latency_mean", 0.03, 8, seed=1)
    assert power.false_fail <= 0.01
    assert power.passes >= 0.8
    assert 0.03 < power.caught < 0.10


def test_the_slowdown_that_is_said_to_be_caught_is_caught():
    power, rng = simulate("m", 0.05, 8, seed=1), np.random.default_rng(2)
    shift = math.log1p(power.caught)
    fails = 0
    for _ in range(400):
        now, before = rng.normal(shift, 0.05, 8), rng.normal(0, 0.05, 8)
        runs = [LogRatio(float(x.mean()), float(x.std(ddof=1)), 8) for x in (now, before)]
        fails += answers([slowdown(*runs, worse_is_higher=True)]) == ["fail"]
    assert fails / 400 == pytest.approx(0.8, abs=0.06)
