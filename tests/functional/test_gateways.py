"""Every gateway does the same job from the same plan: whole-segment routes, the mode's routes and no others."""

import random
import socket

import pytest

from harness.control import RESERVED, ControlPlane
from harness.forkserver import ForkServer
from harness.gateways import GATEWAYS
from harness.platform import Platform, PlatformSpec
from harness.ports import free_ports
from scenarios.load import load_scenario
from stub_services.calllog import read_calls
from stub_services.requests import RequestBook
from stub_services.stores import build_template

pytestmark = pytest.mark.functional

LEARNERS = RESERVED + 8
SECRET = "a-secret-of-thirty-two-bytes-or-more"


@pytest.fixture(scope="module")
def server():
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    build_template(folder, LEARNERS)
    return folder


@pytest.fixture(params=GATEWAYS)
def gateway(request):
    if problem := GATEWAYS[request.param].missing():
        pytest.skip(problem)
    return request.param


def _platform(gateway, mode, template, folder, server):
    scenario = load_scenario("ielts")
    ports = dict(zip(scenario.components, free_ports(6, random.Random()), strict=True))
    spec = PlatformSpec(scenario, mode, ports, gateway, "bare", "none", 1.0, 1, "key", SECRET, [], template)
    return Platform(spec, folder, server)


def _status(port, path, method="GET"):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return int(client.recv(65536).split(b" ")[1])


@pytest.mark.parametrize(("mode", "hops"), [("direct", 1), ("gateway", 2), ("hybrid", 1)])
def test_every_flow_works_and_internal_calls_pass_what_the_mode_says(gateway, mode, hops, template, tmp_path, server):
    with _platform(gateway, mode, template, tmp_path / "trial", server) as platform:
        control = ControlPlane(platform, RequestBook(LEARNERS, SECRET), LEARNERS)
        control.smoke()
        at_gateway = {probe.status for probe in control.probe() if probe.name == "internal_through_gateway"}
        calls = [row for name in ("auth", "course") for row in read_calls(platform.log_dir / f"{name}.calls")]
    assert {row.hops for row in calls} == {hops}
    assert at_gateway <= ({200, 201} if mode == "gateway" else {404})


def test_routes_match_whole_path_segments(gateway, template, tmp_path, server):
    with _platform(gateway, "hybrid", template, tmp_path / "trial", server) as platform:
        port = platform.spec.ports["gateway"]
        statuses = {
            path: _status(port, path)
            for path in (
                "/api/v1/courses",
                "/api/v1/courses?page=1",
                "/api/v1/courses2",
                "/api/v1/user",
                "/api/v1/user/profile",
                "/api/v1/user/profiles",
                "/api/v1/user/internal/profile/x",
                "/api/v1/notification/internal/send",
                "/",
            )
        }
    assert {path for path, status in statuses.items() if status != 404} == {
        "/api/v1/courses",
        "/api/v1/courses?page=1",
        "/api/v1/user/profile",
    }


def test_a_dead_service_is_a_gateway_error_at_once_and_the_others_go_on(gateway, template, tmp_path, server):
    with _platform(gateway, "gateway", template, tmp_path / "trial", server) as platform:
        port = platform.spec.ports["gateway"]
        assert _status(port, "/api/v1/user/profile") == 401
        platform.kill("user")
        while platform.is_serving("user"):
            pass
        assert _status(port, "/api/v1/user/profile") in {502, 503}
        assert _status(port, "/api/v1/courses") == 200


def test_a_gateway_that_is_missing_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("harness.gateways.nginx.find_program", lambda _name: None)
    monkeypatch.setattr("harness.gateways.haproxy.find_program", lambda _name: None)
    assert "apt-get install nginx-light" in str(GATEWAYS["nginx"].missing())
    assert "apt-get install haproxy" in str(GATEWAYS["haproxy"].missing())
