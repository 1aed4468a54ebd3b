"""Each oracle on made-up sights of both sides: it must be able to fail, and must not fail what is right."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fuzz import mutate
from tests.fuzz.conversation import Answer, Conversation, load, save
from tests.fuzz.judge import expect, judge, judge_streams
from tests.fuzz.marker import Mark, marks
from tests.fuzz.page import page
from tests.fuzz.play import Tally, batch
from tests.fuzz.rig import Seen, Sight
from tests.fuzz.run import Result, Shown
from tests.fuzz.shrink import _fewer, _shorter
from tests.fuzz.strict import read_requests

MARK = Mark(7, 0)
LINE = b"POST /%b HTTP/1.1\r\n" % bytes(MARK)
REQUEST = LINE + b"Host: h\r\nX-A: 1\r\nx-b: 2\r\nContent-Length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\nX-Echo: %b\r\nContent-Length: 2\r\n\r\nok" % bytes(MARK)
LOCAL = b'HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 19\r\n%b\r\n{"from": "gateway"}'
CLOSING = LOCAL % b"Connection: close\r\n"


def sight(raw, answer=OK, then="keep"):
    reading = read_requests(raw)
    message = reading.messages[0] if reading.messages else reading.partial
    return Sight(message, raw, 0, MARK, Answer((answer,), then))


def kinds(sent, received, sights, end="open", **options):
    conversation = Conversation(7, (sent,), **options)
    seen = Seen(received, end, late=options.get("ending") == "late")
    return [finding.kind for finding in judge(conversation, expect(sent), seen, sights).findings]


def test_what_is_right_is_found_right():
    assert kinds(REQUEST, OK, [sight(REQUEST)], pristine=True) == []
    assert kinds(REQUEST * 2, OK * 2, [sight(REQUEST)] * 2, pristine=True) == []
    assert kinds(REQUEST, CLOSING, [], end="closed") == []
    assert kinds(REQUEST + b"garbage\r\n\r\n", OK + CLOSING, [sight(REQUEST)], end="closed") == []
    assert kinds(REQUEST[:-1], b"", [sight(REQUEST[:-2])], ending="close") == []


CHANGED = {
    "method": REQUEST.replace(b"POST", b"PUT"),
    "target": REQUEST.replace(b" HTTP", b"/x HTTP", 1),
    "body": REQUEST.replace(b"hello", b"hellO"),
    "a field lost": REQUEST.replace(b"X-A: 1\r\n", b""),
    "a field added": REQUEST.replace(b"X-A", b"X-C: 3\r\nX-A"),
    "a value": REQUEST.replace(b"X-A: 1", b"X-A: 2"),
    "a name's case": REQUEST.replace(b"X-A", b"x-a"),
    "the order": REQUEST.replace(b"X-A: 1\r\nx-b: 2", b"x-b: 2\r\nX-A: 1"),
}


@pytest.mark.parametrize("raw", CHANGED.values(), ids=CHANGED.keys())
def test_a_request_that_was_changed_is_found(raw):
    (kind,) = kinds(REQUEST, b"", [sight(raw)], ending="close")
    assert kind.startswith(("a request changed on its way", "a request that was not sent"))


def test_what_a_gateway_may_change_is_no_finding():
    sent = LINE + b"Host: h\r\nConnection: x-a\r\nX-A: 1\r\nKeep-Alive: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
    sent += b"2\r\nhe\r\n3;x\r\nllo\r\n0\r\nHost: evil\r\nX-T: 1\r\n\r\n"
    got = LINE + b"Host: h\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 1\r\nVia: 1.1 a\r\n\r\n"
    got += b"5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"
    assert kinds(sent, OK, [sight(got)], pristine=True) == []


def test_a_trailer_that_connection_names_and_a_forged_one_are_found():
    sent = LINE + b"Host: h\r\nConnection: x-t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\nHost: evil\r\n\r\n"
    for trailer in (b"X-T: 1", b"Host: evil"):
        got = LINE + b"Host: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + trailer + b"\r\n\r\n"
        assert kinds(sent, b"", [sight(got)], ending="close") == ["a request changed on its way: trailers"]


def test_a_request_that_nobody_sent_is_found():
    smuggled = b"GET /%b/smuggled HTTP/1.1\r\nHost: h\r\n\r\n" % bytes(MARK)
    sent = REQUEST.replace(b"5\r\n\r\nhello", b"%d\r\n\r\n" % len(smuggled) + smuggled)
    assert kinds(sent, OK, [sight(sent), sight(smuggled)]) == ["a request that was not sent"]


def test_a_request_behind_broken_framing_is_found():
    sent = REQUEST.replace(b"Content-Length: 5", b"Content-Length: +5") + REQUEST
    assert kinds(sent, b"", [sight(REQUEST)], ending="close") == ["a request that was not sent"]


def test_a_request_after_close_is_found():
    sent = REQUEST.replace(b"Host", b"Connection: close\r\nHost") + REQUEST
    assert "an answer to no request" not in kinds(sent, OK, [sight(REQUEST)], end="closed")
    assert kinds(sent, b"", [sight(REQUEST), sight(REQUEST)], ending="close") == ["a request sent twice"]


def test_a_post_that_is_sent_twice_is_found_and_a_get_is_not():
    assert kinds(REQUEST, OK, [sight(REQUEST)] * 2) == ["a request sent twice"]
    get = REQUEST.replace(b"POST", b"GET")
    assert kinds(get, OK, [sight(get)] * 2) == []


def test_anothers_answer_is_found():
    theirs = OK.replace(bytes(MARK), bytes(Mark(8, 0)))
    assert "another's answer" in kinds(REQUEST, theirs, [sight(REQUEST)])


def test_an_answer_in_the_wrong_place_is_found():
    second = REQUEST.replace(LINE, LINE.replace(bytes(MARK), bytes(Mark(7, 1))))
    answers = [OK, OK.replace(b"ok", b"no")]
    sights = [sight(REQUEST, answers[0]), sight(second, answers[1])]
    assert kinds(REQUEST + second, b"".join(answers), sights) == []
    assert kinds(REQUEST + second, b"".join(reversed(answers)), sights) == ["an answer changed on its way"] * 2


@pytest.mark.parametrize(
    "got",
    [
        OK.replace(b"ok", b"no"),
        OK.replace(b"200", b"201"),
        OK.replace(b"X-Echo", b"x-echo"),
        OK.replace(b"X-Echo", b"X-B: 1\r\nX-Echo"),
    ],
    ids=["body", "status", "name", "field"],
)
def test_an_answer_that_was_changed_is_found(got):
    assert kinds(REQUEST, got, [sight(REQUEST)]) == ["an answer changed on its way"]


def test_a_broken_answer_that_looks_whole_is_found():
    cut = OK[:-1]
    assert kinds(REQUEST, OK, [sight(REQUEST, cut, "close")]) == ["a broken answer that looks whole"]
    assert kinds(REQUEST, cut, [sight(REQUEST, cut, "close")], end="reset") == []
    both = OK.replace(b"Content-Length: 2", b"Content-Length: 2\r\nTransfer-Encoding: chunked")
    assert kinds(REQUEST, OK, [sight(REQUEST, both)]) == ["a broken answer that looks whole"]


def test_a_body_up_to_a_reset_that_looks_whole_is_found():
    open_ended = OK.replace(b"Content-Length: 2\r\n", b"")
    chunked = OK.replace(b"Content-Length: 2\r\n\r\nok", b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    assert kinds(REQUEST, chunked, [sight(REQUEST, open_ended, "close")]) == []
    assert kinds(REQUEST, chunked, [sight(REQUEST, open_ended, "reset")]) == ["a broken answer that looks whole"]


def test_an_answer_to_no_request_is_found():
    assert kinds(REQUEST, OK, []) == ["an answer to no request"]
    assert kinds(REQUEST, OK + OK, [sight(REQUEST)]) == ["an answer to no request"]


def test_bytes_that_are_no_answer_are_found():
    assert kinds(REQUEST, OK + b"garbage\r\n", [sight(REQUEST)]) == ["bytes to a client that are no answer"]
    twice = OK.replace(b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n" * 2)
    assert kinds(REQUEST, twice, [sight(REQUEST)]) == ["bytes to a client that are no answer"]


def test_an_answer_after_one_that_closes_is_found():
    assert "an answer after the last one" in kinds(REQUEST * 2, CLOSING + OK, [sight(REQUEST)])


def test_a_correct_request_that_is_refused_or_forgotten_is_found():
    assert kinds(REQUEST, CLOSING, [], end="closed", pristine=True) == ["a correct request refused"]
    assert kinds(REQUEST, b"", [sight(REQUEST)], end="closed", pristine=True) == ["a correct request without an answer"]


def test_silence_is_found():
    conversation = Conversation(7, (REQUEST,))
    verdict = judge(conversation, expect(REQUEST), Seen(b"", "open", late=True), [sight(REQUEST)])
    assert [finding.kind for finding in verdict.findings] == ["no answer and no close"]


def test_a_missed_deadline_is_counted_and_no_finding():
    late = CLOSING.replace(b"400", b"504")
    verdict = judge(Conversation(7, (REQUEST,), pristine=True), expect(REQUEST), Seen(late, "closed"), [sight(REQUEST)])
    assert (verdict.findings, verdict.slow) == ([], 1)


def test_streams_that_mix_clients_or_that_readers_read_differently_are_found():
    mixed = (
        REQUEST.replace(b"hello", bytes(Mark(8, 0))[:5]).replace(b"5\r\n\r\n", b"19\r\n\r\n") + bytes(Mark(8, 0))[5:]
    )
    assert [finding.kind for finding in judge_streams([], [sight(mixed)], [])] == ["two clients' bytes in one request"]
    folded = REQUEST.replace(b"X-A: 1", b"Content_Length: 9")
    assert list(judge_streams([REQUEST + folded], [sight(REQUEST)], [])) == []
    smuggling = REQUEST.replace(b"5\r\n\r\nhello", b"5\r\nX-TransferEncoding: \r\n\r\nhello")
    assert list(judge_streams([smuggling], [], [])) == []
    (finding,) = judge_streams([], [], [("no Host", b"GET /%b HTTP/1.1\r\n\r\n" % bytes(MARK))])
    assert finding.suspects == {7}


def test_a_mark_is_one_request_of_one_conversation_and_no_bit_may_change():
    data = bytes(MARK)
    assert marks(b"x" + data + b"y" + data) == [MARK, MARK]
    for at in range(len(data)):
        for bit in range(8):
            changed = data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
            assert MARK not in marks(changed)


def test_batches_are_the_same_for_the_same_seed_and_hold_every_kind_of_client():
    first, again, other = batch(1, 0, 200), batch(1, 0, 200), batch(2, 0, 200)
    assert first == again != other
    assert {conversation.ending for conversation in first} == {"wait", "close", "reset", "half", "deaf"}
    assert 20 < sum(conversation.pristine for conversation in first) < 100
    assert {conversation.number for conversation in first} == set(range(200))


def test_pristine_conversations_are_correct_by_the_letter():
    rng = random.Random(1)
    made = [mutate.conversation(number, rng) for number in range(1000)] + batch(3, 0, 200)
    pristine = [conversation for conversation in made if conversation.pristine]
    for conversation in pristine:
        expected = expect(conversation.sent)
        assert expected.partial is None
        assert {mark.request for mark in marks(conversation.sent)} <= set(range(len(expected.requests)))


def test_conversations_come_back_from_their_file(tmp_path):
    conversations = batch(1, 0, 100)
    save(tmp_path / "some.json", conversations, "why", "seed 1")
    assert load(tmp_path / "some.json") == conversations


def test_a_failing_batch_is_shrunk_to_the_bytes_that_fail():
    async def fails(conversations):
        return any(b"\0" in conversation.sent and b"/a" in conversation.sent for conversation in conversations)

    def made(number):
        return Conversation(number, (b"GET /a HTTP/1.1\r\n" + b"\0" * (number == 5) + b"Host: h\r\n\r\n",))

    (one,) = asyncio.run(_fewer([made(number) for number in range(16)], fails))
    assert one.number == 5
    assert asyncio.run(_shorter(one, fails)).sent == b"/a\0"


def test_the_page_shows_what_was_found_and_how_to_play_it_again():
    shown = Shown(
        replace(next(iter(judge_streams([], [], [("why", bytes(MARK))]))), detail="some `detail`"),
        [Conversation(7, (b"GET /\0",), answers={0: Answer((OK,))})],
        Path("runs/fuzz/x.json"),
    )
    tally = Tally(conversations=1)
    tally.findings["a kind"] = [shown.finding] * 3
    tally.outcomes["wait: 1 answers, last 2xx, open"] = 1
    text = page(Result(5, 600.0, tally, {"a kind": shown}), "somewhere")
    assert "somewhere, seed 5." in text
    assert "### a kind\n\n3 times. The first: `some 'detail'`" in text
    assert "`b'GET /\\x00'`, ending with wait" in text
    assert "--replay runs/fuzz/x.json" in text
    assert "| wait | last 2xx, open | 1 |" in text
    assert "## Findings\n\nNone." in page(Result(5, 600.0, Tally()), "somewhere")
