"""Shared by the kinds that hold a measured interval against a band."""

from __future__ import annotations

from pydantic import model_validator

from results.blocks import ALL_EXTERNAL, ALL_INTERNAL, Key
from results.claims.kind import Finding, MetricName, Quantity, Reads
from results.doubt import COMPARISON, LOAD, METRIC, RECORD
from results.estimate import Measured
from results.evidence import Evidence
from results.figures import band_text, interval, number, plural, quantity, with_unit
from results.metrics import METRICS
from results.verdict import Word, ends, more_blocks, settle
from scenarios.model import Band, Claim

LEAST_BLOCKS = 8
"""Outside the quick profile no verdict rests on fewer blocks."""


class MetricReads(Reads):
    """A metric, where it applies with the flow and the component it is about."""

    metric: MetricName
    flow: str = ""
    component: str = ""

    @model_validator(mode="after")
    def _has_flow(self) -> MetricReads:
        if self.metric.startswith(("flow_", "service_", "slip_")) and not self.flow:
            raise ValueError(f"{self.metric} needs a flow: a flow's name, {ALL_EXTERNAL!r} or {ALL_INTERNAL!r}")
        return self

    @property
    def key(self) -> Key:
        """The key under which the blocks hold it."""
        return Key(self.metric, self.flow, self.component)

    @property
    def about(self) -> str:
        """The flow and the component in words, where they are named."""
        return "".join(f" of {name}" for name in (self.flow, self.component) if name not in ("", "total"))

    def flows(self) -> tuple[str, ...]:
        """Return the flow if one is named and is not one of the two sums."""
        return () if self.flow in ("", ALL_EXTERNAL, ALL_INTERNAL) else (self.flow,)


def tags(reads: MetricReads, *, compares: bool) -> frozenset[str]:
    """Return what a verdict on this metric stands on."""
    comparison = {COMPARISON + "/".join(reads.key)} if compares else set()
    return frozenset({RECORD, LOAD, METRIC + reads.metric, *comparison})


def in_ms(reads: MetricReads) -> bool:
    """Say whether the metric is a latency."""
    return METRICS[reads.metric].unit == "ms"


def nearest_end(band: Band | None, origin: float) -> float | None:
    """Return how far the band is from `origin`; None when it holds `origin`, so that no difference is claimed."""
    low, high = (band.low, band.high) if band else (None, None)
    if low is not None and low > origin:
        return low - origin
    return origin - high if high is not None and high < origin else None


def judge_measured(measured: Measured | None, claim: Claim, what: str, missing: str, evidence: Evidence) -> Finding:
    """Judge an estimate by the claim's band; `what` names it in the sentence, `missing` says why it is None."""
    if measured is None:
        return Finding("inconclusive", f"Nothing was measured: {missing}.")
    band = claim.band or Band()
    word, hint = _word(measured, band, evidence)
    at95 = measured.at95
    found = Quantity(at95.point, at95.low, at95.high, at95.unit, at95.level)
    text = quantity(at95.point, at95.low, at95.high, at95.unit)
    more = more_blocks(measured, band) if word == "inconclusive" else None
    return Finding(word, _why(word, what, measured, band) + hint, found, text, (), more, measured.n)


def _word(measured: Measured, band: Band, evidence: Evidence) -> tuple[Word, str]:
    word = settle(measured, band)
    if word != "inconclusive" and evidence.plan.profile != "quick" and measured.n < LEAST_BLOCKS:
        return "inconclusive", (
            f" It would be {word}, but outside the quick profile no verdict rests on fewer than {LEAST_BLOCKS} blocks"
            f" and this run has {measured.n}."
        )
    return word, _hint(measured, band) if word == "inconclusive" else ""


def _why(word: Word, what: str, measured: Measured, band: Band) -> str:
    figure = f"{what} is {with_unit(number(measured.point), measured.unit)}"
    figure = figure[0].upper() + figure[1:]
    if measured.at95.low is None:
        return f"{figure} in one block, which gives no interval."
    if word == "confirmed":
        return f"{figure} (90 % interval {interval(*ends(measured.at90))}), inside the band of {band_text(band)}."
    reached = f"{figure} (95 % interval {interval(*ends(measured.at95))})"
    if word == "refuted":
        return f"{reached}, {side(measured.point, band)} the band of {band_text(band)}."
    return f"{reached}; the band is {band_text(band)}."


def side(point: float, band: Band) -> str:
    """Say on which side of the band a point lies."""
    return "below" if band.low is not None and point < band.low else "above"


def _hint(measured: Measured, band: Band) -> str:
    more = more_blocks(measured, band)
    if measured.sd is None:
        return " At least two blocks are needed for a verdict."
    if more is None:
        return " The figure lies so close to an end of the band that more blocks alone would not settle it."
    return f" About {plural(more, 'more block')} would settle it if the figure stays."
