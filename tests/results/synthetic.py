"""Synthetic records: real files through RecordWriter, with a truth that the tests know.

A `World` says what the platform is like; `write_record` draws a run from it with a seeded generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from results.record import (
    CALL_COLUMNS,
    SAMPLE_COLUMNS,
    Event,
    Plan,
    PlannedGateway,
    PlannedTrial,
    Probe,
    RecordedDoubt,
    RecordWriter,
    Tally,
    TrialRecord,
    Window,
)
from scenarios import SCENARIOS

ARMS = ("direct", "direct-null", "gateway", "hybrid")
MODES = ("direct", "gateway", "hybrid")
SERVICES = ("auth", "user", "course", "exercise", "notification")
COMPONENTS = (*SERVICES, "gateway")
POOL = ("kept", "many idle connections")
PORTS = {"gateway": 8080, "hybrid": 8081}
MS = 1_000_000
S = 1_000_000_000

SCENARIO: dict[str, Any] = yaml.safe_load(SCENARIOS["ielts"].read_text(encoding="utf-8"))

SETTINGS: dict[str, Any] = {
    "timeout_ms": 1000,
    "platform_cores": [1],
    "objective": {"p99_ms": 25.0, "error_share": 0.01},
    "search": {"precision": 0.05},
}

Fate = tuple[str, str]
"""Outcome and effect of a request under a fault."""


def crash_fate(mode: str, target: str, flow: dict[str, Any]) -> Fate:
    """What a crash does to a flow when the platform does just what its declaration says."""
    through_gateway = mode != "direct" and (flow["origin"] == "external" or (mode == "gateway" and flow.get("calls")))
    if target in flow["needs"] or (target == "gateway" and through_gateway):
        return "error", "none"
    return "ok", "met" if flow.get("effects") else "none"


Tried = tuple[dict[str, tuple[int, ...]], dict[str, float]]
"""What an experiment found: probe -> statuses, and tally -> value."""

MovedRequest = tuple[str, int, str]
"""A request while a service moved: flow, when it was due in ms from the begin of the move, outcome."""


@dataclass(frozen=True)
class World:
    """The truth behind a record. Latency factors are over direct; noise is the block sd of every logarithm."""

    latency: dict[str, float] = field(default_factory=lambda: {"gateway": 2.5, "hybrid": 1.0})
    base_ms: float = 1.0
    throughput: dict[str, float] = field(default_factory=lambda: {"gateway": 0.4, "hybrid": 0.8})
    base_throughput: float = 2000.0
    cpu: dict[str, float] = field(default_factory=lambda: {"gateway": 1.5, "hybrid": 1.2})
    gateway_demand: float = 1.6  # CPU of the gateway over that of the busiest service, at saturation
    noise: float = 0.01
    null_factor: float = 1.0
    hops: dict[str, tuple[int, ...]] = field(default_factory=lambda: {"direct": (1,), "gateway": (2,), "hybrid": (1,)})
    fate: Callable[[str, str, dict[str, Any]], Fate] = crash_fate
    slip_p99_us: float = 20.0
    busy_share: float = 0.3
    achieved_share: float = 1.0
    generator_at_saturation: float = 0.5
    error_share: float = 0.0
    dropped: int = 0  # in each steady trial, of flows of this origin, in this window
    dropped_origin: str = "external"
    dropped_window: str = "open"
    drift: float = 1.0  # factor of the second half of the open window over the first, in the last block's hybrid arm
    observed: bool = True
    recovers: bool = True
    gateway_replicas: int = 1
    lost_at_kill: int = 0  # requests that pass the gateway, were under way when an instance of it died, and are lost
    lost_while_down: float = 0.0  # share of the requests that pass the gateway, lost while an instance of it is down
    failed_connects: int = 0  # of clients and of services each, in each crash of an instance
    probe_status: dict[str, int] = field(
        default_factory=lambda: {"internal_without_key": 403, "internal_with_key": 200, "internal_through_gateway": 404}
    )
    steady_blocks: int = 4
    fault_blocks: int = 2
    open_requests: int = 800
    saturation_requests: int = 200
    fault_requests: int = 2000
    rate_per_s: float = 500.0
    profile: str = "quick"
    settings: dict[str, Any] = field(default_factory=lambda: dict(SETTINGS))
    environment: dict[str, Any] = field(
        default_factory=lambda: {
            "host": "testhost",
            "cpu_model": "Test CPU",
            "cores": 2,
            "kernel": "6.1",
            "python": "3.11",
            "probes": {"loopback_rtt_us": 25.0, "cpu_loop_ms": 12.0},
            "doubts": [],
            "generator_floor": {
                "rate_per_s": 500.0,
                "requests": 150.0,
                "p50_us": 81.0,
                "p99_us": 143.0,
                "max_us": 200.0,
            },
        }
    )
    claims: list[dict[str, Any]] | None = None
    keep: Callable[[PlannedTrial], bool] = lambda trial: True
    state: Callable[[PlannedTrial], str] = lambda trial: "done"
    faults: bool = True
    searches: bool = True
    searched: tuple[str, ...] = ("mix",)
    unsettled: Callable[[PlannedTrial], bool] = lambda trial: False  # whose bracket stays open
    further: dict[str, World] = field(default_factory=dict)  # further gateways, each with the world of its arms
    seed: int = 7
    tried: dict[str, Tried] = field(default_factory=dict)  # by mode, in the first block
    used_gateway: str = ""
    moved: dict[str, tuple[MovedRequest, ...]] = field(default_factory=dict)  # by mode: what was due in a move of 1 s


def claim(**fields: Any) -> dict[str, Any]:
    """A claim as data with what no test cares about filled in."""
    return {"id": "it", "says": "it is so", "source": "test", **fields}


def shipped(claim_id: str) -> dict[str, Any]:
    """A claim of the built-in scenario."""
    return next(one for one in SCENARIO["claims"] if one["id"] == claim_id)


def write_record(run_dir: Path, world: World) -> Path:
    """Write the record of one run in this world; return the run's folder."""
    rng = np.random.default_rng(world.seed)
    plan = _plan(world)
    writer = RecordWriter(run_dir)
    writer.begin(plan, world.environment)
    block_noise = {block: rng.normal(0, world.noise) for block in range(world.steady_blocks)}
    for trial in plan.trials:
        draw = np.random.default_rng([world.seed, trial.index])
        if world.keep(trial):
            its_world = world.further.get(trial.gateway, world)
            _write_trial(writer, its_world, trial, block_noise[trial.block], draw)
    return run_dir


