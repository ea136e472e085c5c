"""What does Anthropic say it charged: `/v1/organizations/cost_report` (2023-06-01) and its CSV export?

Buckets of a day of UTC. The API gives cents as a decimal text ('123.45' is $1.2345), the console's export dollars,
rounded to cents, and models under the names that people read ('Claude Haiku 4.5'). Costs of the priority tier are in
neither.
"""

from collections.abc import Sequence

from upshift.model.bill import CostLine, Export, Shape
from upshift.model.span import Instant
from upshift.sources import table
from upshift.sources.fields import Faults, Fields
from upshift.sources.pages import buckets, more

_READ = {"amount", "currency", "cost_type", "description", "model", "service_tier", "workspace_id"}
_DETAIL = {"context_window", "token_type", "inference_geo", "speed"}
_CSV = {
    "usage_date_utc", "model", "workspace", "api_key", "usage_type", "context_window", "token_type", "cost_usd",
    "list_price_usd", "cost_type", "inference_geo", "speed", "api_key_id", "api_key_status", "workspace_id",
}  # fmt: skip
_TOKENS = {"", "token", "tokens"}
"""What `cost_type` says of a charge for tokens."""


def from_pages(name: str, found: Sequence[Fields]) -> Export:
    """Saved pages of the API. Raises BadExportError."""
    faults, lines, covers, names = found[0].faults, list[CostLine](), list[tuple[Instant, Instant]](), set[str]()
    ended = False
    for page in found:
        ended = not more(page, faults)
        for bucket, results in buckets(page, faults):
            span = bucket.moment("starting_at"), bucket.moment("ending_at")
            covers.append(span)
            for each in results:
                names |= each.values.keys()
                if each.text("currency").upper() != "USD":
                    each.refuse("currency", "USD, the only currency that is read")
                nano, _ = each.dollars("amount", per_dollar=100)
                lines.append(
                    CostLine(
                        where=each.where,
                        start=span[0],
                        end=span[1],
                        model=each.text("model") or _other(each) or each.text("description"),
                        tier=each.text("service_tier"),
                        project=each.text("workspace_id"),
                        nano=nano,
                    )
                )
    faults.check()
    warnings = table.unknown(name, names, _READ | _DETAIL)
    return Export(name, Shape.ANTHROPIC_COSTS, tuple(lines), tuple(covers), not ended, warnings)


def from_csv(name: str, text: str) -> Export:
    """The console's export. Raises BadExportError."""
    faults, lines = Faults(), list[CostLine]()
    for each in table.lines(name, text, faults):
        start, end = each.day_or_hour("usage_date_utc")
        nano, step = each.dollars("cost_usd")
        lines.append(
            CostLine(
                where=each.where,
                start=start,
                end=end,
                model=each.text("model") or _other(each),
                tier=each.text("usage_type"),
                key=each.text("api_key"),
                project=each.text("workspace"),
                nano=nano,
                step=step,
            )
        )
    faults.check()
    covers = tuple(dict.fromkeys((each.start, each.end) for each in lines))
    return Export(
        name, Shape.ANTHROPIC_COSTS, tuple(lines), covers, False, table.unknown(name, table.columns(text), _CSV)
    )


def _other(each: Fields) -> str:
    """What was charged for if not tokens: like web_search."""
    kind = each.text("cost_type")
    return "" if kind in _TOKENS else kind
