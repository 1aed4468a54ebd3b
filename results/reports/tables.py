"""The reports' tables as plain data: every format shows the same rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from results.blocks import ALL_EXTERNAL, ALL_INTERNAL, Key
from results.consistency import PER_OFFERED
from results.estimate import Measured
from results.failover import seconds_text
from results.figures import interval, number, percent, spoken
from results.gate_rule import MARGIN, TOLERANCE
from results.host import generator_floor
from results.impact import Case
from results.outcome import Results
from results.record import MIX, PlannedGateway
from results.summary import verdict_rows

ARMS = ("direct", "direct-null", "gateway", "hybrid")


@dataclass(frozen=True)
class Table:
    """A heading, a sentence that says how to read it, column heads and rows of text."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def table_of(title: str, note: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table of any rows."""
    return Table(title, note, tuple(head), tuple(tuple(row) for row in rows))


def verdicts(results: Results) -> Table:
    """Return the claims with their verdicts."""
    rows = [(r.claim, r.says, r.verdict, r.measured, r.band, r.why) for r in verdict_rows(results)]
    note = "Measured figures stand with their 95 % interval."
    return table_of("Verdicts", note, ("Claim", "The document says", "Verdict", "Measured", "Band", "Why"), rows)


def doubts(results: Results) -> Table:
    """Return what may be wrong with the measurement."""
    rows = [
        (d.name.replace("_", " "), "fatal" if d.fatal else "note", number(d.value), number(d.limit), d.about, d.advice)
        for d in results.doubts
    ]
    note = "A fatal doubt makes the verdicts that it is about invalid; the others are to be kept in mind."
    return table_of("Doubts", note, ("Doubt", "Weight", "Value", "Limit", "About", "What to do"), rows)


def latency(results: Results) -> Table:
    """Return latency per flow and for internal calls, by arm."""
    measured = {(one.key, one.arm): one.measured for one in results.estimates}
    flows = (ALL_EXTERNAL, ALL_INTERNAL, *(flow.name for flow in results.scenario.flows))
    keys = [(stat, Key(f"call_latency_{stat}")) for stat in ("mean", "p50", "p95", "p99")]
    keys += [(stat, Key(f"flow_latency_{stat}", flow)) for flow in flows for stat in ("mean", "p50", "p95", "p99")]
    rows = [
        (key.flow or "internal calls", stat, *(_cell(measured.get((key, arm))) for arm in ARMS))
        for stat, key in keys
        if any((key, arm) in measured for arm in ARMS)
    ]
    note = (
        "ms, open loop, mean over blocks with 95 % interval. Flows are counted from the intended start, internal calls"
        " as their caller sees them. A p95 needs 200 and a p99 1000 requests a block; below that it is not printed."
        f" {generator_floor(results.environment)}"
    )
    return table_of("Latency", note, ("What", "Figure", *ARMS), rows)


def _cell(measured: Measured | None) -> str:
    if measured is None:
        return "-"
    at95 = measured.at95
    return number(at95.point) + (f" ({interval(at95.low, at95.high)})" if at95.low is not None else " (one block)")


def other_figures(results: Results) -> Table:
    """Return throughput, CPU and rates by arm."""
    measured = {(one.key, one.arm): one.measured for one in results.estimates}
    names = (
        "capacity",
        "saturation_throughput",
        "bottleneck_demand",
        "achieved_rate",
        "goodput",
        "error_share",
        "cpu_per_request",
    )
    keys = [key for key in dict.fromkeys(one.key for one in results.estimates) if key.metric in names]
    rows = [
        (
            label_of(key),
            next(m.unit for (k, _), m in measured.items() if k == key),
            *(_cell(measured.get((key, arm))) for arm in ARMS),
        )
        for key in sorted(keys, key=lambda key: names.index(key.metric))
    ]
    note = (
        "Mean over blocks with 95 % interval. Capacity is the highest offered rate that met the objective"
        f"{_objective(results)}; saturation throughput is closed loop, external flows alone, and holds to no objective."
        " CPU is scheduler time per answered request at the open-loop rate, the generator left out, and of the gateway"
        " that of all its instances."
    )
    return table_of("Throughput and CPU", note, ("What", "Unit", *ARMS), rows)


