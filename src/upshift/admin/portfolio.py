"""Who may sign a workload's budgets off, take a sign-off back, and draw on the buffer?"""

import math
import secrets
from collections.abc import Sequence
from typing import assert_never

import msgspec

from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.signed import DRAWN, SIGN_OFF, WITHDRAWN, sign_offs
from upshift.model.entry import Decision
from upshift.model.key import Role
from upshift.model.money import parse_money, show_money
from upshift.model.quarter import Quarter
from upshift.planning.completeness import lacking
from upshift.planning.drawn import Drawn
from upshift.planning.outline import BudgetLine, Outline, Row
from upshift.planning.sign_offs import (
    SIGNERS,
    SignOff,
    canonical,
    content,
    fingerprint,
    same_hand,
)


class Signed(msgspec.Struct, frozen=True):
    """What was signed off. `new` is False for what this person had approved already, which is not recorded again."""

    sign_off: SignOff
    hash: str
    new: bool


def sign(
    desk: Desk,
    actor: Actor,
    outline: Outline,
    *,
    workload: str,
    budgets: Sequence[BudgetLine],
    note: str = "",
    until: Quarter | None = None,
) -> tuple[Signed, ...]:
    """Sign budgets of a workload off, as the plan has them. Raises ActError.

    Only a person may, with a key of their own and the role of the side that they sign for; an admin may not.
    """
    role, row = signer(actor), row_of(outline, workload)
    lacks = lacking(row.audiences, row.estimate)
    if lacks:
        raise ActError(f"the estimate of {workload} cannot be signed off, it does not say {', '.join(lacks)}", 409)
    if until is not None and until < Quarter.of(desk.today()):
        raise ActError(f"{until} is over; a sign-off stands until a quarter to come, or until what it approved changes")
    own = [each for each in sign_offs(desk.journal) if each.workload == row.id]
    for each in own:
        if each.role is not role and same_hand(each.by, actor.person):
            raise ActError(
                f"{actor.person} signed {each.budget} of {workload} off for {each.role}; another person has to sign for"
                f" {role}, or that sign-off has to be withdrawn first",
                409,
            )
    return tuple(_sign(desk, actor, role, outline, row, budget, own, note, until) for budget in dict.fromkeys(budgets))


def withdraw(
    desk: Desk, actor: Actor, *, workload: str, budgets: Sequence[BudgetLine], note: str = ""
) -> tuple[SignOff, ...]:
    """Take back what was signed off for one's side, by whomever; the record of it stays. Raises ActError."""
    role = signer(actor)
    own = [each for each in sign_offs(desk.journal) if (each.workload, each.role) == (workload, role)]
    ended = tuple(each for each in own if each.budget in budgets)
    if not ended:
        raise ActError(f"{role} has signed none of {', '.join(budgets)} of workload {workload!r} off", 404)
    for budget in dict.fromkeys(each.budget for each in ended):
        detail = {"budget": budget.value, "role": role.value, "person": actor.person, "note": note}
        _decide(desk, WITHDRAWN, workload, actor, detail)
    return ended


def draw(
    desk: Desk, actor: Actor, *, budget: BudgetLine, quarter: Quarter, amount: float, workload: str = "", why: str
) -> Drawn:
    """Record a draw on the central buffer; a negative amount gives back. Raises ActError."""
    if actor.role not in (Role.ADMIN, Role.FINANCE) or not actor.person:
        raise ActError("only finance or an admin may draw on the buffer, with a key of their own", 403)
    if not math.isfinite(amount) or not amount:
        raise ActError("a draw is an amount other than zero; a negative one gives back")
    if not why.strip():
        raise ActError("a draw on the buffer needs a reason")
    detail = {"quarter": str(quarter), "amount": repr(amount), "workload": workload, "why": why}
    made = _decide(desk, DRAWN, budget.value, actor, detail)
    return Drawn(budget=budget, quarter=quarter, amount=amount, workload=workload, why=why, by=actor.name, at=made.at)


def amount_of(budget: BudgetLine, text: str) -> float:
    """'$2k' of tokens in nano-dollars, '40' sessions of compute, '12h' a week of ops; '-' before it gives back.

    Raises ValueError.
    """
    sign, plain = (-1, text.strip()[1:]) if text.strip().startswith("-") else (1, text.strip())
    if budget is BudgetLine.TOKENS:
        return float(sign * parse_money(plain))
    try:
        return sign * float(plain.removesuffix("h") if budget is BudgetLine.OPS else plain)
    except ValueError:
        like = "12h, hours a week" if budget is BudgetLine.OPS else "40, concurrent sessions"
        raise ValueError(f"{text!r} is not an amount of {budget}; write it like {like}") from None


def show_amount(budget: BudgetLine, amount: float) -> str:
    """The same in words: '$2,000.00'."""
    match budget:
        case BudgetLine.TOKENS:
            return show_money(round(amount))
        case BudgetLine.COMPUTE:
            return f"{amount:g} sessions"
        case BudgetLine.OPS:
            return f"{amount:g} h/week"
        case _:
            assert_never(budget)


def signer(actor: Actor) -> Role:
    """The side that an actor signs for. Raises ActError 403."""
    if actor.role not in SIGNERS or not actor.person:
        raise ActError(
            f"only keys with the role {' or '.join(SIGNERS)} sign off, each of one person; issue one with:"
            " upshift key issue --role finance --name 'First Last'",
            403,
        )
    return actor.role


def row_of(outline: Outline, workload: str) -> Row:
    """A workload of a plan. Raises ActError 404."""
    found = next((row for row in outline.rows if row.id == workload), None)
    if found is None:
        names = ", ".join(row.id for row in outline.rows) or "none"
        raise ActError(f"the plan has no workload {workload!r}; it has {names}", 404)
    return found


def _sign(
    desk: Desk,
    actor: Actor,
    role: Role,
    outline: Outline,
    row: Row,
    budget: BudgetLine,
    own: Sequence[SignOff],
    note: str,
    until: Quarter | None,
) -> Signed:
    fields = content(outline, row, budget)
    for each in reversed(own):
        same = (each.budget, each.role, each.until) == (budget, role, until) and same_hand(each.by, actor.person)
        if same and each.content == fields:
            return Signed(each, fingerprint(fields), new=False)
    detail = {
        "budget": budget.value,
        "role": role.value,
        "person": actor.person,
        "hash": fingerprint(fields),
        "content": canonical(fields),
        "plan": outline.plan,
        "until": "" if until is None else str(until),
        "note": note,
    }
    made = _decide(desk, SIGN_OFF, row.id, actor, detail)
    signed = SignOff(
        workload=row.id,
        budget=budget,
        role=role,
        by=actor.person,
        at=made.at,
        content=fields,
        until=until,
        note=note,
    )
    return Signed(signed, fingerprint(fields), new=True)


def _decide(desk: Desk, kind: str, subject: str, actor: Actor, detail: dict[str, str]) -> Decision:
    made = Decision(f"{kind}/{secrets.token_hex(8)}", desk.now(), kind, "", subject, actor.name, {**detail})
    desk.journal.decide(made)
    return made
