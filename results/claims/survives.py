"""A flow that is said to be answered well in spite of a fault: `reads: {fault, target, flow, modes}`.

What counts is the answer, not what it left in the stores; what is missing there stands beside it.
"""

from __future__ import annotations

from pydantic import Field

from results.claims.faults import fault_tags
from results.claims.kind import Finding, Kind, ModeName, Quantity, Reads
from results.evidence import Evidence
from results.figures import band_text, interval, percent, plural, spoken
from results.impact import Case, FlowImpact
from results.proportion import share_interval
from results.verdict import Word, combine, first_more, settle_ends
from scenarios.model import Band, Claim


class SurvivesReads(Reads):
    """The fault, the flow and the modes; it must survive in each."""

    fault: str
    target: str
    flow: str
    modes: tuple[ModeName, ...] = Field(min_length=1)

    def targets(self) -> tuple[str, ...]:
        """Return the one target."""
        return (self.target,)

    def flows(self) -> tuple[str, ...]:
        """Return the one flow."""
        return (self.flow,)

    def arms(self) -> tuple[str, ...]:
        """Return the modes."""
        return self.modes

    def cases(self) -> list[Case]:
        """Return the case of each mode."""
        return [Case(self.fault, self.target, mode) for mode in self.modes]


def judge(claim: Claim, reads: SurvivesReads, evidence: Evidence) -> Finding:
    """Hold the share of good answers under the fault against the band, in each mode; the worst mode is shown."""
    found = {case.mode: _impact(case, reads.flow, evidence) for case in reads.cases()}
    band = claim.band or Band()
    words = [_word(impact, band) for impact in found.values()]
    known = [impact for impact in found.values() if impact and _offered(impact)]
    worst = min(known, key=_share, default=None)
    missing = [mode for mode, impact in found.items() if impact not in known]
    if worst is None:
        return Finding("inconclusive", f"No usable trial of {reads.fault} of {reads.target} in {spoken(missing)} mode.")
    word = combine(words)
    more = _more(known, band) if word == "inconclusive" and not missing else None
    details = tuple({"mode": i.case.mode, "answered_well": _share(i), "verdict": _word(i, band)} for i in known)
    low, high = _ends(worst, 0.95)
    measured = Quantity(_share(worst), low, high, claim.unit or "share answered well", 0.95)
    why = _why(word, worst, band, missing) + _hint(more)
    around = "" if low is None else f" ({percent(low)} to {percent(high)})"
    text = f"{percent(_share(worst))} answered well{around}, {worst.case.mode}"
    return Finding(word, why, measured, text, details, more, len(worst.counts))


def _impact(case: Case, flow: str, evidence: Evidence) -> FlowImpact | None:
    return next((impact for impact in evidence.flows(case) if impact.flow.name == flow), None)


def _blocks(impact: FlowImpact) -> list[tuple[int, int]]:
    return [(count.answered, count.offered) for count in impact.counts]


def _offered(impact: FlowImpact) -> int:
    return sum(count.offered for count in impact.counts)


def _share(impact: FlowImpact) -> float:
    return sum(count.answered for count in impact.counts) / _offered(impact)


def _ends(impact: FlowImpact, level: float, repeat: float = 1.0) -> tuple[float | None, float | None]:
    return share_interval(_blocks(impact), level, repeat) or (None, None)


def _word(impact: FlowImpact | None, band: Band, repeat: float = 1.0) -> Word:
    if impact is None:
        return "inconclusive"
    return settle_ends(_ends(impact, 0.90, repeat), _ends(impact, 0.95, repeat), band)


def _more(impacts: list[FlowImpact], band: Band) -> int | None:
    """Return how many more blocks would settle every mode, if shares stay."""
    needed = [
        first_more(len(i.counts), lambda n, i=i: _word(i, band, n / len(i.counts)) != "inconclusive")  # type: ignore[misc]
        for i in impacts
        if _word(i, band) == "inconclusive" and len(i.counts) > 1
    ]
    return max((n for n in needed if n is not None), default=None) if None not in needed else None


def _hint(more: int | None) -> str:
    return (
        f" About {plural(more, 'more fault block')} of this length would settle it if the shares stay." if more else ""
    )


def _why(word: Word, worst: FlowImpact, band: Band, missing: list[str]) -> str:
    ends = _ends(worst, 0.90 if word == "confirmed" else 0.95)
    least = f"At worst ({worst.case.mode} mode) {percent(_share(worst))} of {worst.flow.name} were answered well"
    level = "90" if word == "confirmed" else "95"
    around = " in one block, which gives no interval;" if None in ends else f" ({level} % interval {interval(*ends)});"
    around += f" the band is {band_text(band)}."
    orphans = f" {percent(worst.degraded_share)} were answered well with the side effect missing."
    gaps = f" No usable trial in {spoken(missing)} mode." if missing else ""
    return least + around + orphans + gaps


KIND = Kind(SurvivesReads, judge, lambda _claim, reads, _evidence: fault_tags(reads.cases()), needs_band=True)
