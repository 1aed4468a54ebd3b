"""Forks a worker out of the supervisor, which runs an event loop, an admin port and other workers' channels.

The child keeps none of that. Descriptors that it does not need are pointed at /dev/null and not closed: objects of the
supervisor that live on in it still know their numbers, and must not close what gets the number later.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from gateway_proxy.config import GatewayConfig
from gateway_proxy.workers.channel import Channel

Serve = Callable[[Channel], int]
"""What a worker does; returns its exit code. It handles SIGTERM (drain), and leaves SIGINT and SIGHUP alone."""

_OWN = (signal.SIGTERM, signal.SIGCHLD)
_NOT_OURS = (signal.SIGINT, signal.SIGHUP)  # a terminal sends them to everybody: the supervisor says what follows


def fork(
    serve: Serve, number: int, listeners: Sequence[socket.socket], config: GatewayConfig, generation: int
) -> tuple[int, socket.socket]:
    """Start a worker; return its process id and the supervisor's end of its channel. Raises OSError when it cannot."""
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal that met the child before it let go of the supervisor's handlers would be told to the supervisor.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (*_OWN, *_NOT_OURS))
    try:
        pid = os.fork()
        if pid == 0:
            _become(serve, Channel(number, listeners, config, generation, theirs), mask)
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
    ours.setblocking(False)
    return pid, ours


def _become(serve: Serve, channel: Channel, mask: Iterable[int]) -> NoReturn:
    """Turn the forked copy into a worker; never returns."""
    code = 1
    try:
        _let_go_of_signals(mask)
        _let_go_of_files({channel.sock.fileno(), *(listener.fileno() for listener in channel.listeners)})
        gc.freeze()  # what the supervisor left is never collected here, only forgotten
        code = serve(channel)
    except SystemExit as wanted:
        code = wanted.code if isinstance(wanted.code, int) else int(wanted.code is not None)
    except BaseException:  # noqa: BLE001 - the last frame of a process: whatever it was, say it and exit
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _let_go_of_signals(mask: Iterable[int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in _OWN:
        signal.signal(number, signal.SIG_DFL)
    for number in _NOT_OURS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _let_go_of_files(kept: set[int]) -> None:
    inherited = [int(entry.name) for entry in Path("/dev/fd").iterdir()]
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in inherited:
        if descriptor > 2 and descriptor not in kept and descriptor != nowhere:
            os.dup2(nowhere, descriptor, inheritable=False)
