"""Is what is taken away whole, honest and one's own; and does a bill sent to the console find its calls?"""

import csv
import importlib.util
import io
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.admin.installation import HOUR, NOW, Installation, month
from tests.console.conftest import Browser
from typer.testing import CliRunner

from upshift.admin import focus
from upshift.admin.export import CALL_COLUMNS
from upshift.admin.records import Column, Kind, to_csv
from upshift.cli.root import app
from upshift.model.budget import Amount
from upshift.model.entry import Adjust
from upshift.model.key import Role
from upshift.model.metered import Metered, Outcome
from upshift.model.tokens import Certainty
from upshift.store.sqlite_ledger import SqliteLedger

MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd",
    "ChargePeriodStart", "ContractedCost", "EffectiveCost", "HostProviderName", "InvoiceIssuerName", "ListCost",
    "PricingQuantity", "PricingUnit", "ServiceCategory", "ServiceName", "ServiceProviderName",
}  # fmt: skip
"""Of FOCUS 1.4, Cost and Usage."""
NULLABLE = {"BillingAccountName", "ChargeClass", "ChargeDescription", "PricingQuantity", "PricingUnit"}
EVERYTHING = "since=2026-01-01"


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def bearer(installation: Installation, role: Role, tenant: str = "") -> dict[str, str]:
    return {"authorization": f"Bearer {installation.secret(role, tenant)}"}


async def used(installation: Installation) -> list[Metered]:
    made = installation.call
    records = [
        made(),
        made(user="bob", tokens=5_000, cost=1_234_567),
        made(tenant="globex", user="frank", workload="docs", at=NOW - 30 * HOUR),
        made(outcome=Outcome.REFUSED, tokens=0, cost=0),
        msgspec.structs.replace(made(cost=None), counted=9_000_000, outcome=Outcome.LOST, certainty=Certainty.UNKNOWN),
    ]
    await installation.spend(*records)
    return records


def test_every_mandatory_column_is_there_and_own_ones_are_last() -> None:
    names = [column.name for column in focus.COLUMNS]
    assert set(names) >= MANDATORY
    own = [name.startswith("x_") for name in names]
    assert own == sorted(own)
    assert len(set(names)) == len(names)


async def test_costs_come_in_the_columns_of_focus(installation: Installation) -> None:
    await used(installation)
    client = Browser(installation).client
    answer = client.get(f"/api/v1/export/focus?{EVERYTHING}", headers=bearer(installation, Role.FINANCE))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"].endswith('filename="upshift-focus-20260101-20261121.csv"')
    found = rows(answer.text)
    for row in found:
        assert not [name for name in MANDATORY - NULLABLE if not row[name]], row
        # Whoever sends no invoice bills nothing: sums with the provider's own export stay right.
        assert row["BilledCost"] == "0"
        assert row["EffectiveCost"] == row["ListCost"] == row["ContractedCost"]
        assert row["ChargePeriodStart"].endswith("T00:00:00Z")
        assert row["BillingPeriodEnd"] == "2026-12-01T00:00:00Z"
    assert sum(Decimal(row["EffectiveCost"]) for row in found) == Decimal("0.014234567")
    assert sum(int(row["x_Calls"]) for row in found) == 4
    (unsure,) = [row for row in found if row["x_UnknownCostCalls"] == "1"]
    assert Decimal(unsure["EffectiveCost"]) - Decimal(unsure["x_KnownCost"]) == Decimal("0.009")
    assert "unknown cost" in unsure["ChargeDescription"]
    (bob,) = [row for row in found if json.loads(row["Tags"])["user"] == "bob"]
    assert (bob["ConsumedQuantity"], bob["ConsumedUnit"], bob["SkuId"]) == ("5000", "Tokens", "local/big")
    assert (bob["SubAccountId"], bob["ServiceProviderName"], bob["x_InputTokens"]) == ("acme", "local", "4000")


