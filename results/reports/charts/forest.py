"""Forest plot: every arm over direct, with 95 % intervals, against the bands of the claims."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from results.blocks import ALL_EXTERNAL, ALL_INTERNAL, Key
from results.figures import number
from results.outcome import Comparison, Results
from results.reports.charts.canvas import ARM_COLOURS, ARM_MARKERS, BAND, INK, MUTED, new_figure, to_svg
from scenarios.model import Band, Claim

ROWS: tuple[tuple[str, Key], ...] = (
    ("internal call, mean", Key("call_latency_mean")),
    ("internal call, p95", Key("call_latency_p95")),
    ("external flows, mean", Key("flow_latency_mean", ALL_EXTERNAL)),
    ("internal flows, mean", Key("flow_latency_mean", ALL_INTERNAL)),
    ("CPU per request", Key("cpu_per_request", "", "total")),
    ("capacity", Key("capacity")),
    ("saturation throughput", Key("saturation_throughput")),
)
ORDER = ("gateway", "hybrid", "direct-null")


def forest(results: Results) -> str:
    """Return the plot, or nothing when no two arms can be compared."""
    found = {(one.key, one.numerator): one for one in results.comparisons}
    rows = [(label, key) for label, key in (*ROWS, *_flow_rows(results)) if any((key, arm) in found for arm in ORDER)]
    if not rows:
        return ""
    figure = new_figure(0.48 * len(rows) + 0.8, left=1.75, top=0.12)
    axes = figure.add_subplot()
    for at, (_, key) in enumerate(rows):
        _draw_row(axes, -at, [found[key, arm] for arm in ORDER if (key, arm) in found])
        _draw_bands(axes, -at, key, results)
    _dress(axes, [label for label, _ in rows])
    return to_svg(figure, "forest", "Ratios of each arm over direct with 95 % intervals and the bands of the claims")


def _flow_rows(results: Results) -> list[tuple[str, Key]]:
    return [(f"{flow.name}, mean", Key("flow_latency_mean", flow.name)) for flow in results.scenario.flows]


def _draw_row(axes: Axes, y: float, comparisons: list[Comparison]) -> None:
    for one in comparisons:
        draw_arm(axes, y - 0.26 * (ORDER.index(one.numerator) - 1), one)


def draw_arm(axes: Axes, at: float, one: Comparison) -> None:
    """Draw a ratio with its interval and its number at this height."""
    at95, colour = one.measured.at95, ARM_COLOURS[one.numerator]
    if at95.low is not None and at95.high is not None:
        axes.plot([at95.low, at95.high], [at, at], color=colour, linewidth=1.6, solid_capstyle="butt")
    axes.plot([at95.point], [at], ARM_MARKERS[one.numerator], color=colour, markersize=5.5)
    axes.annotate(
        f"{number(at95.point)}",
        (at95.high or at95.point, at),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        color=MUTED,
        annotation_clip=True,
    )


def _draw_bands(axes: Axes, y: float, key: Key, results: Results) -> None:
    for claim in results.scenario.claims:
        span = band_of(claim, key)
        if span is not None:
            arm, low, high = span
            at = y - 0.26 * (ORDER.index(arm) - 1)
            axes.fill_betweenx([at - 0.12, at + 0.12], low, high, color=BAND, linewidth=0, zorder=0)


def band_of(claim: Claim, key: Key) -> tuple[str, float, float] | None:
    """Return arm and ends of a ratio claim's band as a ratio over direct; an open end runs to the edge of the plot."""
    reads: dict[str, Any] = claim.reads
    if claim.kind != "ratio" or claim.band is None or _key(reads) != key:
        return None
    low, high = _closed(claim.band)
    if reads["denominator"] == "direct" and reads["numerator"] in ORDER:
        return reads["numerator"], low, high
    if reads["numerator"] == "direct" and reads["denominator"] in ORDER:
        return reads["denominator"], 1 / high, 1 / low
    return None


def _key(reads: dict[str, Any]) -> Key:
    return Key(reads.get("metric", ""), reads.get("flow", ""), reads.get("component", ""))


def _closed(band: Band) -> tuple[float, float]:
    return band.low or 0.1, 10.0 if band.high is None else band.high


def ratio_axis(axes: Axes) -> None:
    """Give the axes a logarithmic scale of ratios, from a tenth to ten at most."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(max(min(low, 0.5), 0.1), min(max(high * 1.1, 2.0), 10.0))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}x"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def _dress(axes: Axes, labels: list[str]) -> None:
    ratio_axis(axes)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.set_yticks([-at for at in range(len(labels))], labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-len(labels) + 0.45, 0.55)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("ratio over direct, logarithmic")
