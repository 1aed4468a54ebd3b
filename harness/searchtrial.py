"""A search trial: one fresh platform, one window after another, each at the rate that the search asks for.

A window is an open loop of its own: drawn from the seed and the block, so that every arm gets the same arrivals but for
the scale of time; its first moments are not counted; it is drained before the next one. A window that missed the
objective while the generator or the host was in trouble is void and repeated, and does not vote: a rate that the
instrument cannot offer is no limit of the system. One that met it in spite of that counts, for latency is counted from
the intended start, and the instrument's lateness can only have added to it.
"""

from __future__ import annotations

import math
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.capacity import Search, SearchRules
from harness.control import RESERVED, ControlPlane, plan_sweeps
from harness.engines.job import LoadResult
from harness.forkserver import ForkServer
from harness.platform import Platform
from harness.samples import Fate, Observation, call_columns, sample_columns
from harness.schedule import Arrival, draw_schedule
from harness.timeline import Timeline
from harness.trial import (
    Script,
    TrialOutcome,
    TrialSettings,
    await_sweeps,
    build_job,
    count_outcomes,
    logged_calls,
    logged_sweeps,
    require_alive,
    spec_of,
    with_figures,
)
from harness.trialdoubts import SEARCH_SPOILED, STALL_LIMIT_MS, quantile
from harness.watchdog import read_stalls
from results.record import CAPACITY_WINDOW, MIX, Event, PlannedTrial, RecordedDoubt, TrialRecord, Window

_RAMP_NS = 100_000_000  # connections are opened; not counted
_LONGEST_S = 3.0
_MOST_VOID_IN_A_ROW = 4
_MOST_BUSY = 0.9
_SLIP_SHARE = 0.1  # of the objective's p99


@dataclass(frozen=True)
class _Seen:
    """One window: its place in the trial, what was planned in it and what became of it."""

    offset_ns: int  # of its t0 from the trial's
    counted: Window  # what counts, from the window's own t0
    observation: Observation
    result: LoadResult
    met: bool  # the objective
    spoiled: str  # why it does not count; empty: it does


@dataclass
class _Run:
    """A search as it goes on: the search, the windows so far, and why it ended early, if it did."""

    search: Search
    windows: list[_Seen] = field(default_factory=list)
    ended: str = ""
    used_learners: int = 0
    void_in_a_row: int = 0

    @property
    def spoiled(self) -> bool:
        """Say whether the search was given up because of the generator or the host."""
        return self.void_in_a_row == _MOST_VOID_IN_A_ROW

    @property
    def ending(self) -> str:
        """Return how the search ended, in words."""
        return self.ended or ("settled" if self.search.settled else "the bracket did not close")


def search_arrivals(profile_rate_per_s: float, settings: TrialSettings) -> int:
    """Return how many learners a search may use up, when the capacity is about this rate."""
    windows = settings.profile.search.most_windows
    lasting_s = _length_s(settings, profile_rate_per_s) + _RAMP_NS / 1e9
    return int(windows * 1.3 * profile_rate_per_s * lasting_s)


def run_search(
    trial: PlannedTrial, settings: TrialSettings, server: ForkServer, start_per_s: float, step: float
) -> tuple[TrialOutcome, float | None]:
    """Search for the capacity of one arm; return the trial's outcome and the rate carried, None when none was found.

    Raises HarnessError when the platform does not come up or the engine does not come back.
    """
    folder = settings.scratch / trial.folder
    profile = settings.profile.search
    rules = SearchRules(profile.precision, profile.votes, profile.most_windows)
    run = _Run(Search(rules, start_per_s, step))
    try:
        with Platform(spec_of(trial, settings), folder, server) as platform:
            control = ControlPlane(platform, settings.book, settings.learners)
            control.smoke()
            t0_ns = time.monotonic_ns()
            _search(run, trial, settings, control, t0_ns)
            require_alive(platform)
        return _assemble(trial, run, platform, t0_ns), run.search.carried_per_s
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _search(run: _Run, trial: PlannedTrial, settings: TrialSettings, control: ControlPlane, t0_ns: int) -> None:
    while not run.ended and (rate := run.search.next_rate()) is not None:
        seen = _offer(rate, run, trial, settings, control, t0_ns)
        if seen is None:
            run.ended = "the seeded learners were used up"
            return
        run.windows.append(seen)
        run.void_in_a_row = run.void_in_a_row + 1 if seen.spoiled else 0
        if not seen.spoiled:
            run.search.tell(rate, met=seen.met)
        elif run.spoiled:
            run.ended = f"{_MOST_VOID_IN_A_ROW} windows in a row were void: {seen.spoiled}"


