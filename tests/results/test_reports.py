"""What every report must hold."""

import json
import re
from dataclasses import replace
from typing import get_args
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from results.across import About
from results.blast import Classification
from results.doubt import Doubt
from results.failover import FailoverCost
from results.impact import Case, State
from results.judge import Verdict
from results.reports import FORMATS
from results.reports.as_html import render as page
from results.reports.as_json import SCHEMA_PATH, as_data, render
from results.reports.tables import failover
from results.summary import sentences, verdict_counts, verdict_rows
from results.verdict import Word


@pytest.fixture(scope="module")
def data(usual_run):
    return json.loads((usual_run / "results.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def html(usual_run):
    return (usual_run / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def markdown(usual_run):
    return (usual_run / "report.md").read_text(encoding="utf-8")


def test_every_format_is_written_and_nothing_else(usual_run):
    assert {path.name for path in usual_run.iterdir()} == {*FORMATS, "record"}


PROMISED = {
    "run": "id scenario profile seed gateway work policy started_at duration_s",
    "design": "arms blocks order",
    "validity": "valid doubts",
    "estimates": "metric flow mode component point low high level n unit method",
    "comparisons": "metric flow numerator denominator ratio low high level n",
    "claims": "id says source kind verdict measured band scope why",
    "failure_impact": "fault target mode flow impact low high degraded_share recover_s state",
    "blast_radius": "fault target mode inherent measured excess classification",
    "consistency": "fault target mode orphans lost_updates duplicates phantom_success phantom_failure per_offered",
}


@pytest.mark.parametrize("name", PROMISED)
def test_results_json_keeps_its_promised_names(data, name):
    rows = data[name] if isinstance(data[name], list) else [data[name]]
    assert rows
    assert all(set(PROMISED[name].split()) <= row.keys() for row in rows)


@pytest.mark.parametrize(
    ("table", "name", "words"),
    [
        ("across_gateways", "about", About),
        ("claims", "verdict", Word),
        ("blast_radius", "classification", Classification),
        ("failure_impact", "state", State),
    ],
)
def test_the_schema_knows_every_word_that_a_result_may_be(table, name, words):
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    assert set(schema["properties"][table]["items"]["properties"][name]["enum"]) == set(get_args(words))


def test_the_schema_refuses_a_broken_result(usual, data):
    verdict = usual.verdicts[0]
    wrong = Verdict(verdict.claim, replace(verdict.finding, verdict="perhaps"), (), {})
    with pytest.raises(jsonschema.ValidationError):
        render(replace(usual, verdicts=(wrong,)))
    assert data["schema_version"] == 1


def test_absolute_claims_carry_their_host_and_its_units(data):
    claims = {claim["id"]: claim for claim in data["claims"]}
    scope = claims["latency-direct"]["scope"]
    assert "Test CPU" in scope["host"]
    point = claims["latency-direct"]["measured"]["point"]
    assert scope["in_host_units"]["value"] == pytest.approx(point * 1000 / 25)
    assert "host" not in claims["latency-ratio"]["scope"]
    assert (
        claims["latency-ratio"]["scope"]
        | {"gateway": "builtin", "gateway_replicas": 1, "work": "bare", "policy": "none"}
        == (claims["latency-ratio"]["scope"])
    )


@pytest.mark.parametrize("format_", ["html", "markdown"])
def test_a_report_holds_every_claim_with_its_verdict(request, data, format_):
    text = request.getfixturevalue(format_)
    for claim in data["claims"]:
        assert claim["id"] in text
        assert claim["says"].replace("'", "&#39;" if format_ == "html" else "'") in text
        assert claim["verdict"] in text


def test_the_verdicts_stand_first(html, markdown):
    assert html.index('id="verdicts"') < html.index('id="summary"') < html.index('id="validity"')
    assert markdown.index("## Verdicts") < markdown.index("## In plain words") < markdown.index("## Validity")


def test_the_page_fetches_nothing(html):
    assert not re.search(r"https?://|<script|<link|@import|url\((?!#)|src=", html)


def test_the_page_has_its_charts_and_no_id_twice(html):
    assert html.count("<svg") == 6
    assert "#a1b0" not in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    known = set(ids)
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', html)) <= known


def test_what_a_scenario_says_is_escaped(usual):
    evil = replace(usual, plan=replace(usual.plan, gateway_config={"gateway": "<script>alert(1)</script>"}))
    assert "<script>" not in page(evil)


def test_reports_say_what_hybrid_does_not_change(html, markdown):
    for text in (html, markdown):
        assert "lose everything with it in hybrid mode as well" in text


def test_a_run_with_two_gateway_instances_says_so_wherever_the_gateway_is_named(usual):
    cost = FailoverCost(Case("crash", "gateway", "hybrid"), ("login",), 2, 400, 3, 1, 900, 0, 0.1, 0, 5, 7, 2)
    two = replace(usual, plan=replace(usual.plan, gateway_replicas=2), failovers=(cost,))
    text = page(two)
    for says in ("builtin gateway, 2 instances", "gateway instances", "--gateway builtin --gateway-replicas 2"):
        assert says in text
    assert as_data(two)["run"]["gateway_replicas"] == 2
    assert "lose everything with it in hybrid mode" not in text
    assert "its crash is that of one of them" in text
    row = [cell for name, *cells in failover(two).rows for cell in cells]
    assert row == ["hybrid", "2", "3 of 400", "7.5", "0", "1", "within 0.15 s", "5", "7", "2"]
    assert "What failing over cost" in text
    assert "What failing over cost" not in page(usual)


def test_an_invalid_run_says_so_before_anything_else(usual):
    doubt = Doubt("generator late", True, 2.0, 1.0, "a core of its own", "load")
    broken = replace(usual, doubts=(doubt,))
    assert not as_data(broken)["validity"]["valid"]
    assert "invalid (generator late)" in sentences(broken)[1]
    assert "measurement invalid" in page(broken)


def test_junit_shows_each_claim_once(usual_run, data):
    suite = ET.parse(usual_run / "junit.xml").getroot()
    cases = {case.get("name"): [child.tag for child in case if child.tag != "system-out"] for case in suite}
    tags = {"confirmed": [], "refuted": ["failure"], "inconclusive": ["skipped"], "not testable": ["skipped"]}
    assert cases == {claim["id"]: tags[claim["verdict"]] for claim in data["claims"]}
    assert int(suite.get("failures")) == sum(claim["verdict"] == "refuted" for claim in data["claims"])


def test_the_terminal_gets_plain_rows(usual):
    rows = verdict_rows(usual)
    assert [row.claim for row in rows] == [claim.id for claim in usual.scenario.claims]
    assert sum(verdict_counts(usual).values()) == len(rows)
    ratio = next(row for row in rows if row.claim == "latency-ratio")
    assert (ratio.verdict, ratio.band) == ("confirmed", "2 to 3")
    assert ratio.measured.startswith("2.")


def test_no_figure_stands_without_its_interval(data):
    assert all((one["low"] is None) == (one["n"] < 2) for one in data["estimates"])
    assert all(one["low"] <= one["point"] <= one["high"] for one in data["estimates"])


def test_the_generators_floor_is_printed_beside_the_result(html, markdown):
    says = "the load generator itself measures a p50 of 0.081 ms and a p99 of 0.143 ms"
    assert says in html
    assert says in markdown


def test_the_capacity_of_every_arm_is_shown_with_its_objective_and_searches(html, markdown):
    for text in (html, markdown):
        assert "p99 at most 25 ms and at most 1 % failed" in text
        assert "Capacity searches" in text
        assert "Throughput against latency" in text
    assert 'aria-label="chart: capacity"' in html
