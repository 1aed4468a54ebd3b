"""The gateway's own small client, against a peer in the same loop that does what a test tells it."""

from __future__ import annotations

import asyncio
import time

import pytest
import uvloop

from gateway_proxy.inquiry import BODY_LIMIT_BYTES, Failure, Inquirer, Reply
from tests.gateway_proxy.peer import OK, Peer


class Rig:
    def __init__(self, address, peer, inquirer):
        self.address, self.peer, self.inquirer = address, peer, inquirer

    def ask(self, method="GET", headers=(), timeout_s=2.0, target="/health"):
        answered = asyncio.get_running_loop().create_future()
        self.cancel = self.inquirer.ask(self.address, method, target, headers, timeout_s, answered.set_result)
        assert not answered.done(), "done is never called from within ask"
        return answered


def run(scenario, answers=(), **options):
    async def main():
        loop = asyncio.get_running_loop()
        peer = Peer(list(answers))
        server = await loop.create_server(peer, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        rig = Rig(address, peer, Inquirer(loop, **options))
        try:
            return await asyncio.wait_for(scenario(rig), 5)
        finally:
            rig.inquirer.close()
            server.close()
            peer.end()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def settled(condition):
    while not condition():  # noqa: ASYNC110 - bounded by the rig's own time
        await asyncio.sleep(0.002)


def test_an_answer_comes_whole_and_its_connection_serves_the_next_inquiry():
    async def scenario(rig):
        assert await rig.ask(headers=[("Authorization", "Bearer x")]) == Reply(
            200, [(b"Content-Length", b"2"), (b"X-A", b"b")], b"ok"
        )
        assert (await rig.ask()).body == b"ok"
        assert len(rig.peer.connections) == 1
        assert rig.peer.requests[0] == (
            f"GET /health HTTP/1.1\r\nHost: {rig.address}\r\nAuthorization: Bearer x\r\n\r\n".encode()
        )

    run(scenario)


def test_an_answer_to_head_has_no_body_whatever_it_announces():
    async def scenario(rig):
        assert (await rig.ask("HEAD"))[::2] == (200, b"")
        assert (await rig.ask()).body == b"ok"

    run(scenario, [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", OK])


def test_an_interim_answer_is_passed_over():
    async def scenario(rig):
        assert (await rig.ask())[::2] == (200, b"ok")

    run(scenario, [b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" + OK])


def test_a_close_ends_an_answer_without_a_length_and_no_other():
    async def scenario(rig):
        assert (await rig.ask()).body == b"all of it..."
        failure = await rig.ask()
        assert isinstance(failure, Failure)
        assert "inside the answer" in failure.why

    run(scenario, [b"HTTP/1.1 200 OK\r\n\r\nall of it...", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n..."])


def test_a_connection_that_the_peer_closes_is_not_used_again():
    async def scenario(rig):
        for _ in range(2):
            assert (await rig.ask()).status == 200
        await settled(lambda: rig.peer.connections[0].lost)
        assert len(rig.peer.connections) == 2

    run(scenario, [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", OK])


@pytest.mark.parametrize(("method", "connections"), [("GET", 2), ("POST", 1)])
def test_a_question_that_met_the_close_of_an_idle_connection_is_asked_again_if_it_may_be(method, connections):
    async def scenario(rig):
        await rig.ask()
        outcome = await rig.ask(method)
        assert isinstance(outcome, Reply) == (method == "GET")
        assert len(rig.peer.connections) == connections

    run(scenario, [OK, b"", OK])


def test_a_fresh_connection_that_closes_without_an_answer_is_a_failure():
    async def scenario(rig):
        assert isinstance(await rig.ask(), Failure)
        assert len(rig.peer.requests) == 1

    run(scenario, [b"", OK])


def test_an_answer_that_does_not_come_is_a_failure_and_costs_its_connection():
    async def scenario(rig):
        began = time.monotonic()
        assert await rig.ask(timeout_s=0.05) == Failure("no answer in time")
        assert 0.04 < time.monotonic() - began < 1
        await settled(lambda: rig.peer.connections[0].lost)
        assert (await rig.ask()).status == 200

    run(scenario, [None, OK])


def test_the_body_is_bounded():
    async def scenario(rig):
        assert len((await rig.ask()).body) == BODY_LIMIT_BYTES
        assert "more than 65536 bytes" in (await rig.ask()).why
        await settled(lambda: rig.peer.connections[0].lost)

    def answer(size):
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size

    run(scenario, [answer(BODY_LIMIT_BYTES), answer(BODY_LIMIT_BYTES + 1)])


def test_what_is_not_http_is_a_failure():
    async def scenario(rig):
        assert "invalid answer" in (await rig.ask()).why
        await settled(lambda: rig.peer.connections[0].lost)

    run(scenario, [b"SSH-2.0-OpenSSH_9.2\r\n"])


def test_bytes_that_answer_nothing_cost_the_idle_connection():
    async def scenario(rig):
        await rig.ask()
        rig.peer.connections[0].transport.write(OK)
        await settled(lambda: rig.peer.connections[0].lost)
        assert (await rig.ask()).status == 200
        assert len(rig.peer.connections) == 2

    run(scenario)


def test_nobody_there_is_a_failure_with_the_reason():
    async def scenario(rig):
        gone = Rig("127.0.0.1:1", rig.peer, rig.inquirer)
        assert "cannot be reached" in (await gone.ask()).why

    run(scenario)


@pytest.mark.parametrize(
    ("address", "target", "headers"),
    [("127.0.0.1", "/", ()), ("127.0.0.1:1", "/a b", ()), ("127.0.0.1:1", "/", [("A", "b\r\nC: d")])],
)
def test_a_request_that_cannot_be_rendered_is_a_failure_and_raises_nothing(address, target, headers):
    async def scenario(rig):
        assert isinstance(await Rig(address, rig.peer, rig.inquirer).ask(target=target, headers=headers), Failure)

    run(scenario)


@pytest.mark.parametrize("when", ["dialling", "waiting"])
def test_a_cancelled_inquiry_is_never_answered_and_leaves_no_connection(when):
    async def scenario(rig):
        answered = rig.ask()
        if when == "waiting":
            await settled(lambda: rig.peer.requests)
        rig.cancel()
        rig.cancel()
        await settled(lambda: all(connection.lost for connection in rig.peer.connections))
        assert not answered.done()
        assert (await rig.ask()).status == 200

    run(scenario, [None, OK] if when == "waiting" else [OK])


def test_unused_connections_are_bounded_in_number_and_in_time():
    async def scenario(rig):
        await asyncio.gather(*(rig.ask() for _ in range(5)))
        await settled(lambda: sum(connection.lost for connection in rig.peer.connections) == 3)
        rig.inquirer.close_idle()
        await asyncio.sleep(0.06)
        assert sum(connection.lost for connection in rig.peer.connections) == 3
        rig.inquirer.close_idle()
        await settled(lambda: all(connection.lost for connection in rig.peer.connections))

    run(scenario, max_idle=2, idle_timeout_s=0.05)


def test_connections_in_use_are_bounded_too():
    async def scenario(rig):
        outcomes = await asyncio.gather(*(rig.ask(timeout_s=0.2) for _ in range(3)))
        assert [isinstance(outcome, Reply) for outcome in outcomes] == [True, True, False]
        assert outcomes[2] == Failure("2 connections are in use")

    run(scenario, max_connections=2)


def test_the_end_fails_what_is_open():
    async def scenario(rig):
        answered = rig.ask()
        await settled(lambda: rig.peer.requests)
        rig.inquirer.close()
        assert await answered == Failure("the gateway ends")
        await settled(lambda: rig.peer.connections[0].lost)

    run(scenario, [None])
