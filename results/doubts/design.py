"""Doubts about the experiment as it was run: trials that do not count, blocks that are missing, faults not seen."""

from __future__ import annotations

from collections.abc import Iterator

from results.blocks import BlockTable, Key
from results.doubt import LOAD, METRIC, RECORD, Doubt, fault_tag
from results.impact import split_fault
from results.loaded import Loaded, event_at
from results.record import TrialRecord
from results.steadiness import LIMIT as STEADY_LIMIT

MOST_UNUSABLE = 0.2
ENOUGH_BLOCKS = 8
UNSTEADY = "unsteady window"
UNOBSERVED = "fault not observed"


def fault_observed(trial: TrialRecord) -> bool:
    """Say whether the fault was seen to be there and seen to be gone."""
    return event_at(trial, "fault_seen") is not None and event_at(trial, "heal_seen") is not None


def unobserved(loaded: Loaded) -> dict[int, str]:
    """Return the fault trials whose fault was not observed, with the reason."""
    return {at: UNOBSERVED for at, trial in loaded.faulted() if not fault_observed(trial)}


def unusable_trials(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Doubt a run in which trials failed or were void; fatal when more than one in five was."""
    share = len(loaded.left_out) / len(loaded.trials) if loaded.trials else 0.0
    if share:
        reasons = sorted({reason.split(":")[0] for reason in loaded.left_out.values()})
        count = f"{len(loaded.left_out)} of {len(loaded.trials)} trials do not count"
        advice = f"{count} ({', '.join(reasons)}): run again on a quieter host"
        yield Doubt("unusable trials", share > MOST_UNUSABLE, share, MOST_UNUSABLE, advice, RECORD)


def missing_trials(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Doubt a run that was interrupted."""
    run = {trial.trial.index for trial in loaded.trials}
    missing = sum(trial.index not in run for trial in loaded.plan.trials)
    if missing > 0:
        share = missing / len(loaded.plan.trials)
        advice = (
            f"{missing} of {len(loaded.plan.trials)} planned trials were not run; what was measured is judged as it is"
        )
        yield Doubt("interrupted", False, share, 0.0, advice, RECORD)


def few_blocks(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Say so when there are fewer blocks than a verdict should rest on."""
    blocks = len({trial.trial.block for _, trial in loaded.steady()})
    if blocks < ENOUGH_BLOCKS:
        why = (
            "the quick profile is for a first look"
            if loaded.plan.profile == "quick"
            else "the run has few usable blocks"
        )
        advice = f"{why}: use a longer profile, with at least {ENOUGH_BLOCKS} blocks, before you rely on it"
        yield Doubt("few blocks", False, float(blocks), float(ENOUGH_BLOCKS), advice, RECORD)


def uncontrolled_capacity(loaded: Loaded, blocks: BlockTable) -> Iterator[Doubt]:
    """Say so when capacity was searched for without the null control."""
    key = Key("capacity")
    if blocks.arms(key) and not blocks.of(key, "direct-null"):
        advice = (
            f"the {loaded.plan.profile} profile searches for capacity without direct again beside it: a longer profile"
            " shows by how much two searches of the same system differ"
        )
        yield Doubt("no null control for capacity", False, 0.0, 1.0, advice, METRIC + "capacity")


def unsteady_windows(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Count the trials that the steadiness rule left out."""
    count = sum(reason.startswith(UNSTEADY) for reason in loaded.left_out.values())
    if count:
        advice = (
            f"the median latency of the two halves of the open window differs by more than a factor of {STEADY_LIMIT}"
            f" in {count} trials, which were left out: warm up longer or quieten the host"
        )
        yield Doubt(UNSTEADY, False, float(count), 0.0, advice, LOAD)


def unobserved_faults(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Doubt cases whose fault was not observed; fatal for the case when no other trial of it remains."""
    left = {(trial.trial.fault, trial.trial.mode) for _, trial in loaded.faulted()}
    for at in loaded.left_out:
        record, trial = loaded.trials[at], loaded.trials[at].trial
        if trial.fault and record.state != "failed" and not fault_observed(record):
            tag = fault_tag(*split_fault(trial.fault), trial.mode)
            advice = f"{trial.fault} in {trial.mode} mode, block {trial.block}: the trial does not count"
            yield Doubt(UNOBSERVED, (trial.fault, trial.mode) not in left, 0.0, 1.0, advice, tag)
