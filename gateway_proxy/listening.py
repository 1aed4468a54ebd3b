"""Listening sockets, alone or one for each of several workers, and how to stop listening without losing a connection.

Linux gives a new connection to one socket of the port's group (SO_REUSEPORT) for good, and when a listening socket is
closed, the connections that it holds and nobody has accepted are reset. So the supervisor holds all of them open for as
long as the gateway runs, whatever becomes of the workers, and closes them when nothing new can come and nothing waits:

    steer       new connections go to sockets with a living worker only; those that a dead one's socket holds wait
    refuse_new  a socket takes no new connection any more, and goes on to hand out those that it holds

Both are classic BPF programs on the socket, which need no privileges. On other systems both do nothing and say so.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence

LINUX = sys.platform == "linux"
_SETTLE_S = 0.2  # a round trip
_QUEUES_S = 2.0
_LOOK_S = 0.01
_SO_ATTACH_FILTER = 26
_SO_ATTACH_REUSEPORT_CBPF = 51

# Of linux/filter.h and linux/bpf_common.h: class | size or operation | mode or source.
_LOAD_WORD, _LOAD_BYTE = 0x20, 0x30  # from an absolute offset
_MODULO, _JUMP_IF_EQUAL, _JUMP_IF_SET, _RETURN = 0x94, 0x15, 0x45, 0x06
_RANDOM = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM
_TCP_FLAGS, _SYN = 13, 0x02  # RFC 9293 3.1; the program sees the segment from its TCP header on
_WHOLE = 0xFFFFFFFF

Instruction = tuple[int, int, int, int]  # operation, jump if true, jump if false, operand


def listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    """Return a listening socket on every address of `host`. Raises OSError when one cannot be had."""
    return _listening(_addresses(host, port), backlog, shared=False)


def listen_shared(host: str, port: int, count: int, backlog: int) -> list[list[socket.socket]]:
    """Return, for each of `count` workers, a listening socket on every address of `host`.

    Raises OSError when the port is taken, also by a program that would share it: two gateways on a port are a mistake.
    """
    addresses = _addresses(host, port)
    for family, address in addresses:
        _bound(family, address, shared=False).close()
    made: list[list[socket.socket]] = []
    try:
        for _ in range(count):
            made.append(_listening(addresses, backlog, shared=True))  # noqa: PERF401 - closed when the next one fails
    except OSError:
        close(made)
        raise
    return made


def close(sockets: Sequence[Sequence[socket.socket]]) -> None:
    """Close every socket."""
    for own in sockets:
        for listener in own:
            listener.close()


def _addresses(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _listening(
    addresses: Sequence[tuple[int, tuple[object, ...]]], backlog: int, *, shared: bool
) -> list[socket.socket]:
    made: list[socket.socket] = []
    try:
        for family, address in addresses:
            made.append(_bound(family, address, shared=shared))
            made[-1].listen(backlog)
    except OSError:
        close([made])
        raise
    return made


def _bound(family: int, address: tuple[object, ...], *, shared: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def steer(sockets: Sequence[Sequence[socket.socket]], alive: Sequence[int]) -> bool:
    """Give new connections, at random, to the sockets of the workers `alive` (by number); False if that cannot be.

    The kernel numbers the sockets of a port in the order in which they began to listen, which is that of `sockets`.
    """
    if not alive:
        return False
    group = [own[0] for own in zip(*sockets, strict=True)]
    return all(_attach(listener, _SO_ATTACH_REUSEPORT_CBPF, _one_of(alive)) for listener in group)


def refuse_new(sock: socket.socket) -> bool:
    """Take no new connection on a listening socket; False if that cannot be.

    Segments that begin a connection (SYN) are dropped, so that a client finds the port closed when it asks again, a
    second later; handshakes that have begun are finished, and connections that are there can be accepted.
    """
    return _attach(sock, _SO_ATTACH_FILTER, _NO_SYN)


def holds_connections(sock: socket.socket) -> bool:
    """Say whether a connection waits to be accepted."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


async def refuse_new_and_empty(listeners: Sequence[socket.socket], hurry: Callable[[], bool] = lambda: False) -> bool:
    """Let no new connection in, and wait until somebody has accepted those that are there; then closing loses none.

    That takes 0.2 s, for handshakes that have begun, and at most two seconds; `hurry` ends it sooner. False where new
    ones cannot be kept out: then there is nothing to wait for, and a connection may be reset.
    """
    if not all([refuse_new(listener) for listener in listeners]):  # noqa: C419 - each of them
        return False
    quiet_since = time.monotonic()
    end = quiet_since + _QUEUES_S
    while min(end, quiet_since + _SETTLE_S) > time.monotonic() and not hurry():
        await asyncio.sleep(_LOOK_S)
        if any(holds_connections(listener) for listener in listeners):
            quiet_since = time.monotonic()
    return True


_NO_SYN: list[Instruction] = [
    (_LOAD_BYTE, 0, 0, _TCP_FLAGS),
    (_JUMP_IF_SET, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, _WHOLE),
]


def _one_of(numbers: Sequence[int]) -> list[Instruction]:
    """Return a program that draws one of the numbers."""
    program: list[Instruction] = [(_LOAD_WORD, 0, 0, _RANDOM), (_MODULO, 0, 0, len(numbers))]
    for draw, number in enumerate(numbers[:-1]):
        program += [(_JUMP_IF_EQUAL, 0, 1, draw), (_RETURN, 0, 0, number)]
    return [*program, (_RETURN, 0, 0, numbers[-1])]


def _attach(sock: socket.socket, option: int, program: Sequence[Instruction]) -> bool:
    if not LINUX:
        return False
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
    try:
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("HP", len(program), ctypes.addressof(code)))
    except OSError as error:
        if error.errno in (errno.ENOPROTOOPT, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
            return False
        raise
    return True
