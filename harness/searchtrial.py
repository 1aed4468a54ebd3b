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

from harness.capacity import Search, SearchRules
from harness.control import RESERVED, ControlPlane, Sweeps, plan_sweeps
from harness.engines.job import Job, LoadResult
from harness.forkserver import ForkServer
from harness.load import Renderer
from harness.platform import Platform
from harness.samples import Fate, Observation, call_columns, sample_columns
from harness.schedule import Arrival, draw_schedule
from harness.trial import (
    TrialOutcome,
    TrialSettings,
    await_sweeps,
    logged_sweeps,
    require_alive,
)
from harness.trialdoubts import SEARCH_SPOILED, STALL_LIMIT_MS
from harness.watchdog import read_stalls
from results.record import CAPACITY_WINDOW, MIX, Event, PlannedTrial, RecordedDoubt, TrialRecord, Window
from stub_services.calllog import read_calls

_LEAD_NS = 40_000_000
_RAMP_NS = 100_000_000  # connections are opened; not counted
_LONGEST_S = 3.0
_MOST_VOID_IN_A_ROW = 4
_MOST_BUSY = 0.9
_SLIP_SHARE = 0.1  # of the objective's p99


@dataclass(frozen=True)
class _Seen:
    """One window: its rate, its place in the trial, what was planned in it and what became of it."""

    rate_per_s: float
    offset_ns: int  # of its t0 from the trial's
    length_ns: int
    observation: Observation
    result: LoadResult
    met: bool  # the objective
    spoiled: str  # why it does not count; empty: it does

    @property
    def edges(self) -> tuple[int, int]:
        """Start and end of what counts, from the window's own t0."""
        return _RAMP_NS, _RAMP_NS + self.length_ns


@dataclass
class _Run:
    """A search as it goes on: the search, the windows so far, and why it ended early, if it did."""

    search: Search
    windows: list[_Seen] = field(default_factory=list)
    ended: str = ""
    used_learners: int = 0
    void_in_a_row: int = 0


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
    spec = replace(settings.spec, mode=trial.mode)
    folder = settings.scratch / trial.folder
    profile = settings.profile.search
    rules = SearchRules(profile.precision, profile.votes, profile.most_windows)
    run = _Run(Search(rules, start_per_s, step))
    try:
        with Platform(spec, folder, server) as platform:
            control = ControlPlane(platform, settings.book, settings.learners)
            control.smoke()
            t0_ns = time.monotonic_ns()
            _search(run, trial, settings, control, t0_ns)
            require_alive(platform)
        return _assemble(trial, run, platform, t0_ns)
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
        elif run.void_in_a_row == _MOST_VOID_IN_A_ROW:
            run.ended = f"{_MOST_VOID_IN_A_ROW} windows in a row were void: {seen.spoiled}"


def _offer(
    rate_per_s: float, run: _Run, trial: PlannedTrial, settings: TrialSettings, control: ControlPlane, t0_ns: int
) -> _Seen | None:
    """Drive one window at this rate; None when it would need more learners than are seeded."""
    length_ns = int(_length_s(settings, rate_per_s) * 1e9)
    arrivals = _draw(rate_per_s, (_RAMP_NS + length_ns) / 1e9, run, trial, settings)
    if run.used_learners + len(arrivals) > settings.learners - RESERVED:
        return None
    run.used_learners += len(arrivals)
    platform = control.platform
    flows = {flow.name: flow for flow in platform.spec.scenario.flows}
    outside = [arrival for arrival in arrivals if flows[arrival.flow].origin == "external"]
    job = _job(outside, length_ns, settings, platform)
    sweeps = plan_sweeps(flows, arrivals, job.t0_ns)
    pending = settings.crew.submit(job, platform.folder)
    control.schedule(sweeps)
    result = pending.wait(settings.timeout_ms / 1e3 + 10)
    await_sweeps(platform, sweeps, control)
    observation = _observe(outside, result, sweeps, control, job.t0_ns)
    control.keep(sweeps)
    met = _met(observation, length_ns, settings) and not result.lost
    spoiled = "" if met else _spoiled(result, observation, len(outside), length_ns, settings, job.t0_ns)
    return _Seen(rate_per_s, job.t0_ns - t0_ns, length_ns, observation, result, met, spoiled)


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


def _job(outside: Sequence[Arrival], length_ns: int, settings: TrialSettings, platform: Platform) -> Job:
    render = Renderer(settings.book, platform.spec)
    return Job(
        targets=render.targets,
        schedule=render.schedule(outside),
        t0_ns=time.monotonic_ns() + _LEAD_NS,
        timeout_ns=int(settings.timeout_ms * 1e6),
        max_in_flight=settings.max_in_flight,
        marks_ns=[_RAMP_NS, _RAMP_NS + length_ns],
        watched=dict(platform.pids),
    )


