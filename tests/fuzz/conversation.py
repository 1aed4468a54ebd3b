"""What is played: a client's bytes with their cuts and their end, and what the upstream answers to each request."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

ENDINGS = ("wait", "close", "reset", "half", "deaf")


@dataclass(frozen=True)
class Answer:
    """An upstream's answer: `pieces`, each in a segment of its own, and then keep, close or reset the connection.

    With `early` it begins when the request's head is there. No pieces and keep is an upstream that stays silent.
    """

    pieces: tuple[bytes, ...]
    then: str = "keep"
    early: bool = False

    @property
    def whole(self) -> bytes:
        return b"".join(self.pieces)


@dataclass(frozen=True)
class Conversation:
    """A client's connection. `ending`: wait for all answers, close, reset, close the sending half, or stop reading.

    A `pristine` one is correct HTTP/1.1 in every byte, and each of its requests has to be answered by the upstream.
    Requests without an entry in `answers` (by their number) are echoed.
    """

    number: int
    pieces: tuple[bytes, ...]
    ending: str = "wait"
    answers: dict[int, Answer] = field(default_factory=dict)
    pristine: bool = False

    @property
    def sent(self) -> bytes:
        return b"".join(self.pieces)

    def with_bytes(self, sent: bytes) -> Conversation:
        """Return the same with other bytes, in one piece."""
        return replace(self, pieces=(sent,), pristine=False)


def save(path: Path, conversations: Iterable[Conversation], why: str, seed: str) -> None:
    """Write conversations to a file that `load` reads; `why` and `seed` are for whoever looks into it."""
    listed = [asdict(conversation) for conversation in conversations]
    text = json.dumps({"why": why, "seed": seed, "conversations": listed}, default=_text, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def _text(data: object) -> str:
    if not isinstance(data, bytes):
        raise TypeError(type(data))
    return data.decode("latin-1")


def load(path: Path) -> list[Conversation]:
    """Read what `save` wrote."""
    return [_conversation(raw) for raw in json.loads(path.read_text(encoding="utf-8"))["conversations"]]


def _conversation(raw: dict) -> Conversation:
    answers = {int(number): _answer(answer) for number, answer in raw["answers"].items()}
    return Conversation(raw["number"], _pieces(raw), raw["ending"], answers, raw["pristine"])


def _answer(raw: dict) -> Answer:
    return Answer(_pieces(raw), raw["then"], raw["early"])


def _pieces(raw: dict) -> tuple[bytes, ...]:
    return tuple(piece.encode("latin-1") for piece in raw["pieces"])