def _objective(results: Results) -> str:
    return f" ({results.objective})" if results.objective else ""


def capacity(results: Results) -> Table:
    """Return every search: what was carried, what was not, and on how many windows that rests."""
    rows = [
        (
            one.what,
            one.arm,
            str(one.block + 1),
            number(one.low),
            number(one.high),
            "yes" if one.settled else "no",
            str(len(one.windows)),
        )
        for one in sorted(results.searches, key=lambda one: (one.what != MIX, one.what, one.arm, one.block))
    ]
    note = f"Requests offered a second. The objective: {results.objective}. What did not close does not count."
    head = ("What", "Arm", "Block", "Carried", "Not carried", "Closed", "Windows")
    return table_of("Capacity searches", note, head, rows)


def load_points(results: Results) -> Table:
    """Return the points of the throughput-latency curves."""
    rows = [
        (
            curve.what,
            curve.arm,
            *(number(value) for value in (point.offered_per_s, point.achieved_per_s)),
            *(number(value) for value in (point.mean_ms, point.p50_ms, point.p99_ms)),
            percent(point.error_share),
            str(point.requests),
            "knee" if curve.knee == at else "",
        )
        for curve in results.load_curves
        for at, point in enumerate(curve.points)
    ]
    note = (
        "All blocks pooled by rate; latency from the intended start, all flows together. The knee is where throughput"
        " over mean latency is greatest; none is marked where it may lie beyond the rates that were offered."
    )
    head = ("What", "Arm", "Offered /s", "Achieved /s", "Mean ms", "p50 ms", "p99 ms", "Failed", "Requests", "")
    return table_of("Throughput against latency", note, head, rows)


def label_of(key: Key) -> str:
    """Return what a key is about, in words."""
    about = " ".join(name for name in (key.flow, key.component) if name)
    return f"{key.metric.replace('_', ' ').replace('cpu', 'CPU')} {about}".strip()


def comparisons(results: Results) -> Table:
    """Return the ratios of every arm over direct, block by block."""
    rows = [
        (
            label_of(one.key),
            f"{one.numerator} / {one.denominator}",
            number(one.measured.point),
            interval(one.measured.at95.low, one.measured.at95.high),
            interval(one.measured.at90.low, one.measured.at90.high),
            number(one.measured.flip_p, 2),
            str(one.measured.n),
        )
        for one in results.comparisons
    ]
    note = "exp of the mean of ln(a / b) over blocks; the sign-flip test's p stands beside as a cross-check."
    return table_of("Ratios", note, ("What", "Arms", "Ratio", "95 %", "90 %", "Sign-flip p", "Blocks"), rows)


def _where(case: Case) -> tuple[str, str]:
    return (f"{case.fault} {case.target}" if case.fault else "no fault", case.mode)


def blast(results: Results) -> Table:
    """Return the blast radius of each case, with the sub-totals by origin."""
    rows = [
        (
            *_where(radius.case),
            radius.origin,
            percent(radius.inherent),
            _span(radius.measured.low, radius.measured.high),
            _span(radius.measured.low - radius.inherent, radius.measured.high - radius.inherent),
            _span(radius.degraded.low, radius.degraded.high),
            radius.classification,
        )
        for radius in results.radii
    ]
    note = (
        "Shares of the flows' weight. Inherent: flows that declare the component as needed. Measured: flows affected;"
        f" where a flow is undetermined the share stands between surely and possibly affected. {_entrance(results)}"
    )
    head = ("Fault", "Mode", "Flows", "Inherent", "Measured", "Excess", "Degraded", "Class")
    return table_of("Blast radius", note, head, rows)


def _entrance(results: Results) -> str:
    count = results.plan.gateway_replicas
    if count > 1:
        return f"A fault on the gateway hit one of its {count} instances."
    return (
        "Clients that enter by the gateway lose everything with it in hybrid mode as well; only internally started work"
        " tells the modes apart."
    )


