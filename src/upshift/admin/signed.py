"""Which sign-offs and draws on the buffer does the journal hold, and what do they make of a plan?"""

import json
from collections.abc import Sequence
from datetime import date

import msgspec

from upshift.model.entry import Decision
from upshift.model.ids import WorkloadId
from upshift.model.key import Role
from upshift.model.quarter import Quarter, parse_quarter
from upshift.planning.drawn import Drawn
from upshift.planning.outline import BudgetLine, Outline
from upshift.planning.portfolio import Move, Refusal, Standing, judge, moves, refusals
from upshift.planning.sign_offs import SignOff
from upshift.store.journal import Journal

SIGN_OFF, WITHDRAWN, DRAWN = "sign-off", "sign-off-withdrawn", "buffer-draw"

_ALL = 2**62
"""More decisions than there are."""


def sign_offs(journal: Journal) -> tuple[SignOff, ...]:
    """Those that were not withdrawn, oldest first."""
    found: list[SignOff] = []
    for each in reversed(journal.decisions([SIGN_OFF, WITHDRAWN], _ALL)):
        budget, role = BudgetLine(_text(each, "budget")), Role(_text(each, "role"))
        if each.kind == SIGN_OFF:
            found.append(_sign_off(each, budget, role))
        else:
            ended = each.subject, budget, role
            found = [one for one in found if (one.workload, one.budget, one.role) != ended]
    return tuple(found)


def signed_until(journal: Journal) -> str:
    """The latest decision about sign-offs, until which nothing about them can change any more; empty for none."""
    found = journal.decisions([SIGN_OFF, WITHDRAWN], 1)
    return found[0].id if found else ""


def draws(journal: Journal) -> tuple[Drawn, ...]:
    """Every draw on the buffer, oldest first."""
    return tuple(
        Drawn(
            budget=BudgetLine(each.subject),
            quarter=parse_quarter(_text(each, "quarter")),
            amount=float(_text(each, "amount")),
            workload=_text(each, "workload"),
            why=_text(each, "why"),
            by=each.by,
            at=each.at,
        )
        for each in reversed(journal.decisions([DRAWN], _ALL))
    )


def judged(journal: Journal, outline: Outline, today: date) -> tuple[Standing, ...]:
    """The standing of each workload of a plan, by what was signed off up to now."""
    return judge(outline, sign_offs(journal), Quarter.of(today))


def refused(journal: Journal, outline: Outline, today: date) -> tuple[Refusal, ...]:
    """Why a plan may not be put in force; empty where it may."""
    standings = judged(journal, outline, today)
    return refusals(outline, standings, Quarter.of(today))


def moved(journal: Journal, before: Outline | None, after: Outline, today: date) -> Sequence[Move]:
    """What a change of plan does to statuses and sign-offs."""
    return moves(before, after, sign_offs(journal), Quarter.of(today))


def _sign_off(each: Decision, budget: BudgetLine, role: Role) -> SignOff:
    until = _text(each, "until")
    return SignOff(
        workload=WorkloadId(each.subject),
        budget=budget,
        role=role,
        by=_text(each, "person"),
        at=each.at,
        content=msgspec.convert(json.loads(_text(each, "content")), dict[str, str]),
        until=parse_quarter(until) if until else None,
        note=_text(each, "note"),
    )


def _text(each: Decision, name: str) -> str:
    found = each.detail.get(name)
    return found if isinstance(found, str) else ""
