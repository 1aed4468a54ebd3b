"""A platform to poke at: started with a mode and a gateway on the scenario's own ports, and kept running."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harness.cpu import usable_cores
from harness.errors import HarnessError
from harness.forkserver import ForkServer
from harness.gateways.choice import missing
from harness.platform import Platform, PlatformSpec
from harness.ports import require_free
from harness.scratch import scratch_folder
from scenarios.instances import gateway_instances
from scenarios.model import Scenario
from stub_services.requests import RequestBook
from stub_services.stores import build_template

_LEARNERS = 100
_KEY = "dev-internal-key"
_SECRET = "dev-jwt-secret-of-thirty-two-bytes-or-more"  # noqa: S105 - a platform on loopback, for its own user


@dataclass(frozen=True)
class Upped:
    """What a person needs to talk to the platform: where the flows enter, the key, and a learner's token."""

    entries: dict[str, list[str]]  # service -> base URLs that clients use in this mode, each as good as the other
    services: dict[str, str]  # service -> its own base URL
    gateways: dict[str, str]  # instance -> its base URL
    internal_api_key: str
    authorization: str
    log_dir: Path

    def describe(self, mode: str) -> str:
        """Return what to type first, as text."""
        rows = [f"  {name:<14}{' or '.join(urls)}" for name, urls in self.entries.items()]
        rows += [f"  {name:<14}{url}" for name, url in self.gateways.items()]
        profile, notify = self.entries["user"][0], self.services["notification"]
        return "\n".join(
            [
                f"The platform is up in {mode} mode. Clients reach",
                *rows,
                f"Logs: {self.log_dir}",
                "Try",
                f"  curl -H 'Authorization: {self.authorization}' {profile}/api/v1/user/profile",
                f"  curl -H 'X-Internal-API-Key: {self.internal_api_key}' -H 'Content-Type: application/json' \\",
                """    -d '{"user_id": "someone", "kind": "note", "title": "Hello", "message": "Hello."}' \\""",
                f"    {notify}/api/v1/notification/internal/send",
                "Ctrl-C stops it.",
            ]
        )


@contextlib.contextmanager
def platform_up(
    scenario: Scenario, mode: str, gateway: str, work: str, policy: str, gateway_replicas: int = 1
) -> Iterator[tuple[Upped, Callable[[], str]]]:
    """Yield the running platform and a function that waits until a component ends and says which.

    Raises PortTakenError naming the holder, or StartError.
    """
    if problem := missing([gateway]):
        raise HarnessError(problem)
    ports = _ports(scenario, gateway_replicas)
    require_free(ports)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(scratch_folder()))
        template = scratch / "template"
        template.mkdir()
        build_template(template, _LEARNERS)
        cores = usable_cores()
        spec = PlatformSpec(scenario, mode, ports, gateway, work, policy, 1.0, 1, _KEY, _SECRET, cores, template)
        spec = replace(spec, gateway_replicas=gateway_replicas)
        server = stack.enter_context(contextlib.closing(ForkServer()))
        platform = stack.enter_context(Platform(spec, scratch / "up", server))
        yield _describe(platform), lambda: _wait_for_death(platform)


def _ports(scenario: Scenario, gateway_replicas: int) -> dict[str, int]:
    """Return the scenario's own ports; further instances of the gateway get those above the highest of them."""
    ports = {service.name: service.port for service in scenario.services}
    first, *others = gateway_instances(gateway_replicas)
    ports[first] = scenario.gateway_port
    highest = max(ports.values())
    return ports | {name: highest + number for number, name in enumerate(others, 1)}


def _describe(platform: Platform) -> Upped:
    spec = platform.spec
    _, _, headers, _ = RequestBook(_LEARNERS, spec.jwt_secret).request("view_profile", 0)
    return Upped(
        entries={name: spec.base_urls(name, "external") for name in spec.scenario.service_names},
        services={name: f"http://127.0.0.1:{spec.ports[name]}" for name in spec.scenario.service_names},
        gateways={name: f"http://127.0.0.1:{spec.ports[name]}" for name in spec.gateways},
        internal_api_key=spec.internal_api_key,
        authorization=dict(headers)["Authorization"],
        log_dir=platform.log_dir,
    )


def _wait_for_death(platform: Platform) -> str:
    while True:
        for component, code in platform.died():
            tail = "\n".join(platform.last_log_lines(component))
            raise HarnessError(f"{component} ended with code {code}:\n{tail}")
        time.sleep(0.2)
