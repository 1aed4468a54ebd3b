"""Latency by percentile, on the axis of an HDR histogram: each step to the right is a nine more."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from results.outcome import Results
from results.pictures import Curve
from results.reports.charts.canvas import ARM_COLOURS, ARM_LINES, new_figure, to_svg

TICKS = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)


def percentile_curves(results: Results) -> str:
    """Return one panel for internal calls and one for external flows, or nothing without curves."""
    panels = list(dict.fromkeys(curve.what for curve in results.curves))
    if not panels:
        return ""
    figure = new_figure(3.4, left=0.7, gap=0.25)
    for at, what in enumerate(sorted(panels, reverse=True)):
        axes = figure.add_subplot(1, len(panels), at + 1)
        _panel(axes, what, [curve for curve in results.curves if curve.what == what])
    return to_svg(figure, "curves", "Latency by percentile for each arm, for internal calls and external flows")


def _panel(axes: Axes, what: str, curves: list[Curve]) -> None:
    for curve in curves:
        x = -np.log10(1 - np.asarray(curve.percentiles))
        colour, line = ARM_COLOURS.get(curve.arm, "gray"), ARM_LINES.get(curve.arm, "-")
        axes.plot(x, curve.latency_ms, color=colour, linestyle=line, linewidth=1.6)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda y, _: f"{y:g}" if str(f"{y:e}")[0] in "25" else ""))
    axes.tick_params(axis="y", which="minor", labelsize=8.5)
    right = max(-np.log10(1 - curve.percentiles[-1]) for curve in curves)
    ticks = [tick for tick in TICKS if -np.log10(1 - tick) <= right + 0.05]
    axes.set_xticks([-np.log10(1 - tick) for tick in ticks], [f"{100 * tick:g} %" for tick in ticks])
    axes.grid(which="major")
    axes.set_title(what)
    axes.set_ylabel("ms")
    axes.set_xlabel("percentile of requests")
