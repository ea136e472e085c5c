"""What can be asked of the admin API?"""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from upshift.admin import budgets as budgets_of
from upshift.admin import reports
from upshift.admin.amounts import amount
from upshift.admin.costs import costs_moved
from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.door import actor_of, admin_of, desk_of, responses
from upshift.admin.moments import future, span_seconds
from upshift.admin.plan_views import CheckView, check_view
from upshift.admin.rolling_back import former, roll_back
from upshift.admin.views import (
    AlertView,
    AppliedView,
    CallView,
    ConsentView,
    DecisionView,
    DeedView,
    DifferenceView,
    IssuedView,
    KeyView,
    RolledBackView,
    VerificationView,
    alert_view,
    applied_view,
    applied_views,
    call_view,
    consent_view,
    decision_view,
    deed_view,
    difference_view,
    key_view,
    rolled_back_view,
    verification_view,
)
from upshift.model.ids import RequestId
from upshift.model.key import Role
from upshift.model.metered import Outcome
from upshift.model.money import parse_money
from upshift.model.quarter import Month
from upshift.model.span import Window
from upshift.plan_file import json_schema
from upshift.store.journal import Dimension

_LOOK_BACK = 10_000

InDesk = Annotated[Desk, Depends(desk_of)]
Anyone = Annotated[Actor, Depends(actor_of)]
Admin = Annotated[Actor, Depends(admin_of)]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many, the latest first.")]

router = APIRouter(prefix="/api/v1", responses=responses(401, 403, 429))


class Asked(BaseModel):
    """Base of what people send."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class KeyAsked(Asked):
    """A key to be issued."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """Who or what will use it."""
    role: Role = Role.CALLER
    """What it may do."""
    tenant: str = ""
    """Whose it is; empty for an admin key only."""
    user: str = ""
    """Whose budget its calls count against; empty when the application names the user on each call."""
    workloads: tuple[str, ...] = ()
    """What it may be used for; empty for everything that is open to the tenant."""
    agent: str = ""
    """The agent whose own key it is; empty when the application names the agent on each call."""
    expires: str | None = None
    """When it ends by itself: like 90d or 2027-01-01. Null for never."""


class RotationAsked(Asked):
    """How a key is to be rotated."""

    overlap: str = "0s"
    """How long the old secret goes on, like 1h."""


class DeedAsked(Asked):
    """A grant or an adjustment of one user's budget of one workload, in the current period."""

    tenant: str
    """Whose budget."""
    user: str
    """Whose budget."""
    workload: str
    """Which budget."""
    window: Window = Window.MONTH
    """Which ceiling: day, week or month."""
    tokens: str | int | None = None
    """Like 100k or 100000; an adjustment may be negative."""
    money: str | None = None
    """US dollars like $5; an adjustment may be negative, like -$5."""
    reason: Annotated[str, Field(min_length=1, max_length=1000)]
    """Why; it is kept."""


class ConsentAsked(Asked):
    """A tenant's consent to pay for use beyond the ceiling."""

    tenant: str
    """Who pays: the tenant of the key that asks."""
    workload: str
    """For what."""
    limit: str | None = None
    """At most so much per month, like $500; null for the gate's own limit."""


class Form(StrEnum):
    """How a report is written."""

    JSON = "json"
    CSV = "csv"


async def _text(request: Request) -> str:
    try:
        return (await request.body()).decode()
    except UnicodeDecodeError:
        raise ActError("the plan is not UTF-8 text") from None


PlanText = Annotated[str, Depends(_text)]
_YAML: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A plan, as YAML text.",
        "content": {"application/yaml": {"schema": {"type": "string"}}},
    }
}


# Plans


@router.get("/plan")
def plan_in_force(desk: InDesk, _: Admin) -> AppliedView:
    """The plan in force."""
    found = desk.journal.plan_in_force()
    if found is None:
        raise ActError("no plan is in force yet", 404)
    return applied_view(found)


@router.get("/plans")
def plans(desk: InDesk, _: Admin) -> list[AppliedView]:
    """Every plan that was put in force, the latest first."""
    return applied_views(desk.journal)


@router.get("/plan/schema")
def plan_schema(_: Anyone) -> dict[str, Any]:
    """The JSON Schema of a plan, for editors."""
    return json_schema()


@router.post("/plan/check", openapi_extra=_YAML, responses=responses(422))
def plan_check(desk: InDesk, _: Admin, text: PlanText) -> CheckView:
    """Check a plan; a plan with errors is a 422 that lists all of them."""
    return check_view(desk.check(text))


@router.post("/plan/diff", openapi_extra=_YAML, responses=responses(422))
def plan_diff(desk: InDesk, _: Admin, text: PlanText) -> DifferenceView:
    """What applying a plan would change, for whom, what it costs, and why it may not be applied."""
    checked, (before, planned) = desk.check(text), desk.readable()
    consequences = [*desk.compare(checked), *costs_moved(planned, checked.outline, Month.of(desk.today()))]
    refusals = desk.refusals(checked.outline)
    return difference_view(checked, before.hash if before else "", consequences, applied=False, refusals=refusals)


