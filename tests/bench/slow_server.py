"""An upstream that takes its time: python -m tests.bench.slow_server PORT HOLD_S BYTES

`/now` is answered at once with how many requests it is holding. Any other GET is held for HOLD_S seconds, then
answered with so many bytes.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

import uvloop


@dataclass
class Held:
    """What all connections share; `count` is how many requests are being held."""

    hold_s: float
    answer: bytes
    count: int = 0


class Slow(asyncio.Protocol):
    """One connection; requests have no body and come one after the other."""

    def __init__(self, held: Held) -> None:
        self.held = held
        self.waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /now "):
            self._write(response(b"%d" % self.held.count))
        elif data.endswith(b"\r\n\r\n"):
            self.held.count += 1
            self.waiting = asyncio.get_running_loop().call_later(self.held.hold_s, self._release)

    def connection_lost(self, _: Exception | None) -> None:
        if self.waiting is not None:
            self.waiting.cancel()
            self.held.count -= 1

    def _release(self) -> None:
        self.waiting = None
        self.held.count -= 1
        self._write(self.held.answer)

    def _write(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]


def response(body: bytes) -> bytes:
    """Return an answer with this body."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def serve(port: int, held: Held) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Slow(held), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]), Held(float(sys.argv[2]), response(b"x" * int(sys.argv[3])))))
