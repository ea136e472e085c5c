"""How are a forecast, what moves it, and two forecasts beside each other drawn?"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from upshift.charts.amounts import change, dollars_in_short, said
from upshift.charts.style import ALERT, BAND, BAND_WIDE, GOOD, INK, MAIN, PAPER, QUIET, SOFT, WARM, spaced, title
from upshift.model.quarter import Month
from upshift.planning.budgets import ComputeForecast, OpsForecast, Quantiles, Staffing, TokensForecast
from upshift.planning.outline import BudgetLine
from upshift.planning.tornado import Tornado
from upshift.planning.whatif import Moved, Unit

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LABEL = 8.5
_UNITS = {BudgetLine.TOKENS: Unit.MONEY, BudgetLine.COMPUTE: Unit.SESSIONS, BudgetLine.OPS: Unit.HOURS}


def cost(axes: Axes, forecast: TokensForecast) -> None:
    """The cost of tokens by month as a fan, beside a twelfth of the year's budget."""
    known = [each.cost for each in forecast.months if each.cost is not None]
    _fan(axes, [each.month for each in forecast.months], known, Unit.MONEY)
    limits = {each.limit for each in forecast.years if each.limit is not None}
    least = "at least " if forecast.at_least else ""
    for limit in limits:
        _reference(axes, limit / 12, f"a twelfth of the\nyear's {dollars_in_short(limit)}")
    title(
        axes,
        f"Tokens cost {least}{dollars_in_short(forecast.cost.p50)}, with a chance of 95 % no more than "
        f"{dollars_in_short(forecast.cost.p95)}",
        f"US$ a month{_left_out(forecast)}",
    )


def _left_out(forecast: TokensForecast) -> str:
    if not forecast.unknown:
        return ""
    more = f" and {len(forecast.unknown) - 4} more" if len(forecast.unknown) > 4 else ""
    return f"; without {', '.join(forecast.unknown[:4])}{more}, whose cost is unknown"


def peak(axes: Axes, forecast: ComputeForecast) -> None:
    """Sessions open at once by month as a fan, with what is sized, and the average that would mislead."""
    months = [each.month for each in forecast.months]
    _fan(axes, months, [each.peak for each in forecast.months], Unit.SESSIONS, note=False)
    at = range(len(months))
    sized, average = [each.sized for each in forecast.months], [each.average for each in forecast.months]
    axes.step(at, sized, where="mid", color=WARM, linewidth=1.6)
    axes.plot(at, average, color=QUIET, linewidth=1.0, linestyle=(0, (2, 2)))
    last = forecast.months[-1]
    labels = [
        (last.sized, f"{said(last.sized, Unit.SESSIONS)} sized", WARM),
        (last.peak.p95, f"{said(last.peak.p95, Unit.SESSIONS)} P95", QUIET),
        (last.peak.p80, f"{said(last.peak.p80, Unit.SESSIONS)} P80", QUIET),
        (last.peak.p50, f"{said(last.peak.p50, Unit.SESSIONS)} P50", MAIN),
        (last.average, f"{said(last.average, Unit.SESSIONS)} on average", QUIET),
    ]
    _labels(axes, len(months) - 1, labels)
    highest = max(forecast.months, key=lambda each: each.sized)
    units = f", {highest.units} units" if highest.units is not None else ""
    title(
        axes,
        f"Room for {said(highest.sized, Unit.SESSIONS)} sessions at once{units}",
        f"Sessions open at the worst minute of the month, all workloads together; "
        f"sized at P80 and {forecast.headroom:.0%} of headroom",
    )


