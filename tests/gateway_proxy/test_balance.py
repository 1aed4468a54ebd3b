"""Who gets the next request: turns, least work, two choices, and the consistent hash's promise about moved keys."""

from __future__ import annotations

import random
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proxy.balance import BALANCERS, ConsistentHash, LeastConnections, RoundRobin, TwoChoices
from gateway_proxy.config.upstreams import Balance
from tests.gateway_proxy.targets import targets


def picks(balancer, count, key=b""):
    return "".join(map(repr, (balancer.pick(key) for _ in range(count))))


def told(balancer, available):
    balancer.changed(available)
    return balancer


def test_the_registry_has_every_name_of_the_configuration_and_no_other():
    assert set(BALANCERS) == set(get_args(Balance))


@pytest.mark.parametrize("name", BALANCERS)
def test_a_single_target_gets_everything(name):
    balancer = told(BALANCERS[name](random.Random(1)), targets(3))
    assert picks(balancer, 4) == "aaaa"


@pytest.mark.parametrize("name", BALANCERS)
def test_a_target_that_is_gone_is_never_picked(name):
    a, b, c = targets(1, 2, 3)
    balancer = told(BALANCERS[name](random.Random(1)), [a, b, c])
    for _ in range(5):
        balancer.pick(b"x")
    balancer.changed([a, c])
    assert b not in {balancer.pick(b"%d" % key) for key in range(300)}


# -- round robin --------------------------------------------------------------------------------------------------


def test_equal_weights_take_turns_in_order():
    assert picks(told(RoundRobin(), targets(1, 1, 1)), 7) == "abcabca"
    assert picks(told(RoundRobin(), targets(4, 4)), 4) == "abab", "equal is equal, whatever the number"


def test_weights_5_1_1_give_nginx_own_example_over_and_over():
    assert picks(told(RoundRobin(), targets(5, 1, 1)), 14) == "aabacaa" * 2


def smooth(weights, count):
    """ngx_http_upstream_get_peer, as far as it decides anything."""
    current, chosen = [0] * len(weights), []
    for _ in range(count):
        best = None
        for index, weight in enumerate(weights):
            current[index] += weight
            if best is None or current[index] > current[best]:
                best = index
        current[best] -= sum(weights)
        chosen.append(chr(97 + best))
    return "".join(chosen)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_turns_are_nginx_turns_for_any_weights_through_two_periods(weights):
    count = 2 * sum(weights) + 1
    assert picks(told(RoundRobin(), targets(*weights)), count) == smooth(weights, count)


# -- least connections --------------------------------------------------------------------------------------------


def test_idle_targets_take_turns_by_weight():
    assert picks(told(LeastConnections(), targets(2, 1)), 6) == "abaaba"


def test_the_one_with_the_least_in_flight_for_its_weight_is_picked():
    a, b, c = targets(1, 4, 1)
    a.active, b.active, c.active = 2, 4, 3
    assert picks(told(LeastConnections(), [a, b, c]), 3) == "bbb"


def test_equally_busy_targets_take_turns():
    several = targets(1, 1, 1)
    for target in several:
        target.active = 2
    assert Counter(picks(told(LeastConnections(), several), 9)) == dict.fromkeys("abc", 3)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=6), st.integers(1, 7))
def test_nobody_has_less_to_do_than_the_one_picked(work, rounds):
    available = targets(*(weight for weight, _ in work))
    for target, (_, active) in zip(available, work, strict=True):
        target.active = active
    balancer = told(LeastConnections(), available)
    for _ in range(rounds):
        chosen = balancer.pick(b"")
        assert chosen.active / chosen.weight == min(target.active / target.weight for target in available)


# -- two choices --------------------------------------------------------------------------------------------------


def test_of_two_targets_the_busier_one_is_passed_over_always():
    a, b = targets(1, 1)
    a.active = 1
    assert set(picks(told(TwoChoices(random.Random(1)), [a, b]), 200)) == {"b"}


