"""Which Outline, for forecasts and sign-offs to read, does a declared plan come to?"""

from collections.abc import Mapping

from upshift.model.ids import (
    AgentId,
    GateId,
    ModelTierId,
    PlanHash,
    PodId,
    ProjectId,
    TierId,
    WorkloadId,
)
from upshift.model.quarter import parse_quarter
from upshift.plan_file import declared, declared_calendar, declared_planning
from upshift.plan_file.compiled import of_document, primaries
from upshift.plan_file.prices import Terms
from upshift.planning.days import Calendar, Freeze
from upshift.planning.outline import (
    Agent,
    Audience,
    Budget,
    Compute,
    Estimate,
    Ops,
    Outline,
    Row,
    Share,
    Spread,
    Status,
    Turns,
)
from upshift.traffic.snapshot import Model, Order

_OUTPUT_OF_TEN = 2
"""Of ten tokens two are output, unless an estimate says otherwise: by that the cheapest route is told."""


def outline_document(document: str) -> Outline:
    """The Outline of a kept document. Raises ValueError for text that is not the document of a plan."""
    return of_document(document, outline_of)


def outline_of(plan: declared.Plan, terms: Mapping[str, Terms], plan_hash: PlanHash) -> Outline:
    """The Outline of a checked plan. `terms` holds what was settled for each model."""
    served = primaries(plan, terms)
    budgets = plan.budgets
    return Outline(
        plan=plan_hash,
        name=plan.name,
        rows=tuple(_row(name, each, served.get(name, ()), plan.gates) for name, each in sorted(plan.workloads.items())),
        agents=tuple(
            Agent(
                id=AgentId(name),
                workload=WorkloadId(each.workload) if each.workload is not None else None,
                owner=each.owner or "",
            )
            for name, each in sorted(plan.agents.items())
        ),
        interfaces=tuple(sorted((AgentId(each.from_), AgentId(each.to)) for each in plan.interfaces.values())),
        tokens=_budget(budgets.tokens),
        compute=_budget(budgets.compute),
        ops=_budget(budgets.ops),
        buffer=budgets.buffer,
        staffing=_staffing(plan.ops),
        machines=Compute(
            headroom=budgets.compute.headroom,
            sessions_per_unit=budgets.compute.sessions_per_unit,
            unit=budgets.compute.unit,
        ),
        year=budgets.tokens.year,
        pods={name: each.year for name, each in sorted(plan.pods.items()) if each.year is not None},
        sign_offs=signs_off(plan),
        calendar=calendar_of(plan.calendar),
    )


def signs_off(plan: declared.Plan) -> bool:
    """Whether planned and committed workloads need complete estimates and sign-offs."""
    if plan.sign_offs is not None:
        return plan.sign_offs == "required"
    return any(each.estimate is not None for each in plan.workloads.values())


def audiences_of(each: declared.Workload) -> tuple[Audience, ...]:
    """The users of a workload, by customer tier where the plan says so."""
    if each.users is None:
        return ()
    if isinstance(each.users, Spread):
        return (Audience(None, each.users),)
    return tuple(Audience(TierId(tier), said.users, said.weight) for tier, said in sorted(each.users.items()))


def estimate_of(said: declared_planning.Estimate | None) -> Estimate | None:
    """The estimate of a workload; its tokens count as derived only where turns, input and output are all said."""
    if said is None:
        return None
    turns = None
    if said.turns is not None and said.input is not None and said.output is not None:
        turns = Turns(
            turns=said.turns,
            input=said.input,
            output=said.output,
            multiplier=said.multiplier,
            tool_calls=said.tool_calls,
            retries=said.retries,
        )
    return Estimate(
        sessions=said.sessions,
        turns=turns,
        tokens=said.tokens,
        output_share=said.output_share,
        cached=said.cached,
        cache_written=said.cache_written,
        long=said.long,
        growth=said.growth,
        minutes=said.session,
        busy=said.busy,
        burst=said.burst,
        ops_hours=said.ops,
    )


def calendar_of(said: declared_calendar.Calendar) -> Calendar:
    """The calendar as planning and playbooks read it."""
    return Calendar(
        zone=said.timezone,
        year_begins=declared_calendar.MONTHS.index(said.year_begins) + 1,
        holidays=tuple(sorted((day, name) for name, days in said.holidays.items() for day in days)),
        workdays_only=said.changes == "workdays",
        freezes=tuple(Freeze(name, each.from_, each.to, each.why or "") for name, each in sorted(said.freezes.items())),
    )


def _row(name: str, each: declared.Workload, served: tuple[Model, ...], gates: Mapping[str, declared.Gate]) -> Row:
    gate = gates[each.gate] if each.gate is not None else None
    models = each.models
    return Row(
        id=WorkloadId(name),
        name=each.name or name,
        owner=each.owner or "",
        status=Status(each.status),
        ships=each.ships,
        retires=each.retires,
        pod=PodId(each.pod) if each.pod is not None else None,
        project=ProjectId(each.project) if each.project is not None else None,
        audiences=audiences_of(each),
        estimate=estimate_of(each.estimate),
        stakeholder=each.stakeholder or "",
        sla=each.sla or "",
        shape=each.shape or "",
        primary=ModelTierId(models.primary) if models is not None else None,
        degrade_to=ModelTierId(models.degrade_to) if models is not None and models.degrade_to is not None else None,
        mix=_mix(served, each.route.order),
        gate=GateId(each.gate) if each.gate is not None else None,
        overage=tuple(str(step) for step in gate.overage) if gate is not None else (),
        ceilings=_ceilings(gate) if gate is not None else (),
    )


def _mix(models: tuple[Model, ...], order: Order) -> tuple[Share, ...]:
    """Who serves a workload if all goes well: by weight where its routes are shared out so, else the first one.

    The fastest is not known before it is measured, so the first one stands for it.
    """
    routes = [route for model in models for route in model.routes]
    if not routes:
        return ()
    if order is Order.WEIGHTED and (total := sum(route.weight for route in routes)):
        return tuple(Share(each.name, each.weight / total, each.card) for each in routes if each.weight)
    first = min(routes, key=_list_price) if order is Order.CHEAPEST else routes[0]
    return (Share(first.name, 1.0, first.card),)


def _list_price(model: Model) -> tuple[bool, int]:
    if model.card is None:
        return True, 0
    step = model.card.steps[0]
    return False, (10 - _OUTPUT_OF_TEN) * step.input + _OUTPUT_OF_TEN * step.output


def _ceilings(gate: declared.Gate) -> tuple[tuple[TierId, int | None, int | None], ...]:
    monthly = ((tier, said.month) for tier, said in sorted(gate.ceilings.items()))
    return tuple((TierId(tier), month.tokens, month.money) for tier, month in monthly if month is not None)


def _budget(
    said: declared_planning.TokensBudget | declared_planning.ComputeBudget | declared_planning.OpsBudget,
) -> Budget:
    return Budget(owners=tuple(said.owners), forecast=said.forecast, review=said.review)


def _staffing(said: declared_planning.Ops) -> Ops:
    return Ops(
        fte_hours=said.fte,
        platform=said.platform,
        stable=said.stable,
        first_quarter=said.first_quarter,
        homogeneous=said.homogeneous,
        heterogeneous=said.heterogeneous,
        ceilings=dict(sorted((parse_quarter(quarter), hours) for quarter, hours in said.ceilings.items())),
        hour=said.hour,
        incident=said.incident,
    )