def ops(axes: Axes, forecast: OpsForecast) -> None:
    """Hours of ops by quarter, by what they are for, against the ceilings."""
    at = list(range(len(forecast.quarters)))
    parts = [
        ("across workloads", SOFT, [each.platform for each in forecast.quarters]),
        ("stable", MAIN, [each.stable for each in forecast.quarters]),
        ("first quarter", WARM, [each.first_quarter for each in forecast.quarters]),
    ]
    base = [0.0] * len(at)
    ends: list[tuple[float, str, str]] = []
    for name, colour, values in parts:
        axes.bar(at, values, 0.56, bottom=base, color=colour, linewidth=0)
        if any(values):
            where = max(index for index, value in enumerate(values) if value)
            if where == len(at) - 1:
                ends.append((base[where] + values[where] / 2, name, QUIET if colour == SOFT else colour))
            else:
                axes.text(
                    where + 0.4, base[where] + values[where] / 2, name, fontsize=_LABEL, color=colour, va="center"
                )
        base = [below + value for below, value in zip(base, values, strict=True)]
    top = max([*base, *(each.ceiling or 0.0 for each in forecast.quarters), 1.0]) * 1.2
    axes.set_ylim(0, top)
    for index, quarter in enumerate(forecast.quarters):
        short = quarter.ceiling is not None and quarter.shortfall > 0
        says, colour = f"{base[index]:,.0f} h", ALERT if short else INK
        if quarter.ceiling is not None:
            axes.plot([index - 0.36, index + 0.36], [quarter.ceiling] * 2, color=colour, linewidth=1.6)
            if short:
                # Its own line lies within the bar, where no words are read.
                says = f"{says},\nceiling {quarter.ceiling:,.0f}"
            else:
                place = (index + 0.36, quarter.ceiling + top * 0.018)
                axes.text(*place, f"ceiling {quarter.ceiling:,.0f}", fontsize=7.5, color=colour, ha="right")
        axes.text(index, base[index] + top * 0.02, says, ha="center", fontsize=_LABEL, color=colour)
    _labels(axes, len(at) - 0.7, ends)
    axes.set_xticks(at, [str(each.quarter) for each in forecast.quarters])
    axes.set_xlim(-0.6, len(at) - 0.4)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    fullest = max(forecast.quarters, key=lambda each: each.hours.p50)
    over = [each for each in forecast.quarters if each.shortfall]
    says = f"Ops takes {fullest.fte:.1f} people in {fullest.quarter}, its fullest quarter"
    if over:
        worst = max(over, key=lambda each: each.shortfall)
        says = f"Ops is {worst.shortfall:,.0f} h a week ({worst.shortfall_fte:.1f} people) short in {worst.quarter}"
    title(axes, says, "Hours a week, medians")


def staffing(axes: Axes, of: Staffing) -> None:
    """What a quarter costs at each level of staffing: pay, and what missing hours cause."""
    hours = [each.hours for each in of.curve]
    pay, total = [each.pay for each in of.curve], [each.total for each in of.curve]
    axes.fill_between(hours, 0, pay, color=BAND_WIDE, linewidth=0)
    axes.fill_between(hours, pay, total, color="#f3dcbf", linewidth=0)
    axes.plot(hours, total, color=INK, linewidth=1.6)
    axes.plot([of.best.hours], [of.best.total], "o", color=GOOD, markersize=6)
    axes.annotate(
        f"least: {dollars_in_short(of.best.total)}",
        (of.best.hours, of.best.total), (0, -16), "data", "offset points", fontsize=_LABEL, color=GOOD, ha="center",
    )  # fmt: skip
    at = 1
    axes.text(hours[at], pay[at] * 0.5, "pay", fontsize=_LABEL, color=MAIN)
    axes.text(hours[at], (pay[at] + total[at]) / 2, "incidents and\nlost velocity", fontsize=_LABEL, color="#9a5b10")
    axes.set_ylim(0, max(total) * 1.12)
    axes.set_xlim(hours[0], hours[-1])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f} h"))
    _y(axes, Unit.MONEY)
    title(
        axes,
        f"Staffing {of.quarter} costs least at {of.best.hours:,.1f} h a week ({of.best.fte:.1f} people)",
        f"US$ of the quarter by hours staffed; {dollars_in_short(of.median.total)} at the median of demand, "
        f"{of.median.hours:,.1f} h",
    )


def tornado(axes: Axes, of: Tornado) -> None:
    """Each input at its low and its high; the longest bar on top."""
    unit = _UNITS[of.line]
    bars = list(reversed(of.bars))
    lows, highs = [min(each.low, each.high) for each in bars], [max(each.low, each.high) for each in bars]
    for at, each in enumerate(bars):
        for value, says in ((each.low, each.at_low), (each.high, each.at_high)):
            colour = MAIN if value < of.base else WARM
            axes.barh(at, value - of.base, 0.62, left=of.base, color=colour, linewidth=0)
            axes.annotate(
                says, (value, at), (-4 if value < of.base else 4, 0), "data", "offset points",
                ha="right" if value < of.base else "left", va="center", fontsize=7.5, color=QUIET,
            )  # fmt: skip
    axes.axvline(of.base, color=INK, linewidth=1.0)
    axes.set_yticks(range(len(bars)), [each.input for each in bars], color=INK)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="#e5e7eb", linewidth=0.8)
    if bars:
        room = (max(highs) - min(lows)) * 0.14 or 1.0
        axes.set_xlim(min(lows) - room, max(highs) + room)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: said(value, unit)))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    what = {
        BudgetLine.TOKENS: "cost of tokens over all months",
        BudgetLine.COMPUTE: "the highest peak of sessions",
        BudgetLine.OPS: "hours of ops a week, over all quarters",
    }
    name = bars[-1].input if bars else "Nothing"
    title(
        axes,
        f"{name} matters most to {what[of.line]}",
        f"Each input at its P10 and P90, or 20 % less and more; all at their medians come to {said(of.base, unit)}",
    )


