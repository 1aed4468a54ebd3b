"""Tokens judged elsewhere: what is asked, what follows from each answer, what is remembered."""

from __future__ import annotations

import asyncio
import functools

import pytest
import uvloop

from gateway_proxy.config.routes import Ask
from gateway_proxy.features.ask import AskAuth
from gateway_proxy.inquiry import Failure, Inquirer, Reply
from tests.gateway_proxy.exchanges import exchange_of, lines_of
from tests.gateway_proxy.peer import OK, Peer


class Service:
    """Takes down what it is asked, and answers when the test says."""

    def __init__(self):
        self.asked = []
        self.cancelled = 0

    def __call__(self, method, target, headers, timeout_s, done):
        self.asked.append((method, target, headers, timeout_s))
        self.done = done
        return self.cancel

    def cancel(self):
        self.cancelled += 1


class Rig:
    def __init__(self, **config):
        self.now = 100.0
        self.service = Service()
        self.step = AskAuth(Ask(upstream="auth", path="/check", **config), self.service, lambda: self.now)

    def begin(self, *fields):
        """The verdicts, which stay empty until the service answers; or the step's own answer."""
        verdicts = []
        outcome = self.step(exchange_of(*fields))
        if hasattr(outcome, "start"):
            self.cancel = outcome.start(verdicts.append)
            assert verdicts == []
        else:
            verdicts.append(outcome)
        return verdicts

    def judge(self, *fields, answer=None):
        """The one verdict; without an `answer` it has to be known."""
        verdicts = self.begin(*fields)
        if answer is not None:
            assert verdicts == [], "it was not asked"
            self.service.done(answer)
        (verdict,) = verdicts
        return verdict


def reply(status, *headers):
    return Reply(status, list(headers), b"")


TOKEN = "Authorization: Bearer x"


@pytest.mark.parametrize("status", [200, 204, 299])
def test_the_service_is_asked_with_the_clients_authorization_and_2xx_passes(status):
    rig = Rig(timeout_s=0.5)
    assert rig.judge("Cookie: a=b", "authorization:  Bearer \xe9 ", answer=reply(status)) is None
    assert rig.service.asked == [("GET", "/check", [("Authorization", "Bearer \xe9")], 0.5)]


def test_a_request_without_authorization_is_asked_for_without():
    rig = Rig()
    assert rig.judge(answer=reply(401)).status == 401
    assert rig.service.asked[0][2] == []


def test_refusals_are_passed_on_with_their_challenges():
    challenges = [(b"WWW-Authenticate", b"Bearer"), (b"www-authenticate", b'Basic realm="a, b"'), (b"X-Other", b"c")]
    refusal = Rig().judge(TOKEN, answer=reply(401, *challenges))
    assert refusal.status == 401
    assert refusal.lines == b'WWW-Authenticate: Bearer\r\nWWW-Authenticate: Basic realm="a, b"\r\n'
    assert Rig().judge(TOKEN, answer=reply(403))[::2] == (403, b"")


@pytest.mark.parametrize("answer", [*map(reply, (302, 400, 404, 429, 500, 503)), Failure("no answer in time")])
def test_any_other_answer_and_none_is_503_and_never_remembered(answer):
    rig = Rig(cache_s=60)
    for _ in range(2):
        refusal = rig.judge(TOKEN, answer=answer)
        assert (refusal.status, refusal.why) == (503, "cannot serve while auth is down")


def test_two_authorizations_are_refused_without_asking():
    rig = Rig()
    assert rig.judge(TOKEN, "Authorization: Bearer y").status == 400
    assert rig.service.asked == []


def test_cancelling_cancels_the_inquiry():
    rig = Rig()
    rig.begin(TOKEN)
    rig.cancel()
    assert rig.service.cancelled == 1


def test_nothing_is_remembered_unless_asked_for():
    rig = Rig()
    for _ in range(2):
        assert rig.judge(TOKEN, answer=reply(200)) is None
    assert rig.judge(TOKEN, answer=reply(401)).status == 401
    assert len(rig.service.asked) == 3
    assert (len(rig.step._passes), len(rig.step._refusals)) == (0, 0)


def test_answers_are_kept_for_the_time_from_their_coming():
    rig = Rig(cache_s=10)
    verdicts = rig.begin(TOKEN)
    rig.now += 5
    rig.service.done(reply(200))
    assert verdicts == [None]
    rig.now += 9.9
    assert rig.judge(TOKEN) is None
    assert rig.judge("Authorization: Bearer y", answer=reply(403)).status == 403
    assert rig.judge("Authorization: Bearer y").status == 403
    rig.now += 0.1
    assert rig.judge(TOKEN, answer=reply(401)).status == 401


def test_a_kept_refusal_still_has_its_challenge():
    rig = Rig(cache_s=10)
    for answer in (reply(401, (b"WWW-Authenticate", b"Bearer")), None):
        assert lines_of([rig.judge(TOKEN, answer=answer).lines]) == {"WWW-Authenticate": "Bearer"}


def test_a_flood_of_bad_tokens_pushes_no_good_one_out():
    rig = Rig(cache_s=10, cached_tokens=3)
    assert rig.judge(TOKEN, answer=reply(200)) is None
    for number in range(20):
        rig.judge(f"Authorization: Bearer {number}", answer=reply(401))
    assert rig.judge(TOKEN) is None
    assert (len(rig.step._passes), len(rig.step._refusals)) == (1, 3)


def test_it_asks_a_real_service_by_the_gateways_client():
    async def scenario():
        loop = asyncio.get_running_loop()
        denial = b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error="x"\r\nContent-Length: 0\r\n\r\n'
        peer = Peer([OK, denial, b"nonsense"])
        server = await loop.create_server(peer, "127.0.0.1", 0)
        inquirer = Inquirer(loop)
        ask = functools.partial(inquirer.ask, f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        step = AskAuth(Ask(upstream="auth", path="/check"), ask, loop.time)
        verdicts = []
        for _ in range(3):
            verdict = loop.create_future()
            step(exchange_of(TOKEN)).start(verdict.set_result)
            verdicts.append(await asyncio.wait_for(verdict, 5))
        inquirer.close()
        server.close()
        peer.end()
        await asyncio.sleep(0)
        assert all(b"\r\nAuthorization: Bearer x\r\n" in request for request in peer.requests)
        return verdicts

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        passed, denied, failed = runner.run(scenario())
    assert (passed, denied.status, failed.status) == (None, 401, 503)
    assert lines_of([denied.lines]) == {"WWW-Authenticate": 'Bearer error="x"'}
