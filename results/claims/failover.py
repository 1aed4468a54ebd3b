"""One of several gateway instances dies and the flows go on: `reads: {fault, target, modes, weight}` and a band.

Judged over the flows whose requests pass the gateway in each mode, while the instance is down; the band is of the share
of its goodput that such a flow loses. `weight` (1: every flow) is the share of those flows' weight that has to stay
inside. What failing over costs stands beside. Not testable in a run with a single instance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from results.claims.faults import blocks_behind, fault_tags
from results.claims.kind import Finding, Kind, ModeName, Quantity, Reads
from results.evidence import Evidence
from results.failover import FailoverCost, cost_text, passes_gateway
from results.figures import band_text, percent, plural, spoken
from results.impact import Case, FlowImpact, blocks_until
from results.verdict import Word, combine, settle_ends
from scenarios.instances import GATEWAY
from scenarios.model import Band, Claim, Scenario

ONE_INSTANCE = "The gateway of this run had one instance: run with --gateway-replicas 2."
_ROUNDING = 1e-9


class FailoverReads(Reads):
    """The fault on one instance, the modes, and the share of the passing flows' weight that must stay in the band."""

    fault: str
    target: Literal["gateway"] = GATEWAY  # type: ignore[assignment]
    modes: tuple[ModeName, ...] = Field(min_length=1)
    weight: float = Field(1.0, gt=0, le=1)

    def targets(self) -> tuple[str, ...]:
        """Return the one target."""
        return (self.target,)

    def cases(self, scenario: Scenario) -> list[Case]:
        """Return the cases in which a flow passes the gateway; in the other modes there is nothing to fail over."""
        modes = [mode for mode in self.modes if any(passes_gateway(flow, mode) for flow in scenario.flows)]
        return [Case(self.fault, self.target, mode) for mode in modes]


@dataclass(frozen=True)
class _Part:
    """One mode: what each passing flow lost, and what failing over cost."""

    case: Case
    impacts: tuple[FlowImpact, ...]
    words: tuple[Word, ...]
    word: Word
    cost: FailoverCost | None


def judge(claim: Claim, reads: FailoverReads, evidence: Evidence) -> Finding:
    """Confirm when enough of the passing weight is shown to stay in the band in every mode; the worst flow is shown."""
    if evidence.plan.gateway_replicas < 2:
        return Finding("not testable", ONE_INSTANCE)
    band = claim.band or Band()
    parts = [_part(case, reads, band, evidence) for case in reads.cases(evidence.scenario)]
    word = combine([part.word for part in parts])
    known = [impact for part in parts for impact in part.impacts if impact.point is not None]
    worst = max(known, key=lambda impact: impact.point or 0.0, default=None)
    more = _more(parts, band) if word == "inconclusive" else None
    details = tuple(_detail(part, evidence.scenario) for part in parts)
    found = _why(word, parts, reads.weight, band, evidence)
    why = " ".join(filter(None, (found, _hint(more), _costs(parts), *_apart(reads, evidence.scenario))))
    return Finding(word, why, _quantity(worst, claim), _text(worst), details, more, blocks_behind(known))


def _part(case: Case, reads: FailoverReads, band: Band, evidence: Evidence) -> _Part:
    impacts = tuple(one for one in evidence.flows(case) if passes_gateway(one.flow, case.mode))
    words = tuple(settle_ends((i.at90.low, i.at90.high), (i.at95.low, i.at95.high), band) for i in impacts)
    cost = next((cost for cost in evidence.failovers if cost.case == case), None)
    return _Part(case, impacts, words, _weighed(impacts, words, reads.weight), cost)


def _weighed(impacts: tuple[FlowImpact, ...], words: tuple[Word, ...], least: float) -> Word:
    if not impacts:
        return "inconclusive"
    inside, outside = (_share(impacts, words, word) for word in ("confirmed", "refuted"))
    if inside >= least - _ROUNDING:
        return "confirmed"
    return "refuted" if 1 - outside < least - _ROUNDING else "inconclusive"


def _share(impacts: tuple[FlowImpact, ...], words: tuple[Word, ...], word: str) -> float:
    total = sum(impact.flow.weight for impact in impacts)
    return sum(i.flow.weight for i, found in zip(impacts, words, strict=True) if found == word) / total


def _more(parts: list[_Part], band: Band) -> int | None:
    """Return how many more blocks would settle every open flow, if shares and spread stay."""

    def settled(at95: Any, at90: Any) -> bool:
        return settle_ends((at90.low, at90.high), (at95.low, at95.high), band) != "inconclusive"

    if not all(part.impacts for part in parts):
        return None
    pairs = [pair for part in parts for pair in zip(part.impacts, part.words, strict=True)]
    needed = [blocks_until(impact, settled) for impact, word in pairs if word == "inconclusive"]
    return None if None in needed else max((n for n in needed if n is not None), default=None)


