"""Blocks hold every arm once, balanced over four blocks, and the faults with their controls."""

import random
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.planning import NULL_CONTROL, SearchPlan, arms_of, balanced_orders, gateway_of, mode_of, plan_trials

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


FURTHER = ("nginx", "nginx:go-default")


def test_further_gateways_add_the_modes_that_pass_one_and_direct_stays_as_it_is():
    assert arms_of(MODES, FURTHER) == [
        *ARMS,
        "gateway@nginx",
        "hybrid@nginx",
        "gateway@nginx:go-default",
        "hybrid@nginx:go-default",
    ]
    assert [mode_of(arm) for arm in arms_of(MODES, FURTHER)[4:]] == ["gateway", "hybrid"] * 2
    assert [gateway_of(arm) for arm in arms_of(MODES, FURTHER)] == [""] * 4 + ["nginx"] * 2 + ["nginx:go-default"] * 2


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 30))
def test_arms_of_any_number_of_gateways_balance_over_as_many_blocks_as_there_are_arms(seed, gateways, blocks):
    arms = arms_of(MODES, [f"g{number}" for number in range(1, gateways)])
    orders = balanced_orders(arms, blocks, random.Random(seed))
    assert [sorted(order) for order in orders] == [sorted(arms)] * blocks
    places = Counter((place, arm) for order in orders for place, arm in enumerate(order))
    follows = Counter(pair for order in orders for pair in pairwise(order))
    squares = -(-blocks // len(arms))
    assert max(places.values()) <= squares
    assert max(follows.values()) <= squares
    if blocks == squares * len(arms):
        assert {places[place, arm] for place in range(len(arms)) for arm in arms} == {squares}


def test_a_run_with_one_gateway_is_planned_as_before_there_could_be_several():
    trials = plan_trials(MODES, ("crash:user",), 4, 1, random.Random("1:plan"), SearchPlan(blocks=1))
    assert [trial.folder for trial in trials if trial.block == 0] == [
        "0000-b00-gateway",
        "0001-b00-direct-null",
        "0002-b00-direct",
        "0003-b00-hybrid",
        "0004-b00-hybrid-crash-user",
        "0005-b00-gateway-crash-user",
        "0006-b00-direct-crash-user",
        "0007-b00-hybrid-capacity-mix",
        "0008-b00-gateway-capacity-mix",
        "0009-b00-direct-capacity-mix",
        "0010-b00-direct-null-capacity-mix",
    ]


def test_faults_and_searches_meet_every_gateway_and_direct_mode_once():
    searches = SearchPlan(blocks=2, null=True, flows=("login",), flow_blocks=1)
    trials = plan_trials(MODES, ("crash:user", "crash:gateway"), 4, 2, random.Random(7), searches, FURTHER)
    controlled = sorted(arm for arm in arms_of(MODES, FURTHER) if arm != NULL_CONTROL)
    for block in range(4):
        here = [trial for trial in trials if trial.block == block]
        steady = [trial.arm for trial in here if not trial.fault and not trial.search]
        assert sorted(steady) == sorted(arms_of(MODES, FURTHER))
        for fault in ("crash:user", "crash:gateway"):
            assert sorted(t.arm for t in here if t.fault == fault) == (controlled if block < 2 else [])
        mix = sorted(trial.arm for trial in here if trial.search == "mix")
        assert mix == (sorted(arms_of(MODES, FURTHER)) if block < 2 else [])
        assert sorted(t.arm for t in here if t.search == "login") == (controlled if block < 1 else [])
    assert [trial.index for trial in trials] == list(range(len(trials)))
    assert len({trial.folder for trial in trials}) == len(trials)
    assert not any(":" in trial.folder for trial in trials)


def test_the_same_seed_orders_the_arms_of_several_gateways_the_same_way():
    plans = [plan_trials(MODES, ("crash:user",), 8, 2, random.Random(seed), further=FURTHER) for seed in (1, 1, 2)]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]


def test_a_trial_knows_its_arm_without_its_gateway():
    trials = plan_trials(MODES, (), 4, 0, random.Random(7), further=FURTHER)
    assert {(trial.arm, trial.plain_arm) for trial in trials if trial.block == 0} == {
        *((arm, arm) for arm in ARMS),
        *((f"{mode}@{name}", mode) for mode in ("gateway", "hybrid") for name in FURTHER),
    }
