"""A peer with several addresses: which of them a request goes to, and to which next when that one fails.

Rules and times are those of `stub_services.failover`; what a policy does about a call that failed all the same comes
on top of that.
"""

from __future__ import annotations

from collections.abc import Callable

from stub_services.failover import PUT_ASIDE_S, Turns
from stub_services.policies import Result
from stub_services.pool import Host, Pool, Reply

CONNECT_FAILED = "connect_failed"
SENT_AGAIN = "sent_again"


class Replicas:
    """The hosts of one peer in turn. `clock` in seconds; `note` hears what failing over takes, event by event."""

    def __init__(self, pool: Pool, hosts: list[Host], clock: Callable[[], float], note: Callable[[str], None]) -> None:
        self.pool = pool
        self.clock = clock
        self.note = note
        self.turns = Turns(hosts, PUT_ASIDE_S)

    def refused(self, host: Host) -> None:
        """Take note of a connect that failed."""
        self.turns.failed(host, self.clock())
        self.note(CONNECT_FAILED)


class Sending:
    """The requests of one logical call. `repeatable`: it does no harm when one that may have arrived is sent again."""

    def __init__(self, replicas: Replicas, request: bytes, *, repeatable: bool) -> None:
        self._replicas = replicas
        self._request = request
        self._repeatable = repeatable
        self._again = 0

    async def __call__(self, timeout_s: float) -> Reply:
        """Make one attempt, within so many seconds for all addresses together."""
        replicas = self._replicas
        deadline = replicas.clock() + timeout_s
        tried: list[Host] = []
        reply, sent = Reply(failure="dial"), False
        while (host := replicas.turns.take(replicas.clock(), tried)) is not None:
            tried.append(host)
            reply = await self._send(host, deadline - replicas.clock())
            if reply.failure != "dial":
                self._note_sent(again=sent)
                sent = True
            if not self._may_go_on(reply):
                break
        return reply

    def counted(self, result: Result) -> Result:
        """Return the result with what was sent again among the attempts."""
        return result._replace(attempts=result.attempts + self._again)

    async def _send(self, host: Host, timeout_s: float) -> Reply:
        replicas, doubtful = self._replicas, self._replicas.turns.is_doubtful(host)
        reply = await replicas.pool.exchange(host, self._request, timeout_s, dial=doubtful)
        if reply.failure == "dial":
            replicas.refused(host)
        elif doubtful and reply.failure != "timeout":
            replicas.turns.reached(host)
        return reply

    def _may_go_on(self, reply: Reply) -> bool:
        """Say whether the request may go to another address: it was not sent, or may be sent again."""
        return reply.failure == "dial" or (reply.failure == "broken" and self._repeatable)

    def _note_sent(self, *, again: bool) -> None:
        if again:
            self._again += 1
            self._replicas.note(SENT_AGAIN)
