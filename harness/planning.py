"""Which trials are run, and in which order: blocks of arms, balanced and seeded, drawn before the first one starts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from results.record import AT, MIX, PlannedTrial
from scenarios.modes import passes_gateway

NULL_CONTROL = "direct-null"


def arms_of(modes: Sequence[str], further: Sequence[str] = ()) -> list[str]:
    """Return the arms of a block: every mode once, and direct a second time as the null control.

    Each of the `further` gateways adds the modes in which something passes it.
    """
    arms = controlled_arms(modes, further)
    if "direct" in arms:
        arms.insert(arms.index("direct") + 1, NULL_CONTROL)
    return arms


def controlled_arms(modes: Sequence[str], further: Sequence[str] = ()) -> list[str]:
    """Return the arms of a block without the null control."""
    return [*modes, *(f"{mode}{AT}{name}" for name in further for mode in modes if passes_gateway(mode))]


def mode_of(arm: str) -> str:
    """Return the mode in which an arm runs."""
    return "direct" if arm == NULL_CONTROL else arm.partition(AT)[0]


def gateway_of(arm: str) -> str:
    """Return the further gateway of an arm; empty for the first gateway's arms and those that pass none."""
    return arm.partition(AT)[2]


def balanced_orders(arms: Sequence[str], blocks: int, rng: random.Random) -> list[list[str]]:
    """Return an order of the arms for each block, from Williams squares with shuffled labels and rows.

    Over as many blocks as there are arms (an even number), every arm stands in every place once and follows every
    other arm once (E. J. Williams, Austral. J. Sci. Res. A 2, 1949), so that neither drift nor what the arm before
    left behind favours one of them. With an odd number of arms the rows are cyclic and balance places only.
    """
    count = len(arms)
    orders: list[list[str]] = []
    while len(orders) < blocks:
        labels = rng.sample(list(arms), count)
        rows = [[labels[(start + step) % count] for step in _zigzag(count)] for start in range(count)]
        rng.shuffle(rows)
        orders.extend(rows)
    return orders[:blocks]


def _zigzag(count: int) -> list[int]:
    steps = [0]
    for step in range(1, count):
        steps.append((steps[-1] + step if step % 2 else steps[-1] - step) % count)
    return steps


@dataclass(frozen=True)
class SearchPlan:
    """Capacity searches: of the mix in the first `blocks`, with or without the null control, and of these flows."""

    blocks: int = 0
    null: bool = True
    flows: tuple[str, ...] = ()
    flow_blocks: int = 0

    def of_block(self, block: int, modes: Sequence[str], further: Sequence[str] = ()) -> list[tuple[str, str]]:
        """Return (arm, what is searched for) of one block."""
        controlled = controlled_arms(modes, further)
        arms = arms_of(modes, further) if self.null else controlled
        mix = [(arm, MIX) for arm in arms] if block < self.blocks else []
        flows = [(arm, flow) for flow in self.flows for arm in controlled] if block < self.flow_blocks else []
        return mix + flows


@dataclass(frozen=True)
class ExperimentPlan:
    """What is tried outside the load windows, as (mode, experiment), in the first `blocks`."""

    blocks: int = 0
    tried: tuple[tuple[str, str], ...] = ()

    def of_block(self, block: int, further: Sequence[str] = ()) -> list[tuple[str, str]]:
        """Return (arm, experiment) of one block; what passes no gateway is tried once."""
        tried = self.tried if block < self.blocks else ()
        arms = {mode: controlled_arms([mode], further) for mode, _ in tried}
        return [(arm, name) for mode, name in tried for arm in arms[mode]]


def plan_trials(
    modes: Sequence[str],
    faults: Sequence[str],
    steady_blocks: int,
    fault_blocks: int,
    rng: random.Random,
    searches: SearchPlan = SearchPlan(),
    further: Sequence[str] = (),
    experiments: ExperimentPlan = ExperimentPlan(),
) -> list[PlannedTrial]:
    """Return all trials in the order in which they run; every block holds the controls of its own faults.

    `further` gateways are arms of the same blocks. What passes no gateway is run once, with the first one idle.
    """
    trials: list[PlannedTrial] = []
    controlled = controlled_arms(modes, further)
    for block, order in enumerate(balanced_orders(arms_of(modes, further), steady_blocks, rng)):
        steady = [(arm, "") for arm in order]
        injected = [(arm, fault) for arm in controlled for fault in faults] if block < fault_blocks else []
        rng.shuffle(injected)
        for arm, fault in steady + injected:
            trials.append(PlannedTrial(len(trials), block, arm, mode_of(arm), fault, gateway=gateway_of(arm)))
        searched = searches.of_block(block, modes, further)
        rng.shuffle(searched)
        for arm, what in searched:
            trials.append(PlannedTrial(len(trials), block, arm, mode_of(arm), search=what, gateway=gateway_of(arm)))
        for arm, name in experiments.of_block(block, further):
            trials.append(PlannedTrial(len(trials), block, arm, mode_of(arm), experiment=name, gateway=gateway_of(arm)))
    return trials
