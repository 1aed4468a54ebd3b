"""The fork server starts processes, knows how they ended, and leaves none behind."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from harness.forkserver import ForkServer, Spawn

pytestmark = pytest.mark.functional


def _wait(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture
def server():
    server = ForkServer(preload=("json",))
    yield server
    server.close()


def test_a_spawned_process_runs_its_target_and_its_output_stands_in_its_log(server, tmp_path):
    log = tmp_path / "hello.log"
    pid = server.spawn(Spawn("builtins:print", ("hello",), str(log)))
    _wait(lambda: server.exit_code(pid) is not None)
    assert server.exit_code(pid) == 0
    assert log.read_text() == "hello\n"


def test_an_exception_is_exit_code_1_with_its_traceback_in_the_log(server, tmp_path):
    log = tmp_path / "bad.log"
    pid = server.spawn(Spawn("builtins:int", ("no number",), str(log)))
    _wait(lambda: server.exit_code(pid) is not None)
    assert server.exit_code(pid) == 1
    assert "ValueError" in log.read_text()


def test_a_killed_process_is_reported_by_its_signal(server, tmp_path):
    pid = server.spawn(Spawn("time:sleep", (60,), str(tmp_path / "log")))
    os.kill(pid, signal.SIGKILL)
    _wait(lambda: server.exit_code(pid) is not None)
    assert server.exit_code(pid) == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system cannot pin processes")
def test_a_process_is_pinned_to_the_cores_it_was_given(server, tmp_path):
    core = max(os.sched_getaffinity(0))
    pid = server.spawn(Spawn("time:sleep", (60,), str(tmp_path / "log"), [core]))
    _wait(lambda: os.sched_getaffinity(pid) == {core})


def test_closing_ends_every_child(tmp_path):
    server = ForkServer(preload=())
    pids = [server.spawn(Spawn("time:sleep", (60,), str(tmp_path / "log"))) for _ in range(3)]
    server.close()
    _wait(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_when_the_harness_is_killed_its_platform_goes_with_it(tmp_path):
    code = (
        "import sys, time\n"
        "from harness.forkserver import ForkServer, Spawn\n"
        "server = ForkServer(preload=())\n"
        f"print(server.pid, server.spawn(Spawn('time:sleep', (60,), {str(tmp_path / 'log')!r})), flush=True)\n"
        "time.sleep(60)\n"
    )
    harness = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert harness.stdout is not None
        pids = [int(word) for word in harness.stdout.readline().split()]
        assert all(psutil.pid_exists(pid) for pid in pids)
    finally:
        harness.kill()
        harness.wait(timeout=10)
        harness.stdout.close()
    _wait(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_an_interrupted_question_does_not_spoil_the_next_answer(server, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    log = str(tmp_path / "log")
    before = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        for number in range(150):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0001 * (1 + number % 15))
                    server.spawn(Spawn("builtins:print", ("x",), log))
                    server.exit_code(-1)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)  # the alarm may come before this: outside it cannot
            except KeyboardInterrupt:
                interrupted += 1
            assert server.exit_code(-1) is None
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 10
    pid = server.spawn(Spawn("builtins:print", ("last",), str(tmp_path / "last")))
    _wait(lambda: server.exit_code(pid) == 0)
