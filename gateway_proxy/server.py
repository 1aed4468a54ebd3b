"""Runs a gateway: listens, forwards until it is told to stop, and then lets requests in flight finish."""

import asyncio
import gc
import resource
import signal
from collections.abc import Callable

import uvloop

from gateway_proxy.client import ClientConnection
from gateway_proxy.config import GatewayConfig
from gateway_proxy.state import Gateway

_BACKLOG = 4096
_GC_THRESHOLD = 100_000


class ListenError(Exception):
    """The gateway cannot listen where it was told to; the message says why, and who is there if that can be told."""


def serve(config: GatewayConfig, on_ready: Callable[[], None] | None = None) -> None:
    """Run the gateway in this process until SIGTERM or SIGINT; `on_ready` is called once it listens.

    Raises ListenError when the address cannot be used. Requests in flight at the signal are finished, for at most
    `config.grace_s` seconds.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, on_ready))


async def _serve(config: GatewayConfig, on_ready: Callable[[], None] | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _allow_many_files()
    gateway = Gateway(config, loop)
    server = await _listen(gateway)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 50, 50)
    if on_ready is not None:
        on_ready()
    await stop.wait()
    server.close()
    await gateway.drain()


def _allow_many_files() -> None:
    """Use as many file descriptors as the machine lets us: each request in flight takes two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _listen(gateway: Gateway) -> asyncio.Server:
    listen = gateway.config.listen
    try:
        return await gateway.loop.create_server(
            lambda: ClientConnection(gateway),
            listen.host,
            listen.port,
            backlog=_BACKLOG,
            reuse_address=True,
        )
    except OSError as error:
        reason = error.strerror or str(error)
        raise ListenError(f"cannot listen on {listen.host}:{listen.port}: {reason}{_holder(listen.port)}") from None


def _holder(port: int) -> str:
    """Say which process listens on `port`, as far as we may know."""
    import psutil  # noqa: PLC0415 - needed only on the way out

    try:
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
            if listens and connection.pid:
                return f" (held by {psutil.Process(connection.pid).name()}, process {connection.pid})"
    except (OSError, psutil.Error):
        return ""
    return ""
