"""`archbench load`: the counts reconcile, bad input is one sentence, and figures that are not to be believed say so."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.functional

ARCHBENCH = str(Path(sys.executable).with_name("archbench"))


def _load(*arguments):
    return subprocess.run([ARCHBENCH, "load", *arguments], capture_output=True, text=True, timeout=60, check=False)


def _figures(result):
    figures = json.loads(result.stdout)
    assert figures["planned"] == figures["sent"] + figures["dropped"]
    assert figures["sent"] == figures["completed"] + figures["errors"] + figures["timeouts"]
    return figures


def test_an_open_loop_sends_what_it_planned(scripted):
    url = f"http://127.0.0.1:{scripted('fast')}/"
    result = _load(url, "--rate", "200", "--duration", "1", "--json", "-")
    figures = _figures(result)
    assert figures["planned"] == figures["completed"] == 199
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"] <= figures["latency_ms"]["max"]
    assert set(figures["slip_ms"]) == {"mean", "p50", "p90", "p99", "p99_9", "max"}
    assert result.returncode == (0 if figures["valid"] else 5)


def test_a_closed_loop_keeps_its_connections_busy(scripted, tmp_path):
    out = tmp_path / "figures.json"
    result = _load(
        f"http://127.0.0.1:{scripted('fast')}/", "--closed", "--connections", "4", "--duration", "1", "--json", str(out)
    )
    assert result.returncode == 0
    figures = json.loads(out.read_text())
    assert figures["completed"] > 500
    assert figures["errors"] == 0


def test_a_target_that_never_answers_is_timeouts_and_drops_and_exit_code_5(scripted):
    url = f"http://127.0.0.1:{scripted('silent')}/"
    result = _load(url, "--rate", "100", "--duration", "1", "--connections", "10", "--json", "-")
    figures = _figures(result)
    assert (figures["timeouts"], figures["dropped"], figures["completed"]) == (10, 89, 0)
    assert figures["latency_ms"]["p50"] >= 4900
    assert "10 connections were all in use" in figures["reasons"][0]
    assert result.returncode == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("http://127.0.0.1:1/", "--rate", "0"), "a rate of 0 requests a second sends nothing"),
        (("http://127.0.0.1:1/", "--duration", "0"), "a duration of 0 s measures nothing"),
        (("http://127.0.0.1:1/", "--connections", "0"), "at least one connection"),
        (("http://127.0.0.1:1/", "--connections", "90000000"), "90000000 connections are too many"),
        (("ftp://127.0.0.1/",), "is not an http:// URL"),
        (("http://no-such-host.invalid/",), "does not lead anywhere"),
        (("http://127.0.0.1:99999/",), "does not lead anywhere"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments, says):
    result = _load(*arguments)
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert result.returncode == 2