def _observe(
    outside: list[Arrival], result: LoadResult, sweeps: Sweeps, control: ControlPlane, t0_ns: int
) -> Observation:
    logged = logged_sweeps(sweeps, control)
    return Observation.of(outside, [], result, sweeps.arrivals, logged, t0_ns)


def _spoiled(
    result: LoadResult, observation: Observation, sent: int, length_ns: int, settings: TrialSettings, t0_ns: int
) -> str:
    """Say what the instrument or the host did to the window, or nothing."""
    slips = sorted(fate.sent_ns - fate.intended_ns for fate in observation.fates[:sent] if fate.sent_ns >= 0)
    slip_ms = slips[int(0.99 * len(slips))] / 1e6 if slips else 0.0
    start_ns, end_ns = t0_ns + _RAMP_NS, t0_ns + _RAMP_NS + length_ns
    stalls = read_stalls(settings.watchdogs, start_ns, end_ns)
    stalled = any(stall.late_ns / 1e6 > STALL_LIMIT_MS and stall.overlaps(start_ns, end_ns) for stall in stalls)
    if result.lost:
        return f"the load generator lost {', '.join(result.lost)}"
    if result.late_start_ns > _RAMP_NS:
        return "the load generator came up late"
    if result.busy_share > _MOST_BUSY:
        return "the load generator was at its own limit"
    if slip_ms > _SLIP_SHARE * settings.objective.p99_ms:
        return "the load generator was behind its schedule"
    return "a core of the platform stood still" if stalled else ""


def _met(observation: Observation, length_ns: int, settings: TrialSettings) -> bool:
    start, end = _RAMP_NS, _RAMP_NS + length_ns
    counted = [fate for fate in observation.fates if start <= fate.intended_ns < end]
    latencies = [latency for fate in counted if not math.isnan(latency := _latency_ms(fate, settings.timeout_ms))]
    bad = sum(fate.outcome != "ok" for fate in counted)
    return settings.objective.met(latencies, bad, len(counted))


def _latency_ms(fate: Fate, timeout_ms: float) -> float:
    """Return the latency of an answer, at least the timeout for what timed out, NaN for what has none."""
    if fate.outcome == "ok":
        return (fate.done_ns - fate.intended_ns) / 1e6
    return timeout_ms if fate.outcome == "timeout" else math.nan


def _assemble(trial: PlannedTrial, run: _Run, platform: Platform, t0_ns: int) -> tuple[TrialOutcome, float | None]:
    windows = [_window(number, seen) for number, seen in enumerate(run.windows, 1)]
    whole = _merged(run.windows)
    samples = sample_columns(whole, windows)
    rows = [row for path in sorted(platform.log_dir.glob("*.calls")) for row in read_calls(path)]
    ending = run.ended or ("settled" if run.search.settled else "the bracket did not close")
    doubts = list(_doubts(run, ending))
    record = TrialRecord(
        trial=trial,
        state="void" if any(doubt.fatal for doubt in doubts) else "done",
        windows=windows,
        events=[Event(max((window.end_ns for window in windows), default=0), "search_end", detail=ending)],
        doubts=doubts,
        counts=_counts(whole),
        generator=_generator(run),
        ready_s=platform.ready_s,
    )
    outcome = TrialOutcome(record, samples, call_columns(rows, windows, t0_ns))
    return outcome, _carried(run)


def _carried(run: _Run) -> float | None:
    met = [rate for rate, votes in run.search.votes.items() if votes.met > votes.missed]
    return max(met, default=None) if run.search.settled else None


def _window(number: int, seen: _Seen) -> Window:
    name = f"{'void-' if seen.spoiled else CAPACITY_WINDOW}{number:02d}"
    start, end = (edge + seen.offset_ns for edge in seen.edges)
    answered = sum(
        fate.outcome == "ok" and seen.edges[0] <= fate.done_ns < seen.edges[1] for fate in seen.observation.fates
    )
    marks = [mark.cpu_ns for mark in seen.result.marks]
    cpu = {name: marks[-1][name] - used for name, used in marks[0].items() if name in marks[-1]} if marks else {}
    return Window(name, start, end, answered, cpu, seen.rate_per_s)


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


def _doubts(run: _Run, ending: str) -> Iterator[RecordedDoubt]:
    void = sum(bool(seen.spoiled) for seen in run.windows)
    if ending.startswith(f"{_MOST_VOID_IN_A_ROW} windows"):
        yield RecordedDoubt(SEARCH_SPOILED, True, float(void), _MOST_VOID_IN_A_ROW, f"{ending}; quieten the host")
    elif ending != "settled":
        advice = f"{ending}, so that the arm has no capacity in this block"
        yield RecordedDoubt("search_not_settled", False, float(len(run.windows)), 0.0, advice)


def _counts(whole: Observation) -> dict[str, int]:
    outcomes = [fate.outcome for fate in whole.fates]
    counts = {name: outcomes.count(name) for name in ("ok", "error", "timeout", "dropped")}
    return {"planned": len(outcomes), "sent": len(outcomes) - counts["dropped"], **counts}