async def test_corrections_are_charges_of_their_own(installation: Installation) -> None:
    await used(installation)
    ledger = await SqliteLedger.open(installation.db, NOW)
    amount = Amount(0, -4_000_000)
    assert ledger.append(Adjust("a1", NOW, (month("acme", "alice", "chat"),), amount, "mia", "credit note")) is not None
    await ledger.close()
    client = Browser(installation).client
    found = rows(client.get("/api/v1/export/focus", headers=bearer(installation, Role.ADMIN)).text)
    (adjusted,) = [row for row in found if row["ChargeCategory"] == "Adjustment"]
    assert (adjusted["EffectiveCost"], adjusted["BilledCost"]) == ("-0.004", "0")
    assert adjusted["ChargeDescription"].startswith("credit note (mia)")
    assert (adjusted["PricingQuantity"], adjusted["SkuPriceId"], adjusted["SubAccountId"]) == ("", "", "acme")
    other = rows(client.get("/api/v1/export/focus", headers=bearer(installation, Role.TENANT_ADMIN, "globex")).text)
    assert {row["SubAccountId"] for row in other} == {"globex"}
    assert all(row["ChargeCategory"] == "Usage" for row in other)


async def test_every_call_comes_once_and_unknown_is_not_zero(installation: Installation) -> None:
    records = await used(installation)
    client = Browser(installation).client
    found = rows(client.get(f"/api/v1/export/calls?{EVERYTHING}", headers=bearer(installation, Role.ADMIN)).text)
    assert [each["id"] for each in found] == [each.request for each in reversed(records)]
    assert list(found[0]) == [column.name for column in CALL_COLUMNS]
    by_id = {each["id"]: each for each in found}
    assert (by_id[records[-1].request]["cost_usd"], by_id[records[-1].request]["counted_usd"]) == ("", "0.009")
    assert by_id[records[1].request]["cost_usd"] == "0.001234567"
    part = rows(client.get("/api/v1/export/calls?since=24h", headers=bearer(installation, Role.ADMIN)).text)
    assert {each["tenant"] for each in part} == {"acme"}
    own = rows(
        client.get(f"/api/v1/export/calls?{EVERYTHING}", headers=bearer(installation, Role.TENANT_ADMIN, "globex")).text
    )
    assert [each["tenant"] for each in own] == ["globex"]


async def test_names_in_an_export_are_no_formulas(installation: Installation) -> None:
    await installation.spend(installation.call(user="=HYPERLINK(1)"))
    client = Browser(installation).client
    (found,) = rows(client.get("/api/v1/export/calls", headers=bearer(installation, Role.ADMIN)).text)
    assert found["user"] == "'=HYPERLINK(1)"


def test_who_may_export_and_what_is_refused(installation: Installation) -> None:
    browser = Browser(installation)
    client = browser.client
    for role in Role:
        may = role in (Role.ADMIN, Role.FINANCE, Role.TENANT_ADMIN)
        headers = {"authorization": f"Bearer {browser.secret(role)}"}
        for what in ("focus", "calls"):
            assert client.get(f"/api/v1/export/{what}", headers=headers).status_code == (200 if may else 403), role
    admin = bearer(installation, Role.ADMIN)
    assert client.get("/api/v1/export/focus").status_code == 401
    assert client.get("/api/v1/export/secrets", headers=admin).status_code == 422
    assert client.get("/api/v1/export/calls?format=xml", headers=admin).status_code == 422
    assert client.get("/api/v1/export/calls?since=soon", headers=admin).status_code == 400
    assert client.get("/api/v1/export/calls?since=2026-11-20&until=2026-11-01", headers=admin).status_code == 400


def test_long_exports_come_in_pieces() -> None:
    many = ({"n": number} for number in range(12_001))
    pieces = list(to_csv([Column("n", Kind.INTEGER)], many))
    assert len(pieces) == 3
    assert [int(line) for line in "".join(pieces).split()[1:]] == list(range(12_001))


async def test_the_command_writes_the_same(installation: Installation, tmp_path: Path) -> None:
    await used(installation)
    file = tmp_path / "costs.csv"
    runner = CliRunner()
    db = ["--db", str(installation.db)]
    done = runner.invoke(app, ["export", "focus", "--since", "2026-11-01", "-o", str(file), "--json", *db])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"file": str(file), "bytes": file.stat().st_size}
    assert sum(int(row["x_Calls"]) for row in rows(file.read_text())) == 4
    shown = runner.invoke(app, ["export", "calls", "--since", "2026-11-01", *db])
    assert len(rows(shown.stdout)) == 5
    assert runner.invoke(app, ["export", "calls", "--json", *db]).exit_code == 2
    assert not [each for each in os.listdir(tmp_path) if each.endswith(".part")]