def beside(axes: Axes, lines: Sequence[Moved]) -> None:
    """Figures before and after, each as a share of what it was."""
    shown = [each for each in lines if each.before and each.after is not None]
    for at, each in enumerate(reversed(shown)):
        before, after = each.before or 1.0, each.after or 0.0
        ratio = min(after / before, 3.0)
        axes.barh(at + 0.19, 1.0, 0.3, color=SOFT, linewidth=0)
        axes.barh(at - 0.19, ratio, 0.3, color=WARM if ratio > 1 else MAIN, linewidth=0)
        axes.annotate(
            said(before, each.unit), (1.0, at + 0.19), (5, 0), "data", "offset points",
            va="center", fontsize=7.5, color=QUIET,
        )  # fmt: skip
        moved = change(before, after, each.unit)
        axes.annotate(
            f"{said(after, each.unit)}  {moved}" if moved else f"{said(after, each.unit)}  unchanged",
            (ratio, at - 0.19), (5, 0), "data", "offset points", va="center", fontsize=_LABEL, color=INK,
        )  # fmt: skip
    axes.set_yticks(range(len(shown)), [f"{each.line}: {each.what}" for each in reversed(shown)], color=INK)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xlim(0, max([1.0, *(min((each.after or 0) / (each.before or 1), 3.0) for each in shown)]) * 1.25)
    title(axes, "What the changes do", "Before (grey) and after; lengths are shares of what was before")


def _fan(axes: Axes, months: Sequence[Month], values: Sequence[Quantiles], unit: Unit, *, note: bool = True) -> None:
    at = list(range(len(values)))
    p50, p80, p95 = ([float(getattr(each, field)) for each in values] for field in ("p50", "p80", "p95"))
    axes.fill_between(at, p80, p95, color=BAND_WIDE, linewidth=0)
    axes.fill_between(at, p50, p80, color=BAND, linewidth=0)
    axes.plot(at, p50, color=MAIN, linewidth=2.0)
    axes.set_ylim(0, max(p95, default=0.0) * 1.12 or 1.0)
    axes.set_xlim(-0.3, max(len(at) - 1, 1) + 0.1)
    # Quarters of a long horizon, months of a short one; a year is named where it begins.
    every = 1 if len(months) <= 14 else 3
    ticks = [index for index, month in enumerate(months) if every == 1 or month.number % 3 == 1]
    axes.set_xticks(ticks, [_month(months[index], first=index == ticks[0]) for index in ticks])
    _y(axes, unit)
    if note and values:
        last = values[-1]
        levels = [
            (last.p95, f"{said(last.p95, unit)} P95", QUIET),
            (last.p80, f"{said(last.p80, unit)} P80", QUIET),
            (last.p50, f"{said(last.p50, unit)} P50", MAIN),
        ]
        _labels(axes, len(at) - 1, levels)


def _month(month: Month, *, first: bool) -> str:
    name = _MONTHS[month.number - 1]
    return f"{name}\n{month.year}" if first or month.number == 1 else name


def _y(axes: Axes, unit: Unit) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: said(value, unit) if value else "0"))


def _labels(axes: Axes, at: float, labels: Sequence[tuple[float, str, str]]) -> None:
    """Names beside the ends of what they name, moved apart where they would touch."""
    low, high = axes.get_ylim()
    inches = axes.bbox.height / axes.figure.dpi
    least = (high - low) * 0.155 / max(inches, 0.1)
    where = spaced([value for value, _, _ in labels], least)
    for place, (_, text, colour) in zip(where, labels, strict=True):
        weight = "bold" if colour == MAIN else "normal"
        axes.annotate(
            text, (at, place), (7, 0), "data", "offset points",
            va="center", fontsize=_LABEL, color=colour, fontweight=weight, annotation_clip=False,
        )  # fmt: skip


def _reference(axes: Axes, value: float, says: str) -> None:
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(high, value * 1.15))
    axes.axhline(value, color=ALERT, linewidth=1.1, linestyle=(0, (4, 3)))
    axes.annotate(
        says, (0, value), (2, 3), ("axes fraction", "data"), "offset points", fontsize=7.5, color=ALERT, va="bottom",
        bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )  # fmt: skip
