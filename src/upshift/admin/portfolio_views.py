"""What is shown of a portfolio: each workload's standing, its sign-offs, the quarters and the buffer?"""

from collections.abc import Iterable, Mapping

from upshift.admin.desk import Desk
from upshift.admin.portfolio import Signed, show_amount
from upshift.admin.shown import Shown
from upshift.admin.signed import draws, judged, signed_until
from upshift.model.quarter import Quarter
from upshift.model.span import show_instant
from upshift.planning.buffer import Reserve
from upshift.planning.drawn import Drawn
from upshift.planning.forecast import forecast
from upshift.planning.hours import hours_by_quarter
from upshift.planning.outline import Budget, BudgetLine, Outline, Row, Status
from upshift.planning.portfolio import Reason, Signature, Standing, approvable, say
from upshift.planning.sign_offs import SignOff, content, fingerprint

_DRAWS = 2000
"""Of the reserves, which are told to a median."""


class ReasonView(Shown):
    """What is missing."""

    kind: str
    """Incomplete, Unsigned, Lost, Expired, OneHand, NoGate, NoOwner, NoShipQuarter or BeyondCeiling."""
    text: str
    """The same in words."""


class SignatureView(Shown):
    """One budget's sign-off by one side."""

    budget: str
    """tokens, compute or ops."""
    role: str
    """finance or engineering."""
    stands: bool
    """Whether it counts now."""
    by: str
    """Who signed; empty where nobody did."""
    at: str | None
    """When."""
    until: str | None
    """The last quarter in which it stands; null: until what it approved changes."""
    note: str
    """What the person wrote with it."""
    hash: str
    """SHA-256 of what was approved; empty where nothing was."""
    why_not: str
    """Why it does not count."""


class StandingView(Shown):
    """A workload's row, and how far it has come."""

    workload: str
    """Its name in the plan."""
    name: str
    """What people call it."""
    owner: str
    """Who answers for it."""
    status: str
    """What the plan says it is: candidate, planned or committed."""
    ships: str | None
    """The quarter it ships in."""
    covered: bool
    """Whether it may be that."""
    lacks: tuple[ReasonView, ...]
    """What it would need to be that."""
    answer: str
    """Whether it may take its next step: may move, to sign, not yet, nothing left."""
    next: str | None
    """What it may become next."""
    missing: tuple[ReasonView, ...]
    """What it needs for that."""
    signatures: tuple[SignatureView, ...]
    """Two for each budget."""


class QuarterView(Shown):
    """A quarter's hours of ops."""

    quarter: str
    """Like Q3-2026."""
    ships: tuple[str, ...]
    """Workloads that ship in it."""
    committed_hours: float
    """Hours a week of what is committed."""
    planned_hours: float
    """Hours a week of that and of what is planned."""
    ceiling: float | None
    """The most hours a week; null where the plan says none."""
    short_hours: float
    """What committed workloads need beyond the ceiling."""
    short_fte: float
    """The same in full-time equivalents."""


class DrawView(Shown):
    """A draw on the central buffer."""

    budget: str
    """Which budget's reserve."""
    quarter: str
    """For which quarter."""
    amount: float
    """Nano-dollars of tokens in the quarter, sessions of compute, hours a week of ops; negative gives back."""
    says: str
    """The same in words."""
    workload: str
    """For which workload; empty for none."""
    why: str
    """The reason."""
    by: str
    """Who."""
    at: str
    """When."""


class ReserveView(Shown):
    """What is held back for one budget in the present quarter."""

    budget: str
    """tokens, compute or ops."""
    held: float
    """Nano-dollars of tokens in the quarter, sessions of compute, hours a week of ops; by the forecast's median."""
    drawn: float
    """What draws took of it."""
    left: float
    """What is left; negative where more was drawn."""
    enough: float
    """The chance that budget and reserve suffice, 0 to 1."""
    says: str
    """What is held and left, in words."""


class BufferView(Shown):
    """The central reserve over the three budgets."""

    share: float
    """Of each budget, 0 to 1."""
    reserves: tuple[ReserveView, ...]
    """Behind each budget in the present quarter."""
    draws: tuple[DrawView, ...]
    """All of them, oldest first."""


class BudgetLineView(Shown):
    """Who answers for one of the three budgets."""

    budget: str
    """tokens, compute or ops."""
    owners: tuple[str, ...]
    """Who answers for it."""
    forecast: str
    """How often it is forecast."""
    review: str
    """How often it is reviewed."""


class PortfolioView(Shown):
    """The governance view of a plan."""

    plan: str
    """Its hash."""
    name: str
    """Its name."""
    in_force: bool
    """Whether it is the plan in force."""
    quarter: str
    """The present quarter."""
    sign_offs: bool
    """Whether planned and committed workloads need them."""
    refusals: tuple[str, ...]
    """Why the plan may not be put in force; empty where it may."""
    workloads: tuple[StandingView, ...]
    """In the order of the plan."""
    quarters: tuple[QuarterView, ...]
    """The present one, those that workloads ship in, and those with a ceiling."""
    budgets: tuple[BudgetLineView, ...]
    """The three, which are never blended."""
    buffer: BufferView
    """The reserve that is allocated to no workload."""


class SignedView(Shown):
    """What was signed off."""

    workload: str
    """Which workload."""
    budget: str
    """tokens, compute or ops."""
    role: str
    """For which side."""
    by: str
    """Who."""
    at: str
    """When."""
    hash: str
    """SHA-256 of what was approved."""
    content: dict[str, str]
    """What was approved, field by field."""
    new: bool
    """False where this person had approved the same before."""


