"""The admin application's view of a gateway with several workers: each is asked, and the answers are merged."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from gateway_proxy.config import GatewayConfig
from gateway_proxy.controls import BreakerStatus, PoolStatus, ReloadOutcome, Status, WorkerStatus
from gateway_proxy.workers import merging
from gateway_proxy.workers.channel import AskError
from gateway_proxy.workers.supervisor import Slot, Supervisor

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class WorkersControls:
    """`Controls` over a supervisor.

    Workers are asked for `status` ({"connections", "generation"}), `pools`, `breakers` (both as in Controls) and
    `metrics` (text). One that gives no answer is left out, and silent in the status.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._started = time.monotonic()

    def config(self) -> GatewayConfig:
        """Return the configuration in force."""
        return self._supervisor.config

    async def status(self) -> Status:
        """Return the gateway at a glance, with a line for each worker."""
        supervisor = self._supervisor
        workers = await asyncio.gather(*(self._worker(slot) for slot in supervisor.slots))
        return {
            "version": version("archbench"),
            "pid": os.getpid(),
            "uptime_s": time.monotonic() - self._started,
            "config_file": supervisor.config_file,
            "generation": supervisor.generation,
            "connections": sum(worker["connections"] for worker in workers),
            "draining": supervisor.draining,
            "workers": list(workers),
        }

    async def pools(self) -> Mapping[str, PoolStatus]:
        """Return every upstream, summed over the workers."""
        return merging.pools(list((await self._all("pools")).values()))

    async def breakers(self) -> Mapping[str, BreakerStatus]:
        """Return every breaker, in the worst state that any worker has it in."""
        return merging.breakers(list((await self._all("breakers")).values()))

    async def metrics(self) -> tuple[bytes, str]:
        """Return the workers' metrics as one text."""
        return merging.metrics(await self._all("metrics")).encode(), METRICS_TYPE

    async def reload(self) -> ReloadOutcome:
        """Have every worker take the configuration."""
        return await self._supervisor.reload()

    async def drain(self) -> None:
        """Begin to stop."""
        self._supervisor.stop()

    async def _worker(self, slot: Slot) -> WorkerStatus:
        silent = False
        try:
            slot.last = await self._supervisor.ask(slot, "status")
        except AskError:
            silent = True
        process = slot.process
        return {
            "number": slot.number,
            "pid": process.pid if process else None,
            "uptime_s": time.monotonic() - process.started if process else 0.0,
            "generation": slot.last.get("generation", 0),
            "connections": slot.last.get("connections", 0) if process else 0,
            "silent": silent,
            "restarts": slot.restarts,
        }

    async def _all(self, what: str) -> dict[int, Any]:
        """Return the answers of those that answered, by the worker's number."""
        slots = self._supervisor.slots
        answers = await asyncio.gather(*(self._supervisor.ask(slot, what) for slot in slots), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, AskError):
                raise answer
        return {
            slot.number: answer
            for slot, answer in zip(slots, answers, strict=True)
            if not isinstance(answer, BaseException)
        }
