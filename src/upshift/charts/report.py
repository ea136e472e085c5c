"""How does a forecast become one HTML page that needs nothing else: pictures, and every figure of them as a table?"""

from collections.abc import Iterable, Sequence
from html import escape

from matplotlib.figure import Figure

from upshift.charts import sheets
from upshift.charts.amounts import change, dollars_in_short, said
from upshift.charts.style import svg
from upshift.planning.budgets import Ceiling, Forecast, Quantiles
from upshift.planning.outline import Budget
from upshift.planning.tornado import Tornado
from upshift.planning.whatif import Comparison, Moved, Unit

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; color: #1f2937; background: #fff;
  max-width: 60rem; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.25rem; margin: 2.6rem 0 .3rem; }
.quiet { color: #6b7280; } .alert { color: #b42318; } figure { margin: 1rem 0; }
figure svg { width: 100%; height: auto; }
table { border-collapse: collapse; margin: .8rem 0 1.4rem; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .28rem .9rem .28rem 0; text-align: right; border-bottom: 1px solid #e5e7eb; }
th { color: #6b7280; font-weight: 500; } th:first-child, td:first-child { text-align: left; }
ul { padding-left: 1.2rem; } summary { cursor: pointer; color: #1d4f91; }
@media print { body { margin: 0; max-width: none; } h2 { break-after: avoid; } figure, table { break-inside: avoid; } }
"""


def forecast_page(of: Forecast, tornados: Sequence[Tornado] = ()) -> str:
    """The three budgets and the buffer, each with its owner, and what matters most."""
    last = of.start.plus(of.months - 1)
    parts = [
        f"<h1>{escape(of.name)}: what the plan needs</h1>",
        f'<p class="quiet">{of.start} to {last}; {of.draws:,} draws, seed {of.seed}; plan {escape(of.plan[:16])}. '
        "P80 means: with a chance of 80 % no more than this.</p>",
        *_tokens(of),
        *_compute(of),
        *_ops(of),
        *_buffer(of),
    ]
    if tornados:
        parts.append("<h2>What matters most</h2>")
    for each in tornados:
        rows = [(bar.input, bar.at_low, bar.at_high, _of(each, bar.low), _of(each, bar.high)) for bar in each.bars]
        heads = ("input", "low", "high", f"{each.line} at low", f"{each.line} at high")
        parts += [_picture(sheets.tornado_sheet(each), f"Tornado of {each.line}"), _table("", heads, rows)]
    return _page(f"{of.name}: forecast", parts)


def comparison_page(of: Comparison, changes: Sequence[str], tornados: Sequence[Tornado] = ()) -> str:
    """Before and after: all budgets, the buffer, the gates."""
    parts = [f"<h1>{escape(of.before.name)}: what if</h1>"]
    if changes:
        parts.append("<ul>" + "".join(f"<li><code>{escape(each)}</code></li>" for each in changes) + "</ul>")
    parts.append(_picture(sheets.comparison_sheet(of), "Bars before and after"))
    heads = ("", "before", "after", "change")
    parts.append(_table("Budgets and buffer", heads, [_moved(each, f"{each.line}: ") for each in of.lines]))
    if of.workloads:
        parts.append(_table("Median cost of tokens", ("workload", *heads[1:]), [_moved(each) for each in of.workloads]))
    if of.ceilings:
        rows = [
            (f"{each.workload} {each.tier or ''}", _ceiling(each.before), _ceiling(each.after)) for each in of.ceilings
        ]
        parts.append(_table("Ceilings that would fit, per user and month", ("gate", "before", "after"), rows))
    parts += [_picture(sheets.tornado_sheet(each), f"Tornado of {each.line}") for each in tornados]
    return _page(f"{of.before.name}: what if", parts)


def _tokens(of: Forecast) -> Iterable[str]:
    tokens = of.tokens
    yield f"<h2>Tokens</h2>{_owners(tokens.budget)}"
    if tokens.at_least:
        names = escape(", ".join(tokens.unknown))
        yield f'<p class="alert">All costs are at least costs: what {names} will cost is not known.</p>'
    yield _picture(sheets.cost_sheet(of), "Cost of tokens by month, as a fan of P50, P80 and P95")
    heads = ("month", "P50", "P80", "P95", "tokens, P50")
    rows = [(str(each.month), *_cost(each.cost, each.tokens)) for each in tokens.months]
    yield _table("By month", heads, [*rows, ("all", *_cost(tokens.cost, tokens.tokens))])
    by_workload = [
        (
            f"{use.workload} {use.name}",
            *_cost(use.cost, use.tokens),
            "; ".join(use.unknown),
        )
        for use in tokens.workloads
    ]
    yield _table("By workload, all months", ("workload", *heads[1:], "unknown because"), by_workload)
    ceilings = [
        (
            f"{each.workload} {each.tier or ''}",
            "none" if each.tokens is None else said(each.tokens, Unit.TOKENS),
            said(each.proposed_tokens, Unit.TOKENS),
            "unknown" if each.proposed_money is None else dollars_in_short(each.proposed_money),
            "" if each.reached is None else f"{each.reached:.0%}",
        )
        for each in tokens.ceilings
    ]
    heads = ("gate", "ceiling", "proposed", "in money", "users who reach the ceiling")
    yield _table("Ceilings per user and month", heads, ceilings)
    yield _assumptions(tokens.assumptions)


def _compute(of: Forecast) -> Iterable[str]:
    yield f"<h2>Compute</h2>{_owners(of.compute.budget)}"
    yield _picture(sheets.peak_sheet(of), "Sessions open at once by month")
    rows = [
        (
            str(each.month),
            said(each.average, Unit.SESSIONS),
            *_three(each.peak, Unit.SESSIONS),
            said(each.separate, Unit.SESSIONS),
            said(each.sized, Unit.SESSIONS),
            "" if each.requests is None else f"{each.requests.p80:,.0f}",
            "" if each.units is None else str(each.units),
            "" if each.cost is None else dollars_in_short(each.cost),
        )
        for each in of.compute.months
    ]
    heads = ("month", "average", "P50", "P80", "P95", "separate peaks", "sized", "requests/min, P80", "units", "cost")
    yield _table("Sessions open at once", heads, rows)
    yield _assumptions(of.compute.assumptions)


def _ops(of: Forecast) -> Iterable[str]:
    yield f"<h2>Ops</h2>{_owners(of.ops.budget)}"
    yield _picture(sheets.ops_sheet(of), "Hours of ops by quarter")
    rows = [
        (
            str(each.quarter),
            *(f"{value:,.1f}" for value in (each.stable, each.first_quarter, each.platform)),
            *_three(each.hours, Unit.HOURS),
            f"{each.fte:.2f}",
            "none" if each.ceiling is None else f"{each.ceiling:,.0f} h",
            f"{each.shortfall:,.1f} h" if each.shortfall else "",
        )
        for each in of.ops.quarters
    ]
    heads = ("quarter", "stable", "first quarter", "platform", "P50", "P80", "P95", "FTE", "ceiling", "shortfall")
    yield _table("Hours a week", heads, rows)
    staffing = sheets.staffing_sheet(of)
    if staffing is not None:
        yield _picture(staffing, "Blended cost by level of staffing")
        best = [
            (str(each.quarter), f"{each.best.hours:,.1f} h", f"{each.best.fte:.2f}",
             dollars_in_short(each.best.total), dollars_in_short(each.median.total))
            for each in of.ops.staffing
        ]  # fmt: skip
        yield _table("Cheapest staffing", ("quarter", "hours a week", "FTE", "cost", "at the median"), best)
    yield _assumptions(of.ops.assumptions)


def _buffer(of: Forecast) -> Iterable[str]:
    units = {"tokens": Unit.MONEY, "compute": Unit.SESSIONS, "ops": Unit.HOURS}
    rows = [
        (f"{each.quarter} {each.line}", *("unknown" if value is None else said(value, units[each.line]) for value in (
            each.budget, each.held, each.drawn, each.left)), f"{each.enough:.0%}")
        for each in of.buffer
    ]  # fmt: skip
    yield "<h2>Buffer</h2>"
    yield _table("Held centrally", ("quarter", "budget", "held", "drawn", "left", "chance to suffice"), rows)


def _owners(budget: Budget) -> str:
    owners = escape(", ".join(budget.owners))
    return f'<p class="quiet">Owned by {owners}; forecast {budget.forecast}, reviewed {budget.review}.</p>'


def _three(of: Quantiles | None, unit: Unit) -> tuple[str, str, str]:
    return ("unknown",) * 3 if of is None else (said(of.p50, unit), said(of.p80, unit), said(of.p95, unit))


def _cost(cost: Quantiles | None, tokens: Quantiles | None) -> tuple[str, ...]:
    return (*_three(cost, Unit.MONEY), said(None if tokens is None else tokens.p50, Unit.TOKENS))


def _moved(each: Moved, before: str = "") -> tuple[str, str, str, str]:
    return (
        before + each.what, said(each.before, each.unit), said(each.after, each.unit),
        change(each.before, each.after, each.unit),
    )  # fmt: skip


def _ceiling(of: Ceiling | None) -> str:
    return "none" if of is None else said(of.proposed_tokens, Unit.TOKENS)


def _of(of: Tornado, value: float) -> str:
    return said(value, {"tokens": Unit.MONEY, "compute": Unit.SESSIONS, "ops": Unit.HOURS}[of.line])


def _picture(figure: Figure, says: str) -> str:
    return f'<figure role="img" aria-label="{escape(says)}; the table below has its figures">{svg(figure)}</figure>'


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    name = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{name}<thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _assumptions(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(each)}</li>" for each in sentences)
    return f"<details open><summary>Assumptions</summary><ul>{items}</ul></details>"


def _page(title: str, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
