"""Questions to a worker and what comes back, over a socket pair within one loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from gateway_proxy.workers.channel import AskError, Channel, Line


async def echo(argument):
    return {"heard": argument}


async def refuse(argument):
    raise AskError("not now")


async def fail(argument):
    raise KeyError("x")


async def hang(argument):
    await asyncio.sleep(60)


async def much(argument):
    return "x" * 1_000_000


HANDLERS = {"echo": echo, "refuse": refuse, "fail": fail, "hang": hang, "much": much}


@contextlib.asynccontextmanager
async def connected(handlers=HANDLERS):
    """Yield the supervisor's line, what it was told unasked, and the worker's channel."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    said = []
    channel = Channel(0, (), None, 1, theirs)
    channel.ready()
    line = Line(said.append)
    tasks = [asyncio.ensure_future(line.run(ours)), asyncio.ensure_future(channel.answer(handlers))]
    await asyncio.sleep(0.01)
    try:
        yield line, said, channel
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        theirs.close()


def test_a_worker_says_when_it_is_ready_and_answers_what_it_is_asked():
    async def run():
        async with connected() as (line, said, channel):
            assert said == ["ready"]
            assert await line.ask("echo", {"a": [1, None]}) == {"heard": {"a": [1, None]}}
            channel.leaving()
            assert await line.ask("echo") == {"heard": None}
            assert said == ["ready", "leaving"]

    asyncio.run(run())


def test_several_questions_at_once_each_get_their_own_answer():
    async def run():
        async with connected() as (line, _, _):
            answers = await asyncio.gather(*(line.ask("echo", number) for number in range(20)))
            assert answers == [{"heard": number} for number in range(20)]

    asyncio.run(run())


def test_a_long_answer_comes_whole():
    async def run():
        async with connected() as (line, _, _):
            assert len(await line.ask("much")) == 1_000_000

    asyncio.run(run())


@pytest.mark.parametrize(
    ("what", "why"), [("refuse", "not now"), ("fail", "KeyError: 'x'"), ("nonsense", "knows nothing of 'nonsense'")]
)
def test_an_answer_that_cannot_be_had_says_why_and_the_channel_lives_on(what, why, capsys):
    async def run():
        async with connected() as (line, _, _):
            with pytest.raises(AskError, match=f"^{why}$"):
                await line.ask(what)
            assert await line.ask("echo", 1) == {"heard": 1}

    asyncio.run(run())
    assert ("Traceback" in capsys.readouterr().err) == (what == "fail"), "what nobody expected is shown"


def test_a_worker_that_does_not_answer_in_time_is_not_waited_for():
    async def run():
        async with connected() as (line, _, _):
            with pytest.raises(AskError, match=r"no answer in 0\.05 s"):
                await line.ask("hang", timeout_s=0.05)

    asyncio.run(run())


def test_a_worker_that_ends_leaves_nobody_waiting():
    async def run():
        async with connected() as (line, _, channel):
            asked = asyncio.ensure_future(line.ask("hang"))
            await asyncio.sleep(0.01)
            channel.sock.shutdown(socket.SHUT_RDWR)
            with pytest.raises(AskError, match="it ended"):
                await asked
            await asyncio.sleep(0)
            with pytest.raises(AskError, match="it is not there"):
                await line.ask("echo")

    asyncio.run(run())


def test_a_line_that_is_not_json_ends_the_line_and_not_the_supervisor():
    async def run():
        async with connected({"echo": hang}) as (line, _, channel):
            asked = asyncio.ensure_future(line.ask("echo"))
            await asyncio.sleep(0.01)
            channel.sock.sendall(b"{nonsense\n")
            with pytest.raises(AskError, match="its channel broke"):
                await asked

    asyncio.run(run())
