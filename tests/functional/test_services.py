"""The five services as real processes on loopback."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from gateway_proxy.http1 import render_request
from harness.ports import free_ports
from stub_services.calllog import read_calls, read_events
from stub_services.learners import learner_id, new_name
from stub_services.requests import RequestBook, internal_probes
from stub_services.settings import SERVICE_NAMES
from stub_services.stores import build_template, read_effects, store_path
from stub_services.sweeps import read_sweeps, write_schedule

pytestmark = pytest.mark.functional

KEY = "the key of the tests"
SECRET = "a secret of the tests, long enough"
LEARNERS = 50
MS = 1_000_000
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Platform:
    """Five processes that are ended by process id, whatever happens."""

    def __init__(self, folder, **environ):
        self.folder = folder
        self.stores = folder / "stores"
        self.logs = folder / "logs"
        self.book = RequestBook(LEARNERS, SECRET)
        self.ports = dict(zip(SERVICE_NAMES, free_ports(5, random.Random()), strict=True))
        self.processes = {}
        peers = {f"{name.upper()}_SERVICE_URL": f"http://127.0.0.1:{port}" for name, port in self.ports.items()}
        self.environ = (
            os.environ
            | peers
            | {
                "STORE_DIR": str(self.stores),
                "LOG_DIR": str(self.logs),
                "JWT_SECRET": SECRET,
                "INTERNAL_API_KEY": KEY,
                "SWEEP_SCHEDULE": str(folder / "schedule"),
            }
            | environ
        )
        build_template(self.stores, LEARNERS)

    def start(self, *names):
        for name in names or SERVICE_NAMES:
            command = [sys.executable, "-m", "stub_services", name, "--port", str(self.ports[name])]
            with (self.folder / f"{name}.err").open("ab") as log:
                self.processes[name] = subprocess.Popen(command, env=self.environ, stderr=log)
        for name in names or SERVICE_NAMES:
            self.wait(name)

    def wait(self, name):
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            assert self.processes[name].poll() is None, (self.folder / f"{name}.err").read_text()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.ports[name]), 1).close()
                return
            time.sleep(0.02)
        raise TimeoutError(f"{name} does not listen")

    def end(self, name, number=signal.SIGTERM):
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(10)

    def stop(self):
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait(10)

    def ask(self, service, method, path, headers=(), body=None):
        url = f"http://127.0.0.1:{self.ports[service]}{path}"
        request = urllib.request.Request(url, data=body, headers=dict(headers), method=method)
        try:
            with OPENER.open(request, timeout=10) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, dict(refused.headers), refused.read()

    def flow(self, name, index):
        service = {"register": "auth", "login": "auth", "view_profile": "user", "submit_exercise": "exercise"}
        method, path, headers, body = self.book.request(name, index)
        status, _, answer = self.ask(service.get(name, "course"), method, path, headers, body)
        return status, json.loads(answer)

    def internal(self, service, method, path, body=None, **headers):
        return self.ask(service, method, path, {"X-Internal-API-Key": KEY, **headers}, body)

    def effect(self, flow, index):
        return read_effects(self.stores, [(flow, index)])[0]

    def calls(self, name):
        return read_calls(self.logs / f"{name}.calls")


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    """A platform that tests share, each with learners of its own."""
    shared = Platform(tmp_path_factory.mktemp("platform"))
    try:
        shared.start()
        yield shared
    finally:
        shared.stop()


@pytest.fixture
def fresh(tmp_path):
    """Make platforms for tests that break them."""
    made = []

    def make(**environ):
        made.append(Platform(tmp_path, **environ))
        return made[-1]

    yield make
    for broken in made:
        broken.stop()


def test_a_registration_reaches_user_and_notification(platform):
    status, answer = platform.flow("register", 1)
    assert status == 201
    assert 450 <= len(json.dumps(answer)) <= 550
    assert platform.effect("register", 1) == ("met", "")
    profile, welcome = platform.calls("auth")[-2:]
    assert (profile.operation, welcome.operation) == ("profile/create", "send")
    assert {(row.outcome, row.status, row.attempts, row.hops) for row in (profile, welcome)} == {("ok", 201, 1, 1)}
    token = {"Authorization": f"Bearer {answer['access_token']}"}
    _, _, body = platform.ask("user", "GET", "/api/v1/user/profile", token)
    assert json.loads(body)["username"] == new_name(1)


def test_a_username_is_given_once(platform):
    assert [platform.flow("register", 2)[0] for _ in range(2)] == [201, 409]
    assert platform.effect("register", 2) == ("met", "")


def test_a_login_needs_the_right_password(platform):
    status, answer = platform.flow("login", 3)
    assert (status, answer["user"]["id"]) == (200, learner_id(3))
    wrong = json.dumps({"username": "learner-000003", "password": "wrong"}).encode()
    assert platform.ask("auth", "POST", "/api/v1/auth/login", body=wrong)[0] == 401


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (lambda book: book.request("view_profile", 1)[2][0][1], 204),
        (lambda book: RequestBook(LEARNERS, SECRET[::-1]).request("view_profile", 1)[2][0][1], 401),
        (lambda book: "Bearer nonsense", 401),
        (lambda book: None, 401),
    ],
)
def test_auth_judges_a_token_for_somebody_else(platform, field, status):
    value = field(platform.book)
    headers = {} if value is None else {"Authorization": value}
    answer = platform.ask("auth", "GET", "/api/v1/auth/verify", headers)
    assert answer[0] == status
    assert (answer[2] == b"") == (status == 204)


def test_profile_and_courses_are_shown(platform):
    assert platform.flow("view_profile", 4)[1]["user_id"] == learner_id(4)
    status, answer = platform.flow("browse_courses", 4)
    assert (status, len(answer["courses"])) == (200, 6)
    assert 7000 <= len(json.dumps(answer)) <= 9000


def test_a_lesson_counts_once_however_often_it_is_completed(platform):
    assert [platform.flow("complete_lesson", 5)[0] for _ in range(3)] == [200] * 3
    assert platform.effect("complete_lesson", 5) == ("met", "")


def test_a_submission_counts_once_in_statistics_and_progress(platform):
    status, answer = platform.flow("submit_exercise", 6)
    assert (status, answer["of"]) == (200, 40)
    assert platform.flow("submit_exercise", 6)[0] == 200
    assert platform.effect("submit_exercise", 6) == ("met", "")
    operations = [row.operation for row in platform.calls("exercise")][-3:]
    assert operations == ["statistics/update", "progress/update", "send"]
    assert platform.flow("view_profile", 6)[1]["completed"] == 1


@pytest.mark.parametrize("probe", internal_probes(), ids=lambda probe: probe.path.rpartition("/api/v1/")[2])
def test_an_internal_endpoint_wants_the_key_and_counts_hops(platform, probe):
    for wrong in ({}, {"X-Internal-API-Key": ""}, {"X-Internal-API-Key": KEY + "x"}):
        status, headers, _ = platform.ask(probe.service, probe.method, probe.path, wrong, probe.body)
        assert (status, headers["x-hops"]) == (403, "1")
    status, headers, _ = platform.internal(probe.service, probe.method, probe.path, probe.body, Via="1.1 one, 1.1 two")
    assert status in (200, 201)
    assert headers["x-hops"] == "3"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"", 400),
        (b"[" * 100_000, 400),
        (b"{}", 422),
        (b'{"username": 1, "password": "p", "email": "e", "full_name": "f"}', 422),
        (b'{"username": "", "password": "p", "email": "e", "full_name": "f"}', 422),
        (b'{"username": "\\ud800", "password": "p", "email": "e", "full_name": "f"}', 422),
        (b'{"username": "u", "password": "p", "email": "e", "full_name": "' + b"x" * 2_000_000 + b'"}', 413),
    ],
)
def test_a_malformed_body_is_refused(platform, body, status):
    assert platform.ask("auth", "POST", "/api/v1/auth/register", body=body)[0] == status


@pytest.mark.parametrize(
    ("service", "method", "path", "status"),
    [
        ("auth", "GET", "/health", 200),
        ("auth", "GET", "/nowhere", 404),
        ("auth", "GET", "/api/v1/auth/login", 405),
        ("user", "GET", "/api/v1/user/profile", 401),
        ("course", "POST", "/api/v1/courses/lessons/course-1-lesson-1/complete", 401),
        ("exercise", "POST", "/api/v1/exercises/exercise-1/submit", 401),
        ("course", "POST", "/admin/sweep", 403),
        ("notification", "POST", "/admin/sweep", 404),
    ],
)
def test_what_cannot_be_served_is_said(platform, service, method, path, status):
    assert platform.ask(service, method, path)[0] == status


@pytest.mark.parametrize(
    ("service", "method", "path", "body"),
    [
        ("user", "GET", "/api/v1/user/internal/profile/nobody", None),
        ("user", "PUT", "/api/v1/user/internal/progress/update", b'{"user_id": "nobody"}'),
        ("user", "PUT", "/api/v1/user/internal/statistics/reading/update", b'{"user_id": "nobody"}'),
        ("user", "PUT", "/api/v1/user/internal/statistics/juggling/update", b'{"user_id": "nobody"}'),
    ],
)
def test_the_unknown_is_404(platform, service, method, path, body):
    assert platform.internal(service, method, path, body)[0] == 404


def test_an_unknown_lesson_and_exercise_are_404(platform):
    token = platform.book.request("view_profile", 7)[2]
    assert platform.ask("course", "POST", "/api/v1/courses/lessons/none/complete", token)[0] == 404
    body = platform.book.request("submit_exercise", 7)[3]
    assert platform.ask("exercise", "POST", "/api/v1/exercises/none/submit", token, body)[0] == 404


def test_head_ends_with_its_head(platform):
    status, _, body = platform.ask("auth", "HEAD", "/health")
    assert (status, body) == (200, b"")


def exchange(port, *pieces, answers):
    """Send pieces apart on one connection and return what came until so many answers are there."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.05)
        received = b""
        while received.count(b"HTTP/1.1 ") < answers:
            received += connection.recv(65536)
        return received


