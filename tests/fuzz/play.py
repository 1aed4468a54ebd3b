"""Batches of conversations against one gateway, and what is checked after each."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.fuzz import grammar, mutate
from tests.fuzz.conversation import Conversation
from tests.fuzz.judge import Expected, Finding, Verdict, expect, judge, judge_streams, origin_form
from tests.fuzz.rig import Rig, Seen, Sight

BATCH = 800
MADE_BY_GRAMMAR = 24  # hypothesis takes as long for one as mutation for three hundred
TOGETHER = 96
MOST_GROWTH_BYTES = 48_000_000
MOST_SLOW_SHARE = 0.01
_CANARIES = 0xFF0000


def batch(seed: int, number: int, size: int = BATCH) -> list[Conversation]:
    """Return the conversations of one batch; the same for the same arguments."""
    first = number * size % _CANARIES
    rng = random.Random(f"{seed}/{number}")
    made = grammar.conversations(first, MADE_BY_GRAMMAR * size // BATCH, rng.getrandbits(32))
    mutated = [mutate.conversation(first + n, rng) for n in range(len(made), size)]
    conversations = [*made, *mutated]
    rng.shuffle(conversations)
    return conversations


@dataclass
class Tally:
    """What has come of all batches so far."""

    conversations: int = 0
    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, list[Finding]] = field(default_factory=lambda: defaultdict(list))
    worst_s: float = 0.0
    rss_bytes: list[int] = field(default_factory=list)
    sockets: list[int] = field(default_factory=list)
    unmarked: int = 0
    slow: int = 0  # correct requests that ran into a deadline: this machine had other things to do

    def too_slow(self) -> bool:
        return self.slow > 10 + MOST_SLOW_SHARE * self.requests


async def play(rig: Rig, conversations: Sequence[Conversation], tally: Tally) -> list[Finding]:
    """Play a batch and check everything; return what is wrong with it."""
    bench = rig.bench
    bench.clear()
    bench.playing = {conversation.number: conversation for conversation in conversations}
    gate = asyncio.Semaphore(TOGETHER)
    played = await asyncio.gather(*(_one(rig, conversation, gate) for conversation in conversations))
    settled = await _settle(rig, tally)
    findings = [*settled, *_judge(rig, conversations, played, tally)]
    for finding in findings:
        tally.findings[finding.kind].append(finding)
    return findings


async def _one(rig: Rig, conversation: Conversation, gate: asyncio.Semaphore) -> Seen | OSError:
    async with gate:
        try:
            return await rig.converse(conversation, expect(conversation.sent).enough)
        except OSError as error:
            return error


async def _settle(rig: Rig, tally: Tally) -> list[Finding]:
    """Check the gateway itself: alive, silent, answering, nothing leaked, not grown."""
    if not rig.alive():
        return [Finding("the gateway ended", f"{rig.process.returncode}: {rig.complaints()[-2000:]}")]
    found = []
    if wrong := await rig.canary(_CANARIES + tally.conversations % 0xFFFF):
        found.append(Finding("a canary without its answer", wrong))
    if leaked := await rig.leaked():
        found.append(Finding("leaked connections", f"{leaked} sockets that neither side knows of"))
    if complaints := rig.complaints():
        found.append(Finding("something on stderr", complaints[-2000:]))
    tally.rss_bytes.append(rig.rss_bytes())
    tally.sockets.append(rig.sockets())
    if tally.too_slow():
        found.append(Finding("many deadlines missed", f"{tally.slow} of {tally.requests} correct requests"))
    if tally.rss_bytes[-1] - tally.rss_bytes[0] > MOST_GROWTH_BYTES:
        found.append(Finding("memory grows", f"{tally.rss_bytes[0]} bytes were {tally.rss_bytes[-1]}"))
    return found


def _judge(
    rig: Rig, conversations: Sequence[Conversation], played: Sequence[Seen | OSError], tally: Tally
) -> Iterator[Finding]:
    bench = rig.bench
    yield from judge_streams(bench.streams, bench.sights, bench.broken)
    expected = {conversation.number: expect(conversation.sent) for conversation in conversations}
    sights = _by_owner(bench.sights, expected, tally)
    for conversation, seen in zip(conversations, played, strict=True):
        if isinstance(seen, OSError):
            yield Finding("no connection to the gateway", str(seen), frozenset({conversation.number}))
            continue
        number = conversation.number
        verdict = judge(conversation, expected[number], seen, sights.pop(number, []))
        _count(verdict, conversation, seen, len(expected[number].requests), tally)
        yield from verdict.findings
    for number, strangers in sights.items():
        yield Finding("a request of nobody's", f"{number}: {strangers[0].raw[:300]!r}", frozenset({number} - {-1}))


def _by_owner(sights: Sequence[Sight], expected: dict[int, Expected], tally: Tally) -> dict[int, list[Sight]]:
    """Sort requests by their conversation; one whose mark was changed belongs to the one that sent its target."""
    senders = {
        (request.method, origin_form(request)): number
        for number, one in expected.items()
        for request in [*one.requests, *filter(None, [one.partial])]
    }
    found = defaultdict(list)
    for sight in sights:
        owner = sight.mark.conversation if sight.mark else senders.get((sight.message.method, sight.message.target), -1)
        tally.unmarked += sight.mark is None
        if owner < _CANARIES:
            found[owner].append(sight)
    return found


def _count(verdict: Verdict, conversation: Conversation, seen: Seen, requests: int, tally: Tally) -> None:
    tally.conversations += 1
    tally.requests += requests
    tally.slow += verdict.slow
    tally.outcomes[f"{'pristine' if conversation.pristine else conversation.ending}: {verdict.outcome}"] += 1
    tally.worst_s = max(tally.worst_s, seen.seconds)
