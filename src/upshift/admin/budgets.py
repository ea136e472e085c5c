"""How much of which budget is used, at what pace, until when, and what happens at the ceiling?"""

from collections.abc import Iterator, Mapping, Sequence, Set

from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.views import Shown
from upshift.model.budget import EMPTY, Balance, Bucket, BudgetKey, Claim
from upshift.model.ids import TenantId, TierId, UserId, WorkloadId
from upshift.model.span import Instant, Period, Window, period_of, show_instant
from upshift.traffic import alerts, ceilings
from upshift.traffic.snapshot import Consent, Overage, Tenant, User, Workload


class MeasureView(Shown):
    """Use of one kind against one ceiling: tokens, or nano-dollars for money."""

    used: int
    """Settled."""
    held: int
    """What calls in flight may still cost."""
    limit: int | None
    """The ceiling with what was granted; null for none of this kind."""
    granted: int
    """By how much a grant lifted the ceiling for this period."""
    share: float | None
    """(used + held) / limit."""
    runs_out: str | None
    """When it is used up at this period's pace; null when the period ends first or nothing is limited."""


class BudgetView(Shown):
    """One ceiling of one user of one workload, in the current period."""

    tenant: str
    """Whose it is."""
    user: str
    """Whose it is; `*` is everybody of the tenant together."""
    tier: str
    """The customer tier that sizes it; empty for `*`."""
    workload: str
    """For what."""
    bucket: str
    """included, degraded (after a soft cap) or overage (pay-as-you-go)."""
    window: str
    """day, week or month."""
    period: str
    """Which one, like 2026-11."""
    resets: str
    """When the period ends, in the tenant's time zone."""
    tokens: MeasureView
    """Input and output together."""
    money: MeasureView
    """In nano-dollars."""
    at_the_ceiling: tuple[str, ...]
    """The overage steps, in order; a hard cap ends every ladder."""
    notices: tuple[str, ...]
    """What there is to know: 70 % at this pace, 90 %, reached, degraded, metered."""


def budgets(
    desk: Desk, actor: Actor, tenant: str | None = None, user: str | None = None, workload: str | None = None
) -> list[BudgetView]:
    """The current budgets that the actor may see. Users that the plan does not list appear once they spent.

    Raises ActError before the first plan, and for names that it does not have.
    """
    if actor.tenant:
        tenant = tenant or actor.tenant
        desk.only_seen(actor, tenant)
    in_force, now = desk.in_force(), desk.now()
    snapshot = in_force.snapshot
    if tenant and TenantId(tenant) not in snapshot.tenants:
        raise ActError(f"the plan has no tenant {tenant!r}; it has {', '.join(snapshot.tenants)}", 404)
    if workload and WorkloadId(workload) not in snapshot.workloads:
        names = ", ".join(each.id for each in snapshot.workloads.values() if not tenant or tenant in each.tenants)
        raise ActError(f"no workload {workload!r} is served; there are {names}", 404)
    known = {each.key: each.balance for each in desk.journal.balances(tenant, None, workload, now)}
    spent: dict[tuple[TenantId, WorkloadId], set[UserId]] = {}
    for key in known:
        spent.setdefault((key.tenant, key.workload), set()).add(key.user)
    periods = _Periods(now)
    lines: list[BudgetView] = []
    for each in snapshot.tenants.values():
        if tenant and each.id != tenant:
            continue
        for served in snapshot.workloads.values():
            if each.id not in served.tenants or (workload and served.id != workload):
                continue
            consent = in_force.consents.get((each.id, served.id))
            for who in _users(each, spent.get((each.id, served.id), set()), user):
                lines += _lines(each, who, served, consent, known, periods)
            if not user and consent is not None:
                lines += _shared(each, served, consent, known, periods)
    if user and not lines:
        raise ActError(f"no user {user!r} has a budget here", 404)
    return lines


def _users(tenant: Tenant, spent: Set[UserId], only: str | None) -> Iterator[User]:
    names = sorted({*tenant.users, *spent} - {ceilings.EVERYBODY}) if only is None else [UserId(only)]
    for name in names:
        listed = tenant.users.get(name)
        if listed is not None:
            yield listed
        elif tenant.default_tier is not None:
            yield User(name, tenant.default_tier)


