"""One trial: a fresh platform, a schedule driven through it, perhaps one fault, and everything that was seen.

Returns values; whoever asked writes them to the record. Times are nanoseconds from the trial's t0.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.control import RESERVED, ControlPlane, Sweeps, plan_sweeps
from harness.engines import Crew
from harness.engines.job import Job, LoadResult, Mark, Schedule
from harness.errors import HarnessError
from harness.forkserver import ForkServer
from harness.load import Renderer
from harness.platform import Platform, PlatformComponent, PlatformSpec
from harness.profiles import Profile
from harness.samples import Observation, call_columns, sample_columns
from harness.schedule import Arrival, draw_mix, draw_schedule
from harness.timeline import Timeline, fault_timeline, move_timeline, pilot_timeline, settle, steady_timeline
from harness.trialdoubts import fault_doubts, load_doubts, stall_doubts
from harness.watchdog import read_stalls
from results.record import Event, PlannedTrial, Probe, TrialRecord, Window
from scenarios.faults import FAULTS
from scenarios.objective import Objective
from stub_services.calllog import CallRow, read_calls, read_events
from stub_services.effects import read_effects
from stub_services.replicas import CONNECT_FAILED, SENT_AGAIN
from stub_services.requests import RequestBook
from stub_services.sweeps import SweepRow, read_sweeps

_LEAD_NS = 45_000_000  # from writing the job to the first arrival; the engine says if it was not up by then
_LEAD_A_REQUEST_NS = 10_000  # to write it and for the engine to read it, with room: the host may be busy
_FAULT_PATIENCE_S = 2.0
_PROBED_BLOCKS = 4  # behaviour that does not depend on load is asked for in these
_SWEEP_PATIENCE_S = 0.5


@dataclass(frozen=True)
class TrialSettings:
    """What is the same in every trial of a run. Rates are of the whole mix, in requests per second."""

    spec: PlatformSpec
    profile: Profile
    book: RequestBook
    learners: int
    rate_per_s: float
    saturation_shots: int
    connections: int
    timeout_ms: float
    crew: Crew
    scratch: Path
    seed: int
    watchdogs: list[Path]
    objective: Objective
    max_in_flight: int = 4096


@dataclass(frozen=True)
class TrialOutcome:
    """A trial's record and its columns, ready for RecordWriter.add."""

    record: TrialRecord
    samples: dict[str, Sequence[Any]]
    calls: dict[str, Sequence[Any]]


@dataclass(frozen=True)
class Script:
    """What is going to happen: drawn from the seed, the same in every arm of a block."""

    timeline: Timeline
    outside: list[Arrival]  # open loop, sent by the engine
    inside: list[Arrival]  # started by the services themselves
    closed: list[Arrival]  # closed loop, sent by the engine


@dataclass(frozen=True)
class Seen:
    """What did happen, as the engine and the harness saw it."""

    t0_ns: int
    sweeps: Sweeps
    result: LoadResult
    events: list[Event]
    probes: list[Probe]
    ready_s: float


def run_trial(trial: PlannedTrial, settings: TrialSettings, server: ForkServer) -> TrialOutcome:
    """Run one trial. Raises HarnessError when the platform does not come up or the engine does not come back."""
    script = _write_script(trial, settings)
    folder = settings.scratch / trial.folder
    try:
        with Platform(spec_of(trial, settings), folder, server) as platform:
            control = ControlPlane(platform, settings.book, settings.learners)
            seen = _drive(trial, script, settings, control)
        return assemble(trial, script, settings, seen, control)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def spec_of(trial: PlannedTrial, settings: TrialSettings) -> PlatformSpec:
    """Return the platform of this trial: the run's, in the trial's mode and with its gateway."""
    return replace(settings.spec, mode=trial.mode, gateway=trial.gateway or settings.spec.gateway)


def failed_trial(trial: PlannedTrial, error: str) -> TrialOutcome:
    """Return the record of a trial that could not be run."""
    nothing = Observation([], [], [])
    return TrialOutcome(TrialRecord(trial, "failed", error=error), sample_columns(nothing), call_columns([], []))