def test_pipelined_requests_are_answered_in_order(platform):
    health = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    nowhere = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    received = exchange(platform.ports["auth"], health + nowhere + health, health, answers=4)
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"404", b"200", b"200"]


@pytest.mark.parametrize("cut", [20, 120, 200, 300])
def test_a_request_may_come_in_pieces(platform, cut):
    method, path, headers, body = platform.book.request("register", 1000 + cut)
    request = render_request(method, path, "auth", headers, body)
    received = exchange(platform.ports["auth"], request[:cut], request[cut:], answers=1)
    assert received.startswith(b"HTTP/1.1 201 ")
    assert platform.effect("register", 1000 + cut) == ("met", "")


def test_a_client_that_goes_away_leaves_a_whole_effect(platform):
    method, path, headers, body = platform.book.request("register", 2000)
    with socket.create_connection(("127.0.0.1", platform.ports["auth"]), 5) as connection:
        connection.sendall(render_request(method, path, "auth", headers, body))
    time.sleep(0.3)
    assert platform.effect("register", 2000) == ("met", "")


def test_increments_with_a_key_count_once_and_without_one_twice(platform):
    body = json.dumps({"user_id": learner_id(8)}).encode()
    path = "/api/v1/user/internal/progress/update"
    for _ in range(3):
        assert platform.internal("user", "PUT", path, body, **{"Idempotency-Key": "one"})[0] == 200
    assert platform.effect("complete_lesson", 8) == ("met", "")
    assert platform.internal("user", "PUT", path, body)[0] == 200
    assert platform.effect("complete_lesson", 8) == ("duplicate", "duplicate")


