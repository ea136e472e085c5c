"""What is shown of keys, plans, calls, consents, alerts and decisions, in the API's JSON and on the command line?"""

from collections.abc import Sequence
from enum import StrEnum

from upshift.admin.plan_views import ProblemView, problem_view
from upshift.admin.shown import Shown
from upshift.model.entry import Adjust, Decision, Grant
from upshift.model.key import Key
from upshift.model.metered import Metered
from upshift.model.money import dollars
from upshift.model.span import Instant, show_instant
from upshift.plan_file import Checked, Consequence
from upshift.store.journal import Applied, Journal, OptIn, Raised
from upshift.store.verify import Verification


class KeyState(StrEnum):
    """Whether a key opens anything."""

    LIVE = "live"
    EXPIRED = "expired"
    REVOKED = "revoked"


class KeyView(Shown):
    """A key, without its secret, which nobody has but its holder."""

    id: str
    """Names the key in other requests."""
    hint: str
    """The first characters of the secret."""
    name: str
    """Who or what uses it."""
    role: str
    """caller, tenant-admin, admin, finance, engineering, pod-lead or viewer."""
    state: KeyState
    """live, expired or revoked."""
    tenant: str
    """Empty for an admin key."""
    user: str
    """Empty when the application names its user on each call."""
    workloads: tuple[str, ...]
    """Empty for every workload that is open to the tenant."""
    agent: str
    """The agent whose own key it is; empty when the application names the agent on each call."""
    created: str
    """When it was issued."""
    expires: str | None
    """When it ends by itself; null for never."""
    revoked: str | None
    """When it was ended."""
    replaces: str
    """The id of the key that it was rotated from."""
    by: str
    """Who issued it."""


class IssuedView(Shown):
    """A new key. The secret is shown this once."""

    secret: str
    """Send it as `Authorization: Bearer` or `x-api-key`."""
    key: KeyView
    """What the key opens."""


class AppliedView(Shown):
    """A plan that was put in force."""

    number: int
    """Counts applications from 1."""
    hash: str
    """SHA-256 of the compiled plan; every call's record carries it."""
    name: str
    """The name the plan gives itself."""
    by: str
    """Who applied it."""
    at: str
    """When."""
    restores: int | None = None
    """The number of the former plan that this is, where it was put in force again; null where that is not so."""


class ConsequenceView(Shown):
    """One thing that a change of plan does."""

    kind: str
    """What it is about: served, stopped, ceiling, overage, route, access, user, tenant, model, price, provider,
    capacity, interface, status, sign-off or cost."""
    subject: str
    """Whom or what it meets."""
    text: str
    """In words."""


class DifferenceView(Shown):
    """What applying a plan changes, or changed."""

    hash: str
    """The new plan's hash."""
    in_force: str
    """The hash of the plan that was in force before; empty when there was none."""
    applied: bool
    """Whether it was put in force by this request."""
    consequences: tuple[ConsequenceView, ...]
    """Everything that changes; empty when nothing does."""
    warnings: tuple[ProblemView, ...]
    """What the check warned of."""
    refusals: tuple[str, ...] = ()
    """Why it may not be applied: what is not signed off, or beyond a ceiling. Empty where it may."""


class RolledBackView(Shown):
    """A former plan that was put in force again."""

    restored: AppliedView
    """The former plan."""
    in_force: AppliedView | None
    """What is in force now."""
    applied: bool
    """Whether this request changed what is in force."""
    consequences: tuple[ConsequenceView, ...]
    """Everything that changes."""


class CallView(Shown):
    """The record of one call."""

    id: str
    """The request id, also sent to the client as x-upshift-request."""
    seq: int
    """Its place in the ledger, to page with."""
    started: str
    """When it came in."""
    tenant: str
    """Whose it was."""
    user: str
    """Whose budget it was counted against."""
    tier: str
    """The customer tier that sized the budget."""
    workload: str
    """What it was for."""
    pod: str
    """The team that builds the workload."""
    project: str
    """What the workload is built for."""
    session: str
    """The conversation, as the client names it."""
    agent: str
    """The agent, as the client names it."""
    key: str
    """The id of the key it was made with."""
    dialect: str
    """The wire format."""
    streamed: bool
    """Whether the answer was asked for in pieces."""
    requested_model: str
    """What the client asked for."""
    served_model: str
    """What answered, by its name in the plan."""
    provider: str
    """Who answered."""
    upstream_id: str
    """The provider's own id of the call."""
    outcome: str
    """served, refused, upstream_error, cut, client_left or lost."""
    status: int
    """HTTP status of the answer."""
    bucket: str
    """included, degraded or overage."""
    reason: str
    """Why it was degraded, refused, cut or failed; empty when nothing was."""
    certainty: str
    """exact, at_least or unknown: how the usage is known."""
    input: int
    """Input tokens, cached and written ones included."""
    cached: int
    """Input tokens read from the provider's cache."""
    cache_write_5m: int
    """Input tokens written to a cache for five minutes."""
    cache_write_1h: int
    """Input tokens written to a cache for an hour."""
    output: int
    """Output tokens, reasoning included."""
    reasoning: int
    """Output tokens of hidden reasoning."""
    cost_usd: str | None
    """Exact US dollars; null where the price or the usage is unknown, which is not zero."""
    counted_nano: int
    """Nano-dollars that the budgets were charged: the cost, or what was held where the cost is unknown."""
    counted_tokens: int
    """Tokens that the budgets were charged."""
    latency_ms: float
    """From the first byte of the request to the last of the answer."""
    first_byte_ms: float
    """To the first byte of the answer."""
    overhead_ms: float
    """Time in the gateway that was not waiting for provider, client or budget."""
    plan: str
    """Hash of the plan that was in force."""


