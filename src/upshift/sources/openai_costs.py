"""What does OpenAI say it charged: `/v1/organization/costs` (as of September 2026) and its CSV export?

Buckets of a day of UTC. A line item is like 'gpt-5-mini, input_tokens': a model and what of it; without a comma it is
a model, or something that is none. It is absent where the report was not grouped by it.
"""

from collections.abc import Sequence

from upshift.model.bill import CostLine, Export, Shape
from upshift.model.span import Instant
from upshift.sources import table
from upshift.sources.fields import Faults, Fields
from upshift.sources.pages import buckets, more

RESULT = "organization.costs.result"

_READ = {"object", "amount", "line_item", "project_id", "api_key_id"}
_DETAIL = {
    "quantity", "quantity_unit", "user_id", "user_email", "project_name", "organization_id", "organization_name",
    "api_key_name", "api_source",
}  # fmt: skip
_CSV = {"start_time", "end_time", "start_time_iso", "end_time_iso", "amount_value", "amount_currency"}


def from_pages(name: str, found: Sequence[Fields]) -> Export:
    """Saved pages of the API. Raises BadExportError."""
    faults, lines, covers, names = found[0].faults, list[CostLine](), list[tuple[Instant, Instant]](), set[str]()
    ended = False
    for page in found:
        ended = not more(page, faults)
        for bucket, results in buckets(page, faults):
            span = bucket.epoch("start_time"), bucket.epoch("end_time")
            covers.append(span)
            for each in results:
                names |= each.values.keys()
                if each.get("object") not in (None, RESULT):
                    each.refuse("object", f"{RESULT!r}: other reports are not read")
                lines.append(_line(each, span, each.inner("amount"), "value", "currency", rounded=False))
    faults.check()
    warnings = table.unknown(name, names, _READ | _DETAIL)
    return Export(name, Shape.OPENAI_COSTS, tuple(lines), tuple(covers), not ended, warnings)


def from_csv(name: str, text: str) -> Export:
    """The console's export; a line without an amount is a day without costs. Raises BadExportError."""
    faults, lines, covers = Faults(), list[CostLine](), list[tuple[Instant, Instant]]()
    for each in table.lines(name, text, faults):
        span = each.epoch("start_time"), each.epoch("end_time")
        covers.append(span)
        if each.get("amount_value") is not None:
            lines.append(_line(each, span, each, "amount_value", "amount_currency", rounded=True))
    faults.check()
    warnings = table.unknown(name, table.columns(text), _READ | _DETAIL | _CSV)
    return Export(name, Shape.OPENAI_COSTS, tuple(lines), tuple(dict.fromkeys(covers)), False, warnings)


def _line(
    each: Fields, span: tuple[Instant, Instant], amount: Fields, value: str, currency: str, *, rounded: bool
) -> CostLine:
    if amount.text(currency).lower() != "usd":
        amount.refuse(currency, "usd, the only currency that is read")
    nano, step = amount.dollars(value)
    return CostLine(
        where=each.where,
        start=span[0],
        end=span[1],
        model=each.text("line_item").split(",")[0].strip(),
        key=each.text("api_key_id"),
        project=each.text("project_id"),
        nano=nano,
        # A JSON number drops its trailing zeros, so its digits say nothing of how it was rounded.
        step=step if rounded else 0,
    )
