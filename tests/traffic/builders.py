"""Where do tests get a small plan, its keys and its ceilings, with only what matters to them spelt out?"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

from hypothesis import settings

from upshift.model.budget import EMPTY, Amount, Balance, Bucket, BudgetKey, Claim, Limit
from upshift.model.ids import (
    GateId,
    KeyId,
    ModelName,
    ModelTierId,
    PlanHash,
    PodId,
    ProjectId,
    ProviderId,
    TenantId,
    TierId,
    UserId,
    WorkloadId,
)
from upshift.model.key import Key, Role
from upshift.model.rates import RateCard, Rates
from upshift.model.span import Instant, Period, Window, period_of
from upshift.traffic.gate import Fare
from upshift.traffic.identify import Caller, digest
from upshift.traffic.snapshot import (
    Ability,
    Ceiling,
    Consent,
    Dialect,
    Gate,
    HoldPolicy,
    InForce,
    Model,
    Overage,
    Provider,
    Routing,
    Snapshot,
    Tenant,
    User,
    Workload,
)
from upshift.traffic.wire.ask import Ask

steady = settings(deadline=None, derandomize=True, max_examples=200)
"""Properties are tried on the same examples everywhere, however slow the machine."""

NOW: Instant = 1_794_830_400_000_000
"""2026-11-16T12:00:00Z, a Monday in the middle of a month."""

DAY = 86_400_000_000
"""Microseconds."""

SECRET = b"up-key-of-alice-0123456789"


def rates(
    *,
    above: int = 0,
    input: int = 3_000_000_000,
    output: int = 15_000_000_000,
    cached: int = 300_000_000,
    cache_write_5m: int = 3_750_000_000,
    cache_write_1h: int = 6_000_000_000,
) -> Rates:
    """Nano-dollars per million tokens; by default $3 in, $15 out."""
    return Rates(
        above=above,
        input=input,
        output=output,
        cached=cached,
        cache_write_5m=cache_write_5m,
        cache_write_1h=cache_write_1h,
    )


def card(*steps: Rates) -> RateCard:
    return RateCard(steps or (rates(),), "tests")


PREMIUM = card()


def provider(name: str = "acorn", dialect: Dialect = Dialect.OPENAI) -> Provider:
    return Provider(id=ProviderId(name), dialect=dialect, base_url="http://127.0.0.1:9/v1")


def model(
    name: str = "big",
    *,
    dialect: Dialect = Dialect.OPENAI,
    context: int = 200_000,
    max_output: int = 32_000,
    abilities: Iterable[Ability] = (Ability.TOOLS, Ability.IMAGES, Ability.JSON),
    priced: RateCard | None = PREMIUM,
    aliases: tuple[str, ...] = (),
) -> Model:
    return Model(
        name=ModelName(name),
        provider=provider(f"{dialect}-provider", dialect),
        upstream_id=f"{name}-2026-01-01",
        context=context,
        max_output=max_output,
        abilities=frozenset(abilities),
        card=priced,
        aliases=aliases,
    )


PLAIN_ROUTING = Routing()
BIG = model("big", aliases=("big-latest",))
SMALL = model("small", priced=card(rates(input=150_000_000, output=600_000_000, cached=75_000_000)))
CLAUDE = model("claude", dialect=Dialect.ANTHROPIC)
OTHER = model("other")


def ceiling(window: Window = Window.MONTH, *, tokens: int | None = None, nano: int | None = None) -> Ceiling:
    return Ceiling(window, Limit(tokens, nano))


def gate(
    *,
    ceilings: Mapping[str, tuple[Ceiling, ...]] | None = None,
    ladder: tuple[Overage, ...] = (Overage.HARD_CAP,),
    degraded: Mapping[str, tuple[Ceiling, ...]] | None = None,
    overage_limit: tuple[Ceiling, ...] = (),
    grace_tokens: int = 0,
    hold: HoldPolicy = HoldPolicy.GROWING,
    how_to_ask: str = "Ask in #budgets",
) -> Gate:
    own = {"pro": (ceiling(tokens=100_000),)} if ceilings is None else ceilings
    return Gate(
        id=GateId("standard"),
        ceilings={TierId(tier): limits for tier, limits in own.items()},
        ladder=ladder,
        degraded={TierId(tier): limits for tier, limits in (degraded or {}).items()},
        overage_limit=overage_limit,
        grace_tokens=grace_tokens,
        hold=hold,
        how_to_ask=how_to_ask,
    )


def user(name: str = "alice", tier: str = "pro") -> User:
    return User(UserId(name), TierId(tier))


def tenant(
    name: str = "acme", *, zone: str = "UTC", users: Iterable[User] = (), default_tier: str | None = None
) -> Tenant:
    listed = tuple(users) or (user(),)
    return Tenant(
        id=TenantId(name),
        name=name.title(),
        zone=zone,
        owner=f"owner@{name}.example",
        users={each.id: each for each in listed},
        default_tier=None if default_tier is None else TierId(default_tier),
    )


def workload(
    name: str = "support",
    *,
    tenants: Iterable[str] = ("acme",),
    primary: tuple[Model, ...] = (BIG, CLAUDE),
    substitutes: tuple[Model, ...] = (SMALL,),
    substitute_tier: str | None = "budget",
    rules: Gate | None = None,
    routing: Routing = PLAIN_ROUTING,
) -> Workload:
    return Workload(
        id=WorkloadId(name),
        name=name.title(),
        owner="pod@acme.example",
        status="stable",
        tenants=frozenset(TenantId(each) for each in tenants),
        pod=PodId("pod"),
        project=ProjectId("project"),
        primary_tier=ModelTierId("premium"),
        primary=primary,
        substitute_tier=None if substitute_tier is None else ModelTierId(substitute_tier),
        substitutes=substitutes,
        gate=rules or gate(),
        routing=routing,
    )


def snapshot(
    *,
    tenants: Iterable[Tenant] = (),
    workloads: Iterable[Workload] = (),
    models: Iterable[Model] = (BIG, CLAUDE, SMALL, OTHER),
    model_tiers: Mapping[str, tuple[Model, ...]] | None = None,
) -> Snapshot:
    """By default: tenant acme with alice, one workload, four models in three tiers."""
    known = tuple(models)
    tiers = model_tiers or {"premium": (BIG, CLAUDE), "budget": (SMALL,), "none": (OTHER,)}
    return Snapshot(
        hash=PlanHash("0" * 64),
        name="tests",
        tenants={each.id: each for each in tuple(tenants) or (tenant(),)},
        workloads={each.id: each for each in tuple(workloads) or (workload(),)},
        models={name: each for each in known for name in (each.name, *each.aliases)},
        model_tiers={ModelTierId(tier): each for tier, each in tiers.items()},
        providers={each.provider.id: each.provider for each in known},
        tiers=(TierId("free"), TierId("pro")),
    )


def key(
    secret: bytes = SECRET,
    *,
    role: Role = Role.CALLER,
    name: str = "laptop",
    tenant: str = "acme",
    user: str = "alice",
    workloads: tuple[str, ...] = (),
    expires: Instant | None = None,
    revoked: Instant | None = None,
) -> Key:
    return Key(
        id=KeyId(f"key-{name}"),
        digest=digest(secret),
        hint=secret[:6].decode(),
        role=role,
        name=name,
        tenant=tenant,
        user=user,
        workloads=workloads,
        created=NOW - 30 * DAY,
        expires=expires,
        revoked=revoked,
    )


def in_force(plan: Snapshot | None = None, keys: Iterable[Key] = (), consents: Iterable[Consent] = ()) -> InForce:
    """By default: the default plan and alice's key."""
    return InForce(
        snapshot=plan or snapshot(),
        keys=MappingProxyType({each.digest: each for each in tuple(keys) or (key(),)}),
        consents=MappingProxyType({(each.tenant, each.workload): each for each in consents}),
    )


