"""How is throughput by team size drawn, with where it breaks and what is advised?"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from upshift.charts.style import ALERT, BAND, GOOD, INK, MAIN, QUIET, sheet, svg, title
from upshift.planning.next_agent import Advice, Verdict
from upshift.planning.team import Breaking, Place, Study, at, interval, sizes
from upshift.planning.usl import speaks_of

_LABEL = 8.5


def team_svg(found: Study, broken: Breaking, verdict: Verdict, unit: str) -> str:
    """An SVG document of one picture; `unit` is that of the throughput, like 'tasks per week'."""
    figure, (axes,) = sheet([4.2])
    team(axes, found, broken, verdict, unit)
    return svg(figure)


def team(axes: Axes, found: Study, broken: Breaking, verdict: Verdict, unit: str) -> None:
    """What was measured as points, the law as a line in its band, the breaking point as a range."""
    largest = float(max(found.largest, verdict.known_to))
    tops = [_law(axes, found, largest)] if found.laws is not None and found.fits else []
    tops += [_measured(axes, found, bars=not tops)]
    top = max(tops) * 1.12
    if broken.peak is not None and broken.place is not Place.UNKNOWN:
        low, high = broken.peak.low, min(broken.peak.high, largest)
        if low < largest:
            axes.axvspan(low, high, ymax=0.03, color=ALERT, alpha=0.75, linewidth=0)
            says = f"breaks between {broken.peak.low:.0f} and {broken.peak.high:.0f}"
            axes.annotate(says, ((low + high) / 2, top * 0.035), ha="center", va="bottom", fontsize=_LABEL, color=ALERT)
    if verdict.advice is Advice.ADD:
        axes.axvline(verdict.best, color=GOOD, linewidth=1.2, linestyle=(0, (3, 2)), ymax=0.94)
        axes.annotate(
            f"{verdict.best} agents", (verdict.best, top * 0.95), ha="center", va="bottom", fontsize=_LABEL, color=GOOD
        )
    axes.set_ylim(0, top)
    axes.set_xlim(0, largest * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    beyond = f"; beyond {found.largest} agents nothing was measured" if largest > found.largest else ""
    title(axes, _headline(verdict), f"{unit[:1].upper()}{unit[1:]} by agents in the team; bands hold 95 %{beyond}")


def _headline(verdict: Verdict) -> str:
    match verdict.advice:
        case Advice.ADD:
            step = next(step for step in verdict.path if step.agents == verdict.best)
            more = step.gain.mid / (step.throughput.mid - step.gain.mid)
            largest = "; no larger team credibly does better" if verdict.best < verdict.known_to else ""
            return f"{verdict.best} agents get {more:.0%} more done than {verdict.now}{largest}"
        case Advice.STOP:
            return f"Stop at {verdict.now}: no size up to {verdict.known_to} credibly gets more done"
        case Advice.MEASURE:
            return "Not enough sizes measured to say whether more agents pay"


def _law(axes: Axes, found: Study, largest: float) -> float:
    """Draws the law; returns the highest throughput drawn."""
    assert found.law is not None
    bound = speaks_of(found.topology)
    along = np.linspace(1, largest if bound is None else min(largest, bound), 120)
    bands = [interval(draws) for draws in at(found, along, fitted=True).T]
    middle = [found.law.throughput(agents) for agents in along]
    axes.fill_between(along, [each.low for each in bands], [each.high for each in bands], color=BAND, linewidth=0)
    seen = along <= found.largest
    axes.plot(along[seen], np.array(middle)[seen], color=MAIN, linewidth=1.8)
    axes.plot(along[~seen], np.array(middle)[~seen], color=MAIN, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.annotate("fitted", (along[-1], middle[-1]), (7, 0), "data", "offset points", fontsize=_LABEL, color=MAIN,
                  va="center", annotation_clip=False)  # fmt: skip
    return max(each.high for each in bands)


def _measured(axes: Axes, found: Study, *, bars: bool) -> float:
    """Draws the sizes measured, their intervals only where no band shows them; returns the highest throughput drawn."""
    shown = sizes(found)
    agents, middle = [each.agents for each in shown], [each.throughput.mid for each in shown]
    if bars and found.seen is not None:
        axes.vlines(agents, [each.throughput.low for each in shown], [each.throughput.high for each in shown],
                    color=BAND, linewidth=5)  # fmt: skip
    axes.plot(agents, middle, "o", color=INK, markersize=5, zorder=4)
    beside = (8, 0) if bars else (0, 9)
    axes.annotate("measured", (agents[-1], middle[-1]), beside, "data", "offset points", fontsize=_LABEL, color=QUIET,
                  ha="left" if bars else "center", va="center", annotation_clip=False)  # fmt: skip
    return max(each.throughput.high for each in shown) if bars and found.seen is not None else max(middle)
