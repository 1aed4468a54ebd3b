"""What a case came to, in a line: `answers / requests at the upstream`.

`200, 400 close / POST 5` reads: answered 200 and 400, then closed; the upstream got one POST with a body of five bytes.
What is systematic is left out (the page says it); what was changed on the way is named: `-x` a field that was dropped,
`+x` one that was added, `~x` one whose value changed, `as /b` another target.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import groupby, zip_longest

from tests.functional.differences.case import PLACE
from tests.functional.differences.lab import Exchange
from tests.fuzz.strict import Field, Message, Reading, read_answers, read_requests

OWN = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"via"}
_FRAMING = {b"content-length", b"transfer-encoding"}
_BORING_BODIES = {b"ok", b""}
_LONG = 60


@dataclass(frozen=True)
class Outcome:
    """`text` is what the page shows; two outcomes with the same `key` are no difference."""

    text: str
    key: tuple[object, ...]


def outcome(exchange: Exchange) -> Outcome:
    """Return what the exchange came to."""
    answers = read_answers(exchange.received, exchange.case.asked(), exchange.end == "closed")
    end = "" if exchange.end == "open" else "close"
    words = [_answer(message, exchange) for message in answers.messages] + _leftover(answers, exchange)
    requests = [word for data in exchange.upstream for word in _requests(data, exchange)]
    text = f"{_runs(words) or 'silence'} {end}".strip() + " / " + (_runs(requests) or "nothing")
    classes = tuple("refused" if _is_own(message, exchange) else "" for message in answers.messages)
    key = tuple(kind or word for kind, word in zip_longest(classes, words))
    return Outcome(text, (key, end, tuple(requests)))


def _runs(words: list[str]) -> str:
    """Join words, equal ones that follow each other as one with their number."""
    found = [(word, len(list(run))) for word, run in groupby(words)]
    return ", ".join(", ".join([word] * count) if count < 4 else f"{word} ({count} times)" for word, count in found)


def _is_own(message: Message, exchange: Exchange) -> bool:
    """Say whether the gateway made the answer."""
    return message.status >= 400 and not any(b" %d" % message.status in answer for answer in exchange.case.answers)


def _answer(message: Message, exchange: Exchange) -> str:
    """Name the answer by its status, and by its body, trailers and odd fields where it has some."""
    words = [str(message.status)]
    if message.body not in _BORING_BODIES and not _is_own(message, exchange):
        words.append(_short(message.body))
    words.extend(f"+{_text(name.lower())} in trailers" for name, _ in message.trailers)
    shown = (b"x-", b"set-")
    words.extend(_text(value) for name, value in message.fields if name.lower().startswith(shown))
    return " ".join(words)


def _leftover(answers: Reading, exchange: Exchange) -> list[str]:
    if answers.broken:
        return [f"broken {_short(answers.rest)}"]
    if answers.partial is not None:
        return [f"{_answer(answers.partial, exchange)} cut"]
    return [f"half a head {_short(answers.rest)}"] if answers.rest else []


def _requests(data: bytes, exchange: Exchange) -> list[str]:
    reading = read_requests(data)
    sent = _sent_head(exchange.sent)
    words = [_request(message, exchange.path, *sent) for message in reading.messages]
    if reading.broken:
        words.append(f"broken ({reading.broken.replace(_text(exchange.path), _text(PLACE))})")
    elif reading.partial is not None:
        words.append(f"{_request(reading.partial, exchange.path, *sent)} cut")
    elif reading.rest:
        words.append(f"half a head {_short(reading.rest)}")
    return words


def _request(message: Message, path: bytes, target: bytes, fields: list[Field]) -> str:
    words = [_text(message.method)]
    if message.framing != "none":
        words.append(str(len(message.body)))
    if message.target.startswith(path + b"/"):
        words.append(_text(message.target.replace(path, b"")))
    elif message.target != target:
        words.append("as " + _text(message.target.replace(path, PLACE)))
    if message.target != path + b"/next":
        words.extend(_changes(fields, message.fields))
    words.extend(sorted({f"+{_text(name.lower())} in trailers" for name, _ in message.trailers}))
    return " ".join(words)


def _sent_head(sent: bytes) -> tuple[bytes, list[Field]]:
    """Return target and fields of the first request as the client wrote it, read as leniently as can be."""
    head = re.sub(rb"\r?\n[ \t]+", b" ", re.split(rb"\r?\n\r?\n", sent.lstrip())[0])
    first, *lines = re.split(rb"\r?\n", head)
    words = first.split()
    fields = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    return words[1] if len(words) > 1 else b"", fields


def _changes(sent: list[Field], got: list[Field]) -> list[str]:
    """Name the fields that differ; those that every gateway writes itself only where the client wrote them too."""
    unasked = OWN - {name for name, _ in sent}
    before, after = _counted(sent, unasked), _counted(got, unasked)
    lost, new = before - after, after - before
    changed = {name for name, _ in lost} & {name for name, _ in new}
    words = [f"~{_text(name)}={_text(value)}" for name, value in new if name in changed]
    words += [f"-{_text(name)}" for name, _ in lost if name not in changed]
    return sorted(words + [f"+{_text(name)}={_text(value)}" for name, value in new if name not in changed])


def _counted(fields: list[Field], unasked: set[bytes]) -> Counter[Field]:
    low = [(name.lower(), value) for name, value in fields]
    return Counter(pair for pair in low if pair[0] not in unasked | _FRAMING | {b"connection"})


def _short(data: bytes) -> str:
    line = data.partition(b"\r\n")[0][:40]
    return repr(line)[1:] + ("..." if len(data) > len(line) else "")


def _text(data: bytes) -> str:
    plain = re.sub(rb"127\.0\.0\.1:[0-9]+", b"its-own-address", data)
    return repr(plain if len(plain) <= _LONG else plain[:_LONG])[2:-1] + ("..." if len(plain) > _LONG else "")
