"""python -m harness.engines.locust_worker --master HOST:PORT: one Locust worker, with exactly one user: a dispatcher.

It joins a crew's master, takes one share of a job after the other and reports each. Exit codes: 0 after the master sent
it away or went away, whatever requests failed; 1 when there is no master or it does not want us; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import logging
import os
import resource
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any, ClassVar

import gevent
from gevent.event import AsyncResult
from gevent.queue import Empty, Queue
from locust import FastHttpUser, constant, task
from locust.env import Environment
from locust.exception import RPCError
from locust.rpc import Message
from locust.runners import WorkerRunner
from locust.user.task import LOCUST_STATE_STOPPING

from harness.engines import locust_process as wire
from harness.engines.locust_client import Clients
from harness.engines.locust_load import Load
from harness.engines.shares import PROTOCOL, Share

_POLL_S = 0.2
_LINGER_MS = 1000  # for messages that a thread of the message library still has to send
_INTERRUPTED = 130
_CANNOT_JOIN = 1


class Dispatcher(FastHttpUser):
    """The one user of a worker: its task is to carry out the next share. Requests are greenlets of their own."""

    host = "http://127.0.0.1"  # every request says itself where it goes
    client_pool = Clients()
    wait_time = constant(0)
    stationed: ClassVar[AsyncResult] = AsyncResult()

    def on_start(self) -> None:
        """Tell the master that this worker has its user."""
        self.station: Station = self.stationed.get()
        self.station.say_hello()

    @task
    def next_share(self) -> None:
        """Carry out a share if there is one; look up now and then, to notice that it is time to leave."""
        with contextlib.suppress(Empty):
            self.station.carry_out(self.station.shares.get(timeout=_POLL_S), self)

    @property
    def leaving(self) -> bool:
        """Whether Locust has asked this user to stop."""
        return bool(self._state == LOCUST_STATE_STOPPING)


class Station:
    """What the worker's messages come to."""

    def __init__(self, runner: WorkerRunner, number: int, ended: AsyncResult) -> None:
        self.runner = runner
        self.number = number  # 0: the master gives one
        self.ended = ended
        self.shares: Queue = Queue()
        self.parts = wire.Parts()
        self.sendings = itertools.count(1)
        self.load: Load | None = None
        self.last_halted = 0
        for name, listener in (
            (wire.SHARE, self.on_share),
            (wire.PING, self.on_ping),
            (wire.HALT, self.on_halt),
            (wire.REFUSED, self.on_refused),
        ):
            runner.register_message(name, listener)

    def arrive(self) -> None:
        """Say who this is. The master refuses it, or gives it its user."""
        who = {"number": self.number, "pid": os.getpid(), "host": socket.gethostname(), "protocol": PROTOCOL}
        self.runner.send_message(wire.ARRIVED, who)

    def say_hello(self) -> None:
        """Say that there is a user: every user does, so that the master can count them."""
        self.runner.send_message(wire.HELLO)

    def on_share(self, msg: Message, **_: Any) -> None:
        """Take a piece of a share."""
        packed = self.parts.add(msg.data)
        if packed is not None:
            self.shares.put(Share.unpack(packed))

    def on_ping(self, msg: Message, **_: Any) -> None:
        """Answer with the time that it is here."""
        self.runner.send_message(wire.PONG, {**msg.data, "answered_ns": time.monotonic_ns()})

    def on_halt(self, msg: Message, **_: Any) -> None:
        """Stop sending for this job, whether it has begun or not."""
        self.last_halted = msg.data["job"]
        if self.load is not None and self.load.share.job <= self.last_halted:
            self.load.halt()

    def on_refused(self, msg: Message, **_: Any) -> None:
        """The master does not want this worker."""
        print(f"archbench: {msg.data['why']}", file=sys.stderr)
        self.ended.set(_CANNOT_JOIN)

    def carry_out(self, share: Share, user: Dispatcher) -> None:
        """Carry a share out and report; what goes wrong goes to the master in words."""
        self.load = Load(share, user.environment.events.request.fire, lambda: user.leaving)
        if share.job <= self.last_halted:
            self.load.halt()
        try:
            report = self.load.run((lambda counts: self._tell(share, counts)) if share.tell else None)
            self._send(wire.REPORT, report.pack())
        except Exception:  # noqa: BLE001 - the last frame of a job: whatever it was, the master has to know
            self._send(wire.FAILED, {"job": share.job, "place": share.place, "why": traceback.format_exc()})
        finally:
            self.load = None

    def _tell(self, share: Share, counts: Mapping[str, int]) -> None:
        self.runner.send_message(wire.TOLD, {"job": share.job, "place": share.place, "counts": dict(counts)})

    def _send(self, name: str, content: Mapping[str, Any]) -> None:
        for part in wire.parts_of(next(self.sendings), content):
            self.runner.send_message(name, part)


def main(arguments: list[str]) -> int:
    """Work until the master sends us away; return the exit code."""
    chosen = _parse(arguments)
    if chosen.parent:
        wire.die_with(chosen.parent)
    logging.basicConfig(level=logging.INFO if chosen.parent else logging.WARNING, format="%(asctime)s %(message)s")
    wire.tune_locust()
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))  # a connection for every request in flight
    ended = AsyncResult()
    gevent.signal_handler(signal.SIGINT, ended.set, _INTERRUPTED)
    gevent.signal_handler(signal.SIGTERM, ended.set, _INTERRUPTED)
    host, _, port = chosen.master.rpartition(":")
    environment = Environment(user_classes=[Dispatcher], stop_timeout=wire.STOP_TIMEOUT_S)
    gevent.spawn(_work, environment, host, int(port), chosen.number, ended)
    code = int(ended.get())
    if isinstance(environment.runner, WorkerRunner):
        _leave(environment.runner, uncalled=code != 0)
    return code


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="archbench worker", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--master", required=True, metavar="HOST:PORT")
    parser.add_argument("--number", type=int, default=0, help="which worker of its crew this is; 0: one from elsewhere")
    parser.add_argument("--parent", type=int, default=0, help="the process to die with")
    return parser.parse_args(arguments)


def _work(environment: Environment, host: str, port: int, number: int, ended: AsyncResult) -> None:
    """Join the master, and say when it is over."""
    try:
        runner = environment.create_worker_runner(host, port)
    except (ConnectionError, RPCError):
        print(f"archbench: no master answers at {host}:{port}", file=sys.stderr)
        ended.set(_CANNOT_JOIN)
        return
    station = Station(runner, number, ended)
    Dispatcher.stationed.set(station)
    gc.collect()
    gc.freeze()  # Locust and Flask need not be looked through again while requests run
    station.arrive()
    runner.greenlet.join()
    ended.set(0)


def _leave(runner: WorkerRunner, *, uncalled: bool) -> None:
    """Send what is still to be sent. Leaving uncalled, let the master know: else only heartbeats that miss tell it."""
    with contextlib.suppress(RPCError):
        if uncalled:
            runner.client.send(Message("quit", None, runner.client_id))  # type: ignore[no-untyped-call]
    context = runner.client.socket.context
    runner.client.close(linger=_LINGER_MS)  # type: ignore[no-untyped-call]
    context.term()


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # greenlets that are still about have nothing to say any more