def learners_needed(rate_per_s: float, profile: Profile, saturation_shots: int, search_arrivals: int = 0) -> int:
    """Return how many learners a trial of this profile can use up at this rate, with room for a lucky draw."""
    longest_ns = max(shape(profile).open_end_ns for shape in (steady_timeline, fault_timeline, move_timeline))
    expected = rate_per_s * longest_ns / 1e9
    steady = int(expected + 6 * expected**0.5 + saturation_shots)
    return max(steady, search_arrivals) + RESERVED + 16


def measure_saturation(mode: str, settings: TrialSettings, server: ForkServer) -> float:
    """Return the external mix's closed-loop throughput of a fresh platform in this mode, in requests per second.

    The best of four consecutive stretches: what a busy neighbour takes is no property of the platform, and a rate
    that is found too low wastes the run.
    """
    folder = settings.scratch / f"pilot-{mode}"
    timeline = pilot_timeline(settings.profile)
    script = Script(timeline, [], [], _closed_arrivals(settings, 0, random.Random(f"{settings.seed}:pilot")))
    try:
        with Platform(replace(settings.spec, mode=mode), folder, server) as platform:
            ControlPlane(platform, settings.book, settings.learners).smoke()
            job = build_job(script, settings, platform)
            result = settings.crew.submit(job, folder).wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    window = settle(timeline, [], result.closed_end_ns)[0]
    return _best_throughput(result.closed.done_ns, window)


