"""The oracles: what both sides saw of a conversation, held against a reader by the letter of RFC 9110 and RFC 9112.

A gateway may refuse what it likes, but for pristine conversations; it may not take bytes for a request that are none,
change one on its way, give a client what belongs to another, or pass off a broken answer as a whole one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.fuzz.conversation import Answer, Conversation
from tests.fuzz.marker import marks
from tests.fuzz.readers import disagreement
from tests.fuzz.rig import Seen, Sight
from tests.fuzz.strict import BrokenError, Field, Message, Reading, read_answers, read_request, read_requests

_OF_ONE_HOP = {
    *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te"),
    *(b"upgrade", b"http2-settings"),
}
_OWN = {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"via"}
_FRAMING = {b"content-length", b"transfer-encoding"}
_UNNAMEABLE = _FRAMING | {b"host", b"trailer", b"via"}
_NO_TRAILERS = _OF_ONE_HOP | _OWN | _FRAMING | {b"host", b"trailer"}
_ABSOLUTE = re.compile(rb"(?i:http)://[^/?]*(.*)\Z", re.DOTALL)
_REPEATABLE = {b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"}
_DETAIL = 600
_MET_A_CLOSE = b"the upstream closed the connection before its answer"


@dataclass(frozen=True)
class Finding:
    """Something wrong, in one of the conversations `suspects` or, where it has none, in any of the batch.

    Findings of one `kind` are likely one defect.
    """

    kind: str
    detail: str
    suspects: frozenset[int] = frozenset()


@dataclass
class Expected:
    """The requests that a reader by the letter finds in a client's bytes, up to the one that ends the connection."""

    requests: list[Message]
    partial: Message | None = None  # one more that is not whole, or breaks inside its body
    ends: bool = False  # whether the gateway has to close: what follows is no request, or was not asked for
    rest: bytes = b""

    @property
    def methods(self) -> list[bytes]:
        return [request.method for request in self.requests]

    def enough(self, received: bytes) -> bool:
        """Say whether the client has nothing more to wait for."""
        if self.ends:
            return False
        return len(_finals(read_answers(received, self.methods, closed=False))) >= len(self.requests)


def expect(sent: bytes) -> Expected:
    """Read a client's bytes by the letter; empty lines before a request are skipped (RFC 9112 2.2)."""
    expected = Expected([])
    at = 0
    while rest := sent[at:].lstrip(b"\r\n"):
        expected.rest = rest
        try:
            request = read_request(rest)
        except BrokenError as error:
            expected.ends, expected.partial = True, getattr(error, "partial", None)
            return expected
        if request is None or not request.complete:
            expected.ends, expected.partial = True, request
            return expected
        expected.requests.append(request)
        at = len(sent) - len(rest) + request.end
        if not request.persists:
            expected.ends = True
            return expected
    return expected


@dataclass
class Verdict:
    """What came of a conversation: `outcome` is a word for the statistics, `slow` how many deadlines were missed."""

    outcome: str
    slow: int = 0
    findings: list[Finding] = field(default_factory=list)


def judge(conversation: Conversation, expected: Expected, seen: Seen, sights: Sequence[Sight]) -> Verdict:
    """Hold what was seen against what a reader by the letter expects."""
    case = _Case(conversation, expected, seen, sights)
    case.check_upstream()
    case.check_client()
    return Verdict(case.outcome, case.slow, case.findings)


