"""A target whose behaviour is known: python -m tests.functional.scripted_server PORT BEHAVIOUR [SECONDS]

fast          answers at once
headonly      answers at once, announces a body and sends none, as to a HEAD
stall         answers at once, but stands still as a whole for SECONDS, one second after its first request
stall_early   the same, a twentieth of a second after its first request
falls_silent  answers the first ANSWERED_BEFORE_SILENCE requests
silent        never answers
half          closes in the middle of its answer, every second time
reset         resets the connection instead of every third answer
garbage       answers with something that is not HTTP, every fourth time
closing       says that it closes after the answer, and does
until_close   announces no length: its close ends the answer
hangup        closes after every answer without having said so
surplus       sends more than it announced
trickle       sends its answer a byte at a time, without end
huge          answers with HUGE_BYTES of an announced length
huge_chunked  answers with HUGE_BYTES in chunks
sink          answers once it has read the whole body of the request
early         answers as soon as it has the head, and reads no further
early_close   answers as soon as it has the head, and closes
"""

import asyncio
import itertools
import re
import socket
import struct
import sys
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nas long as it takes"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
STALL_AFTER_S = {"stall": 1.0, "stall_early": 0.05}
TRICKLE_S = 0.05
ANSWERED_BEFORE_SILENCE = 100
PIECE = b"x" * 62_500
PIECES = 1600
HUGE_BYTES = PIECES * len(PIECE)


class Scripted(asyncio.Protocol):
    served = 0
    first = 0.0
    stalled = False

    def __init__(self, behaviour, seconds):
        self.behaviour, self.seconds = behaviour, seconds
        self.missing = 0  # of the request's body
        self.pieces, self.paused = iter(()), False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if self.behaviour == "sink":
            self.sink(data)
            return
        Scripted.first = Scripted.first or time.monotonic()
        for _ in range(data.count(b"\r\n\r\n")):
            Scripted.served += 1
            getattr(self, self.behaviour)()

    def headonly(self):
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")

    def fast(self):
        self.transport.write(ANSWER)

    def stall(self):
        if not Scripted.stalled and time.monotonic() - Scripted.first > STALL_AFTER_S[self.behaviour]:
            Scripted.stalled = True
            time.sleep(self.seconds)
        self.transport.write(ANSWER)

    stall_early = stall

    def falls_silent(self):
        if Scripted.served <= ANSWERED_BEFORE_SILENCE:
            self.transport.write(ANSWER)

    def silent(self):
        pass

    def half(self):
        self.transport.write(ANSWER if Scripted.served % 2 else ANSWER[:30])
        if Scripted.served % 2 == 0:
            self.transport.close()

    def reset(self):
        if Scripted.served % 3:
            self.transport.write(ANSWER)
            return
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def garbage(self):
        self.transport.write(ANSWER if Scripted.served % 4 else b"\x16\x03 not http\r\n\r\n")

    def closing(self):
        self._last(CLOSING)

    def until_close(self):
        self._last(UNTIL_CLOSE)

    def hangup(self):
        self._last(ANSWER)

    early_close = hangup

    def _last(self, answer):
        self.transport.write(answer)
        self.transport.close()

    def surplus(self):
        self.transport.write(ANSWER + b"and more")

    def trickle(self):
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        self._drip()

    def _drip(self):
        if not self.transport.is_closing():
            self.transport.write(b"x")
            asyncio.get_running_loop().call_later(TRICKLE_S, self._drip)

    def huge(self):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE_BYTES
        self._stream(head, PIECE, b"")

    def huge_chunked(self):
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        self._stream(head, b"%x\r\n%b\r\n" % (len(PIECE), PIECE), b"0\r\n\r\n")

    def _stream(self, head, piece, end):
        """Write as fast as the peer reads, so that neither side has to hold the whole."""
        self.pieces = itertools.chain([head], itertools.repeat(piece, PIECES), [end])
        self.resume_writing()

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        while not self.paused and (piece := next(self.pieces, None)) is not None:
            self.transport.write(piece)

    def sink(self, data):
        if not self.missing:
            head, _, data = data.partition(b"\r\n\r\n")
            self.missing = int(LENGTH.search(head)[1])
        self.missing -= len(data)
        if not self.missing:
            self.transport.write(ANSWER)

    def early(self):
        self.transport.write(ANSWER)
        self.transport.pause_reading()


async def main(port, behaviour, seconds):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Scripted(behaviour, seconds), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0))
