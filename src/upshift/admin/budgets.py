"""How much of which budget is used, at what pace, until when, and what happens at the ceiling?"""

from collections.abc import Iterator, Mapping, Sequence, Set

import msgspec

from upshift.admin.desk import ActError, Actor, Desk
from upshift.admin.shown import Shown
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


class Line(msgspec.Struct, frozen=True, gc=False):
    """What a BudgetView is made of. Of thousands few are looked at closely: those alone are made views of."""

    claim: Claim
    balance: Balance
    tier: TierId
    ladder: Sequence[Overage]
    now: Instant
    limits: tuple[int | None, int | None]
    """Tokens and nano-dollars that there are in all, with what was granted; None for no limit."""
    share: float | None
    """Settled and held, of the ceiling that binds first; None without any."""

    @classmethod
    def of(cls, claim: Claim, balance: Balance, tier: TierId, ladder: Sequence[Overage], now: Instant) -> "Line":
        """Where one ceiling stands now."""
        limit, settled, held, granted = claim.limit, balance.settled, balance.held, balance.granted
        tokens = nano = share = None
        if limit.tokens is not None:
            tokens = limit.tokens + granted.tokens
            share = _share(settled.tokens + held.tokens, tokens)
        if limit.nano is not None:
            nano = limit.nano + granted.nano
            money = _share(settled.nano + held.nano, nano)
            share = money if share is None else max(share, money)
        return cls(claim, balance, tier, ladder, now, (tokens, nano), share)

    @property
    def reached(self) -> bool:
        """Whether a threshold was reached of a ceiling that calls count against first."""
        if self.claim.key.bucket is not Bucket.INCLUDED:
            return False
        settled, period, now = self.balance.settled, self.claim.period, self.now
        return any(
            most is not None and bool(alerts.due(used, most, period, now))
            for used, most in zip((settled.tokens, settled.nano), self.limits, strict=True)
        )


def budgets(
    desk: Desk, actor: Actor, tenant: str | None = None, user: str | None = None, workload: str | None = None
) -> list[BudgetView]:
    """The current budgets that the actor may see. Users that the plan does not list appear once they spent.

    Raises ActError before the first plan, and for names that it does not have.
    """
    return [line_view(each) for each in lines(desk, actor, tenant, user, workload)]


def lines(
    desk: Desk, actor: Actor, tenant: str | None = None, user: str | None = None, workload: str | None = None
) -> list[Line]:
    """What `budgets` shows, to be counted and sorted first. Raises as it does."""
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
    spent: dict[tuple[TenantId, WorkloadId], dict[UserId, set[Bucket]]] = {}
    for key in known:
        spent.setdefault((key.tenant, key.workload), {}).setdefault(key.user, set()).add(key.bucket)
    periods = _Periods(now)
    found: list[Line] = []
    for each in snapshot.tenants.values():
        if tenant and each.id != tenant:
            continue
        for served in snapshot.workloads.values():
            if each.id not in served.tenants or (workload and served.id != workload):
                continue
            consent = in_force.consents.get((each.id, served.id))
            counted = spent.get((each.id, served.id), {})
            for who in _users(each, counted.keys(), user):
                buckets: Set[Bucket] = counted.get(who.id, frozenset())
                found += _lines(each, who, served, consent, known, buckets, periods)
            if not user and consent is not None:
                found += _shared(each, served, consent, known, periods)
    if user and not found:
        raise ActError(f"no user {user!r} has a budget here", 404)
    return found


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
    counted: Set[Bucket],
    periods: "_Periods",
) -> Iterator[Line]:
    """The user's own lines: the included ones always, the others once something was counted there."""
    for claim in periods.claims(tenant, user, workload, consent, counted):
        balance = known.get(claim.key, EMPTY)
        if claim.key.bucket is Bucket.INCLUDED or balance != EMPTY:
            yield Line.of(claim, balance, user.tier, workload.gate.ladder, periods.now)


def _shared(
    tenant: Tenant, workload: Workload, consent: Consent, known: Mapping[BudgetKey, Balance], periods: "_Periods"
) -> Iterator[Line]:
    anybody = User(ceilings.EVERYBODY, TierId(""))
    for claim in ceilings.claims(tenant, anybody, workload, Bucket.OVERAGE, consent, periods)[1:]:
        yield Line.of(claim, known.get(claim.key, EMPTY), anybody.tier, workload.gate.ladder, periods.now)


class _Periods:
    """The periods that contain one instant, and the ceilings in them: the same for all users of a tier."""

    def __init__(self, now: Instant) -> None:
        self.now = now
        self._found: dict[tuple[Window, str], Period] = {}
        self._claims: dict[tuple[TenantId, TierId, WorkloadId], list[Claim]] = {}

    def claims(
        self, tenant: Tenant, user: User, workload: Workload, consent: Consent | None, counted: Set[Bucket]
    ) -> Iterator[Claim]:
        """The user's own: the included ones, and those of the buckets in which something was counted."""
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
            if key.bucket is not Bucket.INCLUDED and key.bucket not in counted:
                continue
            own = BudgetKey(key.tenant, user.id, key.workload, key.bucket, key.window, key.period)
            yield Claim(own, claim.limit, claim.period)

    def __call__(self, window: Window, zone: str) -> Period:
        found = self._found.get((window, zone))
        if found is None:
            found = self._found[window, zone] = period_of(window, zone, self.now)
        return found


def line_view(line: Line) -> BudgetView:
    """A line with all that there is to say of it."""
    claim, now = line.claim, line.now
    key, limit = claim.key, claim.limit
    settled, held, granted = line.balance.settled, line.balance.held, line.balance.granted
    tokens = _measure(settled.tokens, held.tokens, limit.tokens, granted.tokens, claim.period, now)
    money = _measure(settled.nano, held.nano, limit.nano, granted.nano, claim.period, now)
    steps = [each.value for each in line.ladder if each is not Overage.HARD_CAP]
    return BudgetView(
        tenant=key.tenant,
        user=key.user,
        tier=line.tier,
        workload=key.workload,
        bucket=key.bucket.value,
        window=key.window,
        period=key.period,
        resets=show_instant(claim.period.end, claim.period.zone),
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
        share=_share(used + held, most),
        runs_out=None if out is None else show_instant(out, period.zone),
    )


def _share(used: int, most: int) -> float:
    return round(used / most, 4) if most else 1.0


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
