"""Blocks hold every arm once, balanced over four blocks, and the faults with their controls."""

import random
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.planning import NULL_CONTROL, SearchPlan, arms_of, balanced_orders, mode_of, plan_trials

MODES = ("direct", "gateway", "hybrid")
ARMS = arms_of(MODES)


def test_a_block_runs_direct_twice_the_second_time_as_the_null_control():
    assert ARMS == ["direct", NULL_CONTROL, "gateway", "hybrid"]
    assert [mode_of(arm) for arm in ARMS] == ["direct", "direct", "gateway", "hybrid"]


def test_without_direct_there_is_no_null_control():
    assert arms_of(["gateway", "hybrid"]) == ["gateway", "hybrid"]


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_over_four_blocks_every_arm_stands_in_every_place_and_follows_every_other_once(seed, squares):
    orders = balanced_orders(ARMS, 4 * squares, random.Random(seed))
    for square in range(squares):
        rows = orders[4 * square : 4 * square + 4]
        places = Counter((place, arm) for row in rows for place, arm in enumerate(row))
        assert set(places.values()) == {1}
        follows = Counter(pair for row in rows for pair in pairwise(row))
        assert set(follows.values()) == {1}
        assert len(follows) == 12


def test_the_same_seed_gives_the_same_plan_and_another_seed_another():
    faults = ("crash:user", "crash:gateway")
    plans = [plan_trials(MODES, faults, 4, 2, random.Random(seed)) for seed in (1, 1, 2)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]


def test_every_fault_meets_every_mode_once_in_each_fault_block_beside_its_control():
    trials = plan_trials(MODES, ("crash:user", "crash:gateway"), 4, 2, random.Random(7))
    for block in range(4):
        here = [trial for trial in trials if trial.block == block]
        assert sorted(trial.arm for trial in here if not trial.fault) == sorted(ARMS)
        injected = {(trial.mode, trial.fault) for trial in here if trial.fault}
        assert len(injected) == (6 if block < 2 else 0)
    assert [trial.index for trial in trials] == list(range(len(trials)))
    assert len({trial.folder for trial in trials}) == len(trials)


def test_capacity_is_searched_for_in_the_first_blocks_in_every_arm_and_for_every_flow():
    searches = SearchPlan(blocks=3, null=True, flows=("login", "register"), flow_blocks=1)
    trials = plan_trials(MODES, (), 4, 0, random.Random(7), searches)
    mix = [(trial.block, trial.arm) for trial in trials if trial.search == "mix"]
    assert sorted(mix) == sorted((block, arm) for block in range(3) for arm in ARMS)
    flows = [(trial.block, trial.mode, trial.search) for trial in trials if trial.search in searches.flows]
    assert sorted(flows) == sorted((0, mode, flow) for mode in MODES for flow in searches.flows)
    assert len({trial.folder for trial in trials}) == len(trials)


def test_without_the_null_control_each_mode_is_searched_once():
    trials = plan_trials(MODES, (), 4, 0, random.Random(7), SearchPlan(blocks=1, null=False))
    assert sorted(trial.arm for trial in trials if trial.search) == sorted(MODES)
