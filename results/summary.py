"""A run in a few plain rows and sentences, for the terminal and for the head of every report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from results.blast import BlastRadius
from results.blocks import Key
from results.figures import band_text, number, percent, plural, spoken
from results.host import generator_floor
from results.outcome import Comparison, Results
from results.verdict import WORDS, Word


@dataclass(frozen=True)
class VerdictRow:
    """One claim as it is shown: all text, nothing to compute."""

    claim: str
    says: str
    verdict: Word
    measured: str
    band: str
    why: str
    gates: bool


def verdict_rows(results: Results) -> list[VerdictRow]:
    """Return one row per claim, in the order of the scenario."""
    return [
        VerdictRow(
            verdict.claim.id,
            verdict.claim.says,
            verdict.finding.verdict,
            verdict.finding.text or "-",
            band_text(verdict.claim.band),
            verdict.finding.why,
            verdict.claim.gates,
        )
        for verdict in results.verdicts
    ]


def verdict_counts(results: Results) -> dict[Word, int]:
    """Return how many claims have each verdict, in the order confirmed to not testable."""
    counts = Counter(verdict.finding.verdict for verdict in results.verdicts)
    return {word: counts[word] for word in WORDS if counts[word]}


def sentences(results: Results) -> list[str]:
    """Return what a reader should know first."""
    return [*_outcomes(results), *_costs(results), *_floor(results), *_failures(results), *_entrance(results)]


def _outcomes(results: Results) -> Iterator[str]:
    for one in results.every:
        yield from _outcome(one, f"With {one.plan.gateway}, of" if results.further else "Of")
    yield from _first_look(results)
    if results.further:
        yield f"What follows is with {results.plan.gateway}; the other gateways stand beside it, figure by figure."


def _outcome(results: Results, head: str) -> Iterator[str]:
    counts = [f"{count} {word}" for word, count in verdict_counts(results).items()]
    claims, blocks = plural(len(results.verdicts), "claim"), plural(results.design.blocks, "block")
    yield f"{head} {claims}, {spoken(counts)}; the figures rest on {blocks} of every arm."
    if not results.valid:
        fatal = spoken([doubt.name for doubt in results.doubts if doubt.invalidates_run])
        yield f"The measurement as a whole is invalid ({fatal}): nothing below says anything about the system."


def _first_look(results: Results) -> Iterator[str]:
    if results.plan.profile == "quick":
        yield "This is a quick run: good for a first look, too short to decide anything that hangs on a few per cent."


def _costs(results: Results) -> Iterator[str]:
    for metric, component, words in (
        ("call_latency_mean", "", "the mean latency of an internal call"),
        ("cpu_per_request", "total", "the CPU time of a request"),
        ("capacity", "", "the capacity (the highest offered rate within the objective)"),
        ("saturation_throughput", "", "the closed-loop saturation throughput"),
    ):
        key = Key(metric, "", component)
        parts = [_ratio(one) for one in results.comparisons if one.key == key and one.numerator != "direct-null"]
        if parts:
            yield f"Set against direct calls, {words} is {spoken(parts)}."


def _floor(results: Results) -> Iterator[str]:
    floor = generator_floor(results.environment)
    if floor:
        yield floor


def _ratio(comparison: Comparison) -> str:
    at95 = comparison.measured.at95
    around = f" ({number(at95.low)} to {number(at95.high)})" if at95.low is not None else ", in one block"
    return f"{number(at95.point)}x in {comparison.numerator} mode{around}"


def _failures(results: Results) -> Iterator[str]:
    for mode in dict.fromkeys(radius.case.mode for radius in results.radii):
        classes: dict[tuple[str, str], list[str]] = {}
        for radius in results.radii:
            if radius.case.mode == mode and radius.origin == "all":
                classes.setdefault((radius.case.fault, _REACH[radius.classification]), []).append(radius.case.target)
        parts = [f"a {fault} of {_either(names)} {reach}" for (fault, reach), names in classes.items()]
        yield f"In {mode} mode {'; '.join(parts)}."


_REACH = {
    "isolated": "stays with the flows that need it",
    "partial": "reaches further than the flows that need it",
    "system-wide": "is system-wide",
    "undetermined": "is not settled",
}


def _either(names: list[str]) -> str:
    return spoken(names).replace(" and ", " or ")


def _entrance(results: Results) -> Iterator[str]:
    """Say what hybrid mode does not change: clients still enter by the gateway."""
    if results.plan.gateway_replicas > 1:
        yield f"The gateway had {results.plan.gateway_replicas} instances, and its crash is that of one of them."
        return
    found = {r.origin: r for r in results.radii if (r.case.target, r.case.mode) == ("gateway", "hybrid")}
    if "external" not in found:
        return
    external = _share(found["external"])
    yield (
        "Clients that enter by the gateway lose everything with it in hybrid mode as well"
        f" (measured here: {external} of the weight of external flows degraded);"
        " only internally started work tells gateway and hybrid mode apart."
    )
    if "internal" in found:
        yield f"Of the internally started flows, {_share(found['internal'])} of the weight degraded in hybrid mode."


def _share(radius: BlastRadius) -> str:
    low, high = percent(radius.degraded.low), percent(radius.degraded.high)
    return low if low == high else f"{low} to {high}"
