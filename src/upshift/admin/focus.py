"""What does the ledger come to in the columns of FOCUS, the FinOps Open Cost and Usage Specification?"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from upshift.admin.desk import Actor, Desk
from upshift.admin.records import Column, Kind, Row
from upshift.admin.reports import own
from upshift.model.ids import RequestId
from upshift.model.money import Nano, dollars
from upshift.model.span import Instant, to_datetime
from upshift.store.entries import EntryKind, Kept
from upshift.store.journal import Dimension, Used

VERSION = "1.4"
"""Of the specification, https://focus.finops.org, its dataset "Cost and Usage"."""

# All columns that the specification makes mandatory, then those of its conditional and recommended ones that something
# is known for. Those of its own go last, as it asks.
COLUMNS = (
    Column("BilledCost", Kind.DECIMAL),
    Column("BillingAccountId"),
    Column("BillingAccountName"),
    Column("BillingCurrency"),
    Column("BillingPeriodEnd", Kind.TIME),
    Column("BillingPeriodStart", Kind.TIME),
    Column("ChargeCategory"),
    Column("ChargeClass"),
    Column("ChargeDescription"),
    Column("ChargeFrequency"),
    Column("ChargePeriodEnd", Kind.TIME),
    Column("ChargePeriodStart", Kind.TIME),
    Column("ConsumedQuantity", Kind.DECIMAL),
    Column("ConsumedUnit"),
    Column("ContractedCost", Kind.DECIMAL),
    Column("EffectiveCost", Kind.DECIMAL),
    Column("HostProviderName"),
    Column("InvoiceIssuerName"),
    Column("ListCost", Kind.DECIMAL),
    Column("PricingQuantity", Kind.DECIMAL),
    Column("PricingUnit"),
    Column("ServiceCategory"),
    Column("ServiceName"),
    Column("ServiceProviderName"),
    Column("ServiceSubcategory"),
    Column("SkuId"),
    Column("SkuMeter"),
    Column("SkuPriceId"),
    Column("SubAccountId"),
    Column("SubAccountName"),
    Column("Tags"),
    Column("x_Bucket"),
    Column("x_CachedInputTokens", Kind.INTEGER),
    Column("x_Calls", Kind.INTEGER),
    Column("x_InputTokens", Kind.INTEGER),
    Column("x_KnownCost", Kind.DECIMAL),
    Column("x_OutputTokens", Kind.INTEGER),
    Column("x_ReasoningTokens", Kind.INTEGER),
    Column("x_UnknownCostCalls", Kind.INTEGER),
)

_BY = (
    Dimension.DAY, Dimension.TENANT, Dimension.USER, Dimension.WORKLOAD, Dimension.POD, Dimension.PROJECT,
    Dimension.PROVIDER, Dimension.SERVED_MODEL, Dimension.BUCKET,
)  # fmt: skip
_NOBODY = "Not Applicable"
_SERVICE = "Language models"
_CATEGORY, _SUBCATEGORY = "AI and Machine Learning", "Generative AI"
_PAGE = 500


def rows(desk: Desk, actor: Actor, since: Instant, until: Instant) -> Iterator[Row]:
    """Charges of calls that started in [since, until), by day (UTC), tenant, user, workload, model and bucket.

    Then what people corrected in that time. Raises ActError before the first plan.
    """
    snapshot = desk.need_snapshot()
    names = {str(each.id): each.name for each in snapshot.tenants.values()}
    where = own(desk, actor, {})
    for used in desk.journal.usage(_BY, since, until, where):
        if used.usage.total or used.counted:
            yield _charge(used, snapshot.name, names)
    for entry in _adjustments(desk, actor.tenant, since, until):
        yield _correction(desk, entry, snapshot.name, names)


