"""The record of a run: what was planned and what was seen, raw, so that everything else can be computed again.

    RUN/record/plan.json               Plan: scenario, profile, trials in the order in which they were to run
    RUN/record/environment.json        the host, the versions, the probes of the host
    RUN/record/trials/0007-.../trial.json       TrialRecord: windows, CPU, events, probes, counts
    RUN/record/trials/0007-.../samples.parquet  one row a request of a flow (SAMPLE_COLUMNS)
    RUN/record/trials/0007-.../calls.parquet    one row an internal call (CALL_COLUMNS)

The harness writes it, trial by trial; the rest of `results` reads it. A trial's folder appears whole or not at all.
All times are nanoseconds of the machine's monotonic clock, counted from the start of the trial; -1 is "never".
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

RECORD_VERSION = 1
MIX = "mix"
AT = "@"
"""Between the mode and the gateway in the name of an arm of a further gateway: gateway@nginx."""
CAPACITY_WINDOW = "capacity-"
MOVE_WINDOW = "move"

SAMPLE_COLUMNS: dict[str, str] = {
    "flow": "string",
    "window": "string",  # the window in which the request was intended to start: a name of TrialRecord.windows
    "intended_ns": "int64",
    "sent_ns": "int64",  # -1: dropped, or never started because its service was down
    "done_ns": "int64",  # -1: no answer within the timeout
    "outcome": "string",  # ok | error | timeout | dropped
    "status": "int16",  # HTTP status; 0: none
    "effect": "string",  # in the stores afterwards: met | missing | duplicate | none (the flow leaves nothing) | unread
    "anomaly": "string",  # "" | orphan | lost_update | duplicate, read from the stores
}
"""One row a planned request, external or internal origin. `ok` is an acceptable answer, whatever it left behind."""

CALL_COLUMNS: dict[str, str] = {
    "caller": "string",
    "callee": "string",
    "operation": "string",
    "window": "string",
    "start_ns": "int64",
    "done_ns": "int64",
    "attempts": "int16",
    "outcome": "string",  # ok | error | timeout | rejected (by the breaker)
    "status": "int16",
    "hops": "int16",  # connections the request passed, counted by the callee; 0: no answer that says
}
"""One row a logical call of a service to a peer, as the caller saw it (attempts and pauses included)."""


@dataclass(frozen=True)
class PlannedTrial:
    """One trial to run: which arm of which block, and at most one fault (`KIND:TARGET`)."""

    index: int
    block: int
    arm: str  # direct | direct-null | gateway | hybrid | gateway@nginx ...; for a fault trial, without the null control
    mode: str
    fault: str = ""
    search: str = ""  # capacity of what is searched for: MIX or the name of a flow; a trial has no fault then
    gateway: str = ""  # a further gateway of the run, by its name in the plan; empty: the first one
    experiment: str = ""  # what is tried outside the load windows, by its name in the scenario

    @property
    def plain_arm(self) -> str:
        """The arm without the gateway in its name."""
        return self.arm.removesuffix(AT + self.gateway) if self.gateway else self.arm

    @property
    def folder(self) -> str:
        """The name of the trial's folder."""
        fault = "-" + self.fault.replace(":", "-") if self.fault else ""
        search = f"-capacity-{self.search}" if self.search else ""
        experiment = f"-{self.experiment}" if self.experiment else ""
        return f"{self.index:04d}-b{self.block:02d}-{self.arm.replace(':', '-')}{fault}{search}{experiment}"


@dataclass(frozen=True)
class PlannedGateway:
    """One gateway of the run. `name` is NAME or NAME:POOL, as it was asked for; `config`: mode -> configuration."""

    name: str
    version: str
    pool: str  # the pool profile's name
    pool_says: str  # and what it means
    config: dict[str, str]