def _plan(world: World) -> Plan:
    scenario = dict(SCENARIO)
    if world.claims is not None:
        scenario["claims"] = world.claims
    return Plan(
        run_id="test-run",
        scenario=scenario,
        profile=world.profile,
        seed=world.seed,
        gateway="builtin",
        gateway_config=_config("builtin"),
        work="bare",
        policy="none",
        clock_scale=1.0,
        engine="native",
        started_at="2026-01-01T00:00:00Z",
        steady_blocks=world.steady_blocks,
        fault_blocks=world.fault_blocks,
        offered_rate_per_s=world.rate_per_s,
        rate_reason="40 % of the slowest mode's saturation throughput",
        settings=world.settings,
        trials=[replace(trial, index=at) for at, trial in enumerate(_planned(world))],
        gateways=[PlannedGateway(name, f"{name} 1.0", *POOL, _config(name)) for name in ("builtin", *world.further)],
        gateway_replicas=world.gateway_replicas,
    )


def _config(gateway: str) -> dict[str, str]:
    return {mode: f"# {gateway} in {mode} mode\nlisten: {{port: {port}}}\n" for mode, port in PORTS.items()}


def _planned(world: World) -> Iterator[PlannedTrial]:
    for block in range(world.steady_blocks):
        for gateway in ("", *world.further):
            yield from _of_gateway(world, block, gateway)
    for gateway, its_world in (("", world), *world.further.items()):
        for mode in its_world.tried:
            arm = f"{mode}@{gateway}" if gateway else mode
            yield PlannedTrial(0, 0, arm, mode, gateway=gateway, experiment="tried")
    yield from (PlannedTrial(0, 0, mode, mode, experiment="service-move") for mode in world.moved)


