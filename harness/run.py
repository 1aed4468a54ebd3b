"""A run: prepare, find the rate, run every planned trial, write the record after each."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import random
import secrets
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from harness.cpu import pin, usable_cores
from harness.engines import ENGINES, Crew, CrewPlan
from harness.environment import describe_host, require_file_handles
from harness.errors import BadInputError, HarnessError
from harness.experiments.wanted import run_experiment, wanted
from harness.floor import generator_floor
from harness.forkserver import ForkServer
from harness.gateways.choice import missing
from harness.observer import Observer, Silent
from harness.planning import ExperimentPlan, SearchPlan, controlled_arms, gateway_of, mode_of, plan_trials
from harness.platform import LOOPBACK, PlatformSpec
from harness.ports import free_ports
from harness.profiles import PROFILES, Profile
from harness.rungateways import planned_gateways, refuse_senseless
from harness.scratch import SHARED_MEMORY, scratch_folder
from harness.searchtrial import run_search, search_arrivals
from harness.trial import (
    TrialOutcome,
    TrialSettings,
    failed_trial,
    learners_needed,
    measure_saturation,
    run_trial,
)
from harness.trialdoubts import HOST_DISTURBED
from harness.watchdog import start_watchdogs
from results.record import MIX, Plan, PlannedTrial, RecordWriter
from scenarios.instances import gateway_instances
from scenarios.model import Scenario
from scenarios.modes import MODES
from scenarios.objective import Objective
from stub_services.requests import RequestBook
from stub_services.stores import build_template

_PILOT_SHOTS_PER_S = 12_000
_SHOTS_MARGIN = 1.6  # of what the pilot's throughput would use up in the closed loop
_RERUN_SHARE = 0.1  # of the planned trials may be run again because the host disturbed them
_GIVE_UP_AFTER = 3  # failed trials in a row
_FIRST_SHARE = 0.6  # of the pilot's throughput: where the first search of an arm begins
_FIRST_STEP = 1.25
_MOST_LEARNERS = 120_000
FILES_NEEDED = 8192


@dataclass(frozen=True)
class RunRequest:
    """What somebody wants measured. `faults` are KIND:TARGET; `flows` and `modes` restrict the scenario's."""

    scenario: Scenario
    profile: Profile = PROFILES["quick"]
    modes: tuple[str, ...] = tuple(MODES)
    flows: tuple[str, ...] = ()
    gateway: str = "builtin"
    work: str = "bare"
    policy: str = "none"
    clock_scale: float = 1.0
    faults: tuple[str, ...] = ()
    engine: str = "native"
    workers: int = 1  # processes of the load engine, for engines that have several
    listen: tuple[str, int] = (LOOPBACK, 0)  # where load workers join; off loopback the platform listens there as well
    await_workers: int = 0  # from elsewhere
    seed: int = 1
    out: Path = Path("runs")
    capacity: str = ""  # searched for: none, mix, flows (and the mix); empty: as the profile has it
    objective_p99_ms: float | None = None  # in place of the scenario's
    objective_error_share: float | None = None
    experiments: bool = True  # the scenario's
    gateway_replicas: int = 1  # instances of the gateway
    further_gateways: tuple[str, ...] = ()  # arms of the same blocks, beside `gateway`

    @property
    def gateways(self) -> tuple[str, ...]:
        """All gateways of the run, the first one first."""
        return (self.gateway, *self.further_gateways)


@dataclass(frozen=True)
class RunOutcome:
    """Where the record stands and how many of the planned trials it holds."""

    run_dir: Path
    planned: int
    written: int


