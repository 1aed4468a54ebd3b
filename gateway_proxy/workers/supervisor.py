"""The process that holds the sockets and keeps the workers: starts, replaces, reloads and stops them.

It never touches a request. Its own loop is asyncio's plain one, with a single thread, so that it can fork at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway_proxy import listening
from gateway_proxy.config import GatewayConfig
from gateway_proxy.controls import ReloadOutcome
from gateway_proxy.reloading import read_again
from gateway_proxy.workers.channel import AskError, Line
from gateway_proxy.workers.process import Serve, fork
from scenarios.files import FileProblem

STEADY_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 10.0
_RELOAD_TIMEOUT_S = 10.0
_KILL_AFTER_GRACE_S = 5.0


def pause_s(hasty: int) -> float:
    """Return the pause before a restart, after so many workers in a row that ended within STEADY_S of their start."""
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(hasty - 1, 10)) if hasty else 0.0


@dataclass(eq=False)
class Process:
    """One forked worker."""

    pid: int
    line: Line
    hearing: asyncio.Task[None]
    started: float
    ready: bool = False


@dataclass(eq=False)
class Slot:
    """A worker's place: its number and its sockets, which outlive the processes that serve them."""

    number: int
    listeners: Sequence[socket.socket]
    process: Process | None = None
    restarts: int = 0
    hasty: int = 0
    last: dict[str, Any] = field(default_factory=dict)  # what its status was


