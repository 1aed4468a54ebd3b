"""Rate limits and tokens at one place: who refuses, whom it protects, and what does not pass there.

Our own gateway limits every public route and checks tokens where all requests carry one. In direct mode nobody passes
it. Whether the gateway refuses by itself is seen with the services dead: what is still refused then, they did not see.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pydantic import Field

from harness.experiments import rolling
from harness.experiments.asking import AT_GATEWAY, Question, ask, without_token
from harness.experiments.experiment import Experiment, Parameters, spec_of, told
from harness.experiments.guarded import GATEWAY, GuardedSpec, guarded, no_such_request, public_prefix, token_methods
from harness.forkserver import ForkServer
from harness.platform import Platform
from harness.trial import TrialOutcome, TrialSettings
from results.record import PlannedTrial, Probe, Tally
from scenarios.model import Scenario
from stub_services.requests import RequestBook, WireRequest, internal_probes

_WINDOW_S = 3600  # so that nothing to speak of is earned back during the burst
_REFUSED = 401
_LIMITED = 429


class CentralLimits(Parameters):
    """Allow so many requests of a flow that needs no token, and send more."""

    flow: str
    allowed: int = Field(ge=8)  # or what else is asked would meet the limit
    sent: int

    def refusal(self, scenario: Scenario) -> str:
        """Refuse a flow that does not fit, and a burst that is none."""
        burst = "" if self.sent > self.allowed else f"sent ({self.sent}) is not above allowed ({self.allowed})"
        return burst or no_such_request(self.flow, scenario, token=False)


class _Outside(NamedTuple):
    """A request of a client outside, and where that client sends it."""

    base_url: str
    where: str
    request: WireRequest


def run(trial: PlannedTrial, parameters: CentralLimits, settings: TrialSettings, server: ForkServer) -> TrialOutcome:
    """Ask everything once in this mode. Raises HarnessError when the platform does not come up."""
    learner, plain = settings.learners - 1, spec_of(trial, settings)
    limit = {"requests": parameters.allowed, "window_s": _WINDOW_S, "burst": parameters.allowed}
    jwt = {"jwt": {"algorithms": ["HS256"], "secret": plain.jwt_secret}}
    tokens = token_methods(settings.book, plain.scenario, learner)
    spec = guarded(plain, tokens, auth=jwt, rate_limit=limit)
    folder = settings.scratch / trial.folder
    try:
        with Platform(spec, folder, server) as platform:
            probes, tallies = _try(spec, platform, parameters, settings.book, learner)
        return told(trial, probes, tallies, platform.ready_s, GATEWAY)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _try(
    spec: GuardedSpec, platform: Platform, parameters: CentralLimits, book: RequestBook, learner: int
) -> tuple[list[Probe], list[Tally]]:
    """Ask with the services up, kill them, and ask what can still be asked."""
    forger = RequestBook(learner + 1, spec.jwt_secret[::-1] + "x")
    good, bad = (list(_with_tokens(spec, of, learner)) for of in (book, forger))
    bare = [one._replace(request=without_token(one.request)) for one in good]
    burst = _burst(spec, book.request(parameters.flow, learner), parameters)
    up = ask([*_named("good_token", good), *_named("no_token", bare), *_named("bad_token", bad), *burst])
    inside = ask(_internal(spec, parameters.sent))
    rolling.kill(platform, *spec.scenario.service_names)
    asked = {"good_token": good, "no_token": bare, "bad_token": bad}
    down = ask([question for name, some in asked.items() for question in _named(f"{name}_services_down", some)])
    return [*up, *inside, *down], list(_tallies([*up, *down]))


def _named(name: str, outside: Sequence[_Outside]) -> list[Question]:
    return [Question(name, *one) for one in outside]


def _with_tokens(spec: GuardedSpec, book: RequestBook, learner: int) -> Iterator[_Outside]:
    """Yield one request of every flow that carries a token."""
    for flow in book.flows():
        request = book.request(flow, learner)
        if "Authorization" in dict(request[2]) and public_prefix(request[1], spec.scenario)[0]:
            yield _outside(spec, request)


def _outside(spec: GuardedSpec, request: WireRequest) -> _Outside:
    _, service = public_prefix(request[1], spec.scenario)
    (base_url,) = spec.base_urls(service, "external")
    at_gateway = base_url.endswith(f":{spec.ports['gateway']}")
    return _Outside(base_url, AT_GATEWAY if at_gateway else service, request)


def _burst(spec: GuardedSpec, request: WireRequest, parameters: CentralLimits) -> list[Question]:
    outside = _outside(spec, request)
    names = ["within_limit" if number < parameters.allowed else "over_limit" for number in range(parameters.sent)]
    return [Question(name, *outside) for name in names]


def _internal(spec: GuardedSpec, count: int) -> list[Question]:
    """Return as many internal calls, as services make them: to where they are sent, with the key, without a token."""
    probe = next(probe for probe in internal_probes() if probe.method == "GET")
    request: WireRequest = (probe.method, probe.path, [("X-Internal-API-Key", spec.internal_api_key)], probe.body)
    (base_url,) = spec.base_urls(probe.service, "internal")
    where = AT_GATEWAY if base_url.endswith(f":{spec.ports['gateway']}") else probe.service
    return [Question("internal_call", base_url, where, request)] * count


def _tallies(probes: Sequence[Probe]) -> Iterator[Tally]:
    """Count the processes that refuse bad tokens and those that limit rates.

    At the gateway only what it refuses with the services dead counts: before that it may have passed their answer on.
    """
    alone = [probe for probe in probes if probe.name == "bad_token_services_down"]
    direct = [probe for probe in probes if probe.name == "bad_token" and _place(probe) != AT_GATEWAY]
    refusing = _places(probe for probe in [*alone, *direct] if probe.status == _REFUSED)
    limiting = _places(probe for probe in probes if probe.name == "over_limit" and probe.status == _LIMITED)
    yield Tally("places_refusing_tokens", len(refusing), ", ".join(refusing))
    yield Tally("places_limiting_rates", len(limiting), ", ".join(limiting))


def _places(probes: Iterable[Probe]) -> list[str]:
    return list(dict.fromkeys(_place(probe) for probe in probes))


def _place(probe: Probe) -> str:
    return probe.subject.rpartition(" at ")[2]


EXPERIMENT = Experiment(
    f"sends a burst, bad tokens and internal calls to a platform whose gateway ({GATEWAY}) limits and checks",
    run,
    CentralLimits,
)
