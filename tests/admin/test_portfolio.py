"""Who may sign what off, what does the journal keep of it, and which plans does it let in?"""

import functools
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.admin.installation import HOUR, NOW, OPERATOR, Installation

from upshift.admin import portfolio
from upshift.admin.api import create_api
from upshift.admin.desk import ActError, Actor, NotCoveredError
from upshift.admin.portfolio_views import PortfolioView, review
from upshift.admin.rolling_back import former, roll_back
from upshift.admin.signed import draws, sign_offs
from upshift.model.ids import PlanHash
from upshift.model.key import Role
from upshift.model.quarter import Quarter
from upshift.plan_file import Checked
from upshift.planning.outline import BudgetLine
from upshift.store.verify import verify

TEXT = (Path(__file__).parent / "portfolio.yaml").read_text()
COMMITTED = TEXT.replace("status: candidate", "status: committed")
TOKENS, COMPUTE, OPS = BudgetLine
Q4 = Quarter(2026, 4)


@pytest.fixture
def desk(empty: Installation) -> Installation:
    return empty


def person(desk: Installation, role: Role, name: str) -> Actor:
    return desk.desk.actor_of(desk.desk.issue(OPERATOR, role=role, name=name).secret)


def people(desk: Installation) -> tuple[Actor, Actor]:
    return person(desk, Role.ENGINEERING, "Edith Engineer"), person(desk, Role.FINANCE, "Fay Finance")


def sign(desk: Installation, *actors: Actor, text: str = TEXT, workload: str = "W-01") -> None:
    for actor in actors:
        outline = desk.desk.check(text).outline
        portfolio.sign(desk.desk, actor, outline, workload=workload, budgets=tuple(BudgetLine))


def checked(desk: Installation, text: str) -> Checked:
    return desk.desk.check(text)


def reviewed(desk: Installation, text: str = TEXT) -> PortfolioView:
    return review(desk.desk, checked(desk, text).outline)


# signing --------------------------------------------------------------------------------------------------------------


def test_a_sign_off_is_kept_with_who_what_and_its_content(desk: Installation) -> None:
    fay = person(desk, Role.FINANCE, "Fay Finance")
    outline = checked(desk, TEXT).outline
    made = portfolio.sign(desk.desk, fay, outline, workload="W-01", budgets=[TOKENS], note="as agreed", until=Q4)
    (decision,) = desk.desk.journal.decisions(["sign-off"])
    assert (decision.subject, decision.by, decision.at) == ("W-01", fay.name, NOW)
    assert decision.detail["hash"] == made[0].hash
    assert {name: decision.detail[name] for name in ("budget", "role", "person", "until", "note", "plan")} == {
        "budget": "tokens",
        "role": "finance",
        "person": "Fay Finance",
        "until": "Q4-2026",
        "note": "as agreed",
        "plan": outline.plan,
    }
    assert '"users":"280"' in str(decision.detail["content"])
    (kept,) = sign_offs(desk.desk.journal)
    assert kept == made[0].sign_off
    assert verify(desk.db).ok


def test_signing_the_same_twice_is_recorded_once_and_after_a_change_again(desk: Installation) -> None:
    fay = person(desk, Role.FINANCE, "Fay Finance")
    sign(desk, fay, fay)
    assert len(sign_offs(desk.desk.journal)) == 3
    sign(desk, fay, text=TEXT.replace("280", "400"))
    assert len(sign_offs(desk.desk.journal)) == 3 + 2


@pytest.mark.parametrize("role", [Role.ADMIN, Role.VIEWER])
def test_neither_an_admin_nor_a_viewer_signs(desk: Installation, role: Role) -> None:
    actor = person(desk, role, "Root")
    with pytest.raises(ActError, match="only keys with the role engineering or finance sign off") as caught:
        sign(desk, actor)
    assert caught.value.status == 403
    with pytest.raises(ActError, match="sign off"):
        portfolio.withdraw(desk.desk, actor, workload="W-01", budgets=[TOKENS])
    assert not desk.desk.journal.decisions(["sign-off"])


