"""The access log: a JSON object a line for every exchange, put together as bytes and written in batches.

Order: any; it reads what the others left. `route` and `upstream` are names of the configuration.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from gateway_proxy.exchange import Exchange

_LARGE_BYTES = 65536
_HELD_LIMIT_BYTES = 1 << 20  # of lines that cannot be written; later ones are lost, and counted
_SAFE = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
_S, _MS = 1_000_000_000, 1_000_000
_LINE = (
    b'{"time":"%b.%03dZ","client":"%b","method":"%b","path":"%b","status":%d,"bytes":%d,"duration_ms":%.3f,'
    b'"gateway_ms":%.3f,"upstream_ms":%.3f,"attempts":%d,"request_id":"%b",%b\n'
)


class AccessLog:
    """Writes to `file`, which is created if need be and only ever appended to. Raises OSError if it cannot be opened.

    A line has `time` (RFC 3339, UTC, ms: when the exchange ended), `client`, `method`, `path` (raw, without the
    query, which may hold secrets), `status` (0: none was sent), `bytes` (of the answer's body), `duration_ms`,
    `gateway_ms` and `upstream_ms` (as gateway_proxy.exchange defines them), `attempts`, `request_id`, `upstream`,
    `target` (the address), `route`, `outcome`. Bytes beyond ASCII are written as the code points of
    the same number.

    Lines wait until there are 64 KiB of them, or `flush_s` seconds have passed when `flush_if_due` is called. A batch
    is one call of write, so that lines of several processes do not mix. What cannot be written waits, up to 1 MiB;
    `write_errors` and `lost_lines` count what went wrong. `wall_ns` tells the time of day, `clock_ns` the time that
    exchanges are measured by.
    """

    def __init__(
        self,
        file: str,
        flush_s: float,
        wall_ns: Callable[[], int] = time.time_ns,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._file = file
        self._flush_s = flush_s
        self._wall_ns = wall_ns
        self._clock_ns = clock_ns
        self._fd = _open(file)
        self._lines: list[bytes] = []
        self._held_bytes = 0
        self._flushed_s = 0.0
        self._stuck = False
        self._ahead_ns = wall_ns() - clock_ns()
        self._second = -1
        self._second_text = b""
        self._tails: dict[tuple[str, str, str, str], bytes] = {}
        self.write_errors = self.lost_lines = 0

    def __call__(self, exchange: Exchange) -> None:
        """Add the exchange's line, and write when there is enough."""
        line = self._line(exchange)
        self._held_bytes += len(line)
        self._lines.append(line)
        if self._held_bytes >= _LARGE_BYTES:
            self._relieve()

    def _line(self, exchange: Exchange) -> bytes:
        second, part_ns = divmod(exchange.ended_ns + self._ahead_ns, _S)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode("ascii")
        tail = (exchange.upstream, exchange.address, exchange.route, exchange.outcome)
        duration_ns, upstream_ns = exchange.ended_ns - exchange.began_ns, exchange.upstream_ns
        peer, path, request_id = exchange.peer, exchange.path, exchange.request_id
        if (peer + path + request_id).translate(None, _SAFE):
            peer, path, request_id = _escaped(peer), _escaped(path), _escaped(request_id)
        return _LINE % (
            self._second_text,
            part_ns // _MS,
            peer,
            exchange.method,  # llhttp lets only those pass that it knows
            path,
            exchange.status,
            exchange.body_bytes,
            duration_ns / _MS,
            (duration_ns - upstream_ns) / _MS,
            upstream_ns / _MS,
            exchange.attempts,
            request_id,
            self._tails.get(tail) or self._tail(tail),
        )

    def _tail(self, values: tuple[str, str, str, str]) -> bytes:
        """Return the end of a line, which the configuration has few of; anything else would be no such name."""
        named = dict(zip(("upstream", "target", "route", "outcome"), values, strict=True))
        self._tails[values] = json.dumps(named, separators=(",", ":"))[1:].encode("ascii")
        return self._tails[values]

    def flush_if_due(self, now_s: float) -> None:
        """Write what waits if the last time is `flush_s` ago; `now_s` is of any monotonic clock. For a sweep."""
        if now_s - self._flushed_s >= self._flush_s:
            self._flushed_s = now_s
            self.flush()

    def flush(self) -> None:
        """Write what waits, in one call; never raises."""
        self._ahead_ns = self._wall_ns() - self._clock_ns()
        if not self._lines:
            return
        batch = b"".join(self._lines)
        try:
            written = os.write(self._fd, batch)
        except OSError:
            self.write_errors += 1
            written = 0
        self._stuck = written < len(batch)
        self._lines = [batch[written:]] if self._stuck else []
        self._held_bytes = len(batch) - written

    def reopen(self) -> None:
        """Go on in a new file of the same name, as after a rotation; in the old one if it cannot be opened."""
        self.flush()
        try:
            fd = _open(self._file)
        except OSError:
            self.write_errors += 1
            return
        os.close(self._fd)
        self._fd = fd

    def close(self) -> None:
        """Write what waits and close the file."""
        self.flush()
        os.close(self._fd)

    def _relieve(self) -> None:
        """Write; while that does not work, wait for the next sweep to try again, and lose what is too much."""
        if not self._stuck:
            self.flush()
        elif self._held_bytes > _HELD_LIMIT_BYTES:
            self._held_bytes -= len(self._lines.pop())
            self.lost_lines += 1


def _open(file: str) -> int:
    """Open for appending. Without blocking: a pipe that nobody reads must not hold the loop."""
    return os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)


def _escaped(value: bytes) -> bytes:
    """Return the value as it stands in a JSON string."""
    return json.dumps(value.decode("latin-1"))[1:-1].encode("ascii")
