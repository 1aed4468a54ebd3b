"""A target that does what the path says: python -m tests.functional.told_server PORT [HOST]

/status/N       answers with status N
/delay/SECONDS  answers after that time
/redirect       302 to /status/200
/hangup         closes without an answer
/cut            closes in the middle of the body
/report         what it has seen since the last /forget, as JSON
/forget
"""

import asyncio
import base64
import json
import re
import sys
from collections import Counter

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Seen:
    def __init__(self):
        self.paths, self.raw = Counter(), []
        self.waiting = self.most_waiting = self.answered = self.aborted = 0


class Told(asyncio.Protocol):
    seen = Seen()

    def __init__(self):
        self.data = b""
        self.delayed = None

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _):
        if self.delayed is not None:
            self.delayed.cancel()
            Told.seen.waiting -= 1
            Told.seen.aborted += 1

    def data_received(self, data):
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.data[:end])
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.data) < size:
                return
            request, self.data = self.data[:size], self.data[size:]
            self.serve(request)

    def serve(self, request):
        _, what, *rest = request.split(b" ", 2)[1].decode().partition("?")[0].split("/")
        if what not in {"report", "forget"}:
            Told.seen.paths[f"/{what}"] += 1
            Told.seen.raw.append(base64.b64encode(request).decode())
        getattr(self, what)(*rest)

    def answer(self, status=200, body=b"ok", extra=""):
        head = f"HTTP/1.1 {status} Told\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
        self.transport.write(head.encode() + body)

    def status(self, number):
        self.answer(int(number))

    def delay(self, seconds):
        Told.seen.waiting += 1
        Told.seen.most_waiting = max(Told.seen.most_waiting, Told.seen.waiting)
        self.delayed = asyncio.get_running_loop().call_later(float(seconds), self.delay_over)

    def delay_over(self):
        self.delayed = None
        Told.seen.waiting -= 1
        Told.seen.answered += 1
        self.answer()

    def redirect(self):
        self.answer(302, extra="Location: /status/200\r\n")

    def hangup(self):
        self.transport.close()

    def cut(self):
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf of it")
        self.transport.close()

    def report(self):
        self.answer(body=json.dumps(vars(Told.seen)).encode())

    def forget(self):
        waiting, Told.seen = Told.seen.waiting, Seen()
        Told.seen.waiting = waiting
        self.answer()


async def main(port, host="127.0.0.1"):
    server = await asyncio.get_running_loop().create_server(Told, host, int(port), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
