"""A server in the test's own loop that answers as it is told."""

import asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok"


class Peer(asyncio.Protocol):
    """Answers each request with the next of `answers`; None: not at all; b"": by closing."""

    def __init__(self, answers):
        self.answers = answers
        self.requests = []
        self.connections = []

    def __call__(self):
        return PeerConnection(self)

    def end(self):
        """Close what is open: uvloop may wait for it for ever when its loop is closed."""
        for connection in self.connections:
            connection.transport.abort()


class PeerConnection(asyncio.Protocol):
    def __init__(self, peer):
        self.peer = peer
        self.lost = False

    def connection_made(self, transport):
        self.transport = transport
        self.peer.connections.append(self)

    def connection_lost(self, exc):
        self.lost = True

    def data_received(self, data):
        self.peer.requests.append(data)
        answer = self.peer.answers.pop(0) if self.peer.answers else OK
        if answer is None:
            return
        self.transport.write(answer)
        if answer == b"" or b"close" in answer or answer.endswith(b"..."):
            self.transport.close()
