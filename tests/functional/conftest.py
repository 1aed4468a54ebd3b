"""Processes for tests: started on free ports, ended by process id."""

import contextlib
import random
import socket
import subprocess
import sys
import time

import pytest

from harness.ports import free_ports


def wait_for_port(port, seconds=10.0):
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody listens on {port}")
        time.sleep(0.01)


@pytest.fixture
def scripted():
    """Start scripted servers; return their ports."""
    processes = []

    def start(behaviour, seconds=0.0):
        port = free_ports(1, random.Random())[0]
        command = [sys.executable, "-m", "tests.functional.scripted_server", str(port), behaviour, str(seconds)]
        processes.append(subprocess.Popen(command))
        wait_for_port(port)
        return port

    yield start
    for process in processes:
        process.kill()
        process.wait(timeout=10)
