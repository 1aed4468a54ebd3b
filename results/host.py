"""The host as the record describes it: a fingerprint for absolute claims, and its probes as units of measure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from results.figures import number

IDENTITY = ("host", "cpu", "cpu_model", "cores", "os", "kernel", "python")


def fingerprint(environment: Mapping[str, Any]) -> str:
    """Return what identifies the host in words and a short digest of it; `unknown host` when nothing is recorded."""
    known = {name: environment[name] for name in IDENTITY if environment.get(name) not in (None, "")}
    if not known:
        return "unknown host"
    recorded = environment.get("fingerprint")
    digest = recorded or hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:8]
    words = [f"{known[name]} cores" if name == "cores" else str(known[name]) for name in known]
    return f"{', '.join(words)} [{digest}]"


def probe(environment: Mapping[str, Any], name: str) -> float | None:
    """Return a probe of the host (`loopback_rtt_us`, `cpu_loop_ms`); None when it was not taken."""
    probes = environment.get("probes")
    value = probes.get(name) if isinstance(probes, Mapping) else None
    return float(value) if isinstance(value, int | float) and value > 0 else None


def in_round_trips(value: float, unit: str, environment: Mapping[str, Any]) -> tuple[float, str] | None:
    """Express ms, us or req/s by the host's loopback round trip; None when there is no probe or no such reading."""
    rtt_us = probe(environment, "loopback_rtt_us")
    if rtt_us is None:
        return None
    if unit == "req/s":
        return value * rtt_us / 1e6, "requests per loopback round trip"
    scale = {"ms": 1000.0, "us": 1.0}.get(unit)
    return None if scale is None else (value * scale / rtt_us, "loopback round trips")


def generator_floor(environment: Mapping[str, Any]) -> str:
    """Return in words what the load generator measures against a target that does nothing; empty if not recorded."""
    floor = environment.get("generator_floor")
    if not isinstance(floor, Mapping):
        return ""
    p50, p99 = (number(float(floor[name]) / 1e3) for name in ("p50_us", "p99_us"))
    return (
        f"Against a target that does nothing, at {number(float(floor['rate_per_s']))} requests a second, the load"
        f" generator itself measures a p50 of {p50} ms and a p99 of {p99} ms."
    )
