"""Which upstream a request target belongs to: the longest prefix that ends at a segment of the path."""

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

_LONG_BYTES = 256
_QUESTION = ord("?")  # looking for an int in bytes is several times cheaper than looking for bytes


class Routes(Generic[T]):
    """A lookup from raw request targets to destinations.

    Prefixes are compared byte by byte with the raw path, so `%61` is not `a`: what the upstream sees is what decided.
    The cost of a lookup grows with the depth of the path, not with the number of routes; a long path is first cut to
    the depth of the deepest prefix, as walking up from its end would cost the square of its length.
    """

    __slots__ = ("_by_prefix", "_deepest")

    def __init__(self, routes: Iterable[tuple[str, T]]) -> None:
        self._by_prefix = {prefix.rstrip("/").encode("ascii"): to for prefix, to in routes}
        self._deepest = max((prefix.count(b"/") for prefix in self._by_prefix), default=0)

    def find(self, target: bytes) -> T | None:
        """Return the destination of an origin-form target (path and query), or None when no prefix matches."""
        path = target.partition(b"?")[0] if _QUESTION in target else target
        if len(path) > _LONG_BYTES:
            path = b"/".join(path.split(b"/", self._deepest + 1)[: self._deepest + 1])
        find = self._by_prefix.get
        found = find(path)
        while found is None and path:
            path = path.rpartition(b"/")[0]
            found = find(path)
        return found
