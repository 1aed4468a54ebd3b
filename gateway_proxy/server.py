"""Runs a gateway: listens, forwards until it is told to stop, and then lets requests in flight finish."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import resource
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

import uvloop

from gateway_proxy import listening
from gateway_proxy.client import ClientConnection
from gateway_proxy.config import GatewayConfig
from gateway_proxy.local import LocalControls, load_certificate, told
from gateway_proxy.state import Gateway

if TYPE_CHECKING:
    from gateway_proxy.controls import Controls

BACKLOG = 4096
_GC_THRESHOLD = 100_000
_TLS_SHUTDOWN_S = 2.0
_ADMIN_BACKLOG = 64


class ListenError(Exception):
    """The gateway cannot listen where it was told to; the message says why, and who is there if that can be told."""


def serve(config: GatewayConfig, on_ready: Callable[[], None] = lambda: None, path: str = "") -> int:
    """Run the gateway until SIGTERM or SIGINT, in one process or, with `config.workers`, in several.

    `on_ready` is called once it listens. `path` is the configuration's file, which SIGHUP reads again. Requests in
    flight at the end are finished, for at most `config.grace_s` seconds. Returns the exit code. Raises ListenError
    when an address cannot be used and AssemblyProblem when something that the configuration names cannot.
    """
    if config.workers > 1:
        return _supervise(config, on_ready, path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, on_ready, path))
    return 0


async def _serve(config: GatewayConfig, on_ready: Callable[[], None], path: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gateway, tls = begin(config, loop)
    controls = LocalControls(gateway, path, stop.set, tls)
    listeners = _listen(config.listen.host, config.listen.port, BACKLOG)
    async with _administered(config, controls):
        servers = await accept_from(gateway, tls, listeners)
        _reload_on_hangup(controls, path)
        settle()
        on_ready()
        await stop.wait()
        await listening.refuse_new_and_empty(listeners)
        for server in servers:
            server.close()
        await gateway.drain()


def _supervise(config: GatewayConfig, on_ready: Callable[[], None], path: str) -> int:
    """Try the configuration here first, so that what is wrong with it is said once and not by every worker."""
    from gateway_proxy.worker import work  # noqa: PLC0415 - asyncio's plain loop forks; most gateways have one process
    from gateway_proxy.workers import supervise  # noqa: PLC0415

    asyncio.run(_try_out(config))
    try:
        return supervise(config, path, work, on_ready)
    except OSError as error:
        raise _cannot_listen(config.listen.host, config.listen.port, error) from None


async def _try_out(config: GatewayConfig) -> None:
    gateway, _ = begin(config, asyncio.get_running_loop())
    gateway.draining = True
    await gateway.drain()


def begin(
    config: GatewayConfig, loop: asyncio.AbstractEventLoop, worker: int = 0
) -> tuple[Gateway, ssl.SSLContext | None]:
    """Return a gateway that accepts nothing yet, and how its clients' connections are encrypted, if they are.

    Raises AssemblyProblem.
    """
    _allow_many_files()
    tls = None
    if config.listen.tls is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        tls.set_alpn_protocols(["http/1.1"])
        load_certificate(tls, config.listen.tls.certificate_file, config.listen.tls.key_file)
    return Gateway(config, loop, worker), tls


def settle() -> None:
    """Take what there is now out of the garbage collector's sight, and let it look less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 50, 50)


def _reload_on_hangup(controls: Controls, path: str) -> None:
    """Have SIGHUP read the configuration's file again and say on stderr what became of it."""
    loop = asyncio.get_running_loop()
    running: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        print(told(await controls.reload()), file=sys.stderr, flush=True)

    def hang_up() -> None:
        task = loop.create_task(reload())
        running.add(task)
        task.add_done_callback(running.discard)

    if path:
        loop.add_signal_handler(signal.SIGHUP, hang_up)


@contextlib.asynccontextmanager
async def _administered(config: GatewayConfig, controls: Controls) -> AsyncIterator[None]:
    """Serve the admin application meanwhile, if the configuration has one. Raises ListenError."""
    if config.admin is None:
        yield
        return
    from gateway_proxy import admin  # noqa: PLC0415 - Starlette and uvicorn, only where they are wanted

    listeners = _listen(config.admin.host, config.admin.port, _ADMIN_BACKLOG)
    server = admin.AdminServer(controls, listeners)
    server.start()
    try:
        yield
    finally:
        await server.stop()


async def accept_from(
    gateway: Gateway, tls: ssl.SSLContext | None, listeners: Sequence[socket.socket]
) -> list[asyncio.Server]:
    """Accept clients from sockets that listen already."""
    return [
        await gateway.loop.create_server(
            functools.partial(ClientConnection, gateway),
            sock=listener,
            ssl=tls,
            ssl_handshake_timeout=_handshake_s(gateway, tls),
            ssl_shutdown_timeout=_shutdown_s(tls),
        )
        for listener in listeners
    ]


def _listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    try:
        return listening.listen(host, port, backlog)
    except OSError as error:
        raise _cannot_listen(host, port, error) from None


def _handshake_s(gateway: Gateway, tls: ssl.SSLContext | None) -> float | None:
    """A handshake may take as long as a head; asyncio wants None where there is none."""
    return gateway.config.limits.head_timeout_s if tls is not None else None


def _shutdown_s(tls: ssl.SSLContext | None) -> float | None:
    """A close does not wait long for the peer's word."""
    return _TLS_SHUTDOWN_S if tls is not None else None


def _allow_many_files() -> None:
    """Use as many file descriptors as the machine lets us: each request in flight takes two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _cannot_listen(host: str, port: int, error: OSError) -> ListenError:
    return ListenError(f"cannot listen on {host}:{port}: {error.strerror or error}{_holder(port)}")


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
