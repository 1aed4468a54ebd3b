"""Durations in histograms: three digits, merged by addition, no figure without anything recorded."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.histogram import Histogram, requests_needed

durations = st.lists(st.integers(0, 10**12), max_size=200)
SHARES = (50.0, 90.0, 99.0, 99.9, 100.0)


def _of(values_ns):
    histogram = Histogram()
    histogram.record(np.array(values_ns, dtype=np.int64))
    return histogram


@settings(deadline=None, max_examples=40)
@given(durations, durations)
def test_adding_two_is_the_same_as_having_recorded_all_in_one(first, second):
    merged = _of(first)
    merged += _of(second)
    whole = _of(first + second)
    assert len(merged) == len(whole)
    assert merged.counts() == whole.counts()
    assert merged.percentiles_ms(SHARES) == whole.percentiles_ms(SHARES)
    assert merged.mean_ms == pytest.approx(whole.mean_ms)
    assert merged.max_ms == whole.max_ms


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1_000_000, 10**12), min_size=1, max_size=200))
def test_percentiles_have_three_digits_and_never_exceed_the_maximum(values):
    found = _of(values).percentiles_ms(SHARES)
    ranks = [max(1, int(share / 100 * len(values) + 0.5)) for share in SHARES]  # HdrHistogram's own: the nearest
    exact = [sorted(values)[rank - 1] / 1e6 for rank in ranks]
    assert found == pytest.approx(exact, rel=0.001)
    assert found[-1] <= max(values) / 1e6


@settings(deadline=None, max_examples=40)
@given(durations)
def test_what_is_encoded_is_decoded(values):
    histogram = _of(values)
    again = Histogram.decode(histogram.encode())
    assert again.counts() == histogram.counts()
    assert again.mean_ms == pytest.approx(histogram.mean_ms, rel=0.002, abs=0.001)


def test_microseconds_below_two_milliseconds_are_exact():
    assert _of([1_234_000, 1_234_499]).counts() == [(1.234, 2)]


def test_longer_than_an_hour_counts_as_an_hour_and_keeps_its_maximum():
    histogram = _of([2 * 3600 * 10**9])
    assert histogram.percentile_ms(50) == pytest.approx(3_600_000, rel=0.001)
    assert histogram.max_ms == 7_200_000


def test_nothing_recorded_is_zeros():
    assert (len(Histogram()), Histogram().mean_ms, Histogram().max_ms) == (0, 0.0, 0.0)
    assert Histogram().percentiles_ms(SHARES) == [0.0] * len(SHARES)
    assert Histogram().counts() == []


def test_a_percentile_asks_for_ten_requests_above_it():
    assert [requests_needed(share) for share in (50.0, 95.0, 99.0, 99.9)] == [20, 200, 1000, 10_000]
