"""Does the export keep the rules of FOCUS for its columns: names, nulls, types, allowed values, what goes with what?"""

import csv
import io
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.admin.installation import NOW, Installation, month
from tests.console.conftest import Browser

from upshift.admin import focus
from upshift.model.budget import Amount
from upshift.model.entry import Adjust
from upshift.model.key import Role
from upshift.model.metered import Outcome
from upshift.store.sqlite_ledger import SqliteLedger

# As the specification's pages of columns say, https://focus.finops.org, dataset Cost and Usage.
NEVER_NULL = {
    "BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
    "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost", "EffectiveCost", "HostProviderName", "InvoiceIssuerName",
    "ListCost", "ServiceCategory", "ServiceName", "ServiceProviderName", "ServiceSubcategory",
}  # fmt: skip
NULLABLE = {"BillingAccountName", "ChargeClass", "ChargeDescription", "PricingQuantity", "PricingUnit"}
ALLOWED: Mapping[str, set[str]] = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"", "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "ServiceCategory": {
        "AI and Machine Learning", "Analytics", "Business Applications", "Compute", "Databases", "Developer Tools",
        "Multicloud", "Identity", "Integration", "Internet of Things", "Management and Governance", "Media",
        "Migration", "Mobile", "Networking", "Security", "Storage", "Web", "Other",
    },
}  # fmt: skip
OF_AI = {
    "AI Platforms", "Bots", "Generative AI", "Machine Learning", "Natural Language Processing",
    "Other (AI and Machine Learning)",
}  # fmt: skip
TIMES = ("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart")
NUMBERS = ("BilledCost", "ConsumedQuantity", "ContractedCost", "EffectiveCost", "ListCost", "PricingQuantity")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
"""Without separators of thousands, units or signs of currencies."""


def broken(row: Mapping[str, str]) -> list[str]:
    """The rules that a row does not keep."""
    found = [f"{name} is null" for name in sorted(NEVER_NULL) if not row[name]]
    found += [f"{name} is {row[name]!r}" for name, values in ALLOWED.items() if row[name] not in values]
    found += [f"{name} is {row[name]!r}" for name in NUMBERS if row[name] and not NUMBER.fullmatch(row[name])]
    found += [f"{name} is {row[name]!r}" for name in TIMES if not MOMENT.fullmatch(row[name])]
    if found:
        return found
    start, end, billed, until = (
        datetime.fromisoformat(row[name])
        for name in ("ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodStart", "BillingPeriodEnd")
    )
    usage, correction = row["ChargeCategory"] == "Usage", row["ChargeClass"] == "Correction"
    tags = json.loads(row["Tags"] or "{}")
    rules = {
        "the charge lies within its billing period": billed <= start < end <= until,
        "a billing period is a month": (billed.day, until.day, billed.hour, until.hour) == (1, 1, 0, 0),
        "the currency is of ISO 4217": bool(re.fullmatch("[A-Z]{3}", row["BillingCurrency"])),
        "the subcategory is of its category": row["ServiceSubcategory"] in OF_AI,
        "usage has quantities, what is not has none": bool(row["ConsumedQuantity"]) == (usage and not correction),
        "a quantity comes with its unit": all(
            bool(row[f"{name}Quantity"]) == bool(row[f"{name}Unit"]) for name in ("Consumed", "Pricing")
        ),
        "usage is priced by a quantity": bool(row["PricingQuantity"]) or not usage or correction,
        "usage has a SKU": bool(row["SkuId"]) or not usage,
        "a meter and a price are of a SKU": bool(row["SkuId"]) or not (row["SkuMeter"] or row["SkuPriceId"]),
        "no usage without the price's SKU": bool(row["SkuPriceId"]) or not row["ConsumedQuantity"],
        "tags are one level of texts": all(isinstance(each, str) for pair in tags.items() for each in pair),
        "a sub-account's name needs one": bool(row["SubAccountId"]) or not row["SubAccountName"],
    }
    return [rule for rule, kept in rules.items() if not kept]


def exported(installation: Installation) -> list[dict[str, str]]:
    headers = {"authorization": f"Bearer {installation.secret(Role.FINANCE)}"}
    answer = Browser(installation).client.get("/api/v1/export/focus?since=2026-01-01", headers=headers)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_columns_are_named_as_they_should() -> None:
    names = [column.name for column in focus.COLUMNS]
    assert set(names) >= NEVER_NULL | NULLABLE
    assert all(re.fullmatch(r"(x_)?[A-Z][A-Za-z]*", name) for name in names)
    standard = [name for name in names if not name.startswith("x_")]
    assert names == [*standard, *(name for name in names if name.startswith("x_"))]
    # Replaced in 1.3: to whom the money goes is told by the three columns that are there.
    assert not {"ProviderName", "PublisherName"} & set(names)


