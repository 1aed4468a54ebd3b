"""Several workers as processes: one port, replaced when they die, told together, and no connection lost on the way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection

import psutil
import pytest

from gateway_proxy import listening
from tests.bench.rig import free_port, wait_for_port
from tests.functional.gateway_rig import wait_until

pytestmark = pytest.mark.functional

REQUEST = "GET {} HTTP/1.1\r\nHost: h\r\n\r\n"


class Workers:
    """The program of worker_program.py, killed with its workers at the latest by `stop`."""

    def __init__(self, directory, count=2, **environment):
        self.port, self.admin_port = free_port(), free_port()
        self.file = directory / "gateway.yaml"
        self.count = count
        self.write()
        self.command = [sys.executable, "-m", "tests.functional.worker_program", str(self.file)]
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | environment, text=True
        )

    def write(self, prefix="/a", extra=""):
        self.file.write_text(
            f"listen: {{port: {self.port}}}\nworkers: {self.count}\nadmin: {{port: {self.admin_port}}}\ngrace_s: 3\n"
            f"upstreams: {{a: {{targets: ['127.0.0.1:1']}}}}\nroutes: [{{prefix: {prefix}, upstream: a}}]\n{extra}"
        )

    def wait_ready(self):
        assert self.process.stdout.readline() == "ready\n"
        wait_for_port(self.admin_port)
        return self

    def pids(self):
        return {child.pid for child in psutil.Process(self.process.pid).children()}

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def ask(self, path="/"):
        with self.connect() as sock:
            return exchange(sock, path)

    def admin(self, path, method="GET"):
        connection = HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path, headers={"X-Gateway-Admin": "test"})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def see(self, path):
        status, body = self.admin(path)
        assert status == 200, body
        return json.loads(body)

    def worker(self, number, silent):
        """Wait until a worker is silent, or is not, and return its status."""
        found = []

        def there():
            found.append(self.see("/status")["workers"][number])
            return found[-1]["silent"] == silent

        wait_until(there)
        return found[-1]

    def signal(self, number):
        kill(self.process.pid, number)

    def ended(self):
        """Wait for its end; return the exit code and what it said on stderr."""
        out, err = self.process.communicate(timeout=20)
        assert out == ""
        return self.process.returncode, err

    def hear(self, begins):
        """Read stderr up to a line that begins so."""
        while not (line := self.process.stderr.readline()).startswith(begins):
            assert line

    def stop(self):
        children = psutil.Process(self.process.pid).children() if self.process.poll() is None else []
        for one in (self.process, *children):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.communicate()


def kill(pid, number=signal.SIGKILL):
    assert (pid or 0) > 1, "0 would be this very process group"
    os.kill(pid, number)


def exchange(sock, path="/"):
    sock.sendall(REQUEST.format(path).encode())
    answer = b""
    while data := sock.recv(65536):
        answer += data
    assert answer, "the connection was closed without an answer"
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Two workers for the tests that leave them running."""
    workers = Workers(tmp_path_factory.mktemp("shared"))
    try:
        yield workers.wait_ready()
        assert workers.process.poll() is None
    finally:
        workers.stop()


@pytest.fixture
def run(tmp_path):
    """Start workers; end them after the test."""
    with contextlib.ExitStack() as stack:

        def start(count=2, **environment):
            workers = Workers(tmp_path, count, **environment)
            stack.callback(workers.stop)
            return workers

        yield start


class Clients:
    """Threads that send request after request, each on a connection of its own, until they are refused one."""

    def __init__(self, workers, count=4, paths=("/", "/slow")):
        self.outcomes = Counter()
        self.lost = []
        self._workers = workers
        self._halt = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(paths[i % len(paths)],)) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, path):
        while not self._halt.is_set():
            try:
                sock = self._workers.connect()
            except OSError:
                self.outcomes["refused"] += 1
                return
            try:
                with sock:
                    exchange(sock, path)
                self.outcomes["answered"] += 1
            except (OSError, AssertionError) as error:
                self.lost.append(repr(error))

    def join(self):
        self._halt.set()
        for thread in self._threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in self._threads)


