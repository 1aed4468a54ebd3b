"""From planned arrivals to what a load engine is given: every request rendered before anything is timed."""

from __future__ import annotations

from collections.abc import Sequence

from gateway_proxy.http1 import render_request
from harness.engines.job import ClosedLoop, Request, Schedule
from harness.platform import PlatformSpec
from harness.schedule import Arrival
from harness.timeline import Timeline
from stub_services.requests import RequestBook


class Renderer:
    """Turns arrivals into rendered requests for the targets of one platform, before anything is timed."""

    def __init__(self, book: RequestBook, spec: PlatformSpec) -> None:
        self.book = book
        self.targets: list[tuple[str, int]] = []
        self.alternatives: list[list[tuple[str, int]]] = []  # of each target; empty where none has any
        self._target_of: dict[str, tuple[int, str]] = {}
        for flow in spec.scenario.flows:
            self._add(flow.name, [_address(url) for url in spec.base_urls(flow.service, "external")])
        if not any(self.alternatives):
            self.alternatives = []

    def _add(self, flow: str, addresses: list[tuple[str, int]]) -> None:
        """Requests name the first address as their Host, whichever of the addresses they go to."""
        (host, port), *others = addresses
        if (host, port) not in self.targets:
            self.targets.append((host, port))
            self.alternatives.append(others)
        self._target_of[flow] = (self.targets.index((host, port)), f"{host}:{port}")

    def request(self, arrival: Arrival) -> Request:
        """Return the request of one arrival."""
        method, path, headers, body = self.book.request(arrival.flow, arrival.learner)
        target, host = self._target_of[arrival.flow]
        payload = render_request(method, path, host, headers, body)
        return Request(target, payload, self.book.accepts(arrival.flow))

    def schedule(self, arrivals: Sequence[Arrival]) -> Schedule:
        """Return the open loop over these arrivals."""
        return Schedule.of((arrival.at_ns, self.request(arrival)) for arrival in arrivals)

    def closed_loop(self, arrivals: Sequence[Arrival], connections: int, timeline: Timeline) -> ClosedLoop | None:
        """Return the closed loop over these requests, or None when there are none."""
        if not arrivals:
            return None
        requests = [self.request(arrival) for arrival in arrivals]
        return ClosedLoop(requests, connections, timeline.closed_start_ns, timeline.end_ns)


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)
