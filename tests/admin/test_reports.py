"""Do reports add up, for whom they may be shown to, in any grouping, zone and form?"""

import csv
import io

import pytest
from tests.admin.installation import HOUR, NOW, OPERATOR, Installation, alert

from upshift.admin.budgets import BudgetView, budgets
from upshift.admin.desk import ActError, Actor
from upshift.admin.reports import conditions, dimensions, to_csv, usage
from upshift.model.budget import Bucket
from upshift.model.key import Role
from upshift.model.metered import Outcome
from upshift.store.journal import Dimension

ACME_ADMIN = Actor("ada", Role.TENANT_ADMIN, "acme")


@pytest.fixture
async def used(installation: Installation) -> Installation:
    call = installation.call
    await installation.spend(
        call(),
        call(at=NOW - 12 * HOUR, tokens=500, cost=1_000_000, latency_us=50_000),
        call(cost=None, outcome=Outcome.CLIENT_LEFT),
        call(bucket=Bucket.DEGRADED, tokens=100, cost=10_000),
        call(outcome=Outcome.REFUSED, tokens=0, cost=0),
        call(user="=2+3", workload="docs", cost=7_000_000),
        call(tenant="globex", user="frank", workload="docs", cost=9_000_000),
        alerts=[alert(70), alert(90), alert(90, user="frank", tenant="globex")],
    )
    return installation


def test_totals_by_workload_the_dearest_first(used: Installation) -> None:
    view = usage(used.desk, OPERATOR, dimensions(["workload"]), {})
    assert [(row.group, row.calls, row.cost_usd) for row in view.rows] == [
        ({"workload": "docs"}, 2, "0.016"),
        ({"workload": "chat"}, 5, "0.00301"),
    ]
    chat = view.rows[1]
    assert (chat.refused, chat.degraded, chat.unknown_cost_calls) == (1, 1, 1)
    assert (chat.input, chat.output) == (800 + 400 + 800 + 80, 200 + 100 + 200 + 20)
    assert (chat.p50_ms, chat.p95_ms) == (150.0, 150.0)
    assert view.total is not None
    assert (view.total.calls, view.total.cost_nano) == (7, 19_010_000)


def test_a_tenants_admin_sees_its_tenant_only(used: Installation) -> None:
    view = usage(used.desk, ACME_ADMIN, dimensions(["tenant", "user"]), {})
    assert {row.group["tenant"] for row in view.rows} == {"acme"}
    with pytest.raises(ActError) as caught:
        usage(used.desk, ACME_ADMIN, [], conditions(["tenant=globex"]))
    assert caught.value.status == 404


def test_days_follow_the_zone(used: Installation) -> None:
    by = dimensions(["day,workload"])
    only = conditions(["workload=chat"])
    assert [(row.group["day"], row.calls) for row in usage(used.desk, OPERATOR, by, only).rows] == [
        ("2026-11-20", 1),
        ("2026-11-21", 4),
    ]
    # Twelve hours ago it was 23:00 in Berlin, and already the next day in Tokyo.
    berlin = usage(used.desk, OPERATOR, by, only, zone="Europe/Berlin").rows
    assert [(row.group["day"], row.calls) for row in berlin] == [("2026-11-20", 1), ("2026-11-21", 4)]
    tokyo = usage(used.desk, OPERATOR, by, only, zone="Asia/Tokyo").rows
    assert [(row.group["day"], row.calls) for row in tokyo] == [("2026-11-21", 5)]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
@pytest.mark.parametrize("unit", ["hour", "day", "month"])
def test_slices_of_time_add_up_to_the_whole(used: Installation, unit: str, zone: str) -> None:
    view = usage(used.desk, OPERATOR, dimensions([unit]), {}, zone=zone)
    assert view.total is not None
    assert sum(row.calls for row in view.rows) == view.total.calls
    assert sum(row.cost_nano for row in view.rows) == view.total.cost_nano


def test_since_and_until(used: Installation) -> None:
    recent = usage(used.desk, OPERATOR, [], {}, since="2h").total
    assert recent is not None
    assert recent.calls == 6
    assert usage(used.desk, OPERATOR, [], {}, since="2026-11-01", until="2026-11-20").total is None
    with pytest.raises(ValueError, match="is not before"):
        usage(used.desk, OPERATOR, [], {}, since="2026-11-20", until="2026-11-01")
    with pytest.raises(ValueError, match="choose a shorter stretch"):
        usage(used.desk, OPERATOR, [Dimension.HOUR], {}, since="2020-01-01", zone="Asia/Kolkata")


def test_names_that_are_no_dimensions(installation: Installation) -> None:
    for bad in (["colour"], ["user", "user"]):
        with pytest.raises(ValueError, match=r"dimension|twice"):
            dimensions(bad)
    with pytest.raises(ValueError, match="is not a condition"):
        conditions(["workload"])


def test_csv_is_harmless_in_a_spreadsheet(used: Installation) -> None:
    view = usage(used.desk, OPERATOR, dimensions(["user"]), {})
    rows = list(csv.DictReader(io.StringIO(to_csv(view))))
    assert {row["user"] for row in rows} == {"alice", "frank", "'=2+3"}
    assert sum(int(row["calls"]) for row in rows) == 7


async def test_budgets_show_use_pace_and_what_happens(used: Installation) -> None:
    used.desk.opt_in(ACME_ADMIN, tenant="acme", workload="chat", limit=50_000_000_000)
    await used.spend(used.call(tokens=91_000))
    lines = budgets(used.desk, OPERATOR)

    def line(user: str, workload: str, bucket: str, window: str = "month") -> BudgetView:
        (found,) = [
            each
            for each in lines
            if (each.user, each.workload, each.bucket, each.window) == (user, workload, bucket, window)
        ]
        return found

    mine = line("alice", "chat", "included")
    assert (mine.tokens.used, mine.tokens.limit, mine.tokens.share) == (93_500, 100_000, 0.935)
    assert mine.tokens.runs_out is not None
    assert mine.resets == "2026-12-01T00:00:00+01:00"
    assert mine.at_the_ceiling == ("soft-cap", "pay-as-you-go", "hard-cap")
    assert mine.notices == ("the token budget is nearly used up",)
    assert line("alice", "chat", "included", "day").tokens.used == 0
    assert line("alice", "chat", "degraded").notices
    assert line("*", "chat", "overage").money.limit == 50_000_000_000
    assert line("=2+3", "docs", "included").tier == "free"
    assert {each.tenant for each in budgets(used.desk, ACME_ADMIN)} == {"acme"}
    for actor, asked in (
        (ACME_ADMIN, {"tenant": "globex"}),
        (OPERATOR, {"tenant": "x"}),
        (OPERATOR, {"workload": "x"}),
    ):
        with pytest.raises(ActError) as caught:
            budgets(used.desk, actor, **asked)
        assert caught.value.status == 404