class ConsentView(Shown):
    """A tenant's standing consent to pay-as-you-go."""

    tenant: str
    """Who pays."""
    workload: str
    """For what."""
    limit_nano: int | None
    """At most so many nano-dollars per month; null for the gate's own limit."""
    by: str
    """The tenant's admin who opted in."""
    at: str
    """When."""


class DeliveryView(Shown):
    """How far an alert got on one channel."""

    channel: str
    """e-mail or webhook."""
    state: str
    """claimed (under way, or uncertain after a crash), done or failed (will be tried again)."""
    attempts: int
    """How often it was tried."""
    at: str
    """When it came to this state."""
    why: str
    """The last failure."""


class AlertView(Shown):
    """A budget's threshold that was reached; each at most once per period."""

    id: str
    """Counter and threshold."""
    at: str
    """When it was reached."""
    tenant: str
    """Whose budget."""
    user: str
    """Whose budget."""
    workload: str
    """For what."""
    window: str
    """day, week or month."""
    period: str
    """Which one, like 2026-11."""
    threshold: int
    """70 (notice), 90 (e-mail) or 100 (reached)."""
    measure: str
    """tokens or money (nano-dollars)."""
    used: int
    """In the measure's unit."""
    limit: int
    """In the measure's unit."""
    runs_out: str | None
    """When the budget is used up at this pace; null when the period ends first."""
    deliveries: tuple[DeliveryView, ...]
    """Empty until something was sent."""


class DecisionView(Shown):
    """Something that a person or the system decided."""

    id: str
    """Unique."""
    at: str
    """When."""
    kind: str
    """Like plan-applied, key-issued, payg-opt-in or recovery."""
    tenant: str
    """Whom it concerns; empty for the whole installation."""
    subject: str
    """What it is about."""
    by: str
    """Who decided."""
    detail: dict[str, str | int | bool | None]
    """What else was said."""


class DeedView(Shown):
    """A grant or adjustment that the gateway will take in within a second."""

    id: str
    """Unique; it is counted once."""
    at: str
    """When it was asked for."""
    counter: str
    """The counter it changes."""
    tokens: int
    """How many tokens."""
    nano: int
    """How many nano-dollars."""
    by: str
    """Who decided."""
    reason: str
    """Why."""


class LedgerProblemView(Shown):
    """One thing that is wrong with the ledger."""

    seq: int
    """At which entry; 0 for the file as a whole."""
    what: str
    """In words."""


class VerificationView(Shown):
    """What reading the whole ledger found."""

    ok: bool
    """Nothing lost, changed, counted twice or left out."""
    entries: int
    """Entries read."""
    calls: int
    """Call records read."""
    groups: int
    """Commits read."""
    open_holds: int
    """Calls in flight (or to be recovered at the next start)."""
    lost_calls: int
    """Calls that a crash cut off, counted at what they held."""
    digest: str
    """Stands for everything up to the last entry; note it elsewhere to prove that nothing was cut off."""
    problems: tuple[LedgerProblemView, ...]
    """At most the first hundred."""
    retained: int
    """Up to this entry calls were dropped, and only the chain of commits could be read; 0 if none were."""


def key_view(key: Key, now: Instant) -> KeyView:
    state = KeyState.LIVE
    if key.revoked is not None and key.revoked <= now:
        state = KeyState.REVOKED
    elif key.expires is not None and key.expires <= now:
        state = KeyState.EXPIRED
    return KeyView(
        id=key.id,
        hint=key.hint,
        name=key.name,
        role=key.role.value,
        state=state,
        tenant=key.tenant,
        user=key.user,
        workloads=key.workloads,
        agent=key.agent,
        created=show_instant(key.created),
        expires=_maybe(key.expires),
        revoked=_maybe(key.revoked),
        replaces=key.replaces,
        by=key.by,
    )


def applied_view(applied: Applied, restores: int | None = None) -> AppliedView:
    return AppliedView(
        number=applied.number,
        hash=applied.hash,
        name=applied.name,
        by=applied.by,
        at=show_instant(applied.at),
        restores=restores,
    )