def _span(low: float, high: float) -> str:
    return percent(low) if percent(low) == percent(high) else f"{percent(low)} to {percent(high)}"


def impact(results: Results) -> Table:
    """Return the impact of each case on each flow."""
    back = {recovery.case: recovery.flows for recovery in results.recoveries}
    rows = [
        (
            *_where(one.case),
            one.flow.name,
            one.flow.origin,
            "yes" if one.case.target in one.flow.needs else "no",
            percent(one.point),
            "no interval" if one.at95.low is None else f"{percent(one.at95.low)} to {percent(one.at95.high)}",
            percent(one.degraded_share),
            "not judged" if one.latency is None else f"{number(one.latency.point)}x",
            _seconds(back.get(one.case, {}).get(one.flow.name)),
            one.state,
        )
        for one in results.impacts
    ]
    note = (
        "Impact is the share of goodput lost against the same block's run without the fault. Degraded answers are good"
        " answers whose side effect is missing. Unaffected is shown by equivalence: the 90 % interval is below 1 point."
    )
    head = (
        "Fault",
        "Mode",
        "Flow",
        "Origin",
        "Needed",
        "Impact",
        "95 %",
        "Degraded answers",
        "p95 ratio",
        "Back after",
        "State",
    )
    return table_of("Failure impact", note, head, rows)


def _seconds(value: float | None) -> str:
    return "not seen" if value is None else f"{number(value, 2)} s"


def recovery(results: Results) -> Table:
    """Return recovery in parts."""
    rows = [
        (
            *_where(one.case),
            _seconds(one.parts.first_failure_s),
            _seconds(one.parts.breaker_open_s),
            _seconds(one.parts.half_open_s),
            _seconds(one.parts.goodput_back_s),
            f"{one.censored} of {one.trials}",
            f"{number(one.parts.watched_s, 2)} s",
            percent(one.parts.unmet_share),
        )
        for one in results.recoveries
    ]
    note = (
        "From the fault to the first failure seen and to a breaker open, from the lift to the first half-open probe and"
        " to goodput back at 0.9 of the control for 200 ms. Not seen: it did not happen while we watched."
    )
    head = (
        "Fault",
        "Mode",
        "First failure",
        "Breaker open",
        "Half-open",
        "Goodput back",
        "Not back in",
        "Watched",
        "Effects unmet",
    )
    return table_of("Recovery", note, head, rows)


def failover(results: Results) -> Table:
    """Return what it cost that one of several gateway instances died."""
    rows = [
        (
            *_where(one.case),
            str(one.crashes),
            f"{one.lost} of {one.offered}",
            number(one.per_offered),
            number(one.calm_per_offered),
            str(one.lost_after),
            seconds_text(one) if one.flows else "nothing passes",
            str(one.connects_failed),
            str(one.connects),
            str(one.sent_again),
        )
        for one in results.failovers
    ]
    note = (
        "Flows that pass the gateway. At stake: due from the kill on, or under way when it came; lost: no success."
        " Goodput back: from the kill until 0.9 of the control for 200 ms. Connects that failed were tried at the other"
        " address (clients and services); sent again: idempotent requests that had broken off. docs/failover.md"
    )
    head = (
        *("Fault", "Mode", "Crashes", "Lost of at stake", f"Per {PER_OFFERED}", "Without a crash", "After the restart"),
        *("Goodput back", "Failed connects", "Clients' connects", "Sent again"),
    )
    return table_of("What failing over cost", note, head, rows)


def consistency(results: Results) -> Table:
    """Return what was left wrong in the stores."""
    rows = [
        (
            *_where(one.case),
            *(
                number(one.rate(count))
                for count in (
                    one.orphans,
                    one.lost_updates,
                    one.duplicates,
                    one.phantom_success,
                    one.phantom_failure,
                )
            ),
            str(one.offered),
        )
        for one in results.consistency
    ]
    note = f"Per {PER_OFFERED} offered requests, counted from the injection on; read from the stores themselves."
    head = ("Fault", "Mode", "Orphans", "Lost updates", "Duplicates", "Phantom success", "Phantom failure", "Offered")
    return table_of("Consistency", note, head, rows)


