"""From claims and evidence to verdicts: what a kind finds, unless a fatal doubt stands against it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from results.claims import KINDS, ClaimProblem, Finding, Kind
from results.claims.absolute import KIND as ABSOLUTE
from results.claims.interval import MetricReads
from results.claims.kind import Reads, read
from results.doubt import CLAIM, Doubt, spoiling
from results.doubts.per_claim import null_control, slip
from results.evidence import Evidence
from results.figures import number
from results.host import fingerprint, in_round_trips
from results.loaded import Loaded
from scenarios.instances import GATEWAY
from scenarios.model import Claim, Scenario
from scenarios.modes import passes_gateway


@dataclass(frozen=True)
class Verdict:
    """A claim with what was found, the doubts that spoiled it, and for what setting it holds."""

    claim: Claim
    finding: Finding
    doubts: tuple[Doubt, ...]
    scope: dict[str, Any]


def check_claims(scenario: Scenario) -> None:
    """Raise ClaimProblem for the first claim that cannot be judged as it is written."""
    for claim in scenario.claims:
        _check(claim, scenario)


def _check(claim: Claim, scenario: Scenario) -> None:
    kind = _kind(claim)
    if claim.not_testable:
        return
    reads = read(claim, kind)
    if claim.kind == "not_testable":
        raise ClaimProblem(claim.id, "kind not_testable needs a not_testable text that says why")
    _check_names(claim, "flow", reads.flows(), tuple(flow.name for flow in scenario.flows))
    _check_names(claim, "component", reads.targets(), scenario.components)


def _check_names(claim: Claim, what: str, names: tuple[str, ...], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise ClaimProblem(claim.id, f"reads names {name!r}, which is no {what}: one of {', '.join(known)}")


def _kind(claim: Claim) -> Kind:
    if claim.kind not in KINDS:
        raise ClaimProblem(claim.id, f"unknown kind {claim.kind!r}: one of {', '.join(KINDS)}")
    return KINDS[claim.kind]


def needs_gateway(claim: Claim) -> bool:
    """Say whether a testable claim reads a mode in which something passes the gateway; yes if its kind cannot tell."""
    arms = read(claim, _kind(claim)).arms()
    return arms is None or any(passes_gateway(arm.removesuffix("-null")) for arm in arms)


def claim_doubts(loaded: Loaded, evidence: Evidence) -> tuple[Doubt, ...]:
    """Return the doubts that spoil single claims: null controls and the generator's slip, each once."""
    found = [doubt for claim in evidence.scenario.claims for doubt in _of_claim(claim, loaded, evidence)]
    return tuple(dict.fromkeys(found))


def _of_claim(claim: Claim, loaded: Loaded, evidence: Evidence) -> Iterator[Doubt]:
    kind = _kind(claim)
    reads = None if claim.not_testable else read(claim, kind)
    if not isinstance(reads, MetricReads):
        return
    yield from null_control(reads.key, evidence.blocks)
    claimed = kind.claimed_ms(claim, reads, evidence) if kind.claimed_ms else None
    if claimed is not None:
        yield from slip(claim.id, reads.key, claimed, loaded)


def judge(evidence: Evidence) -> list[Verdict]:
    """Judge every claim of the scenario. Raises ClaimProblem for a claim that cannot be read."""
    return [_verdict(claim, evidence) for claim in evidence.scenario.claims]


def _verdict(claim: Claim, evidence: Evidence) -> Verdict:
    kind = KINDS["not_testable"] if claim.not_testable else _kind(claim)
    reads = Reads() if claim.not_testable else read(claim, kind)
    finding = _half_down(kind, reads, evidence) or kind.judge(claim, reads, evidence)
    against = spoiling(evidence.doubts, kind.stands_on(claim, reads, evidence) | {CLAIM + claim.id})
    if against and finding.verdict != "not testable":
        finding = _spoiled(finding, against)
    return Verdict(claim, finding, against, _scope(kind, finding, evidence))


def _half_down(kind: Kind, reads: Reads, evidence: Evidence) -> Finding | None:
    """A claim about a gateway that is down has no experiment where one of several instances was hit."""
    count = evidence.plan.gateway_replicas
    if count < 2 or kind.of_instances or GATEWAY not in reads.targets():
        return None
    hit = f"of {count} instances the fault hit one"
    return Finding("not testable", f"It is about a gateway that is down, and {hit}: run with --gateway-replicas 1.")


def _spoiled(finding: Finding, against: tuple[Doubt, ...]) -> Finding:
    reasons = "; ".join(f"{d.name} ({number(d.value)}, limit {number(d.limit)}): {d.advice}" for d in against)
    why = f"The measurement is not to be trusted. {reasons[0].upper()}{reasons[1:]}. Otherwise: {finding.why}"
    return replace(finding, verdict="invalid", why=why, more_blocks=None)


def _scope(kind: Kind, finding: Finding, evidence: Evidence) -> dict[str, Any]:
    plan = evidence.plan
    scope: dict[str, Any] = {
        "gateway": plan.gateway,
        "gateway_replicas": plan.gateway_replicas,
        "work": plan.work,
        "policy": plan.policy,
        "clock_scale": plan.clock_scale,
        "engine": plan.engine,
        "profile": plan.profile,
        "offered_rate_per_s": plan.offered_rate_per_s,
        "blocks": finding.blocks,
        **finding.scope,
    }
    return {**scope, **_host_scope(finding, evidence)} if kind is ABSOLUTE else scope


def _host_scope(finding: Finding, evidence: Evidence) -> dict[str, Any]:
    """Return the host and the value in units of its loopback round trip: absolute figures belong to a host."""
    measured = finding.measured
    units = None
    if measured is not None and measured.point is not None:
        units = in_round_trips(measured.point, measured.unit, evidence.environment)
    host = {"host": fingerprint(evidence.environment)}
    return {**host, "in_host_units": {"value": units[0], "unit": units[1]}} if units else host
