"""Locust's HTTP client (geventhttpclient, as FastHttpUser has it) without what would spoil a measurement.

- FastHttpUser keeps at most 10 requests in flight, and a FastHttpSession without a user one; the others wait, inside
  the response time. Here nothing waits for a connection.
- HTTPClient sends an idempotent request again, up to `concurrency + 1` times, when its connection breaks before the
  answer; `max_retries` is another layer and does not prevent that. Here nothing is sent twice.
- Idle connections are looked at with select(), which takes one from the 1024th descriptor on for dead: keep-alive ends
  there. Here poll() looks.
- FastHttpSession adds cookies, Accept-Encoding and User-Agent, follows redirects and takes other statuses for broken
  connections. All that is above HTTPClient, which sends here what it is given.
- A timeout is one for the whole exchange, set by whoever calls; with one for every read, a target that sends a byte now
  and then would never run into it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import gevent.socket
from gevent import monkey
from gevent.lock import DummySemaphore
from gevent.queue import LifoQueue
from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.connectionpool import ConnectionPool
from geventhttpclient.header import Headers
from geventhttpclient.url import URL

_poll = monkey.get_original("select", "poll")


class ConnectFailedError(OSError):
    """Nobody could be connected to, so nothing was sent."""


class Connections(ConnectionPool):
    """Connections to one target, as many as there are requests in flight. `opened` counts the attempts."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, host, port)
        self.size = -1  # HTTPClient tries `size + 1` times more
        self._semaphore = DummySemaphore()
        self._socket_queue = LifoQueue()
        self.connection_timeout = self.network_timeout = None  # type: ignore[assignment]  # gevent takes None for none
        self._addresses = super()._resolve()
        self.opened = 0
        self.on_connect: Callable[[], None] = _nothing

    def _resolve(self) -> Any:
        """Names are looked up once: gevent would ask a thread before every connection."""
        return self._addresses

    def _create_socket(self) -> gevent.socket.socket:
        """Tell a connect that failed from a connection that broke."""
        try:
            return super()._create_socket()
        except OSError as failed:
            raise ConnectFailedError(*failed.args) from failed

    def _create_tcp_socket(self, family: int, socktype: int, protocol: int) -> gevent.socket.socket:
        self.opened += 1
        self.on_connect()
        sock = super()._create_tcp_socket(family, socktype, protocol)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _is_socket_alive(self, sock: gevent.socket.socket | None) -> bool:
        """Say whether nothing has come on an idle connection; anything that has would be its end, or garbage."""
        if sock is None or sock.fileno() < 0:
            return False
        watch = _poll()
        watch.register(sock.fileno())
        return not any(mask & ~_WRITABLE for _, mask in watch.poll(0))


def _nothing() -> None:
    """Nobody asks."""


_WRITABLE = 4  # POLLOUT


class Client(HTTPClient):
    """A client of one target."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.connections = self._connection_pool = Connections(host, port)
        self.default_headers = Headers()


class Clients(HTTPClientPool):
    """What FastHttpUser takes as its `client_pool`: a client for each target."""

    def get_client(self, url: str | URL) -> Client:
        """Return the client of the URL's host and port."""
        split = url if isinstance(url, URL) else URL(url)
        return self.client_of(split.host, split.port or 80)

    def client_of(self, host: str, port: int) -> Client:
        """Return the client of a target."""
        client = self.clients.get((host, port))
        if not isinstance(client, Client):
            client = self.clients[host, port] = Client(host, port)
        return client

    @property
    def opened(self) -> int:
        """How many connections were tried since the last close."""
        return sum(client.connections.opened for client in self.clients.values() if isinstance(client, Client))
