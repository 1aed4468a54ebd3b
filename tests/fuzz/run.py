"""The whole run: batch after batch until time is up, each kind of finding shrunk to the bytes that show it."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.conversation import Conversation, save
from tests.fuzz.judge import Finding
from tests.fuzz.play import Tally, batch, play
from tests.fuzz.rig import Rig, rig
from tests.fuzz.shrink import shrink

MOST_KINDS = 20


@dataclass(frozen=True)
class Shown:
    """A kind of finding: the first of them, how to play it again, and what it was shrunk to."""

    finding: Finding
    conversations: list[Conversation]
    file: Path


@dataclass
class Result:
    """A run that is over."""

    seed: int
    seconds: float = 0.0
    tally: Tally = field(default_factory=Tally)
    shown: dict[str, Shown] = field(default_factory=dict)
    worst_canary_s: float = 0.0
    batches: int = 0


def fuzz(seed: int, seconds: float, folder: Path, batches: int | None = None) -> Result:
    """Play batches for so many seconds, or so many batches. Findings are written to files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return asyncio.run(_fuzz(seed, seconds, folder, batches))


def replay(conversations: Sequence[Conversation]) -> list[Finding]:
    """Play conversations once against a fresh gateway and return what is wrong."""

    async def once() -> list[Finding]:
        with tempfile.TemporaryDirectory() as folder:
            async with rig(Path(folder)) as fresh:
                return await play(fresh, conversations, Tally())

    return asyncio.run(once())


async def _fuzz(seed: int, seconds: float, folder: Path, batches: int | None) -> Result:
    result = Result(seed)
    started = time.monotonic()
    while not _over(result, started, seconds, batches):
        with tempfile.TemporaryDirectory() as home:
            async with rig(Path(home)) as fresh:
                await _play_on(fresh, result, folder, lambda: _over(result, started, seconds, batches))
                result.worst_canary_s = max(result.worst_canary_s, fresh.worst_canary_s)
    result.seconds = time.monotonic() - started
    return result


def _over(result: Result, started: float, seconds: float, batches: int | None) -> bool:
    if len(result.shown) >= MOST_KINDS:
        return True
    return result.batches >= batches if batches else time.monotonic() - started >= seconds


async def _play_on(fresh: Rig, result: Result, folder: Path, over: Callable[[], bool]) -> None:
    """Play batches with one gateway, until time is up or it has ended or lost something."""
    while not over():
        conversations = batch(result.seed, result.batches)
        findings = await play(fresh, conversations, result.tally)
        for finding in findings:
            if finding.kind not in result.shown and len(result.shown) < MOST_KINDS:
                result.shown[finding.kind] = await _show(finding, conversations, result, folder)
        result.batches += 1
        if any(not finding.suspects for finding in findings):
            return


async def _show(finding: Finding, conversations: list[Conversation], result: Result, folder: Path) -> Shown:
    """Shrink what shows the finding and write it to a file; the whole batch where nothing smaller shows it."""
    own = [one for one in conversations if one.number in finding.suspects] or conversations
    few = await shrink(finding.kind, own)
    slug = re.sub(r"[^a-z]+", "-", finding.kind.lower()).strip("-")[:50]
    file = folder / f"{slug}-{result.seed}-{result.batches}.json"
    save(file, few, f"{finding.kind}: {finding.detail}", f"seed {result.seed}, batch {result.batches}")
    return Shown(finding, few, file)
