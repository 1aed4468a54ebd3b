"""Bearer tokens judged elsewhere: an authentication service is asked for each request, or once in a while.

Order: where JwtCheck would stand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway_proxy.config.routes import Ask
from gateway_proxy.exchange import Exchange, Pending, Refusal
from gateway_proxy.features.fields import all_values
from gateway_proxy.features.remembered import Remembered
from gateway_proxy.inquiry import Cancel, Done, Failure, Reply

_DOWN = Refusal(503, "cannot serve while auth is down")
_TWO_TOKENS = Refusal(400, "more than one Authorization")
_WHY = {401: "not authenticated", 403: "not allowed"}

Resume = Callable[[Refusal | None], None]


class Asker(Protocol):
    """`Inquirer.ask` with an address of the authentication service filled in, chosen anew for each inquiry."""

    def __call__(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], timeout_s: float, done: Done
    ) -> Cancel:
        """Ask; `done` is called once, later, from the loop, and not after cancelling."""


class AskAuth:
    """Asks with the request's Authorization, and nothing else of it; a request without one is asked for without.

    2xx lets the request pass. 401 and 403 are passed on, with the WWW-Authenticate fields that came. Anything else,
    or no answer in `timeout_s`, is 503: who cannot be judged is not served, and the token is not to blame.

    With `cache_s`, passes and refusals are kept that long by the value of Authorization (`clock` in seconds,
    monotonic), each in a place of its own, so that bad tokens push no good one out. A token that is revoked meanwhile
    still passes.
    """

    def __init__(self, config: Ask, ask: Asker, clock: Callable[[], float]) -> None:
        self._path = config.path
        self._timeout_s = config.timeout_s
        self._cache_s = config.cache_s
        self._ask = ask
        self._clock = clock
        most = config.cached_tokens if config.cache_s else 0
        self._passes: Remembered[bool] = Remembered(most)
        self._refusals: Remembered[Refusal] = Remembered(most)
        self._authorizations = all_values("Authorization")

    def __call__(self, exchange: Exchange) -> Refusal | Pending | None:
        """Judge by what is remembered, or ask for time to ask."""
        came = self._authorizations(exchange.head)
        if len(came) > 1:
            return _TWO_TOKENS
        authorization = came[0].strip(b" \t") if came else b""
        if self._cache_s:
            now = self._clock()
            if self._passes.get(authorization, now):
                return None
            known = self._refusals.get(authorization, now)
            if known is not None:
                return known
        return _Question(self, authorization, bool(came))

    def ask(self, authorization: bytes, there: bool, resume: Resume) -> Cancel:
        """Send the inquiry; `resume` gets the verdict."""
        headers = [("Authorization", authorization.decode("latin-1"))] if there else []

        def done(outcome: Reply | Failure) -> None:
            resume(self._judge(authorization, outcome))

        return self._ask("GET", self._path, headers, self._timeout_s, done)

    def _judge(self, authorization: bytes, outcome: Reply | Failure) -> Refusal | None:
        if isinstance(outcome, Failure):
            return _DOWN
        until = self._clock() + self._cache_s
        if 200 <= outcome.status < 300:
            self._passes.put(authorization, value=True, until=until)
            return None
        why = _WHY.get(outcome.status)
        if why is None:
            return _DOWN
        refusal = Refusal(outcome.status, why, _challenges(outcome))
        self._refusals.put(authorization, refusal, until)
        return refusal


class _Question:
    """One request that waits for its verdict."""

    __slots__ = ("_asks", "_authorization", "_there")

    def __init__(self, asks: AskAuth, authorization: bytes, there: bool) -> None:
        self._asks = asks
        self._authorization = authorization
        self._there = there

    def start(self, resume: Resume) -> Cancel:
        return self._asks.ask(self._authorization, self._there, resume)


def _challenges(reply: Reply) -> bytes:
    return b"".join(
        b"WWW-Authenticate: %b\r\n" % value for name, value in reply.headers if name.lower() == b"www-authenticate"
    )