async def test_parquet_has_the_same_in_types(installation: Installation, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install 'upshift[parquet]'")
    await used(installation)
    client = Browser(installation).client
    admin = bearer(installation, Role.ADMIN)
    for what in ("focus", "calls"):
        told = rows(client.get(f"/api/v1/export/{what}?{EVERYTHING}", headers=admin).text)
        answer = client.get(f"/api/v1/export/{what}?{EVERYTHING}&format=parquet", headers=admin)
        assert answer.status_code == 200
        table: Any = parquet.read_table(io.BytesIO(answer.content))
        assert table.column_names == list(told[0])
        assert table.num_rows == len(told)
        if what == "focus":
            assert sum(table["EffectiveCost"].to_pylist()) == Decimal("0.014234567")
            assert str(table.schema.field("ChargePeriodStart").type) == "timestamp[us, tz=UTC]"
        else:
            assert table["cost_usd"].null_count == 1


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is not None, reason="the library is installed")
def test_without_the_library_parquet_says_what_to_install(installation: Installation, tmp_path: Path) -> None:
    client = Browser(installation).client
    answer = client.get("/api/v1/export/calls?format=parquet", headers=bearer(installation, Role.ADMIN))
    assert answer.status_code == 400
    assert "upshift[parquet]" in answer.text
    file = tmp_path / "calls.parquet"
    asked = ["export", "calls", "--format", "parquet", "-o", str(file), "--db", str(installation.db)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 1
    assert "upshift[parquet]" in done.output
    assert not [each for each in os.listdir(tmp_path) if "parquet" in each]


# the page -------------------------------------------------------------------------------------------------------------


async def test_entries_are_shown_by_kind_and_time(installation: Installation) -> None:
    records = await used(installation)
    browser = Browser(installation)
    browser.sign_in()
    first = browser.client.get("/console/ledger").text
    assert "plan applied" in first
    assert records[0].request not in first
    calls = browser.client.get("/console/ledger?kind=calls&format=json").json()
    assert [each["kind"] for each in calls] == ["settle", "note", "settle", "settle", "settle"]
    holds = browser.client.get("/console/ledger?kind=hold&format=json").json()
    assert {each["kind"] for each in holds} == {"hold"}
    assert f'href="/console/traffic/{records[0].request}"' in browser.client.get("/console/ledger?kind=calls").text
    assert browser.client.get("/console/ledger?kind=calls&until=2026-11-01&format=json").json() == []
    assert browser.client.get("/console/ledger?until=soon").status_code == 400
    assert browser.client.get("/console/ledger?kind=nonsense").status_code == 200


async def test_a_tenant_sees_entries_of_its_own(installation: Installation) -> None:
    await used(installation)
    browser = Browser(installation)
    browser.sign_in(Role.TENANT_ADMIN, "globex")
    for kind in ("", "calls", "hold", "all"):
        found = browser.client.get(f"/console/ledger?kind={kind}&format=json").json()
        assert {each["tenant"] for each in found} <= {"globex"}, kind
    assert len(browser.client.get("/console/ledger?kind=calls&format=json").json()) == 1
    assert "frank" in browser.client.get("/console/ledger/export?what=calls&since=2026-01-01").text
    assert "alice" not in browser.client.get("/console/ledger/export?what=calls&since=2026-01-01").text
    assert browser.client.get("/console/ledger/reconcile").status_code == 403


def bill(*records: Metered, **usage: int) -> bytes:
    return json.dumps(
        [
            {
                "id": each.upstream_id,
                "at": each.started,
                "model": each.served_model,
                "usage": usage or {"input": each.usage.input, "output": each.usage.output},
            }
            for each in records
        ]
    ).encode()


async def billed(installation: Installation) -> tuple[Browser, list[Metered]]:
    plan = installation.desk.need_snapshot().hash
    made = [msgspec.structs.replace(installation.call(), plan=plan, upstream_id=f"req_{number}") for number in range(3)]
    made[2] = msgspec.structs.replace(
        made[2], certainty=Certainty.UNKNOWN, outcome=Outcome.UPSTREAM_ERROR, cost=None, counted=9_000_000
    )
    await installation.spend(*made)
    browser = Browser(installation)
    browser.sign_in()
    return browser, made


def sent(browser: Browser, data: bytes, **fields: str) -> Any:
    return browser.client.post(
        "/console/ledger/reconcile",
        data={"provider": "local", "since": "30d", "until": "2026-11-21T10:00", "csrf": browser.csrf, **fields},
        files=[("files", ("october.json", data))],
    )


async def test_a_bill_is_compared_and_calls_are_corrected(installation: Installation) -> None:
    browser, made = await billed(installation)
    assert "<option>local</option>" in browser.client.get("/console/ledger/reconcile").text
    answer = sent(browser, bill(made[0], made[1])[:-1] + b"," + bill(made[2], input=300, output=50)[1:])
    assert answer.status_code == 303, answer.text
    place = answer.headers["location"]
    page = browser.client.get(place).text
    assert "october.json" in page
    assert "Correct 1 call" in page
    assert "Calls that are known after all" in page
    assert browser.client.post(place, data={"csrf": browser.csrf}).status_code == 400
    done = browser.client.post(place, data={"csrf": browser.csrf, "reason": "October's invoice"})
    assert done.headers["location"].endswith("?written=1")
    after = browser.client.get(done.headers["location"]).text
    assert "1 calls have their true cost now" in after
    assert "Correct 1 call" not in after
    assert [each.kind for each in installation.desk.journal.decisions(["reconciled"])] == ["reconciled"]
    again = browser.client.post(place, data={"csrf": browser.csrf, "reason": "twice"})
    assert again.headers["location"].endswith("?written=0")


async def test_what_is_missing_and_different_shows(installation: Installation) -> None:
    browser, made = await billed(installation)
    answer = sent(browser, bill(made[0], input=1, output=1))
    found = browser.client.get(answer.headers["location"] + "?format=json").json()
    assert {"different", "missing-there"} <= {each["verdict"] for each in found}
    assert "does not agree" in browser.client.get(answer.headers["location"]).text


async def test_a_bill_that_is_none_is_refused_with_its_lines(installation: Installation) -> None:
    browser, made = await billed(installation)
    for data, fields in (
        (b"<script>alert(1)</script>", {}),
        (b"", {}),
        (bill(made[0]), {"provider": "<b>nobody"}),
        (bill(made[0]), {"since": "soon"}),
        (bill(made[0]), {"within": "tokens=lots"}),
    ):
        answer = sent(browser, data, **fields)
        assert answer.status_code in (400, 404), (data, answer.text)
        assert "<script>alert" not in answer.text
        assert "<b>nobody" not in answer.text
    nothing = browser.client.post("/console/ledger/reconcile", data={"provider": "local", "csrf": browser.csrf})
    assert nothing.status_code == 400


async def test_a_comparison_is_its_senders_alone(installation: Installation) -> None:
    browser, made = await billed(installation)
    place = sent(browser, bill(made[0])).headers["location"]
    browser.client.cookies.clear()
    browser.sign_in()
    assert browser.client.get(place).status_code == 404


async def test_what_a_page_lists_is_taken_away_whole(browser: Browser, installation: Installation) -> None:
    ledger = await SqliteLedger.open(installation.db, installation.clock.now())
    for number in range(2_101):
        ledger.note(installation.call(user="bob" if number % 2 else "alice", outcome=Outcome.REFUSED), NOW)
    await ledger.close()
    browser.sign_in()
    get = browser.client.get
    calls = rows(get("/console/traffic?format=csv").text)
    assert len(calls) == 2_101
    assert [each["user"] for each in calls[:2]] == ["alice", "bob"]
    assert len(rows(get("/console/traffic?user=bob&format=csv").text)) == 1_050
    # From an older page too, and only what is sought.
    oldest = installation.desk.journal.calls(limit=1)[0].seq - 1_000
    assert len(get(f"/console/traffic?before={oldest}&q=alice&format=json").json()) == 1_051
    assert get("/console/traffic?user=nobody&format=json").json() == []
    assert get("/console/traffic?user=nobody&format=csv").text.startswith("started,")
    kept = rows(get("/console/ledger?kind=calls&format=csv").text)
    assert len(kept) == 2_101
    assert len({each["id"] for each in kept}) == 2_101
    assert len(get("/console/ledger?kind=all&format=json").json()) > 2_101
