"""`archbench load`: counts reconcile, wrong input is one sentence, figures that are not to be believed say so."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cli
from gateway_proxy.http1 import render_request
from harness.engines.board import ask_stop, new_board, read_board
from harness.engines.forked import ForkedCrew
from harness.engines.job import DROPPED, ERROR, OK, TIMEOUT, ClosedLoop, Job, Request, Schedule
from harness.engines.native import Engine
from harness.errors import BadInputError
from harness.floor import generator_floor, measure_ceiling
from harness.forkserver import ForkServer
from harness.histogram import Histogram
from harness.loadtest import LoadRequest, load

pytestmark = [pytest.mark.functional, pytest.mark.alone]

ARCHBENCH = str(Path(sys.executable).with_name("archbench"))
BYTES_A_REQUEST = 100


def _load(*arguments, **options):
    command = [ARCHBENCH, "load", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, **options)


def _reconciled(figures):
    assert figures["planned"] == figures["sent"] + figures["dropped"]
    assert figures["sent"] == figures["completed"] + figures["errors"] + figures["timeouts"]
    return figures


def _figures(result):
    return _reconciled(json.loads(result.stdout))


class _Handler(socketserver.BaseRequestHandler):
    """Answers every request of known length after a pause, and keeps what came."""

    def handle(self):
        server = self.server
        data = b""
        with contextlib.suppress(OSError):
            while chunk := self.request.recv(65536):
                data += chunk
                while len(data) >= (size := server.request_bytes or len(data)):
                    server.seen.append(data[:size])
                    data = data[size:]
                    time.sleep(server.pause_s)
                    self.request.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % server.status)
                    if not data:
                        break


@pytest.fixture
def target():
    """Start a small HTTP target in a thread; return it, with `url`, and `seen` of what it was sent."""
    started = []

    def start(status=200, pause_s=0.0, request_bytes=0):
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads, server.block_on_close = True, False
        server.status, server.pause_s, server.request_bytes, server.seen = status, pause_s, request_bytes, []
        server.url = f"http://127.0.0.1:{server.server_address[1]}/x"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


# -- the figures -----------------------------------------------------------------------------------------------


def test_an_open_loop_sends_what_it_planned(scripted):
    url = f"http://127.0.0.1:{scripted('fast')}/"
    result = _load(url, "--rate", "200", "--duration", "1", "--json", "-")
    figures = _figures(result)
    assert figures["planned"] == figures["completed"] == 200
    assert figures["statuses"] == {"200": 200}
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"] <= figures["latency_ms"]["max"]
    for name in ("latency_ms", "service_ms", "slip_ms"):
        assert set(figures[name]) == {"mean", "p50", "p90", "p99", "p99_9", "max"}
    assert figures["floor_ms"]["requests"] > 0
    assert 0 < figures["floor_ms"]["p50"] <= figures["floor_ms"]["max"]
    assert figures["backed_percentiles"] == ["p50", "p90"]  # a p99 asks for a thousand requests
    assert result.stderr == ""
    assert result.returncode == (0 if figures["valid"] else 5)


def test_latency_is_service_time_and_slip_added_for_every_request(target):
    summary = load(LoadRequest(target(pause_s=0.002).url, 100, 1, connections=50))
    assert len(summary.latency) == len(summary.service) == len(summary.slip) == 100
    assert summary.latency.mean_ms == pytest.approx(summary.service.mean_ms + summary.slip.mean_ms)
    assert summary.service.percentile_ms(1) >= 2


def test_histograms_of_two_runs_are_merged_by_addition(target):
    url = target(pause_s=0.001).url
    runs = [load(LoadRequest(url, 100, 0.5)).as_dict()["histogram"]["latency"] for _ in range(2)]
    merged = Histogram.decode(runs[0])
    merged += Histogram.decode(runs[1])
    assert len(merged) == 100


def test_the_answer_to_a_head_ends_with_its_head(scripted):
    url = f"http://127.0.0.1:{scripted('headonly')}/"
    figures = _figures(_load(url, "-X", "HEAD", "--rate", "100", "--duration", "0.5", "--json", "-"))
    assert figures["completed"] == figures["planned"] == 50


def test_a_closed_loop_keeps_its_connections_busy_and_is_believed_while_the_target_is_the_slow_one(target, tmp_path):
    out = tmp_path / "figures.json"
    result = _load(target(pause_s=0.05).url, "--closed", "--connections", "4", "--duration", "1", "--json", str(out))
    figures = _reconciled(json.loads(out.read_text()))
    assert figures["reasons"] == []
    assert result.returncode == 0
    assert 20 < figures["completed"] <= 84  # four connections, twenty answers a second on each
    assert figures["latency_ms"] == figures["service_ms"]
    assert "valid" in result.stdout


def test_a_timeout_enters_with_the_timeout_and_what_was_not_sent_is_a_reason_for_exit_code_5(scripted):
    url = f"http://127.0.0.1:{scripted('silent')}/"
    result = _load(url, "--rate", "100", "--duration", "1", "--connections", "10", "--timeout", "1.5", "--json", "-")
    figures = _figures(result)
    assert (figures["timeouts"], figures["dropped"], figures["completed"]) == (10, 90, 0)
    assert figures["latency_ms"]["p50"] >= 1500
    assert figures["service_ms"]["p50"] == pytest.approx(1500, rel=0.001)
    assert any("10 connections were all in use" in reason for reason in figures["reasons"])
    assert any("no request was completed" in reason for reason in figures["reasons"])
    assert result.returncode == 5


def test_a_rate_beyond_the_generator_is_its_own_limit_and_exit_code_5(scripted):
    url = f"http://127.0.0.1:{scripted('fast')}/"
    result = _load(url, "--rate", "500000", "--duration", "1", "--json", "-")
    figures = _figures(result)
    assert figures["planned"] == 500_000
    assert not figures["valid"]
    assert "beyond the generator's own limit" in figures["reasons"][0]
    assert result.returncode == 5


def test_the_generators_floor_and_ceiling_are_plain_figures():
    with contextlib.closing(ForkServer(("harness.engines.native",))) as server:
        ceiling = measure_ceiling(server, [], [], connections=8)
        floor = generator_floor(server, ForkedCrew(server, []), [], 200.0)
    assert ceiling.per_s > 0
    assert len(ceiling.latency) > 0
    assert set(floor) == {"rate_per_s", "requests", "p50_us", "p99_us", "max_us"}
    assert floor["requests"] == 70
    assert 0 < floor["p50_us"] <= floor["p99_us"] <= floor["max_us"]
    assert json.loads(json.dumps(floor)) == floor


def test_the_warm_up_is_sent_and_not_counted(target):
    server = target()
    summary = load(LoadRequest(server.url, 100, 0.5, warmup_s=0.5))
    assert summary.planned == summary.completed == 50
    assert len(server.seen) == 100


def test_failures_are_told_apart(target, scripted):
    teapot = load(LoadRequest(target(status=418).url, 100, 0.3))
    assert (teapot.errors, teapot.unanswered, teapot.statuses) == (30, 0, {418: 30})
    accepted = load(LoadRequest(target(status=418).url, 100, 0.3, accepts=frozenset({418})))
    assert (accepted.completed, accepted.errors) == (30, 0)
    reset = load(LoadRequest(f"http://127.0.0.1:{scripted('reset')}/", 100, 0.3))
    assert (reset.errors, reset.unanswered) == (10, 10)
    assert any("10 of 30 requests failed" in warning for warning in reset.warnings)


def test_the_request_goes_out_as_it_was_described(target, tmp_path):
    body = tmp_path / "body.json"
    body.write_text('{"a": 1}')
    expected = b'PUT /x HTTP/1.1\r\nHost: other.example\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 8\r\n\r\n{"a": 1}'
    server = target(request_bytes=len(expected))
    result = _load(
        *(server.url, "--rate", "50", "--duration", "0.2", "-X", "PUT", "-H", "X-A: 1", "--header", "X-A:2"),
        *("-H", "Host: other.example", "--body-file", str(body), "--json", "-"),
    )
    assert _figures(result)["completed"] == 10
    assert set(server.seen) == {expected}


def test_the_same_seed_draws_the_same_arrivals(target):
    url = target().url
    counts = [load(LoadRequest(url, 200, 0.5, arrivals="poisson", seed=seed)).planned for seed in (7, 7, 8)]
    assert counts[0] == counts[1] > 0


# -- what it costs ---------------------------------------------------------------------------------------------


MEASURE = """
import resource, sys
from harness.loadtest import LoadRequest, load
summary = load(LoadRequest(sys.argv[1], float(sys.argv[2]), 1.0, connections=50))
peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(summary.planned, *peaks)
"""


def _peak_bytes(url, rate):
    # A program's peak begins with that of the process that it was forked from: here a small shell, and not pytest.
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", MEASURE, url, str(rate)]
    planned, *peaks = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout.split()
    return int(planned), *(int(peak) * 1024 for peak in peaks)


def test_a_request_costs_at_most_a_hundred_bytes_from_the_schedule_to_the_figures(scripted):
    """Peak memory of parent and engine; they peak one after the other, when the result is passed on."""
    url = f"http://127.0.0.1:{scripted('fast')}/"
    fewer, parent_fewer, engine_fewer = _peak_bytes(url, 400_000)
    more, parent_more, engine_more = _peak_bytes(url, 800_000)
    assert (fewer, more) == (400_000, 800_000)
    assert 19 < (parent_more - parent_fewer) / (more - fewer) <= BYTES_A_REQUEST
    assert 19 < (engine_more - engine_fewer) / (more - fewer) <= BYTES_A_REQUEST


# -- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("http://127.0.0.1:1/", "--rate", "0"), "a rate of 0 requests a second sends nothing"),
        (("http://127.0.0.1:1/", "--rate", "-1"), "a rate of -1 requests a second sends nothing"),
        (("http://127.0.0.1:1/", "--rate", "nan"), "a rate of nan requests a second sends nothing"),
        (("http://127.0.0.1:1/", "--rate", "inf"), "a rate of inf requests a second sends nothing"),
        (("http://127.0.0.1:1/", "--rate", "1e9", "--duration", "1e5"), "too many for this machine's memory"),
        (("http://127.0.0.1:1/", "--duration", "0"), "a duration of 0 s measures nothing"),
        (("http://127.0.0.1:1/", "--duration", "nan"), "a duration of nan s measures nothing"),
        (("http://127.0.0.1:1/", "--warmup", "-1"), "a warm-up of -1 s is impossible"),
        (("http://127.0.0.1:1/", "--timeout", "0"), "a timeout of 0 s is impossible"),
        (("http://127.0.0.1:1/", "--seed", "-1"), "a seed of -1 is impossible"),
        (("http://127.0.0.1:1/", "--connections", "0"), "at least one connection"),
        (("http://127.0.0.1:1/", "--connections", "90000000"), "90000000 connections are too many"),
        (("http://127.0.0.1:1/", "--accept", "ok"), "'ok' is not a set of statuses"),
        (("http://127.0.0.1:1/", "--accept", "299-200"), "runs backwards"),
        (("http://127.0.0.1:1/", "--body-file", "no-such-body"), "the body file no-such-body does not exist"),
        (("http://127.0.0.1:1/", "--body-file", "."), "the body file . is not a file"),
        (("http://127.0.0.1:1/", "--body", "x", "--body-file", "y"), "exclude each other"),
        (("http://127.0.0.1:1/", "--json", "no/such/folder/x.json"), "the folder no/such/folder for the figures"),
        (("http://127.0.0.1:1/", "--json", "."), ". is a folder"),
        (("http://127.0.0.1:1/", "-X", "GE T"), "invalid method: 'GE T'"),
        (("http://127.0.0.1:1/", "-X", "CONNECT"), "the method CONNECT is not offered"),
        (("http://127.0.0.1:1/", "-X", "connect"), "the method connect is not offered"),
        (("http://127.0.0.1:1/", "-H", "X"), "'X' is not a header"),
        (("http://127.0.0.1:1/", "-H", "X: a\r\nY: b"), "invalid value of X"),
        (("http://127.0.0.1:1/", "-H", "X Y: a"), "invalid field name"),
        (("http://127.0.0.1:1/", "-H", "Content-Length: 3"), "Content-Length is set by"),
        (("http://127.0.0.1:1/", "-H", "Transfer-Encoding: chunked"), "leave Transfer-Encoding out"),
        (("http://127.0.0.1:1/", "-H", "Host: a", "-H", "host: b"), "more than one Host"),
        (("http://127.0.0.1:1/a b",), "invalid target"),
        (("ftp://127.0.0.1/",), "is not an http:// URL"),
        (("https://127.0.0.1/",), "https is not supported"),
        (("127.0.0.1:80",), "is not an http:// URL"),
        (("http://[::1/",), "is not an http:// URL"),
        (("http://me:secret@127.0.0.1/",), "holds credentials"),
        (("http://no-such-host.invalid/",), "does not lead anywhere"),
        (("http://127.0.0.1:99999/",), "does not lead anywhere"),
        (("http://127.0.0.1:0/",), "nobody listens on port 0"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments, says):
    result = CliRunner().invoke(cli.app, ["load", *arguments])
    assert result.stderr.startswith("archbench: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert result.exit_code == 2


def test_bad_input_is_a_sentence_for_a_person_at_the_shell_as_well(tmp_path):
    result = _load("http://127.0.0.1:1/", "--json", "no/such/folder/x.json", cwd=tmp_path)
    assert result.stderr == "archbench: the folder no/such/folder for the figures does not exist\n"
    assert result.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_schedule_that_chance_leaves_empty_is_a_sentence():
    with pytest.raises(BadInputError, match="no request came due"):
        load(LoadRequest("http://127.0.0.1:1/", 1e-9, 0.1, arrivals="poisson"))


# -- what a person sees ----------------------------------------------------------------------------------------


def test_a_pipe_gets_no_colours_and_a_narrow_terminal_no_broken_lines(target):
    narrow = {**os.environ, "COLUMNS": "40"}
    result = _load(target(pause_s=0.001).url, "--rate", "100", "--duration", "0.3", env=narrow)
    assert "\x1b" not in result.stdout + result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 40
    assert re.search(r"^ms +latency +service +slip +floor$", result.stdout, re.MULTILINE)
    assert re.search(r"^p99 +- +- +- +-$", result.stdout, re.MULTILINE)
    assert "█" in result.stdout


def test_an_output_that_is_not_utf8_gets_ascii(target):
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = _load(target().url, "--rate", "100", "--duration", "0.3", env=plain)
    assert result.stdout.isascii()
    assert re.search(r"100% #+$", result.stdout, re.MULTILINE)


def test_progress_goes_to_standard_error_and_only_when_asked_for(target):
    url = target().url
    shown = _load(url, "--rate", "50", "--duration", "1.5", "--progress", "--json", "-")
    assert _figures(shown)["completed"] == 75
    assert re.search(r"^\d\.\d/1\.5 s  50/s asked, \d+/s sent  ok \d+  error 0", shown.stderr, re.MULTILINE)
    assert _load(url, "--rate", "50", "--duration", "0.3").stderr == ""


def _on_a_terminal(command, until, key):
    """Run on a pseudo-terminal, type `key` once `until` matches; return what was shown and the exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    shown, typed = "", False
    deadline = time.monotonic() + 60
    with contextlib.suppress(OSError):  # Linux: the other side is closed
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                data = os.read(terminal, 65536)
                shown += data.decode()
                if not data:
                    break
            if not typed and re.search(until, shown):
                os.write(terminal, key)
                typed = True
    os.close(terminal)
    return shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_ctrl_c_shows_what_was_measured_until_then(scripted):
    url = f"http://127.0.0.1:{scripted('fast')}/"
    command = [ARCHBENCH, "load", url, "--rate", "100", "--duration", "600"]
    shown, code = _on_a_terminal(command, r"ok [1-9]", b"\x03")
    assert code == 130
    assert "interrupted: what was due until then" in shown
    planned, sent = map(int, re.search(r"planned (\d+), sent (\d+)", shown).groups())
    assert 0 < sent == planned < 6000
    assert "Traceback" not in shown


