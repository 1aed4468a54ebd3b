"""Token buckets against a clock of the test's own, and against a bucket written the slow way."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proxy.config.routes import RateLimit as Config
from gateway_proxy.features.ratelimit import RateLimit
from tests.gateway_proxy.exchanges import exchange_of, lines_of

S = 1_000_000_000
MS = 1_000_000


class Rig:
    def __init__(self, name="a", **config):
        self.now_ns = 10**15
        self.limit = RateLimit(Config(**config), lambda: self.now_ns, name)

    def ask(self, *fields, peer="10.0.0.1", claims=None):
        """The status, and what the answer says."""
        exchange = exchange_of(*fields, peer=peer)
        exchange.claims = claims or {}
        refusal = self.limit(exchange)
        said = [*exchange.answer_lines, refusal.lines if refusal else b""]
        return refusal.status if refusal else 200, lines_of(said)

    def passes(self, *fields, **asked):
        return self.ask(*fields, **asked)[0] == 200

    def passing(self, times, *fields, **asked):
        return sum(self.passes(*fields, **asked) for _ in range(times))


def test_a_burst_passes_and_then_as_many_as_the_rate_lets():
    rig = Rig(requests=10, burst=5)
    assert rig.passing(20) == 5
    rig.now_ns += 100 * MS - 1
    assert not rig.passes()
    rig.now_ns += 1
    assert rig.passing(3) == 1
    rig.now_ns += 3600 * S
    assert rig.passing(20) == 5


def test_the_burst_is_the_requests_of_a_window_unless_said_otherwise():
    assert Rig(requests=7, window_s=60).passing(20) == 7


def test_answers_say_what_is_left_in_the_form_of_the_draft():
    rig = Rig(requests=2, window_s=60, name='r"\\1')
    assert rig.ask() == (
        200,
        {"RateLimit-Policy": r'"r\"\\1";q=2;w=60', "RateLimit": r'"r\"\\1";r=1;t=30'},
    )
    assert rig.ask()[1]["RateLimit"] == r'"r\"\\1";r=0;t=30'
    rig.now_ns += 10 * S
    status, said = rig.ask()
    assert (status, said["RateLimit"], said["Retry-After"]) == (429, r'"r\"\\1";r=0;t=20', "20")


def test_who_waits_as_long_as_retry_after_says_is_let_pass():
    rig = Rig(requests=7, window_s=13.7, burst=3)
    for _ in range(50):
        status, said = rig.ask()
        if status == 429:
            rig.now_ns += int(said["Retry-After"]) * S
            assert rig.passes()


def test_a_window_of_part_of_a_second_is_left_out_as_the_draft_cannot_say_it():
    assert Rig(requests=5, window_s=0.5).ask()[1]["RateLimit-Policy"] == '"a";q=5'


@given(
    st.integers(1, 20),
    st.integers(1, 5),
    st.integers(1, 10),
    st.lists(st.integers(0, 3 * 10**9), min_size=1, max_size=60),
)
@settings(max_examples=60, deadline=None)
def test_it_decides_as_a_token_bucket_does(requests, window_s, burst, gaps_ns):
    rig = Rig(requests=requests, window_s=window_s, burst=burst)
    interval_ns = -(-window_s * S // requests)
    tokens = Fraction(burst)
    for gap_ns in gaps_ns:
        rig.now_ns += gap_ns
        tokens = min(Fraction(burst), tokens + Fraction(gap_ns, interval_ns))
        status, said = rig.ask()
        assert (status == 200) == (tokens >= 1)
        tokens -= tokens >= 1
        assert f";r={int(tokens) if status == 200 else 0};" in said["RateLimit"]


@pytest.mark.parametrize(
    ("key", "one", "other", "alike"),
    [
        ("client", {"peer": "10.0.0.1"}, {"peer": "10.0.0.2"}, False),
        ("client", {"peer": "2001:db8:0:1::1"}, {"peer": "2001:db8:0:1:ffff::2"}, True),
        ("client", {"peer": "2001:db8:0:1::1"}, {"peer": "2001:db8:0:2::1"}, False),
        ("client", {"peer": "::ffff:10.0.0.1"}, {"peer": "::ffff:10.0.0.2"}, False),
        ("client", {"peer": "fe80::1%eth0"}, {"peer": "fe80::1%eth1"}, True),
        ("client", {"peer": "not:an:address"}, {"peer": "nor:this"}, False),
        ("route", {"peer": "10.0.0.1"}, {"peer": "10.0.0.2"}, True),
        ("claim:sub", {"claims": {"sub": "a"}}, {"claims": {"sub": "b"}}, False),
        ("claim:sub", {"claims": {"sub": "a"}}, {"claims": {"sub": "a", "x": 1}}, True),
        ("claim:sub", {"claims": {}}, {"claims": {"sub": None}}, True),
        ("claim:sub", {"claims": {"sub": "x" * 99 + "a"}}, {"claims": {"sub": "x" * 99 + "b"}}, False),
        ("claim:sub", {"claims": {"sub": "\ud800"}}, {"claims": {"sub": ["a"]}}, False),
    ],
)
def test_each_key_has_a_bucket_of_its_own(key, one, other, alike):
    rig = Rig(requests=1, window_s=60, key=key)
    assert rig.passes(**one)
    assert not rig.passes(**one)
    assert rig.passes(**other) == (not alike)


def test_a_field_can_be_the_key_and_those_without_it_share():
    rig = Rig(requests=1, window_s=60, key="field:X-Key")
    assert rig.passes("x-key: a")
    assert not rig.passes("X-Key:  a ")
    assert rig.passes("X-Key: b")
    assert rig.passes("X-Key: " + "y" * 500)
    assert not rig.passes("X-Key: " + "y" * 500)
    assert rig.passes()
    assert not rig.passes("X-Other: a")


def test_a_used_up_bucket_is_not_fresh_again_after_a_flood_of_other_keys():
    rig = Rig(requests=10, window_s=60, burst=10, key="field:K", max_keys=50)
    assert rig.passing(10, "K: attacker") == 10
    passed = rig.passing(1, "K: 0") + sum(rig.passes(f"K: {number}") for number in range(1, 2000))
    assert not rig.passes("K: attacker")
    assert passed == 49 + 10, "one for each place there is, and one bucket for all the others"


def test_full_buckets_make_room():
    rig = Rig(requests=10, window_s=1, burst=10, key="field:K", max_keys=50)
    for number in range(500):
        assert rig.passing(11, f"K: {number}") == 10
        rig.now_ns += 1 * S


def test_a_few_deep_debts_do_not_keep_paid_off_keys_in_their_places():
    rig = Rig(requests=60, window_s=60, burst=60, key="field:K", max_keys=20)
    for number in range(10):
        assert rig.passing(60, f"K: deep{number}") == 60
    for number in range(10):
        assert rig.passes(f"K: light{number}")
    rig.now_ns += 2 * S
    fresh = [rig.passing(30, f"K: new{number}") for number in range(10)]
    assert fresh == [30] * 10
    assert rig.passing(5, "K: deep0") == 2


def test_memory_is_bounded_whatever_the_keys():
    rig = Rig(requests=1000, window_s=0.001, key="field:K", max_keys=200)
    exchanges = [exchange_of(f"K: {number:03}{'x' * 2000}") for number in range(600)]
    tracemalloc.start()
    for exchange in exchanges:
        rig.limit(exchange)
        exchange.answer_lines.clear()
        rig.now_ns += 1
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 200 * 600