class Supervisor:
    """The workers of one gateway. `sockets` are listening, for each worker its own."""

    def __init__(
        self, config: GatewayConfig, config_file: str, serve: Serve, sockets: Sequence[Sequence[socket.socket]]
    ) -> None:
        self.config = config
        self.config_file = config_file
        self.generation = 1
        self.draining = False
        self.slots = [Slot(number, own) for number, own in enumerate(sockets)]
        self._serve = serve
        self._sockets = sockets
        self._leaving: dict[int, Process] = {}  # told that they end, and replaced already
        self._reloading = asyncio.Lock()
        self._settled = False  # all workers were ready once
        self._exit_code = 0
        self._wake = asyncio.Event()  # something happened that the main task waits for
        self._signals = 0
        self._reloads: set[asyncio.Task[ReloadOutcome]] = set()  # by signal, so that they are not collected

    # -- the main task -------------------------------------------------------------------------------------------

    async def run(self, on_ready: Callable[[], None]) -> int:
        """Start the workers and keep them until SIGTERM or SIGINT; return the exit code.

        A worker that ends before all were ready once ends everything, with its exit code: its successors would too.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_on_signal)
        loop.add_signal_handler(signal.SIGHUP, self._reload_on_signal)
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        for slot in self.slots:
            self._start(slot)
        await self._until(lambda: self._settled or self.draining)
        if self._settled:
            on_ready()
        await self._until(lambda: self.draining)
        await self._end()
        return self._exit_code

    def stop(self) -> None:
        """Begin to stop; what is under way is finished, for the grace period at most."""
        self.draining = True
        self._wake.set()

    def _stop_on_signal(self) -> None:
        """Stop; at the second signal without waiting for what is under way."""
        self._signals += 1
        self.stop()

    async def _until(self, holds: Callable[[], bool], within_s: float | None = None) -> bool:
        """Wait until something is so; False when that takes longer than `within_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not holds():
                    self._wake.clear()
                    await self._wake.wait()
        return holds()

    # -- workers -------------------------------------------------------------------------------------------------

    def _start(self, slot: Slot) -> None:
        if self.draining or slot.process is not None:
            return
        try:
            pid, sock = fork(self._serve, slot.number, slot.listeners, self.config, self.generation)
        except OSError as error:
            slot.hasty += 1
            self._start_later(slot, f"worker {slot.number} cannot be started: {error.strerror or error}")
            return
        line = Line(lambda said: self._heard(slot, pid, said))
        hearing = asyncio.get_running_loop().create_task(line.run(sock))
        slot.process = Process(pid, line, hearing, time.monotonic())

    def _heard(self, slot: Slot, pid: int, said: str) -> None:
        process = slot.process
        if process is None or process.pid != pid:
            return
        if said == "ready":
            process.ready = True
            self._settled = self._settled or all(one.process and one.process.ready for one in self.slots)
        elif said == "leaving" and not self.draining:
            self._leaving[pid] = process
            self._replace(slot, process, "leaves")
        self._steer()
        self._wake.set()

    def _steer(self) -> None:
        if not self.draining:
            listening.steer(self._sockets, [slot.number for slot in self.slots if slot.process and slot.process.ready])

    def _reap(self) -> None:
        """Take leave of workers that ended."""
        for pid in list(self._leaving):
            if _ended(pid) is not None:
                del self._leaving[pid]
        for slot in self.slots:
            process = slot.process
            code = None if process is None else _ended(process.pid)
            if process is not None and code is not None:
                self._lost(slot, process, code)
        self._wake.set()

    def _lost(self, slot: Slot, process: Process, code: int) -> None:
        how = f"ended by exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"
        if self.draining:
            slot.process = None
            if self._settled and code not in (0, -signal.SIGTERM):
                self._exit_code = 1
                _say(f"worker {slot.number} (process {process.pid}) {how}")
        elif self._settled:
            self._replace(slot, process, how)
            self._steer()
        else:
            slot.process = None
            _say(f"worker {slot.number} (process {process.pid}) {how} before it served")
            self._exit_code = code if code > 0 else 1
            self.stop()

    def _replace(self, slot: Slot, process: Process, why: str) -> None:
        slot.process = None
        slot.restarts += 1
        slot.hasty = 0 if time.monotonic() - process.started >= STEADY_S else slot.hasty + 1
        self._start_later(slot, f"worker {slot.number} (process {process.pid}) {why}")

    def _start_later(self, slot: Slot, why: str) -> None:
        pause = pause_s(slot.hasty)
        _say(f"{why}; started again{f' in {pause:g} s' if pause else ''}")
        asyncio.get_running_loop().call_later(pause, self._start, slot)

    # -- the configuration ---------------------------------------------------------------------------------------

    async def reload(self) -> ReloadOutcome:
        """Read the configuration once, and tell the workers: the first one alone, so that it can still be refused."""
        async with self._reloading:
            try:
                config, text = read_again(self.config_file, self.config)
            except FileProblem as problem:
                return ReloadOutcome(self.generation, problem)
            told = {"name": self.config_file, "text": text, "generation": self.generation + 1}
            first = next((slot for slot in self.slots if slot.process is not None), None)
            if first is not None and (why := await self._tell(first, told)):
                return ReloadOutcome(self.generation, failed=(why,))
            self.config, self.generation = config, self.generation + 1  # of workers that start from now on
            others = [slot for slot in self.slots if slot.process is not None and slot is not first]
            answers = await asyncio.gather(*(self._tell(slot, told) for slot in others))
            return ReloadOutcome(self.generation, failed=tuple(why for why in answers if why))

    async def _tell(self, slot: Slot, told: dict[str, Any]) -> str:
        """Have one worker take a configuration; return why it did not, or nothing."""
        try:
            await self.ask(slot, "reload", told, _RELOAD_TIMEOUT_S)
        except AskError as error:
            return f"worker {slot.number}: {error}"
        return ""

    async def ask(self, slot: Slot, what: str, argument: Any = None, timeout_s: float = 2.0) -> Any:
        """Return a worker's answer. Raises AskError when there is none."""
        if slot.process is None:
            raise AskError("it is not there")
        return await slot.process.line.ask(what, argument, timeout_s)

    def _reload_on_signal(self) -> None:
        task = asyncio.get_running_loop().create_task(self.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloaded)

    def _reloaded(self, task: asyncio.Task[ReloadOutcome]) -> None:
        self._reloads.discard(task)
        if not task.cancelled():
            _say(_told(task.result()))

    # -- the end -------------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """Let nothing new in, wait until nothing waits in a queue, drain the workers, and end those that do not."""
        if self._settled:
            every = [listener for own in self._sockets for listener in own]
            await listening.refuse_new_and_empty(every, lambda: self._signals > 1)
        for process in self._processes():
            _send(process.pid, signal.SIGTERM)
        patience_s = self.config.grace_s + _KILL_AFTER_GRACE_S
        await self._until(lambda: not self._processes() or self._signals > 1, patience_s)
        for process in self._processes():
            _say(f"process {process.pid} does not end and is killed")
            _send(process.pid, signal.SIGKILL)
        await self._until(lambda: not self._processes())

    def _processes(self) -> list[Process]:
        return [*(slot.process for slot in self.slots if slot.process is not None), *self._leaving.values()]


def _told(outcome: ReloadOutcome) -> str:
    if outcome.problem is not None:
        return f"the configuration is refused, nothing has changed: {outcome.problem}"
    if outcome.failed:
        return f"not every worker took the configuration: {'; '.join(outcome.failed)}"
    return f"generation {outcome.generation} of the configuration is in force"


def _ended(pid: int) -> int | None:
    """Return the exit code of a child (negative: by that signal), or None while it runs."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 1
    return os.waitstatus_to_exitcode(status) if done else None


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _say(what: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more, which is no reason to stop serving
        print(what, file=sys.stderr, flush=True)