@router.post("/plan/apply", openapi_extra=_YAML, responses=responses(409, 422))
def plan_apply(
    desk: InDesk,
    actor: Admin,
    text: PlanText,
    override: Annotated[
        str, Query(max_length=500, description="Why it cannot wait until the calendar lets plans change; recorded.")
    ] = "",
) -> DifferenceView:
    """Put a plan in force; running gateways take it up within a second without dropping a call."""
    checked, (before, planned) = desk.check(text), desk.readable()
    consequences = [
        *desk.apply(checked, actor, override),
        *costs_moved(planned, checked.outline, Month.of(desk.today())),
    ]
    return difference_view(checked, before.hash if before else "", consequences, applied=True)


@router.post("/plan/rollback", responses=responses(404, 409))
def plan_roll_back(
    desk: InDesk,
    actor: Admin,
    number: Annotated[int | None, Query(ge=1, description="Which plan; the one before unless said.")] = None,
) -> RolledBackView:
    """Put a former plan in force again, as a new version; its sign-offs have to stand now."""
    before, plan = desk.journal.plan_in_force(), former(desk, number)
    consequences = roll_back(desk, plan, actor)
    return rolled_back_view(plan, before, desk.journal.plan_in_force(), consequences)


# Keys


@router.get("/keys")
def keys(desk: InDesk, actor: Anyone) -> list[KeyView]:
    """Keys of every state, the oldest first; never their secrets."""
    now = desk.now()
    return [key_view(each, now) for each in desk.keys(actor)]


@router.post("/keys", status_code=201, responses=responses(400, 404, 409))
def issue(desk: InDesk, actor: Anyone, asked: KeyAsked) -> IssuedView:
    """Issue a key. Its secret is in this answer and nowhere else."""
    now = desk.now()
    issued = desk.issue(
        actor,
        role=asked.role,
        name=asked.name,
        tenant=asked.tenant,
        user=asked.user,
        workloads=asked.workloads,
        agent=asked.agent,
        expires=future(asked.expires, now) if asked.expires else None,
    )
    return IssuedView(secret=issued.secret, key=key_view(issued.key, now))


KeyName = Annotated[str, Path(alias="id", description="The key's id, like key_1f2e3d4c5b6a7988.")]


@router.post("/keys/{id}/rotate", status_code=201, responses=responses(400, 404, 409))
def rotate(desk: InDesk, actor: Anyone, id_: KeyName, asked: RotationAsked | None = None) -> IssuedView:
    """A new secret of the same scope."""
    issued = desk.rotate(actor, id_, span_seconds(asked.overlap) if asked is not None else 0.0)
    return IssuedView(secret=issued.secret, key=key_view(issued.key, desk.now()))


@router.post("/keys/{id}/revoke", responses=responses(404, 409))
def revoke(desk: InDesk, actor: Anyone, id_: KeyName) -> KeyView:
    """End a key now."""
    return key_view(desk.revoke(actor, id_), desk.now())


# Use

By = Annotated[list[str], Query(description=f"Dimensions: {', '.join(reports.DIMENSIONS)}.")]
Where = Annotated[list[str], Query(description="Conditions like workload=support-chat; all must hold.")]