def test_whoever_writes_the_file_is_nobody_until_they_show_a_key(desk: Installation) -> None:
    with pytest.raises(ActError, match="each of one person"):
        sign(desk, Actor("root (command line)", Role.FINANCE))


def test_one_person_with_two_keys_does_not_sign_for_both_sides(desk: Installation) -> None:
    engineer, also = person(desk, Role.ENGINEERING, "Sarah Doe"), person(desk, Role.FINANCE, "sarah  doe")
    sign(desk, engineer)
    with pytest.raises(ActError, match="signed tokens of W-01 off for engineering; another person") as caught:
        sign(desk, also)
    assert caught.value.status == 409
    portfolio.withdraw(desk.desk, engineer, workload="W-01", budgets=tuple(BudgetLine))
    sign(desk, also)
    assert {each.role for each in sign_offs(desk.desk.journal)} == {Role.FINANCE}


def test_what_is_not_complete_or_not_there_is_not_signed(desk: Installation) -> None:
    fay = person(desk, Role.FINANCE, "Fay Finance")
    with pytest.raises(ActError, match=r"does not say users, estimate.sessions, estimate.tokens, estimate.ops"):
        sign(desk, fay, workload="W-05")
    with pytest.raises(ActError, match=r"no workload 'W-9'; it has W-01, W-05"):
        sign(desk, fay, workload="W-9")
    outline = checked(desk, TEXT).outline
    with pytest.raises(ActError, match="Q3-2026 is over"):
        portfolio.sign(desk.desk, fay, outline, workload="W-01", budgets=[OPS], until=Quarter(2026, 3))


def test_a_colleague_of_the_same_side_may_withdraw_and_nobody_else(desk: Installation) -> None:
    edith, fay = people(desk)
    sign(desk, edith, fay)
    finn = person(desk, Role.FINANCE, "Finn")
    desk.clock.set(NOW + HOUR)
    ended = portfolio.withdraw(desk.desk, finn, workload="W-01", budgets=[TOKENS], note="Fay left")
    assert [(each.by, each.budget) for each in ended] == [("Fay Finance", TOKENS)]
    found = reviewed(desk).workloads[0]
    assert [(each.budget, each.role) for each in found.signatures if not each.stands] == [("tokens", "finance")]
    with pytest.raises(ActError, match="finance has signed none of tokens") as caught:
        portfolio.withdraw(desk.desk, finn, workload="W-01", budgets=[TOKENS])
    assert caught.value.status == 404
    assert len(desk.desk.journal.decisions(["sign-off"])) == 6


# plans ----------------------------------------------------------------------------------------------------------------


def test_an_unsigned_plan_is_refused_with_all_reasons_and_the_old_one_stays(desk: Installation) -> None:
    desk.apply()
    before = desk.desk.journal.plan_in_force()
    with pytest.raises(NotCoveredError) as caught:
        desk.desk.apply(checked(desk, COMMITTED), OPERATOR)
    assert caught.value.status == 409
    assert caught.value.reasons == tuple(
        f"W-01: {budget} is not signed off by {role}" for budget in BudgetLine for role in ("engineering", "finance")
    )
    assert desk.desk.journal.plan_in_force() == before


def test_a_signed_plan_is_applied_and_a_changed_one_says_what_it_lost(desk: Installation) -> None:
    sign(desk, *people(desk))
    desk.desk.apply(checked(desk, COMMITTED), OPERATOR)
    more = checked(desk, COMMITTED.replace("280", "400"))
    lost = [each.text for each in desk.desk.compare(more) if each.kind == "sign-off"]
    assert lost == [
        f"W-01: {budget} lost the sign-off of {side}: users 280 -> 400"
        for budget in ("tokens", "compute")
        for side in ("engineering (Edith Engineer)", "finance (Fay Finance)")
    ]
    with pytest.raises(NotCoveredError, match="users 280 -> 400"):
        desk.desk.apply(more, OPERATOR)
    desk.desk.apply(checked(desk, COMMITTED.replace("owner: Sarah", "owner: Tom")), OPERATOR)