def applied_views(journal: Journal) -> list[AppliedView]:
    """Every plan that was put in force, the latest first."""
    plans = journal.plans()
    told = {
        each.detail.get("number"): each.detail.get("restores")
        for each in journal.decisions(["plan-applied"], len(plans) + 1)
    }
    return [applied_view(each, found if isinstance(found := told.get(each.number), int) else None) for each in plans]


def difference_view(
    checked: Checked,
    in_force: str,
    consequences: Sequence[Consequence],
    *,
    applied: bool,
    refusals: Sequence[str] = (),
) -> DifferenceView:
    return DifferenceView(
        hash=checked.snapshot.hash,
        in_force=in_force,
        applied=applied,
        consequences=tuple(map(consequence_view, consequences)),
        warnings=tuple(map(problem_view, checked.warnings)),
        refusals=tuple(refusals),
    )


def rolled_back_view(
    former: Applied, before: Applied | None, now: Applied | None, consequences: Sequence[Consequence]
) -> RolledBackView:
    return RolledBackView(
        restored=applied_view(former),
        in_force=None if now is None else applied_view(now),
        applied=before != now,
        consequences=tuple(map(consequence_view, consequences)),
    )


def consequence_view(each: Consequence) -> ConsequenceView:
    return ConsequenceView(kind=each.kind.value, subject=each.subject, text=each.text)


def call_view(seq: int, record: Metered) -> CallView:
    usage = record.usage
    return CallView(
        id=record.request,
        seq=seq,
        started=show_instant(record.started),
        tenant=record.tenant,
        user=record.user,
        tier=record.tier,
        workload=record.workload,
        pod=record.pod,
        project=record.project,
        session=record.session,
        agent=record.agent,
        key=record.key,
        dialect=record.dialect,
        streamed=record.streamed,
        requested_model=record.requested_model,
        served_model=record.served_model,
        provider=record.provider,
        upstream_id=record.upstream_id,
        outcome=record.outcome.value,
        status=record.status,
        bucket=record.bucket.value,
        reason=record.reason,
        certainty=record.certainty.value,
        input=usage.input,
        cached=usage.cached,
        cache_write_5m=usage.cache_write_5m,
        cache_write_1h=usage.cache_write_1h,
        output=usage.output,
        reasoning=usage.reasoning,
        cost_usd=None if record.cost is None else usd(record.cost),
        counted_nano=record.counted,
        counted_tokens=record.counted_tokens,
        latency_ms=record.latency_us / 1000,
        first_byte_ms=record.first_byte_us / 1000,
        overhead_ms=record.overhead_us / 1000,
        plan=record.plan,
    )


def consent_view(consent: OptIn) -> ConsentView:
    return ConsentView(
        tenant=consent.tenant,
        workload=consent.workload,
        limit_nano=consent.limit,
        by=consent.by,
        at=show_instant(consent.at),
    )


def alert_view(raised: Raised) -> AlertView:
    alert = raised.alert
    return AlertView(
        id=alert.id,
        at=show_instant(alert.at),
        tenant=alert.key.tenant,
        user=alert.key.user,
        workload=alert.key.workload,
        window=alert.key.window,
        period=alert.key.period,
        threshold=alert.threshold,
        measure=alert.measure,
        used=alert.used,
        limit=alert.limit,
        runs_out=_maybe(alert.runs_out),
        deliveries=tuple(
            DeliveryView(
                channel=each.channel,
                state=each.state.value,
                attempts=each.attempts,
                at=show_instant(each.at),
                why=each.why,
            )
            for each in raised.deliveries
        ),
    )


def decision_view(decision: Decision) -> DecisionView:
    return DecisionView(
        id=decision.id,
        at=show_instant(decision.at),
        kind=decision.kind,
        tenant=decision.tenant,
        subject=decision.subject,
        by=decision.by,
        detail=decision.detail,
    )


def deed_view(deed: Grant | Adjust) -> DeedView:
    return DeedView(
        id=deed.id,
        at=show_instant(deed.at),
        counter=deed.keys[0].path(),
        tokens=deed.amount.tokens,
        nano=deed.amount.nano,
        by=deed.by,
        reason=deed.reason,
    )


def verification_view(found: Verification, lost_calls: int) -> VerificationView:
    return VerificationView(
        ok=found.ok,
        entries=found.entries,
        calls=found.calls,
        groups=found.groups,
        open_holds=found.open_holds,
        lost_calls=lost_calls,
        digest=found.digest,
        problems=tuple(LedgerProblemView(seq=each.seq, what=each.what) for each in found.problems),
        retained=found.retained,
    )


def usd(nano: int) -> str:
    """Exact dollars, without an exponent: '0.0000125'."""
    text = f"{dollars(nano):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _maybe(instant: Instant | None) -> str | None:
    return None if instant is None else show_instant(instant)
