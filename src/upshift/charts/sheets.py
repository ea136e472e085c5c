"""Which pictures stand together on one sheet?"""

from matplotlib.figure import Figure

from upshift.charts import pictures
from upshift.charts.style import look, sheet
from upshift.planning.budgets import Forecast
from upshift.planning.tornado import Tornado
from upshift.planning.whatif import Comparison, Unit

_HEIGHT = 3.3
_MINOR = (
    "cost, P80",
    "highest peak of sessions, P50",
    "highest peak of sessions, P95",
    "people in the fullest quarter",
)


@look()
def forecast_sheet(of: Forecast) -> Figure:
    """Tokens, machines and people, one under the other; and the cheapest staffing where costs are said."""
    figure, axes = sheet([_HEIGHT] * (4 if of.ops.staffing else 3))
    pictures.cost(axes[0], of.tokens)
    pictures.peak(axes[1], of.compute)
    pictures.ops(axes[2], of.ops)
    if of.ops.staffing:
        pictures.staffing(axes[3], max(of.ops.staffing, key=lambda each: each.best.hours))
    return figure


@look()
def cost_sheet(of: Forecast) -> Figure:
    """The cost of tokens alone."""
    figure, axes = sheet([_HEIGHT])
    pictures.cost(axes[0], of.tokens)
    return figure


@look()
def peak_sheet(of: Forecast) -> Figure:
    """Sessions alone."""
    figure, axes = sheet([_HEIGHT])
    pictures.peak(axes[0], of.compute)
    return figure


@look()
def ops_sheet(of: Forecast) -> Figure:
    """Hours of ops alone."""
    figure, axes = sheet([_HEIGHT])
    pictures.ops(axes[0], of.ops)
    return figure


@look()
def staffing_sheet(of: Forecast) -> Figure | None:
    """The blended cost of the fullest quarter; None where costs are not said."""
    if not of.ops.staffing:
        return None
    figure, axes = sheet([_HEIGHT])
    pictures.staffing(axes[0], max(of.ops.staffing, key=lambda each: each.best.hours))
    return figure


@look()
def comparison_sheet(of: Comparison) -> Figure:
    """The main figures before and after."""
    lines = [each for each in of.lines if each.before and each.unit is not Unit.SHARE and each.what not in _MINOR]
    figure, axes = sheet([1.4 + 0.42 * len(lines)])
    _with_names(figure, 0.38)
    pictures.beside(axes[0], lines)
    return figure


@look()
def tornado_sheet(of: Tornado) -> Figure:
    """What matters most to one budget."""
    figure, axes = sheet([1.4 + 0.32 * max(len(of.bars), 1)])
    _with_names(figure, 0.24)
    pictures.tornado(axes[0], of)
    return figure


def _with_names(figure: Figure, left: float) -> None:
    """Room on the left for names rather than on the right for labels."""
    for axes in figure.axes:
        place = axes.get_position()
        axes.set_position((left, place.y0, 0.95 - left, place.height))
