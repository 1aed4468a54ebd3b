"""The pool against a server in the same loop that does as the request's path says."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
import uvloop

from gateway_proxy.http1 import render_request
from stub_services.pool import Caps, Pool, Reply

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Hops: 2\r\n\r\nok"


class Server:
    """Answers by path: /ok, /wait (until released), /cut, /close, /until-close, /garbage, /never, /twice."""

    def __init__(self):
        self.connections = 0
        self.open = 0
        self.seen = []
        self.release = asyncio.Event()
        self.writers = []

    async def serve(self, reader, writer):
        self.connections += 1
        self.open += 1
        number = self.connections
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ")[1].decode()
                self.seen.append((number, path))
                if not await self.answer(path, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def answer(self, path, writer):
        if path == "/never":
            await asyncio.sleep(30)
        if path == "/wait":
            await self.release.wait()
        answers = {
            "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            "/close": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            "/until-close": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall there is",
            "/garbage": b"SMTP ready\r\n",
            "/empty": b"",
        }
        writer.write(answers.get(path, OK))
        await writer.drain()
        return path not in answers


@asynccontextmanager
async def running(caps=None, sweep_s=0.02, clock=time.monotonic):
    script = Server()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    pool = Pool(clock, caps, sweep_s)
    host = pool.host("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield script, pool, host
    finally:
        pool.close()
        server.close()
        script.release.set()
        for writer in script.writers:
            writer.close()
        await asyncio.sleep(0.02)


def get(pool, host, path, timeout_s=5.0):
    return pool.exchange(host, render_request("GET", path, "server"), timeout_s)


def run(scenario):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(scenario(), 20))


def test_an_answer_comes_with_its_status_hops_and_body():
    async def scenario():
        async with running() as (_, pool, host):
            assert await get(pool, host, "/ok") == Reply(200, "", 2, b"ok")

    run(scenario)


def test_one_after_the_other_share_a_connection():
    async def scenario():
        async with running() as (server, pool, host):
            for _ in range(5):
                await get(pool, host, "/ok")
            assert server.connections == 1

    run(scenario)


def test_active_connections_are_unlimited_and_the_eleventh_back_is_closed():
    async def scenario():
        async with running() as (server, pool, host):
            waiting = [get(pool, host, "/wait") for _ in range(25)]
            await asyncio.sleep(0.1)
            assert server.open == 25
            server.release.set()
            await asyncio.gather(*waiting)
            await asyncio.sleep(0.1)
            assert server.open == 10

    run(scenario)


def test_beyond_the_total_the_longest_idle_goes():
    async def scenario():
        async with running(Caps(idle_total=3, idle_per_host=10)) as (server, pool, host):
            waiting = [get(pool, host, "/wait") for _ in range(5)]
            await asyncio.sleep(0.1)
            server.release.set()
            await asyncio.gather(*waiting)
            await asyncio.sleep(0.05)
            assert server.open == 3

    run(scenario)


def test_the_last_connection_back_is_the_first_one_out():
    async def scenario():
        async with running() as (server, pool, host):
            slow = get(pool, host, "/wait")
            await asyncio.sleep(0.05)
            await get(pool, host, "/ok")
            server.release.set()
            await slow
            server.seen.clear()
            await get(pool, host, "/ok")
            assert server.seen == [(1, "/ok")]  # the slow one came back last

    run(scenario)


def test_an_idle_connection_is_given_up_after_its_time():
    now = 0.0

    async def scenario():
        nonlocal now
        async with running(clock=lambda: now) as (server, pool, host):
            await get(pool, host, "/ok")
            now = 89.9
            await get(pool, host, "/ok")
            assert server.connections == 1
            now += 90.0
            await asyncio.sleep(0.1)
            assert server.open == 0
            await get(pool, host, "/ok")
            assert server.connections == 2

    run(scenario)


def test_a_request_takes_a_returned_connection_before_its_own_dial():
    async def scenario():
        async with running() as (server, pool, host):
            first = get(pool, host, "/wait")
            await asyncio.sleep(0.05)
            release_dial = asyncio.Event()
            dial = pool._loop.create_connection

            async def slow_dial(*arguments):
                await release_dial.wait()
                return await dial(*arguments)

            pool._loop = type(
                "Loop",
                (),
                {
                    "create_connection": staticmethod(slow_dial),
                    "create_future": pool._loop.create_future,
                    "create_task": pool._loop.create_task,
                    "call_later": pool._loop.call_later,
                },
            )()
            second = get(pool, host, "/ok")
            server.release.set()
            assert (await first).status == (await second).status == 200
            assert server.connections == 1
            release_dial.set()
            await asyncio.sleep(0.05)
            assert server.connections == 2, "the dial that came too late is kept for others"
            assert len(host.idle) == 2
            assert server.seen == [(1, "/wait"), (1, "/ok")], "and nothing is sent twice"

    run(scenario)


def test_a_request_takes_its_own_dial_before_a_returned_connection():
    async def scenario():
        async with running() as (server, pool, host):
            first = get(pool, host, "/wait")
            await asyncio.sleep(0.05)
            assert (await get(pool, host, "/ok")).status == 200
            server.release.set()
            await first
            assert server.seen == [(1, "/wait"), (2, "/ok")]

    run(scenario)


@pytest.mark.parametrize("path", ["/cut", "/garbage", "/empty"])
def test_a_broken_answer_is_a_failure_and_is_not_asked_for_again(path):
    async def scenario():
        async with running() as (server, pool, host):
            await get(pool, host, "/ok")
            assert await get(pool, host, path) == Reply(failure="broken")
            assert [seen for _, seen in server.seen] == ["/ok", path]
            assert (await get(pool, host, "/ok")).status == 200

    run(scenario)


def test_connection_close_is_honoured():
    async def scenario():
        async with running() as (server, pool, host):
            assert (await get(pool, host, "/close")).body == b"ok"
            assert (await get(pool, host, "/until-close")).body == b"all there is"
            await get(pool, host, "/ok")
            assert server.connections == 3

    run(scenario)


def test_a_dead_host_is_a_dial_failure():
    async def scenario():
        async with running() as (_, pool, _host):
            nobody = pool.host("127.0.0.1", 1)
            assert await get(pool, nobody, "/ok") == Reply(failure="dial")

    run(scenario)


def test_time_runs_out_over_the_whole_exchange_and_the_connection_is_dropped():
    async def scenario():
        async with running() as (server, pool, host):
            begun = time.monotonic()
            assert await get(pool, host, "/never", 0.1) == Reply(failure="timeout")
            assert 0.1 <= time.monotonic() - begun < 1.0
            assert (await get(pool, host, "/ok")).status == 200
            assert server.connections == 2

    run(scenario)


def test_a_cancelled_caller_takes_its_connection_with_it():
    async def scenario():
        async with running() as (server, pool, host):
            future = get(pool, host, "/never")
            await asyncio.sleep(0.05)
            future.cancel()
            await asyncio.sleep(0.1)
            assert not pool._open
            assert (await get(pool, host, "/ok")).status == 200
            assert server.connections == 2

    run(scenario)


def test_a_connection_that_the_server_closes_while_idle_is_not_used():
    async def scenario():
        async with running() as (server, pool, host):
            await get(pool, host, "/ok")
            server.writers[0].close()
            await asyncio.sleep(0.05)
            assert not host.idle
            assert (await get(pool, host, "/ok")).status == 200

    run(scenario)


def test_closing_the_pool_breaks_what_is_under_way():
    async def scenario():
        async with running() as (_, pool, host):
            future = get(pool, host, "/never")
            await asyncio.sleep(0.05)
            pool.close()
            assert await future == Reply(failure="broken")

    run(scenario)
