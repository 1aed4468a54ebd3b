"""Throughput against latency: what each offered rate of the whole mix did to the 99th percentile, arm by arm."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from results.blocks import Key
from results.capacity import LoadCurve
from results.outcome import Results
from results.record import MIX
from results.reports.charts.canvas import ARM_COLOURS, ARM_LINES, ARM_MARKERS, MUTED, new_figure, to_svg

_CAPACITY = Key("capacity")


def capacity_curves(results: Results) -> str:
    """Return the curves of the mix with the objective, the capacities and the knees, or nothing without a search."""
    curves = [curve for curve in results.load_curves if curve.what == MIX]
    if not curves:
        return ""
    figure = new_figure(3.6, left=0.7)
    axes = figure.add_subplot()
    for curve in curves:
        _draw(axes, curve)
    _marks(axes, results)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda y, _: f"{y:g}" if str(f"{y:e}")[0] in "25" else ""))
    axes.tick_params(axis="y", which="minor", labelsize=8.5)
    axes.grid(which="major")
    axes.set_xlabel("offered requests a second, whole mix")
    axes.set_ylabel("p99, ms")
    return to_svg(figure, "capacity", "99th percentile of latency at each offered rate, for each arm")


def _draw(axes: Axes, curve: LoadCurve) -> None:
    look: dict[str, Any] = {"color": ARM_COLOURS.get(curve.arm, "gray"), "linestyle": ARM_LINES.get(curve.arm, "-")}
    x, y = [point.offered_per_s for point in curve.points], [point.p99_ms for point in curve.points]
    axes.plot(x, y, marker=ARM_MARKERS.get(curve.arm, "o"), markersize=4.5, linewidth=1.5, **look)
    if curve.knee is not None:
        axes.plot(x[curve.knee], y[curve.knee], "o", markersize=12, fillstyle="none", color=look["color"])


def _marks(axes: Axes, results: Results) -> None:
    if results.objective is not None:
        axes.axhline(results.objective.p99_ms, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for one in results.estimates:
        if one.key == _CAPACITY:
            axes.axvline(one.measured.point, color=ARM_COLOURS.get(one.arm, "gray"), linewidth=0.9, alpha=0.7)