@dataclass(frozen=True)
class Plan:
    """Everything that was decided before the run. `scenario` is the whole scenario as data, claims included."""

    run_id: str
    scenario: dict[str, Any]
    profile: str
    seed: int
    gateway: str  # the first one
    gateway_config: dict[str, str]  # mode -> the exact configuration of the first gateway
    work: str
    policy: str
    clock_scale: float  # by which the policies' pauses and breaker times were divided
    engine: str
    started_at: str  # UTC, ISO 8601
    steady_blocks: int
    fault_blocks: int
    offered_rate_per_s: float  # of the whole mix, internal origin included
    rate_reason: str  # how that rate was found
    settings: dict[str, Any]  # window lengths, connections, timeout, cores
    trials: list[PlannedTrial]
    record_version: int = RECORD_VERSION
    gateway_replicas: int = 1  # instances: gateway, gateway-2 ...; a fault on gateway hits the first of them alone
    gateways: list[PlannedGateway] = field(default_factory=list)  # all of them, the first one first

    @property
    def every_gateway(self) -> list[PlannedGateway]:
        """The gateways; a record from before there were several knows one, which kept its connections."""
        version = str(self.settings.get("gateway_version", "unknown"))
        return self.gateways or [PlannedGateway(self.gateway, version, "kept", "", self.gateway_config)]


@dataclass(frozen=True)
class Window:
    """A stretch of a trial. Names: warmup, open, saturation; in a fault trial warmup, before, fault, after.

    `fault` begins when the fault was observed to be there and ends when lifting began. In a search trial the windows
    are capacity-01, capacity-02 ..., each at its own `offered_per_s`; void-03 is one that did not count. A trial that
    moves a service has warmup, before, move (until the old instance was stopped) and after.
    """

    name: str
    start_ns: int
    end_ns: int
    requests: int = 0  # answered in it, all flows, both origins
    cpu_ns: dict[str, int] = field(default_factory=dict)  # component -> CPU time spent in it; "generator" too
    offered_per_s: float = 0.0  # of a capacity window


@dataclass(frozen=True)
class Event:
    """Something that happened: inject, fault_seen, lift, heal_seen, first_failure, breaker_open, restart, died ...

    Of a caller that knows several addresses (component: a service, or generator for the clients outside):
    connect_failed, sent_again.
    """

    at_ns: int
    kind: str
    component: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Probe:
    """A behaviour asked for by name, outside all windows: what was sent where, and the status that came back."""

    name: str
    subject: str  # e.g. "POST /api/v1/notification/internal/send at notification"
    status: int


@dataclass(frozen=True)
class Tally:
    """Something that an experiment counted: `detail` says what was counted, for a reader who counts again."""

    name: str
    value: float
    detail: str = ""


@dataclass(frozen=True)
class RecordedDoubt:
    """Something the harness saw that may make a figure worthless. A fatal one voids its trial."""

    name: str
    fatal: bool
    value: float
    limit: float
    advice: str


@dataclass(frozen=True)
class TrialRecord:
    """What one trial left beside its samples. `state`: done, void (a fatal doubt), failed (`error` says why)."""

    trial: PlannedTrial
    state: Literal["done", "void", "failed"]
    windows: list[Window] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    doubts: list[RecordedDoubt] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)  # planned, sent, dropped, ok, error, timeout
    generator: dict[str, float] = field(default_factory=dict)  # slip_mean_us, slip_p99_us, busy_share ...
    ready_s: float = 0.0
    error: str = ""
    tallies: list[Tally] = field(default_factory=list)
    used_gateway: str = ""  # that an experiment was tried with in place of the run's own


class RecordError(Exception):
    """The folder holds no readable record; the message says what is missing or wrong."""