def test_the_busiest_of_all_is_never_picked_because_two_different_ones_are_drawn():
    several = targets(1, 1, 1, 1)
    several[2].active = 5
    assert "c" not in picks(told(TwoChoices(random.Random(1)), several), 500)


def test_idle_targets_are_drawn_by_weight():
    # Of two, both are always drawn, and the first draw, by weight, decides between equals.
    counts = Counter(picks(told(TwoChoices(random.Random(7)), targets(3, 1)), 4000))
    assert 0.72 < counts["a"] / 4000 < 0.78


def test_every_pair_of_equals_is_drawn_equally_often():
    several = targets(1, 1, 1)
    several[0].active = 9  # never the better one, so that b and c come from pairs
    counts = Counter(picks(told(TwoChoices(random.Random(7)), several), 3000))
    assert set(counts) == {"b", "c"}
    assert 0.46 < counts["b"] / 3000 < 0.54


def test_the_same_seed_picks_the_same():
    first, second = (picks(told(TwoChoices(random.Random(3)), targets(1, 2, 3)), 50) for _ in range(2))
    assert first == second


def test_two_choices_keep_queues_shorter_than_one_draw_would():
    """Balls into bins: the fullest of 64 bins holds far fewer with two choices (log log n) than with one."""
    rng = random.Random(5)
    bins = targets(*[1] * 64)
    balancer = told(TwoChoices(rng), bins)
    for _ in range(64 * 8):
        balancer.pick(b"").active += 1
    alone = Counter(rng.randrange(64) for _ in range(64 * 8))
    assert max(target.active for target in bins) <= 11 < max(alone.values())


# -- consistent hash ----------------------------------------------------------------------------------------------

KEYS = [b"10.0.%d.%d" % (high, low) for high in range(6) for low in range(256)]


def spread(balancer, keys=KEYS):
    return {key: balancer.pick(key) for key in keys}


def test_the_same_key_goes_to_the_same_target_in_every_process_and_for_ever():
    """The literal answers pin the hash: a release that moves every key would empty every cache behind it."""
    balancer = told(ConsistentHash(), targets(1, 1, 1, 1))
    assert "".join(repr(balancer.pick(key)) for key in (b"10.0.0.1", b"10.0.0.2", b"/a", b"")) == "abdb"


@given(st.integers(2, 8), st.data())
@settings(max_examples=15, deadline=None)
def test_removing_one_of_n_moves_its_own_keys_and_no_other(count, data):
    available = targets(*[1] * count)
    gone = data.draw(st.sampled_from(available))
    balancer = told(ConsistentHash(), available)
    before = spread(balancer)
    balancer.changed([target for target in available if target is not gone])
    moved = [key for key, target in spread(balancer).items() if target is not before[key]]
    assert set(moved) == {key for key, target in before.items() if target is gone}
    assert 0.5 / count < len(moved) / len(KEYS) < 1.7 / count
    balancer.changed(available)
    assert spread(balancer) == before, "and they come back"


@given(st.lists(st.integers(1, 100), min_size=2, max_size=6), st.data())
@settings(max_examples=15, deadline=None)
def test_with_unequal_weights_too_only_the_keys_of_the_one_removed_move(weights, data):
    available = targets(*weights)
    gone = data.draw(st.sampled_from(available))
    balancer = told(ConsistentHash(), available)
    before = spread(balancer, KEYS[:500])
    balancer.changed([target for target in available if target is not gone])
    after = spread(balancer, KEYS[:500])
    assert all((after[key] is not target) == (target is gone) for key, target in before.items())


def test_keys_spread_by_weight():
    counts = Counter(map(repr, spread(told(ConsistentHash(), targets(1, 1, 2))).values()))
    assert 0.18 < counts["a"] / len(KEYS) < 0.32
    assert 0.18 < counts["b"] / len(KEYS) < 0.32
    assert 0.4 < counts["c"] / len(KEYS) < 0.6


def test_the_order_of_targets_in_the_file_does_not_matter():
    available = targets(1, 1, 1)
    assert spread(told(ConsistentHash(), available)) == spread(told(ConsistentHash(), available[::-1]))