async def test_rows_of_every_kind_keep_the_rules(installation: Installation) -> None:
    made = installation.call
    await installation.spend(
        made(),
        made(user="=SUM(A1)", at=NOW - 20 * 86_400_000_000),
        made(tenant="globex", user="frank", workload="docs", cost=1),
        made(outcome=Outcome.REFUSED, tokens=0, cost=0),
        made(cost=None, outcome=Outcome.LOST),
        made(cost=123_456_789_012_345),
    )
    ledger = await SqliteLedger.open(installation.db, NOW)
    back = Adjust("a1", NOW, (month("acme", "alice", "chat"),), Amount(0, -4_000_000), "mia", "credit note")
    assert ledger.append(back) is not None
    await ledger.close()
    rows = exported(installation)
    assert {row["ChargeCategory"] for row in rows} == {"Usage", "Adjustment"}
    for row in rows:
        assert not broken(row), row
    assert max(Decimal(row["EffectiveCost"]) for row in rows) == Decimal("123456.791012345") - Decimal(
        "0.002"
    ) + Decimal("0.002")


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    names=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20),
        min_size=1,
        max_size=3,
    ),
    cost=st.integers(0, 10**15),
    hours=st.integers(1, 2_000),
)
async def test_whatever_users_are_called_and_calls_cost(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], cost: int, hours: int
) -> None:
    installation = Installation(tmp_path_factory.mktemp("focus") / "upshift.db")
    installation.apply()
    try:
        when = NOW - hours * 3_600_000_000
        await installation.spend(*(installation.call(user=name, cost=cost, at=when) for name in names))
        rows = exported(installation)
        assert [broken(row) for row in rows] == [[] for _ in rows]
        assert sum(Decimal(row["EffectiveCost"]) for row in rows) == Decimal(cost * len(names)) / 10**9
        assert {json.loads(row["Tags"])["user"] for row in rows} == set(names)
        assert all(datetime.fromisoformat(row["ChargePeriodStart"]).tzinfo == UTC for row in rows)
    finally:
        installation.desk.journal.close()


def test_the_rules_find_what_breaks_them() -> None:
    """Otherwise the tests above would pass whatever was exported."""
    fine = {column.name: "" for column in focus.COLUMNS} | {
        "BilledCost": "0", "BillingAccountId": "demo", "BillingCurrency": "USD",
        "BillingPeriodStart": "2026-11-01T00:00:00Z", "BillingPeriodEnd": "2026-12-01T00:00:00Z",
        "ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based", "ChargePeriodStart": "2026-11-20T00:00:00Z",
        "ChargePeriodEnd": "2026-11-21T00:00:00Z", "ConsumedQuantity": "5", "ConsumedUnit": "Tokens",
        "ContractedCost": "1", "EffectiveCost": "1", "HostProviderName": "x", "InvoiceIssuerName": "x", "ListCost": "1",
        "PricingQuantity": "5", "PricingUnit": "Tokens", "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "x", "ServiceProviderName": "x", "ServiceSubcategory": "Generative AI", "SkuId": "a/b",
        "SkuMeter": "Tokens", "SkuPriceId": "a/b", "Tags": "{}",
    }  # fmt: skip
    assert not broken(fine)
    wrong = {
        "BilledCost": "$0", "BillingCurrency": "$", "BillingPeriodEnd": "2026-11-30T00:00:00Z", "ChargeCategory": "Fee",
        "ChargeClass": "New", "ChargeFrequency": "", "ChargePeriodEnd": "2026-12-02T00:00:00Z",
        "ChargePeriodStart": "2026-11-20", "ConsumedQuantity": "", "ConsumedUnit": "", "EffectiveCost": "1,000",
        "PricingQuantity": "", "ServiceCategory": "AI", "ServiceSubcategory": "Chat", "SkuId": "", "SkuPriceId": "",
        "Tags": '{"a": {"b": 1}}', "SubAccountName": "nobody's",
    }  # fmt: skip
    for name, value in wrong.items():
        assert broken({**fine, name: value}), name