def _best_throughput(done_ns: Sequence[int], window: Window, stretches: int = 4) -> float:
    length_ns = (window.end_ns - window.start_ns) // stretches
    if length_ns <= 0:
        return 0.0
    places = Counter((done - window.start_ns) // length_ns for done in done_ns)
    return max(places[number] for number in range(stretches)) / length_ns * 1e9


def _write_script(trial: PlannedTrial, settings: TrialSettings) -> Script:
    saturation = trial.block < settings.profile.saturation_blocks and not trial.fault
    timeline = (
        fault_timeline(settings.profile) if trial.fault else steady_timeline(settings.profile, saturation=saturation)
    )
    return draw_script(timeline, trial, settings, closed=saturation)


def draw_script(timeline: Timeline, trial: PlannedTrial, settings: TrialSettings, *, closed: bool = False) -> Script:
    """Draw what happens in these windows from the seed and the block; with requests for a closed loop or without."""
    rng = random.Random(f"{settings.seed}:schedule:{trial.block}")
    scenario = settings.spec.scenario
    weights = {flow.name: flow.weight for flow in scenario.flows}
    arrivals = draw_schedule(weights, settings.rate_per_s, timeline.open_end_ns / 1e9, scenario.load.arrivals, rng)
    external = {flow.name for flow in scenario.flows if flow.origin == "external"}
    return Script(
        timeline,
        outside=[arrival for arrival in arrivals if arrival.flow in external],
        inside=[arrival for arrival in arrivals if arrival.flow not in external],
        closed=_closed_arrivals(settings, len(arrivals), rng) if closed else [],
    )


def _closed_arrivals(settings: TrialSettings, first_learner: int, rng: random.Random) -> list[Arrival]:
    weights = {flow.name: flow.weight for flow in settings.spec.scenario.flows if flow.origin == "external"}
    return draw_mix(weights, settings.saturation_shots, first_learner, rng) if weights else []


def build_job(
    script: Script,
    settings: TrialSettings,
    platform: Platform,
    schedule: Schedule | None = None,
    clock: Callable[[], int] = time.monotonic_ns,
) -> Job:
    """Return the load engine's job, rendered, to begin in a moment; `schedule` instead of the script's own if given.

    Its time begins when everything is rendered: thousands of requests take longer than the lead.
    """
    render = Renderer(settings.book, platform.spec)
    if schedule is None:
        schedule = render.schedule(script.outside)
    closed = render.closed_loop(script.closed, settings.connections, script.timeline)
    requests = len(schedule) + (len(closed.requests) if closed else 0)
    return Job(
        targets=render.targets,
        schedule=schedule,
        t0_ns=clock() + _LEAD_NS + _LEAD_A_REQUEST_NS * requests,
        timeout_ns=int(settings.timeout_ms * 1e6),
        max_in_flight=settings.max_in_flight,
        closed=closed,
        marks_ns=script.timeline.edges_ns,
        watched=dict(platform.pids),
        alternatives=render.alternatives,
    )


def _drive(trial: PlannedTrial, script: Script, settings: TrialSettings, control: ControlPlane) -> Seen:
    """Smoke, probe, load, break and mend one running platform."""
    platform, timeline = control.platform, script.timeline
    control.smoke()
    probes = control.probe() if not trial.fault and trial.block < _PROBED_BLOCKS else []
    job = build_job(script, settings, platform)
    sweeps = plan_sweeps({flow.name: flow for flow in platform.spec.scenario.flows}, script.inside, job.t0_ns)
    pending = settings.crew.submit(job, platform.folder)
    control.schedule(sweeps)
    events = _inject_and_lift(trial.fault, platform, timeline, job.t0_ns) if trial.fault else []
    result = pending.wait(settings.timeout_ms / 1e3 + 10)
    await_sweeps(platform, sweeps, control)
    require_alive(platform)
    return Seen(job.t0_ns, sweeps, result, events, probes, platform.ready_s)


def require_alive(platform: Platform) -> None:
    """Raise HarnessError when a component's process has ended by itself."""
    unexpected = [f"{name} ended with code {code}" for name, code in platform.died()]
    if unexpected:
        raise HarnessError(f"a component died without being asked to: {'; '.join(unexpected)}")


def _inject_and_lift(fault_text: str, platform: Platform, timeline: Timeline, t0_ns: int) -> list[Event]:
    """Apply the trial's fault and take it away at their times; say when each was observed to have worked."""
    kind, _, target = fault_text.partition(":")
    fault, component = FAULTS[kind], PlatformComponent(platform, target)
    events: list[Event] = []

    def note(what: str) -> None:
        events.append(Event(time.monotonic_ns() - t0_ns, what, target, kind))

    _sleep_until(t0_ns + timeline.inject_ns)
    note("inject")
    fault.inject(component)
    if _observe(lambda: fault.present(component)):
        note("fault_seen")
    _sleep_until(t0_ns + timeline.lift_ns)
    note("lift")
    fault.lift(component)
    if _observe(lambda: not fault.present(component)):
        note("heal_seen")
    return events


def _sleep_until(at_ns: int) -> None:
    time.sleep(max(0, at_ns - time.monotonic_ns()) / 1e9)


def _observe(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _FAULT_PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def await_sweeps(platform: Platform, sweeps: Sweeps, control: ControlPlane) -> None:
    """Give the last sweeps a moment to end; those that do not are recorded as they stand."""
    deadline = time.monotonic() + _SWEEP_PATIENCE_S
    for service, entries in sweeps.entries.items():
        last = control.offset(service) + len(entries) - 1
        while time.monotonic() < deadline:
            rows = read_sweeps(platform.log_dir / f"{service}.sweeps")
            if any(row.entry == last for row in rows) and all(row.outcome for row in rows):
                break
            time.sleep(0.005)


def assemble(
    trial: PlannedTrial, script: Script, settings: TrialSettings, seen: Seen, control: ControlPlane
) -> TrialOutcome:
    """Join what the engine, the services' logs and the stores say into the trial's record."""
    logs = control.platform.log_dir
    told = [*seen.events, *_callers_events(logs, seen.t0_ns), *_failover_events(seen.result)]
    events = sorted(told, key=lambda event: event.at_ns)
    windows = settle(script.timeline, seen.events, seen.result.closed_end_ns)
    samples = sample_columns(_observe_all(script, seen, control), windows)
    windows = [with_figures(window, samples, seen.result.marks) for window in windows]
    rows = logged_calls(logs)
    generator, doubts = load_doubts(
        samples, len(script.outside), seen.result, script.timeline.windows[0], settings.max_in_flight
    )
    stalls = read_stalls(settings.watchdogs, seen.t0_ns, seen.t0_ns + script.timeline.end_ns)
    generator |= connects_since_fault(seen.result, seen.events)
    generator |= {"core_stall_max_ms": max((stall.late_ns / 1e6 for stall in stalls), default=0.0)}
    doubts += fault_doubts(events) if trial.fault else stall_doubts(stalls, seen.t0_ns, windows)
    record = TrialRecord(
        trial=trial,
        state="void" if any(doubt.fatal for doubt in doubts) else "done",
        windows=windows,
        events=events,
        probes=seen.probes,
        doubts=doubts,
        counts=count_outcomes(list(samples["outcome"])),
        generator=generator,
        ready_s=seen.ready_s,
    )
    return TrialOutcome(record, samples, call_columns(rows, windows, seen.t0_ns))


def _observe_all(script: Script, seen: Seen, control: ControlPlane) -> Observation:
    logged = logged_sweeps(seen.sweeps, control)
    observed = Observation.of(script.outside, script.closed, seen.result, seen.sweeps.arrivals, logged, seen.t0_ns)
    wanted = [(arrival.flow, arrival.learner) for arrival in observed.arrivals]
    return replace(observed, effects=read_effects(control.platform.store_dir, wanted))


def logged_calls(logs: Path) -> list[CallRow]:
    """Return the internal calls that all services logged."""
    return [row for path in sorted(logs.glob("*.calls")) for row in read_calls(path)]


def logged_sweeps(sweeps: Sweeps, control: ControlPlane) -> dict[str, dict[int, SweepRow]]:
    """Return service -> number of the scheduled sweep -> what the service logged of it."""
    return {
        service: {
            row.entry - control.offset(service): row
            for row in read_sweeps(control.platform.log_dir / f"{service}.sweeps")
        }
        for service in sweeps.entries
    }


def with_figures(window: Window, samples: Mapping[str, Sequence[Any]], marks: Sequence[Mark]) -> Window:
    """Return the window with how many were answered in it (done_ns, outcome) and the CPU time spent in it."""
    answered = sum(
        outcome == "ok" and window.start_ns <= done < window.end_ns
        for done, outcome in zip(samples["done_ns"], samples["outcome"], strict=True)
    )
    first, last = _mark_at(window.start_ns, marks), _mark_at(window.end_ns, marks)
    cpu = {name: last[name] - first[name] for name in first if name in last}
    return replace(window, requests=answered, cpu_ns=cpu)


def _mark_at(at_ns: int, marks: Sequence[Mark]) -> dict[str, int]:
    """Return the CPU clocks read at this moment or first after it; nothing when they were not read any more."""
    return next((mark.cpu_ns for mark in marks if mark.at_ns >= at_ns), {})


def _callers_events(logs: Path, t0_ns: int) -> Iterator[Event]:
    """What the services noted about their peers: breakers, and failing over."""
    for path in sorted(logs.glob("*.events")):
        for row in read_events(path):
            yield Event(row.at_ns - t0_ns, row.kind, path.stem, row.peer)


def _failover_events(result: LoadResult) -> Iterator[Event]:
    """What the load engine noted about targets with several addresses."""
    took = result.failing_over
    yield from (Event(at_ns, CONNECT_FAILED, "generator") for at_ns in took.failed_ns)
    yield from (Event(at_ns, SENT_AGAIN, "generator") for at_ns in took.again_ns)


def connects_since_fault(result: LoadResult, events: Sequence[Event]) -> dict[str, float]:
    """Return how many connects the engine tried since the injection; nothing where targets have one address each."""
    inject = next((event.at_ns for event in events if event.kind == "inject"), None)
    if inject is None or not result.failing_over.connects_ns:
        return {}
    return {"connects_since_fault": float(sum(at_ns >= inject for at_ns in result.failing_over.connects_ns))}


def count_outcomes(outcomes: list[str]) -> dict[str, int]:
    """Return how many requests were planned and sent, and how many had each outcome."""
    counts = {name: outcomes.count(name) for name in ("ok", "error", "timeout", "dropped")}
    return {"planned": len(outcomes), "sent": len(outcomes) - counts["dropped"], **counts}
