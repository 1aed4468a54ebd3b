"""Raw peers for the gateway: a client that shows the bytes it got, an upstream that does as it is told, the process."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.bench.rig import free_port

PATIENCE_S = 10.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


class Wire:
    """One end of a connection, with everything that was read from it kept in `seen`."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE_S)
        self.seen = b""
        self._read = 0

    def send(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        for piece in pieces:
            self.sock.sendall(piece)
            if pause_s:
                time.sleep(pause_s)

    def _more(self) -> bool:
        data = self.sock.recv(262144)
        self.seen += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        """Return what comes up to and including `mark`; EOFError when the peer closes before."""
        while (end := self.seen.find(mark, self._read)) < 0:
            if not self._more():
                raise EOFError(self.seen[self._read :])
        start, self._read = self._read, end + len(mark)
        return self.seen[start : self._read]

    def exactly(self, count: int) -> bytes:
        while len(self.seen) - self._read < count:
            if not self._more():
                raise EOFError(self.seen[self._read :])
        start, self._read = self._read, self._read + count
        return self.seen[start : self._read]

    def to_close(self) -> bytes:
        """Return everything up to the peer's clean close; ConnectionResetError when it was a reset."""
        while self._more():
            pass
        start, self._read = self._read, len(self.seen)
        return self.seen[start:]

    def message(self, bodiless: bool = False) -> Message:
        """Return the next message, by its own framing."""
        head = self.until(b"\r\n\r\n")
        message = Message(head)
        if bodiless:
            return message
        if (message.get("transfer-encoding") or "").lower() == "chunked":
            message.body = self._chunks(message)
        elif message.get("content-length") is not None:
            message.body = self.exactly(int(message.get("content-length") or 0))
        elif head.startswith(b"HTTP/"):
            message.body = self.to_close()
        return message

    def _chunks(self, message: Message) -> bytes:
        body = b""
        while True:
            line = self.until(b"\r\n")
            message.raw_body += line
            size = int(line.split(b";")[0], 16)
            if not size:
                break
            piece = self.exactly(size + 2)
            assert piece.endswith(b"\r\n")
            message.raw_body += piece
            body += piece[:-2]
        while (line := self.until(b"\r\n")) != b"\r\n":
            message.trailers.append(line)
        return body

    def quiet(self, for_s: float) -> bool:
        """Say whether nothing arrives, not even a close, for `for_s` seconds."""
        self.sock.settimeout(for_s)
        try:
            return not self._more() and False
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE_S)

    def gone(self, within_s: float = PATIENCE_S) -> bool:
        """Say whether the peer closes or resets within the time, sending nothing more."""
        self.sock.settimeout(within_s)
        try:
            return not self._more()
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def hang_up(self) -> None:
        """End the connection in both directions, also for a thread that reads from it."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Message:
    head: bytes
    body: bytes = b""
    raw_body: bytes = b""
    trailers: list[bytes] = field(default_factory=list)

    @property
    def first(self) -> str:
        return self.head.split(b"\r\n")[0].decode("latin-1")

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])

    @property
    def fields(self) -> list[tuple[str, str]]:
        lines = self.head.decode("latin-1").split("\r\n")[1:-2]
        return [(line.partition(":")[0], line.partition(":")[2].strip()) for line in lines]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, values
        return values[0] if values else None


Script = Callable[[Wire], None]


def answering(answer: bytes = OK) -> Script:
    """Return a script that reads any number of requests and gives each the same answer."""

    def script(wire: Wire) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                script.requests.append(wire.message())  # type: ignore[attr-defined]
                wire.send(answer)

    script.requests = []  # type: ignore[attr-defined]
    return script


class Upstream:
    """Listens on loopback and runs `script` for each connection, in a thread of its own."""

    def __init__(self) -> None:
        self.script: Script = answering()
        self.wires: list[Wire] = []
        self.failures: list[BaseException] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                wire = Wire(sock)
                self.wires.append(wire)
                self._start(self._run, self.script, wire)

    def _run(self, script: Script, wire: Wire) -> None:
        try:
            script(wire)
        except BaseException as error:  # noqa: BLE001 - shown by the test that ends next
            self.failures.append(error)
        finally:
            wire.close()

    def play(self, script: Script) -> Script:
        """Use `script` for connections from now on, and forget those before."""
        self.script = script
        self.wires = []
        return script

    def wait_for(self, connections: int) -> None:
        wait_until(lambda: len(self.wires) >= connections)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for wire in self.wires:
            wire.hang_up()
        for thread in self._threads:
            thread.join(PATIENCE_S)


def wait_until(holds: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)


class GatewayProcess:
    """`python -m gateway_proxy` with a configuration, killed at the latest by `stop`."""

    READY = rb"listening on http://"

    def __init__(self, directory: Path, text: str, port: int) -> None:
        self.port = port
        path = directory / f"gateway-{port}.yaml"
        path.write_text(text, encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway_proxy", "--config", str(path)], stderr=subprocess.PIPE
        )
        line = self.process.stderr.readline()  # type: ignore[union-attr]
        if not re.match(self.READY, line):
            self.stop()
            raise AssertionError(line)

    @property
    def pid(self) -> int:
        return self.process.pid

    def connect(self) -> Wire:
        return Wire(socket.create_connection(("127.0.0.1", self.port), PATIENCE_S))

    def ask(self, request: bytes = GET) -> Message:
        """Send one request on a connection of its own and return the answer."""
        with self.connect() as wire:
            wire.send(request)
            return wire.message(bodiless=request.startswith(b"HEAD"))

    def rss_bytes(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)

    def stop(self) -> str:
        """Kill it if it still runs; return what it wrote to stderr after its first line."""
        if self.process.poll() is None:
            self.process.kill()
        _, err = self.process.communicate()
        return err.decode()


def config_text(port: int, upstream_port: int, upstream: str = "", top: str = "") -> str:
    return f"""\
listen: {{host: 127.0.0.1, port: {port}}}
upstreams:
  a: {{targets: ["127.0.0.1:{upstream_port}"]{upstream}}}
routes:
  - {{prefix: /a, upstream: a}}
{top}
"""


@contextlib.contextmanager
def gateway_for(directory: Path, upstream_port: int, upstream: str = "", top: str = "") -> Iterator[GatewayProcess]:
    """Run a gateway in front of `upstream_port`; it must leave without a traceback."""
    port = free_port()
    gateway = GatewayProcess(directory, config_text(port, upstream_port, upstream, top), port)
    try:
        yield gateway
    finally:
        wrote = gateway.stop()
    assert "Traceback" not in wrote, wrote
    assert "rror" not in wrote, wrote
