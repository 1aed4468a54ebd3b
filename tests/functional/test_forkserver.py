"""The fork server starts processes, knows how they ended, and leaves none behind."""

import os
import pickle
import signal
import subprocess
import sys
import time

import psutil
import pytest

from harness.errors import HarnessError
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


def test_an_interrupted_question_neither_hangs_nor_spoils_the_next_answer(server, tmp_path):
    """Interrupts come in a hail from a process (a thread would strike only when the lock of the interpreter is free).

    They are SIGUSR1, for SIGALRM is what ends a test that hangs.
    """
    armed = False

    def interrupt(*_):
        if armed:
            raise KeyboardInterrupt

    hail = (
        "import os, random, signal, time\n"
        "gaps = random.Random(1)\n"
        f"while os.getppid() == {os.getpid()}:\n"
        "    time.sleep(gaps.uniform(0.0001, 0.0015))\n"
        f"    os.kill({os.getpid()}, signal.SIGUSR1)\n"
    )
    log = str(tmp_path / "log")
    before = signal.signal(signal.SIGUSR1, interrupt)
    striker = subprocess.Popen([sys.executable, "-c", hail])
    interrupted = 0
    try:
        for _ in range(1000):
            try:
                armed = True
                try:
                    server.spawn(Spawn("builtins:print", ("x",), log))
                    server.exit_code(-1)
                finally:
                    armed = False  # a last one may come before this: outside it cannot
            except KeyboardInterrupt:
                interrupted += 1
                armed = False
            assert server.exit_code(-1) is None
    finally:
        striker.kill()
        striker.wait(timeout=10)
        signal.signal(signal.SIGUSR1, before)
    assert interrupted > 10
    pid = server.spawn(Spawn("builtins:print", ("last",), str(tmp_path / "last")))
    _wait(lambda: server.exit_code(pid) == 0)


def test_a_closed_server_and_one_that_died_say_so(server, tmp_path):
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(HarnessError, match="ended unexpectedly"):
        server.spawn(Spawn("builtins:print", ("x",), str(tmp_path / "log")))
    server.close()
    with pytest.raises(HarnessError, match="is closed"):
        server.exit_code(1)


def test_what_cannot_be_sent_is_said_and_the_next_question_is_answered(server, tmp_path):
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
        server.spawn(Spawn("builtins:print", (lambda: None,), str(tmp_path / "log")))
    assert server.exit_code(-1) is None
