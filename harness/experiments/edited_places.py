"""Count what has to be edited when a service moves to another port: every text that differs before and after.

A place is one process's configuration: the gateway's file, a service's environment, and the base URL that the clients
outside were given. Rendered as they are for a real start; nothing is started.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

from harness.experiments.experiment import Experiment, Parameters, spec_of, told
from harness.forkserver import ForkServer
from harness.platform import Platform, PlatformSpec
from harness.ports import free_ports
from harness.trial import TrialOutcome, TrialSettings
from results.record import PlannedTrial, Tally
from scenarios.model import Scenario
from scenarios.modes import MODES
from stub_services.settings import Settings

CLIENTS = "clients"
Texts = dict[str, list[str]]
"""Place -> the lines that configure it."""


class MovedService(Parameters):
    """The service that moves. It must call nobody: two instances of one that starts flows would start them twice."""

    service: str

    def refusal(self, scenario: Scenario) -> str:
        """Refuse a service that calls others."""
        peers = scenario.service(self.service).peers
        return f"{self.service} calls {', '.join(peers)}; name a service that calls nobody" if peers else ""


def run(trial: PlannedTrial, parameters: MovedService, settings: TrialSettings, server: ForkServer) -> TrialOutcome:
    """Render everything before and after, and count the places and lines that differ."""
    before = spec_of(trial, settings)
    after = moved(before, parameters.service)
    edits = edited(before, after, parameters.service, settings.scratch / trial.folder, server)
    return told(trial, tallies=tallies_of(parameters.service, edits))


def moved(spec: PlatformSpec, service: str) -> PlatformSpec:
    """Return the platform with this service on another free port."""
    (port,) = free_ports(1, random.Random())
    return replace(spec, ports={**spec.ports, service: port})


def edited(before: PlatformSpec, after: PlatformSpec, service: str, folder: Path, server: ForkServer) -> Texts:
    """Return place -> its lines as they stand afterwards, for every place that has to be edited; not the moved one."""
    old, new = (every_text(spec, service, folder, server) for spec in (before, after))
    changes = {place: _new_lines(old[place], new[place]) for place in new if place != service}
    return {place: lines for place, lines in changes.items() if lines}


def every_text(spec: PlatformSpec, service: str, folder: Path, server: ForkServer) -> Texts:
    """Return every place of this platform that may say where `service` is.

    The gateway is one where hops pass it: in direct mode it runs, and nobody asks it. Clients are one where there is
    something public.
    """
    platform = Platform(spec, folder, server)
    places = {name: environment_of(platform.service_settings(name)) for name in spec.scenario.service_names}
    if any("gateway" in MODES[spec.mode](origin) for origin in ("external", "internal")):
        places["gateway"] = spec.gateway_config().splitlines()
    if spec.scenario.service(service).public:
        places[CLIENTS] = [f"{service} at {', '.join(spec.base_urls(service, 'external'))}"]
    return places


def environment_of(settings: Settings) -> list[str]:
    """Return a service's settings as lines of its environment."""
    values: dict[str, object] = {field.name.upper(): getattr(settings, field.name) for field in fields(settings)}
    peers = values.pop("PEERS")
    if isinstance(peers, Mapping):
        values |= {f"{peer.upper()}_SERVICE_URL": url for peer, url in peers.items()}
    return [f"{name}={value}" for name, value in values.items()]


def _new_lines(old: list[str], new: list[str]) -> list[str]:
    return [line[2:].strip() for line in difflib.ndiff(old, new) if line.startswith("+ ")]


def tallies_of(service: str, edits: Mapping[str, list[str]]) -> list[Tally]:
    """Return how many places and how many lines differ when this service moves, with what stands there afterwards."""
    lines = [line for found in edits.values() for line in found]
    shown = "; ".join(f"{place}: {', '.join(found)}" for place, found in edits.items())
    return [
        Tally(f"edited_places:{service}", len(edits), ", ".join(edits)),
        Tally(f"edited_lines:{service}", len(lines), shown),
    ]


EXPERIMENT = Experiment("counts the places to edit when a service moves to another port", run, MovedService)
