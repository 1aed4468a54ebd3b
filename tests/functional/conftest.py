"""Processes for tests: started on free ports, ended by process id."""

import random
import subprocess
import sys

import pytest

from harness.ports import free_ports
from tests.bench.rig import wait_for_port


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
