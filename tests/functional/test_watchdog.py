"""The watchdog notices when its core stands still, here because it is stopped itself."""

import os
import signal
import time

import pytest

from harness.forkserver import ForkServer, Spawn
from harness.watchdog import read_stalls

pytestmark = pytest.mark.functional


def test_a_stop_of_a_tenth_of_a_second_is_written_down_with_its_time_and_length(tmp_path):
    server = ForkServer(preload=("harness.watchdog",))
    path = tmp_path / "core.stalls"
    try:
        pid = server.spawn(Spawn("harness.watchdog:watch", (str(path),), str(tmp_path / "log")))
        deadline = time.monotonic() + 5
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        before = time.monotonic_ns()
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.1)
        os.kill(pid, signal.SIGCONT)
        after = time.monotonic_ns()
        time.sleep(0.05)
    finally:
        server.close()
    longest = max(read_stalls([path], before, after), key=lambda stall: stall.late_ns)
    assert 90e6 < longest.late_ns < 400e6
    assert before - 5e6 < longest.at_ns < after
    assert read_stalls([path], 0, before - 1_000_000_000) == []
    assert read_stalls([tmp_path / "nobody"], 0, after) == []