def consent(limit: int | None = None) -> Consent:
    return Consent(TenantId("acme"), WorkloadId("support"), "admin@acme.example", limit)


def caller(plan: Snapshot, owned: Key | None = None) -> Caller:
    held = owned or key()
    home = plan.tenants[TenantId(held.tenant)]
    return Caller(held, home, home.users.get(UserId(held.user), user("somebody", "free")))


def ask(
    *,
    dialect: Dialect = Dialect.OPENAI,
    model: str = "big",
    stream: bool = False,
    max_output: int | None = None,
    choices: int = 1,
    needs: Iterable[Ability] = (),
    text_bytes: int = 600,
    images: int = 0,
    cache_write: Literal["", "5m", "1h"] = "",
    keeps_state: bool = False,
) -> Ask:
    return Ask(
        dialect=dialect,
        model=model,
        stream=stream,
        max_output=max_output,
        choices=choices,
        needs=frozenset(needs),
        text_bytes=text_bytes,
        images=images,
        cache_write=cache_write,
        keeps_state=keeps_state,
    )


def headers(**sent: bytes) -> Mapping[bytes, bytes]:
    """Headers of a call by name, with '_' for '-'; their `.get` is what rules ask."""
    return {name.replace("_", "-").encode(): value for name, value in sent.items()}


def period(window: Window = Window.MONTH, zone: str = "UTC", now: Instant = NOW) -> Period:
    return period_of(window, zone, now)


def budget_key(
    name: str = "alice", *, tenant: str = "acme", bucket: Bucket = Bucket.INCLUDED, window: Window = Window.MONTH
) -> BudgetKey:
    label = period(window).label
    return BudgetKey(TenantId(tenant), UserId(name), WorkloadId("support"), bucket, window.value, label)


def claim(
    name: str = "alice",
    *,
    tokens: int | None = None,
    nano: int | None = None,
    bucket: Bucket = Bucket.INCLUDED,
    window: Window = Window.MONTH,
) -> Claim:
    """A ceiling over the counter of `name`."""
    return Claim(budget_key(name, bucket=bucket, window=window), Limit(tokens, nano), period(window))


def balance(
    *, settled: tuple[int, int] = (0, 0), held: tuple[int, int] = (0, 0), granted: tuple[int, int] = (0, 0)
) -> Balance:
    """Each part as tokens and nano-dollars."""
    return Balance(Amount(*settled), Amount(*held), Amount(*granted))


def fare(
    *claims: Claim,
    input: int = 100,
    input_rate: int = 0,
    output_rate: int = 0,
    wanted: int = 1_000,
    enough: int | None = None,
) -> Fare:
    return Fare(claims, input, input_rate, output_rate, wanted, wanted if enough is None else enough)


class Books:
    """Balances in memory: what a ledger keeps, without one."""

    def __init__(self, *known: tuple[Claim, Balance]) -> None:
        self.balances: dict[BudgetKey, Balance] = {claim.key: state for claim, state in known}

    def read(self, counter: BudgetKey) -> Balance:
        return self.balances.get(counter, EMPTY)
