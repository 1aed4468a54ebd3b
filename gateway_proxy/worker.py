"""One of several workers: the gateway on the sockets that its supervisor gave it, controlled over its channel."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import uvloop

from gateway_proxy.assembly import AssemblyProblem
from gateway_proxy.config import parse
from gateway_proxy.local import LocalControls
from gateway_proxy.server import accept_from, begin, settle
from gateway_proxy.state import Gateway
from gateway_proxy.workers import AskError, Channel, Handler


def work(channel: Channel) -> int:
    """Serve until SIGTERM or until the supervisor is gone; return the exit code."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(channel))
    return 0


async def _work(channel: Channel) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    gateway, tls = begin(channel.config, loop, channel.number)
    gateway.generation = channel.generation
    controls = LocalControls(gateway, "", stop.set, tls)
    servers = await accept_from(gateway, tls, channel.listeners)
    settle()
    channel.ready()
    hearing = loop.create_task(channel.answer(_handlers(controls, gateway)))
    hearing.add_done_callback(lambda _: stop.set())
    await stop.wait()
    channel.leaving()
    for server in servers:
        server.close()
    await gateway.drain()
    hearing.cancel()


def _handlers(controls: LocalControls, gateway: Gateway) -> dict[str, Handler]:
    """Return what the supervisor may ask, by name."""

    async def status(_: Any) -> dict[str, Any]:
        return {"connections": len(gateway.clients), "generation": gateway.generation}

    async def pools(_: Any) -> Any:
        return await controls.pools()

    async def breakers(_: Any) -> Any:
        return await controls.breakers()

    async def metrics(_: Any) -> str:
        text, _kind = await controls.metrics()
        return text.decode()

    async def reload(told: dict[str, Any]) -> dict[str, Any]:
        try:
            controls.apply(parse(told["text"], told["name"]))
        except AssemblyProblem as problem:
            raise AskError(str(problem)) from None
        gateway.generation = told["generation"]
        return {"generation": gateway.generation}

    return {"status": status, "pools": pools, "breakers": breakers, "metrics": metrics, "reload": reload}
