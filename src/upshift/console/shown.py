"""How are amounts, times and shares written on a page?"""

from datetime import UTC, datetime
from urllib.parse import quote

from markupsafe import Markup, escape

from upshift.model.money import NANO_PER_DOLLAR, show_money
from upshift.model.tokens import show_tokens

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"


def money(nano: int | float | None) -> str:
    """'$1,234' from a hundred dollars on, '$12.34' below; 'unknown' for None, which is never zero."""
    if nano is None:
        return "unknown"
    whole = round(nano)
    if abs(whole) >= 100 * NANO_PER_DOLLAR:
        sign = MINUS if whole < 0 else ""
        return f"{sign}${abs(whole) / NANO_PER_DOLLAR:,.0f}"
    return show_money(whole).replace("-", MINUS)


def tokens(count: int | float | None) -> str:
    """'1.4M', '520k', '900'."""
    return show_tokens(None if count is None else round(count))


def count(value: int | float | None) -> str:
    """'1,234'."""
    return DASH if value is None else f"{round(value):,}"


def share(value: float | None, digits: int = 0) -> str:
    """'42%' of 0.42."""
    return DASH if value is None else f"{100 * value:.{digits}f}%"


def budget_path(tenant: str, workload: str, user: str) -> str:
    """Where a user's budgets of a workload are shown, whatever the names say."""
    return "/console/budgets/" + "/".join(quote(each, safe="") for each in (tenant, workload, user))


def ms(value: float | None) -> str:
    """'840 ms', '1.24 s', '3.2 min'."""
    if value is None:
        return DASH
    if value < 1000:
        return f"{value:.0f} ms"
    seconds = value / 1000
    return f"{seconds:.2f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def ms_fine(value: float) -> str:
    """'0.35 ms' below ten, else as `ms`."""
    return f"{value:.2f} ms" if 0 < value < 10 else ms(value)


def span(seconds: float | None) -> str:
    """'2 d 4 h', '48 min', '12 s'."""
    if seconds is None:
        return DASH
    left = round(abs(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if left >= size and len(parts) < 2:
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
    return " ".join(parts) or "0 s"


def when(moment: str | datetime | int | None, form: str = "time") -> Markup:
    """A moment (ISO 8601, or microseconds since 1970), in UTC until the page turns it into the viewer's zone.

    `form`: 'time' to the second, 'minute', or 'day'.
    """
    if moment is None or moment == "":
        return escape(DASH)
    if isinstance(moment, int):
        moment = datetime.fromtimestamp(moment / 1e6, UTC)
    found = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    found = found.astimezone(UTC)
    pattern = {"day": "%-d %b %Y", "minute": "%-d %b, %H:%M"}.get(form, "%-d %b, %H:%M:%S")
    text = found.strftime(pattern) + ("" if form == "day" else " UTC")
    return Markup('<time datetime="{}" data-form="{}">{}</time>').format(
        found.isoformat(timespec="milliseconds"), form, text
    )


def words(code: str) -> str:
    """'client left' of 'client_left'; 'budget reached: answer ended' of 'budget-reached:answer-ended'."""
    return code.replace("_", " ").replace("-", " ").replace(":", ": ")


def short(text: str, most: int = 12) -> Markup:
    """The beginning of a hash or id, all of it on hovering."""
    if len(text) <= most:
        return Markup("{}").format(text)
    return Markup('<span title="{}">{}…</span>').format(text, escape(text[:most]))


FILTERS = {
    "money": money,
    "tokens": tokens,
    "count": count,
    "share": share,
    "ms": ms,
    "ms_fine": ms_fine,
    "span": span,
    "when": when,
    "words": words,
    "short": short,
}