def test_workers_share_the_port_and_the_admin_port_sees_them_all(run):
    workers = run(3).wait_ready()
    seen = Counter(workers.ask()["number"] for _ in range(60))
    assert set(seen) == {0, 1, 2}
    status = workers.see("/status")
    assert {worker["pid"] for worker in status["workers"]} == workers.pids()
    assert (status["pid"], status["generation"], status["draining"]) == (workers.process.pid, 1, False)
    assert not any(worker["silent"] or worker["restarts"] for worker in status["workers"])
    assert workers.see("/pools")["a"]["targets"][0] == {
        "address": "h:1", "weight": 1, "active": 3, "idle": 6, "opened": 9, "held_out": [],
    }  # fmt: skip
    assert workers.see("/breakers")["a"]["state"] == "open"
    assert b"\nrequests_total 3.0\n" in workers.admin("/metrics")[1]
    assert workers.see("/routes")[0]["prefix"] == "/a"
    assert workers.admin("/drain", "POST")[0] == 202
    assert workers.ended() == (0, "")


def test_a_second_gateway_on_the_port_is_refused(shared):
    again = subprocess.run(shared.command, check=False, capture_output=True, text=True, timeout=20)
    assert again.returncode == 1
    assert "Address already in use" in again.stderr
    assert shared.ask()["number"] in {0, 1}


def test_what_only_the_admin_port_needs_is_not_imported_without_it():
    modules = "server balance health breaker retries controls listening reloading shown workers workers.controls"
    imports = ", ".join(f"gateway_proxy.{module}" for module in modules.split())
    code = f"import sys, {imports}; print(*{{'starlette', 'uvicorn', 'jinja2', 'http'}} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=20)
    assert found.stdout.split() == ["http"], "http is Python's own, and shows that this looks at all"


# -- no connection is lost ----------------------------------------------------------------------------------------


def test_stopping_answers_every_connection_that_was_made(run):
    workers = run().wait_ready()
    clients = Clients(workers)
    wait_until(lambda: clients.outcomes["answered"] > 200)
    workers.signal(signal.SIGTERM)
    code, said = workers.ended()
    clients.join()
    assert clients.lost == []
    assert clients.outcomes["refused"] == 4, "each came to the end of the gateway"
    assert (code, said) == (0, "")


def test_a_worker_that_is_told_to_end_is_replaced_and_loses_nothing(shared):
    workers = shared
    before = workers.pids()
    clients = Clients(workers)
    for pid in before:
        wait_until(lambda: clients.outcomes["answered"] > 20)
        kill(pid, signal.SIGTERM)
    wait_until(lambda: not before & workers.pids() and len(workers.pids()) == 2)
    answered = clients.outcomes["answered"]
    wait_until(lambda: clients.outcomes["answered"] > answered + 20)
    clients.join()
    assert (clients.lost, clients.outcomes["refused"]) == ([], 0)
    assert all(worker["restarts"] for worker in workers.see("/status")["workers"])


def test_a_killed_worker_is_replaced_and_the_connections_that_waited_for_it_are_answered(run):
    workers = run().wait_ready()
    victim = workers.ask()
    kill(victim["pid"], signal.SIGSTOP)  # so that connections wait in its queue
    waiting = [workers.connect() for _ in range(30)]
    kill(victim["pid"])
    answers = [exchange(sock) for sock in waiting]
    for sock in waiting:
        sock.close()
    numbers = Counter(answer["number"] for answer in answers)
    assert set(numbers) == {0, 1}
    assert victim["pid"] not in {answer["pid"] for answer in answers}
    workers.signal(signal.SIGTERM)
    code, said = workers.ended()
    assert code == 0
    assert said == f"worker {victim['number']} (process {victim['pid']}) ended by SIGKILL; started again in 0.1 s\n"


@pytest.mark.skipif(not listening.LINUX, reason="elsewhere connections go to a dead worker's socket, too")
def test_while_a_worker_is_down_new_connections_go_to_the_others(run):
    workers = run().wait_ready()
    for _ in range(4):  # each time sooner than it may: pauses of 0.1, 0.2, 0.4 and 0.8 s
        kill(workers.worker(0, silent=False)["pid"])
        workers.worker(0, silent=True)
    begun = time.monotonic()
    assert {workers.ask()["number"] for _ in range(20)} == {1}
    assert time.monotonic() - begun < 0.7, "nobody waited for the one that is down"
    assert workers.worker(0, silent=True)["pid"] is None


def test_a_request_under_way_is_finished_when_the_supervisor_is_gone_and_then_the_workers_end(run):
    workers = run().wait_ready()
    left = [psutil.Process(pid) for pid in workers.pids()]
    with workers.connect() as sock:
        sock.sendall(REQUEST.format("/slow").encode())
        wait_until(lambda: workers.see("/status")["connections"] == 1)
        workers.signal(signal.SIGKILL)
        assert b"200 OK" in sock.recv(65536)
    gone, alive = psutil.wait_procs(left, timeout=10)
    assert (len(gone), alive) == (2, [])


