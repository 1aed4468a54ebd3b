"""Dials the targets of a pool for one request: the only place where a task exists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway_proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from gateway_proxy.pool import Pool, Target
    from gateway_proxy.state import Gateway

Connected = Callable[[UpstreamConnection], None]
Failed = Callable[[int, str], None]


class Dial:
    """One attempt to get a connection: the first target, then the others, until one accepts.

    Nothing was sent yet, so that asking another target repeats nothing.
    """

    __slots__ = ("_connected", "_failed", "_gateway", "_pool", "_task", "_timeout_s")

    def __init__(
        self, gateway: Gateway, pool: Pool, first: Target, timeout_s: float, connected: Connected, failed: Failed
    ) -> None:
        self._gateway = gateway
        self._pool = pool
        self._timeout_s = timeout_s
        self._connected = connected
        self._failed = failed
        self._task: asyncio.Task[None] | None = gateway.loop.create_task(self._dial(first))
        gateway.dials.add(self._task)
        self._task.add_done_callback(gateway.dials.discard)

    def cancel(self) -> None:
        """Give up; neither callback is called any more.

        The task keeps its CancelledError, whose frames keep this: letting go of the task leaves no cycle behind.
        """
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _dial(self, first: Target) -> None:
        status, why = 503, "all connections to the upstream are in use"
        for target in self._pool.candidates(first):
            try:
                connection = await self._connect(target)
            except TimeoutError:
                status, why = 504, "the upstream did not accept the connection in time"
            except OSError as error:
                status, why = 502, f"the upstream cannot be reached: {error.strerror or error}"
            else:
                self._connected(connection)
                return
            self._pool.seen(target, 0, self._gateway.now)
        self._failed(status, why)

    async def _connect(self, target: Target) -> UpstreamConnection:
        gateway, pool = self._gateway, self._pool
        connection = UpstreamConnection(gateway, pool, target)
        target.dialling += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                await gateway.loop.create_connection(lambda: connection, target.host, target.port)
        except BaseException:
            connection.forget()  # uvloop closes what it had just made without calling connection_lost
            raise
        finally:
            target.dialling -= 1
        return connection
