"""A scenario: services, flows, claims and load, as frozen values checked when they are read.

Units: weights are shares of the offered rate (they need not sum to one), times carry their unit in the name.
"""

from __future__ import annotations

from collections.abc import Container
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scenarios.files import LocatedError
from scenarios.objective import Objective

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
Prefix = Annotated[str, Field(pattern=r"^/[^\s?#]*$")]
Share = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Service(_Frozen):
    """A service, the port it listens on by default, the peers it calls and the prefixes it answers."""

    name: Name
    port: Annotated[int, Field(ge=1, le=65535)]
    peers: tuple[Name, ...] = ()
    public: tuple[Prefix, ...] = ()
    internal: tuple[Prefix, ...] = ()


class Call(_Frozen):
    """An internal call that a flow makes: who is asked, and for what."""

    to: Name
    operation: str


class Flow(_Frozen):
    """Something a person or a schedule wants done, and what it cannot do without.

    `service` receives the request (external) or starts the flow by itself (internal). `needs` is D(k): the components
    without which the flow cannot do its business, by declaration, the same in every mode; the gateway is in none.
    `effects` names what must stand in the stores afterwards, exactly once.
    """

    name: Name
    origin: Literal["external", "internal"]
    service: Name
    calls: tuple[Call, ...] = ()
    needs: tuple[Name, ...]
    effects: tuple[str, ...] = ()
    weight: Annotated[float, Field(gt=0)]
    deadline_ms: Annotated[float, Field(gt=0)] = 1000.0
    says: str = ""


class Band(_Frozen):
    """The values for which a claim would be true; an open end is None."""

    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Band:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class Claim(_Frozen):
    """One statement of the decision document, frozen before the run.

    `kind` names the file in results/claims that turns it into a comparison and `reads` that kind's own parameters;
    `reading` is our interpretation in words. `not_testable` says why no experiment answers it, if none does.
    `gates` is False for statements that belong to a host and must not decide a CI job.
    """

    id: Name
    says: str
    source: str
    kind: str
    reading: str = ""
    unit: str = ""
    band: Band | None = None
    reads: dict[str, Any] = Field(default_factory=dict)
    gates: bool = True
    not_testable: str = ""


class Load(_Frozen):
    """How hard the platform is driven: latency at `utilisation` of the slowest mode's capacity."""

    arrivals: Literal["constant", "poisson"] = "poisson"
    utilisation: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    rate_per_s: Annotated[float, Field(gt=0)] | None = None
    connections: Annotated[int, Field(gt=0, le=4096)] = 64
    timeout_ms: Annotated[float, Field(gt=0)] = 1000.0
    objective: dict[Literal["bare", "realistic"], Objective] = {}

    def objective_for(self, work: str) -> Objective:
        """Return what capacity means when the services do this much work."""
        return self.objective.get(work, Objective())  # type: ignore[call-overload,no-any-return]


class Scenario(_Frozen):
    """Everything that is said before a run: nothing here depends on a mode or on a measurement.

    `experiments` names what is tried outside the load windows, each with its own parameters.
    """

    name: Name
    title: str
    services: tuple[Service, ...] = Field(min_length=1)
    gateway_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    flows: tuple[Flow, ...] = Field(min_length=1)
    claims: tuple[Claim, ...] = ()
    load: Load = Load()
    experiments: dict[Name, dict[str, Any]] = Field(default_factory=dict)

    @cached_property
    def service_names(self) -> tuple[str, ...]:
        """The services' names in order of declaration."""
        return tuple(service.name for service in self.services)

    @cached_property
    def components(self) -> tuple[str, ...]:
        """Everything that can fail: the services and the gateway."""
        return (*self.service_names, "gateway")

    def service(self, name: str) -> Service:
        """Return the service called `name`. Raises KeyError when there is none."""
        return next((s for s in self.services if s.name == name), None) or _missing(name)

    def flow(self, name: str) -> Flow:
        """Return the flow called `name`. Raises KeyError when there is none."""
        return next((f for f in self.flows if f.name == name), None) or _missing(name)

    def only(self, names: Container[str]) -> Scenario:
        """Return the scenario with these flows alone; a claim that reads one of the others is not testable then."""
        gone = {flow.name for flow in self.flows if flow.name not in names}
        claims = tuple(_without(claim, gone) for claim in self.claims)
        return self.model_copy(update={"flows": tuple(f for f in self.flows if f.name in names), "claims": claims})

    @model_validator(mode="after")
    def _coherent(self) -> Scenario:
        _check_unique("services", self.service_names)
        _check_unique("flows", [flow.name for flow in self.flows])
        _check_unique("claims", [claim.id for claim in self.claims])
        _check_peers(self)
        _check_cycles(self)
        _check_flows(self)
        _check_experiments(self)
        _check_prefixes(self)
        return self