def test_a_plan_that_waives_sign_offs_needs_none(desk: Installation) -> None:
    desk.desk.apply(checked(desk, COMMITTED.replace("sign_offs: required", "sign_offs: waived")), OPERATOR)
    assert desk.desk.need_outline().sign_offs is False


def test_a_plan_beyond_a_ceiling_of_hours_is_refused(desk: Installation) -> None:
    sign(desk, *people(desk))
    with pytest.raises(NotCoveredError) as caught:
        desk.desk.apply(checked(desk, COMMITTED.replace("Q1-2027: 40h", "Q1-2027: 9h")), OPERATOR)
    assert caught.value.reasons == (
        "Q1-2027: 10.0 h/week of ops are more than the ceiling of 9 h, 1.0 h or 0.03 FTE short",
    )


def test_rolling_back_puts_a_former_plan_in_force_as_a_new_version(desk: Installation) -> None:
    edith, fay = people(desk)
    sign(desk, edith, fay)
    desk.desk.apply(checked(desk, COMMITTED), OPERATOR)
    first = desk.desk.journal.plan_in_force()
    with pytest.raises(ActError, match="no other plan was in force before"):
        former(desk.desk)
    desk.desk.apply(checked(desk, COMMITTED.replace("owner: Sarah", "owner: Tom")), OPERATOR)
    roll_back(desk.desk, former(desk.desk), OPERATOR)
    now = desk.desk.journal.plan_in_force()
    assert first is not None
    assert now is not None
    assert (now.number, now.hash, now.document) == (3, first.hash, first.document)
    assert desk.desk.journal.decisions(["plan-applied"])[0].detail == {"name": "portfolio", "number": 3, "restores": 1}
    assert former(desk.desk).number == 2
    with pytest.raises(ActError, match="no plan was put in force with the number 9; there is 1 to 3"):
        former(desk.desk, 9)


def test_a_former_plan_whose_sign_offs_were_withdrawn_does_not_come_back(desk: Installation) -> None:
    edith, fay = people(desk)
    sign(desk, edith, fay)
    desk.desk.apply(checked(desk, COMMITTED), OPERATOR)
    desk.desk.apply(checked(desk, TEXT), OPERATOR)
    portfolio.withdraw(desk.desk, fay, workload="W-01", budgets=[OPS])
    with pytest.raises(NotCoveredError, match="W-01: ops is not signed off by finance"):
        roll_back(desk.desk, former(desk.desk, 1), OPERATOR)
    assert desk.desk.need_outline().plan == checked(desk, TEXT).outline.plan


def test_a_former_plan_that_cannot_be_read_does_not_come_back(desk: Installation) -> None:
    journal = desk.desk.journal
    journal.apply_plan(PlanHash("unreadable"), b"{}", "unreadable", "another version", NOW)
    desk.apply()
    with pytest.raises(ActError, match="plan 1 cannot be read by this version"):
        roll_back(desk.desk, former(desk.desk), OPERATOR)
    with pytest.raises(ActError, match="only an admin may roll a plan back"):
        roll_back(desk.desk, former(desk.desk), person(desk, Role.FINANCE, "Fay Finance"))


# the review and the buffer --------------------------------------------------------------------------------------------


def test_the_review_says_what_may_be_approved_and_why_not(desk: Installation) -> None:
    view = reviewed(desk)
    assert (view.in_force, view.quarter, view.sign_offs, view.refusals) == (False, "Q4-2026", True, ())
    chat, copy = view.workloads
    assert (chat.answer, chat.next, copy.answer) == ("to sign", "planned", "not yet")
    assert [each.kind for each in copy.missing][:2] == ["NoGate", "Incomplete"]
    sign(desk, *people(desk))
    chat = reviewed(desk).workloads[0]
    assert (chat.answer, chat.missing) == ("may move", ())
    assert {(each.by, each.at) for each in chat.signatures} == {
        ("Edith Engineer", "2026-11-21T10:00:00+00:00"),
        ("Fay Finance", "2026-11-21T10:00:00+00:00"),
    }
    changed = reviewed(desk, COMMITTED.replace("280", "400"))
    assert changed.workloads[0].covered is False
    assert len(changed.refusals) == 4


