"""From a matplotlib figure to inline SVG that follows the page's colours, light or dark.

Charts are drawn in stand-in colours, which become CSS variables in the SVG; text stays text, in the page's font. The
object API is used throughout: no pyplot, no global state.
"""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, RULE, BAND = "#a1b001", "#a1b002", "#a1b003", "#a1b004"
ARM_COLOURS = {"direct": "#a1b011", "direct-null": "#a1b012", "gateway": "#a1b013", "hybrid": "#a1b014"}
ARM_MARKERS = {"direct": "o", "direct-null": "D", "gateway": "s", "hybrid": "^"}
ARM_LINES: dict[str, Any] = {"direct": "-", "direct-null": (0, (1, 1.5)), "gateway": "-", "hybrid": (0, (5, 2))}

_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    BAND: "--band",
    **{colour: f"--{arm}" for arm, colour in ARM_COLOURS.items()},
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": INK,
    "axes.facecolor": "none",
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}


def style() -> Any:
    """Return the context in which figures are made and drawn."""
    return mpl.rc_context(_STYLE)


WIDTH = 8.6


def new_figure(height: float, *, left: float, bottom: float = 0.55, top: float = 0.35, gap: float = 0.3) -> Figure:
    """Return an empty figure with a transparent ground; height and margins in inches, `gap` in panels.

    Margins are given, not searched for: matplotlib's layout engines cost more than all the drawing.
    """
    figure = Figure(figsize=(WIDTH, height))
    figure.subplots_adjust(left / WIDTH, bottom / height, 1 - 0.12 / WIDTH, 1 - top / height, gap, gap)
    figure.patch.set_alpha(0)
    return figure


def to_svg(figure: Figure, name: str, says: str) -> str:
    """Return the figure as an <svg> element; `name` keeps its ids apart, `says` is its text for screen readers."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        canvas: Any = FigureCanvasSVG(figure)
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace('id="', f'id="{name}-').replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    svg = re.sub(r"#a1b0\d\d", lambda match: f"var({_VARIABLES[match.group()]})", svg)
    width, height = (float(figure.get_figwidth() * 72), float(figure.get_figheight() * 72))
    view = f'viewBox="0 0 {width:g} {height:g}" style="min-width:{width * 0.85:.0f}px"'
    head = f'<svg role="img" aria-label="{says}" {view}>'
    return re.sub(r"<svg[^>]*>", head, svg, count=1)
