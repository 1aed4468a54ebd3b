"""python -m harness.engines.locust_master PLAN: Locust's master, which lives as long as its crew.

Starts the local workers, waits for the others, gives every worker one dispatcher user, and then reads commands, one
JSON object a line, from standard input: {"job": number, "path": pickled Job, "result": where the LoadResult goes}. What
goes wrong with a job is a sentence in a file beside the result (`.problem`). When standard input ends, so does the
crew. How it stands is in the plan's `state` file (see locust_crew). Every file appears whole or not at all.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gevent
import gevent.os
from gevent import subprocess
from gevent.event import Event
from locust.env import Environment
from locust.exception import RPCError
from locust.rpc import Message
from locust.runners import STATE_MISSING, MasterRunner
from locust.stats import sort_stats

from harness.cpu import pin
from harness.engines import locust_process as wire
from harness.engines.clockoffset import Exchange
from harness.engines.job import Job, LoadResult
from harness.engines.locust_carried import Carried
from harness.engines.locust_members import FIRST_PINGS, Member, OneEach
from harness.engines.locust_worker import Dispatcher
from harness.engines.shares import PROTOCOL, Report
from harness.errors import HarnessError

_LOG = logging.getLogger("archbench")
_MOST_RESTARTS = 8  # of local workers, over the life of a crew
_RESTART_PATIENCE_S = 30.0
_LOOK_S = 0.25  # for workers on other machines, whose end only missing heartbeats show
_PING_EVERY_S = 0.25  # between jobs
_END_PATIENCE_S = wire.STOP_TIMEOUT_S + 5


class Master:
    """The crew's master. `plan` is what locust_crew wrote."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.plan = plan
        self.folder = Path(plan["folder"])
        locals_, others = int(plan["workers"]), int(plan["await_workers"])
        of = locals_ + others
        self.members = [Member(number, of, number <= locals_) for number in range(1, of + 1)]
        self.environment = Environment(
            user_classes=[Dispatcher], stop_timeout=wire.STOP_TIMEOUT_S, dispatcher_class=OneEach
        )
        self.runner = self._listen()
        self.port = int(self.runner.server.port)
        self.changed = Event()
        self.carried: Carried | None = None
        self.working: gevent.Greenlet | None = None
        self.restarts_left = _MOST_RESTARTS
        self.ending = False
        self.exit_codes: dict[str, int] = {}
        self.sendings = 0
        self.parts: dict[str, wire.Parts] = {}
        self.problem = ""
        for name, listener in (
            (wire.ARRIVED, self._on_arrived),
            (wire.HELLO, self._on_hello),
            (wire.PONG, self._on_pong),
            (wire.TOLD, self._on_told),
            (wire.REPORT, self._on_report),
            (wire.FAILED, self._on_failed),
        ):
            self.runner.register_message(name, listener)

    def _listen(self) -> MasterRunner:
        host, port = self.plan["listen"]
        try:
            return self.environment.create_master_runner(host, port)
        except (RPCError, SystemExit, OSError) as taken:
            raise HarnessError(f"Locust's master cannot listen on {host}:{port}: {taken}") from taken

    # -- the crew ----------------------------------------------------------------------------------------------

    def assemble(self) -> None:
        """Start the local workers and wait for all. Raises HarnessError naming how many came."""
        self._write_state()
        for member in self.members:
            if member.local:
                self._start(member)
        patience = self.plan["patience_s" if not self.plan["await_workers"] else "await_patience_s"]
        if not self._await(self._complete, float(patience)):
            raise HarnessError(self._who_is_missing(float(patience)))
        self._write_state()
        gevent.spawn(self._keep_clocks)

    def _complete(self) -> bool:
        return all(member.ready for member in self.members)

    def _who_is_missing(self, patience_s: float) -> str:
        there = sum(bool(member.client) for member in self.members)
        said = f"{there} of {len(self.members)} load workers came within {patience_s:g} s"
        if all(member.client for member in self.members if member.local):
            host, _ = self.plan["listen"]
            return f"{said}; start the others with: archbench worker --master {host}:{self.port}"
        return said

    def _await(self, condition: Any, patience_s: float) -> bool:
        """Wait until something has become true; a problem ends the wait with a HarnessError."""
        deadline = time.monotonic() + patience_s
        while not condition():
            if self.problem:
                raise HarnessError(self.problem)
            if time.monotonic() > deadline:
                return False
            self.changed.wait(timeout=0.1)
            self.changed.clear()
        return True

    def _start(self, member: Member) -> None:
        host, _ = self.plan["listen"]
        command = [sys.executable, "-m", "harness.engines.locust_worker", "--master", f"{host}:{self.port}"]
        command += ["--number", str(member.number), "--parent", str(os.getpid())]
        log = self.folder / f"worker-{member.number}.log"
        with log.open("ab") as out:
            member.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        member.pid, member.host, member.client, member.users = member.process.pid, socket.gethostname(), "", 0
        gevent.spawn(self._watch, member, member.process)

    def _watch(self, member: Member, process: subprocess.Popen[bytes]) -> None:
        """Wait for a local worker's end, which is a loss unless the crew itself ends."""
        code = int(process.wait())
        self.exit_codes[f"worker {member.number}"] = code
        if self.ending:
            return
        _LOG.error("%s ended with code %d", member.name, code)
        started = bool(member.client)
        self._lose(member)
        if not started:
            self.problem = f"{member.name} ended with code {code} before it was ready:\n{self._last_words(member)}"
            self.changed.set()
            return
        if self.restarts_left == 0:
            self.problem = f"{member.name} ended with code {code}, and was started again {_MOST_RESTARTS} times before"
            self.changed.set()
            return
        self.restarts_left -= 1
        member.lost = False
        self._start(member)
        self._write_state()

    def _last_words(self, member: Member) -> str:
        return (self.folder / f"worker-{member.number}.log").read_text(encoding="utf-8", errors="replace")[-2000:]

    def _lose(self, member: Member) -> None:
        if self.carried is not None:
            self.carried.lose(member)
        node = self.runner.clients.pop(member.client, None)
        if node is not None and self.runner._users_dispatcher is not None:  # noqa: SLF001 - as the runner itself does
            self.runner._users_dispatcher.remove_worker(node)  # noqa: SLF001
        member.client, member.lost = "", True
        self._write_state()
        self.changed.set()

    def _look_for_others(self) -> None:
        """Notice workers on other machines that have gone: they said so, or their heartbeats stay away."""
        for member in self.members:
            if member.client and not member.local and not member.lost:
                node = self.runner.clients.get(member.client)
                if node is None or node.state == STATE_MISSING:
                    _LOG.error("%s has gone", member.name)
                    self.problem = f"{member.name} has gone; the crew cannot go on without it"
                    self._lose(member)

    def _write_state(self) -> None:
        now = time.monotonic_ns()
        state = {
            "port": self.port,
            "whole": self._complete(),
            "problem": self.problem,
            "members": [member.describe(now) for member in self.members],
        }
        write_whole(Path(self.plan["state"]), json.dumps(state).encode())

    # -- messages ----------------------------------------------------------------------------------------------

    def _on_arrived(self, msg: Message, **_: Any) -> None:
        """A worker has connected: give it a place. Once all places are taken, everybody gets a user."""
        who = msg.data
        member = self._place_for(who["number"])
        if who["protocol"] != PROTOCOL:
            self._refuse(msg.node_id, f"master and worker are of different versions ({PROTOCOL}, {who['protocol']})")
        elif member is None:
            self._refuse(msg.node_id, f"the crew is complete with {len(self.members)} workers")
        else:
            member.client, member.pid, member.host = msg.node_id, who["pid"], who["host"]
            self.parts[msg.node_id] = wire.Parts()
            self._ping(member)
            if all(member.client for member in self.members):
                gevent.spawn(self.runner.start, len(self.members), len(self.members))

    def _on_hello(self, msg: Message, **_: Any) -> None:
        """A user has started."""
        for member in self.members:
            if member.client == msg.node_id:
                member.users += 1
                if member.users > 1:
                    self.problem = f"{member.name} has {member.users} Locust users; it must have exactly one"
        if self._complete():
            self._write_state()  # a worker that was lost has been replaced
        self.changed.set()

    def _place_for(self, number: int) -> Member | None:
        """Return the member that this is: the one with the number, or, from elsewhere, any that is still to come."""
        fitting = (one for one in self.members if (one.number == number if number else not one.local))
        return next((one for one in fitting if not one.client and not one.lost), None)

    def _refuse(self, client_id: str, why: str) -> None:
        _LOG.warning("refused %s: %s", client_id, why)
        self.runner.send_message(wire.REFUSED, {"why": why}, client_id)

    def _ping(self, member: Member) -> None:
        if not member.local:
            self.runner.send_message(wire.PING, {"sent_ns": time.monotonic_ns()}, member.client)

    def _on_pong(self, msg: Message, **_: Any) -> None:
        received = time.monotonic_ns()
        for member in self.members:
            if member.client == msg.node_id:
                member.clock.add(Exchange(msg.data["sent_ns"], msg.data["answered_ns"], received))
                if len(member.clock.exchanges) < FIRST_PINGS:
                    self._ping(member)
                self.changed.set()

    def _keep_clocks(self) -> None:
        """Compare clocks between jobs; during one, nothing that is not needed is sent."""
        while not self.ending:
            gevent.sleep(_PING_EVERY_S)
            if self.carried is None:
                self._look_for_others()
                for member in self.members:
                    if member.ready:
                        self._ping(member)

    def _on_told(self, msg: Message, **_: Any) -> None:
        if self.carried is not None and self.carried.number == msg.data["job"]:
            self.carried.told[msg.data["place"]] = msg.data["counts"]

    def _on_report(self, msg: Message, **_: Any) -> None:
        packed = self.parts[msg.node_id].add(msg.data) if msg.node_id in self.parts else None
        if packed is not None and self.carried is not None and self.carried.number == packed["job"]:
            self.carried.take(Report.unpack(packed))
            self.changed.set()

    def _on_failed(self, msg: Message, **_: Any) -> None:
        packed = self.parts[msg.node_id].add(msg.data) if msg.node_id in self.parts else None
        if packed is not None and self.carried is not None and self.carried.number == packed["job"]:
            self.carried.problem = f"load worker {packed['place'] + 1} failed:\n{packed['why']}"
            self.changed.set()

    def send(self, member: Member, name: str, content: Mapping[str, Any]) -> None:
        """Send content of any size to a worker."""
        self.sendings += 1
        for part in wire.parts_of(self.sendings, content):
            self.runner.send_message(name, part, member.client)

    # -- jobs --------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Carry out one command after the other until standard input ends. A new job ends the one before."""
        for command in _commands():
            self._halt()
            if self.working is not None:
                self.working.kill()
            self.working = gevent.spawn(self._answer, command)

    def _halt(self) -> None:
        if self.carried is not None:
            self.carried.halt()

    def _answer(self, command: Mapping[str, Any]) -> None:
        result = Path(command["result"])
        try:
            job: Job = pickle.loads(Path(command["path"]).read_bytes())  # noqa: S301 - written by our own harness
            found = self._carry_out(int(command["job"]), job)
        except Exception as problem:  # noqa: BLE001 - the last frame of a job: whatever it was, the harness has to know
            self._halt()
            said = str(problem) if isinstance(problem, HarnessError) else traceback.format_exc()
            write_whole(result.with_suffix(".problem"), said.encode())
        else:
            write_whole(result, pickle.dumps(found, protocol=pickle.HIGHEST_PROTOCOL))
        finally:
            self.carried = None

    def _carry_out(self, number: int, job: Job) -> LoadResult:
        self._look_for_others()
        if not self._await(self._complete, _RESTART_PATIENCE_S):
            raise HarnessError(f"a load worker that was lost did not come back within {_RESTART_PATIENCE_S:g} s")
        self.carried = carried = Carried(self.runner, self.send, self.changed, self.members, number, job)
        carried.begin()
        while not carried.over:
            self.changed.wait(timeout=_LOOK_S)
            self.changed.clear()
            self._look_for_others()
        return carried.end()

    # -- the end -----------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Send the workers away, wait until they have finished what they were doing, and say how they ended."""
        self.ending = True
        if self.working is not None:
            self.working.kill()
        self.runner.send_message("quit")  # Locust's own; runner.quit() would stop listening before they have answered
        deadline = time.monotonic() + _END_PATIENCE_S
        for member in self.members:
            if member.process is not None:
                _wait_or_kill(member.process, deadline)
                self.exit_codes[f"worker {member.number}"] = int(member.process.returncode)
        ended = {"exit_codes": self.exit_codes, "locust": locust_statistics(self.environment)}
        write_whole(self.folder / "ended.json", json.dumps(ended).encode())

    def kill(self) -> None:
        """End the local workers at once, and this process with them."""
        self.ending = True
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                member.process.kill()
                member.process.wait()
        os._exit(1)