def _of_gateway(world: World, block: int, gateway: str) -> Iterator[PlannedTrial]:
    """One block's trials of the first gateway, or of a further one: then without what passes none."""
    arms = [arm for arm in ARMS if not gateway or not arm.startswith("direct")]
    names = {arm: f"{arm}@{gateway}" if gateway else arm for arm in arms}
    modes = {arm: "direct" if arm == "direct-null" else arm for arm in arms}
    yield from (PlannedTrial(0, block, names[arm], modes[arm], gateway=gateway) for arm in arms)
    for arm in arms if world.searches else ():
        for what in world.searched:
            yield PlannedTrial(0, block, names[arm], modes[arm], search=what, gateway=gateway)
    for mode in MODES if world.faults and block < world.fault_blocks else ():
        if mode in names:
            for target in COMPONENTS:
                yield PlannedTrial(0, block, names[mode], mode, f"crash:{target}", gateway=gateway)


def _write_trial(writer: RecordWriter, world: World, trial: PlannedTrial, noise: float, rng: Any) -> None:
    state = world.state(trial)
    if state != "done":
        doubts = [RecordedDoubt("made void", True, 2.0, 1.0, "a test")] if state == "void" else []
        record = TrialRecord(trial, state, error="it broke" if state == "failed" else "", doubts=doubts)
        writer.add(record, _empty(SAMPLE_COLUMNS), _empty(CALL_COLUMNS))
        return
    if trial.experiment:
        writer.add(*(_move_trial if trial.experiment == "service-move" else _tried_trial)(world, trial))
        return
    make = _fault_trial if trial.fault else _search_trial if trial.search else _steady_trial
    writer.add(*make(world, trial, noise, rng))


def _empty(columns: dict[str, str]) -> dict[str, list[Any]]:
    return {name: [] for name in columns}


def factor(table: dict[str, float], world: World, trial: PlannedTrial) -> float:
    """The arm's factor over direct in this world."""
    return world.null_factor if trial.arm == "direct-null" else table.get(trial.mode, 1.0)


def _flows(world: World, n: int, rng: Any) -> list[dict[str, Any]]:
    weights = np.array([flow["weight"] for flow in SCENARIO["flows"]], float)
    return [SCENARIO["flows"][at] for at in rng.choice(len(weights), n, p=weights / weights.sum())]


def _steady_trial(world: World, trial: PlannedTrial, noise: float, rng: Any) -> Any:
    speed = world.base_ms * factor(world.latency, world, trial) * np.exp(noise + rng.normal(0, world.noise))
    n, span = world.open_requests, int(world.open_requests / world.rate_per_s * S)
    open_at = 500 * MS
    drifts = world.drift if (trial.plain_arm, trial.block) == ("hybrid", world.steady_blocks - 1) else 1.0
    samples = _samples(world, "open", open_at, span, n, speed, rng, drifts)
    _spoil(samples, world, rng)
    full_at = open_at + span
    rate = world.base_throughput * factor(world.throughput, world, trial) * np.exp(noise + rng.normal(0, world.noise))
    full_span = int(world.saturation_requests / rate * S)
    _extend(samples, _samples(world, "saturation", full_at, full_span, world.saturation_requests, 0.001, rng))
    cpu = 100e3 * factor(world.cpu, world, trial) * np.exp(noise + rng.normal(0, world.noise))
    windows = [
        Window("warmup", 0, open_at),
        Window("open", open_at, full_at, n, _cpu(world, trial, cpu * n, 0.3 * span)),
        Window(
            "saturation",
            full_at,
            full_at + full_span,
            world.saturation_requests,
            _cpu(world, trial, cpu * 1000, world.generator_at_saturation * full_span),
        ),
    ]
    probes = [
        Probe(name, f"POST /internal/{name}", status)
        for name, status in world.probe_status.items()
        if name != "internal_through_gateway" or trial.mode == "hybrid"
    ]
    record = TrialRecord(trial, "done", windows, [], probes, [], {}, _generator(world), 0.1)
    return record, samples, _calls(world, trial, "open", open_at, n, speed, rng)


def _search_trial(world: World, trial: PlannedTrial, noise: float, rng: Any) -> Any:
    """Three windows that are carried, the last just at the capacity, and one a little above that is not."""
    capacity = world.base_throughput * factor(world.throughput, world, trial)
    capacity *= np.exp(noise + rng.normal(0, world.noise))
    rates = [capacity * share for share in (0.6, 0.8, 1.0)] + [capacity * 1.04] * (not world.unsettled(trial))
    samples, windows = _empty(SAMPLE_COLUMNS), []
    for number, rate in enumerate(rates):
        name, start = f"capacity-{number:02d}", number * S
        slow = 100.0 if rate > capacity else 1.0
        _extend(samples, _samples(world, name, start, S, 200, slow, rng))
        windows.append(Window(name, start, start + S, 200, {}, rate))
    record = TrialRecord(trial, "done", windows, [Event(S, "search_end", detail="settled")], generator={})
    return record, samples, _empty(CALL_COLUMNS)