class RecordWriter:
    """Writes a record, a trial at a time. Raises OSError as it comes (a full disk, a missing permission)."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.trials_dir = run_dir / "record" / "trials"

    def begin(self, plan: Plan, environment: Mapping[str, Any]) -> None:
        """Write the plan and the environment; the record is readable from here on."""
        self.trials_dir.mkdir(parents=True, exist_ok=True)
        _write_json(self.run_dir / "record" / "environment.json", dict(environment))
        _write_json(self.run_dir / "record" / "plan.json", asdict(plan))

    def add(
        self, record: TrialRecord, samples: Mapping[str, Sequence[Any]], calls: Mapping[str, Sequence[Any]]
    ) -> None:
        """Write one trial: columns as in SAMPLE_COLUMNS and CALL_COLUMNS, all of equal length."""
        partial = self.trials_dir / (record.trial.folder + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            _write_table(partial / "samples.parquet", samples, SAMPLE_COLUMNS)
            _write_table(partial / "calls.parquet", calls, CALL_COLUMNS)
            _write_json(partial / "trial.json", asdict(record))
            partial.rename(self.trials_dir / record.trial.folder)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise


class RecordReader:
    """Reads a record back. Raises RecordError when the folder holds none, or one of another version."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.plan = _plan_from(_read_json(run_dir / "record" / "plan.json"))
        self.environment: dict[str, Any] = _read_json(run_dir / "record" / "environment.json")

    def trials(self) -> Iterator[TrialRecord]:
        """Yield what was written so far, in the order in which it ran."""
        for path in sorted((self.run_dir / "record" / "trials").glob("*/trial.json")):
            if not path.parent.name.endswith(".partial"):
                yield _trial_from(_read_json(path))

    def samples(self, trial: PlannedTrial) -> Any:
        """Return the trial's samples as a pyarrow.Table with SAMPLE_COLUMNS."""
        return _read_table(self.run_dir / "record" / "trials" / trial.folder / "samples.parquet")

    def calls(self, trial: PlannedTrial) -> Any:
        """Return the trial's internal calls as a pyarrow.Table with CALL_COLUMNS."""
        return _read_table(self.run_dir / "record" / "trials" / trial.folder / "calls.parquet")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        raise RecordError(f"no record in {path.parent}: {path.name} is missing") from missing
    except (OSError, ValueError) as broken:
        raise RecordError(f"{path} cannot be read: {broken}") from broken
    if not isinstance(value, dict):
        raise RecordError(f"{path} holds no object")
    return value


def _write_table(path: Path, columns: Mapping[str, Sequence[Any]], types: Mapping[str, str]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - a third of a second that only a run or a report pays
    import pyarrow.parquet as pq  # noqa: PLC0415

    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in types.items()])
    table = pa.table({name: pa.array(columns[name], schema.field(name).type) for name in types}, schema=schema)
    pq.write_table(table, path, compression="zstd")


def _read_table(path: Path) -> Any:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as broken:
        raise RecordError(f"{path} cannot be read: {broken}") from broken


def _plan_from(value: dict[str, Any]) -> Plan:
    if value.get("record_version") != RECORD_VERSION:
        raise RecordError(
            f"the record has version {value.get('record_version')}, this archbench reads version {RECORD_VERSION}"
        )
    try:
        trials = [PlannedTrial(**trial) for trial in value["trials"]]
        gateways = [PlannedGateway(**gateway) for gateway in value.get("gateways", [])]
        return Plan(**{**value, "trials": trials, "gateways": gateways})
    except (KeyError, TypeError) as broken:
        raise RecordError(f"plan.json is not a plan: {broken}") from broken


def _trial_from(value: dict[str, Any]) -> TrialRecord:
    try:
        return TrialRecord(
            **{
                **value,
                "trial": PlannedTrial(**value["trial"]),
                "windows": [Window(**window) for window in value["windows"]],
                "events": [Event(**event) for event in value["events"]],
                "probes": [Probe(**probe) for probe in value["probes"]],
                "doubts": [RecordedDoubt(**doubt) for doubt in value["doubts"]],
                "tallies": [Tally(**tally) for tally in value.get("tallies", [])],
            }
        )
    except (KeyError, TypeError) as broken:
        raise RecordError(f"trial.json is not a trial: {broken}") from broken
