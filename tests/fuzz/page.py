"""A run in words: printed, and docs/fuzz.md."""

from __future__ import annotations

import re
from collections import Counter

from tests.fuzz.play import MOST_GROWTH_BYTES, TOGETHER
from tests.fuzz.run import Result, Shown

_MOST_BYTES = 400


def table(result: Result) -> str:
    """Return what happened as a table of numbers."""
    tally = result.tally
    rows = {
        "seconds": f"{result.seconds:.0f}",
        "batches": result.batches,
        "conversations": tally.conversations,
        "requests in them that are HTTP/1.1 by the letter": tally.requests,
        "kinds of findings": len(result.shown),
        "correct requests that missed a deadline": tally.slow,
        "worst time to the end of a conversation, s": f"{tally.worst_s:.2f}",
        "worst time of a canary, ms": f"{result.worst_canary_s * 1e3:.0f}",
        "resident memory before and after, MB": _before_and_after([rss / 1e6 for rss in tally.rss_bytes], "{:.1f}"),
        "sockets before and after": _before_and_after(tally.sockets, "{}"),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def _before_and_after(values: list[float], form: str) -> str:
    return f"{form.format(values[0])}, {form.format(values[-1])}" if values else "-"


def outcomes(result: Result) -> str:
    """Return how conversations ended, by what the client did and by the last answer."""
    by_kind: dict[str, Counter[str]] = {}
    for name, count in result.tally.outcomes.items():
        kind, _, rest = name.partition(": ")
        by_kind.setdefault(kind, Counter())[re.sub(r"^\d+ answers, ", "", rest)] += count
    lines = ["| the client | ended | conversations |", "|---|---|---|"]
    for kind, counter in sorted(by_kind.items()):
        lines.extend(f"| {kind} | {rest} | {count} |" for rest, count in counter.most_common())
    return "\n".join(lines)


def findings(result: Result) -> str:
    """Return each kind of finding with its count and the bytes that show it."""
    return "\n\n".join(_shown(kind, shown, len(result.tally.findings[kind])) for kind, shown in result.shown.items())


def _shown(kind: str, shown: Shown, count: int) -> str:
    lines = [f"### {kind}", "", f"{count} times. The first: `{_code(shown.finding.detail)}`", ""]
    if len(shown.conversations) > 1:
        return "\n".join([*lines, f"No single conversation shows it; {len(shown.conversations)} do: `{shown.file}`"])
    (one,) = shown.conversations
    lines.append(f"Shown by `{_code(repr(one.sent))}`, ending with {one.ending}")
    for number, answer in one.answers.items():
        lines.append(f", and the answer to request {number}: `{_code(repr(answer.whole))}`, then {answer.then}")
    return "\n".join([*lines, "", f"Replay: `python -m tests.fuzz --replay {shown.file}`"])


def _code(text: str) -> str:
    text = text.replace("`", "'")
    return text if len(text) <= _MOST_BYTES else text[:_MOST_BYTES] + "..."


def page(result: Result, where: str) -> str:
    """Return docs/fuzz.md."""
    found = findings(result) or "None."
    return f"""\
# What the gateway does with bytes that nobody would send

Written by `make fuzz` (`python -m tests.fuzz --seconds 600 --write`): one gateway, {TOGETHER} clients at a time, one
upstream that answers oddly and writes down what it got. Conversations are real requests and answers changed in a few
bytes, and others that hypothesis makes from the grammar; a quarter are correct in every byte. They are cut into
segments, pipelined, closed and reset at odd points.

After each conversation what both sides saw is held against a reader of our own (`tests/fuzz/strict.py`), written from
RFC 9110 and RFC 9112:

- No request reaches the upstream that the client did not send, and none changed in method, target, body, end-to-end
  fields or their order.
- No request that is not idempotent is sent twice. No bytes of two clients meet in one request.
- llhttp, h11, a reader that believes `Content-Length` first and one that believes `chunked` first find the same
  requests in what went upstream.
- A client gets only answers to its own requests, in order, as the upstream gave them. A broken or cut answer never
  looks whole.
- Every conversation ends, by an answer or by a close. A correct request gets its answer.

After each batch: the process lives, answers on a fresh and on a kept connection, has said nothing on stderr, holds no
socket that neither side knows of (`/proc/PID/fd`), and has grown by less than {MOST_GROWTH_BYTES // 10**6} MB.

{where}, seed {result.seed}.

{table(result)}

## Findings

{found}

## How conversations ended

{outcomes(result)}
"""
