"""Ports to listen on: free ones for trials, and who holds one that is taken."""

from __future__ import annotations

import random
import socket
from typing import Any

import psutil

from harness.errors import PortTakenError

# Below the range from which Linux and macOS take the ports of outgoing connections, so that a platform that is
# restarted on its port never finds it taken by one of our own clients.
_FIRST, _LAST = 18_000, 31_000


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether somebody could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_ports(count: int, rng: random.Random) -> list[int]:
    """Return `count` different free ports. Raises PortTakenError when the range is exhausted."""
    found: list[int] = []
    for port in rng.sample(range(_FIRST, _LAST), _LAST - _FIRST):
        if len(found) == count:
            return found
        if is_free(port):
            found.append(port)
    raise PortTakenError(f"fewer than {count} free ports between {_FIRST} and {_LAST}; stop what holds them")


def require_free(ports: dict[str, int]) -> None:
    """Raise PortTakenError, naming the port and its holder if known, unless every port is free."""
    for name, port in ports.items():
        if not is_free(port):
            raise PortTakenError(f"port {port} for {name} is in use{_holder(port)}; stop that or choose another port")


def _listens_on(connection: Any, port: int) -> bool:
    """The address of a socket that is not bound is an empty tuple."""
    bound = connection.laddr and connection.laddr.port == port
    return bool(bound and connection.pid and connection.status == psutil.CONN_LISTEN)


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if _listens_on(connection, port):
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return ""
    return ""
