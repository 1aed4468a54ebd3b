"""From a batch in which something went wrong to the few bytes that make it go wrong."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tests.fuzz.conversation import Conversation
from tests.fuzz.play import Tally, play
from tests.fuzz.rig import Rig, rig

SECONDS = 20.0

Fails = Callable[[Sequence[Conversation]], Awaitable[bool]]


class Reproducer:
    """Plays conversations to see whether a finding of a kind comes again, each time with a gateway that is well."""

    def __init__(self, kind: str, seconds: float = SECONDS) -> None:
        self.kind = kind
        self._until = time.monotonic() + seconds
        self._stack = contextlib.AsyncExitStack()
        self._rig: Rig | None = None

    @property
    def has_time(self) -> bool:
        return time.monotonic() < self._until

    async def fails(self, conversations: Sequence[Conversation]) -> bool:
        """Say whether it goes wrong again; False once time is up, so that what is known to fail stands."""
        if not self.has_time:
            return False
        if self._rig is None:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            self._rig = await self._stack.enter_async_context(rig(folder))
        findings = await play(self._rig, conversations, Tally())
        if any(not finding.suspects for finding in findings):
            await self.close()
        return any(finding.kind == self.kind for finding in findings)

    async def close(self) -> None:
        self._rig = None
        await self._stack.aclose()


async def shrink(kind: str, conversations: Sequence[Conversation], seconds: float = SECONDS) -> list[Conversation]:
    """Return fewer and shorter conversations that still give a finding of `kind`; all of them if none does alone."""
    reproducer = Reproducer(kind, seconds)
    try:
        fewer = await _fewer(list(conversations), reproducer.fails)
        return [await _simpler(fewer[0], reproducer.fails)] if len(fewer) == 1 else fewer
    finally:
        await reproducer.close()


async def _fewer(conversations: list[Conversation], fails: Fails) -> list[Conversation]:
    """Halve as long as one half fails by itself."""
    while len(conversations) > 1:
        middle = len(conversations) // 2
        for half in (conversations[:middle], conversations[middle:]):
            if await fails(half):
                conversations = half
                break
        else:
            return conversations
    return conversations


async def _simpler(conversation: Conversation, fails: Fails) -> Conversation:
    for change in (
        {"answers": {}},
        {"ending": "wait"},
        {"pieces": (conversation.sent,)},
        {"answers": {n: replace(answer, pieces=(answer.whole,)) for n, answer in conversation.answers.items()}},
    ):
        candidate = replace(conversation, **change)
        if candidate != conversation and await fails([candidate]):
            conversation = candidate
    if conversation.pristine:
        return conversation  # with other bytes it would be allowed to be refused
    return await _shorter(conversation, fails)


async def _shorter(conversation: Conversation, fails: Fails) -> Conversation:
    """Leave out ever smaller spans of bytes."""
    size = len(conversation.sent) // 2
    while size:
        at = 0
        while at < len(conversation.sent):
            candidate = conversation.with_bytes(conversation.sent[:at] + conversation.sent[at + size :])
            if await fails([candidate]):
                conversation = candidate
            else:
                at += size
        size //= 2
    return conversation
