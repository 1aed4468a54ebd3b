"""`archbench doctor`: every finding has a state, advice where there is something to do, and machines can read it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cpu import usable_cores
from harness.doctor import GROUPS, Finding, can_run, examine
from harness.doctorview import finding_lines

pytestmark = pytest.mark.functional

ARCHBENCH = str(Path(sys.executable).with_name("archbench"))
SUBJECTS = {
    "machine": {
        *("system", "Python", "cores", "pinning", "CPU quota", "frequency governor", "turbo", "steal", "other load"),
        *("file handles", "memory-backed storage", "memory"),
    },
    "timing": {
        *("clock source", "monotonic clock", "time.sleep(1 ms)", "poll(1 ms)", "sleep, then spin"),
        *("loopback round trip", "CPU loop"),
    },
    "load generator": {"floor", "slip", "ceiling"},
    "programs": {
        *(f"gateway {name}" for name in ("builtin", "nginx", "haproxy", "envoy", "traefik", "caddy")),
        *(f"load tool {name}" for name in ("h2load", "k6", "wrk", "locust")),
    },
    "what it can settle": {
        *("settles ratios of latency and CPU", "settles ratios of throughput", "settles failure impact"),
        *("settles absolute figures", "highest rate to trust", "smallest difference"),
    },
}


def _doctor(*arguments, **options):
    command = [ARCHBENCH, "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture(scope="module")
def findings():
    return examine()


def test_everything_is_looked_at_once(findings):
    looked_at = {}
    for finding in findings:
        looked_at.setdefault(finding.group, []).append(finding.subject)
    assert tuple(looked_at) == GROUPS
    for group, subjects in looked_at.items():
        assert set(subjects) >= SUBJECTS[group]
        assert len(set(subjects)) == len(subjects)


def test_what_is_not_well_comes_with_advice(findings):
    for finding in findings:
        assert finding.found
        if finding.state != "ok" and finding.group != "what it can settle":
            assert finding.advice, finding
        if finding.state == "ok":
            assert not finding.advice, finding


def test_figures_are_measured_and_not_made_up(findings):
    values = {finding.subject: finding.values for finding in findings}
    assert 0 < values["floor"]["p50_us"] <= values["floor"]["p99_us"]
    assert values["floor"]["requests"] >= 1000  # so many a p99 needs
    assert values["highest rate to trust"]["per_s"] == pytest.approx(values["ceiling"]["per_s"] / 2)
    assert values["smallest difference"]["ms"] == pytest.approx(10 * values["slip"]["p99_us"] / 1e3)
    assert values["cores"]["generator"] == usable_cores()[:1]


def test_the_json_holds_the_same_findings(tmp_path):
    out = tmp_path / "doctor.json"
    result = _doctor("--json", str(out))
    written = json.loads(out.read_text())
    assert written["can_run"]
    assert {finding["group"] for finding in written["findings"]} == set(GROUPS)
    assert "LOAD GENERATOR" in result.stdout
    assert result.returncode == 0


def test_a_machine_without_file_handles_cannot_run_archbench_and_hears_what_to_do():
    result = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -n 1024; exec {ARCHBENCH} doctor --json -"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    written = json.loads(result.stdout)
    (handles,) = [finding for finding in written["findings"] if finding["subject"] == "file handles"]
    assert handles["state"] == "bad"
    assert "ulimit -n" in handles["advice"]
    assert not written["can_run"]
    assert result.returncode == 1


def test_a_missing_folder_for_the_json_is_a_sentence_and_exit_code_2(tmp_path):
    result = _doctor("--json", "no/such/x.json", cwd=tmp_path)
    assert result.stderr == "archbench: the folder no/such for the figures does not exist\n"
    assert result.returncode == 2


def test_a_narrow_terminal_breaks_no_line_and_a_pipe_gets_no_colours():
    result = _doctor(env={**os.environ, "COLUMNS": "40"})
    assert max(map(len, result.stdout.splitlines())) <= 40
    assert "\x1b" not in result.stdout


BAD = Finding("machine", "CPU quota", "1.5 CPUs (somewhere)", "bad", "give whole cores (a cpuset) instead")


@pytest.mark.parametrize("width", [30, 40, 79, 80, 120, None])
def test_findings_fit_their_width_and_lose_no_word(width):
    lines = [text.plain for text in finding_lines([BAD], width)]
    shown = " ".join(" ".join(lines).split())
    assert all(word in shown for word in (*BAD.found.split(), *BAD.advice.split()))
    assert "-> give" in shown
    assert width is None or max(map(len, lines)) <= width


def test_the_conclusion_follows_the_worst_finding():
    fine, stops = Finding("machine", "x", "y"), Finding("machine", "x", "y", "bad", "z", stops=True)
    assert can_run([fine, BAD])
    assert not can_run([fine, stops])
    ends = [[text.plain for text in finding_lines(found, None)][-1] for found in ([fine], [BAD], [stops])]
    assert ["runs here" in ends[0], "are wrong until" in ends[1], "cannot run" in ends[2]] == [True] * 3
