"""How are recorded calls drawn, with the places that they ask for?"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from upshift.charts.style import BAND, GOOD, MAIN, QUIET, WARM, sheet, spaced, svg, title
from upshift.planning.recorded import Demand, Minutes

_LABEL = 8.5
_DAYS, _HOURS = 48 * 60, 180


def recorded_svg(minutes: Minutes, found: Demand) -> str:
    """An SVG document of one picture."""
    figure, (axes,) = sheet([4.2])
    recorded(axes, minutes, found)
    return svg(figure)


def recorded(axes: Axes, minutes: Minutes, found: Demand) -> None:
    """The most open by minute, and as lines the average, the sized peak in its interval, and what is advised."""
    many = len(minutes.most)
    per, unit = (1440, "days") if many > _DAYS else (60, "hours") if many > _HOURS else (1, "minutes")
    along = np.arange(many) / per
    axes.fill_between(along, minutes.most, step="mid", color=BAND, linewidth=0)
    axes.step(along, minutes.most, where="mid", color=MAIN, linewidth=0.8)
    axes.axhspan(found.low, found.high, color=WARM, alpha=0.15, linewidth=0)
    lines = [
        (float(found.places), f"{found.places:,} advised", GOOD),
        (found.sized.peak, f"{found.sized.peak:,.0f} sized", WARM),
        (found.sized.observed, f"{found.sized.observed:,.0f} seen", MAIN),
        (found.sized.average, f"{found.sized.average:,.1f} average", QUIET),
    ]
    top = found.places * 1.08
    places = spaced([value for value, _, _ in lines], top * 0.05)
    for (value, says, color), place in zip(lines, places, strict=True):
        if color != MAIN:
            axes.axhline(value, color=color, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.annotate(
            says, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=_LABEL, color=color,
            annotation_clip=False,
        )  # fmt: skip
    axes.set_ylim(0, top)
    axes.set_xlim(0, max(float(along[-1]), 1 / per))
    axes.xaxis.set_major_locator(MaxNLocator(8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    title(
        axes,
        f"{found.places:,} places carry the worst minute, with {found.headroom:.0%} of headroom",
        f"Most calls open at once by minute, over {unit} from the first call; shaded: where the highest will be, 80 %",
    )
