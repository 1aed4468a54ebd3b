"""Many client connections at once, in one process: some that have asked once and are quiet, some that ask all the time.

`python -m tests.bench.crowd PORT IDLE BUSY IDLE_PATH BUSY_PATH` opens them and then reads commands, a line each:
`count` prints how many are idle, how many are open and busy, how many requests are in flight, answered and failed, as
JSON; `quit` closes all.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_AT_ONCE = 50


class Client(asyncio.Protocol):
    """One connection. It asks for `path` once, or again whenever it is answered; `counts` are shared by all."""

    def __init__(self, path: str, again: bool, counts: Counter[str]) -> None:
        self.request = f"GET {path} HTTP/1.1\r\nHost: archbench.invalid\r\nAccept: */*\r\n\r\n".encode()
        self.kind = "busy" if again else "idle"
        self.counts = counts
        self.left = -1  # bytes of the answer that are still to come; below 0: not known yet
        self.head = b""
        self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.counts[self.kind] += 1
        self._ask()

    def connection_lost(self, _: Exception | None) -> None:
        self.counts[self.kind] -= 1
        self.counts["failed"] += 1
        if not self.answered.done():
            self.answered.set_exception(ConnectionError("closed before it was answered"))

    def data_received(self, data: bytes) -> None:
        if self.left < 0:
            data = self._head(data)
        if self.left >= 0:
            self.left -= len(data)
            if self.left <= 0:
                self._complete()

    def _ask(self) -> None:
        self.left, self.head = -1, b""
        self.counts["in_flight"] += 1
        self.transport.write(self.request)  # type: ignore[attr-defined]

    def _head(self, data: bytes) -> bytes:
        """Read the head; return what there is of the body."""
        self.head += data
        head, end, rest = self.head.partition(b"\r\n\r\n")
        if end:
            length = _LENGTH.search(head)
            self.left = int(length[1]) if length else 0
            self.counts["failed"] += not head.startswith(b"HTTP/1.1 200")
        return rest

    def _complete(self) -> None:
        self.counts["in_flight"] -= 1
        self.counts["answered"] += 1
        if not self.answered.done():
            self.answered.set_result(None)
        if self.kind == "busy":
            self._ask()


async def _open(port: int, count: int, path: str, again: bool, counts: Counter[str]) -> None:
    """Open so many connections, some at once; wait until each has been answered once."""
    loop = asyncio.get_running_loop()
    for start in range(0, count, _AT_ONCE):
        some = [
            loop.create_connection(lambda: Client(path, again, counts), "127.0.0.1", port)
            for _ in range(min(_AT_ONCE, count - start))
        ]
        opened = await asyncio.gather(*some)
        if not again:
            await asyncio.gather(*(client.answered for _, client in opened))


async def _run(port: int, idle: int, busy: int, idle_path: str, busy_path: str) -> None:
    counts: Counter[str] = Counter()
    await _open(port, idle, idle_path, again=False, counts=counts)
    await _open(port, busy, busy_path, again=True, counts=counts)
    loop = asyncio.get_running_loop()
    while (await loop.run_in_executor(None, sys.stdin.readline)).strip() == "count":
        print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(*map(int, sys.argv[1:4]), *sys.argv[4:6]))  # type: ignore[arg-type]
