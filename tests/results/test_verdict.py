"""The verdict rules on bare intervals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.estimate import measure
from results.verdict import combine, first_more, more_blocks, settle, settle_ends
from scenarios.model import Band


@pytest.mark.parametrize(
    ("at90", "at95", "band", "word"),
    [
        ((2.1, 2.9), (2.0, 3.1), Band(low=2, high=3), "confirmed"),  # equivalence looks at 90 %
        ((1.9, 2.9), (1.8, 3.1), Band(low=2, high=3), "inconclusive"),
        ((1.0, 1.9), (0.9, 1.99), Band(low=2, high=3), "refuted"),
        ((1.0, 1.9), (0.9, 2.01), Band(low=2, high=3), "inconclusive"),  # refuting looks at 95 %
        ((1.2, 9.0), (1.1, 99.0), Band(low=1.1), "confirmed"),  # an open end
        ((0.2, 0.3), (0.1, 0.4), Band(high=0.5), "confirmed"),
        ((0.7, 0.8), (0.6, 0.9), Band(high=0.5), "refuted"),
        ((None, None), (None, None), Band(low=0, high=9), "inconclusive"),
    ],
)
def test_a_verdict_is_an_interval_against_a_band(at90, at95, band, word):
    assert settle_ends(at90, at95, band) == word


def test_a_statement_of_parts_needs_all_of_them():
    assert combine(["confirmed", "confirmed"]) == "confirmed"
    assert combine(["confirmed", "inconclusive"]) == "inconclusive"
    assert combine(["inconclusive", "refuted", "confirmed"]) == "refuted"
    assert combine([]) == "inconclusive"


@given(st.integers(1, 50), st.integers(1, 3000))
def test_the_least_number_of_further_blocks_is_found(n, needed):
    assert first_more(n, lambda m: m >= needed) == max(needed - n, 1)


def test_the_blocks_that_are_asked_for_do_settle_it():
    noisy = measure([2.0, 2.2, 2.9, 2.7], "x", log=True)
    band = Band(low=2, high=3)
    assert settle(noisy, band) == "inconclusive"
    more = more_blocks(noisy, band)
    settled = measure([2.0, 2.2, 2.9, 2.7] * (1 + more), "x", log=True)
    assert more > 0
    assert settle(settled, band) == "confirmed"


def test_a_figure_on_the_edge_of_the_band_is_never_settled():
    assert more_blocks(measure([1.9, 2.0, 2.1], "x", log=False), Band(low=2)) is None
    assert more_blocks(measure([2.0], "x", log=False), Band(low=1)) is None


def test_no_number_of_blocks_takes_away_what_the_instrument_cannot_tell_apart():
    band = Band(low=1.9, high=2.1)
    close = measure([1.9, 2.0, 2.1], "x", log=False)
    assert more_blocks(close, band) > 0
    assert more_blocks(close.widened(0.05, 0.05, "by the instrument"), band) > more_blocks(close, band)
    assert more_blocks(close.widened(0.05, 0.2, "by the instrument"), band) is None
    logs = measure([1.9, 2.0, 2.1], "x", log=True)
    assert more_blocks(logs, band) > 0
    assert more_blocks(logs.widened(0.0, 0.1, "by the instrument"), band) is None


def test_one_block_has_no_interval_however_it_is_widened():
    assert measure([2.0], "x", log=True).widened(0.1, 0.1, "by the instrument").at95.high is None
