"""The scenario as plain Locust: `locust -f scenarios/ielts/locustfile.py`, for people who live there."""

import contextlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from harness.ports import free_ports
from harness.up import platform_up
from scenarios.load import load_scenario
from tests.bench.rig import wait_for_port

pytestmark = [pytest.mark.functional, pytest.mark.timeout(180)]

LOCUST = str(Path(sys.executable).with_name("locust"))
ORIGINAL = Path(__file__).parents[2] / "scenarios" / "ielts"
FLOWS = {"register", "login", "view_profile", "browse_courses", "complete_lesson", "submit_exercise"}
START = {"(start) register", "(start) login"}


@pytest.fixture(scope="module")
def locustfile(tmp_path_factory):
    """A copy beside a scenario of its own with free ports."""
    folder = tmp_path_factory.mktemp("elsewhere")
    text = (ORIGINAL / "scenario.yaml").read_text()
    for port, free in zip(range(8080, 8086), free_ports(6, random.Random()), strict=True):
        text = re.sub(rf"port: {port}\b", f"port: {free}", text)
    (folder / "scenario.yaml").write_text(text)
    shutil.copy(ORIGINAL / "locustfile.py", folder)
    return folder / "locustfile.py"


@pytest.fixture(scope="module")
def platform(locustfile):
    scenario = load_scenario(str(locustfile.with_name("scenario.yaml")))
    with platform_up(scenario, "hybrid", "builtin", "bare", "none") as (up, _):
        yield up


def _locust(path, *arguments, cwd, check=True):
    command = [LOCUST, "-f", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=check, cwd=cwd)


def _headless(path, *arguments, cwd, **options):
    """Return the exit code and Locust's statistics by name."""
    load = ("--headless", "-u", "20", "-r", "20", "-t", "12s", "--json")
    done = _locust(path, *load, *arguments, cwd=cwd, check=False, **options)
    return done.returncode, {entry["name"]: entry for entry in json.loads(done.stdout)}


def test_every_flow_works_through_the_gateway(platform, locustfile, tmp_path):
    assert platform.gateways["gateway"]
    code, found = _headless(locustfile, cwd=tmp_path)
    assert set(found) == FLOWS | START
    assert {name: entry["num_failures"] for name, entry in found.items()} == dict.fromkeys(found, 0)
    assert min(entry["num_requests"] for entry in found.values()) > 0
    assert code == 0
    times = [float(value) for entry in found.values() for value in entry["response_times"]]
    assert any(value != int(value) for value in times if value < 100)


def test_direct_calls_each_service_on_its_own_port(platform, locustfile, tmp_path):
    """The gateway's address is one where nobody listens."""
    assert platform.gateways["gateway"]
    code, found = _headless(locustfile, "--direct", "--host", "http://127.0.0.1:1", cwd=tmp_path)
    assert set(found) == FLOWS | START
    assert sum(entry["num_failures"] for entry in found.values()) == 0
    assert code == 0


def test_trap_failed_requests_are_exit_code_1_unless_told_otherwise(locustfile, tmp_path):
    nobody = ("--host", "http://127.0.0.1:1", "--headless", "-u", "1", "-t", "3s")
    assert _locust(locustfile, *nobody, cwd=tmp_path, check=False).returncode == 1
    assert _locust(locustfile, *nobody, "--exit-code-on-error", "0", cwd=tmp_path, check=False).returncode == 0


def test_the_weights_are_the_scenarios(tmp_path):
    done = _locust(ORIGINAL / "locustfile.py", "--show-task-ratio-json", cwd=tmp_path)
    tasks = json.loads(done.stdout)["total"]["Learner"]["tasks"]
    flows = [flow for flow in load_scenario("ielts").flows if flow.origin == "external"]
    whole = sum(flow.weight for flow in flows)
    assert {name: task["ratio"] for name, task in tasks.items()} == pytest.approx(
        {flow.name: flow.weight / whole for flow in flows}
    )


def test_trap_a_request_whose_connection_breaks_is_sent_once(tmp_path):
    port = free_ports(1, random.Random())[0]
    target = subprocess.Popen([sys.executable, "-m", "tests.functional.told_server", str(port)])
    code = (
        "import runpy, sys\n"
        "module = runpy.run_path(sys.argv[1])\n"
        "client = module['SendOnce'](concurrency=100).get_client(f'http://127.0.0.1:{sys.argv[2]}/')\n"
        "try:\n    client.request('GET', '/hangup')\n"
        "except Exception as broken:\n    print(type(broken).__name__)\n"
    )
    try:
        wait_for_port(port)
        command = [sys.executable, "-c", code, str(ORIGINAL / "locustfile.py"), str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=tmp_path)
        assert done.stdout.strip() == "HTTPConnectionClosed"
        assert json.loads(_get(f"http://127.0.0.1:{port}/report"))["paths"] == {"/hangup": 1}
    finally:
        target.kill()
        target.wait(timeout=10)


def _get(url, **form):
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(url, data, timeout=20) as answer:
        assert answer.status == 200
        return answer.read().decode()


def test_the_web_ui_is_there_and_starts_users(platform, locustfile, tmp_path):
    assert platform.gateways["gateway"]
    port = free_ports(1, random.Random())[0]
    web = f"http://127.0.0.1:{port}"
    log = (tmp_path / "log").open("wb")
    command = [LOCUST, "-f", str(locustfile), "--web-host", "127.0.0.1", "--web-port", str(port)]
    with log, subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, stdin=subprocess.DEVNULL) as ui:
        try:
            wait_for_port(port, 60)
            assert "<html" in _get(web)
            _get(f"{web}/swarm", user_count=4, spawn_rate=4, host=platform.gateways["gateway"])
            deadline = time.monotonic() + 60
            while not FLOWS & {entry["name"] for entry in _statistics(web)}:
                assert time.monotonic() < deadline
                time.sleep(0.5)
            assert sum(entry["num_failures"] for entry in _statistics(web)) == 0
            ui.send_signal(signal.SIGTERM)
            assert ui.wait(timeout=60) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                ui.kill()


def _statistics(web):
    return json.loads(_get(f"{web}/stats/requests"))["stats"]