def test_notifications_with_a_key_are_sent_once(platform):
    note = {"user_id": learner_id(9), "kind": "reminder", "title": "t", "message": "m"}
    path, body = "/api/v1/notification/internal/send", json.dumps(note).encode()
    answers = [platform.internal("notification", "POST", path, body, **{"Idempotency-Key": "two"}) for _ in range(2)]
    assert answers[0][2] == answers[1][2]
    assert platform.effect("study_reminders", 9) == ("met", "")


def test_sweeps_run_at_their_times(platform):
    now = time.monotonic_ns()
    write_schedule(platform.folder / "schedule", [(now + (100 + 5 * number) * MS, 10 + number) for number in range(20)])
    for service in ("course", "exercise"):
        assert platform.internal(service, "POST", "/admin/sweep")[0] == 204
    time.sleep(0.6)
    for service, flow in (("course", "study_reminders"), ("exercise", "progress_sync")):
        rows = read_sweeps(platform.logs / f"{service}.sweeps")
        assert [row.entry for row in rows] == list(range(20))
        assert {row.outcome for row in rows} == {"ok"}
        assert min(row.started_ns - row.intended_ns for row in rows) >= 0
        assert sorted(row.started_ns - row.intended_ns for row in rows)[10] < 20 * MS
        assert {platform.effect(flow, 10 + number) for number in range(20)} == {("met", "")}


