"""The gateway under fuzz, a client for each conversation and the upstream that they share, all on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.rig import free_port, wait_for_port
from tests.fuzz.conversation import Answer, Conversation
from tests.fuzz.marker import Mark, marks
from tests.fuzz.strict import BrokenError, Message, read_answers, read_request

PATIENCE_S = 6.0  # beyond any deadline of the gateway's
_CUT_S = 0.001
_DEAF_S = 0.2
_LOOK_S = 0.02
_RESET = struct.pack("ii", 1, 0)
_CONFIG = """\
listen: {{host: 127.0.0.1, port: {port}}}
upstreams:
  a: {{targets: ["127.0.0.1:{upstream}"], response_timeout_s: 1, max_idle_per_target: 16, idle_timeout_s: 60}}
routes:
  - {{prefix: /, upstream: a}}
limits: {{head_timeout_s: 0.7, body_timeout_s: 0.7, idle_timeout_s: 1.5}}
"""


Enough = Callable[[bytes], bool]


@dataclass
class Sight:
    """A request as the upstream saw it, on its connection number `connection`, and what it answered."""

    message: Message
    raw: bytes
    connection: int
    mark: Mark | None
    answer: Answer | None = None


@dataclass
class Seen:
    """What a client got; `end` is open, closed or reset, and `late` says that nothing ended its waiting in time."""

    received: bytes = b""
    end: str = "open"
    seconds: float = 0.0
    late: bool = False


@dataclass
class Bench:
    """What the upstream has to know, and what it saw."""

    playing: dict[int, Conversation] = field(default_factory=dict)
    sights: list[Sight] = field(default_factory=list)
    broken: list[tuple[str, bytes]] = field(default_factory=list)
    streams: list[bytes] = field(default_factory=list)  # what came on each connection
    opened: int = 0
    connections: set[asyncio.Transport] = field(default_factory=set)

    @property
    def open(self) -> int:
        return len(self.connections)

    def answer_to(self, message: Message, mark: Mark | None) -> Answer:
        conversation = self.playing.get(mark.conversation) if mark else None
        scripted = conversation.answers.get(mark.request) if conversation and mark else None
        return scripted or echo(message, mark)

    async def close(self) -> None:
        """End what is open; what is left to the end of the loop is complained about, in some later test."""
        for transport in self.connections:
            transport.abort()
        await asyncio.sleep(0)

    def clear(self) -> None:
        self.playing, self.sights, self.broken, self.streams = {}, [], [], []


def echo(message: Message, mark: Mark | None) -> Answer:
    """Return an answer that names the request: its mark, its method and a checksum of its body."""
    name = bytes(mark) if mark else b"unmarked"
    body = b"%b|%b|%08x" % (name, message.method, zlib.crc32(message.body))
    head = b"HTTP/1.1 200 OK\r\nX-Echo: %b\r\n" % name
    if message.method == b"HEAD" or not mark or mark.request % 3 == 0:
        return Answer(
            (head + b"Content-Length: %d\r\n\r\n" % len(body) + (b"" if message.method == b"HEAD" else body),)
        )
    if mark.request % 3 == 1:
        return Answer((head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body),))
    return Answer((head + b"\r\n" + body,), "close")


class UpstreamConnection(asyncio.Protocol):
    """Reads requests by the letter and answers each as its conversation says."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.data = b""
        self.at = 0
        self.current: Sight | None = None  # a request whose head is there
        self.doomed = False  # about to be closed: a request that comes now gets no answer, as it would a moment later

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.number = self.bench.opened
        self.bench.opened += 1
        self.bench.connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.bench.connections.discard(self.transport)
        self.bench.streams.append(self.data)
        if self.current is not None:
            self.bench.sights.append(self.current)

    def data_received(self, data: bytes) -> None:
        self.data += data
        with contextlib.suppress(BrokenError):
            while self.at < len(self.data) and self._read():
                pass

    def _read(self) -> bool:
        try:
            message = read_request(self.data, self.at)
        except BrokenError as error:
            self.bench.broken.append((str(error), self.data[self.at :]))
            self.transport.close()
            raise
        if message is None:
            return False
        self._note(message)
        if message.complete:
            self.at = message.end
            self.bench.sights.append(self.current)
            self.current = None
        return message.complete

    def _note(self, message: Message) -> None:
        raw = self.data[self.at : message.end] if message.complete else self.data[self.at :]
        answered = self.current.answer if self.current else None
        found = marks(message.target) or marks(raw)
        self.current = Sight(message, raw, self.number, found[0] if found else None, answered)
        answer = answered or self.bench.answer_to(message, self.current.mark)
        if not answered and not self.doomed and (message.complete or answer.early):
            self.current.answer = answer
            asyncio.get_running_loop().create_task(self._send(answer, message.method))

    async def _send(self, answer: Answer, method: bytes) -> None:
        """Send an answer in its pieces, but in one what goes on after its end.

        Bytes that come when the connection serves another request already are an answer to that: no gateway can tell.
        """
        reading = read_answers(answer.whole, [method], closed=False)
        goes_on = len(reading.messages) > 0 and not reading.messages[-1].interim and (reading.rest or reading.broken)
        for number, piece in enumerate((answer.whole,) if goes_on else answer.pieces):
            await asyncio.sleep(_CUT_S if number else 0)
            if self.transport.is_closing():
                return
            self.transport.write(piece)
        self.doomed = answer.then != "keep"
        if answer.then == "close":
            self.transport.close()
        elif answer.then == "reset":
            await asyncio.sleep(_CUT_S)
            reset(self.transport)