def _lines(
    tenant: Tenant,
    user: User,
    workload: Workload,
    consent: Consent | None,
    known: Mapping[BudgetKey, Balance],
    periods: "_Periods",
) -> Iterator[BudgetView]:
    """The user's own lines: the included ones always, the others once something was counted there."""
    for claim in periods.claims(tenant, user, workload, consent):
        balance = known.get(claim.key, EMPTY)
        if claim.key.bucket is Bucket.INCLUDED or balance != EMPTY:
            yield _line(claim, balance, user.tier, workload.gate.ladder, periods)


def _shared(
    tenant: Tenant, workload: Workload, consent: Consent, known: Mapping[BudgetKey, Balance], periods: "_Periods"
) -> Iterator[BudgetView]:
    anybody = User(ceilings.EVERYBODY, TierId(""))
    for claim in ceilings.claims(tenant, anybody, workload, Bucket.OVERAGE, consent, periods)[1:]:
        yield _line(claim, known.get(claim.key, EMPTY), "", workload.gate.ladder, periods)


class _Periods:
    """The periods that contain one instant, and the ceilings in them: the same for all users of a tier."""

    def __init__(self, now: Instant) -> None:
        self.now = now
        self._found: dict[tuple[Window, str], Period] = {}
        self._resets: dict[Period, str] = {}
        self._claims: dict[tuple[TenantId, TierId, WorkloadId], list[Claim]] = {}

    def claims(self, tenant: Tenant, user: User, workload: Workload, consent: Consent | None) -> Iterator[Claim]:
        """The user's own, of all buckets."""
        like = tenant.id, user.tier, workload.id
        found = self._claims.get(like)
        if found is None:
            found = self._claims[like] = [
                claim
                for bucket in Bucket
                for claim in ceilings.claims(tenant, user, workload, bucket, consent, self)
                if claim.key.user == user.id
            ]
        for claim in found:
            key = claim.key
            own = BudgetKey(key.tenant, user.id, key.workload, key.bucket, key.window, key.period)
            yield Claim(own, claim.limit, claim.period)

    def resets(self, period: Period) -> str:
        """When one of them ends, written out once for all who share it."""
        found = self._resets.get(period)
        if found is None:
            found = self._resets[period] = show_instant(period.end, period.zone)
        return found

    def __call__(self, window: Window, zone: str) -> Period:
        found = self._found.get((window, zone))
        if found is None:
            found = self._found[window, zone] = period_of(window, zone, self.now)
        return found


def _line(claim: Claim, balance: Balance, tier: str, ladder: Sequence[Overage], periods: "_Periods") -> BudgetView:
    key, limit, now = claim.key, claim.limit, periods.now
    settled, held, granted = balance.settled, balance.held, balance.granted
    tokens = _measure(settled.tokens, held.tokens, limit.tokens, granted.tokens, claim.period, now)
    money = _measure(settled.nano, held.nano, limit.nano, granted.nano, claim.period, now)
    steps = [each.value for each in ladder if each is not Overage.HARD_CAP]
    return BudgetView(
        tenant=key.tenant,
        user=key.user,
        tier=tier,
        workload=key.workload,
        bucket=key.bucket.value,
        window=key.window,
        period=key.period,
        resets=periods.resets(claim.period),
        tokens=tokens,
        money=money,
        at_the_ceiling=(*steps, Overage.HARD_CAP.value),
        notices=tuple(_notices(key.bucket, tokens, money, claim.period, now)),
    )


def _measure(used: int, held: int, limit: int | None, granted: int, period: Period, now: Instant) -> MeasureView:
    if limit is None:
        return MeasureView(used=used, held=held, limit=None, granted=granted, share=None, runs_out=None)
    most = limit + granted
    out = alerts.runs_out(used, most, period, now)
    return MeasureView(
        used=used,
        held=held,
        limit=most,
        granted=granted,
        share=round((used + held) / most, 4) if most else 1.0,
        runs_out=None if out is None else show_instant(out, period.zone),
    )


_SAYS = {
    70: "at this pace the {} budget is used up before the period ends",
    90: "the {} budget is nearly used up",
    100: "the {} budget is used up",
}


def _notices(bucket: Bucket, tokens: MeasureView, money: MeasureView, period: Period, now: Instant) -> Iterator[str]:
    match bucket:
        case Bucket.INCLUDED:
            for what, measure in (("token", tokens), ("money", money)):
                if measure.limit is not None:
                    reached = alerts.due(measure.used, measure.limit, period, now)
                    if reached:
                        yield _SAYS[reached[-1]].format(what)
        case Bucket.DEGRADED:
            yield "degraded: answers came from the budget model tier"
        case Bucket.OVERAGE:
            yield "metered: use beyond the ceiling is invoiced to the tenant"
