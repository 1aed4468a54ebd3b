"""Faults on purpose: shares, independence, and that a held request can be given up."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from gateway_proxy.config.routes import Fault
from gateway_proxy.features.faults import InjectedFault
from tests.gateway_proxy.exchanges import exchange_of


class Clock:
    """A loop as far as the step needs one."""

    def __init__(self):
        self.calls = []

    def call_later(self, delay_s, callback, *arguments):
        self.calls.append((delay_s, lambda: callback(*arguments)))
        return self

    def cancel(self):
        self.calls.pop()


def step_of(loop=None, seed=1, **config):
    return InjectedFault(Fault(**config), random.Random(seed), loop or Clock())


def kinds(step, times=4000):
    """How often: (held?, refused?)."""
    seen = Counter()
    for _ in range(times):
        outcome = step(exchange_of())
        held = hasattr(outcome, "start")
        if held:
            told = []
            outcome.start(told.append)
            step_clock_fires(step)
            (outcome,) = told
        seen[held, outcome is not None] += 1
    return seen


def step_clock_fires(step):
    _, fire = step._later[0]._loop.calls.pop()
    fire()


def test_nothing_happens_with_shares_of_zero_and_everything_with_one():
    assert kinds(step_of(delay_s=1, abort_status=500), 500) == {(False, False): 500}
    assert kinds(step_of(delay_s=1, delay_share=1), 500) == {(True, False): 500}
    assert kinds(step_of(abort_share=1), 500) == {(False, True): 500}
    assert kinds(step_of(delay_s=1, delay_share=1, abort_share=1), 500) == {(True, True): 500}


def test_a_delay_of_no_time_is_none():
    assert kinds(step_of(delay_share=1), 100) == {(False, False): 100}


def test_the_shares_are_drawn_independently():
    seen = kinds(step_of(delay_s=1, delay_share=0.5, abort_share=0.25))
    expected = {(False, False): 1500, (True, False): 1500, (False, True): 500, (True, True): 500}
    for kind, mean in expected.items():
        assert abs(seen[kind] - mean) < 130, seen  # standard deviations: 31 and 21


def test_a_seed_repeats_the_draws():
    def drawn(seed):
        step = step_of(seed=seed, abort_share=0.5)
        return [step(exchange_of()) is None for _ in range(64)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize("status", [200, 429, 503])
def test_an_abort_answers_with_the_status(status):
    refusal = step_of(abort_share=1, abort_status=status)(exchange_of())
    assert (refusal.status, refusal.why, refusal.lines) == (status, "injected fault", b"")


def test_a_request_is_held_for_the_time_and_not_resumed_when_it_is_given_up():
    async def scenario():
        loop = asyncio.get_running_loop()
        told = []
        step = step_of(loop, delay_s=0.02, delay_share=1)
        cancel = step(exchange_of()).start(told.append)
        cancel()
        began = loop.time()
        step(exchange_of()).start(told.append)
        await asyncio.sleep(0.01)
        assert told == []
        while not told:  # noqa: ASYNC110 - bounded by the test's own time
            await asyncio.sleep(0.001)
        assert loop.time() - began > 0.019
        await asyncio.sleep(0.01)
        assert told == [None]

    asyncio.run(scenario())