class _Case:
    def __init__(self, conversation: Conversation, expected: Expected, seen: Seen, sights: Sequence[Sight]) -> None:
        self.conversation, self.expected, self.seen, self.sights = conversation, expected, seen, sights
        self.findings: list[Finding] = []
        self.matched: dict[int, list[Sight]] = {}  # by the request's place among those expected
        self.outcome = "nothing"
        self.slow = 0
        self.met_a_close = False

    def note(self, kind: str, detail: object) -> None:
        self.findings.append(Finding(kind, str(detail)[:_DETAIL], frozenset({self.conversation.number})))

    # -- what the upstream saw -----------------------------------------------------------------------------------

    def check_upstream(self) -> None:
        at = 0
        for sight in self.sights:
            place = self._place(sight, at)
            if place is None:
                self._note_stray(sight)
                continue
            if place < at and sight.message.method not in _REPEATABLE:
                self.note("a request sent twice", sight.raw[:300])
            at = place + 1
            self.matched.setdefault(place, []).append(sight)

    def _place(self, sight: Sight, at: int) -> int | None:
        """Find the request that `sight` is: the next, a later one, or the last one sent again."""
        requests = self.expected.requests
        for place in (*range(at, len(requests)), at - 1):
            if 0 <= place < len(requests) and _is(sight.message, requests[place]):
                return place
        partial = self.expected.partial
        if partial is not None and not sight.message.complete and _is(sight.message, partial):
            return len(requests)
        return None

    def _note_stray(self, sight: Sight) -> None:
        """Say what of a request is not as it was sent, if one with its method and target was."""
        message = sight.message
        near = [request for request in self.expected.requests if request.method == message.method]
        differing = [_difference(message, request) for request in near if origin_form(request) == message.target]
        if differing:
            self.note(f"a request changed on its way: {differing[0][0]}", differing[0][1])
        else:
            self.note("a request that was not sent", f"{sight.raw[:300]!r}")

    # -- what the client saw -------------------------------------------------------------------------------------

    def check_client(self) -> None:
        seen, expected = self.seen, self.expected
        if seen.late:
            self.note("no answer and no close", seen.received[-200:])
        foreign = [mark for mark in marks(seen.received) if mark.conversation != self.conversation.number]
        if foreign:
            self.note("another's answer", f"{foreign[:3]} in {seen.received[:300]!r}")
        methods = expected.methods
        if expected.rest.startswith(b"HEAD ") and len(methods) and expected.ends:
            methods.append(b"HEAD")
        reading = self._read(methods)
        if reading.broken and not self._is_refused_head(reading):
            self.note("bytes to a client that are no answer", f"{reading.broken}: {reading.rest[:200]!r}")
        self._check_answers(_finals(reading))
        self.outcome = self._outcome(reading)

    def _read(self, methods: list[bytes]) -> Reading:
        return read_answers(self.seen.received, [*methods, b"GET"], self.seen.end == "closed")

    def _is_refused_head(self, reading: Reading) -> bool:
        """A refused HEAD is answered with or without a body, as far as it was understood; the connection ends then."""
        return b'"from": "gateway"' in reading.rest and self.seen.end != "open"

    def _check_answers(self, finals: Sequence[Message]) -> None:
        requests = self.expected.requests
        for place, answer in enumerate(finals):
            request = requests[place] if place < len(requests) else None
            if is_local(answer, request):
                self._check_local(answer, request, last=place == len(finals) - 1)
            elif place not in self.matched:
                self.note("an answer to no request", answer.start + b" " + answer.body[:100])
            else:
                self._check_relayed(answer, self.matched[place])
        excused = self.seen.late or self.slow or self.met_a_close
        if self.conversation.pristine and len(finals) < len(requests) and not excused:
            self.note("a correct request without an answer", f"{len(finals)} of {len(requests)}")

    def _check_local(self, answer: Message, request: Message | None, last: bool) -> None:
        if b"close" in answer.options and not last:
            self.note("an answer after the last one", answer.start)
        if not self.conversation.pristine or request is None:
            return
        if answer.status in (408, 504):
            self.slow += 1
        elif _may_meet_a_close(answer, request):
            self.met_a_close = True
        else:
            self.note("a correct request refused", answer.start + b" " + answer.body[:200])

    def _check_relayed(self, answer: Message, sights: Sequence[Sight]) -> None:
        """An answer of the upstream's has to be the one that it gave, and to have been whole."""
        given = [(sight.answer, sight.message.method) for sight in sights if sight.answer]
        readings = [_final_of(answer, method) for answer, method in given]
        if not any(whole is not None and _same_answer(answer, whole) for whole in readings):
            told = [whole and (whole.start, whole.fields, whole.body[:80], whole.trailers) for whole in readings]
            got = (answer.start, answer.fields, answer.body[:80], answer.trailers)
            kind = "an answer changed on its way" if any(readings) else "a broken answer that looks whole"
            self.note(kind, f"{got} for {told} of {[given.whole[:300] for given, _ in given]}")

    def _outcome(self, reading: Reading) -> str:
        finals = _finals(reading)
        last = f"{finals[-1].status // 100}xx" if finals else "no answer"
        cut = ", cut" if reading.partial else ""
        return f"{min(len(finals), 9)} answers, last {last}{cut}, {self.seen.end}"