def test_the_review_shows_quarters_against_their_ceilings(desk: Installation) -> None:
    present, next_ = reviewed(desk, COMMITTED.replace("Q1-2027: 40h", "Q1-2027: 9h")).quarters
    assert (present.quarter, present.committed_hours, present.ceiling) == ("Q4-2026", 10.0, None)
    assert (next_.quarter, next_.ceiling, next_.short_hours, next_.short_fte) == ("Q1-2027", 9.0, 1.0, 0.025)


def test_draws_on_the_buffer_are_recorded_and_what_is_left_is_shown(desk: Installation) -> None:
    edith, fay = people(desk)
    for text in ("3h", "-1h"):
        amount = portfolio.amount_of(OPS, text)
        portfolio.draw(desk.desk, fay, budget=OPS, quarter=Q4, amount=amount, workload="W-01", why="a bad week")
    portfolio.draw(desk.desk, fay, budget=TOKENS, quarter=Q4, amount=portfolio.amount_of(TOKENS, "$2k"), why="launch")
    buffer = reviewed(desk, COMMITTED).buffer
    assert buffer.share == 0.18
    tokens, compute, ops = buffer.reserves
    assert (ops.held, ops.drawn, ops.left, ops.says) == (1.8, 2.0, -0.2, "1.8 h/week held, -0.2 h/week left")
    # Three months at 280 x 520k tokens and $1.80 a million.
    assert tokens.held == pytest.approx(0.18 * 3 * 262.08e9)
    assert tokens.drawn == 2e12
    assert (compute.drawn, compute.left) == (0, compute.held)
    assert [each.says for each in buffer.draws] == ["3 h/week", "-1 h/week", "$2,000.00"]
    assert [each.by for each in draws(desk.desk.journal)] == [fay.name] * 3
    with pytest.raises(ActError, match="only finance or an admin"):
        portfolio.draw(desk.desk, edith, budget=OPS, quarter=Q4, amount=1.0, why="x")
    for amount, why, says in (
        (0.0, "x", "other than zero"),
        (float("nan"), "x", "other than zero"),
        (1.0, " ", "reason"),
    ):
        with pytest.raises(ActError, match=says):
            portfolio.draw(desk.desk, fay, budget=OPS, quarter=Q4, amount=amount, why=why)


@pytest.mark.parametrize(("budget", "text"), [(OPS, "three"), (COMPUTE, "12h"), (TOKENS, "12 sessions")])
def test_amounts_in_other_words_are_refused(budget: BudgetLine, text: str) -> None:
    with pytest.raises(ValueError, match="write it like"):
        portfolio.amount_of(budget, text)


# keys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.FINANCE, Role.ENGINEERING, Role.VIEWER])
def test_keys_of_people_belong_to_no_tenant_and_only_an_admin_issues_them(desk: Installation, role: Role) -> None:
    desk.apply()
    with pytest.raises(ActError, match="is one person's"):
        desk.desk.issue(OPERATOR, role=role, name="Fay", tenant="acme")
    with pytest.raises(ActError, match="only an admin may issue a key"):
        desk.desk.issue(Actor("ada", Role.TENANT_ADMIN, "acme"), role=role, name="Fay", tenant="acme")
    with pytest.raises(ActError, match="no tenant '' that you administer"):
        desk.desk.issue(person(desk, role, "Fay"), role=role, name="Finn")


def test_a_pod_leads_key_names_a_user_and_is_not_a_tenants_to_touch(desk: Installation) -> None:
    desk.apply()
    ada = Actor("ada", Role.TENANT_ADMIN, "acme")
    with pytest.raises(ActError, match="name the user"):
        desk.desk.issue(OPERATOR, role=Role.POD_LEAD, name="Al", tenant="acme")
    with pytest.raises(ActError, match="only an admin may issue a key with the role pod-lead"):
        desk.desk.issue(ada, role=Role.POD_LEAD, name="Al", tenant="acme", user="alice")
    issued = desk.desk.issue(OPERATOR, role=Role.POD_LEAD, name="Al", tenant="acme", user="alice")
    with pytest.raises(ActError, match="only an admin may touch a key with the role pod-lead"):
        desk.desk.rotate(ada, issued.key.id)
    rotated = desk.desk.rotate(OPERATOR, issued.key.id)
    assert desk.desk.actor_of(rotated.secret).role is Role.POD_LEAD