def test_terminated_politely_it_still_writes_its_figures(scripted, tmp_path):
    out = tmp_path / "figures.json"
    url = f"http://127.0.0.1:{scripted('fast')}/"
    command = [ARCHBENCH, "load", url, "--closed", "--connections", "2", "--duration", "600"]
    command += ["--json", str(out), "--progress"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not re.search(r"ok [1-9]", process.stderr.readline()):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait(timeout=10)
    figures = _reconciled(json.loads(out.read_text()))
    assert process.returncode == 130
    assert figures["interrupted"]
    assert figures["completed"] > 0
    assert 0 < figures["measured_s"] < 600


# -- the engine's stop -----------------------------------------------------------------------------------------


def _job(port, board, **fields):
    request = Request(0, render_request("GET", "/", "x"), frozenset({200}))
    return Job(
        targets=[("127.0.0.1", port)],
        schedule=fields.pop("schedule", Schedule.repeating((n * 10_000_000 for n in range(60_000)), request)),
        t0_ns=time.monotonic_ns(),
        timeout_ns=fields.pop("timeout_ns", 5_000_000_000),
        max_in_flight=1000,
        closed=ClosedLoop([request], 4, 0, 600_000_000_000, repeat=True) if fields.pop("closes", False) else None,
        marks_ns=[0, 600_000_000_000],
        board=str(board),
    )


def _stopped(job, board):
    """Run the job, ask it to stop when its board shows answers or requests in flight; return what it brought."""

    def stop():
        while read_board(board).sent < 20:
            time.sleep(0.01)
        ask_stop(board)

    watcher = threading.Thread(target=stop)
    watcher.start()
    result = Engine(job).run()
    watcher.join()
    return result


def test_a_stop_ends_an_open_loop_and_leaves_the_rest_unsent(scripted, tmp_path):
    board = tmp_path / "board"
    new_board(board)
    result = _stopped(_job(scripted("fast"), board), board)
    outcomes = Counter(result.open.outcome)
    sent = outcomes[OK]
    assert sent >= 20
    assert outcomes == {OK: sent, DROPPED: 60_000 - sent}
    assert set(result.open.outcome[:sent]) == {OK}
    assert result.capped == 0
    assert [mark.at_ns for mark in result.marks][-1] >= result.open.sent_ns[sent - 1]
    assert read_board(board).ok == sent


def test_a_stop_drains_what_is_in_flight(scripted, tmp_path):
    board = tmp_path / "board"
    new_board(board)
    result = _stopped(_job(scripted("silent"), board, timeout_ns=700_000_000), board)
    outcomes = Counter(result.open.outcome)
    assert outcomes[TIMEOUT] >= 20
    assert outcomes[ERROR] == outcomes[OK] == 0


def test_a_stop_ends_a_closed_loop(scripted, tmp_path):
    board = tmp_path / "board"
    new_board(board)
    result = _stopped(_job(scripted("fast"), board, schedule=Schedule.of([]), closes=True), board)
    assert set(result.closed.outcome) == {OK}
    assert 0 < result.closed_end_ns < 600_000_000_000
    assert max(result.closed.sent_ns) <= result.closed_end_ns
