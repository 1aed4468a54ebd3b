"""The order of a report: which tables stand under which heading. Charts are added by the page that can show them."""

from __future__ import annotations

from dataclasses import dataclass

from results.outcome import Results
from results.reports import experiments, tables
from results.reports.tables import Table


@dataclass(frozen=True)
class Section:
    """A heading, the charts (by name) and the tables under it; `long` tables are folded where that is possible."""

    id: str
    title: str
    charts: tuple[str, ...]
    tables: tuple[Table, ...]
    long: tuple[Table, ...] = ()


def sections(results: Results) -> list[Section]:
    """Return the report's sections after the verdicts and the summary."""
    return [
        Section("validity", "Validity", (), (tables.doubts(results), tables.left_out(results))),
        Section("ratios", "Direct against the rest", ("forest",), (), (tables.comparisons(results),)),
        Section("latency", "Latency", ("curves",), (), (tables.latency(results),)),
        Section(
            "cpu",
            "Throughput and CPU",
            ("capacity", "cpu"),
            (tables.other_figures(results),),
            (tables.capacity(results), tables.load_points(results)),
        ),
        Section(
            "failure",
            "Failure",
            ("crash", "crashes"),
            (tables.blast(results),),
            (*_failover(results), tables.impact(results), tables.recovery(results)),
        ),
        Section(
            "consistency",
            "Consistency and retries",
            (),
            (tables.consistency(results), tables.amplification(results)),
        ),
        Section("experiments", "Experiments", (), (experiments.moves(results),), (experiments.asked(results),)),
        Section("method", "Method", (), (tables.readings(results), tables.gate(results))),
        Section("environment", "Environment", (), (), (tables.environment(results),)),
    ]


def _failover(results: Results) -> tuple[Table, ...]:
    return (tables.failover(results),) if results.failovers else ()


def with_gateway(results: Results) -> list[Table]:
    """Return the tables of one further gateway: what the sections hold of figures, without charts."""
    shown = {"validity", "ratios", "latency", "cpu", "failure", "consistency"}
    return [table for one in sections(results) if one.id in shown for table in (*one.tables, *one.long)]


def reproduce(results: Results) -> str:
    """Return the command that runs the same plan again."""
    plan = results.plan
    gateways = " ".join(f"--gateway {gateway.name}" for gateway in plan.every_gateway) + _replicas(results)
    return (
        f"archbench run {results.scenario.name} --profile {plan.profile} {gateways} --work {plan.work}"
        f" --policy {plan.policy} --engine {plan.engine} --seed {plan.seed}{_objective(results)}"
    )


def _replicas(results: Results) -> str:
    count = results.plan.gateway_replicas
    return f" --gateway-replicas {count}" if count > 1 else ""


def _objective(results: Results) -> str:
    """Return the options for an objective that is not the scenario's own."""
    objective = results.objective
    if objective is None or objective == results.scenario.load.objective_for(results.plan.work):
        return ""
    return f" --objective-p99-ms {objective.p99_ms:g} --objective-error-share {objective.error_share:g}"
