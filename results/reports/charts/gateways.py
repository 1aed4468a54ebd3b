"""What each gateway of a run costs over direct calls: a panel a figure, a row a gateway, with 95 % intervals."""

from __future__ import annotations

from matplotlib.axes import Axes

from results.blocks import Key
from results.outcome import Results
from results.reports.charts.canvas import BAND, INK, MUTED, new_figure, to_svg
from results.reports.charts.forest import band_of, draw_arm, ratio_axis

PANELS: tuple[tuple[str, Key], ...] = (
    ("internal call, mean latency", Key("call_latency_mean")),
    ("CPU per request", Key("cpu_per_request", "", "total")),
    ("capacity", Key("capacity")),
    ("saturation throughput", Key("saturation_throughput")),
)
OFFSETS = {"gateway": 0.19, "hybrid": -0.19}


def by_gateway(results: Results) -> str:
    """Return the plot, or nothing for a run with one gateway or without a ratio over direct."""
    shown = [(label, key) for label, key in PANELS if any(_ratios(one, key) for one in results.every)]
    if not results.further or not shown:
        return ""
    rows = len(results.every)
    figure = new_figure((0.42 * rows + 0.4) * len(shown) + 0.6, left=1.75, gap=0.5)
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (label, key) in zip(panels, shown, strict=True):
        _panel(axes, label, key, results)
    ratio_axis(panels[-1])
    limits = panels[-1].get_xlim()
    for axes, (_, key) in zip(panels, shown, strict=True):
        _draw_bands(axes, key, results)
    panels[-1].set_xlim(limits)
    for axes in panels[:-1]:
        axes.tick_params(axis="x", labelbottom=False)
    panels[-1].set_xlabel("ratio over direct, logarithmic", color=MUTED)
    return to_svg(figure, "gateways", "Ratios of gateway and hybrid mode over direct, for each gateway")


def _ratios(results: Results, key: Key) -> bool:
    return any(one.key == key and one.numerator in OFFSETS for one in results.comparisons)


def _panel(axes: Axes, label: str, key: Key, results: Results) -> None:
    for row, one in enumerate(results.every):
        for comparison in one.comparisons:
            if comparison.key == key and comparison.numerator in OFFSETS:
                draw_arm(axes, -row + OFFSETS[comparison.numerator], comparison)
    axes.set_title(label)
    axes.set_yticks([-row for row in range(len(results.every))], [one.plan.gateway for one in results.every])
    axes.set_ylim(-len(results.every) + 0.45, 0.55)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def _draw_bands(axes: Axes, key: Key, results: Results) -> None:
    for claim in results.scenario.claims:
        band = band_of(claim, key)
        if band is not None and band[0] == "gateway":
            axes.axvspan(band[1], band[2], color=BAND, linewidth=0, zorder=0)
