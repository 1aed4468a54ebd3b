"""What was learned about a token, for as long as it holds, and for a bounded number of tokens."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")

KEY_LIMIT_BYTES = 4096  # longer ones are not worth their memory


class Remembered(Generic[T]):
    """At most `most` keys; the one that was not asked for longest goes first. Times are whatever the caller's are."""

    __slots__ = ("_entries", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[bytes, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> T | None:
        """Return what is known of `key`, if it holds beyond `now`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= now:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: bytes, value: T, until: float) -> None:
        """Remember `value` of `key` for times before `until`."""
        if self._most == 0 or len(key) > KEY_LIMIT_BYTES:
            return
        self._entries[key] = (until, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._most:
            self._entries.popitem(last=False)
