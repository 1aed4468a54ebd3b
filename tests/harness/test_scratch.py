"""The scratch folder goes with its run, and what a killed run left behind goes with the next."""

import os
import subprocess
import sys
from pathlib import Path

from harness.scratch import scratch_folder, sweep_stale


def _aged(folder):
    old = folder.stat().st_mtime - 3600
    os.utime(folder, (old, old))
    return folder


def test_a_scratch_folder_is_removed_with_all_that_is_in_it():
    with scratch_folder() as folder:
        (Path(folder) / "store").write_text("x")
    assert not Path(folder).exists()


def test_a_folder_in_use_is_left_alone():
    with scratch_folder() as folder:
        sweep_stale(_aged(Path(folder)).parent)
        assert Path(folder).exists()


def test_what_a_killed_process_left_is_swept(tmp_path):
    code = (
        "import fcntl, os, signal, sys; folder = sys.argv[1]; os.mkdir(folder); lock = open(folder + '/.in-use', 'w');"
        "fcntl.flock(lock, fcntl.LOCK_EX); os.kill(os.getpid(), signal.SIGKILL)"
    )
    left = tmp_path / "archbench-killed"
    subprocess.run([sys.executable, "-c", code, str(left)], check=False, timeout=30)
    young, foreign = tmp_path / "archbench-young", tmp_path / "archbench-without-lock"
    young.mkdir()
    (young / ".in-use").touch()
    foreign.mkdir()
    _aged(foreign)
    sweep_stale(_aged(left).parent)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archbench-without-lock", "archbench-young"]
