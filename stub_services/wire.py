"""uvicorn's HTTP protocol, with one write an answer instead of two, and no timer a request.

uvicorn writes the head of an answer and its body apart and uvloop sends what it is given at once, so that a small
answer costs two packets, and its reader two wake-ups: about a tenth of the CPU of a whole request. It also starts and
cancels a timer for each request, to close connections that idle; here it is the client who decides how long.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class OneWrite:
    """A transport that writes at once what is written to it in one turn of the loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._write = transport.write
        self._close = transport.close
        self._loop = loop
        self._held = b""
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        """Write `data` when this turn of the loop is over."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held += data

    def flush(self) -> None:
        """Write what is held back."""
        if self._held:
            held, self._held = self._held, b""
            self._write(held)

    def close(self) -> None:
        """Close after what is written or held back."""
        self.flush()
        self._close()


class LeanProtocol(HttpToolsProtocol):
    """uvicorn's protocol on a transport of that kind. Idle connections stay open until the client closes them."""

    def connection_made(self, transport: Any) -> None:
        """Put the transport between."""
        super().connection_made(OneWrite(transport, self.loop))  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        """Go on with the next request of a pipeline, if any: uvicorn's own, less the timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
