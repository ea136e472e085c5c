"""How does every picture look, and how does it become SVG or PNG?"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK = "#1f2937"
QUIET = "#6b7280"
GRID = "#e5e7eb"
PAPER = "#ffffff"
MAIN = "#1d4f91"
BAND = "#a9c4e4"
BAND_WIDE = "#dbe7f5"
WARM = "#d98e32"
SOFT = "#b8c0cc"
ALERT = "#b42318"
GOOD = "#2f7d5b"

_LOOK: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "axes.edgecolor": GRID,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    # Outlines, so that a deck shows the same letters wherever it is opened; and the same bytes every time.
    "text.parse_math": False,  # a dollar is a dollar
    "svg.fonttype": "path",
    "svg.hashsalt": "upshift",
}
_DPI = 160


@contextmanager
def look() -> Iterator[None]:
    """All that is drawn within looks like this; texts take their look when they are made."""
    with mpl.rc_context(_LOOK):
        yield


def sheet(heights: Sequence[float], width: float = 8.6) -> tuple[Figure, list[Axes]]:
    """A figure with axes one under the other, of such heights; in inches."""
    figure = Figure(figsize=(width, sum(heights)), layout=None)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    axes = [figure.add_subplot(grid[at, 0]) for at in range(len(heights))]
    total, top = sum(heights), 1.0
    for each, height in zip(axes, heights, strict=True):
        # Room for a title of two lines above and for the months below, whatever the height.
        bottom = top - height / total
        each.set_position((0.075, bottom + 0.42 / total, 0.775, (height - 1.12) / total))
        top = bottom
    for each in axes:
        _plain(each)
    return figure, axes


def _plain(axes: Axes) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8.5)


def title(axes: Axes, says: str, beneath: str) -> None:
    """What the picture says, and below it what is shown and in which unit; at the left, however long names are."""
    left = min(axes.get_position().x0, 0.075)
    where = ("figure fraction", "axes fraction")
    axes.annotate(says, (left, 1), (0, 27), where, "offset points", fontsize=11.5, fontweight="bold", color=INK)
    axes.annotate(beneath, (left, 1), (0, 12), where, "offset points", fontsize=8.5, color=QUIET)


def spaced(places: Sequence[float], least: float) -> list[float]:
    """Places moved apart until neighbours are so far from each other, as little as can be, in their order."""
    order = sorted(range(len(places)), key=lambda at: places[at])
    moved = [places[at] for at in order]
    for _ in range(len(moved) * 8):
        for lower in range(len(moved) - 1):
            lacking = least - (moved[lower + 1] - moved[lower])
            if lacking > least * 1e-6:
                moved[lower] -= lacking / 2
                moved[lower + 1] += lacking / 2
    found = [0.0] * len(places)
    for at, place in zip(order, moved, strict=True):
        found[at] = place
    return found


def svg(figure: Figure) -> str:
    """As an SVG document, the same for the same figures."""
    kept = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    with look():
        canvas.print_svg(kept, metadata={"Date": None, "Creator": None})
    text = kept.getvalue()
    return text[text.index("<svg") :]


def png(figure: Figure) -> bytes:
    """As a PNG, at twice the density of a screen."""
    kept = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    with look():
        figure.set_dpi(_DPI)
        canvas.print_png(kept, metadata={"Software": None})
    return kept.getvalue()
