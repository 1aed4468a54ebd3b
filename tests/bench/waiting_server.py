"""A target of known service time: python -m tests.bench.waiting_server PORT SEED

The n-th request it gets is answered after the n-th of a fixed sequence of pauses (lognormal, median 20 ms, sigma 0.4),
so that whoever sends the same number of requests meets the same service times. It waits and computes nothing.
"""

from __future__ import annotations

import asyncio
import math
import random
import selectors
import sys
from collections.abc import Iterator

MEDIAN_S = 0.020
SIGMA = 0.4
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def pauses(seed: int) -> Iterator[float]:
    """Yield the seconds before each answer."""
    rng = random.Random(seed)
    while True:
        yield rng.lognormvariate(math.log(MEDIAN_S), SIGMA)


class Waiting(asyncio.Protocol):
    """One connection; requests have no body."""

    def __init__(self, sequence: Iterator[float]) -> None:
        self.sequence = sequence
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\r\n\r\n")):
            self.loop.call_later(next(self.sequence), self._answer)

    def _answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_ANSWER)  # type: ignore[attr-defined]


async def serve(port: int, seed: int) -> None:
    sequence = pauses(seed)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Waiting(sequence), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop that waits with select: epoll would round every pause up to whole milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve(int(sys.argv[1]), int(sys.argv[2])))
