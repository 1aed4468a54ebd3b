"""Several gateways in one record: each is judged as in a run of its own, and the reports set them side by side."""

import copy
import json
import re
import shutil
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from results.across import across, statements
from results.blocks import Key
from results.build import build
from results.gate import check, compare
from results.gate_further import with_further
from results.record import RecordError, RecordReader
from results.reports import gatewaytables, terminal, write
from results.reports.as_json import as_data, render
from results.reports.page import reproduce
from results.summary import sentences
from tests.results.synthetic import World, shipped, write_record
from tests.results.test_claims import cycle

# Calls through nginx are hardly slower, so that a claim that is true of ours is refuted; the go-default one is as ours.
SMALL = {"open_requests": 250, "fault_requests": 300, "saturation_requests": 50}
NGINX = World(
    latency={"gateway": 1.2, "hybrid": 1.0}, throughput={"gateway": 0.8, "hybrid": 0.9}, gateway_demand=0.6, **SMALL
)
WORLD = World(**SMALL, further={"nginx": NGINX, "nginx:go-default": World(**SMALL, cpu={"gateway": 1.8})})
NAMES = ["builtin", "nginx", "nginx:go-default"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_record(tmp_path_factory.mktemp("three"), WORLD)


@pytest.fixture(scope="module")
def results(run):
    results = build(run)
    write(results, run)
    return results


@pytest.fixture(scope="module")
def data(run, results):
    return json.loads((run / "results.json").read_text(encoding="utf-8"))


def _words(results):
    return {claim.claim: claim for claim in across(results)}


def _alone(run, gateway, folder):
    """The record that a run with this gateway alone would have left: the same trials under their plain names."""
    plan = json.loads((run / "record" / "plan.json").read_text())
    its_own = next(one for one in plan["gateways"] if one["name"] == gateway)
    tag = "" if gateway == plan["gateways"][0]["name"] else gateway
    kept = [trial for trial in plan["trials"] if trial["mode"] == "direct" or trial["gateway"] == tag]
    for planned in kept:
        whole = run / "record" / "trials" / _folder(planned)
        planned["arm"], planned["gateway"] = planned["arm"].partition("@")[0], ""
        shutil.copytree(whole, folder / "record" / "trials" / _folder(planned))
        path = folder / "record" / "trials" / _folder(planned) / "trial.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "trial": planned}))
    plan |= {"gateway": gateway, "gateway_config": its_own["config"], "gateways": [its_own], "trials": kept}
    (folder / "record" / "plan.json").write_text(json.dumps(plan))
    shutil.copy(run / "record" / "environment.json", folder / "record")
    return folder


def _folder(planned):
    fault = "-" + planned["fault"].replace(":", "-") if planned["fault"] else ""
    search = f"-capacity-{planned['search']}" if planned["search"] else ""
    return f"{planned['index']:04d}-b{planned['block']:02d}-{planned['arm'].replace(':', '-')}{fault}{search}"


@pytest.mark.parametrize("name", NAMES)
def test_each_gateway_is_judged_just_as_in_a_run_of_its_own(run, data, name, tmp_path):
    alone = as_data(build(_alone(run, name, tmp_path)))
    entry = data["gateways"][NAMES.index(name)]
    parts = set(alone["gateways"][0]) - {"over_other"}
    assert {part: entry[part] for part in parts} == {part: alone["gateways"][0][part] for part in parts}
    assert {"claims", "comparisons", "failure_impact", "blast_radius", "recovery", "capacity"} <= parts


def test_the_top_level_of_results_json_is_about_the_first_gateway(data):
    first = data["gateways"][0]
    assert [entry["name"] for entry in data["gateways"]] == NAMES
    assert data["run"]["gateway"] == "builtin"
    shared = first.keys() & data.keys()
    assert {"validity", "estimates", "comparisons", "claims", "failure_impact", "blast_radius"} <= shared
    assert {name: data[name] for name in shared} == {name: first[name] for name in shared}
    assert {one["numerator"] for one in data["comparisons"]} == {"direct-null", "gateway", "hybrid"}


def test_what_was_run_is_said_of_the_whole_run(data, run):
    planned = RecordReader(run).plan.trials
    assert data["design"]["planned_trials"] == data["design"]["usable_trials"] == len(planned)
    assert {"direct", "gateway", "gateway@nginx", "hybrid@nginx:go-default"} <= set(data["design"]["arms"])


def test_a_claim_with_another_truth_behind_another_gateway_is_about_one_gateway(results):
    claims = _words(results)
    for claim, about, words in (
        ("latency-ratio", "one gateway", ["confirmed", "refuted", "confirmed"]),
        ("gateway-bottleneck", "one gateway", ["confirmed", "refuted", "confirmed"]),
        ("cpu-overhead", "gateways", ["confirmed", "confirmed", "confirmed"]),
        ("network-hops", "gateways", ["confirmed", "confirmed", "confirmed"]),
        ("gateway-down-all", "gateways", ["confirmed", "confirmed", "confirmed"]),
        ("latency-direct", "no gateway", ["refuted", "refuted", "refuted"]),
        ("figures-consistent", "no gateway", ["confirmed", "confirmed", "confirmed"]),
        ("gateway-ha", "not testable", ["not testable"] * 3),
    ):
        assert (claims[claim].about, [word for _, word in claims[claim].verdicts]) == (about, words), claim


def test_the_statements_name_every_testable_claim_once_with_the_words_that_were_found(results):
    text = "\n".join(statements(across(results)))
    for claim in across(results):
        assert len(re.findall(rf"(?<![\w-]){claim.claim}(?![\w-])", text)) == (claim.about != "not testable")
    assert "latency-ratio (confirmed with builtin and nginx:go-default, refuted with nginx)" in text
    (about_gateways,) = [line for line in text.splitlines() if line.startswith("The same verdict with every gateway")]
    assert "network-hops" in about_gateways
    assert "latency-ratio" not in about_gateways


def test_a_verdict_that_is_open_with_one_gateway_is_not_called_contradicted(tmp_path):
    noisy = replace(NGINX, latency={"gateway": 2.2, "hybrid": 1.0}, noise=0.4)
    world = World(**SMALL, faults=False, searches=False, claims=[shipped("latency-ratio")], further={"nginx": noisy})
    results = build(write_record(tmp_path, world))
    (claim,) = across(results)
    assert (claim.about, claim.verdicts) == ("some gateways", (("builtin", "confirmed"), ("nginx", "inconclusive")))
    (says,) = statements(across(results))
    assert says.startswith("Shown with some of the gateways")


def test_a_claim_tried_with_a_gateway_of_the_experiments_own_is_not_called_one_about_gateways(tmp_path):
    tried = {"tried": cycle(), "used_gateway": "builtin"}
    world = World(
        **SMALL,
        faults=False,
        searches=False,
        claims=[shipped("bootstrap-cycle"), shipped("latency-ratio")],
        further={"nginx": replace(NGINX, **tried)},
        **tried,
    )
    results = build(write_record(tmp_path, world))
    words = _words(results)
    assert words["bootstrap-cycle"].about == "its own gateway"
    assert [word for _, word in words["bootstrap-cycle"].verdicts] == ["confirmed", "confirmed"]
    assert words["latency-ratio"].about == "one gateway"
    assert any(says.startswith("Tried with the same gateway") for says in statements(across(results)))
    data = json.loads(render(results))  # which holds it against the schema
    ids = [claim["id"] for claim in with_further(data, data)[0]["claims"]]
    assert ids == ["bootstrap-cycle", "latency-ratio", "latency-ratio@nginx"]


def test_a_claim_of_a_kind_that_does_not_say_what_it_reads_is_taken_to_need_a_gateway(results, monkeypatch):
    monkeypatch.delattr("results.claims.littles_law.LittlesLawReads.arms")
    assert _words(results)["figures-consistent"].about == "gateways"


def test_one_gateway_in_trouble_does_not_spoil_the_other_one_but_the_run_is_not_called_valid(tmp_path):
    world = World(**SMALL, faults=False, searches=False, further={"nginx": replace(NGINX, error_share=0.3)})
    results = build(write_record(tmp_path, world))
    first, other = results.every
    assert (first.valid, other.valid, results.all_valid) == (True, False, False)
    words = _words(results)
    assert dict(words["latency-ratio"].verdicts) == {"builtin": "confirmed", "nginx": "invalid"}
    assert words["latency-direct"].about == "no gateway"
    assert "for a doubt about the trials of one gateway" in "\n".join(statements(across(results)))
    assert any("invalid (errors without a fault)" in sentence for sentence in sentences(results))


def test_a_gateway_is_set_against_the_same_product_with_its_connections_kept_else_against_the_first(results):
    _, nginx, pooled = results.every
    over = {(one.key, one.numerator, one.denominator): one.measured for one in (*nginx.over_base, *pooled.over_base)}
    latency = Key("call_latency_mean")
    assert over[latency, "gateway@nginx", "gateway"].point == pytest.approx(1.2 / 2.5, rel=0.05)
    pairs = {(numerator, denominator) for _, numerator, denominator in over if numerator.endswith("go-default")}
    assert pairs == {(f"{mode}@nginx:go-default", f"{mode}@nginx") for mode in ("gateway", "hybrid")}
    assert over[latency, "gateway@nginx:go-default", "gateway@nginx"].point == pytest.approx(2.5 / 1.2, rel=0.05)
    assert results.over_base == ()


def test_trials_that_do_not_count_are_those_of_their_gateway(tmp_path):
    world = World(faults=False, further={"nginx": replace(NGINX, state=lambda t: "void" if t.block == 1 else "done")})
    first, other = build(write_record(tmp_path, world)).every
    blocks = [
        next(one.measured.n for one in each.estimates if (one.key, one.arm) == (Key("call_latency_mean"), "gateway"))
        for each in (first, other)
    ]
    assert blocks == [4, 3]
    assert any("gateway@nginx" in trial for trial in first.design.left_out)


# The record


def test_a_record_of_several_gateways_comes_back_as_it_was_written(run):
    reader = RecordReader(run)
    assert [gateway.name for gateway in reader.plan.every_gateway] == NAMES
    assert reader.plan.every_gateway == reader.plan.gateways
    assert {trial.gateway for trial in reader.plan.trials} == {"", "nginx", "nginx:go-default"}
    assert {trial.trial for trial in reader.trials()} == set(reader.plan.trials)


def test_a_record_from_before_there_could_be_several_is_read_and_reported(tmp_path):
    world = World(faults=False, searches=False, steady_blocks=2)
    new = as_data(build(write_record(tmp_path, world)))
    for path in (tmp_path / "record").rglob("*.json"):
        value = json.loads(path.read_text())
        value.pop("gateways", None)
        for trial in [*value.get("trials", []), value.get("trial", {})]:
            trial.pop("gateway", None)
        path.write_text(json.dumps(value))
    (gateway,) = RecordReader(tmp_path).plan.every_gateway
    assert (gateway.name, gateway.pool, gateway.config) == (
        "builtin",
        "kept",
        RecordReader(tmp_path).plan.gateway_config,
    )
    old = as_data(build(tmp_path))
    assert old["gateways"][0]["version"] == "unknown"
    assert {name: old[name] for name in old if name != "gateways"} == {n: new[n] for n in new if n != "gateways"}


def test_a_plan_whose_gateways_are_none_is_refused(run, tmp_path):
    shutil.copytree(run / "record", tmp_path / "record")
    path = tmp_path / "record" / "plan.json"
    path.write_text(path.read_text().replace('"pool_says"', '"pond_says"'))
    with pytest.raises(RecordError, match="not a plan"):
        build(tmp_path)


def test_a_run_with_one_gateway_has_one_entry_and_no_word_about_several(usual, usual_run):
    data = as_data(usual)
    assert [entry["name"] for entry in data["gateways"]] == ["builtin"]
    assert data["gateways"][0]["claims"] == data["claims"]
    assert data["across_gateways"] == []
    for name in ("report.html", "report.md"):
        assert "About gateways" not in (usual_run / name).read_text(encoding="utf-8")


# The reports


@pytest.fixture(params=["report.html", "report.md"])
def report(request, run, results):
    return (run / request.param).read_text(encoding="utf-8")


def test_the_verdict_table_has_a_column_for_each_gateway(results, report, data):
    table = gatewaytables.verdicts(results)
    assert table.head[-3:] == tuple(NAMES)
    rows = {row[0]: row for row in table.rows}
    assert list(rows) == [claim["id"] for claim in data["claims"]]
    texts = [next(c for c in entry["claims"] if c["id"] == "latency-ratio") for entry in data["gateways"]]
    assert rows["latency-ratio"][-3:] == tuple(f"{one['verdict']}\n{one['measured_text']}" for one in texts)
    assert rows["latency-direct"][-2:] == ("same", "same")
    assert report.index(texts[1]["measured_text"]) < report.index("In plain words")


def test_every_gateways_version_profile_and_configuration_are_in_the_reports(report):
    for name in NAMES:
        assert f"{name}: {name} 1.0; pool profile kept (many idle connections)" in report
        for mode in ("gateway", "hybrid"):
            assert f"# {name} in {mode} mode" in report


def test_the_reports_say_which_claims_are_about_gateways(report, results):
    for statement in statements(across(results)):
        assert statement in report
    assert "Gateway by gateway" in report
    assert "over nginx" in report


def test_the_page_of_several_gateways_holds_together(run, results):
    html = (run / "report.html").read_text(encoding="utf-8")
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert 'aria-label="chart: gateways"' in html
    assert "#a1b0" not in html
    assert all(f"All tables with {name}" in html for name in NAMES[1:])


def test_markdown_keeps_a_verdict_and_its_figure_on_one_line(run, results):
    lines = (run / "report.md").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith("| latency-ratio "))
    assert re.search(r"\| confirmed, 2\.\S+ \(.*\) \| refuted, 1\.\S+ \(.*\) \| confirmed, 2\.", line)