def run(
    request: RunRequest,
    observer: Observer | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Generator[RunOutcome, None, None]:
    """Carry the request out; yield after planning and after every trial, so that the caller may stop at any time.

    Raises HarnessError (a sentence) when the platform does not come up, BadInputError for a request that makes no
    sense, OSError when the record cannot be written. Whatever was yielded before stays on disk and readable.
    """
    observer = observer or Silent()
    started = now()
    engine = ENGINES[request.engine]
    refuse_senseless(request.gateways, request.modes)
    if problem := missing(request.gateways) or engine.missing() or require_file_handles(FILES_NEEDED):
        raise HarnessError(problem)
    scenario = _restrict(request.scenario, request.flows)
    tried = wanted(scenario, request.modes) if request.experiments else ()
    generator_cores, platform_cores = split_cores(usable_cores())
    with contextlib.ExitStack() as stack:
        stack.enter_context(_pinned(generator_cores))
        scratch = Path(stack.enter_context(scratch_folder()))
        observer.preparing("looking at the host")
        environment = describe_host(generator_cores, platform_cores)
        server = stack.enter_context(contextlib.closing(ForkServer(cores=platform_cores)))
        watchdogs = start_watchdogs(platform_cores, scratch, server)
        crew = stack.enter_context(engine.start(_crew_plan(request, server, generator_cores, scratch, observer)))
        settings = _pilot_settings(request, scenario, scratch, platform_cores, crew, watchdogs)
        settings, pilot, reason = _find_rate(request, settings, server, observer)
        observer.preparing("the load generator's own floor")
        environment["generator_floor"] = generator_floor(server, crew, platform_cores, settings.rate_per_s)
        trials = plan_trials(
            request.modes,
            request.faults,
            request.profile.steady_blocks,
            request.profile.fault_blocks if request.faults else 0,
            random.Random(f"{request.seed}:plan"),
            _searches(request, scenario),
            request.further_gateways,
            ExperimentPlan(request.profile.experiment_blocks, tried),
        )
        run_dir = _new_run_dir(request, started)
        plan = _plan(request, settings, run_dir, started, trials, reason)
        writer = RecordWriter(run_dir)
        writer.begin(plan, environment)
        observer.planned(len(trials))
        yield RunOutcome(run_dir, len(trials), 0)
        yield from _run_trials(trials, _Runner(settings, server, pilot), writer, observer)


def _crew_plan(
    request: RunRequest, server: ForkServer, cores: list[int], scratch: Path, observer: Observer
) -> CrewPlan:
    host, port = request.listen
    if request.await_workers:
        observer.preparing(f"waiting for {request.await_workers} load workers at {host}:{port}")
    return CrewPlan(server, cores, scratch, request.workers, request.listen, request.await_workers)


def _platform_host(listen: tuple[str, int]) -> str:
    """Workers on other machines reach a platform that listens where they reach the master."""
    host, _ = listen
    return LOOPBACK if ipaddress.ip_address(host).is_loopback else host


class _Runner:
    """Runs trials of every kind, and remembers where the last search of an arm ended, for the next to start there."""

    def __init__(self, settings: TrialSettings, server: ForkServer, pilot: Mapping[str, float]) -> None:
        self.settings = settings
        self.server = server
        self.pilot = pilot  # arm -> closed-loop throughput
        self.carried: dict[tuple[str, str], float] = {}

    def run(self, trial: PlannedTrial) -> TrialOutcome:
        """Run one trial. Raises HarnessError when the platform or the engine does not come up."""
        if trial.experiment:
            return run_experiment(trial, self.settings, self.server)
        if not trial.search:
            return run_trial(trial, self.settings, self.server)
        where = (trial.arm if trial.gateway else trial.mode, trial.search)  # the null control goes with direct
        start, step = self._first_rate(where)
        outcome, carried = run_search(trial, self.settings, self.server, start, step)
        if carried is not None:
            self.carried[where] = carried
        return outcome

    def _first_rate(self, where: tuple[str, str]) -> tuple[float, float]:
        """Return the rate to begin with and the factor of the first move."""
        if where in self.carried:
            return self.carried[where], 1 + self.settings.profile.search.precision
        arm, _ = where
        return self.carried.get((arm, MIX), _FIRST_SHARE * self.pilot[arm]), _FIRST_STEP


def _wanted_capacity(request: RunRequest) -> str:
    return request.capacity or request.profile.search.what


def _searches(request: RunRequest, scenario: Scenario) -> SearchPlan:
    profile, wanted = request.profile.search, _wanted_capacity(request)
    if wanted == "none":
        return SearchPlan()
    flows = tuple(flow.name for flow in scenario.flows) if wanted == "flows" else ()
    return SearchPlan(profile.blocks, profile.null, flows, profile.flow_blocks)


def _objective(request: RunRequest, scenario: Scenario) -> Objective:
    objective = scenario.load.objective_for(request.work)
    changed = {"p99_ms": request.objective_p99_ms, "error_share": request.objective_error_share}
    return objective.model_copy(update={name: value for name, value in changed.items() if value is not None})


def _run_trials(
    trials: Sequence[PlannedTrial],
    runner: _Runner,
    writer: RecordWriter,
    observer: Observer,
) -> Iterator[RunOutcome]:
    failed_in_a_row = 0
    queue = deque(trials)
    most = len(trials) + math.ceil(_RERUN_SHARE * len(trials))
    number = 0
    while queue:
        trial = queue.popleft()
        number += 1
        observer.starting(trial)
        try:
            outcome = runner.run(trial)
            failed_in_a_row = 0
        except HarnessError as problem:
            failed_in_a_row += 1
            outcome = failed_trial(trial, str(problem))
        writer.add(outcome.record, outcome.samples, outcome.calls)
        observer.finished(outcome.record)
        if failed_in_a_row == _GIVE_UP_AFTER:
            raise HarnessError(f"{_GIVE_UP_AFTER} trials in a row failed; the last one: {outcome.record.error}")
        planned = number + len(queue)
        if planned < most and any(doubt.name in HOST_DISTURBED for doubt in outcome.record.doubts):
            _insert_rerun(queue, trial, planned)
        yield RunOutcome(writer.run_dir, number + len(queue), number)


def _insert_rerun(queue: deque[PlannedTrial], trial: PlannedTrial, index: int) -> None:
    """Put the trial again behind the rest of its block, under a number of its own; the void one stays in the record."""
    place = next((at for at, other in enumerate(queue) if other.block != trial.block), len(queue))
    queue.insert(place, replace(trial, index=index))


def split_cores(cores: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the generator's core and the platform's; on a single core they share it, which is then a doubt."""
    if len(cores) == 1:
        return list(cores), list(cores)
    return [cores[0]], list(cores[1:])


@contextlib.contextmanager
def _pinned(cores: Sequence[int]) -> Iterator[None]:
    """Keep the harness itself off the platform's cores while it runs, and give back what it had before."""
    before = usable_cores()
    pin(list(cores))
    try:
        yield
    finally:
        pin(before)


def _restrict(scenario: Scenario, flows: Sequence[str]) -> Scenario:
    if not flows:
        return scenario
    known = [flow.name for flow in scenario.flows]
    unknown = [name for name in flows if name not in known]
    if unknown:
        raise BadInputError(f"unknown flow {unknown[0]!r}: one of {', '.join(known)}")
    return scenario.only(flows)


def _new_run_dir(request: RunRequest, started: datetime) -> Path:
    stamp = started.strftime("%Y%m%dT%H%M%SZ")
    run_dir = request.out / f"{stamp}-{request.scenario.name}-{request.profile.name}"
    for number in range(2, 100):
        if not run_dir.exists():
            break
        run_dir = run_dir.with_name(f"{stamp}-{request.scenario.name}-{request.profile.name}-{number}")
    run_dir.mkdir(parents=True)
    _point_latest(run_dir)
    return run_dir


def _point_latest(run_dir: Path) -> None:
    latest = run_dir.parent / "latest"
    partial = run_dir.parent / f".latest-{os.getpid()}"
    with contextlib.suppress(OSError):  # a file system without links goes without
        partial.symlink_to(run_dir.name)
        partial.replace(latest)


def _pilot_settings(
    request: RunRequest,
    scenario: Scenario,
    scratch: Path,
    platform_cores: list[int],
    crew: Crew,
    watchdogs: list[Path],
) -> TrialSettings:
    names = [*scenario.service_names, *gateway_instances(request.gateway_replicas)]
    ports = dict(zip(names, free_ports(len(names), random.Random()), strict=True))
    spec = PlatformSpec(
        scenario=scenario,
        mode=request.modes[0],
        ports=ports,
        gateway=request.gateway,
        work=request.work,
        policy=request.policy,
        clock_scale=request.clock_scale,
        seed=request.seed,
        internal_api_key=secrets.token_hex(16),
        jwt_secret=secrets.token_hex(32),
        cores=platform_cores,
        template=scratch / "template",
        host=_platform_host(request.listen),
        gateway_replicas=request.gateway_replicas,
    )
    shots = int(request.profile.pilot_s * _PILOT_SHOTS_PER_S)
    settings = TrialSettings(
        spec=spec,
        profile=request.profile,
        book=RequestBook(0, spec.jwt_secret),
        learners=0,
        rate_per_s=0.0,
        saturation_shots=shots,
        connections=scenario.load.connections,
        timeout_ms=scenario.load.timeout_ms,
        crew=crew,
        scratch=scratch,
        seed=request.seed,
        watchdogs=watchdogs,
        objective=_objective(request, scenario),
    )
    return _with_learners(settings, learners_needed(0, request.profile, shots))


def _with_learners(settings: TrialSettings, learners: int) -> TrialSettings:
    """Return the settings with stores seeded for so many learners."""
    shutil.rmtree(settings.spec.template, ignore_errors=True)
    settings.spec.template.mkdir(parents=True)
    build_template(settings.spec.template, learners)
    return replace(settings, learners=learners, book=RequestBook(learners, settings.spec.jwt_secret))


def _find_rate(
    request: RunRequest, settings: TrialSettings, server: ForkServer, observer: Observer
) -> tuple[TrialSettings, dict[str, float], str]:
    """Return the settings with the offered rate, the pilot's throughputs, and how the rate was found in words."""
    load = settings.spec.scenario.load
    throughput = _pilot(request, settings, server, observer)
    slowest = min(throughput, key=lambda arm: throughput[arm])
    shown = ", ".join(f"{arm} {value:.0f}" for arm, value in throughput.items())
    rate = load.rate_per_s or round(load.utilisation * throughput[slowest], 1)
    share = rate / throughput[slowest]
    reason = (
        f"pilot saturation in req/s: {shown}; offered {rate:.0f}/s, which is {share:.0%} of the slowest ({slowest})"
    )
    if share > 0.5:
        raise BadInputError(f"the scenario's rate is too high for latency figures, at most 50 % is allowed: {reason}")
    shots = int(max(throughput.values()) * _SHOTS_MARGIN * (request.profile.saturation_s + 0.1))
    observer.preparing("seeding the stores")
    settings = replace(settings, rate_per_s=rate, saturation_shots=shots)
    searching = _wanted_capacity(request) != "none"
    searched = min(_MOST_LEARNERS, search_arrivals(max(throughput.values()), settings)) if searching else 0
    settings = _with_learners(settings, learners_needed(rate, request.profile, shots, searched))
    return settings, throughput, reason


def _pilot(request: RunRequest, settings: TrialSettings, server: ForkServer, observer: Observer) -> dict[str, float]:
    """Return the saturation throughput of every arm but the null control, in requests per second."""
    throughput: dict[str, float] = {}
    for arm in controlled_arms(request.modes, request.further_gateways):
        mode, gateway = mode_of(arm), gateway_of(arm) or request.gateway
        where = f"{mode} mode" if len(request.gateways) == 1 else f"{mode} mode, {gateway}"
        observer.preparing(f"pilot: saturating {where}")
        its_own = replace(settings, spec=replace(settings.spec, gateway=gateway))
        throughput[arm] = measure_saturation(mode, its_own, server)
        if throughput[arm] <= 0:
            raise HarnessError(f"the pilot in {where} got no answers; nothing can be measured on this platform")
    return throughput


def _plan(
    request: RunRequest,
    settings: TrialSettings,
    run_dir: Path,
    started: datetime,
    trials: list[PlannedTrial],
    reason: str,
) -> Plan:
    gateways = planned_gateways(request.gateways, settings.spec, request.modes)
    return Plan(
        run_id=run_dir.name,
        scenario=settings.spec.scenario.model_dump(mode="json"),
        profile=request.profile.name,
        seed=request.seed,
        gateway=request.gateway,
        gateway_config=gateways[0].config,
        work=request.work,
        policy=request.policy,
        clock_scale=request.clock_scale,
        engine=request.engine,
        started_at=started.isoformat(timespec="seconds"),
        steady_blocks=request.profile.steady_blocks,
        fault_blocks=request.profile.fault_blocks if request.faults else 0,
        offered_rate_per_s=settings.rate_per_s,
        rate_reason=reason,
        settings={
            **asdict(request.profile),
            "connections": settings.connections,
            "objective": settings.objective.model_dump(),
            "timeout_ms": settings.timeout_ms,
            "arrivals": settings.spec.scenario.load.arrivals,
            "gateway_version": gateways[0].version,
            "gateway_workers": 1,
            **settings.crew.describe(),
            "platform_cores": settings.spec.cores,
            "learners": settings.learners,
            "stores_on": "memory" if settings.scratch.is_relative_to(SHARED_MEMORY) else "disk",
        },
        trials=trials,
        gateways=gateways,
        gateway_replicas=request.gateway_replicas,
    )
