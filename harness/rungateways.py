"""The gateways of one run: refused when they make no sense together, and written down for the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.errors import BadInputError
from harness.gateways.choice import chosen
from harness.platform import PlatformSpec
from results.record import PlannedGateway
from scenarios.modes import passes_gateway


def refuse_senseless(choices: Sequence[str], modes: Sequence[str]) -> None:
    """Raise BadInputError for a gateway that is named twice, and for several where no mode passes one."""
    twice = next((choice for at, choice in enumerate(choices) if choice in choices[:at]), None)
    if twice:
        raise BadInputError(f"--gateway {twice} was given twice; each gateway is one arm of the run")
    if len(choices) > 1 and not any(map(passes_gateway, modes)):
        raise BadInputError(f"in {' and '.join(modes)} mode nothing passes a gateway, so that several are of no use")


def planned_gateways(choices: Sequence[str], spec: PlatformSpec, modes: Sequence[str]) -> list[PlannedGateway]:
    """Return version, pool profile and exact configuration of each; a further one is run where it is passed."""
    return [_planned(choice, spec, modes if at == 0 else _passing(modes)) for at, choice in enumerate(choices)]


def _passing(modes: Sequence[str]) -> list[str]:
    return [mode for mode in modes if passes_gateway(mode)]


def _planned(choice: str, spec: PlatformSpec, modes: Sequence[str]) -> PlannedGateway:
    product, pool = chosen(choice)
    configs = {mode: replace(spec, gateway=choice, mode=mode).gateway_config() for mode in modes}
    return PlannedGateway(choice, product.version(), pool.name, pool.says, configs)
