"""A platform whose gateway checks tokens and limits rates: our own gateway, with rules put on its public routes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from harness.platform import PlatformSpec
from scenarios.instances import GATEWAY as INSTANCE
from scenarios.model import Scenario
from stub_services.requests import RequestBook

GATEWAY = "builtin"
"""Whatever gateway the run has: each product does these things in another way or not at all."""


@dataclass(frozen=True)
class GuardedSpec(PlatformSpec):
    """A platform with these rules on every public route; `auth` only where all requests carry a token.

    `tokens`: public prefix -> the methods whose requests carry one.
    """

    auth: dict[str, Any] = field(default_factory=dict)
    rate_limit: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def gateway_config(self, instance: str = INSTANCE) -> str:
        """Return the plain configuration with the rules in it."""
        import yaml  # noqa: PLC0415 - as the gateway itself

        config = yaml.safe_load(super().gateway_config(instance))
        config["routes"] = [rule for route in config["routes"] for rule in self._rules(route)]
        return yaml.safe_dump(config, sort_keys=False)

    def _rules(self, route: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the route with its rules: twice where some methods carry a token and others need none."""
        if route["prefix"] not in {prefix for service in self.scenario.services for prefix in service.public}:
            return [route]
        limited = {**route, **({"rate_limit": self.rate_limit} if self.rate_limit else {})}
        methods = self.tokens.get(route["prefix"], ())
        return [*([{**limited, "methods": [*methods], "auth": self.auth}] if methods and self.auth else []), limited]


def guarded(
    spec: PlatformSpec,
    tokens: dict[str, tuple[str, ...]],
    auth: dict[str, Any],
    rate_limit: dict[str, Any] | None = None,
) -> GuardedSpec:
    """Return the platform with our own gateway and these rules."""
    plain: dict[str, Any] = {part.name: getattr(spec, part.name) for part in fields(PlatformSpec)}
    return GuardedSpec(**{**plain, "gateway": GATEWAY, "auth": auth, "rate_limit": rate_limit or {}, "tokens": tokens})


def token_methods(book: RequestBook, scenario: Scenario, learner: int) -> dict[str, tuple[str, ...]]:
    """Return public prefix -> the methods whose requests carry a bearer token."""
    found: dict[str, tuple[str, ...]] = {}
    for flow in book.flows():
        method, path, headers, _ = book.request(flow, learner)
        prefix, _ = public_prefix(path, scenario)
        if prefix and "Authorization" in dict(headers):
            found[prefix] = tuple(dict.fromkeys([*found.get(prefix, ()), method]))
    return found


def public_prefix(path: str, scenario: Scenario) -> tuple[str, str]:
    """Return the longest public prefix that holds the path, and its service; empty when there is none."""
    known = [
        (prefix, service.name)
        for service in scenario.services
        for prefix in service.public
        if path == prefix or path.startswith(f"{prefix}/")
    ]
    return max(known, key=lambda one: len(one[0]), default=("", ""))


def no_such_request(flow: str, scenario: Scenario, *, token: bool) -> str:
    """Say why this flow cannot be asked for with (or without) a token, empty when it can."""
    book = RequestBook(1, "a secret for a token that is never sent")
    if flow not in book.flows():
        return f"{flow!r} is no flow that clients start: one of {', '.join(book.flows())}"
    _, path, headers, _ = book.request(flow, 0)
    if not public_prefix(path, scenario)[0]:
        return f"{path}, the request of {flow}, is under no public prefix of the scenario"
    carries = "Authorization" in dict(headers)
    return "" if carries == token else f"the request of {flow} carries {'a' if carries else 'no'} token"
