"""How are amounts written beside a picture: short, and each unit in one way?"""

from upshift.model.money import NANO_PER_DOLLAR
from upshift.model.tokens import show_tokens
from upshift.planning.whatif import Unit


def dollars_in_short(nano: float) -> str:
    """'$1.24M', '$94.2k', '$312', '$0.42'."""
    value = nano / NANO_PER_DOLLAR
    sign, size = ("-", -value) if value < 0 else ("", value)
    for scale, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size >= scale * 0.9995:
            return (
                f"{sign}${size / scale:.3g}{letter}" if size < scale * 999.5 else f"{sign}${size / scale:,.0f}{letter}"
            )
    return f"{sign}${size:,.0f}" if size >= 10 or size == 0 else f"{sign}${size:.2f}"


def said(value: float | None, unit: Unit) -> str:
    """An amount with its unit; 'unknown' for None."""
    if value is None:
        return "unknown"
    match unit:
        case Unit.MONEY:
            return dollars_in_short(value)
        case Unit.TOKENS:
            return show_tokens(round(value))
        case Unit.SESSIONS:
            return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.1f}"
        case Unit.HOURS:
            return f"{value:,.1f} h"
        case Unit.FTE:
            return f"{value:.2f} FTE"
        case Unit.SHARE:
            return f"{value:.0%}"


def change(before: float | None, after: float | None, unit: Unit) -> str:
    """'+12 %', in points for shares; empty where nothing moves or there is nothing to compare with."""
    if before is None or after is None or said(before, unit) == said(after, unit):
        return ""
    if unit is Unit.SHARE:
        return f"{(after - before) * 100:+.0f} pts"
    return f"{after / before - 1:+.0%}" if before else f"+{said(after, unit)}"