def reset(transport: asyncio.Transport) -> None:
    """Close with a RST."""
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


class ClientConnection(asyncio.Protocol):
    """Keeps what it gets, and wakes whoever waits for it."""

    def __init__(self) -> None:
        self.seen = Seen()
        self.news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.seen.received += data
        self.news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.seen.end == "open":
            self.seen.end = "reset" if exc else "closed"
        self.news.set()


class Rig:
    """A gateway process with its upstream; `converse` plays one conversation."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, bench: Bench, errors: Path) -> None:
        self.process, self.port, self.bench, self._errors = process, port, bench, errors
        self.patience_s = PATIENCE_S
        self.open = 0
        self.own_sockets = 0
        self._kept: ClientConnection | None = None
        self.worst_canary_s = 0.0

    async def converse(self, conversation: Conversation, enough: Enough) -> Seen:
        """Play it; with ending `wait`, up to the close or until what came is enough."""
        started = time.monotonic()
        client = await self._connect()
        try:
            await self._play(client, conversation, enough)
            client.seen.seconds = time.monotonic() - started
            return Seen(**vars(client.seen))
        finally:
            await self._leave(client, rudely=conversation.ending == "reset")

    async def _connect(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(ClientConnection, "127.0.0.1", self.port)
        self.open += 1
        return client

    async def _play(self, client: ClientConnection, conversation: Conversation, enough: Enough) -> None:
        if conversation.ending == "deaf":
            client.transport.pause_reading()
        for number, piece in enumerate(conversation.pieces):
            await asyncio.sleep(_CUT_S if number else 0)
            if client.transport.is_closing():
                break
            client.transport.write(piece)
        if conversation.ending == "deaf":
            await asyncio.sleep(_DEAF_S)
        elif conversation.ending in ("wait", "half"):
            if conversation.ending == "half":
                with contextlib.suppress(OSError):  # closed by the gateway just now
                    client.transport.write_eof()
            await self._wait(client, enough if conversation.ending == "wait" else _never)

    async def _wait(self, client: ClientConnection, enough: Enough) -> None:
        try:
            async with asyncio.timeout(self.patience_s):
                while client.seen.end == "open" and not enough(client.seen.received):
                    client.news.clear()
                    await client.news.wait()
        except TimeoutError:
            client.seen.late = True

    async def _leave(self, client: ClientConnection, rudely: bool = False) -> None:
        if rudely:
            reset(client.transport)
        else:
            client.transport.close()
        while client.seen.end == "open":
            client.news.clear()
            await client.news.wait()
        self.open -= 1

    async def hang_up(self) -> None:
        """Close the connection that was kept for canaries."""
        if self._kept is not None:
            self._kept.transport.abort()
            await asyncio.sleep(0)

    async def canary(self, number: int) -> str:
        """Ask on a fresh and on a kept connection; return what is wrong with the answers, or nothing."""
        if self._kept is None or self._kept.seen.end != "open":
            if self._kept is not None:
                self.open -= 1
            self._kept = await self._connect()
        fresh = await self._connect()
        wrong = [await self._ask(client, number, n) for n, client in enumerate((self._kept, fresh))]
        await self._leave(fresh)
        return "; ".join(filter(None, wrong))

    async def _ask(self, client: ClientConnection, number: int, which: int) -> str:
        mark, body = Mark(number, which), b"canary"
        client.seen.received = b""
        started = time.monotonic()
        good = b"%b|POST|%08x" % (bytes(mark), zlib.crc32(body))
        client.transport.write(b"POST /%b HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n%b" % (bytes(mark), body))
        await self._wait(client, lambda received: received.endswith((good, good + b"\r\n0\r\n\r\n")))
        self.worst_canary_s = max(self.worst_canary_s, time.monotonic() - started)
        got = client.seen.received
        return (
            "" if got.startswith(b"HTTP/1.1 200 ") and good in got else f"{('kept', 'fresh')[which]} got {got[:200]!r}"
        )

    def sockets(self) -> int:
        """Return how many sockets the gateway has open."""
        count = 0
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                count += str(entry.readlink()).startswith("socket:")
        return count

    async def leaked(self) -> int:
        """Return how many sockets the gateway holds that neither side knows of, once that has settled."""
        for _ in range(int(PATIENCE_S / _LOOK_S)):
            if (count := await self.unknown_sockets() - self.own_sockets) == 0:
                break
        return count

    async def unknown_sockets(self) -> int:
        """Return how many sockets the gateway has, a moment from now, that are to neither side."""
        await asyncio.sleep(_LOOK_S)
        return self.sockets() - self.open - self.bench.open

    def rss_bytes(self) -> int:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def complaints(self) -> str:
        """Return what the gateway wrote to stderr after its first line."""
        return self._errors.read_text(encoding="utf-8", errors="replace").partition("\n")[2]

    def alive(self) -> bool:
        return self.process.poll() is None


def _never(_received: bytes) -> bool:
    return False


def _start(module: str, config: Path, errors: Path) -> subprocess.Popen[bytes]:
    with errors.open("wb") as file:
        command = [sys.executable, "-m", module, "--config", str(config)]
        return subprocess.Popen(command, stderr=file, stdout=file)


@contextlib.asynccontextmanager
async def rig(folder: Path, module: str = "gateway_proxy") -> AsyncIterator[Rig]:
    """Run a gateway (`python -m module --config FILE`) in front of an upstream; both end with the block."""
    bench = Bench()
    server = await asyncio.get_running_loop().create_server(lambda: UpstreamConnection(bench), "127.0.0.1", 0)
    port, errors = free_port(), folder / "stderr"
    config = folder / "gateway.yaml"
    config.write_text(_CONFIG.format(port=port, upstream=server.sockets[0].getsockname()[1]), encoding="utf-8")
    process = _start(module, config, errors)
    try:
        wait_for_port(port)
        found = Rig(process, port, bench, errors)
        await found.canary(0xFFFFFF)
        found.own_sockets = min([await found.unknown_sockets() for _ in range(20)])
        yield found
        await found.hang_up()
    finally:
        process.kill()
        process.wait(10)
        server.close()
        await bench.close()
