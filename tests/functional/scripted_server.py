"""A target whose behaviour is known: python -m tests.functional.scripted_server PORT BEHAVIOUR [SECONDS]

fast      answers at once
stall     answers at once, but stands still as a whole for SECONDS, one second after its first request
silent    never answers
half      closes in the middle of its answer, every second time
reset     resets the connection instead of every third answer
garbage   answers with something that is not HTTP, every fourth time
"""

import asyncio
import socket
import struct
import sys
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scripted(asyncio.Protocol):
    served = 0
    first = 0.0
    stalled = False

    def __init__(self, behaviour, seconds):
        self.behaviour, self.seconds = behaviour, seconds

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        Scripted.first = Scripted.first or time.monotonic()
        for _ in range(data.count(b"\r\n\r\n")):
            Scripted.served += 1
            getattr(self, self.behaviour)()

    def fast(self):
        self.transport.write(ANSWER)

    def stall(self):
        if not Scripted.stalled and time.monotonic() - Scripted.first > 1.0:
            Scripted.stalled = True
            time.sleep(self.seconds)
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


async def main(port, behaviour, seconds):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Scripted(behaviour, seconds), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.0))