@router.get(
    "/usage",
    response_model=reports.UsageView,
    responses={**responses(400, 404), 200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def usage(
    desk: InDesk,
    actor: Anyone,
    by: By = [],  # noqa: B006 - FastAPI copies it
    where: Where = [],  # noqa: B006
    since: Annotated[str, Query(description="Like 7d or 2026-11-01; this month unless said.")] = "",
    until: Annotated[str, Query(description="Like since; now unless said.")] = "",
    zone: Annotated[str, Query(description="The time zone of days and hours, like Europe/Berlin.")] = "UTC",
    form: Annotated[Form, Query(alias="format", description="json or csv.")] = Form.JSON,
) -> Any:
    """Totals of calls, tokens, cost and latency, grouped by any dimensions."""
    view = reports.usage(desk, actor, reports.dimensions(by), reports.conditions(where), since, until, zone)
    if form is Form.CSV:
        headers = {"content-disposition": 'attachment; filename="usage.csv"'}
        return Response(reports.to_csv(view), media_type="text/csv; charset=utf-8", headers=headers)
    # Thousands of rows are written at once: the framework would check and copy each of them first.
    return Response(view.model_dump_json(), media_type="application/json")


@router.get("/calls", responses=responses(400, 404))
def calls(
    desk: InDesk,
    actor: Anyone,
    where: Where = [],  # noqa: B006
    limit: Limit = 100,
    before: Annotated[
        int | None, Query(ge=1, le=reports.MOST_SEQ, description="The seq of the last call on the page before.")
    ] = None,
) -> list[CallView]:
    """Records of calls, the latest first."""
    only = reports.own(desk, actor, reports.conditions(where))
    return [call_view(each.seq, each.record) for each in desk.journal.calls(only, limit, before)]


@router.get("/calls/{id}", responses=responses(404))
def call(desk: InDesk, actor: Anyone, id_: Annotated[str, Path(alias="id", description="The request id.")]) -> CallView:
    """The record of one call."""
    found = desk.journal.call(RequestId(id_))
    if found is None or (actor.tenant and found.record.tenant != actor.tenant):
        raise ActError(f"no call {id_!r} is recorded", 404)
    return call_view(found.seq, found.record)


@router.get("/budgets", responses=responses(404, 409))
def budgets(
    desk: InDesk,
    actor: Anyone,
    tenant: Annotated[str | None, Query(description="One tenant's.")] = None,
    user: Annotated[str | None, Query(description="One user's.")] = None,
    workload: Annotated[str | None, Query(description="One workload's.")] = None,
) -> list[budgets_of.BudgetView]:
    """Every budget of the current periods: used, held, limit, pace and what happens at the ceiling."""
    return budgets_of.budgets(desk, actor, tenant, user, workload)


@router.post("/grants", status_code=202, responses=responses(400, 404, 409))
def grant(desk: InDesk, actor: Anyone, asked: DeedAsked) -> DeedView:
    """Lift a ceiling for the current period; the gateway takes it in within a second."""
    return deed_view(
        desk.grant(
            actor,
            tenant=asked.tenant,
            user=asked.user,
            workload=asked.workload,
            window=asked.window,
            amount=amount(asked.tokens, asked.money),
            reason=asked.reason,
        )
    )


@router.post("/adjustments", status_code=202, responses=responses(400, 404, 409))
def adjust(desk: InDesk, actor: Admin, asked: DeedAsked) -> DeedView:
    """Correct what was spent (a credit note, a provider's invoice)."""
    return deed_view(
        desk.adjust(
            actor,
            tenant=asked.tenant,
            user=asked.user,
            workload=asked.workload,
            window=asked.window,
            amount=amount(asked.tokens, asked.money, signed=True),
            reason=asked.reason,
        )
    )


# Consents, alerts, decisions


@router.get("/consents")
def consents(desk: InDesk, actor: Anyone) -> list[ConsentView]:
    """Who opted in to pay-as-you-go."""
    return [consent_view(each) for each in desk.journal.consents() if actor.tenant in ("", each.tenant)]


@router.post("/consents", status_code=201, responses=responses(400, 404, 409))
def opt_in(desk: InDesk, actor: Anyone, asked: ConsentAsked) -> ConsentView:
    """Opt in to pay-as-you-go. Only that tenant's admin may."""
    desk.only_own(actor, asked.tenant)
    limit = parse_money(asked.limit) if asked.limit is not None else None
    return consent_view(desk.opt_in(actor, tenant=asked.tenant, workload=asked.workload, limit=limit))


@router.delete("/consents", status_code=204, responses=responses(404))
def opt_out(
    desk: InDesk,
    actor: Anyone,
    tenant: Annotated[str, Query(description="Who paid.")],
    workload: Annotated[str, Query(description="For what.")],
) -> None:
    """Opt out of pay-as-you-go. Only that tenant's admin may."""
    desk.only_own(actor, tenant)
    desk.opt_out(actor, tenant=tenant, workload=workload)


@router.get("/alerts")
def alerts(desk: InDesk, actor: Anyone, limit: Limit = 100) -> list[AlertView]:
    """Thresholds that were reached, and how far the messages about them got."""
    found = desk.journal.alerts(_LOOK_BACK if actor.tenant else limit)
    return [alert_view(each) for each in found if actor.tenant in ("", each.alert.key.tenant)][:limit]


@router.get("/decisions")
def decisions(
    desk: InDesk,
    actor: Anyone,
    kind: Annotated[list[str], Query(description="Only of these kinds, like payg-opt-in.")] = [],  # noqa: B006
    limit: Limit = 100,
) -> list[DecisionView]:
    """Who decided what."""
    found = desk.journal.decisions(kind, _LOOK_BACK if actor.tenant else limit)
    return [decision_view(each) for each in found if actor.tenant in ("", each.tenant)][:limit]


@router.post("/verify")
def verify(request: Request, desk: InDesk, _: Admin) -> VerificationView:
    """Read the whole ledger and check that nothing was lost, changed, counted twice or left out."""
    lost = desk.journal.usage([], 0, desk.now() + 1, {Dimension.OUTCOME: Outcome.LOST.value})
    return verification_view(request.app.state.verify(), lost[0].calls if lost else 0)