def _offer(
    rate_per_s: float, run: _Run, trial: PlannedTrial, settings: TrialSettings, control: ControlPlane, t0_ns: int
) -> _Seen | None:
    """Drive one window at this rate; None when it would need more learners than are seeded."""
    counted = Window("", _RAMP_NS, _RAMP_NS + int(_length_s(settings, rate_per_s) * 1e9), offered_per_s=rate_per_s)
    arrivals = _draw(rate_per_s, counted.end_ns / 1e9, run, trial, settings)
    if run.used_learners + len(arrivals) > settings.learners - RESERVED:
        return None
    run.used_learners += len(arrivals)
    platform = control.platform
    flows = {flow.name: flow for flow in platform.spec.scenario.flows}
    outside = [arrival for arrival in arrivals if flows[arrival.flow].origin == "external"]
    job = build_job(Script(Timeline([counted], counted.end_ns), outside, [], []), settings, platform)
    sweeps = plan_sweeps(flows, arrivals, job.t0_ns)
    pending = settings.crew.submit(job, platform.folder)
    control.schedule(sweeps)
    result = pending.wait(settings.timeout_ms / 1e3 + 10)
    await_sweeps(platform, sweeps, control)
    logged = logged_sweeps(sweeps, control)
    observation = Observation.of(outside, [], result, sweeps.arrivals, logged, job.t0_ns)
    control.keep(sweeps)
    met = _met(observation, counted, settings) and not result.lost
    spoiled = "" if met else _spoiled(result, observation.fates[: len(outside)], counted, settings, job.t0_ns)
    return _Seen(job.t0_ns - t0_ns, counted, observation, result, met, spoiled)


def _draw(rate_per_s: float, seconds: float, run: _Run, trial: PlannedTrial, settings: TrialSettings) -> list[Arrival]:
    """Draw the window's arrivals: the same in every arm of a block at its n-th window, but for the scale of time."""
    scenario = settings.spec.scenario
    rng = random.Random(f"{settings.seed}:search:{trial.search}:{trial.block}:{len(run.windows)}")
    weights = {flow.name: flow.weight for flow in scenario.flows if trial.search in (MIX, flow.name)}
    drawn = draw_schedule(weights, rate_per_s, seconds, scenario.load.arrivals, rng)
    return [arrival._replace(learner=arrival.learner + run.used_learners) for arrival in drawn]


def _length_s(settings: TrialSettings, rate_per_s: float) -> float:
    """Return how long a window counts: for a p99, and for a backlog to grow past the objective within the precision."""
    profile = settings.profile.search
    backlog_s = settings.objective.p99_ms / 1e3 / profile.precision
    return max(profile.window_s, min(_LONGEST_S, max(profile.least_requests / rate_per_s, backlog_s)))


def _spoiled(result: LoadResult, sent: Sequence[Fate], counted: Window, settings: TrialSettings, t0_ns: int) -> str:
    """Say what the instrument or the host did to the window, or nothing. `sent`: what the load engine had to send."""
    slips = sorted(fate.sent_ns - fate.intended_ns for fate in sent if fate.sent_ns >= 0)
    stalls = read_stalls(settings.watchdogs, t0_ns + counted.start_ns, t0_ns + counted.end_ns)
    if result.lost:
        return f"the load generator lost {', '.join(result.lost)}"
    if result.late_start_ns > _RAMP_NS:
        return "the load generator came up late"
    if result.busy_share > _MOST_BUSY:
        return "the load generator was at its own limit"
    if quantile(slips, 0.99) / 1e6 > _SLIP_SHARE * settings.objective.p99_ms:
        return "the load generator was behind its schedule"
    stalled = any(stall.late_ns / 1e6 > STALL_LIMIT_MS for stall in stalls)
    return "a core of the platform stood still" if stalled else ""