def _without(claim: Claim, gone: set[str]) -> Claim:
    lost = sorted(value for value in claim.reads.values() if isinstance(value, str) and value in gone)
    why = f"flow {lost[0]} was left out of the run" if lost else ""
    return claim.model_copy(update={"not_testable": why}) if why and not claim.not_testable else claim


def _missing(name: str) -> Any:
    raise KeyError(name)


def _check_prefixes(scenario: Scenario) -> None:
    """An internal prefix at or below a public one would be routed with it in hybrid mode, by every gateway."""
    public = [prefix.rstrip("/") for service in scenario.services for prefix in service.public]
    for number, service in enumerate(scenario.services):
        for index, internal in enumerate(service.internal):
            above = [prefix for prefix in public if f"{internal.rstrip('/')}/".startswith(f"{prefix}/")]
            if above:
                raise LocatedError(
                    ("services", number, "internal", index),
                    f"{internal!r} is reached through the public prefix {above[0]!r}; keep internal prefixes apart",
                )


def _check_unique(where: str, names: Any) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            raise LocatedError((where, index), f"{name!r} is declared twice in {where}; each name once")
        seen.add(name)


def _check_peers(scenario: Scenario) -> None:
    known = scenario.service_names
    for index, service in enumerate(scenario.services):
        for peer in service.peers:
            if peer not in known:
                raise LocatedError(
                    ("services", index, "peers"),
                    f"{service.name} calls {peer!r}, which is no service: {_one_of(known)}",
                )


def _check_cycles(scenario: Scenario) -> None:
    """Services that call each other in a circle have no start order and no bounded depth of calls."""
    peers = {service.name: service.peers for service in scenario.services}
    for index, service in enumerate(scenario.services):
        circle = _walk_back(service.name, peers)
        if circle:
            raise LocatedError(
                ("services", index, "peers"),
                f"the services call each other in a circle: {' -> '.join(circle)}; take one of these peers away",
            )


def _walk_back(start: str, peers: dict[str, tuple[str, ...]]) -> list[str]:
    stack = [[start, peer] for peer in peers[start]]
    seen: set[str] = set()
    while stack:
        path = stack.pop()
        if path[-1] == start:
            return path
        if path[-1] not in seen:
            seen.add(path[-1])
            stack.extend([*path, peer] for peer in peers[path[-1]])
    return []


def _check_flows(scenario: Scenario) -> None:
    known = scenario.service_names
    for index, flow in enumerate(scenario.flows):
        _check_known(("flows", index, "service"), flow.name, (flow.service,), known)
        _check_known(("flows", index, "needs"), flow.name, flow.needs, known)
        for number, call in enumerate(flow.calls):
            _check_known(("flows", index, "calls", number), flow.name, (call.to,), known)
            if call.to not in scenario.service(flow.service).peers:
                raise LocatedError(
                    ("flows", index, "calls", number),
                    f"flow {flow.name} lets {flow.service} call {call.to}, which is not among its peers: "
                    f"{_one_of(scenario.service(flow.service).peers)}",
                )


def _check_experiments(scenario: Scenario) -> None:
    known = scenario.service_names
    for name, parameters in scenario.experiments.items():
        if "service" in parameters and parameters["service"] not in known:
            raise LocatedError(
                ("experiments", name, "service"),
                f"experiment {name} names {parameters['service']!r}, which is no service: {_one_of(known)}",
            )


def _check_known(where: tuple[str | int, ...], flow: str, names: Any, known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise LocatedError(where, f"flow {flow} names {name!r}, which is no service: {_one_of(known)}")


def _one_of(names: tuple[str, ...]) -> str:
    return f"one of {', '.join(names)}" if names else "it has none"
