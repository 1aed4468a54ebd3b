"""A gateway that checks tokens by asking a service, and one that checks them by itself: up, down, started before it.

For both ways of checking, a request with a good token goes through the gateway while the judging service is up, after
it was killed, and to a gateway that was started while it was down; and once more when the service is back.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

from harness.errors import StartError
from harness.experiments import rolling
from harness.experiments.asking import AT_GATEWAY, Question, ask, without_token
from harness.experiments.experiment import Experiment, Parameters, spec_of, told
from harness.experiments.guarded import GATEWAY, GuardedSpec, guarded, no_such_request, token_methods
from harness.forkserver import ForkServer
from harness.platform import Platform
from harness.trial import TrialOutcome, TrialSettings
from results.record import PlannedTrial, Probe
from scenarios.model import Scenario
from stub_services.requests import WireRequest

_BACK_PATIENCE_S = 1.0
_UP_PATIENCE_S = 2.0


class TokenCheck(Parameters):
    """Who judges tokens and under which path; a flow whose request carries one, and one that needs none.

    Neither flow may belong to the judging service: it is down for part of the time.
    """

    service: str
    path: str
    with_token: str
    without_token: str

    def refusal(self, scenario: Scenario) -> str:
        """Refuse flows that do not fit."""
        return no_such_request(self.with_token, scenario, token=True) or no_such_request(
            self.without_token, scenario, token=False
        )


def run(trial: PlannedTrial, parameters: TokenCheck, settings: TrialSettings, server: ForkServer) -> TrialOutcome:
    """Try both ways on one platform. Raises HarnessError when it does not come up with both up."""
    tokens = token_methods(settings.book, settings.spec.scenario, settings.learners - 1)
    plain = spec_of(trial, settings)
    ways: dict[str, dict[str, Any]] = {
        "ask": {"ask": {"upstream": parameters.service, "path": parameters.path, "timeout_s": 1}},
        "local": {"jwt": {"algorithms": ["HS256"], "secret": plain.jwt_secret}},
    }
    specs = {way: guarded(plain, tokens, auth=auth) for way, auth in ways.items()}
    folder = settings.scratch / trial.folder
    try:
        with Platform(specs["ask"], folder, server) as platform:
            probes = [probe for way, spec in specs.items() for probe in _try(way, spec, platform, parameters, settings)]
        return told(trial, probes, ready_s=platform.ready_s, used_gateway=GATEWAY)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _try(
    way: str, spec: GuardedSpec, platform: Platform, parameters: TokenCheck, settings: TrialSettings
) -> Iterator[Probe]:
    """Yield what one way of checking answers, from a gateway started afresh to the judging service being back."""
    requests = [settings.book.request(flow, settings.learners - 1) for flow in _flows(parameters)]
    token, free = requests
    platform.spec = spec
    if way != "ask":
        _restart(platform)
    yield from _asked(platform, {f"{way}_up": token, f"{way}_up_no_token": _below(without_token(token))})
    rolling.kill(platform, parameters.service)
    yield from _asked(platform, {f"{way}_down": token, f"{way}_down_no_token_needed": free})
    with contextlib.suppress(StartError):  # then nothing answers, and that is what is recorded
        _restart(platform)
    yield from _asked(platform, {f"{way}_before": token, f"{way}_before_no_token_needed": free})
    platform.start(parameters.service)
    platform.wait_ready(parameters.service)
    yield _patiently(platform, f"{way}_back", token)


def _below(request: WireRequest) -> WireRequest:
    """Return the request for something below its path that no service has: 404 unless it is refused before that."""
    method, path, headers, body = request
    return method, f"{path}/nothing-is-here", headers, body


def _flows(parameters: TokenCheck) -> tuple[str, str]:
    return parameters.with_token, parameters.without_token


def _asked(platform: Platform, requests: dict[str, WireRequest]) -> list[Probe]:
    spec = platform.spec
    base_url = f"http://{spec.host}:{spec.ports['gateway']}"
    return ask([Question(name, base_url, AT_GATEWAY, request) for name, request in requests.items()])


def _patiently(platform: Platform, name: str, request: WireRequest) -> Probe:
    """Ask until the answer is a good one, for a while at most; return the last answer."""
    deadline = time.monotonic() + _BACK_PATIENCE_S
    while True:
        (probe,) = _asked(platform, {name: request})
        if 200 <= probe.status < 300 or time.monotonic() > deadline:
            return probe
        time.sleep(0.02)


def _restart(platform: Platform) -> None:
    rolling.kill(platform, "gateway")
    platform.start("gateway")
    platform.wait_ready("gateway", _UP_PATIENCE_S)


EXPERIMENT = Experiment(
    f"asks a gateway ({GATEWAY}) that checks tokens, while the service that judges them is up, down, and not yet up",
    run,
    TokenCheck,
    modes=("gateway",),
)