def _tried_trial(world: World, trial: PlannedTrial) -> Any:
    asked, counted = world.tried[trial.mode]
    probes = [Probe(name, f"GET /{name}", status) for name, statuses in asked.items() for status in statuses]
    tallies = [Tally(name, value, f"{value:g} of them") for name, value in counted.items()]
    record = TrialRecord(trial, "done", probes=probes, tallies=tallies, used_gateway=world.used_gateway)
    return record, _empty(SAMPLE_COLUMNS), _empty(CALL_COLUMNS)


def _move_trial(world: World, trial: PlannedTrial) -> Any:
    """A second's move of user, begun after a second of load and followed by another one."""
    samples = _empty(SAMPLE_COLUMNS)
    for flow, due_ms, outcome in world.moved[trial.mode]:
        at = S + due_ms * MS
        window = "before" if due_ms < 0 else "move" if due_ms < 1000 else "after"
        row = (flow, window, at, at, at + MS, outcome, 200, "none", "")
        for name, value in zip(SAMPLE_COLUMNS, row, strict=True):
            samples[name].append(value)
    windows = [Window("before", 0, S), Window("move", S, 2 * S), Window("after", 2 * S, 3 * S)]
    told = [Event(S + 1, "reload", "gateway")] if trial.mode == "gateway" else []
    told += [Event(S + at, "restart", name) for at, name in enumerate(("auth", "course"))] if not told else []
    events = [Event(S, "move_begin", "user"), *told, Event(2 * S, "move_end", "user")]
    return TrialRecord(trial, "done", windows, events), samples, _empty(CALL_COLUMNS)


def _generator(world: World) -> dict[str, float]:
    return {
        "slip_mean_us": world.slip_p99_us / 4.6,
        "slip_p50_us": world.slip_p99_us / 4,
        "slip_p99_us": world.slip_p99_us,
        "busy_share": world.busy_share,
        "achieved_share": world.achieved_share,
    }


def _cpu(world: World, trial: PlannedTrial, total_ns: float, generator_ns: float) -> dict[str, int]:
    """Split CPU so that the gateway has `gateway_demand` times the busiest service, and the total is as given."""
    shares = {"auth": 0.8, "user": 1.0, "course": 0.9, "exercise": 0.7, "notification": 0.4}
    if trial.mode != "direct":
        shares |= dict.fromkeys(_instances(world), world.gateway_demand / world.gateway_replicas)
    whole = sum(shares.values())
    cpu = {name: int(total_ns * share / whole) for name, share in shares.items()}
    return {**cpu, "generator": int(generator_ns)}


def _instances(world: World) -> list[str]:
    return ["gateway", "gateway-2"][: world.gateway_replicas]


def _samples(
    world: World, window: str, start: int, span: int, n: int, speed: float, rng: Any, drift: float = 1.0
) -> dict[str, list[Any]]:
    """Requests that all succeed: lognormal latencies of mean `speed` ms."""
    intended = np.sort(rng.integers(start, start + max(span, 1), n))
    slip = rng.exponential(world.slip_p99_us / 4.6, n) * 1000
    latency = speed * rng.lognormal(-0.02, 0.2, n) * MS
    latency = np.where(intended >= start + span / 2, latency * drift, latency)
    flows = _flows(world, n, rng)
    return {
        "flow": [flow["name"] for flow in flows],
        "window": [window] * n,
        "intended_ns": intended.tolist(),
        "sent_ns": (intended + slip).astype(int).tolist(),
        "done_ns": (intended + slip + latency)
        .astype(int)
        .clip(max=start + span if window == "saturation" else None)
        .tolist(),
        "outcome": ["ok"] * n,
        "status": [200] * n,
        "effect": ["met" if flow.get("effects") else "none" for flow in flows],
        "anomaly": [""] * n,
    }


def _spoil(samples: dict[str, list[Any]], world: World, rng: Any) -> None:
    for at in np.flatnonzero(rng.random(len(samples["flow"])) < world.error_share):
        samples["outcome"][at], samples["status"][at], samples["effect"][at] = "error", 500, "none"
    flows = {flow["name"] for flow in SCENARIO["flows"] if flow["origin"] == world.dropped_origin}
    for at in [at for at, flow in enumerate(samples["flow"]) if flow in flows][: world.dropped]:
        samples["outcome"][at], samples["sent_ns"][at], samples["done_ns"][at] = "dropped", -1, -1
        samples["window"][at] = world.dropped_window