def _met(observation: Observation, counted: Window, settings: TrialSettings) -> bool:
    due = [fate for fate in observation.fates if counted.start_ns <= fate.intended_ns < counted.end_ns]
    latencies = [latency for fate in due if not math.isnan(latency := _latency_ms(fate, settings.timeout_ms))]
    bad = sum(fate.outcome != "ok" for fate in due)
    return settings.objective.met(latencies, bad, len(due))


def _latency_ms(fate: Fate, timeout_ms: float) -> float:
    """Return the latency of an answer, at least the timeout for what timed out, NaN for what has none."""
    if fate.outcome == "ok":
        return (fate.done_ns - fate.intended_ns) / 1e6
    return timeout_ms if fate.outcome == "timeout" else math.nan


def _assemble(trial: PlannedTrial, run: _Run, platform: Platform, t0_ns: int) -> TrialOutcome:
    windows = [_window(number, seen) for number, seen in enumerate(run.windows, 1)]
    whole = _merged(run.windows)
    doubts = list(_doubts(run))
    record = TrialRecord(
        trial=trial,
        state="void" if run.spoiled else "done",
        windows=windows,
        events=[Event(max((window.end_ns for window in windows), default=0), "search_end", detail=run.ending)],
        doubts=doubts,
        counts=count_outcomes([fate.outcome for fate in whole.fates]),
        generator=_generator(run),
        ready_s=platform.ready_s,
    )
    calls = call_columns(logged_calls(platform.log_dir), windows, t0_ns)
    return TrialOutcome(record, sample_columns(whole, windows), calls)


def _window(number: int, seen: _Seen) -> Window:
    fates = seen.observation.fates
    columns: dict[str, Sequence[Any]] = {
        "done_ns": [fate.done_ns for fate in fates],
        "outcome": [fate.outcome for fate in fates],
    }
    window = with_figures(seen.counted, columns, seen.result.marks)
    name = f"{'void-' if seen.spoiled else CAPACITY_WINDOW}{number:02d}"
    start, end = window.start_ns + seen.offset_ns, window.end_ns + seen.offset_ns
    return replace(window, name=name, start_ns=start, end_ns=end)


def _merged(windows: Sequence[_Seen]) -> Observation:
    """Put the windows' requests on the trial's clock. What they left in the stores is not read."""
    arrivals: list[Arrival] = []
    fates: list[Fate] = []
    for seen in windows:
        arrivals += seen.observation.arrivals
        fates += [_shifted(fate, seen.offset_ns) for fate in seen.observation.fates]
    return Observation(arrivals, fates, [("unread", "")] * len(fates))


def _shifted(fate: Fate, by_ns: int) -> Fate:
    sent, done = (at + by_ns if at >= 0 else at for at in (fate.sent_ns, fate.done_ns))
    return fate._replace(intended_ns=fate.intended_ns + by_ns, sent_ns=sent, done_ns=done)


def _generator(run: _Run) -> dict[str, float]:
    counted = [seen for seen in run.windows if not seen.spoiled]
    return {
        "busy_share": max((seen.result.busy_share for seen in counted), default=0.0),
        "windows": float(len(run.windows)),
        "void_windows": float(len(run.windows) - len(counted)),
    }


def _doubts(run: _Run) -> Iterator[RecordedDoubt]:
    void = sum(bool(seen.spoiled) for seen in run.windows)
    if run.spoiled:
        yield RecordedDoubt(SEARCH_SPOILED, True, float(void), _MOST_VOID_IN_A_ROW, f"{run.ending}; quieten the host")
    elif not run.search.settled:
        advice = f"{run.ending}, so that the arm has no capacity in this block"
        yield RecordedDoubt("search_not_settled", False, float(len(run.windows)), 0.0, advice)
