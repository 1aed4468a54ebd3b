"""The workers of a Locust crew, as its master keeps them, and how many users each is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gevent import subprocess
from locust.dispatch import UsersDispatcher
from locust.runners import WorkerNode

from harness.engines.clockoffset import ClockOffset

FIRST_PINGS = 16  # before the clock of a worker elsewhere counts as known


class OneEach(UsersDispatcher):
    """Gives every worker exactly one user, whoever comes and goes.

    Locust's own spreads a total over the workers and moves users about when their number changes (and `fixed_count` is
    a number for all workers together). It is only asked when the master wants it: `dispatch_in_progress` holds Locust
    off from dispatching by itself.
    """

    def __init__(self, worker_nodes: list[WorkerNode], user_classes: list[Any]) -> None:
        super().__init__(worker_nodes, user_classes)
        self.nodes = {node.id: node for node in worker_nodes}
        self.names = [user_class.__name__ for user_class in user_classes]
        self.given = False

    @property
    def dispatch_in_progress(self) -> bool:
        """Always."""
        return True

    def new_dispatch(self, *_: Any, **__: Any) -> None:
        """Begin again."""
        self.given = False

    def add_worker(self, worker_node: WorkerNode) -> None:
        """A worker has come."""
        self.nodes[worker_node.id] = worker_node

    def remove_worker(self, worker_node: WorkerNode) -> None:
        """A worker has gone."""
        self.nodes.pop(worker_node.id, None)

    def __next__(self) -> dict[str, dict[str, int]]:
        """Return how many users each worker is to have, once."""
        if self.given:
            raise StopIteration
        self.given = True
        return {node: dict.fromkeys(self.names, 1) for node in self.nodes}


@dataclass
class Member:
    """A worker of the crew. `client` is its id on the channel, empty until it has arrived."""

    number: int
    of: int
    local: bool
    client: str = ""
    pid: int = 0
    host: str = ""
    process: subprocess.Popen[bytes] | None = None
    users: int = 0
    clock: ClockOffset = field(default_factory=ClockOffset)
    lost: bool = False

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        return f"worker {self.number} of {self.of} ({self.host}, pid {self.pid})"

    @property
    def ready(self) -> bool:
        """Whether it can be given work: it has exactly one user, and its clock is known."""
        clock_known = self.local or len(self.clock.exchanges) >= FIRST_PINGS
        return bool(self.client) and not self.lost and self.users == 1 and clock_known

    def offset_ns(self, now_ns: int) -> int:
        """Return its monotonic clock less ours; processes of one machine share it."""
        return 0 if self.local else self.clock.best(now_ns)[0]

    def describe(self, now_ns: int) -> dict[str, Any]:
        """Return plain data for the record."""
        known = {"number": self.number, "name": self.name, "pid": self.pid, "host": self.host, "local": self.local}
        if self.local or not self.clock.exchanges:
            return known
        offset_ns, error_ns = self.clock.best(now_ns)
        return {**known, "clock_offset_ns": offset_ns, "clock_error_ns": error_ns}
