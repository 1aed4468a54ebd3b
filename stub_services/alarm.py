"""An alarm that goes off at a time of the monotonic clock, more precisely than the loop's own timers.

uvloop rounds timers to whole milliseconds and may fire them early. Linux has timerfd, which does neither; elsewhere the
loop's `call_at` has to do.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_NS = 1_000_000_000


class _TimeSpec(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_long), ("nsec", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Alarm:
    """Calls `ring` when the time set has come. One time at a time; belongs to the running loop."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        self._fd = -1 if self._libc is None else self._open()

    def set(self, at_ns: int) -> None:
        """Ring at `at_ns` of time.monotonic_ns, instead of any time set before."""
        if self._fd >= 0:
            self._arm(max(at_ns, 1))  # 0 would disarm it
            return
        self.cancel()
        delay_s = max(0, at_ns - time.monotonic_ns()) / _NS
        self._handle = self._loop.call_later(delay_s, self._ring_not_before, at_ns)

    def cancel(self) -> None:
        """Do not ring."""
        if self._fd >= 0:
            self._arm(0)
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def close(self) -> None:
        """Do not ring any more, and give the timer back."""
        self.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _ring_not_before(self, at_ns: int) -> None:
        """Wait on when the loop's timer fires early, as it may."""
        if time.monotonic_ns() < at_ns:
            self.set(at_ns)
        else:
            self._ring()

    def _open(self) -> int:
        """Open a timerfd; -1 where the kernel has none."""
        assert self._libc is not None
        fd = int(self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        if fd >= 0:
            self._loop.add_reader(fd, self._expired)
        return fd

    def _arm(self, at_ns: int) -> None:
        assert self._libc is not None
        spec = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(at_ns // _NS, at_ns % _NS))
        if self._libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(spec), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def _expired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew since it became readable
        self._ring()