# over HTTP ------------------------------------------------------------------------------------------------------------


class Http:
    """A client of the admin API with a key of each side and an admin's."""

    def __init__(self, desk: Installation) -> None:
        self.client = TestClient(create_api(desk.desk, functools.partial(verify, desk.db)))
        issue = functools.partial(desk.desk.issue, OPERATOR)
        self.secrets = {
            role: issue(role=role, name=f"the {role}").secret for role in (Role.ADMIN, Role.FINANCE, Role.ENGINEERING)
        }

    def ask(self, role: Role, verb: str, path: str, **more: Any) -> Any:
        headers = {"authorization": f"Bearer {self.secrets[role]}"}
        return self.client.request(verb, f"/api/v1{path}", headers=headers, **more)


def test_a_plan_is_signed_reviewed_applied_and_rolled_back_over_http(desk: Installation) -> None:
    http = Http(desk)
    assert http.ask(Role.FINANCE, "GET", "/portfolio").status_code == 409
    refused = http.ask(Role.ADMIN, "POST", "/plan/apply", content=COMMITTED)
    assert (refused.status_code, len(refused.json()["fields"])) == (409, 6)
    for role in (Role.FINANCE, Role.ENGINEERING):
        signed = http.ask(role, "POST", "/portfolio/sign-offs?workload=W-01&note=ok", content=COMMITTED)
        assert [(each["budget"], each["role"], each["new"]) for each in signed.json()] == [
            (budget.value, role.value, True) for budget in BudgetLine
        ]
    assert http.ask(Role.FINANCE, "POST", "/portfolio/review", content=COMMITTED).json()["refusals"] == []
    assert http.ask(Role.ADMIN, "POST", "/plan/apply", content=COMMITTED).status_code == 200
    found = http.ask(Role.ENGINEERING, "GET", "/portfolio").json()
    assert http.ask(Role.ENGINEERING, "POST", "/portfolio/review").json() == found
    assert (found["in_force"], found["workloads"][0]["covered"]) == (True, True)
    changed = http.ask(Role.ADMIN, "POST", "/plan/diff", content=COMMITTED.replace("280", "400")).json()
    assert len(changed["refusals"]) == 4
    assert http.ask(Role.ADMIN, "POST", "/plan/apply", content=TEXT).status_code == 200
    back = http.ask(Role.ADMIN, "POST", "/plan/rollback").json()
    assert (back["restored"]["number"], back["in_force"]["number"], back["applied"]) == (1, 3, True)
    assert [each["restores"] for each in http.ask(Role.ADMIN, "GET", "/plans").json()] == [1, None, None]
    one = "/portfolio/sign-offs?workload=W-01&budget=ops"
    assert http.ask(Role.FINANCE, "DELETE", one).json()[0]["by"] == "the finance"
    assert http.ask(Role.FINANCE, "GET", "/portfolio").json()["workloads"][0]["covered"] is False


def test_what_is_wrong_with_a_request_is_said(desk: Installation) -> None:
    http = Http(desk)
    where = "/portfolio/sign-offs?workload=W-01"
    assert http.ask(Role.FINANCE, "POST", where, content=TEXT.replace("gate: hard", "gate: hart")).status_code == 422
    assert http.ask(Role.FINANCE, "POST", where, content=b"\xff").status_code == 400
    assert http.ask(Role.FINANCE, "POST", f"{where}&until=soon", content=TEXT).status_code == 400
    assert http.ask(Role.FINANCE, "POST", f"{where}&budget=all", content=TEXT).status_code == 422
    asked = {"budget": "ops", "quarter": "Q4-2026", "amount": "much", "why": "x"}
    assert "write it like" in http.ask(Role.FINANCE, "POST", "/portfolio/buffer", json=asked).json()["detail"]