def locust_statistics(environment: Environment) -> list[dict[str, Any]]:
    """Return Locust's own statistics, a row for each name; response times in ms."""
    return [
        {
            "name": entry.name,
            "requests": entry.num_requests,
            "failures": entry.num_failures,
            "median_ms": entry.median_response_time,
            "response_times": list(entry.response_times.items()),
        }
        for entry in sort_stats(environment.stats.entries)
    ]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def _wait_or_kill(process: subprocess.Popen[bytes], deadline: float) -> None:
    try:
        process.wait(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _commands() -> Iterator[dict[str, Any]]:
    gevent.os.make_nonblocking(0)
    waiting = b""
    while data := gevent.os.nb_read(0, 65_536):
        *lines, waiting = (waiting + data).split(b"\n")
        yield from map(json.loads, lines)


def main(arguments: list[str]) -> int:
    """Be the master of one crew; return the exit code."""
    plan = json.loads(Path(arguments[0]).read_bytes())
    wire.die_with(plan["parent"])
    pin(plan["cores"])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    wire.tune_locust()
    try:
        master = Master(plan)
        gevent.signal_handler(signal.SIGTERM, master.kill)
        master.assemble()
    except HarnessError as problem:
        write_whole(Path(plan["state"]), json.dumps({"problem": str(problem)}).encode())
        return 1
    master.serve()
    master.end()
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
