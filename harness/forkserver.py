"""A preloaded process that forks the platform's processes, so that a fresh platform costs tens of milliseconds.

    harness --(pickled requests over a socket pair)--> fork server --fork--> service, gateway, load engine

The server imports everything once, freezes the garbage collector and then only forks. It runs in a session of its own,
so that Ctrl-C reaches the harness alone; when the harness goes away, however it goes, the pipe ends, and the server
kills every child and exits. Children also ask the kernel to die with it (Linux).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from harness.cpu import LINUX, pin
from harness.errors import HarnessError

PRELOAD = ("stub_services.server", "gateway_proxy.server", "harness.engines.native", "harness.watchdog")
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Spawn:
    """A process to fork: `target` is "module:function", called with `arguments`; `cores` pins it."""

    target: str
    arguments: tuple[Any, ...]
    log: str
    cores: list[int] = field(default_factory=list)


class ForkServer:
    """The harness's handle on the fork server: spawn, exit codes, close.

    A thread of its own talks to the server: Ctrl-C interrupts whoever waits for an answer, but never the exchange, so
    that the next question does not get this one's answer. Only SimpleQueues lie between the two: an interrupt inside
    a lock written in Python (a Condition's, a Future's) can leave it held, and the other thread then waits for ever.
    """

    def __init__(self, preload: tuple[str, ...] = PRELOAD, cores: list[int] | None = None) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.forkserver", str(theirs.fileno()), *preload],
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
            )
        self._pipe = Connection(ours.detach())
        self._closed = False
        self._questions: SimpleQueue[_Question | None] = SimpleQueue()
        self._talker = threading.Thread(target=self._talk, name="forkserver", daemon=True)
        self._talker.start()
        if cores:
            pin(cores, self._process.pid)
        self._ask(("ready",))

    @property
    def pid(self) -> int:
        """The fork server's own process id."""
        return self._process.pid

    def spawn(self, spawn: Spawn) -> int:
        """Fork a process and return its id."""
        return int(self._ask(("spawn", spawn)))

    def exit_code(self, pid: int) -> int | None:
        """Return how a spawned process ended (negative: by that signal), or None while it runs."""
        code = self._ask(("exit_code", pid))
        return None if code is None else int(code)

    def close(self) -> None:
        """End the fork server and with it every process that it forked."""
        self._closed = True
        self._questions.put(None)
        self._talker.join(timeout=5)
        self._pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)

    def _ask(self, request: tuple[Any, ...]) -> Any:
        if self._closed:
            raise HarnessError("the fork server is closed")
        question = _Question(request)
        self._questions.put(question)
        answer, wrong = question.answer.get()
        if isinstance(wrong, EOFError | OSError):
            raise HarnessError("the fork server ended unexpectedly; its message stands above") from wrong
        if wrong is not None:
            raise wrong
        return answer

    def _talk(self) -> None:
        while (question := self._questions.get()) is not None:
            question.answer.put(self._exchange(question.request))

    def _exchange(self, request: tuple[Any, ...]) -> tuple[Any, Exception | None]:
        try:
            self._pipe.send(request)
            return self._pipe.recv(), None
        except Exception as wrong:  # noqa: BLE001 - for whoever asked: this thread goes on
            return None, wrong


class _Question:
    def __init__(self, request: tuple[Any, ...]) -> None:
        self.request = request
        self.answer: SimpleQueue[tuple[Any, Exception | None]] = SimpleQueue()


def main(arguments: list[str]) -> None:
    """Serve requests on the inherited socket until it closes."""
    pipe = Connection(int(arguments[0]))
    for module in arguments[1:]:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    _Server(pipe).run()


class _Server:
    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe
        self.children: set[int] = set()
        self.ended: dict[int, int] = {}
        self.wakeup_read, self.wakeup_write = os.pipe()
        os.set_blocking(self.wakeup_write, False)
        signal.set_wakeup_fd(self.wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        try:
            while True:
                readable, _, _ = select.select([self.pipe.fileno(), self.wakeup_read], [], [])
                if self.wakeup_read in readable:
                    os.read(self.wakeup_read, 4096)
                    self.reap()
                if self.pipe.fileno() in readable:
                    self.answer(self.pipe.recv())
        except (EOFError, OSError):
            self.end_all()

    def answer(self, request: tuple[Any, ...]) -> None:
        if request[0] == "spawn":
            self.pipe.send(self.fork(request[1]))
        elif request[0] == "exit_code":
            self.reap()
            self.pipe.send(self.ended.get(request[1]))
        else:
            self.pipe.send(True)

    def fork(self, spawn: Spawn) -> int:
        pid = os.fork()
        if pid == 0:
            _become(spawn, [self.pipe.fileno(), self.wakeup_read, self.wakeup_write])
        self.children.add(pid)
        return pid

    def reap(self) -> None:
        for pid in list(self.children):
            with contextlib.suppress(ChildProcessError):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    self.children.discard(pid)
                    self.ended[pid] = os.waitstatus_to_exitcode(status)

    def end_all(self) -> None:
        for pid in self.children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in self.children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _become(spawn: Spawn, inherited: list[int]) -> None:
    """Turn the forked copy into the wanted process; never returns."""
    code = 1
    try:
        _detach(inherited)
        _redirect(spawn.log)
        pin(spawn.cores)
        _resolve(spawn.target)(*spawn.arguments)
        code = 0
    except SystemExit as wanted:
        code = _exit_status(wanted)
    except BaseException:  # noqa: BLE001 - the last frame of a process: whatever it was, say it and exit
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _exit_status(wanted: SystemExit) -> int:
    if wanted.code is None or isinstance(wanted.code, int):
        return wanted.code or 0
    print(wanted.code, file=sys.stderr)
    return 1


def _detach(inherited: list[int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for fd in inherited:
        os.close(fd)
    if LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _redirect(log: str) -> None:
    """Send output to a file, never to a pipe: a reader that stalls would stall the measured process."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)


def _resolve(target: str) -> Callable[..., None]:
    module, _, name = target.partition(":")
    function: Callable[..., None] = getattr(importlib.import_module(module), name)
    return function


if __name__ == "__main__":
    # Run through the imported module, so that a pickled Spawn is the same class on both sides.
    importlib.import_module("harness.forkserver").main(sys.argv[1:])
