"""How are workloads signed off, reviewed, and the buffer drawn on, over the admin API?"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from upshift.admin import portfolio
from upshift.admin.calibrated import CalibrationView, calibrated
from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.door import desk_of, planner_of, responses
from upshift.admin.portfolio_views import (
    DrawView,
    PortfolioView,
    SignedView,
    draw_view,
    review,
    signed_view,
    withdrawn_view,
)
from upshift.model.quarter import parse_quarter
from upshift.planning.outline import BudgetLine, Outline

router = APIRouter(prefix="/api/v1", responses=responses(401, 403, 429))

InDesk = Annotated[Desk, Depends(desk_of)]
Planner = Annotated[Actor, Depends(planner_of)]
WhichWorkload = Annotated[str, Query(description="A workload of the plan.")]
WhichBudgets = Annotated[
    list[BudgetLine],
    Query(default_factory=lambda: list(BudgetLine), description="tokens, compute, ops; all three unless said."),
]
Note = Annotated[str, Query(max_length=1000, description="Kept with it.")]

_PLAN: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "description": "A plan, as YAML text; without it, the plan in force.",
        "content": {"application/yaml": {"schema": {"type": "string"}}},
    }
}


class DrawAsked(BaseModel):
    """A draw on the central buffer."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    budget: BudgetLine
    """Which budget's reserve: tokens, compute or ops."""
    quarter: str
    """For which quarter, like Q3-2026."""
    amount: Annotated[str, Field(min_length=1, max_length=40)]
    """Like $2k of tokens, 40 sessions of compute, 12h a week of ops; with a minus it gives back."""
    workload: Annotated[str, Field(max_length=200)] = ""
    """For which workload, if for one."""
    why: Annotated[str, Field(min_length=1, max_length=1000)]
    """Why; it is kept."""


async def _body(request: Request) -> bytes:
    return await request.body()


def outline_of(desk: InDesk, body: Annotated[bytes, Depends(_body)]) -> Outline:
    """The plan that was sent, else the one in force. Raises ActError and PlanError."""
    if body.strip():
        try:
            return desk.check(body.decode()).outline
        except UnicodeDecodeError:
            raise ActError("the plan is not UTF-8 text") from None
    return desk.need_outline()


Planned = Annotated[Outline, Depends(outline_of)]


@router.get("/portfolio", responses=responses(409, 503))
def portfolio_in_force(desk: InDesk, _: Planner) -> PortfolioView:
    """The plan in force: what may be approved and why not, sign-offs, quarters, the buffer."""
    return review(desk, desk.need_outline())


@router.post("/portfolio/review", openapi_extra=_PLAN, responses=responses(409, 422, 503))
def portfolio_review(desk: InDesk, _: Planner, outline: Planned) -> PortfolioView:
    """The same of a plan that is sent, before it is in force."""
    return review(desk, outline)


@router.post("/portfolio/calibration", openapi_extra=_PLAN, responses=responses(409, 422, 503))
def portfolio_calibration(desk: InDesk, _: Planner, outline: Planned) -> list[CalibrationView]:
    """The last quarter's forecast beside what the ledger says came, and inputs to be refreshed."""
    return list(calibrated(desk, outline))


@router.post("/portfolio/sign-offs", status_code=201, openapi_extra=_PLAN, responses=responses(400, 404, 409, 422))
def sign_off(
    desk: InDesk,
    actor: Planner,
    outline: Planned,
    workload: WhichWorkload,
    budget: WhichBudgets,
    note: Note = "",
    until: Annotated[str, Query(description="The last quarter in which it stands, like Q4-2027.")] = "",
) -> list[SignedView]:
    """Sign budgets of a workload off, as the plan that is sent has them, for the side of one's key."""
    signed = portfolio.sign(
        desk,
        actor,
        outline,
        workload=workload,
        budgets=budget,
        note=note,
        until=parse_quarter(until) if until else None,
    )
    return [signed_view(each) for each in signed]


@router.delete("/portfolio/sign-offs", responses=responses(404))
def withdraw(
    desk: InDesk,
    actor: Planner,
    workload: WhichWorkload,
    budget: WhichBudgets,
    note: Note = "",
) -> list[SignedView]:
    """Take back what was signed off for the side of one's key."""
    return [
        withdrawn_view(each) for each in portfolio.withdraw(desk, actor, workload=workload, budgets=budget, note=note)
    ]


@router.post("/portfolio/buffer", status_code=201, responses=responses(400))
def draw(desk: InDesk, actor: Planner, asked: DrawAsked) -> DrawView:
    """Record a draw on the central buffer."""
    made = portfolio.draw(
        desk,
        actor,
        budget=asked.budget,
        quarter=parse_quarter(asked.quarter),
        amount=portfolio.amount_of(asked.budget, asked.amount),
        workload=asked.workload,
        why=asked.why,
    )
    return draw_view(made)
