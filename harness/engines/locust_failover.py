"""A Locust worker's targets with several addresses: in turn, and past one to which nobody can connect.

The rules are those of stub_services.failover, as the native engine has them; every worker learns by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from geventhttpclient.response import HTTPParseError

from harness.engines.job import FailingOver
from harness.engines.locust_client import Client, ConnectFailedError
from stub_services.failover import CONNECT_TIMEOUT_S, IDEMPOTENT, PUT_ASIDE_S, Turns


class Several:
    """The clients of equivalent addresses. `clock` in ns from t0; `failing_over` gets what passing on takes."""

    def __init__(self, clients: Sequence[Client], clock: Callable[[], int], failing_over: FailingOver) -> None:
        self.clock = clock
        self.failing_over = failing_over
        self.turns = Turns(clients, int(PUT_ASIDE_S * 1e9))
        for client in clients:
            client.connections.connection_timeout = CONNECT_TIMEOUT_S
            client.connections.on_connect = lambda: failing_over.connects_ns.append(clock())

    def ask(self, method: str, target: str, body: bytes, headers: Any) -> Any:
        """Send the request and return its answer, read whole. Raises as the client does, of the last address tried."""
        tried: list[Client] = []
        left = False
        problem: Exception = ConnectFailedError("no address")
        while (client := self.turns.take(self.clock(), tried)) is not None:
            tried.append(client)
            sent_at = self.clock()
            try:
                answer = client.request(method, target, body, headers)
                answer.read()
            except ConnectFailedError as failed:
                self._connect_failed(client)
                problem = failed
                continue
            except (OSError, HTTPParseError) as broken:
                if method not in IDEMPOTENT:
                    raise
                problem, answer = broken, None
            if left:
                self.failing_over.again_ns.append(sent_at)
            if answer is not None:
                self.turns.reached(client)
                return answer
            left = True
        raise problem

    def _connect_failed(self, client: Client) -> None:
        now = self.clock()
        self.turns.failed(client, now)
        self.failing_over.failed_ns.append(now)