def test_junit_has_a_case_for_each_claim_and_gateway(run, data):
    suite = ET.parse(run / "junit.xml").getroot()
    cases = {case.get("name"): [child.tag for child in case if child.tag != "system-out"] for case in suite}
    assert len(cases) == int(suite.get("tests")) == 3 * len(data["claims"])
    assert cases["latency-ratio (builtin)"] == []
    assert cases["latency-ratio (nginx)"] == ["failure"]


def test_the_command_that_runs_it_again_names_every_gateway(results):
    assert "--gateway builtin --gateway nginx --gateway nginx:go-default " in reproduce(results)


@pytest.mark.parametrize(("width", "shown"), [(80, "words"), (64, "list"), (200, "figures")])
def test_the_terminal_shows_all_gateways_in_the_room_that_it_has(results, run, width, shown):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123 - kept to the end
    with console.file:
        console.print(terminal.run_summary(results, [run / "report.html"], width))
    lines = console.export_text().splitlines()
    row = next(line for line in lines if line.startswith("latency-ratio "))
    words = {"words": "confirmed *refuted *confirmed", "list": "confirmed with builtin", "figures": "2 to 3 *confirmed"}
    assert re.search(words[shown], row)
    assert max(map(len, lines)) <= width


# The gate


def test_the_gate_watches_further_gateways_under_their_own_names(data):
    now = copy.deepcopy(data)
    claims = {claim["id"]: claim for claim in now["gateways"][1]["claims"]}
    claims["latency-ratio"]["verdict"] = "confirmed"
    outcome = check(now, data)
    assert outcome.exit_code == 3
    assert [change.claim for change in outcome.changes] == ["latency-ratio@nginx"]
    assert {ratio.arms for ratio in outcome.ratios} >= {"gateway/direct", "gateway@nginx/direct", "hybrid@nginx/direct"}
    assert [change.claim for change in compare(data, now).changes] == ["latency-ratio@nginx"]


