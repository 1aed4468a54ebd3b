"""What the admin application sees of a gateway, whether that is one process or a supervisor with workers.

Everything is plain values, ready for JSON. Nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypedDict

from gateway_proxy.config import GatewayConfig
from scenarios.files import FileProblem


class WorkerStatus(TypedDict):
    """One process that serves; `pid` is null while there is none.

    A worker that did not answer is silent, and its other figures are the last known.
    """

    number: int
    pid: int | None
    uptime_s: float
    generation: int
    connections: int
    silent: bool
    restarts: int


class Status(TypedDict):
    """The gateway at a glance. `generation` counts configurations in force, from 1; `connections` are clients'."""

    version: str
    pid: int
    uptime_s: float
    config_file: str
    generation: int
    connections: int
    draining: bool
    workers: list[WorkerStatus]


class TargetStatus(TypedDict):
    """One target: requests in flight, idle and open connections, and why it gets no requests."""

    address: str
    weight: int
    active: int
    idle: int
    opened: int
    held_out: list[str]


class PoolStatus(TypedDict):
    """One upstream."""

    balance: str
    targets: list[TargetStatus]


class BreakerStatus(TypedDict):
    """One breaker; with workers, the worst of their states (open, half_open, closed) and sums."""

    state: str
    failures_in_a_row: int
    opened: int
    refused: int


class ReloadOutcome(NamedTuple):
    """What became of a reload.

    `generation` is the one in force now. `problem` says why the file was refused, and then nothing has changed.
    `failed` has a sentence for each worker that could not take it.
    """

    generation: int
    problem: FileProblem | None = None
    failed: Sequence[str] = ()


class Controls(Protocol):
    """One gateway. Pools and breakers are by the upstream's name; breakers only of upstreams that have one."""

    def config(self) -> GatewayConfig:
        """Return the configuration in force, with its secrets: the admin application redacts it."""

    async def status(self) -> Status:
        """Return the gateway at a glance."""

    async def pools(self) -> Mapping[str, PoolStatus]:
        """Return every upstream's targets; with workers, sums over them."""

    async def breakers(self) -> Mapping[str, BreakerStatus]:
        """Return every circuit breaker."""

    async def metrics(self) -> tuple[bytes, str]:
        """Return the metrics as text, and its media type; empty when metrics are off."""

    async def reload(self) -> ReloadOutcome:
        """Read the configuration again, and put it in force."""

    async def drain(self) -> None:
        """Begin to stop as after SIGTERM: accept nothing new, finish what is under way. Returns at once."""
