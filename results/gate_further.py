"""What a run says with its further gateways, put beside what it says with the first one, under names of their own.

A comparison's `gateway` becomes `gateway@nginx`, a claim's `latency-ratio` becomes `latency-ratio@nginx`, so that the
gate and the comparison of two runs need not know that there are several gateways.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from results.files import Data
from results.record import AT

_ABOUT_NONE = ("no gateway", "its own gateway", "not testable")
FURTHER = "further_validity"
"""The key under which widened results hold, for each further gateway, its validity."""


def with_further(one: Data, other: Data) -> tuple[Data, Data]:
    """Return both results, widened by the further gateways that both have."""
    shared = [name for name in _further(one) if name in _further(other)]
    return _widened(one, shared), _widened(other, shared)


def _further(data: Data) -> dict[str, Data]:
    return {entry["name"]: entry for entry in data.get("gateways", [])[1:]}


def _widened(data: Data, names: list[str]) -> Data:
    entries = {name: _further(data)[name] for name in names}
    needing = {claim["id"] for claim in data.get("across_gateways", []) if claim["about"] not in _ABOUT_NONE}
    return {
        **data,
        "claims": [*data["claims"], *(one for name, entry in entries.items() for one in _claims(name, entry, needing))],
        "comparisons": [
            *data["comparisons"],
            *(one for name, entry in entries.items() for one in _ratios(name, entry)),
        ],
        FURTHER: {f"the run with {name}": entry["validity"] for name, entry in entries.items()},
    }


def _claims(name: str, entry: Data, needing: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the claims that a gateway can change; the others are the first gateway's already."""
    for claim in entry["claims"]:
        if claim["id"] in needing:
            yield {**claim, "id": f"{claim['id']}{AT}{name}"}


def _ratios(name: str, entry: Data) -> Iterator[dict[str, Any]]:
    """Yield the ratios of this gateway's arms; those between arms of direct mode are the first gateway's already."""
    for one in entry["comparisons"]:
        if not one["numerator"].startswith("direct"):
            yield {**one, "numerator": f"{one['numerator']}{AT}{name}"}
