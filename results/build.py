"""From a run's folder to its results, and from results to its reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from results.blast import radii
from results.blocks import BlockTable, block_table, hops_by_mode
from results.capacity import load_curves, objective_of, searches
from results.consistency import amplifications, consistency
from results.doubt import merged
from results.doubts import find_doubts
from results.doubts.design import UNSTEADY, unobserved
from results.evidence import Evidence
from results.failover import failover_costs
from results.gate_power import powers
from results.gateways import views
from results.impact import impacts
from results.judge import check_claims, claim_doubts, judge
from results.loaded import NS_PER_S, Loaded, load, without
from results.metrics import METRICS
from results.moves import moves
from results.outcome import ArmEstimate, Comparison, Design, Results
from results.pictures import curves, timelines
from results.record import AT
from results.recovery import recoveries
from results.steadiness import unsteady

REFERENCE = "direct"


def build(run_dir: Path) -> Results:
    """Compute the results of the record under `run_dir`; nothing is written.

    Raises RecordError when there is no readable record and ClaimProblem when a claim cannot be judged as written.
    """
    whole = _usable(load(run_dir))
    check_claims(whole.scenario)
    first, *further = (_results(view, whole) for view in views(whole))
    return replace(first, further=tuple(_with_over_base(further, whole)))


def _results(loaded: Loaded, whole: Loaded) -> Results:
    """Compute the results with one gateway; what was run, and how long, is said of the whole record."""
    found = searches(loaded)
    blocks = block_table(loaded, found)
    evidence = _evidence(loaded, blocks)
    compared = tuple(_comparisons(blocks))
    return Results(
        plan=loaded.plan,
        scenario=loaded.scenario,
        environment=loaded.environment,
        duration_s=_duration_s(whole),
        design=_design(whole),
        doubts=merged(evidence.doubts),
        estimates=tuple(_estimates(blocks)),
        comparisons=compared,
        verdicts=tuple(judge(evidence)),
        impacts=evidence.impacts,
        radii=evidence.radii,
        recoveries=tuple(recoveries(loaded)),
        consistency=tuple(consistency(loaded)),
        amplifications=tuple(amplifications(loaded)),
        powers=tuple(powers(compared, loaded.plan.seed)),
        curves=tuple(curves(loaded)),
        timelines=tuple(timelines(loaded)),
        objective=objective_of(loaded),
        searches=tuple(found),
        load_curves=tuple(load_curves(loaded)),
        failovers=evidence.failovers,
        moves=evidence.moves,
    )


def write_reports(run_dir: Path) -> list[Path]:
    """Compute the results and write every report format beside the record. Raises as `build`, and OSError."""
    from results.reports import write  # noqa: PLC0415 - charts and templates are of no use to the gate

    return write(build(run_dir), run_dir)


def _usable(loaded: Loaded) -> Loaded:
    """Leave out what does not count: windows that are not steady, faults that were not observed."""
    drifting = {at: f"{UNSTEADY}: halves differ {factor:.2f}x" for at, factor in unsteady(loaded).items()}
    loaded = without(loaded, drifting)
    return without(loaded, unobserved(loaded))


def _evidence(loaded: Loaded, blocks: BlockTable) -> Evidence:
    flow_impacts = impacts(loaded)
    evidence = Evidence(
        scenario=loaded.scenario,
        plan=loaded.plan,
        environment=loaded.environment,
        blocks=blocks,
        hops=hops_by_mode(loaded),
        probes=tuple((trial.trial.mode, probe) for _, trial in loaded.usable() for probe in trial.probes),
        impacts=tuple(flow_impacts),
        radii=tuple(radii(flow_impacts)),
        failovers=tuple(failover_costs(loaded)),
        tallies=tuple((trial.trial.mode, tally) for _, trial in loaded.usable() for tally in trial.tallies),
        moves=tuple(moves(loaded)),
        stand_ins=_stand_ins(loaded),
    )
    doubts = (*find_doubts(loaded, blocks), *claim_doubts(loaded, evidence))
    return replace(evidence, doubts=doubts)


def _stand_ins(loaded: Loaded) -> dict[str, str]:
    """Return probe or tally -> the gateway it was tried with, where an experiment used one of its own."""
    stand_ins: dict[str, str] = {}
    for _, trial in loaded.usable():
        if trial.used_gateway:
            stand_ins |= {probe.name: trial.used_gateway for probe in trial.probes}
            stand_ins |= {tally.name: trial.used_gateway for tally in trial.tallies}
    return stand_ins


def _estimates(blocks: BlockTable) -> Iterator[ArmEstimate]:
    for key in blocks.values:
        for arm in blocks.arms(key):
            measured = blocks.measure(key, arm)
            if measured is not None:
                yield ArmEstimate(key, arm, measured)


def _comparisons(blocks: BlockTable) -> Iterator[Comparison]:
    for key in blocks.values:
        metric = METRICS[key.metric]
        for arm in blocks.arms(key) if metric.compared else ():
            measured = None if arm == REFERENCE else blocks.ratio(key, arm, REFERENCE)
            if measured is not None:
                gated = metric.gated and key.component in ("", "total")
                yield Comparison(key, arm, REFERENCE, measured, gated)


def _with_over_base(further: list[Results], whole: Loaded) -> Iterator[Results]:
    """Yield the results of the further gateways with their arms set against those of the gateway they vary.

    That is the same product with its own pool profile where the run has it, and the first gateway otherwise.
    """
    blocks = block_table(whole, searches(whole)) if further else BlockTable({})
    tags = [one.plan.gateway for one in further]
    for one in further:
        product = one.plan.gateway.partition(":")[0]
        base = product if product in tags and product != one.plan.gateway else ""
        yield replace(one, over_base=tuple(_over_base(blocks, one.plan.gateway, base)))


def _over_base(blocks: BlockTable, gateway: str, base: str) -> Iterator[Comparison]:
    for key in blocks.values:
        for arm in blocks.arms(key) if METRICS[key.metric].compared else ():
            mode, _, name = arm.partition(AT)
            other = f"{mode}{AT}{base}" if base else mode
            measured = blocks.ratio(key, arm, other) if name == gateway else None
            if measured is not None:
                yield Comparison(key, arm, other, measured, gated=False)


def _design(loaded: Loaded) -> Design:
    steady, faulted = loaded.steady(), loaded.faulted()
    return Design(
        arms=tuple(dict.fromkeys(trial.trial.arm for trial in loaded.trials)),
        blocks=len({trial.trial.block for _, trial in steady}),
        fault_blocks=len({trial.trial.block for _, trial in faulted}),
        planned_trials=len(loaded.plan.trials),
        usable_trials=len(loaded.usable()),
        order=tuple(trial.trial.folder for trial in loaded.trials),
        left_out={loaded.trials[at].trial.folder: reason for at, reason in loaded.left_out.items()},
    )


def _duration_s(loaded: Loaded) -> float:
    """Return the time that the recorded trials took, from each start to the end of its last window."""
    return sum(
        trial.ready_s + max((window.end_ns for window in trial.windows), default=0) / NS_PER_S
        for trial in loaded.trials
    )
