"""results.json: the machine-readable answer, checked against its published schema before it is written."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema

from results.across import ClaimAcross, across
from results.blast import BlastRadius
from results.capacity import CapacitySearch, RatePoint
from results.consistency import PER_OFFERED, Amplification, Consistency, nested_worst
from results.doubt import Doubt
from results.estimate import Measured
from results.figures import quantity
from results.gate_power import Power
from results.impact import Case, FlowImpact, more_fault_blocks
from results.judge import Verdict
from results.metrics import METRICS
from results.moves import Move
from results.outcome import SCHEMA_VERSION, ArmEstimate, Comparison, Results
from results.recovery import Recovery

SCHEMA_PATH = Path(__file__).parent.parent / "schema" / "results.schema.json"


def render(results: Results) -> str:
    """Return results.json as text. Raises jsonschema.ValidationError when it would break the published schema."""
    value = as_data(results)
    _validator().validate(value)
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


@lru_cache(maxsize=1)
def _validator() -> Any:
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def as_data(results: Results) -> dict[str, Any]:
    """Return the results as plain JSON values; what is not a finite number becomes null."""
    data = {
        "schema_version": SCHEMA_VERSION,
        "run": _run(results),
        "environment": dict(results.environment),
        "design": _design(results),
        **_with_one_gateway(results),
        "gate_power": [_power(power) for power in results.powers],
        "gateways": list(_gateways(results)),
        "across_gateways": [_across(claim) for claim in across(results)],
    }
    plain: dict[str, Any] = _plain(data)
    return plain


def _with_one_gateway(results: Results) -> dict[str, Any]:
    """Return everything that is measured with one gateway; at the top level that is the first one."""
    flows_back = {recovery.case: recovery for recovery in results.recoveries}
    return {
        "validity": {"valid": results.valid, "doubts": [_doubt(doubt) for doubt in results.doubts]},
        "estimates": [_estimate(one) for one in results.estimates],
        "comparisons": [_comparison(one) for one in results.comparisons],
        "claims": [_claim(verdict) for verdict in results.verdicts],
        "failure_impact": [_impact(impact, flows_back.get(impact.case)) for impact in results.impacts],
        "blast_radius": list(_radii(results.radii)),
        "recovery": [_recovery(recovery) for recovery in results.recoveries],
        "consistency": [_consistency(one) for one in results.consistency],
        "retry_amplification": list(_amplifications(results.amplifications)),
        "capacity": _capacity(results),
        "moves": [_move(move) for move in results.moves],
    }


def _gateways(results: Results) -> Iterator[dict[str, Any]]:
    """Yield one entry for each gateway, the first one included."""
    for gateway, one in zip(results.plan.every_gateway, results.every, strict=True):
        yield {
            "name": gateway.name,
            "version": gateway.version,
            "pool": gateway.pool,
            "pool_says": gateway.pool_says,
            "config": gateway.config,
            **_with_one_gateway(one),
            "over_other": [_comparison(comparison) for comparison in one.over_base],
        }


def _across(claim: ClaimAcross) -> dict[str, Any]:
    return {"id": claim.claim, "about": claim.about, "verdicts": dict(claim.verdicts)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | None) else str(value)


def _run(results: Results) -> dict[str, Any]:
    plan = results.plan
    return {
        "id": plan.run_id,
        "scenario": results.scenario.name,
        "profile": plan.profile,
        "seed": plan.seed,
        "gateway": plan.gateway,
        "gateway_replicas": plan.gateway_replicas,
        "work": plan.work,
        "policy": plan.policy,
        "clock_scale": plan.clock_scale,
        "engine": plan.engine,
        "offered_rate_per_s": plan.offered_rate_per_s,
        "rate_reason": plan.rate_reason,
        "started_at": plan.started_at,
        "duration_s": results.duration_s,
    }


def _design(results: Results) -> dict[str, Any]:
    design = results.design
    return {
        "arms": design.arms,
        "blocks": design.blocks,
        "fault_blocks": design.fault_blocks,
        "order": design.order,
        "planned_trials": design.planned_trials,
        "usable_trials": design.usable_trials,
        "left_out": dict(design.left_out),
    }


def _doubt(doubt: Doubt) -> dict[str, Any]:
    return {
        "name": doubt.name,
        "fatal": doubt.fatal,
        "value": doubt.value,
        "limit": doubt.limit,
        "advice": doubt.advice,
        "about": doubt.about,
    }


def _estimate(one: ArmEstimate) -> dict[str, Any]:
    at95, at90 = one.measured.at95, one.measured.at90
    return {
        "metric": one.key.metric,
        "flow": one.key.flow,
        "component": one.key.component,
        "mode": one.arm,
        "point": at95.point,
        "low": at95.low,
        "high": at95.high,
        "level": at95.level,
        "low90": at90.low,
        "high90": at90.high,
        "n": at95.n,
        "unit": at95.unit,
        "method": at95.method,
    }


def _comparison(one: Comparison) -> dict[str, Any]:
    measured: Measured = one.measured
    return {
        "metric": one.key.metric,
        "flow": one.key.flow,
        "component": one.key.component,
        "numerator": one.numerator,
        "denominator": one.denominator,
        "ratio": measured.point,
        "low": measured.at95.low,
        "high": measured.at95.high,
        "level": measured.at95.level,
        "low90": measured.at90.low,
        "high90": measured.at90.high,
        "n": measured.n,
        "sd_log": measured.sd,
        "sign_flip_p": measured.flip_p,
        "method": measured.at95.method,
        "worse": METRICS[one.key.metric].worse,
        "gated": one.gated,
    }


def _claim(verdict: Verdict) -> dict[str, Any]:
    claim, finding = verdict.claim, verdict.finding
    measured = finding.measured
    return {
        "id": claim.id,
        "says": claim.says,
        "source": claim.source,
        "kind": claim.kind,
        "reading": claim.reading,
        "gates": claim.gates,
        "verdict": finding.verdict,
        "measured": {
            "point": measured.point if measured else None,
            "low": measured.low if measured else None,
            "high": measured.high if measured else None,
            "unit": measured.unit if measured else claim.unit,
            "level": measured.level if measured else None,
        },
        "measured_text": finding.text,
        "band": {"low": claim.band.low, "high": claim.band.high} if claim.band else {"low": None, "high": None},
        "scope": verdict.scope,
        "why": finding.why,
        "details": finding.details,
        "more_blocks": finding.more_blocks,
        "doubts": [doubt.name for doubt in verdict.doubts],
    }


def _case(case: Case) -> dict[str, Any]:
    return {"fault": case.fault, "target": case.target, "mode": case.mode}


def _impact(impact: FlowImpact, recovery: Recovery | None) -> dict[str, Any]:
    latency = impact.latency
    return {
        **_case(impact.case),
        "flow": impact.flow.name,
        "origin": impact.flow.origin,
        "needed": impact.case.target in impact.flow.needs,
        "impact": impact.point,
        "low": impact.at95.low,
        "high": impact.at95.high,
        "level": 0.95,
        "low90": impact.at90.low,
        "high90": impact.at90.high,
        "n": len(impact.counts),
        "offered": sum(count.offered for count in impact.counts),
        "succeeded": sum(count.success for count in impact.counts),
        "control_offered": sum(count.control_offered for count in impact.counts),
        "control_succeeded": sum(count.control_success for count in impact.counts),
        "degraded_share": impact.degraded_share,
        "recover_s": recovery.flows.get(impact.flow.name) if recovery else None,
        "recover_censored": recovery is not None and recovery.flows.get(impact.flow.name) is None,
        "latency_judged": latency is not None,
        "latency_ratio": latency.point if latency else None,
        "latency_low": latency.at95.low if latency else None,
        "latency_high": latency.at95.high if latency else None,
        "state": impact.state,
        "more_blocks": more_fault_blocks(impact),
    }


def _radii(radii: tuple[BlastRadius, ...]) -> Iterator[dict[str, Any]]:
    """Yield one row per case: over all flows, with the sub-totals of both origins beside."""
    for radius in radii:
        if radius.origin == "all":
            parts = [part for part in radii if part.case == radius.case and part.origin != "all"]
            yield {**_case(radius.case), **_radius(radius), **{part.origin: _radius(part) for part in parts}}


def _radius(radius: BlastRadius) -> dict[str, Any]:
    return {
        "inherent": radius.inherent,
        "measured": radius.measured.low,
        "measured_high": radius.measured.high,
        "excess": radius.measured.low - radius.inherent,
        "excess_high": radius.measured.high - radius.inherent,
        "degraded": radius.degraded.low,
        "degraded_high": radius.degraded.high,
        "classification": radius.classification,
        "possible": radius.possible,
    }


def _recovery(recovery: Recovery) -> dict[str, Any]:
    parts = recovery.parts
    return {
        **_case(recovery.case),
        "trials": recovery.trials,
        "first_failure_s": parts.first_failure_s,
        "breaker_open_s": parts.breaker_open_s,
        "half_open_s": parts.half_open_s,
        "breaker_closed_s": parts.breaker_closed_s,
        "goodput_back_s": parts.goodput_back_s,
        "censored": recovery.censored,
        "watched_s": parts.watched_s,
        "unmet_share": parts.unmet_share,
    }


def _consistency(one: Consistency) -> dict[str, Any]:
    names = ("orphans", "lost_updates", "duplicates", "phantom_success", "phantom_failure")
    rates = {name: one.rate(getattr(one, name)) for name in names}
    return {**_case(one.case), **rates, "per_offered": PER_OFFERED, "offered": one.offered}


def _amplifications(amplifications: tuple[Amplification, ...]) -> Iterator[dict[str, Any]]:
    groups: dict[tuple[Case, str], list[Amplification]] = {}
    for one in amplifications:
        groups.setdefault((one.case, one.window), []).append(one)
    for (case, window), edges in groups.items():
        worst = nested_worst({(edge.caller, edge.callee): edge.ratio for edge in edges})
        rows = [{"caller": e.caller, "callee": e.callee, "calls": e.calls, "ratio": e.ratio} for e in edges]
        yield {**_case(case), "window": window, "edges": rows, "nested_worst": worst}


def _capacity(results: Results) -> dict[str, Any]:
    return {
        "objective": results.objective.model_dump() if results.objective else None,
        "searches": [_search(search) for search in results.searches],
        "curves": [
            {
                "of": curve.what,
                "mode": curve.arm,
                "knee": None if curve.knee is None else curve.points[curve.knee].offered_per_s,
                "points": [_rate_point(point) for point in curve.points],
            }
            for curve in results.load_curves
        ],
    }


def _search(search: CapacitySearch) -> dict[str, Any]:
    return {
        "of": search.what,
        "mode": search.arm,
        "block": search.block,
        "low": search.low,
        "high": search.high,
        "settled": search.settled,
        "windows": [{**_rate_point(window.point), "met": window.met} for window in search.windows],
    }


def _rate_point(point: RatePoint) -> dict[str, Any]:
    return {
        "offered_rate": point.offered_per_s,
        "achieved_rate": point.achieved_per_s,
        "mean_ms": point.mean_ms,
        "p50_ms": point.p50_ms,
        "p99_ms": point.p99_ms,
        "error_share": point.error_share,
        "requests": point.requests,
    }


def _move(move: Move) -> dict[str, Any]:
    return {
        "mode": move.mode,
        "service": move.service,
        "trials": move.trials,
        "offered": move.offered,
        "lost": move.lost,
        "lost_per_1000": move.per_1000,
        "longest_gap_ms": move.gap_ms,
        "took_ms": move.took_ms,
        "steps": move.steps,
    }


def _power(power: Power) -> dict[str, Any]:
    return {
        "metric": power.metric,
        "sd_log": power.sd_log,
        "n": power.n,
        "false_fail": power.false_fail,
        "pass": power.passes,
        "slowdown_caught": power.caught,
        "says": f"{quantity(100 * power.caught, None, None, '%')} slower fails four gates in five at this noise",
    }
