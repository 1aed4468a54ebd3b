"""Doubts about the load: a generator that was busy, late or out of room; a platform that answered badly."""

from __future__ import annotations

from collections.abc import Iterator

from results.blocks import GENERATOR, BlockTable, Key
from results.doubt import LOAD, METRIC, Doubt
from results.loaded import Loaded, window_of
from results.record import TrialRecord

MOST_BUSY = 0.9
LEAST_ACHIEVED = 0.99
MOST_ERRORS = 0.01


def busy(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Fatal when the generator's own loop was nearly always at work: its limit would be taken for the system's.

    A closed loop is meant to keep the generator at work; trials with a saturation window are checked by its CPU.
    """
    open_only = [trial for _, trial in loaded.driven() if window_of(trial, "saturation") is None]
    worst = max((trial.generator.get("busy_share", 0.0) for trial in open_only), default=0.0)
    if worst > MOST_BUSY:
        advice = "the load generator was saturated: lower the rate or give it a faster core"
        yield Doubt("generator busy", True, worst, MOST_BUSY, advice, LOAD)


def busy_at_saturation(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Fatal for throughput when the generator filled its core in a saturation window."""
    worst = max((_share(trial) for _, trial in loaded.steady()), default=0.0)
    if worst > MOST_BUSY:
        advice = "in the saturation window the generator used its core up: the throughput may be its own limit"
        about = METRIC + "saturation_throughput"
        yield Doubt("generator busy at saturation", True, worst, MOST_BUSY, advice, about)


def _share(trial: TrialRecord) -> float:
    window = window_of(trial, "saturation")
    return window.cpu_ns.get(GENERATOR, 0) / (window.end_ns - window.start_ns) if window else 0.0


def behind(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Fatal when less than 99 % of the planned rate was sent."""
    least = min((trial.generator.get("achieved_share", 1.0) for _, trial in loaded.usable()), default=1.0)
    if least < LEAST_ACHIEVED:
        advice = "the generator did not keep its schedule: lower the rate or quieten the host"
        yield Doubt("rate not achieved", True, least, LEAST_ACHIEVED, advice, LOAD)


def in_flight_cap(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Fatal when requests were dropped in a window without a fault: the cap on requests in flight was hit."""
    dropped = _dropped(loaded, "external")
    if dropped:
        advice = "requests were dropped without a fault, so the load was not the planned one: lower the rate"
        yield Doubt("in-flight cap hit", True, float(dropped), 0.0, advice, LOAD)


def not_started(loaded: Loaded, _blocks: BlockTable) -> Iterator[Doubt]:
    """Fatal when flows that services start by themselves were not started in a window that counts, without a fault."""
    missing = _dropped(loaded, "internal")
    if missing:
        advice = "services learned of what they had to start when it was overdue: stop what else runs on this machine"
        yield Doubt("internal flows not started", True, float(missing), 0.0, advice, LOAD)


def _dropped(loaded: Loaded, origin: str) -> int:
    """Count what was never sent in the counted windows of steady trials."""
    rows = loaded.samples
    counted = rows["trial"].isin([at for at, _ in loaded.steady()]) & (rows["window"] != "warmup")
    return int((counted & (rows["origin"] == origin) & (rows["outcome"] == "dropped")).sum())


def errors(_loaded: Loaded, blocks: BlockTable) -> Iterator[Doubt]:
    """Fatal when more than 1 % of the requests of an arm's open windows were not answered well."""
    key = Key("error_share")
    shares = {arm: list(blocks.of(key, arm).values()) for arm in blocks.arms(key)}
    worst = max(((sum(values) / len(values), arm) for arm, values in shares.items() if values), default=(0.0, ""))
    if worst[0] > MOST_ERRORS:
        advice = (
            f"without a fault {worst[1]} answered that share of requests badly: its figures are of a failing system"
        )
        yield Doubt("errors without a fault", True, worst[0], MOST_ERRORS, advice, LOAD)