def test_a_dead_user_service_leaves_orphans_and_lost_updates(fresh):
    platform = fresh()
    platform.start()
    assert platform.flow("register", 1)[0] == 201
    assert platform.end("user", signal.SIGKILL) == -9
    assert platform.flow("register", 2)[0] == 201
    assert platform.flow("complete_lesson", 3)[0] == 502
    assert platform.flow("submit_exercise", 4)[0] == 502
    planned = [("register", 1), ("register", 2), ("complete_lesson", 3), ("submit_exercise", 4)]
    expected = [("met", ""), ("missing", "orphan"), ("missing", "lost_update"), ("missing", "lost_update")]
    assert read_effects(platform.stores, planned) == expected
    platform.start("user")
    assert platform.flow("register", 5)[0] == 201
    assert platform.flow("complete_lesson", 6)[0] == 200
    assert read_effects(platform.stores, [*planned, ("register", 5)]) == [*expected, ("met", "")]
    with closing(sqlite3.connect(store_path(platform.stores, "user"))) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_dead_notification_service_fails_no_flow_that_can_do_without(fresh):
    platform = fresh()
    platform.start("auth", "user", "course")
    assert platform.flow("register", 1)[0] == 201
    assert platform.effect("register", 1) == ("missing", "")
    assert platform.flow("complete_lesson", 2)[0] == 200
    assert platform.effect("complete_lesson", 2) == ("met", "")


def test_the_documented_breaker_opens_on_a_dead_peer_and_says_so(fresh):
    platform = fresh(POLICY="documented", CLOCK_SCALE="50")
    platform.start("course")
    assert [platform.flow("complete_lesson", index)[0] for index in range(3)] == [502, 502, 503]
    assert [row.attempts for row in platform.calls("course")] == [3, 3, 0]
    assert [(row.kind, row.peer) for row in read_events(platform.logs / "course.events")] == [("breaker_open", "user")]
    time.sleep(0.7)  # 30 s divided by 50
    platform.start("user")
    assert platform.flow("complete_lesson", 5)[0] == 200
    assert read_events(platform.logs / "course.events")[1].kind == "breaker_half_open"


def test_the_corrected_policy_counts_a_repeat_once(fresh):
    platform = fresh(POLICY="corrected")
    platform.start("course", "user", "notification")
    assert platform.flow("complete_lesson", 1)[0] == 200
    with closing(sqlite3.connect(store_path(platform.stores, "user"))) as store:
        (key,) = store.execute("SELECT key FROM idempotency_keys").fetchone()
    body = json.dumps({"user_id": learner_id(1)}).encode()
    platform.internal("user", "PUT", "/api/v1/user/internal/progress/update", body, **{"Idempotency-Key": key})
    assert platform.effect("complete_lesson", 1) == ("met", "")


def test_realistic_work_takes_its_time(fresh):
    platform = fresh(WORK="realistic")
    platform.start("auth")
    begun = time.monotonic()
    assert platform.flow("login", 1)[0] == 200
    assert 0.084 <= time.monotonic() - begun < 2.0


def test_a_service_ends_when_it_is_asked_to(fresh):
    platform = fresh()
    platform.start("user", "notification")
    assert platform.flow("view_profile", 1)[0] == 200
    assert platform.end("user", signal.SIGTERM) == 0
    assert platform.end("notification", signal.SIGINT) == 0


def run_module(*arguments, **environ):
    command = [sys.executable, "-m", "stub_services", *arguments]
    return subprocess.run(command, env=os.environ | environ, check=False, capture_output=True, text=True, timeout=20)


def test_a_port_in_use_is_named(tmp_path):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        done = run_module("auth", "--port", port, STORE_DIR=str(tmp_path))
    assert done.returncode == 1
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_service_is_told_the_known_ones():
    done = run_module("gateway", "--port", "1")
    assert done.returncode == 2
    assert all(name in done.stderr for name in SERVICE_NAMES)


def test_a_bad_setting_and_an_unusable_store_are_told_in_a_line(tmp_path):
    done = run_module("auth", WORK="hard", STORE_DIR=str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    (tmp_path / "auth_db.sqlite").write_bytes(b"this is no database, whatever its name says" * 100)
    done = run_module("auth", "--port", str(free_ports(1, random.Random())[0]), STORE_DIR=str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