def _charge(used: Used, account: str, names: dict[str, str]) -> Row:
    group = dict(zip(_BY, used.group, strict=True))
    day = datetime.fromisoformat(group[Dimension.DAY]).replace(tzinfo=UTC)
    tenant, provider, model = group[Dimension.TENANT], group[Dimension.PROVIDER], group[Dimension.SERVED_MODEL]
    # A call that was lost says neither.
    sku = f"{provider or 'unknown'}/{model or 'unknown'}"
    calls = used.calls - used.refused
    unsure = f"; {used.unknown_cost} calls of unknown cost at what they held" if used.unknown_cost else ""
    tags = {each.value: group[each] for each in (Dimension.WORKLOAD, Dimension.USER, Dimension.POD, Dimension.PROJECT)}
    tokens = Decimal(used.usage.total)
    return {
        **_common(day, day + timedelta(days=1), account, tenant, names, provider or _NOBODY),
        **_costs(used.counted),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{sku}, {calls} calls{unsure}",
        "ChargeFrequency": "Usage-Based",
        "ConsumedQuantity": tokens,
        "ConsumedUnit": "Tokens",
        "PricingQuantity": tokens,
        "PricingUnit": "Tokens",
        "SkuId": sku,
        "SkuMeter": "Tokens",
        "SkuPriceId": sku,
        "Tags": json.dumps({name: value for name, value in tags.items() if value}, ensure_ascii=False),
        "x_Bucket": group[Dimension.BUCKET],
        "x_CachedInputTokens": used.usage.cached,
        "x_Calls": calls,
        "x_InputTokens": used.usage.input,
        "x_KnownCost": dollars(used.cost),
        "x_OutputTokens": used.usage.output,
        "x_ReasoningTokens": used.usage.reasoning,
        "x_UnknownCostCalls": used.unknown_cost,
    }


def _correction(desk: Desk, entry: Kept, account: str, names: dict[str, str]) -> Row:
    day = to_datetime(entry.at).replace(hour=0, minute=0, second=0, microsecond=0)
    call = desk.journal.call(RequestId(entry.id.removeprefix("reconcile/")))
    provider = call.record.provider if call is not None else ""
    tags = {"workload": entry.workload, "user": entry.user}
    return {
        **_common(day, day + timedelta(days=1), account, entry.tenant, names, provider or _NOBODY),
        **_costs(entry.nano),
        "ChargeCategory": "Adjustment",
        "ChargeDescription": f"{entry.reason} ({entry.by})",
        "ChargeFrequency": "One-Time",
        "Tags": json.dumps({name: value for name, value in tags.items() if value}, ensure_ascii=False),
        "x_KnownCost": dollars(entry.nano),
    }


def _costs(nano: Nano) -> Row:
    # Whoever does not send the invoice bills nothing, so that sums over this and the provider's own export are right.
    # List and contracted cost are what the plan's prices say.
    cost = dollars(nano)
    return {"BilledCost": Decimal(0), "ContractedCost": cost, "EffectiveCost": cost, "ListCost": cost}


def _common(start: datetime, end: datetime, account: str, tenant: str, names: dict[str, str], provider: str) -> Row:
    month = start.replace(day=1)
    return {
        "BillingAccountId": account,
        "BillingAccountName": account,
        "BillingCurrency": "USD",
        "BillingPeriodStart": month,
        "BillingPeriodEnd": (month + timedelta(days=32)).replace(day=1),
        "ChargePeriodStart": start,
        "ChargePeriodEnd": end,
        "HostProviderName": provider,
        "InvoiceIssuerName": provider,
        "ServiceCategory": _CATEGORY,
        "ServiceName": _SERVICE,
        "ServiceProviderName": provider,
        "ServiceSubcategory": _SUBCATEGORY,
        "SubAccountId": tenant,
        "SubAccountName": names.get(tenant, tenant),
    }


def _adjustments(desk: Desk, tenant: str, since: Instant, until: Instant) -> Iterator[Kept]:
    before: int | None = None
    while page := desk.journal.entries([EntryKind.ADJUST], _PAGE, before, until if before is None else None, tenant):
        for entry in page:
            if since <= entry.at < until and entry.nano:
                yield entry
        if page[-1].at < since:
            return
        before = page[-1].seq
