"""Connections that are being made: whoever gives up, in whatever moment, leaves nothing counted."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import pytest
import uvloop

from gateway_proxy.dialling import Dial
from gateway_proxy.pool import Target


async def _given_up_after(passes: int) -> Target:
    """Dial, let the loop pass so often, give up, and return the target when all is over."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = Target(f"127.0.0.1:{server.getsockname()[1]}")
        config = SimpleNamespace(forwarding=SimpleNamespace(via=True))
        gateway = SimpleNamespace(loop=loop, dials=set(), config=config, now=0.0)
        pool = SimpleNamespace(candidates=lambda first: [first], seen=lambda *_: None)
        made: list[object] = []
        dial = Dial(gateway, pool, target, 5.0, made.append, lambda *_: None)
        for _ in range(passes):
            await asyncio.sleep(0)
        dial.cancel()
        await asyncio.sleep(0.05)
        for connection in made:
            connection.close()
        await asyncio.sleep(0.05)
        assert not gateway.dials
    return target


@pytest.mark.parametrize("passes", range(6))
def test_a_dial_that_is_given_up_leaves_nothing_counted(passes):
    target = uvloop.run(_given_up_after(passes))
    assert (target.opened, target.dialling) == (0, 0)
