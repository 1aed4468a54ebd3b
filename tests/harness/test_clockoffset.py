"""The offset of another machine's clock, and its bound: the truth must lie within, whatever the ways took."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.clockoffset import DRIFT, ClockOffset, Exchange

TRUTH_NS = -123_456_789_012


def _exchange(sent_ns, there_ns, back_ns, truth_ns=TRUTH_NS):
    return Exchange(sent_ns, sent_ns + there_ns + truth_ns, sent_ns + there_ns + back_ns)


@given(st.lists(st.tuples(st.integers(0, 50_000_000), st.integers(0, 50_000_000)), min_size=1, max_size=80))
def test_the_true_offset_lies_within_the_bound_however_lopsided_the_ways_are(ways):
    clock, now = ClockOffset(), 10**12
    for there, back in ways:
        clock.add(_exchange(now, there, back))
        now += there + back
    offset, error = clock.best(now)
    assert abs(offset - TRUTH_NS) <= error


def test_the_quickest_exchange_is_believed_until_it_is_too_old():
    clock = ClockOffset()
    clock.add(_exchange(0, 100_000, 100_000))
    clock.add(_exchange(10_000_000, 9_000_000, 1_000_000))
    assert clock.best(20_000_000)[0] == TRUTH_NS
    later = 60 * 10**9
    drifted = TRUTH_NS + int(DRIFT * later) // 2
    clock.add(_exchange(later, 500_000, 500_000, drifted))
    offset, error = clock.best(later + 1_000_000)
    assert offset == drifted
    assert error == pytest.approx(500_000, abs=2)


def test_old_exchanges_are_forgotten():
    clock, rng = ClockOffset(), random.Random(1)
    for number in range(500):
        clock.add(_exchange(number * 10**9, rng.randrange(10**6), rng.randrange(10**6)))
    assert len(clock.exchanges) == 64
    assert clock.exchanges[-1].sent_ns == 499 * 10**9


def test_without_an_exchange_there_is_no_offset():
    with pytest.raises(ValueError, match="empty"):
        ClockOffset().best(0)
