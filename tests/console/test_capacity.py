"""Do the pages of capacity show what the rules say, recompute without keeping anything, and tell bad input?"""

import html
import json
from pathlib import Path

import httpx2
import pytest
from tests.admin.installation import OPERATOR, Installation
from tests.console.conftest import Browser

from upshift.admin.signed import DRAWN, draws
from upshift.console.forecasts import DRAWS, Forecasts
from upshift.model.entry import Decision
from upshift.model.key import Role
from upshift.model.quarter import Month
from upshift.planning.forecast import forecast

TEXT = (
    (Path(__file__).parents[1] / "admin" / "portfolio.yaml")
    .read_text()
    .replace("sign_offs: required", "sign_offs: waived")
    .replace("tokens: 520k", "tokens: 400k..520k..700k")
    .replace("status: candidate\n    ships: Q3", "status: committed\n    ships: Q3")
)
START = Month(2026, 12)


@pytest.fixture
def planned(empty: Installation) -> Installation:
    empty.desk.apply(empty.desk.check(TEXT), OPERATOR)
    return empty


@pytest.fixture
def seat(planned: Installation) -> Browser:
    browser = Browser(planned)
    browser.sign_in(Role.VIEWER)
    return browser


def post(browser: Browser, path: str, **fields: str) -> httpx2.Response:
    headers = {"x-csrf-token": browser.csrf, "hx-request": "true"}
    return browser.client.post(f"/console/capacity/{path}", data=fields, headers=headers)


def series(page: str, at: int = 0) -> dict[str, list[float]]:
    """What the page's charts draw: the values of each series by its name."""
    options = [part.partition('"')[0] for part in page.split('data-chart="')[1:]]
    option = json.loads(html.unescape(options[at]))
    return {one["name"]: one["data"] for one in option["series"] if "name" in one}


def test_the_page_comes_at_once_and_the_forecast_after_it(seat: Browser) -> None:
    first = seat.client.get("/console/capacity").text
    assert 'hx-get="/console/capacity/forecast"' in first
    assert "data-chart" not in first
    part = seat.client.get("/console/capacity/forecast").text
    assert 'hx-get="/console/capacity/most"' in part
    swings = seat.client.get("/console/capacity/most").text
    again = seat.client.get("/console/capacity").text
    assert "hx-get" not in again.partition('id="what-if"')[0]
    assert series(again) == series(part)
    assert series(again, 3) == series(swings)


def test_the_charts_are_the_forecasts(seat: Browser, planned: Installation) -> None:
    page = seat.client.get("/console/capacity/forecast").text
    told = forecast(planned.desk.need_outline(), start=START, draws=DRAWS)
    cost, peaks, hours = (series(page, at) for at in range(3))
    for name in ("p50", "p80", "p95"):
        expected = [getattr(each.cost, name) / 1e9 for each in told.tokens.months]
        assert cost[name.upper()] == pytest.approx(expected, rel=1e-4)
    assert peaks["sized"] == pytest.approx([each.sized for each in told.compute.months], abs=0.01)
    assert hours["ceiling"] == [each.ceiling for each in told.ops.quarters]
    assert cost["P50"] < cost["P80"] < cost["P95"]


def test_a_draw_on_the_buffer_shows(seat: Browser, planned: Installation) -> None:
    before = seat.client.get("/console/capacity/forecast").text
    detail = {"quarter": "Q4-2026", "amount": "500.0", "workload": "", "why": "an incident"}
    planned.desk.journal.decide(Decision("d1", planned.desk.now(), DRAWN, "", "ops", "Fay", {**detail}))
    after = seat.client.get("/console/capacity/forecast").text
    assert 'data-tone="bad">-498.2 h' in after
    assert 'data-tone="bad">-498.2 h' not in before


