"""Move a running service to another port under load, and see which requests are lost.

A second instance is started on the new port, on the same store. Then whoever has to know is told, one after the other,
just as edited_places counts them: the gateway gets its configuration and reloads it (or is restarted where it cannot),
each caller is restarted, for its peers are environment, and the clients outside are told the new address at once. When
all are, and a moment later, the old instance is ended. What is lost on the way, the record's ordinary columns say: of
every request that was due before the load was told to stop, which is a moment after the move.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from harness.control import ControlPlane, plan_sweeps
from harness.engines.board import ask_stop, new_board
from harness.engines.job import Job, LoadResult, Request, Schedule
from harness.experiments import rolling
from harness.experiments.edited_places import MovedService, edited, moved
from harness.experiments.experiment import Experiment, spec_of
from harness.forkserver import ForkServer
from harness.load import Renderer
from harness.platform import Platform, PlatformSpec
from harness.schedule import Arrival
from harness.timeline import move_timeline
from harness.trial import (
    Script,
    Seen,
    TrialOutcome,
    TrialSettings,
    assemble,
    await_sweeps,
    build_job,
    draw_script,
    require_alive,
)
from results.record import Event, PlannedTrial, RecordedDoubt

_SETTLE_S = 0.1  # what an operator waits between the last change and ending the old instance
_NEVER_NS = 1 << 62
_AFTER_S = 0.05  # that the load goes on when the old instance is gone


def run(trial: PlannedTrial, parameters: MovedService, settings: TrialSettings, server: ForkServer) -> TrialOutcome:
    """Move the service once. Raises HarnessError when something does not come up or the engine does not come back."""
    script = draw_script(move_timeline(settings.profile), trial, settings)
    folder = settings.scratch / trial.folder
    try:
        with Platform(spec_of(trial, settings), folder, server) as platform:
            control = ControlPlane(platform, settings.book, settings.learners)
            control.smoke()
            script, seen = _drive(script, parameters.service, settings, control)
        return _doubted(assemble(trial, script, settings, seen, control), script)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _drive(script: Script, service: str, settings: TrialSettings, control: ControlPlane) -> tuple[Script, Seen]:
    """Move the service under load; return what was due until the load was stopped, and what became of it."""
    platform, board = control.platform, control.platform.folder / "load.board"
    move = _Move(platform, service, moved(platform.spec, service))
    old = move.second_instance()
    new_board(board)
    job = replace(_job(script, settings, platform, move.before), board=str(board))
    sweeps = plan_sweeps({flow.name: flow for flow in platform.spec.scenario.flows}, script.inside, job.t0_ns)
    pending = settings.crew.submit(job, platform.folder)
    control.schedule(sweeps)
    time.sleep(max(0, job.t0_ns + script.timeline.inject_ns - time.monotonic_ns()) / 1e9)
    move.carry_out(old, job.t0_ns)
    time.sleep(_AFTER_S)
    ask_stop(board)
    stop_ns = time.monotonic_ns() - job.t0_ns
    result = pending.wait(settings.timeout_ms / 1e3 + 10)
    script = until(min(stop_ns, stopped_at(script.outside, result)), script)
    result = replace(result, open=result.open.first(len(script.outside)))
    sweeps = plan_sweeps({flow.name: flow for flow in platform.spec.scenario.flows}, script.inside, job.t0_ns)
    await_sweeps(platform, sweeps, control)
    require_alive(platform)
    return script, Seen(job.t0_ns, sweeps, result, move.events, [], platform.ready_s)


def stopped_at(outside: Sequence[Arrival], result: LoadResult) -> int:
    """Return when the first of the last requests was due that the engine, told to stop, did not send any more."""
    unsent = itertools.takewhile(
        lambda row: row[1] < 0, zip(reversed(outside), reversed(result.open.sent_ns), strict=True)
    )
    return min((arrival.at_ns for arrival, _ in unsent), default=_NEVER_NS)


def until(stop_ns: int, script: Script) -> Script:
    """Return what was due before this moment."""
    timeline = script.timeline
    end_ns = min(stop_ns, timeline.open_end_ns)
    *others, after = timeline.windows
    return replace(
        script,
        timeline=replace(timeline, windows=[*others, replace(after, end_ns=end_ns)], open_end_ns=end_ns),
        outside=[arrival for arrival in script.outside if arrival.at_ns < end_ns],
        inside=[arrival for arrival in script.inside if arrival.at_ns < end_ns],
    )


def _job(script: Script, settings: TrialSettings, platform: Platform, before: PlatformSpec) -> Job:
    """Return the engine's job: clients use the address before until the move begins, and the one after from then on."""
    old, new = Renderer(settings.book, before), Renderer(settings.book, platform.spec)
    targets = list(dict.fromkeys([*old.targets, *new.targets]))

    def request(arrival: Arrival) -> Request:
        renderer = old if arrival.at_ns < script.timeline.inject_ns else new
        rendered = renderer.request(arrival)
        return rendered._replace(target=targets.index(renderer.targets[rendered.target]))

    schedule = Schedule.of((arrival.at_ns, request(arrival)) for arrival in script.outside)
    job = build_job(script, settings, platform, schedule)
    marks_ns = [edge for edge in job.marks_ns if edge <= script.timeline.inject_ns]
    return replace(job, targets=targets, marks_ns=marks_ns)