def _hint(more: int | None) -> str:
    blocks = plural(more or 0, "more fault block")
    return f"About {blocks} of this length would settle it if the shares stay." if more else ""


def _quantity(worst: FlowImpact | None, claim: Claim) -> Quantity | None:
    if worst is None:
        return None
    return Quantity(worst.point, worst.at95.low, worst.at95.high, claim.unit or "share of goodput lost", 0.95)


def _text(worst: FlowImpact | None) -> str:
    if worst is None:
        return ""
    around = "" if worst.at95.low is None else f" ({percent(worst.at95.low)} to {percent(worst.at95.high)})"
    return f"at worst {percent(worst.point)} of a flow's goodput lost{around}, {worst.case.mode}"


def _detail(part: _Part, scenario: Scenario) -> dict[str, Any]:
    flows = [
        {"flow": i.flow.name, "impact": i.point, "low": i.at95.low, "high": i.at95.high, "high90": i.at90.high}
        | {"p95_ratio": i.latency.point if i.latency else None, "verdict": word}
        for i, word in zip(part.impacts, part.words, strict=True)
    ]
    passing = sum(flow.weight for flow in scenario.flows if passes_gateway(flow, part.case.mode))
    weight = passing / sum(flow.weight for flow in scenario.flows)
    return {"mode": part.case.mode, "verdict": part.word, "weight_passing": weight, "flows": flows, **_figures(part)}


def _figures(part: _Part) -> dict[str, Any]:
    cost = part.cost
    if cost is None:
        return {}
    return {
        "crashes": cost.crashes,
        "at_stake": cost.offered,
        "lost": cost.lost,
        "lost_per_1000": cost.per_offered,
        "lost_after_restart": cost.lost_after,
        "lost_per_1000_without_crash": cost.calm_per_offered,
        "back_in_band_s": cost.back_s,
        "not_back_in": cost.censored,
        "connects_failed": cost.connects_failed,
        "client_connects_since_crash": cost.connects,
        "sent_again": cost.sent_again,
    }


def _why(word: Word, parts: list[_Part], weight: float, band: Band, evidence: Evidence) -> str:
    down = f"With one of {evidence.plan.gateway_replicas} instances down"
    limit = band_text(band) if band.high is None else f"at most {percent(band.high)}"
    missing = [part.case.mode for part in parts if not part.impacts]
    if missing or not parts:
        return f"No usable trial with a control in its block in {spoken(missing) or 'any'} mode."
    if word == "confirmed":
        modes = spoken([part.case.mode for part in parts])
        who = "all flows that pass" if weight == 1 else f"flows of {percent(weight)} or more of the weight that passes"
        return f"{down}, {who} the gateway in {modes} mode lose {limit} of their goodput, by equivalence."
    hit = [_loss(i) for part in parts for i, w in zip(part.impacts, part.words, strict=True) if w == word]
    lead = "these lose more" if word == "refuted" else "these are not shown to lose so little"
    more = f", and {len(hit) - 3} more" if len(hit) > 3 else ""
    return f"{down}, flows that pass the gateway may lose {limit} of their goodput; {lead}: {'; '.join(hit[:3])}{more}."


def _loss(impact: FlowImpact) -> str:
    if impact.at90.high is None:
        return f"{impact.flow.name} in {impact.case.mode} mode (fewer than two blocks with a control)"
    return f"{impact.flow.name} in {impact.case.mode} mode ({percent(impact.point)}, up to {percent(impact.at90.high)})"


def _costs(parts: list[_Part]) -> str:
    shown = [cost_text(part.cost) for part in parts if part.cost is not None]
    return f"What failing over cost: {'; '.join(shown)}." if shown else ""


def _apart(reads: FailoverReads, scenario: Scenario) -> Iterator[str]:
    """Tell the modes apart: whose requests pass the gateway, and whose do not."""
    judged = {case.mode for case in reads.cases(scenario)}
    for mode in reads.modes:
        past = [flow.name for flow in scenario.flows if not passes_gateway(flow, mode)]
        if mode not in judged:
            yield f"In {mode} mode nothing passes the gateway, so there is nothing to fail over."
        elif past:
            yield f"In {mode} mode {spoken(past)} do not pass the gateway and say nothing about it."


KIND = Kind(
    FailoverReads,
    judge,
    lambda _claim, reads, evidence: fault_tags(reads.cases(evidence.scenario)),
    needs_band=True,
    of_instances=True,
)
