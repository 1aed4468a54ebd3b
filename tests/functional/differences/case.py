"""What a case is: the bytes that a client sends, those that the upstream answers, a word where gateways differ."""

from __future__ import annotations

from dataclasses import dataclass

PLACE = b"/CASE"  # becomes the path that is the case's own, of the same length
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NEXT = b"GET /CASE/next HTTP/1.1\r\nHost: h\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """One exchange. `name` says what is odd in it.

    `sends` are the client's pieces, each in a segment of its own. The upstream answers each whole request with the next
    of `answers` (the last one for all that follow), and then does what `then` says: keep, close or reset. With `early`
    it answers at the end of the head. `methods` are those whose answers the client reads, when they are not those of
    one request and then GETs. `why` says why the gateways differ, and is empty where they do not. `ours` is what our
    gateway has to make of it, said only where it once did something else. `unsettled` names a gateway whose outcome
    changes from run to run.
    """

    name: str
    sends: bytes | tuple[bytes, ...]
    answers: tuple[bytes, ...] = (OK,)
    then: str = "keep"
    early: bool = False
    methods: tuple[bytes, ...] = ()
    why: str = ""
    ours: str = ""
    unsettled: str = ""

    def pieces(self, path: bytes) -> list[bytes]:
        """Return what the client sends when the case's path is `path`."""
        pieces = (self.sends,) if isinstance(self.sends, bytes) else self.sends
        return [piece.replace(PLACE, path) for piece in pieces]

    @property
    def is_timed(self) -> bool:
        """Whether it matters when something is sent."""
        return not isinstance(self.sends, bytes) or self.early or self.then == "reset"

    def asked(self) -> list[bytes]:
        """Return the methods whose answers the client reads."""
        first = self.pieces(PLACE)[0].lstrip().partition(b" ")[0]
        return [*(self.methods or (first,)), *[b"GET"] * 200]
