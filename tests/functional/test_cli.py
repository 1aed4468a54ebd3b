"""The command line as a person meets it: wrong input, Ctrl-C, and what is left afterwards."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.functional

ARCHBENCH = str(Path(sys.executable).with_name("archbench"))
SMALL = """
name: small
title: Two flows
services:
  - {name: auth, port: 8081, peers: [user, notification], public: [/api/v1/auth]}
  - {name: user, port: 8082, public: [/api/v1/user/profile], internal: [/api/v1/user/internal]}
  - {name: course, port: 8083, peers: [user, notification], public: [/api/v1/courses]}
  - {name: exercise, port: 8084, peers: [user, notification], public: [/api/v1/exercises]}
  - {name: notification, port: 8085, internal: [/api/v1/notification/internal]}
flows:
  - {name: login, origin: external, service: auth, needs: [auth], weight: 1}
"""


def _archbench(*arguments, **options):
    return subprocess.run([ARCHBENCH, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "ielt"), "unknown scenario 'ielt': one of ielts"),
        (("run", "--mode", "mesh"), "'mesh' is not one of 'direct', 'gateway', 'hybrid'"),
        (("run", "--gateway", "ngnix"), "'ngnix' is not one of 'builtin', 'nginx', 'haproxy'"),
        (("run", "--gateway", "nginx:fast"), "'fast' is no pool profile: one of 'kept', 'go-default'"),
        (("run", "--gateway", "envoy:go-default"), "missing in this product: a bound on idle connections"),
        (("run", "--gateway", "builtin", "--gateway", "builtin:kept"), "--gateway builtin was given twice"),
        (("run", "--gateway", "builtin", "--gateway", "nginx", "--mode", "direct"), "nothing passes a gateway"),
        (("run", "--profile", "fast"), "'fast' is not one of 'quick', 'standard', 'thorough'"),
        (("run", "--flow", "logon"), "unknown flow 'logon': one of register, login"),
        (("run", "--fault", "crash:mail"), "unknown fault 'crash:mail': write KIND:TARGET"),
        (("run", "--fault", "crash:user", "--no-faults"), "exclude each other"),
        (("run", "--gateway-replicas", "3"), "--gateway-replicas"),
        (("run", "--gateway-replicas", "0"), "--gateway-replicas"),
        (("report", "no/such/run"), "no record in"),
        (("check", "no/such/run"), "does not exist"),
        (("list", "things"), "'things' is not one of"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(arguments, says, tmp_path):
    result = _archbench(*arguments, cwd=tmp_path)
    words = re.sub(r"[\s│]+", " ", result.stderr)
    assert says in words
    assert "Traceback" not in result.stderr
    assert result.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_broken_scenario_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SMALL.replace("weight: 1", "weight: 1, colour: red"))
    result = _archbench("run", str(path), cwd=tmp_path)
    assert f"{path}:11: unknown key 'colour'" in result.stderr
    assert result.returncode == 2


def test_help_answers_without_the_heavy_libraries():
    code = (
        "import sys, cli\n"
        "from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(cli.app, ['--help']).exit_code == 0\n"
        "heavy = {'pandas', 'numpy', 'scipy', 'matplotlib', 'pyarrow', 'pydantic'}\n"
        "heavy |= {'aiohttp', 'uvloop', 'starlette', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("what", ["scenarios", "modes", "flows", "faults", "experiments", "gateways", "claims"])
def test_every_choice_can_be_listed(what):
    result = _archbench("list", what)
    assert result.returncode == 0
    assert result.stdout.strip()


def test_doctor_says_what_is_here_and_what_to_do_about_what_is_not():
    result = _archbench("doctor")
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("loopback round trip") and line.endswith(" us")]
    assert [line for line in lines if line.startswith("gateway builtin")]
    assert [line for line in lines if line.startswith("settles ratios of throughput")]


def _heed_interrupts():
    """A shell lets its background jobs ignore Ctrl-C, and what they start inherits that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _platform_pids(pid):
    return {process.pid for process in psutil.Process(pid).children(recursive=True)}


def _wait_for(condition, seconds=80.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.alone
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_in_the_middle_leaves_a_readable_record_its_reports_and_no_process(tmp_path, how):
    process = subprocess.Popen(
        [ARCHBENCH, "run", "--no-faults"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_heed_interrupts,  # noqa: PLW1509 - it takes no lock
    )
    try:
        _wait_for(lambda: len(list(tmp_path.glob("runs/2*/record/trials/*/trial.json"))) >= 2)
        children = _platform_pids(process.pid)
        assert len(children) >= 2
        os.kill(process.pid, how)
        output, _ = process.communicate(timeout=40)
    finally:
        process.kill()
        process.wait(timeout=10)
    assert "interrupted" in output
    assert "Traceback" not in output
    assert process.returncode == 130
    assert not [pid for pid in children if psutil.pid_exists(pid)]
    assert {path.name for path in (tmp_path / "runs" / "latest").iterdir()} >= {"results.json", "report.html", "record"}
    assert _archbench("report", "runs/latest", cwd=tmp_path).returncode in {0, 5}


def test_up_says_who_holds_a_port(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        path = tmp_path / "mine.yaml"
        path.write_text(SMALL.replace("port: 8083", f"port: {port}"))
        result = _archbench("up", str(path), cwd=tmp_path)
    assert f"port {port} for course is in use" in result.stderr
    assert str(os.getpid()) in result.stderr
    assert result.returncode == 1


def test_up_serves_until_ctrl_c(tmp_path):
    path = tmp_path / "mine.yaml"
    text = SMALL
    for number, port in enumerate(range(8081, 8086)):
        text = text.replace(f"port: {port}", f"port: {28181 + number}")
    path.write_text(text + "gateway_port: 28180\n")
    process = subprocess.Popen(
        [ARCHBENCH, "up", str(path), "--mode", "gateway", "--gateway-replicas", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_heed_interrupts,  # noqa: PLW1509 - it takes no lock
    )
    try:
        assert process.stdout is not None
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], "".join(lines)
        command = next(line for line in lines if "Authorization" in line)
        token = command.split("'")[1]
        for name, port in (("gateway", 28180), ("gateway-2", 28186)):
            assert f"  {name:<14}http://127.0.0.1:{port}\n" in lines
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(f"GET /api/v1/user/profile HTTP/1.1\r\nHost: x\r\n{token}\r\n\r\n".encode())
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
        children = _platform_pids(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        process.stdout.close()
    finally:
        process.kill()
        process.wait(timeout=10)
    assert not [pid for pid in children if psutil.pid_exists(pid)]