@dataclass
class _Move:
    """The move as it goes on. The platform's spec is the one after from the second instance on."""

    platform: Platform
    service: str
    after: PlatformSpec
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.before = self.platform.spec
        self.platform.spec = self.after
        folder, server = self.platform.folder, self.platform.server
        self.edits = edited(self.before, self.after, self.service, folder, server)

    def second_instance(self) -> int:
        """Start the service on its new port; return the old process."""
        return rolling.start_beside(self.platform, self.service)

    def carry_out(self, old: int, t0_ns: int) -> None:
        """Tell everybody who has to know, then end the old instance."""
        self._note(t0_ns, "move_begin", self.service, f"{self._port(self.before)} to {self._port(self.after)}")
        if "gateway" in self.edits:
            taken_up = rolling.reload_gateway(self.platform, self._port(self.after))
            self._note(t0_ns, taken_up.how, "gateway", taken_up.why)
            if taken_up.seen:
                self._note(t0_ns, "switched", "gateway")
        for caller in self._callers():
            rolling.restart(self.platform, caller)
            self._note(t0_ns, rolling.RESTARTED, caller)
        time.sleep(_SETTLE_S)
        rolling.end(self.platform, self.service, old)
        self._note(t0_ns, "move_end", self.service)

    def _callers(self) -> Sequence[str]:
        return [name for name in self.after.scenario.service_names if name in self.edits]

    def _port(self, spec: PlatformSpec) -> int:
        return spec.ports[self.service]

    def _note(self, t0_ns: int, kind: str, component: str, detail: str = "") -> None:
        self.events.append(Event(time.monotonic_ns() - t0_ns, kind, component, detail))


def _doubted(outcome: TrialOutcome, script: Script) -> TrialOutcome:
    """Void the trial if the gateway was not seen to take the move up, or if the load ended before the move did."""
    record = outcome.record
    at = {event.kind: event.at_ns for event in record.events}
    told = any(event.component == "gateway" for event in record.events)
    doubts = [*record.doubts]
    if told and "switched" not in at:
        advice = "the gateway was not seen to reach the service at its new address"
        doubts.append(RecordedDoubt("move_not_observed", True, 0.0, 1.0, advice))
    length_s, most_s = at["move_end"] / 1e9, script.timeline.open_end_ns / 1e9
    if length_s >= most_s:
        advice = "the load was over before the move was: the host is very slow"
        doubts.append(RecordedDoubt("move_outlasted_load", True, length_s, most_s, advice))
    state = "void" if any(doubt.fatal for doubt in doubts) else record.state
    return replace(outcome, record=replace(record, doubts=doubts, state=state))


EXPERIMENT = Experiment("moves a running service to another port under load", run, MovedService)
