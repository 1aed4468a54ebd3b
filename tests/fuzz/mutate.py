"""Real requests and answers, changed in a few bytes, lines or places: conversations from a seeded random source."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from tests.fuzz.conversation import ENDINGS, Answer, Conversation
from tests.fuzz.marker import Mark
from tests.fuzz.material import ANSWERS, BODIES, CLOSED_ANSWERS, HEADS, MARK, TOKENS

_PRISTINE_SHARE = 0.25
_MOST_REQUESTS = 5
_PUT_IN = 0xEE  # the number of requests that a mutation puts in


def conversation(number: int, rng: random.Random) -> Conversation:
    """Return a conversation: a quarter are pristine, the others changed on the client's or the upstream's side."""
    count = min(1 + int(rng.expovariate(0.8)), _MOST_REQUESTS)
    requests = [_request(Mark(number, n), rng) for n in range(count)]
    answers = {n: _answer(Mark(number, n), rng) for n in range(count) if rng.random() < 0.4}
    sent = b"".join(requests)
    # An answer of unknown length to HTTP/1.0 ends with its connection, and with it what was pipelined.
    if rng.random() < _PRISTINE_SHARE and not any(b" HTTP/1.0\r\n" in request for request in requests[:-1]):
        return Conversation(number, _cut(sent, rng), "wait", answers, pristine=True)
    if rng.random() < 0.7:
        sent = _marked(_mutated(sent, rng), Mark(number, _PUT_IN))
    if rng.random() < 0.4:
        answers |= {n: _odd_answer(Mark(number, n), rng) for n in range(count) if rng.random() < 0.7}
    ending = rng.choices(ENDINGS, (75, 8, 8, 5, 4))[0]
    if ending in ("close", "reset") and rng.random() < 0.5:
        sent = sent[: rng.randrange(len(sent) + 1)]
    return Conversation(number, _cut(sent, rng), ending, answers)


def _marked(text: bytes, mark: Mark) -> bytes:
    return text.replace(MARK, bytes(mark))


def _request(mark: Mark, rng: random.Random) -> bytes:
    """Return a correct request of a real client; those with a body have it in one of two framings."""
    head = _marked(rng.choice(HEADS), mark)
    body = _marked(rng.choice(BODIES), mark)
    if head.startswith((b"GET", b"HEAD", b"OPTIONS", b"DELETE")) and rng.random() < 0.9:
        return head + b"\r\n"
    if b"HTTP/1.0" in head or rng.random() < 0.5:
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + _chunks(body, rng)


def _chunks(body: bytes, rng: random.Random) -> bytes:
    parts = _cut(body, rng) if body else ()
    extension = rng.choice((b"", b"", b"", b";a", b';a="b;c"', b"; a = b"))
    trailers = rng.choice((b"", b"", b"X-Sum: 7\r\n", b"X-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n"))
    return b"".join(b"%x%b\r\n%b\r\n" % (len(p), extension, p) for p in parts) + b"0\r\n" + trailers + b"\r\n"


def _answer(mark: Mark, rng: random.Random) -> Answer:
    if rng.random() < 0.15:
        return Answer(_cut(_marked(rng.choice(CLOSED_ANSWERS), mark), rng), "close")
    return Answer(_cut(_marked(rng.choice(ANSWERS), mark), rng))


def _odd_answer(mark: Mark, rng: random.Random) -> Answer:
    """Return an answer that is changed, cut short, too early, too long, or missing."""
    whole = _answer(mark, rng).whole
    if rng.random() < 0.6:
        whole = _marked(_mutated(whole, rng), mark)
    if rng.random() < 0.2:
        whole = whole[: rng.randrange(len(whole) + 1)]
    if rng.random() < 0.1:
        whole += rng.choice((b"garbage", b"\r\n", _answer(mark, rng).whole))
    then = rng.choices(("keep", "close", "reset"), (4, 4, 1))[0]
    return Answer(_cut(whole, rng), then, early=rng.random() < 0.15)


def _cut(data: bytes, rng: random.Random) -> tuple[bytes, ...]:
    """Cut `data` in one to four pieces, or leave it whole as most senders do."""
    if len(data) < 2 or rng.random() < 0.6:
        return (data,)
    cuts = sorted({rng.randrange(1, len(data)) for _ in range(rng.randint(1, 3))})
    return tuple(data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True))


def _mutated(data: bytes, rng: random.Random) -> bytes:
    for _ in range(min(1 + int(rng.expovariate(1)), 4)):
        data = rng.choice(MUTATIONS)(data, rng)
    return data


def _flip_a_bit(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) or 1)
    return data[:at] + bytes(byte ^ (1 << rng.randrange(8)) for byte in data[at : at + 1]) + data[at + 1 :]


def _drop(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 1, 1, 2, 5, 20)) :]


def _put_a_token_in(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(TOKENS) + data[at + rng.choice((0, 0, 0, 1, 4)) :]


def _put_a_token_in_at_a_boundary(data: bytes, rng: random.Random) -> bytes:
    """Most of what matters happens beside a line end, a colon or a space."""
    places = [found.end() for found in re.finditer(rb"\r\n|: ?| |,|;", data)] or [0]
    at = rng.choice(places)
    return data[:at] + rng.choice(TOKENS) + data[at:]


def _change_a_line_end(data: bytes, rng: random.Random) -> bytes:
    places = [found.start() for found in re.finditer(rb"\r\n", data)] or [0]
    at = rng.choice(places)
    return data[:at] + rng.choice((b"\n", b"\r", b"", b"\r\r\n", b"\n\r", b"\r\n ", b" \r\n")) + data[at + 2 :]


def _change_a_number(data: bytes, rng: random.Random) -> bytes:
    found = rng.choice(list(re.finditer(rb"(?<![0-9a-f-])[0-9a-fA-F]+(?![0-9a-f-])", data)) or [None])
    if found is None:
        return data
    signs = (b"+", b"-", b"0x", b" ", b"0", b"00000000000000000", b"1", b"9", b"", b"_", b"ffffffffffffffff")
    return data[: found.start()] + rng.choice(signs) + found[0][rng.randrange(2) :] + data[found.end() :]


def _move_a_line(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\r\n")
    line = lines.pop(rng.randrange(len(lines)))
    lines.insert(rng.randrange(len(lines) + 1), line)
    return b"\r\n".join(lines)


def _repeat_a_line(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\r\n")
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return b"\r\n".join(lines)


def _change_case(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at : at + 12].swapcase() + data[at + 12 :]


def _cross(data: bytes, rng: random.Random) -> bytes:
    """Go on at another place of the same bytes: a part repeated or left out."""
    return data[: rng.randrange(len(data) + 1)] + data[rng.randrange(len(data) + 1) :]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip_a_bit, _drop, _put_a_token_in, _put_a_token_in_at_a_boundary, _put_a_token_in_at_a_boundary),
    *(_change_a_line_end, _change_a_number, _move_a_line, _repeat_a_line, _change_case, _cross),
)
