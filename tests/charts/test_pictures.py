"""Do pictures say what the figures say, whole and without touching each other?"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from tests.planning.outlines import COMMITTED, plan, row

from upshift.charts import sheets, style
from upshift.charts.amounts import change, dollars_in_short, said
from upshift.charts.report import comparison_page, forecast_page
from upshift.model.ids import ModelName
from upshift.model.quarter import Month, Quarter
from upshift.planning.changes import apply_changes
from upshift.planning.forecast import forecast
from upshift.planning.outline import BudgetLine, Compute, Estimate, Ops, Outline, Share, Spread, exactly
from upshift.planning.tornado import tornado
from upshift.planning.whatif import Unit, compare

START = Month(2027, 1)
DOLLAR = 10**9
SAID = Estimate(
    sessions=exactly(60.0),
    tokens=Spread(5e5, 1e6, 4e6),
    minutes=Spread(5.0, 12.0, 30.0),
    growth=exactly(0.03),
    ops_hours=Spread(4.0, 6.0, 8.0),
)
PLAN = plan(
    msgspec.structs.replace(
        row("W-01", status=COMMITTED, ships=Quarter(2026, 1), estimate=SAID), name="A <script> & co"
    ),
    row("W-02", status=COMMITTED, ships=Quarter(2027, 2), shape="chat"),
    staffing=Ops(ceilings={Quarter(2027, 2): 20.0}, hour=95 * DOLLAR, incident=240 * DOLLAR),
    machines=Compute(sessions_per_unit=4, unit=DOLLAR),
    year=20_000 * DOLLAR,
)
EMPTY = plan()
UNKNOWN = plan(row("W-09", status=COMMITTED, mix=(Share(ModelName("new"), 1.0, None),)))


def drawn(outline: Outline, months: int = 12) -> Figure:
    return sheets.forecast_sheet(forecast(outline, start=START, months=months, draws=200))


def texts(figure: Figure) -> list[Text]:
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return [each for each in figure.findobj(Text) if isinstance(each, Text) and each.get_visible() and each.get_text()]


def bars() -> Figure:
    return sheets.tornado_sheet(tornado(PLAN, BudgetLine.TOKENS, start=START, months=12))


def both() -> Figure:
    after = apply_changes(PLAN, ["W-01.users*1.5", "buffer=15%"])
    return sheets.comparison_sheet(compare(*(forecast(each, start=START, draws=200) for each in (PLAN, after))))


SHEETS: dict[str, Callable[[], Figure]] = {
    "forecast": lambda: drawn(PLAN),
    "long": lambda: drawn(PLAN, 36),
    "one month": lambda: drawn(PLAN, 1),
    "empty": lambda: drawn(EMPTY),
    "unknown": lambda: drawn(UNKNOWN),
    "tornado": bars,
    "comparison": both,
    "nothing to rank": lambda: sheets.tornado_sheet(tornado(EMPTY, BudgetLine.COMPUTE, start=START, months=3)),
}


@pytest.mark.parametrize("make", SHEETS.values(), ids=SHEETS)
def test_every_word_is_on_the_sheet(make: Callable[[], Figure]) -> None:
    figure = make()
    found = texts(figure)
    assert found
    width, height = figure.bbox.width, figure.bbox.height
    for each in found:
        box = each.get_window_extent()
        assert box.x0 >= -1, each.get_text()
        assert box.x1 <= width + 1, each.get_text()
        assert box.y0 >= -1, each.get_text()
        assert box.y1 <= height + 1, each.get_text()


@pytest.mark.parametrize("make", SHEETS.values(), ids=SHEETS)
def test_no_words_lie_on_each_other(make: Callable[[], Figure]) -> None:
    boxes = [(each.get_text(), each.get_window_extent().padded(-1.5)) for each in texts(make())]
    touching = [
        (one, other)
        for at, (one, box) in enumerate(boxes)
        for other, other_box in boxes[at + 1 :]
        if box.width > 0 and other_box.width > 0 and box.overlaps(other_box)
    ]
    assert touching == []


def test_an_svg_is_whole_and_the_same_every_time() -> None:
    one, other = (style.svg(drawn(PLAN)) for _ in range(2))
    assert one == other
    assert ET.fromstring(one).tag.endswith("svg")
    assert style.png(drawn(PLAN)).startswith(b"\x89PNG")


def test_the_titles_say_what_is_shown() -> None:
    said_ = " ".join(each.get_text() for each in texts(drawn(PLAN)))
    found = forecast(PLAN, start=START, draws=200)
    assert f"Tokens cost {dollars_in_short(found.tokens.cost.p50)}" in said_
    assert "short in Q2-2027" in said_
    assert "a twelfth of the\nyear's $20k" in said_
    unknown = " ".join(each.get_text() for each in texts(drawn(UNKNOWN)))
    assert "at least $0" in unknown
    assert "without W-09, whose cost is unknown" in unknown


def test_a_page_needs_nothing_else_and_has_every_figure_as_a_table() -> None:
    found = forecast(PLAN, start=START, draws=200)
    page = forecast_page(found, [tornado(PLAN, line, start=START, months=12) for line in BudgetLine])
    assert not re.search(r'(src|href)="https?:', page)
    assert "A &lt;script&gt; &amp; co" in page
    assert "<script" not in page
    assert page.count("<svg") == page.count('role="img"') == 7
    for month in found.tokens.months:
        assert month.cost is not None
        assert f"<td>{month.month}</td><td>{dollars_in_short(month.cost.p50)}</td>" in page
    assert "Owned by product, finance; forecast monthly, reviewed monthly." in page


def test_a_page_says_what_is_unknown() -> None:
    page = forecast_page(forecast(UNKNOWN, start=START, draws=20))
    assert "what W-09 will cost is not known" in page
    assert "no price of new is known" in page


def test_a_page_of_changes() -> None:
    after = apply_changes(PLAN, ["W-01.users*2"])
    of = compare(*(forecast(each, start=START, draws=50) for each in (PLAN, after)))
    page = comparison_page(of, ["W-01.users*2 <b>"])
    assert "<code>W-01.users*2 &lt;b&gt;</code>" in page
    assert "+100%" in page
    unmoved = msgspec.structs.replace(of, workloads=(), ceilings=())
    assert "Median cost" not in comparison_page(unmoved, [])


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6), st.floats(0.1, 50))
def test_labels_are_moved_apart_and_stay_in_order(places: list[float], least: float) -> None:
    moved = style.spaced(places, least)
    order = sorted(range(len(places)), key=lambda at: places[at])
    gaps = [moved[after] - moved[before] for before, after in pairwise(order)]
    assert all(gap >= least * 0.8 for gap in gaps)
    assert sum(moved) == pytest.approx(sum(places), abs=1e-6)


@pytest.mark.parametrize(
    ("nano", "says"),
    [
        (0, "$0"), (0.42 * DOLLAR, "$0.42"), (312 * DOLLAR, "$312"), (94_240 * DOLLAR, "$94.2k"),
        (999_900 * DOLLAR, "$1M"), (1_240_000 * DOLLAR, "$1.24M"), (3.2e9 * DOLLAR, "$3.2B"), (-5000 * DOLLAR, "-$5k"),
    ],
)  # fmt: skip
def test_money_in_short(nano: float, says: str) -> None:
    assert dollars_in_short(nano) == says


def test_changes_in_words() -> None:
    assert change(100, 152, Unit.HOURS) == "+52%"
    assert change(0.5, 0.62, Unit.SHARE) == "+12 pts"
    assert change(0, 8, Unit.HOURS) == "+8.0 h"
    assert change(5, 5, Unit.HOURS) == change(None, 5, Unit.HOURS) == ""
    assert said(None, Unit.MONEY) == "unknown"