# -- starting and stopping ----------------------------------------------------------------------------------------


def test_a_worker_that_ends_before_it_serves_ends_everything_with_its_code(run):
    workers = run(DIE="1")
    code, said = workers.ended()
    assert code == 7
    assert said.startswith("worker 1 (process ")
    assert said.endswith("ended by exit code 7 before it served\n")


def test_a_worker_that_does_not_end_is_killed_after_the_grace_period(run):
    workers = run().wait_ready()
    victim = workers.ask()["pid"]
    kill(victim, signal.SIGSTOP)
    workers.signal(signal.SIGTERM)
    wait_until(lambda: workers.pids() == {victim})
    workers.signal(signal.SIGTERM)  # a second time: now
    code, said = workers.ended()
    assert code == 1
    assert f"process {victim} does not end and is killed" in said


def test_ctrl_c_at_a_terminal_which_reaches_every_process_drains_once(run):
    workers = run().wait_ready()
    with workers.connect() as sock:
        sock.sendall(REQUEST.format("/slow").encode())
        wait_until(lambda: workers.see("/status")["connections"] == 1)
        for pid in (*workers.pids(), workers.process.pid):
            kill(pid, signal.SIGINT)
        assert b"200 OK" in sock.recv(65536)
    assert workers.ended() == (0, "")


def test_a_restarted_worker_holds_nothing_of_the_supervisor(shared):
    """Neither the admin port nor an admin client's connection nor other workers' sockets."""
    workers = shared
    with socket.create_connection(("127.0.0.1", workers.admin_port)) as client:
        victim = workers.ask()
        kill(victim["pid"])
        wait_until(lambda: len(workers.pids() - {victim["pid"]}) == 2)
        wait_until(lambda: not any(worker["silent"] for worker in workers.see("/status")["workers"]))
        own = client.getsockname()[1]
        for pid in workers.pids():
            sockets = psutil.Process(pid).net_connections("tcp")
            assert [one.laddr.port for one in sockets if one.status == psutil.CONN_LISTEN] == [workers.port]
            assert not any(one.raddr and one.raddr.port == own for one in sockets)


# -- the configuration --------------------------------------------------------------------------------------------


def in_force(workers):
    """Return what configurations the workers serve, as (prefix, generation)."""
    return {(answer["prefix"], answer["generation"]) for answer in (workers.ask() for _ in range(30))}


def test_a_reload_reaches_every_worker_and_those_that_start_later(shared):
    generation = shared.see("/status")["generation"] + 1
    shared.write(prefix="/b")
    assert shared.admin("/reload", "POST") == (200, b'{"generation":%d}' % generation)
    assert in_force(shared) == {("/b", generation)}
    for pid in shared.pids():
        kill(pid, signal.SIGTERM)
    assert in_force(shared) == {("/b", generation)}


def test_a_file_that_is_wrong_is_refused_with_its_line_and_nothing_changes(shared):
    before = in_force(shared)
    shared.write(prefix="c")
    status, body = shared.admin("/reload", "POST")
    said = json.loads(body)
    assert (status, said["file"], said["line"]) == (422, str(shared.file), 6)
    assert "routes[0].prefix" in said["message"]
    assert in_force(shared) == before


def test_sighup_reloads_and_says_what_came_of_it(shared):
    generation = shared.see("/status")["generation"] + 1
    shared.write(prefix="/d")
    shared.signal(signal.SIGHUP)
    shared.hear(f"generation {generation} of the configuration is in force\n")
    shared.write(extra="nonsense: 1\n")
    shared.signal(signal.SIGHUP)
    shared.hear(f"the configuration is refused, nothing has changed: {shared.file}:7: unknown key")
    assert in_force(shared) == {("/d", generation)}


@pytest.mark.parametrize("refuses", [0, 1])
def test_a_worker_that_cannot_take_it_is_named_and_the_first_one_is_asked_alone(shared, refuses):
    for number in range(2):
        shared.worker(number, silent=False)  # one that an earlier test ended is back
    shared.write(prefix="/e")
    before = json.loads(shared.admin("/reload", "POST")[1])["generation"]
    shared.write(prefix=f"/not-{refuses}")
    status, body = shared.admin("/reload", "POST")
    assert status == 500
    assert json.loads(body) == {
        "generation": before + refuses,
        "error": f"worker {refuses}: it cannot read its keys",
    }
    expected = {("/e", before)} if refuses == 0 else {("/e", before), ("/not-1", before + 1)}
    assert in_force(shared) == expected
