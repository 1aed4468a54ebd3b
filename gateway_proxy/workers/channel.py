"""The line between the supervisor and a worker: JSON objects, one a line, over a socket pair.

    supervisor -> worker    {"id": 7, "ask": "pools"}      {"id": 8, "ask": "reload", "with": {...}}
    worker -> supervisor    {"id": 7, "answer": {...}}     {"id": 8, "error": "why"}     {"said": "ready"}

A worker whose channel ends has lost its supervisor, and stops as after SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway_proxy.config import GatewayConfig

_LONGEST_LINE_BYTES = 1 << 24

Handler = Callable[[Any], Awaitable[Any]]
"""Answers one kind of question: takes what came `with` it (None when nothing did), returns values for JSON."""


class AskError(Exception):
    """A worker gave no answer; the message says why."""


@dataclass
class Channel:
    """A worker's end, with everything that the supervisor gives it.

    `listeners` are listening sockets, to be accepted from (`loop.create_server(sock=...)`) and closed when draining.
    `number` counts from 0; `generation` is that of `config`.
    """

    number: int
    listeners: Sequence[socket.socket]
    config: GatewayConfig
    generation: int
    sock: socket.socket

    def ready(self) -> None:
        """Say that the worker accepts connections; until then it is not sent any when others are there."""
        self._say("ready")

    def leaving(self) -> None:
        """Say that the worker accepts no more and will end: it is replaced at once, while it finishes what it has."""
        self._say("leaving")

    def _say(self, what: str) -> None:
        with contextlib.suppress(OSError):  # nobody is there to hear, which the end of the channel says as well
            self.sock.send(json.dumps({"said": what}).encode() + b"\n")

    async def answer(self, handlers: Mapping[str, Handler]) -> None:
        """Answer questions in the running loop, each by the handler of its name, until the supervisor is gone.

        What a handler raises is told to the supervisor, with a traceback on stderr unless it is an AskError.
        """
        self.sock.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=self.sock, limit=_LONGEST_LINE_BYTES)
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            while line := await reader.readline():
                question = json.loads(line)
                reply = await _reply(handlers.get(question["ask"]), question)
                writer.write(json.dumps({"id": question["id"], **reply}).encode() + b"\n")
                await writer.drain()


async def _reply(handler: Handler | None, question: dict[str, Any]) -> dict[str, Any]:
    if handler is None:
        return {"error": f"knows nothing of {question['ask']!r}"}
    try:
        return {"answer": await handler(question.get("with"))}
    except AskError as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - the channel has to live on, and the asker has to hear
        traceback.print_exc(file=sys.stderr)
        return {"error": f"{type(error).__name__}: {error}"}


class Line:
    """The supervisor's end of one worker's channel."""

    def __init__(self, said: Callable[[str], None]) -> None:
        self._said = said
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._next = 0

    async def run(self, sock: socket.socket) -> None:
        """Hear what the worker says until it is gone; whoever still waits then gets AskError."""
        reader, self._writer = await asyncio.open_connection(sock=sock, limit=_LONGEST_LINE_BYTES)
        try:
            while line := await reader.readline():
                self._hear(json.loads(line))
        except (ConnectionError, ValueError) as error:
            self._give_up(f"its channel broke: {error}")
        finally:
            self._give_up("it ended")
            self._writer.close()
            self._writer = None

    async def ask(self, what: str, argument: Any = None, timeout_s: float = 2.0) -> Any:
        """Return the worker's answer. Raises AskError when it says no, is gone, or does not answer in time."""
        if self._writer is None:
            raise AskError("it is not there")
        self._next += 1
        number, answer = self._next, asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(timeout_s):
                self._writer.write(json.dumps({"id": number, "ask": what, "with": argument}).encode() + b"\n")
                return await answer
        except TimeoutError:
            raise AskError(f"no answer in {timeout_s:g} s") from None
        finally:
            del self._waiting[number]

    def _hear(self, said: dict[str, Any]) -> None:
        if "said" in said:
            self._said(said["said"])
            return
        answer = self._waiting.get(said["id"])
        if answer is None or answer.done():
            return
        if "error" in said:
            answer.set_exception(AskError(said["error"]))
        else:
            answer.set_result(said["answer"])

    def _give_up(self, why: str) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(AskError(why))
