"""What a crash does over time: goodput around the injection, external and internal flows apart."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from results.outcome import Results
from results.pictures import BIN_S, Timeline
from results.reports.charts.canvas import ARM_COLOURS, BAND, INK, MUTED, new_figure, to_svg


def crash_timeline(results: Results, target: str) -> str:
    """Return one panel a mode for the crash of one component, or nothing when it was not measured."""
    modes = _modes(results, target)
    if not modes:
        return ""
    figure = new_figure(1.5 * len(modes) + 0.6, left=0.7)
    panels = figure.subplots(len(modes), 1, sharex=True, squeeze=False)[:, 0]
    for axes, mode in zip(panels, modes, strict=True):
        _panel(axes, mode, [line for line in results.timelines if (line.case.target, line.case.mode) == (target, mode)])
        axes.set_ylabel("goodput")
        axes.set_title(f"{mode} mode")
    panels[-1].set_xlabel(f"seconds since the {target} was killed")
    return to_svg(figure, f"crash-{target}", f"Goodput over offered load around a crash of {target}, by mode")


def small_multiples(results: Results, targets: list[str]) -> str:
    """Return a grid of components by modes, or nothing when none was measured."""
    shown = [target for target in targets if _modes(results, target)]
    modes = list(dict.fromkeys(mode for target in shown for mode in _modes(results, target)))
    if not shown:
        return ""
    figure = new_figure(1.0 * len(shown) + 0.6, left=0.7, bottom=0.35, gap=0.12)
    grid = figure.subplots(len(shown), len(modes), sharex=True, sharey=True, squeeze=False)
    for row, target in enumerate(shown):
        for column, mode in enumerate(modes):
            lines = [line for line in results.timelines if (line.case.target, line.case.mode) == (target, mode)]
            _panel(grid[row, column], mode, lines)
            if row == 0:
                grid[row, column].set_title(mode)
        grid[row, 0].set_ylabel(target)
    return to_svg(figure, "crashes", "Goodput over offered load around the crash of each service, by mode")


def _modes(results: Results, target: str) -> list[str]:
    return list(dict.fromkeys(line.case.mode for line in results.timelines if line.case.target == target))


def _panel(axes: Axes, mode: str, lines: list[Timeline]) -> None:
    colours = {"external": ARM_COLOURS.get(mode, INK), "internal": INK}
    for line in lines:
        starts = np.asarray(line.start_s)
        goodput = np.array([math.nan if share is None else share for share in line.goodput])
        dashes = "-" if line.origin == "external" else (0, (4, 2))
        axes.step(starts + BIN_S, goodput, where="pre", color=colours[line.origin], linestyle=dashes, linewidth=1.5)
        if not math.isnan(line.lift_s):
            axes.axvspan(0, line.lift_s, color=BAND, linewidth=0, zorder=0)
    axes.set_ylim(-0.06, 1.08)
    axes.set_yticks([0, 1], ["0", "1"])
    axes.axvline(0, color=MUTED, linewidth=0.8)
