"""What a service leaves about its calls: `<name>.calls`, a record a logical call, and `<name>.events`, text lines.

A record has 32 bytes and is appended with one write, so that it is whole in the file however the process ends: a
power of two never crosses a page. A process that starts again first cuts a torn end off and then continues the file.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from typing import NamedTuple, cast

from stub_services.policies import Outcome
from stub_services.settings import SERVICE_NAMES

OPERATIONS = ("profile/create", "progress/update", "statistics/update", "profile/read", "send")
"""The operations' names, as the built-in scenario spells them (a test compares the two). Append only."""

OUTCOMES: tuple[Outcome, ...] = ("ok", "error", "timeout", "rejected")

_RECORD = struct.Struct("<qqBBBxHHHxxxxxx")  # start, done, callee, operation, outcome, attempts, status, hops
assert _RECORD.size == 32
_CALLEES = {name: number for number, name in enumerate(SERVICE_NAMES)}
_OPERATIONS = {name: number for number, name in enumerate(OPERATIONS)}
_OUTCOMES = {name: number for number, name in enumerate(OUTCOMES)}


class CallRow(NamedTuple):
    """One logical call as its caller saw it. Times of the monotonic clock in ns; status and hops 0 are unknown."""

    caller: str
    callee: str
    operation: str
    start_ns: int
    done_ns: int
    attempts: int
    outcome: Outcome
    status: int
    hops: int


class EventRow(NamedTuple):
    """Something that happened to a peer's breaker: breaker_open, breaker_half_open, breaker_closed."""

    at_ns: int
    kind: str
    peer: str


def open_log(path: Path, record_bytes: int = 1) -> int:
    """Open a log to append to, cut back to whole records. Raises OSError as it comes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.ftruncate(fd, os.fstat(fd).st_size // record_bytes * record_bytes)
    return fd


def read_records(path: Path, record: struct.Struct) -> list[tuple[int, ...]]:
    """Return the whole records of a log; a torn last one is left out, a missing file is empty."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    return list(record.iter_unpack(data[: len(data) // record.size * record.size]))


class CallLog:
    """Appends calls and events of one service. With `folder` None nothing is recorded."""

    def __init__(self, folder: Path | None, name: str) -> None:
        self._calls = -1 if folder is None else open_log(folder / f"{name}.calls", _RECORD.size)
        self._events = -1 if folder is None else open_log(folder / f"{name}.events")

    def call(
        self, start_ns: int, callee: str, operation: str, attempts: int, outcome: Outcome, status: int, hops: int
    ) -> None:
        """Append a call that is done now."""
        if self._calls >= 0:
            record = _RECORD.pack(
                start_ns,
                time.monotonic_ns(),
                _CALLEES[callee],
                _OPERATIONS[operation],
                _OUTCOMES[outcome],
                attempts,
                status,
                min(hops, 65535),
            )
            os.write(self._calls, record)

    def event(self, kind: str, peer: str) -> None:
        """Append an event that happens now."""
        if self._events >= 0:
            os.write(self._events, f"{time.monotonic_ns()} {kind} {peer}\n".encode())

    def close(self) -> None:
        """Close both files."""
        for fd in (self._calls, self._events):
            if fd >= 0:
                os.close(fd)
        self._calls = self._events = -1


def read_calls(path: Path) -> list[CallRow]:
    """Read a `.calls` file, in the order in which calls ended. The caller is the file's name."""
    caller = path.name.removesuffix(".calls")
    return [
        CallRow(
            caller,
            SERVICE_NAMES[callee],
            OPERATIONS[operation],
            start_ns,
            done_ns,
            attempts,
            OUTCOMES[outcome],
            status,
            hops,
        )
        for start_ns, done_ns, callee, operation, outcome, attempts, status, hops in read_records(path, _RECORD)
    ]


def read_events(path: Path) -> list[EventRow]:
    """Read an `.events` file; a torn last line is left out, a missing file is empty."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [EventRow(int(at_ns), kind, peer) for at_ns, kind, peer in cast("list[tuple[str, str, str]]", lines)]