def test_a_slower_further_gateway_fails_the_gate(data):
    now = copy.deepcopy(data)
    for one in now["gateways"][1]["comparisons"]:
        if (one["metric"], one["numerator"]) == ("call_latency_mean", "gateway"):
            one["ratio"] *= 1.5
    outcome = check(now, data)
    assert outcome.exit_code == 3
    assert "call_latency_mean gateway@nginx/direct" in outcome.says


def test_a_gateway_that_only_one_of_the_runs_has_is_left_alone(data):
    before = copy.deepcopy(data)
    del before["gateways"][1]
    del before["across_gateways"]
    claims = {claim["id"]: claim for claim in data["gateways"][1]["claims"]}
    assert claims["latency-ratio"]["verdict"] == "refuted"
    outcome = check(data, before)
    assert not [ratio for ratio in outcome.ratios if "@nginx/" in ratio.arms]
    assert not [change for change in outcome.changes if change.claim.endswith("@nginx")]
    del before["gateways"]
    assert {ratio.arms for ratio in check(data, before).ratios} == {"gateway/direct", "hybrid/direct"}


def test_a_further_gateway_that_is_invalid_makes_the_gate_say_so(data):
    now = copy.deepcopy(data)
    now["gateways"][1]["validity"] = {"valid": False, "doubts": [{"name": "generator busy", "fatal": True}]}
    outcome = check(now)
    assert outcome.exit_code == 5
    assert "the run with nginx (generator busy)" in outcome.says