def _extend(samples: dict[str, list[Any]], more: dict[str, list[Any]]) -> None:
    for name, values in more.items():
        samples[name].extend(values)


def _calls(
    world: World, trial: PlannedTrial, window: str, start: int, n: int, speed: float, rng: Any, attempts: int = 1
) -> dict[str, list[Any]]:
    begin = np.sort(rng.integers(start, start + S, n))
    return {
        "caller": ["course"] * n,
        "callee": ["user"] * n,
        "operation": ["progress/update"] * n,
        "window": [window] * n,
        "start_ns": begin.tolist(),
        "done_ns": (begin + 0.5 * speed * rng.lognormal(-0.02, 0.2, n) * MS).astype(int).tolist(),
        "attempts": [attempts] * n,
        "outcome": ["ok"] * n,
        "status": [200] * n,
        "hops": rng.choice(world.hops[trial.mode], n).tolist(),
    }


def _fault_trial(world: World, trial: PlannedTrial, noise: float, rng: Any) -> Any:
    speed = world.base_ms * factor(world.latency, world, trial) * np.exp(noise)
    span, target = 600 * MS, trial.fault.partition(":")[2]
    starts = {"warmup": 0, "before": 300 * MS, "fault": 900 * MS, "after": 1520 * MS}
    samples = _samples(world, "before", starts["before"], span, 200, speed, rng)
    faulted = _samples(world, "fault", starts["fault"], span, world.fault_requests, speed, rng)
    after = _samples(world, "after", starts["after"], span, 400, speed, rng)
    _apply(world, trial.mode, target, faulted)
    failing_over = _fail_over(world, trial.mode, samples, faulted, rng) if target == "gateway" else []
    if not world.recovers:
        _apply(world, trial.mode, target, after)
    for part in (faulted, after):
        _extend(samples, part)
    windows = [Window(name, at, at + span, 100) for name, at in starts.items()]
    events = [Event(890 * MS, "inject", target), Event(1500 * MS, "lift", target)]
    if world.observed:
        events += [Event(900 * MS, "fault_seen", target), Event(1520 * MS, "heal_seen", target)]
    calls = _calls(world, trial, "fault", starts["fault"], 50, speed, rng, attempts=2)
    record = TrialRecord(trial, "done", windows, events + failing_over, [], [], {}, _generator(world), 0.1)
    return record, samples, calls


def through_gateway(mode: str, flow: dict[str, Any]) -> bool:
    """Whether any of the flow's requests pass the gateway."""
    return mode != "direct" and (flow["origin"] == "external" or (mode == "gateway" and bool(flow.get("calls"))))


def _fail_over(world: World, mode: str, before: dict[str, list[Any]], down: dict[str, list[Any]], rng: Any) -> Any:
    """Lose what is on its way when an instance dies and a share of what comes while it is down; return the events."""
    passing = {flow["name"] for flow in SCENARIO["flows"] if through_gateway(mode, flow)}
    hit = [at for at, flow in enumerate(before["flow"]) if flow in passing]
    for at in hit[len(hit) - world.lost_at_kill :]:
        before["outcome"][at], before["effect"][at], before["done_ns"][at] = "error", "none", 891 * MS
    for at in np.flatnonzero(rng.random(len(down["flow"])) < world.lost_while_down):
        if down["flow"][at] in passing:
            down["outcome"][at], down["effect"][at] = "error", "none"
    callers = ("generator", "course") if passing else ()
    return [Event(892 * MS, "connect_failed", one) for one in callers for _ in range(world.failed_connects)]


def _apply(world: World, mode: str, target: str, samples: dict[str, list[Any]]) -> None:
    fates = {flow["name"]: world.fate(mode, target, flow) for flow in SCENARIO["flows"]}
    for at, flow in enumerate(samples["flow"]):
        outcome, effect = fates[flow]
        samples["outcome"][at], samples["effect"][at] = outcome, effect
        samples["status"][at] = 200 if outcome == "ok" else 502
        samples["anomaly"][at] = "orphan" if flow == "register" and effect == "missing" else ""