def test_the_buffer_is_drawn_on_by_those_who_may(seat: Browser, planned: Installation) -> None:
    fields = {"budget": "ops", "quarter": "Q1-2027", "amount": "3h", "why": "an <outage>"}
    seat.client.cookies.clear()
    seat.sign_in(Role.FINANCE)
    word = {"csrf": seat.csrf}
    assert 'action="/console/capacity/draws"' in seat.client.get("/console/capacity/forecast").text
    done = seat.client.post("/console/capacity/draws", data=fields | word)
    assert (done.status_code, done.headers["location"]) == (303, "/console/capacity#buffer")
    (drawn,) = draws(planned.desk.journal)
    assert (drawn.budget, str(drawn.quarter), drawn.amount, drawn.why) == ("ops", "Q1-2027", 3.0, "an <outage>")
    page = seat.client.get("/console/capacity/forecast").text
    assert "<b>3 h/week</b> of ops in Q1-2027" in page
    assert "“an &lt;outage&gt;”" in page
    for wrong, status in (
        ({"amount": "lots"}, 400), ({"amount": "0h"}, 400), ({"quarter": "soon"}, 400), ({"why": " "}, 400),
        ({"workload": "nowhere"}, 404), ({"budget": "luck"}, 422),
    ):  # fmt: skip
        assert seat.client.post("/console/capacity/draws", data=fields | word | wrong).status_code == status, wrong
    for role in (Role.VIEWER, Role.ENGINEERING, Role.TENANT_ADMIN):
        seat.client.cookies.clear()
        seat.sign_in(role)
        assert seat.client.post("/console/capacity/draws", data=fields | {"csrf": seat.csrf}).status_code == 403, role
        if role is not Role.TENANT_ADMIN:
            assert 'action="/console/capacity/draws"' not in seat.client.get("/console/capacity/forecast").text
    assert len(draws(planned.desk.journal)) == 1


def test_a_year_is_forecast_for_where_there_is_no_pace(seat: Browser) -> None:
    assert "in twelve months" in seat.client.get("/console/capacity/year").text


@pytest.mark.parametrize(
    ("fields", "factor"),
    [
        ({"users": "2"}, 2.0),
        ({"price": "1.5"}, 1.5),
        ({"users": "2", "price": "1.5", "only": "W-01"}, 3.0),
        ({"set.W-01.users": "140"}, 0.5),
        ({"changes": "W-01.tokens*3\n\n"}, 3.0),
        ({"users": "1", "price": "1.00", "set.W-01.users": " "}, None),
    ],
)
def test_what_if_recomputes_and_keeps_nothing(
    seat: Browser, planned: Installation, fields: dict[str, str], factor: float | None
) -> None:
    version = planned.desk.journal.version()
    answer = post(seat, "whatif", **fields)
    assert answer.status_code == 200
    if factor is None:
        assert "Nothing is changed yet" in answer.text
    else:
        drawn = series(answer.text)
        assert drawn["P50"] == pytest.approx([factor * each for each in drawn["P50 before"]], rel=1e-3)
    assert planned.desk.journal.version() == version


def test_growth_is_of_each_month(seat: Browser) -> None:
    drawn = series(post(seat, "whatif", growth="10%").text)
    assert drawn["P50"][11] == pytest.approx(1.1**11 * drawn["P50 before"][11], rel=0.01)


def test_all_changes_that_cannot_be_made_are_told(seat: Browser) -> None:
    answer = post(seat, "whatif", changes="W-09.users=5\nW-01.usrs=7\n<b>x</b>", **{"set.W-01.ops": "many"})
    assert answer.status_code == 422
    assert answer.text.count("<li>") == 4
    assert "<b>x" not in answer.text
    assert "Did you mean users?" in answer.text
    many = post(seat, "whatif", changes="W-01.users=5\n" * 1000)
    assert many.status_code == 400


def test_candidates_count_if_one_asks(seat: Browser, planned: Installation) -> None:
    planned.desk.apply(planned.desk.check(TEXT.replace("status: committed", "status: candidate")), OPERATOR)
    plain = seat.client.get("/console/capacity/forecast").text
    counted = seat.client.get("/console/capacity/forecast?candidates=true").text
    assert sum(series(plain)["P50"]) == 0 < sum(series(counted)["P50"])


SHEET = "agents,throughput\n" + "".join(
    f"{agents},{20 * agents / (1 + 0.05 * (agents - 1) + 0.01 * agents * (agents - 1)) + off}\n"
    for agents in (1, 2, 4, 8, 12, 16, 24)
    for off in (-0.5, 0.0, 0.5)
)


