"""CPU time per request and component, by mode."""

from __future__ import annotations

from results.figures import number
from results.outcome import Results
from results.reports.charts.canvas import ARM_COLOURS, MUTED, new_figure, to_svg

MODES = ("direct", "gateway", "hybrid")
THICKNESS = 0.26


def cpu_bars(results: Results) -> str:
    """Return one group of bars a component, or nothing when CPU was not measured."""
    measured = {
        (one.key.component, one.arm): one.measured.point
        for one in results.estimates
        if one.key.metric == "cpu_per_request" and one.key.component != "total"
    }
    components = [name for name in results.scenario.components if any((name, mode) in measured for mode in MODES)]
    if not components:
        return ""
    figure = new_figure(0.52 * len(components) + 0.7, left=1.05, top=0.1)
    axes = figure.add_subplot()
    for row, mode in enumerate(MODES):
        values = [measured.get((name, mode), 0.0) for name in components]
        places = [-at - THICKNESS * (row - 1) for at in range(len(components))]
        bars = axes.barh(places, values, THICKNESS * 0.88, color=ARM_COLOURS[mode], linewidth=0)
        labels = [f"{mode} {number(value)}" for value in values]
        axes.bar_label(bars, labels, padding=4, fontsize=8, color=MUTED)
    axes.set_yticks([-at for at in range(len(components))], components)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.set_xlabel("us of CPU per answered request")
    return to_svg(figure, "cpu", "CPU time per request of each component, by mode")
