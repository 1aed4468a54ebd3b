"""The services' client with a peer that has two addresses: servers in the same loop, killed and brought back."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager, contextmanager

import pytest
import uvloop

from stub_services.calllog import CallLog, read_calls, read_events
from stub_services.client import PROFILE_CREATE, PROFILE_READ, PROGRESS_UPDATE, Client
from stub_services.failover import CONNECT_TIMEOUT_S, PUT_ASIDE_S
from stub_services.settings import Settings

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Instance:
    """One of two equivalent servers. `behaviour`: answer, or cut the connection once the request is there."""

    def __init__(self):
        self.behaviour = "answer"
        self.seen = []
        self.connections = 0
        self.writers = set()
        self.port = 0

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def kill(self):
        """As a crash shows: nobody listens, and every connection is gone."""
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()
        await asyncio.sleep(0.02)

    async def serve(self, reader, writer):
        self.connections += 1
        self.writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if b"Content-Length: 2" in head:
                    await reader.readexactly(2)
                self.seen.append(head.split(b" ")[0].decode())
                if self.behaviour == "cut":
                    break
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.transport.abort()


class Caller:
    """The client under test, its two peers' instances, and a clock that a test may move on."""

    def __init__(self, first, second, folder, policy="none", ports=None):
        self.instances = first, second
        ports = ports or (first.port, second.port)
        urls = ",".join(f"http://127.0.0.1:{port}" for port in ports)
        settings = Settings("course", 1, folder, {"user": urls}, "key", "s" * 32, policy=policy, log_dir=folder)
        self.folder = folder
        self.ahead_s = 0.0
        self.log = CallLog(folder, "course")
        self.client = Client(settings, self.log, clock=lambda: time.monotonic() + self.ahead_s)

    async def call(self, operation, times=1):
        body = None if operation.method == "GET" else b"{}"
        results = [await self.client.call(operation, "/x", body, "key") for _ in range(times)]
        return [result.outcome for result in results]

    def events(self):
        return [row.kind for row in read_events(self.folder / "course.events")]

    def attempts(self):
        return [row.attempts for row in read_calls(self.folder / "course.calls")]


@asynccontextmanager
async def running(folder, policy="none"):
    first, second = Instance(), Instance()
    await first.start()
    await second.start()
    caller = Caller(first, second, folder, policy)
    try:
        yield caller
    finally:
        caller.client.close()
        caller.log.close()
        await first.kill()
        await second.kill()


def run(scenario):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(scenario(), 20))


def test_calls_are_spread_over_both_instances_and_connections_are_kept(tmp_path):
    async def scenario():
        async with running(tmp_path) as caller:
            assert await caller.call(PROGRESS_UPDATE, 10) == ["ok"] * 10
            assert [len(one.seen) for one in caller.instances] == [5, 5]
            assert [one.connections for one in caller.instances] == [1, 1]
            assert caller.events() == []

    run(scenario)


@pytest.mark.parametrize("operation", [PROGRESS_UPDATE, PROFILE_READ], ids=["not idempotent", "idempotent"])
def test_a_refused_connect_goes_to_the_other_address_at_once_whatever_the_request(tmp_path, operation):
    async def scenario():
        async with running(tmp_path) as caller:
            await caller.call(operation, 2)
            await caller.instances[0].kill()
            begun = time.monotonic()
            assert await caller.call(operation, 10) == ["ok"] * 10
            assert time.monotonic() - begun < 0.5
            assert len(caller.instances[1].seen) == 1 + 10
            assert caller.events() == ["connect_failed"], "one try, then the address is put aside"
            assert set(caller.attempts()) == {1}, "a request that was not sent is not an attempt"

    run(scenario)