def _may_meet_a_close(answer: Message, request: Message) -> bool:
    """Say whether a 502 is no fault: an idle connection's close was met by a request that must not be repeated."""
    if request.method in _REPEATABLE and request.framing == "none":
        return False
    return answer.status == 502 and (_MET_A_CLOSE in answer.body or request.method == b"HEAD")


def _finals(reading: Reading) -> list[Message]:
    return [message for message in reading.messages if not message.interim]


def is_local(answer: Message, request: Message | None) -> bool:
    """Say whether the gateway made an answer."""
    if answer.status < 400 or answer.all(b"content-type") != [b"application/json"]:
        return False
    return b'"from": "gateway"' in answer.body or (request is None or request.method == b"HEAD")


def _is(got: Message, sent: Message) -> bool:
    return not _difference(got, sent)[0]


def _difference(got: Message, sent: Message) -> tuple[str, str]:
    """Name the first thing in which a request at the upstream is not the one that the client sent."""
    pairs = {
        "method": (got.method, sent.method),
        "target": (got.target, origin_form(sent)),
        "body": (got.body, sent.body if got.complete else sent.body[: len(got.body)]),
        "fields": (_end_to_end(got), _end_to_end(sent)),
        "trailers": (got.trailers, _trailers(sent) if got.complete else got.trailers),
    }
    for name, (one, other) in pairs.items():
        if one != other:
            return name, f"{one[:400]!r} was {other[:400]!r}"
    return "", ""


def origin_form(request: Message) -> bytes:
    """Return the target in origin form (RFC 9112 3.2.2)."""
    absolute = _ABSOLUTE.match(request.target)
    if not absolute:
        return request.target
    path = absolute[1]
    if not path.startswith(b"/"):
        return (b"*" if request.method == b"OPTIONS" and not path else b"/") + path
    return path


def _end_to_end(message: Message) -> list[Field]:
    """Return the fields that have to arrive as they are, in their order (RFC 9110 5.3, 7.6.1)."""
    dropped = _OF_ONE_HOP | _OWN | _FRAMING | {b"host"} | (message.options - _UNNAMEABLE)
    if message.start.endswith(b" HTTP/1.0"):
        dropped |= {b"expect"}  # RFC 9110 10.1.1: of such a request it is ignored
    return [(name, value) for name, value in message.fields if name.lower() not in dropped]


def _trailers(message: Message) -> list[Field]:
    dropped = _NO_TRAILERS | (message.options - _UNNAMEABLE)
    return [(name, value) for name, value in message.trailers if name.lower() not in dropped]


def _final_of(answer: Answer, method: bytes) -> Message | None:
    """Return the final answer that an upstream gave to this method, if it is whole."""
    reading = read_answers(_with_spaced_reason(answer.whole), [method], closed=answer.then == "close")
    return next(iter(_finals(reading)), None)


def _with_spaced_reason(answer: bytes) -> bytes:
    """Put the space in that many leave out after a status without a reason; the gateway does so too."""
    return re.sub(rb"(\A|\r\n\r\n)(HTTP/1\.[01] [0-9]{3})\r\n", rb"\1\2 \r\n", answer)


def _same_answer(got: Message, given: Message) -> bool:
    return (
        got.start.partition(b" ")[2] == given.start.partition(b" ")[2]
        and got.body == given.body
        and _end_to_end(got) == _end_to_end(given)
        and (not got.trailers or got.trailers == _trailers(given))
    )


def judge_streams(
    streams: Iterable[bytes], sights: Iterable[Sight], broken: Iterable[tuple[str, bytes]]
) -> Iterator[Finding]:
    """Judge what no single conversation can tell: mixtures, and bytes that readers disagree about."""
    for why, data in broken:
        yield Finding("bytes to an upstream that are no request", f"{why}: {data[:300]!r}", _owners(data))
    for sight in sights:
        owners = _owners(sight.raw)
        if len(owners) > 1:
            yield Finding("two clients' bytes in one request", f"{sight.raw[:400]!r}", owners)
    for data in streams:
        if not read_requests(data).broken and (what := disagreement(data)):
            yield Finding("readers disagree", what[:_DETAIL], _owners(data))


def _owners(data: bytes) -> frozenset[int]:
    return frozenset(mark.conversation for mark in marks(data))