def test_a_team_is_fitted_and_told_where_it_breaks(seat: Browser) -> None:
    answer = post(seat, "team", sheet=SHEET, now="8", target="16", independence="73%")
    assert answer.status_code == 200
    # sqrt((1 - 0.05) / 0.01) is 9.7.
    assert "<dd>10 agents" in answer.text
    drawn = series(answer.text)
    assert len(drawn["fitted"]) == len(drawn["measured"]) == 24
    assert drawn["fitted"][7] == pytest.approx(83.8, abs=1.0)
    assert "Were more of the work independent" in answer.text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"sheet": ""}, "no column"),
        ({"sheet": "agents,throughput\n1,x\n"}, "line 2"),
        ({"sheet": SHEET, "now": "-1"}, "not a number of agents"),
        ({"sheet": SHEET, "now": "9", "target": "8"}, "the target is above"),
        ({"sheet": "agents,throughput\n5000,1\n1,2\n"}, "upshift team fit"),
        ({"sheet": SHEET, "independence": "200%"}, "200%"),
    ],
)
def test_a_sheet_that_cannot_be_used_is_told(seat: Browser, fields: dict[str, str], says: str) -> None:
    answer = post(seat, "team", **fields)
    assert (answer.status_code, 'role="alert"' in answer.text) == (422, True)
    assert says in answer.text


def test_too_few_sizes_say_what_to_measure(seat: Browser) -> None:
    answer = post(seat, "team", sheet="agents,throughput\n1,5\n2,9\n")
    assert (answer.status_code, "Measure" in answer.text, "not known" in answer.text) == (200, True, True)


def test_the_example_of_the_page_is_a_sheet(seat: Browser) -> None:
    page = seat.client.get("/console/capacity/team?example=true").text
    sheet = html.unescape(page.partition('8,182,8">')[2].partition("</textarea>")[0])
    assert post(seat, "team", sheet=sheet).status_code == 200


def test_hardware_pays_back_by_a_url(seat: Browser) -> None:
    query = "price=$2,600&displaces=$1200&share=30%25&utilisation=20%25&watts=180&idle_watts=30&kwh=$0.30"
    page = seat.client.get(f"/console/capacity/hardware?{query}").text
    assert "Pays back in 7.5 months at 20% utilisation" in page
    assert series(page)["saved less price"][0] == -2600
    bounded = f"{query}&tokens_per_second=10&api_price=$1"
    assert "It cannot serve all" in seat.client.get(f"/console/capacity/hardware?{bounded}").text
    assert "Not counted: power" in seat.client.get(
        "/console/capacity/hardware?price=$2600&displaces=$1200&utilisation=20%25"
    ).text  # fmt: skip
    assert "Not known yet" in seat.client.get("/console/capacity/hardware?utilisation=20%25").text


def test_hardware_tells_all_that_is_wrong_at_once(seat: Browser) -> None:
    answer = seat.client.get("/console/capacity/hardware?price=lots&watts=-4&life=0&share=<b>")
    assert (answer.status_code, answer.text.count("<li>") >= 5) == (422, True)
    assert ("&lt;b&gt;" in answer.text, "<b>" in answer.text) == (True, False)
    assert seat.client.get("/console/capacity/hardware?price=$1&utilisation=0%25").status_code == 422


@pytest.mark.parametrize("path", ["whatif", "team"])
def test_forms_of_other_sites_and_tenants_compute_nothing(seat: Browser, installation: Installation, path: str) -> None:
    assert seat.client.post(f"/console/capacity/{path}", data={"users": "2"}).status_code == 403
    tenant = Browser(installation)
    tenant.installation.apply()
    tenant.sign_in(Role.TENANT_ADMIN)
    assert post(tenant, path, users="2").status_code == 403


def test_without_a_plan_the_page_teaches(empty: Installation) -> None:
    browser = Browser(empty)
    browser.sign_in()
    assert "nothing to forecast yet" in browser.client.get("/console/capacity").text
    assert browser.client.get("/console/capacity/team").status_code == 200


def test_a_part_that_is_being_computed_asks_again(planned: Installation) -> None:
    planned.desk.patience = 0.0
    browser = Browser(planned)
    browser.sign_in()
    path = "/console/capacity/most?candidates=true"
    while "Still being computed" in (text := browser.client.get(path, headers={"hx-request": "true"}).text):
        assert f'hx-get="{path}"' in text
    assert "What matters most" in text


def test_a_forecast_of_another_plan_is_another(planned: Installation) -> None:
    forecasts = Forecasts()
    outline = planned.desk.need_outline()
    one = forecasts.of(planned.desk, outline, START)
    assert forecasts.of(planned.desk, outline, START) is one
    other = planned.desk.check(TEXT.replace("280", "560")).outline
    assert forecasts.of(planned.desk, other, START).tokens.tokens.p50 > one.tokens.tokens.p50
