"""What Locust's master and its workers have in common: settings that Locust leaves to be changed, and the channel.

Imported in Locust's own processes only: importing Locust replaces half of the standard library by gevent's.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator, Mapping
from typing import Any

import locust.stats
import msgpack
from locust import runners

from harness.cpu import LINUX

ARRIVED, HELLO, REFUSED, PING, PONG, SHARE, HALT, TOLD, REPORT, FAILED = (
    f"archbench_{name}"
    for name in ("arrived", "hello", "refused", "ping", "pong", "share", "halt", "told", "report", "failed")
)

STOP_TIMEOUT_S = 30.0
"""Longer than a request may take: what is in flight when a worker is stopped comes to its end."""

CONNECT_PATIENCE_S = 10
_MASTER_SILENT_S = 10
_PART_BYTES = 1 << 20
_PR_SET_PDEATHSIG = 1


def tune_locust() -> None:
    """Change what Locust has as module globals, in this process."""
    # Locust's own would round to whole milliseconds below 100 ms.
    setattr(locust.stats, "bucket_response_time", three_figures)  # noqa: B010 - Locust types it as returning int
    runners.CONNECT_TIMEOUT, runners.CONNECT_RETRY_COUNT = CONNECT_PATIENCE_S, 0
    runners.MASTER_HEARTBEAT_TIMEOUT = _MASTER_SILENT_S
    runners.WORKER_LOG_REPORT_INTERVAL = -1  # logs stay where they are written
    # The master must not stand still for a second after it has told a worker to start.
    os.environ["LOCUST_WAIT_FOR_WORKERS_REPORT_AFTER_RAMP_UP"] = "0.05"


def three_figures(response_time: float) -> float:
    """Return milliseconds with three significant figures: 7.3 stays, 147.26 becomes 147."""
    return float(f"{response_time:.3g}")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the one that started it ends (Linux); exit if it has ended already."""
    if LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(1)


def parts_of(number: int, content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what goes over Locust's channel for some content: pieces small enough to let a heartbeat pass between."""
    whole = msgpack.packb(content)
    pieces = range(0, len(whole), _PART_BYTES)
    for place, start in enumerate(pieces):
        yield {"number": number, "place": place, "of": len(pieces), "data": whole[start : start + _PART_BYTES]}


class Parts:
    """Puts content together again. The channel keeps the order; a piece of another number starts anew."""

    def __init__(self) -> None:
        self._number = -1
        self._pieces: list[bytes] = []

    def add(self, part: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take a piece; return the content when it was the last one."""
        if part["number"] != self._number or part["place"] == 0:
            self._number, self._pieces = part["number"], []
        self._pieces.append(part["data"])
        if len(self._pieces) < part["of"]:
            return None
        whole, self._pieces = b"".join(self._pieces), []
        content: dict[str, Any] = msgpack.unpackb(whole, strict_map_key=False)
        return content
