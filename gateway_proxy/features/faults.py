"""Faults on purpose: a share of requests is held back, a share is answered in the upstream's place.

Order: the last step, so that what is spoiled is a request that would have been forwarded.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from gateway_proxy.config.routes import Fault
from gateway_proxy.exchange import Exchange, Pending, Refusal


class _Held:
    """Goes on, or refuses, after a time; one for all requests, as it keeps nothing of any."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay_s: float, outcome: Refusal | None) -> None:
        self._loop = loop
        self._delay_s = delay_s
        self._outcome = outcome

    def start(self, resume: Callable[[Refusal | None], None]) -> Callable[[], None]:
        return self._loop.call_later(self._delay_s, resume, self._outcome).cancel


class InjectedFault:
    """Draws the delay and the abort of each request on their own: both shares of a half spoil three quarters.

    A request that is held and aborted is answered after the delay. `rng` decides, so that a seed repeats a run.
    """

    def __init__(self, config: Fault, rng: random.Random, loop: asyncio.AbstractEventLoop) -> None:
        refusal = Refusal(config.abort_status, "injected fault")
        self._random = rng.random
        self._abort_share = config.abort_share
        self._delay_share = config.delay_share if config.delay_s else 0.0
        self._at_once = (None, refusal)
        self._later = (_Held(loop, config.delay_s, None), _Held(loop, config.delay_s, refusal))

    def __call__(self, exchange: Exchange) -> Refusal | Pending | None:  # noqa: ARG002 - a Step
        """Spoil the request, or let it pass."""
        aborted = self._random() < self._abort_share
        if self._random() < self._delay_share:
            return self._later[aborted]
        return self._at_once[aborted]
