"""Several workers behind one port: `supervise` forks them and stays with them.

    supervisor (sockets, admin port, configuration)
      ├── worker 0    a socket of the port's group, a channel to the supervisor
      └── worker 1    ...

Pools, breakers, limits and health are each worker's own. The kernel spreads connections, not requests: with few
connections that last long, workers are loaded unevenly (docs/gateway-upstreams.md).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from gateway_proxy import listening
from gateway_proxy.config import GatewayConfig
from gateway_proxy.workers.channel import AskError, Channel, Handler
from gateway_proxy.workers.process import Serve
from gateway_proxy.workers.supervisor import Supervisor

__all__ = ["AskError", "Channel", "Handler", "Serve", "supervise"]

_BACKLOG = 4096
_ADMIN_BACKLOG = 64


def supervise(
    config: GatewayConfig, config_file: str, serve: Serve, on_ready: Callable[[], None] = lambda: None
) -> int:
    """Run `config.workers` processes of `serve` until SIGTERM or SIGINT; return the exit code.

    SIGHUP reads `config_file` again. `on_ready` is called once every worker is ready. Raises OSError when the port, or
    the admin port, cannot be listened on.
    """
    sockets = listening.listen_shared(config.listen.host, config.listen.port, config.workers, _BACKLOG)
    admin: list[socket.socket] = []
    try:
        if config.admin is not None:
            admin = listening.listen(config.admin.host, config.admin.port, _ADMIN_BACKLOG)
        with asyncio.Runner() as runner:
            return runner.run(_run(config, config_file, serve, sockets, admin, on_ready))
    finally:
        listening.close([*sockets, admin])


async def _run(
    config: GatewayConfig,
    config_file: str,
    serve: Serve,
    sockets: list[list[socket.socket]],
    admin: list[socket.socket],
    on_ready: Callable[[], None],
) -> int:
    supervisor = Supervisor(config, config_file, serve, sockets)
    running = asyncio.ensure_future(supervisor.run(on_ready))
    if not admin:
        return await running
    await asyncio.sleep(0)  # the workers are forked before what only the admin port needs is imported
    from gateway_proxy.admin import AdminServer  # noqa: PLC0415 - heavy, and most gateways have no admin port
    from gateway_proxy.workers.controls import WorkersControls  # noqa: PLC0415

    server = AdminServer(WorkersControls(supervisor), admin)
    server.start()
    try:
        return await running
    finally:
        await server.stop()