def test_the_address_put_aside_is_tried_again_after_its_time_and_taken_back(tmp_path):
    async def scenario():
        async with running(tmp_path) as caller:
            first = caller.instances[0]
            await first.kill()
            await caller.call(PROGRESS_UPDATE, 4)
            caller.ahead_s += PUT_ASIDE_S * 1.01
            assert await caller.call(PROGRESS_UPDATE, 4) == ["ok"] * 4
            assert caller.events() == ["connect_failed"] * 2, "still down: one more try"
            await first.start()
            assert await caller.call(PROGRESS_UPDATE, 4) == ["ok"] * 4
            assert len(first.seen) == 0, "its time is not over"
            caller.ahead_s += PUT_ASIDE_S * 1.01
            assert await caller.call(PROGRESS_UPDATE, 4) == ["ok"] * 4
            assert len(first.seen) == 2
            assert caller.events() == ["connect_failed"] * 2

    run(scenario)


@contextmanager
def nobody_accepts():
    """A port whose queue of connections is full: a connect gets no answer at all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for one in waiting:
            one.close()


def test_a_connect_that_times_out_goes_to_the_other_address(tmp_path):
    async def scenario():
        async with running(tmp_path) as caller:
            with nobody_accepts() as port:
                second = caller.instances[1]
                stuck = Caller(*caller.instances, tmp_path, ports=(port, second.port))
                begun = time.monotonic()
                assert await stuck.call(PROGRESS_UPDATE, 3) == ["ok"] * 3
                assert CONNECT_TIMEOUT_S <= time.monotonic() - begun < 4 * CONNECT_TIMEOUT_S
                assert len(second.seen) == 3
                assert stuck.events() == ["connect_failed"]
                stuck.client.close()
                stuck.log.close()

    run(scenario)


def test_an_idempotent_call_that_was_cut_off_is_sent_again_to_the_other_address_and_counted(tmp_path):
    async def scenario():
        async with running(tmp_path) as caller:
            caller.instances[0].behaviour = "cut"
            assert await caller.call(PROFILE_READ) == ["ok"]
            assert await caller.call(PROFILE_CREATE, 2) == ["ok"] * 2, "a POST, but idempotent by what it asks for"
            assert [one.seen for one in caller.instances] == [["GET", "POST"], ["GET", "POST", "POST"]]
            assert caller.events() == ["sent_again"] * 2
            assert caller.attempts() == [2, 1, 2]

    run(scenario)


def test_a_call_that_may_have_arrived_and_must_not_be_repeated_is_an_error_and_sent_once(tmp_path):
    async def scenario():
        async with running(tmp_path) as caller:
            caller.instances[0].behaviour = "cut"
            assert await caller.call(PROGRESS_UPDATE) == ["error"]
            assert [len(one.seen) for one in caller.instances] == [1, 0]
            assert await caller.call(PROGRESS_UPDATE) == ["ok"]
            assert caller.events() == []
            assert caller.attempts() == [1, 1]

    run(scenario)


def test_a_call_with_an_idempotency_key_may_be_sent_again(tmp_path):
    async def scenario():
        async with running(tmp_path, policy="corrected") as caller:
            caller.instances[0].behaviour = "cut"
            assert await caller.call(PROGRESS_UPDATE) == ["ok"]
            assert caller.events() == ["sent_again"]

    run(scenario)


def test_with_both_instances_gone_a_call_fails_at_once(tmp_path):
    async def scenario():
        async with running(tmp_path) as caller:
            for one in caller.instances:
                await one.kill()
            begun = time.monotonic()
            assert await caller.call(PROFILE_READ, 3) == ["error"] * 3
            assert time.monotonic() - begun < 0.5
            assert caller.events() == ["connect_failed"] * 6, "failing without a try helps nobody"

    run(scenario)


def test_a_peer_with_one_address_is_none_of_this(tmp_path):
    async def scenario():
        async with running(tmp_path) as caller:
            first = caller.instances[0]
            alone = Caller(*caller.instances, tmp_path, ports=(first.port,))
            first.behaviour = "cut"
            assert await alone.call(PROFILE_READ) == ["error"], "nothing is sent again"
            assert len(first.seen) == 1
            assert alone.events() == []
            alone.client.close()
            alone.log.close()

    run(scenario)