def review(desk: Desk, outline: Outline) -> PortfolioView:
    """The governance view of a plan, as things stand now. Raises BeingComputedError."""
    today, plan = desk.today(), desk.journal.plan_in_force()
    return PortfolioView(
        plan=outline.plan,
        name=outline.name,
        in_force=plan is not None and plan.hash == outline.plan,
        quarter=str(Quarter.of(today)),
        sign_offs=outline.sign_offs,
        refusals=desk.refusals(outline),
        workloads=standings(desk, outline),
        quarters=quarters(outline, Quarter.of(today)),
        budgets=tuple(
            _budget(line, each)
            for line, each in zip(BudgetLine, (outline.tokens, outline.compute, outline.ops), strict=True)
        ),
        buffer=_buffer(desk, outline, Quarter.of(today)),
    )


def standings(desk: Desk, outline: Outline) -> tuple[StandingView, ...]:
    """How far each workload has come, in the order of the plan. Raises BeingComputedError."""
    today = desk.today()

    def make() -> tuple[StandingView, ...]:
        found = judged(desk.journal, outline, today)
        return tuple(_standing(each, row) for each, row in zip(found, outline.rows, strict=True))

    asked = "standings", outline.plan, Quarter.of(today), signed_until(desk.journal)
    found: tuple[StandingView, ...] = desk.kept.get(asked, make)
    return found


def signed_view(signed: Signed) -> SignedView:
    one = signed.sign_off
    return SignedView(
        workload=one.workload,
        budget=one.budget.value,
        role=one.role.value,
        by=one.by,
        at=show_instant(one.at),
        hash=signed.hash,
        content=dict(one.content),
        new=signed.new,
    )


def withdrawn_view(one: SignOff) -> SignedView:
    return signed_view(Signed(one, fingerprint(one.content), new=False))


def draw_view(each: Drawn) -> DrawView:
    return DrawView(
        budget=each.budget.value,
        quarter=str(each.quarter),
        amount=each.amount,
        says=show_amount(each.budget, each.amount),
        workload=each.workload,
        why=each.why,
        by=each.by,
        at=show_instant(each.at),
    )


def to_approve(outline: Outline, row: Row, budgets: Iterable[BudgetLine]) -> Mapping[str, Mapping[str, str]]:
    """What a sign-off would approve, by budget."""
    return {budget.value: content(outline, row, budget) for budget in budgets}


def _standing(each: Standing, row: Row) -> StandingView:
    return StandingView(
        workload=each.workload,
        name=row.name,
        owner=row.owner,
        status=each.status.value,
        ships=None if row.ships is None else str(row.ships),
        covered=each.covered,
        lacks=tuple(map(_reason, each.lacks)),
        answer=approvable(each).value,
        next=None if each.next is None else each.next.value,
        missing=tuple(map(_reason, each.missing)),
        signatures=tuple(map(_signature, each.signatures)),
    )


def _reason(each: Reason) -> ReasonView:
    return ReasonView(kind=type(each).__name__, text=say(each))


def _signature(each: Signature) -> SignatureView:
    one = each.sign_off
    return SignatureView(
        budget=each.budget.value,
        role=each.role.value,
        stands=each.lacks is None,
        by="" if one is None else one.by,
        at=None if one is None else show_instant(one.at),
        until=None if one is None or one.until is None else str(one.until),
        note="" if one is None else one.note,
        hash="" if one is None else fingerprint(one.content),
        why_not="" if each.lacks is None else say(each.lacks),
    )


def quarters(outline: Outline, present: Quarter) -> tuple[QuarterView, ...]:
    """The present one, those that workloads ship in, and those with a ceiling."""
    staffing = outline.staffing
    committed = [row for row in outline.rows if row.status is Status.COMMITTED]
    planned = [row for row in outline.rows if row.status is not Status.CANDIDATE]
    told = {present, *staffing.ceilings, *(row.ships for row in outline.rows if row.ships is not None)}
    shown = sorted(each for each in told if each >= present)
    needed, wanted = (hours_by_quarter(outline, rows, shown) for rows in (committed, planned))
    found = []
    for quarter in shown:
        ceiling, own = staffing.ceilings.get(quarter), needed[quarter]
        short = max(0.0, own - ceiling) if ceiling is not None else 0.0
        found.append(
            QuarterView(
                quarter=str(quarter),
                ships=tuple(row.id for row in outline.rows if row.ships == quarter),
                committed_hours=round(own, 2),
                planned_hours=round(wanted[quarter], 2),
                ceiling=ceiling,
                short_hours=round(short, 2),
                short_fte=round(short / staffing.fte_hours, 3),
            )
        )
    return tuple(found)


def _budget(line: BudgetLine, each: Budget) -> BudgetLineView:
    return BudgetLineView(budget=line.value, owners=each.owners, forecast=each.forecast.value, review=each.review.value)


def _buffer(desk: Desk, outline: Outline, present: Quarter) -> BufferView:
    made = draws(desk.journal)

    def make() -> tuple[Reserve, ...]:
        months = present.months
        return forecast(outline, start=months[0], months=len(months), draws=_DRAWS, taken=made).buffer

    reserves = desk.kept.get(("buffer", outline.plan, present, made), make)
    return BufferView(share=outline.buffer, reserves=tuple(map(_reserve, reserves)), draws=tuple(map(draw_view, made)))


def _reserve(each: Reserve) -> ReserveView:
    budget, drawn = each.line, each.drawn or 0.0
    left = each.held - drawn
    return ReserveView(
        budget=budget.value,
        held=round(each.held, 2),
        drawn=round(drawn, 2),
        left=round(left, 2),
        enough=round(each.enough, 4),
        says=f"{show_amount(budget, round(each.held, 1))} held, {show_amount(budget, round(left, 1))} left",
    )
