"""A program under the supervisor: each worker answers every request with who it is, and then closes the connection.

`python -m tests.functional.worker_program CONFIG`. The path /slow answers after 0.3 s. With DIE=N in the environment
worker N ends with code 7 before it is ready; a configuration whose first prefix is /not-N is refused by worker N.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys

from gateway_proxy.config import load, parse
from gateway_proxy.workers import AskError, supervise

SLOW_S = 0.3


class Worker:
    def __init__(self, channel):
        self.channel = channel
        self.loop = asyncio.get_running_loop()
        self.generation, self.config = channel.generation, channel.config
        self.tasks = set()

    async def run(self):
        stop = asyncio.Event()
        self.loop.add_signal_handler(signal.SIGTERM, stop.set)
        for listener in self.channel.listeners:
            self.loop.add_reader(listener, self.accept, listener)
        self.channel.ready()
        names = ("status", "pools", "breakers", "metrics", "reload")
        hearing = asyncio.ensure_future(self.channel.answer({name: getattr(self, name) for name in names}))
        hearing.add_done_callback(lambda _: stop.set())
        await stop.wait()
        self.channel.leaving()
        for listener in self.channel.listeners:
            self.loop.remove_reader(listener)
            listener.close()
        await asyncio.gather(*self.tasks)
        return 0

    def accept(self, listener):
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()
                task = self.loop.create_task(self.answer(connection))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    async def answer(self, connection):
        reader, writer = await asyncio.open_connection(sock=connection)
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1]
            await asyncio.sleep(SLOW_S if path == b"/slow" else 0)
            prefix = self.config.routes[0].prefix
            who = {"number": self.channel.number, "pid": os.getpid(), "generation": self.generation, "prefix": prefix}
            body = json.dumps(who).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))
            await writer.drain()

    async def status(self, _):
        return {"connections": len(self.tasks), "generation": self.generation}

    async def pools(self, _):
        target = {"address": "h:1", "weight": 1, "active": 1, "idle": 2, "opened": 3, "held_out": []}
        return {"a": {"balance": "round_robin", "targets": [target]}}

    async def breakers(self, _):
        state = ("closed", "open")[self.channel.number % 2]
        return {"a": {"state": state, "failures_in_a_row": 0, "opened": 1, "refused": 0}}

    async def metrics(self, _):
        return "# TYPE requests_total counter\nrequests_total 1\n"

    async def reload(self, told):
        config = parse(told["text"], told["name"])
        if config.routes[0].prefix == f"/not-{self.channel.number}":
            raise AskError("it cannot read its keys")
        self.config, self.generation = config, told["generation"]
        return {"generation": self.generation}


def serve(channel):
    if os.environ.get("DIE") == str(channel.number):
        return 7

    async def run():
        return await Worker(channel).run()

    return asyncio.run(run())


def main():
    path = sys.argv[1]
    try:
        return supervise(load(path), path, serve, lambda: print("ready", flush=True))
    except OSError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