def amplification(results: Results) -> Table:
    """Return retry amplification where any call was tried more than once, else one row that says so."""
    rows = [
        (*_where(one.case), one.window, f"{one.caller} to {one.callee}", number(one.ratio, 4), str(one.calls))
        for one in results.amplifications
        if one.ratio > 1
    ]
    calls = sum(one.calls for one in results.amplifications)
    policy = results.plan.policy
    note = f"Attempts over logical calls, where above 1. {calls} logical calls were looked at; policy: {policy}."
    return table_of("Retry amplification", note, ("Fault", "Mode", "Window", "Edge", "Amplification", "Calls"), rows)


def gate(results: Results) -> Table:
    """Return what the regression gate can see at this run's noise."""
    rows = [
        (
            power.metric.replace("_", " ").replace("cpu", "CPU"),
            percent(power.sd_log),
            str(power.n),
            percent(power.false_fail, 2),
            percent(power.passes),
            percent(power.caught),
        )
        for power in results.powers
    ]
    note = (
        "10 000 virtual gates of a run like this against another, at the block sd of direct against direct again"
        f" (tolerance {percent(TOLERANCE)}, margin {percent(MARGIN)}): how often the gate fails or passes where nothing"
        " changed, and the least slowdown that fails four gates in five."
    )
    head = ("Metric", "Block sd", "Blocks", "False fail", "Pass", "Slowdown caught")
    return table_of("What the regression gate can see", note, head, rows)


def readings(results: Results) -> Table:
    """Return how each claim was read."""
    rows = [
        (claim.id, claim.kind.replace("_", " "), claim.source, claim.reading or claim.not_testable, _gates(claim.gates))
        for claim in results.scenario.claims
    ]
    note = "The claims were frozen before the run; each word without a number was made measurable only by our reading."
    return table_of("Our reading of the claims", note, ("Claim", "Kind", "Source", "Our reading", "Gates CI"), rows)


def _gates(gates: bool) -> str:
    return "yes" if gates else "no"


def environment(results: Results) -> Table:
    """Return the host, the versions, the probes and the settings of the run."""
    plan = results.plan
    run = {
        "run": plan.run_id,
        "started at": plan.started_at,
        "profile": plan.profile,
        **{_gateway_label(results, one.name): gateway_says(one) for one in plan.every_gateway},
        **({"gateway instances": str(plan.gateway_replicas)} if plan.gateway_replicas > 1 else {}),
        "work": plan.work,
        "policy": f"{plan.policy} (clocks divided by {number(plan.clock_scale)})",
        "engine": plan.engine,
        "seed": str(plan.seed),
        "offered rate": f"{number(plan.offered_rate_per_s)} req/s: {plan.rate_reason}",
    }
    facts = {name: value for name, value in results.environment.items() if name != "doubts"}
    rows = [*run.items(), *_flat(facts), *_flat({"settings": plan.settings})]
    return table_of("Environment", "Absolute figures belong to this host.", ("What", "Value"), rows)


def _gateway_label(results: Results, name: str) -> str:
    return f"gateway {name}" if results.further else "gateway"


def gateway_says(gateway: PlannedGateway) -> str:
    """Return name, version and pool profile."""
    pool = f"{gateway.pool} ({gateway.pool_says})" if gateway.pool_says else gateway.pool
    return f"{gateway.name}: {gateway.version}; pool profile {pool}"


def _flat(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, dict):
            yield from _flat(value, f"{label}: ")
        elif isinstance(value, float):
            yield label, number(value, 4)
        else:
            yield label, value if isinstance(value, str) else json.dumps(value, default=str)


def left_out(results: Results) -> Table:
    """Return the trials that do not count."""
    note = f"{results.design.usable_trials} of {results.design.planned_trials} planned trials count."
    missing = results.design.planned_trials - len(results.design.order)
    note += f" {missing} were not run." if missing else ""
    return table_of("Trials left out", note, ("Trial", "Why"), results.design.left_out.items())


def arms(results: Results) -> str:
    """Return the arms in words."""
    return spoken(results.design.arms)
