"""A target that does nothing: answers the same small 200 to whatever comes, as fast as Python can.

What the load engine measures against it is the engine's own floor and ceiling, with the kernel's loopback in it. Small
on purpose: it is imported in a forked child that measures a moment later.
"""

from __future__ import annotations

import gc
import select
import socket
from pathlib import Path

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_READ = 1  # EPOLLIN and POLLIN alike
_RECEIVE_BYTES = 65_536


def serve(port_path: str, request_bytes: int) -> None:
    """Listen on a free port, write its number to the file, and answer every `request_bytes` bytes, for ever."""
    gc.disable()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        partial = Path(port_path + ".partial")
        partial.write_text(str(listener.getsockname()[1]), encoding="ascii")
        partial.rename(port_path)
        _Target(listener, request_bytes).run()


class _Target:
    """The event loop; bytes are counted and not read: it knows how long a request is."""

    def __init__(self, listener: socket.socket, request_bytes: int) -> None:
        self.listener = listener
        self.request_bytes = request_bytes
        self.poller = select.epoll() if hasattr(select, "epoll") else select.poll()
        self.clients: dict[int, socket.socket] = {}
        self.pending: dict[int, int] = {}

    def run(self) -> None:
        self.listener.setblocking(False)
        listening = self.listener.fileno()
        self.poller.register(listening, _READ)
        while True:
            for fd, _ in self.poller.poll():
                if fd == listening:
                    self.accept()
                else:
                    self.answer(fd)

    def accept(self) -> None:
        try:
            client, _ = self.listener.accept()
        except OSError:
            return  # it went away meanwhile
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.clients[client.fileno()] = client
        self.pending[client.fileno()] = 0
        self.poller.register(client.fileno(), _READ)

    def answer(self, fd: int) -> None:
        client = self.clients[fd]
        try:
            data = client.recv(_RECEIVE_BYTES)
            whole, self.pending[fd] = divmod(self.pending[fd] + len(data), self.request_bytes)
            if whole:
                client.sendall(_ANSWER * whole)
        except OSError:
            data = b""
        if not data:
            self.close(fd)

    def close(self, fd: int) -> None:
        self.poller.unregister(fd)
        self.clients.pop(fd).close()
        del self.pending[fd]
