"""The control plane: the smoke pass of every flow, the behaviour probes, and telling services about their sweeps.

Runs outside all measured windows, on a general client library.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp

from harness.errors import HarnessError
from harness.platform import Platform
from harness.schedule import Arrival
from results.record import Probe
from scenarios.model import Flow
from stub_services.effects import read_effects
from stub_services.requests import RequestBook, internal_probes
from stub_services.sweeps import read_sweeps, write_schedule

_TIMEOUT = aiohttp.ClientTimeout(total=5)
_KEY = "X-Internal-API-Key"
RESERVED = 32
"""So many learners at the end of the seeded range belong to the smoke pass and the probes."""


class SmokeError(HarnessError):
    """A flow does not work on a fresh platform, so nothing on it can be measured."""


class Sweeps(NamedTuple):
    """The internal-origin flows of one trial: for each service, what is due when (absolute monotonic ns)."""

    entries: dict[str, list[tuple[int, int]]]
    arrivals: dict[str, list[Arrival]]


def plan_sweeps(flows: Mapping[str, Flow], arrivals: Sequence[Arrival], t0_ns: int) -> Sweeps:
    """Sort the internal-origin arrivals by the service that starts them."""
    entries: dict[str, list[tuple[int, int]]] = {}
    kept: dict[str, list[Arrival]] = {}
    for arrival in arrivals:
        flow = flows[arrival.flow]
        if flow.origin == "internal":
            entries.setdefault(flow.service, []).append((arrival.at_ns + t0_ns, arrival.learner))
            kept.setdefault(flow.service, []).append(arrival)
    return Sweeps(entries, kept)


class ControlPlane:
    """Talks to one running platform. Learners from `learners - RESERVED` on are its own."""

    def __init__(self, platform: Platform, book: RequestBook, learners: int) -> None:
        self.platform = platform
        self.book = book
        self.first_reserved = learners - RESERVED
        self.past_entries: dict[str, list[tuple[int, int]]] = {}

    def smoke(self) -> None:
        """Drive every flow once and look at what it left. Raises SmokeError naming the flow."""
        asyncio.run(self._smoke())

    def probe(self) -> list[Probe]:
        """Ask every internal endpoint without the key, with it, and through the gateway."""
        return asyncio.run(self._probe())

    def schedule(self, sweeps: Sweeps) -> None:
        """Give the services their sweeps; past ones stay in front, so that numbers go on."""
        for service in {*sweeps.entries, *self.past_entries}:
            self._write(service, sweeps.entries.get(service, []))
        asyncio.run(self._announce(list(sweeps.entries)))

    def keep(self, sweeps: Sweeps) -> None:
        """Put sweeps that are over in front of whatever is scheduled next, so that numbers go on."""
        for service, entries in sweeps.entries.items():
            self.past_entries.setdefault(service, []).extend(entries)

    def offset(self, service: str) -> int:
        """Return the number that the first scheduled sweep of this service has in its log."""
        return len(self.past_entries.get(service, []))

    def _write(self, service: str, entries: list[tuple[int, int]]) -> None:
        write_schedule(self._schedule_path(service), self.past_entries.get(service, []) + entries)

    def _schedule_path(self, service: str) -> Path:
        return self.platform.folder / f"{service}.schedule"

    async def _smoke(self) -> None:
        flows = self.platform.spec.scenario.flows
        planned = [(flow, self.first_reserved + number) for number, flow in enumerate(flows)]
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            for flow, index in planned:
                if flow.origin == "external":
                    await self._smoke_external(session, flow, index)
        await self._smoke_internal([(flow, index) for flow, index in planned if flow.origin == "internal"])
        effects = read_effects(self.platform.store_dir, [(flow.name, index) for flow, index in planned])
        for (flow, _), (effect, anomaly) in zip(planned, effects, strict=True):
            if effect not in {"met", "none"}:
                raise SmokeError(f"{self._where(flow)}: answered well, but its effect is {effect} {anomaly}".rstrip())

    async def _smoke_external(self, session: aiohttp.ClientSession, flow: Flow, index: int) -> None:
        method, path, headers, body = self.book.request(flow.name, index)
        entries = self.platform.spec.base_urls(flow.service, "external")
        url = entries[index % len(entries)] + path  # one flow after the other, so that each instance sees some
        try:
            async with session.request(method, url, headers=dict(headers), data=body) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as broken:
            raise SmokeError(f"{self._where(flow)}: {method} {url}: {broken!r}") from broken
        if answer.status not in self.book.accepts(flow.name):
            raise SmokeError(f"{self._where(flow)}: {method} {url} answered {answer.status}: {text[:300]}")

    async def _smoke_internal(self, planned: Sequence[tuple[Flow, int]]) -> None:
        soon = time.monotonic_ns() + 5_000_000
        for flow, index in planned:
            self.past_entries.setdefault(flow.service, []).append((soon, index))
        for service in self.past_entries:
            self._write(service, [])
        await self._announce(list(self.past_entries))
        for flow, _ in planned:
            await self._await_sweep(flow)

    async def _await_sweep(self, flow: Flow) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            for row in read_sweeps(self.platform.log_dir / f"{flow.service}.sweeps"):
                if row.outcome == "ok":
                    return
                if row.outcome:
                    raise SmokeError(f"{self._where(flow)}: ended with {row.outcome}, status {row.status}")
            await asyncio.sleep(0.002)
        raise SmokeError(f"{self._where(flow)}: the service did not run it within 5 s")

    def _where(self, flow: Flow) -> str:
        return f"smoke pass of flow {flow.name} in {self.platform.spec.mode} mode"

    async def _announce(self, services: Sequence[str]) -> None:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            for service in services:
                url = f"http://{self.platform.spec.host}:{self.platform.spec.ports[service]}/admin/sweep"
                async with session.post(url, headers={_KEY: self.platform.spec.internal_api_key}) as answer:
                    if answer.status != 204:
                        raise SmokeError(f"{service} did not take its schedule: POST {url} answered {answer.status}")

    async def _probe(self) -> list[Probe]:
        spec = self.platform.spec
        found: list[Probe] = []
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            for probe in internal_probes():
                key = {_KEY: spec.internal_api_key}
                subject = f"{probe.method} {probe.path} at "
                for name, component, headers, where in (
                    ("internal_without_key", probe.service, {}, probe.service),
                    ("internal_with_key", probe.service, key, probe.service),
                    *(("internal_through_gateway", one, key, f"the {one}") for one in spec.gateways),
                ):
                    url = f"http://{spec.host}:{spec.ports[component]}{probe.path}"
                    status = await answer_status(session, probe.method, url, headers, probe.body)
                    found.append(Probe(name, subject + where, status))
        return found


async def answer_status(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
) -> int:
    """Return the answer's status, or 0 when there was no answer."""
    content = {"Content-Type": "application/json"} if body is not None else {}
    try:
        async with session.request(method, url, headers={**headers, **content}, data=body) as answer:
            await answer.read()
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0
