"""What may a plan say?"""

import operator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)

from upshift.plan_file.declared_agents import Agent, Interface
from upshift.plan_file.declared_calendar import Calendar
from upshift.plan_file.declared_planning import Budgets, Estimate, Ops, Said, Users
from upshift.plan_file.declared_policies import Policies
from upshift.plan_file.declared_pools import Capacity, PoolShare
from upshift.plan_file.figures import QuarterOf
from upshift.plan_file.parts import RULE_TAG, TIERS_TAG, Declared
from upshift.plan_file.quantities import (
    MONEY_PATTERN,
    TOKENS_PATTERN,
    Duration,
    Money,
    PositiveDuration,
    Tokens,
    looks_like_money,
)
from upshift.plan_file.texts import Email, HeaderName, HeaderValue, KeyName, Name, Step, Url, UserName, WorkloadName
from upshift.traffic.snapshot import Ability, Dialect, HoldPolicy, Local, OnDisconnect, Order, Overage, TierRole


def _ladder(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _sorted(value: list[Ability]) -> list[Ability]:
    return sorted(set(value))


def _local(value: Any) -> Any:
    if not isinstance(value, (str, bool)):
        return value
    return {"true": Local.OPENAI, "false": None}.get(str(value).lower(), value)


def _off(value: Any) -> Any:
    return None if value == "off" else value


_UNSURE = {
    **dict.fromkeys(("true", "yes", "on", "y", "t", "1"), "always"),
    **dict.fromkeys(("false", "no", "off", "n", "f", "0"), "never"),
}
"""What else says it: it is a yes or a no in older plans, in every spelling in which those are taken."""


def _unsure(value: Any) -> Any:
    return _UNSURE.get(str(value).lower(), value)


_LOCAL_SCHEMA = {"enum": [True, False, *(str(kind) for kind in Local)], "examples": ["ollama"]}


class Timeouts(Declared):
    """How long a provider may take."""

    connect: PositiveDuration = 5.0
    """To accept a connection."""
    first_byte: PositiveDuration = 120.0
    """To begin its answer."""
    idle: PositiveDuration = 60.0
    """Between two pieces of an answer."""
    total: PositiveDuration = 900.0
    """For a whole answer."""


class Provider(Declared):
    """A service that models are reached at."""

    dialect: Dialect
    """The wire format it speaks."""
    base_url: Url
    """Where it is: with /v1 for the openai dialects, without for anthropic and gemini."""
    key: KeyName | None = None
    """The environment variable that holds its key, as env:NAME. Leave it out for a server that wants none."""
    headers: dict[HeaderName, HeaderValue] = {}
    """Extra headers to send with each call."""
    timeouts: Timeouts = Timeouts()
    """How long it may take."""
    on_disconnect: OnDisconnect = OnDisconnect.CANCEL
    """What happens to a streaming answer when its client leaves: cancel it, or drain it to learn its exact usage."""
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """How many calls it may be sent at once."""
    limit_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    """The field that bounds an answer in the openai dialect; older servers only know max_tokens."""
    speaks: Annotated[list[Dialect], Field(min_length=1)] | None = None
    """All dialects that it serves as they come; calls in any other are translated into its main one. Without it, the
    main one; for openai also openai-embeddings, and at api.openai.com openai-responses."""
    local: Annotated[Local | None, BeforeValidator(_local), WithJsonSchema(_LOCAL_SCHEMA)] = None
    """It runs on machines of one's own: true, or which kind of server it is."""
    discover: bool = False
    """Whether a local server may be asked which models it has."""


Weight: TypeAlias = Annotated[int, Field(ge=0, le=1_000_000)]


class LongPrice(Declared):
    """Prices of a call with a long input; they hold for the whole call."""

    above: Tokens
    """From how many input tokens on."""
    input: Money
    """US dollars per million input tokens."""
    output: Money
    """US dollars per million output tokens."""
    cached: Money | None = None
    """US dollars per million input tokens read from a cache; without it, the price of input."""
    cache_write_5m: Money | None = None
    """US dollars per million tokens written to a cache for five minutes."""
    cache_write_1h: Money | None = None
    """US dollars per million tokens written to a cache for an hour."""


class Price(Declared):
    """What a model costs, instead of what the catalogue of public prices says."""

    input: Money
    """US dollars per million input tokens."""
    output: Money
    """US dollars per million output tokens."""
    cached: Money | None = None
    """US dollars per million input tokens read from a cache; without it, the price of input."""
    cache_write_5m: Money | None = None
    """US dollars per million tokens written to a cache for five minutes; without it 1.25 times the price of input in
    the anthropic dialect, else the price of input."""
    cache_write_1h: Money | None = None
    """US dollars per million tokens written to a cache for an hour; without it twice the price of input in the
    anthropic dialect, else the price of input."""
    long: list[LongPrice] = []
    """Prices of calls with a long input, by rising length."""


class Offer(Declared):
    """The same model at another provider. What is left out is as the catalogue says of it there, else as the model."""

    provider: str
    """The provider that serves it too."""
    id: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Its name at that provider; without it, the model's own id."""
    context: Tokens | None = None
    """The most tokens of input and output together there."""
    max_output: Tokens | None = None
    """The most tokens of one answer there."""
    price: Price | None = None
    """What it costs there."""
    weight: Weight = 1
    """Its share of the calls where routes are ordered by weight; 0 only stands by."""


class Model(Declared):
    """A model that clients can ask for by its name or an alias."""

    provider: str
    """The provider that serves it."""
    id: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Its name at the provider, where that is another one."""
    aliases: list[Name] = []
    """Other names that clients may ask for it by."""
    context: Tokens | None = None
    """The most tokens of input and output together; known for models in the catalogue of public prices."""
    max_output: Tokens | None = None
    """The most tokens of one answer: 32k, or the context where that is smaller, unless said."""
    can: Annotated[list[Ability], AfterValidator(_sorted)] = sorted(Ability)
    """What it can do beside plain text."""
    price: Price | None = None
    """What it costs. Known for models in the catalogue of public prices; what is said here comes first."""
    weight: Weight = 1
    """The share of its first provider in the calls where routes are ordered by weight; 0 only stands by."""
    offers: list[Offer] = []
    """The same model at further providers, in the order they are tried when the first one fails."""


class ModelTier(Declared):
    """Models that may stand for each other, in order of preference. Short form: [gpt-5, claude-sonnet]."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            {"type": ["object", "array"], "items": {"type": "string"}, "examples": [["gpt-5", "claude-sonnet"]]}
        )
    )

    models: list[str]
    """The models by name."""
    role: TierRole | None = None
    """What the tier is for: orchestrator (frontier models), worker (routine work), or local."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"models": data} if isinstance(data, list) else data


class User(Declared):
    """A person or system whose use is counted apart."""

    tier: str
    """The customer tier that sizes its ceilings."""
    email: Email | None = None
    """Where it can be reached."""


class Tenant(Declared):
    """A customer or department, which never sees another one."""

    name: Annotated[str, Field(max_length=200)] | None = None
    """How people call it."""
    timezone: str = "UTC"
    """The IANA time zone that its days, weeks and months follow, e.g. Europe/Berlin."""
    owner: Email | None = None
    """The account owner, who gets the e-mail when a ceiling comes near."""
    default_tier: str | None = None
    """The customer tier of users that are not listed. Leave it out to refuse them."""
    users: dict[UserName, User] = {}
    """Its users by name."""


class Pod(Declared):
    """A team that builds."""

    lead: str | None = None
    """The user who leads it."""
    year: Money | None = None
    """What it may spend in a financial year."""


class Project(Declared):
    """What workloads are built for."""

    pod: str | None = None
    """The pod that builds it."""


class Ceiling(Declared):
    """The most that may be used in one calendar window: tokens, money, or both. Short form: 200k or $20."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            {
                "type": ["object", "string", "number"],
                "pattern": f"{TOKENS_PATTERN}|{MONEY_PATTERN}",
                "examples": ["200k", "$20", {"tokens": "2M", "money": "$20"}],
            }
        )
    )

    tokens: Tokens | None = None
    """The most tokens, input and output together."""
    money: Money | None = None
    """The most US dollars."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, (str, int, float)) and not isinstance(data, bool):
            return {"money" if looks_like_money(data) else "tokens": data}
        return data


class Ceilings(Declared):
    """The most that one user of one workload may use, by calendar window in the tenant's time zone."""

    day: Ceiling | None = None
    """From midnight to midnight."""
    week: Ceiling | None = None
    """From Monday to Sunday."""
    month: Ceiling | None = None
    """From the first to the last of the month."""


def _degraded(value: Any) -> str:
    return RULE_TAG if isinstance(value, str) else TIERS_TAG


_FAILOVER_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": "^(same-model|same-tier|none|tier .+)$"},
        {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "pattern": "^(same-model|same-tier|none|tier .+)$"},
        },
    ],
    "examples": ["none", ["same-model", "same-tier"]],
}

_OVERAGE_SCHEMA = {
    "anyOf": [
        {"enum": [str(step) for step in Overage]},
        {"type": "array", "minItems": 1, "items": {"enum": [str(step) for step in Overage]}},
    ],
    "examples": ["hard-cap", ["soft-cap", "pay-as-you-go"]],
}


class Gate(Declared):
    """What holds spend: ceilings by customer tier, and what happens when one is reached."""

    ceilings: dict[str, Ceilings] = {}
    """The ceilings of each customer tier that can reach a workload of this gate."""
    overage: Annotated[
        list[Overage], BeforeValidator(_ladder), Field(min_length=1), WithJsonSchema(_OVERAGE_SCHEMA)
    ] = [Overage.HARD_CAP]
    """What happens at a ceiling, one step or several in the order they are tried: hard-cap refuses, soft-cap goes on
    with the models of degrade_to, pay-as-you-go goes on at the tenant's expense once its admin has opted in."""
    degraded: Annotated[
        Annotated[Literal["same", "unlimited"], Tag(RULE_TAG)] | Annotated[dict[str, Ceilings], Tag(TIERS_TAG)],
        Discriminator(_degraded),
    ] = "same"
    """The ceilings after a soft cap: the same again, unlimited, or by customer tier."""
    overage_limit: Ceilings | None = None
    """The most pay-as-you-go over all users of a tenant."""
    grace: Tokens = 0
    """How many tokens a streaming answer may run past a ceiling to be finished rather than cut."""
    hold: HoldPolicy = HoldPolicy.GROWING
    """What a streaming call holds of the budget: growing with the answer, or the maximum from the start."""
    patience: Duration = 30.0
    """How long a call waits for the user's other calls when they hold what it needs."""
    ask: Annotated[str, Field(max_length=300)] = ""
    """How to ask for more, told to whoever is refused."""


class WorkloadModels(Declared):
    """Which models serve a workload."""

    primary: str
    """The model tier that serves it."""
    degrade_to: str | None = None
    """The model tier that serves it after a soft cap."""


class TaskWhen(Declared):
    """What a request has to look like to be taken for a task. All that is said has to hold."""

    needs: Annotated[list[Ability], AfterValidator(_sorted)] = []
    """It needs all of these: tools, images, json."""
    without: Annotated[list[Ability], AfterValidator(_sorted)] = []
    """It needs none of these."""
    above: Tokens | None = None
    """Its input is longer than this."""
    below: Tokens | None = None
    """Its input is shorter than this."""


class Task(Declared):
    """A kind of work within a workload, with models of its own. Short form: the name of a model tier."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update({"type": ["object", "string"], "examples": ["budget"]})
    )

    tier: str
    """The model tier that serves it."""
    when: TaskWhen | None = None
    """How its requests are recognised; without it, only by the header x-upshift-task."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"tier": data} if isinstance(data, str) else data


class Route(Declared):
    """How a workload's calls find a provider, and what happens when one fails."""

    order: Order = Order.AS_LISTED
    """Which route is taken first: as-listed, cheapest, fastest, or weighted."""
    tasks: dict[Name, Task] = {}
    """Kinds of work that other model tiers serve, where a client asks for the workload and not for a model. Where
    several fit a request, the one that says most about it."""
    pin: list[str] = []
    """Providers or models that the workload is kept to, also when one fails or a ceiling is reached."""
    failover: Annotated[
        list[Step],
        BeforeValidator(_ladder),
        Field(min_length=1),
        WithJsonSchema(_FAILOVER_SCHEMA),
    ] = ["same-model"]
    """Where a call goes on when a provider fails before its answer has begun: same-model at another provider,
    same-tier, tier NAME, or none."""
    retries: Annotated[int, Field(ge=0, le=5)] = 0
    """Tries of a call on routes that have failed already, after a pause; counted over all of its routes."""
    retry_unsure: Annotated[
        Literal["never", "outage", "always"],
        BeforeValidator(_unsure),
        WithJsonSchema({"enum": ["never", "outage", "always", True, False]}),
    ] = "outage"
    """Whether a call is tried again that was sent and has no answer, so that both tries may be billed: never (false);
    outage: once, on another route, where its connection ended before anything was generated, or where it was waited for
    in vain at a provider that answers nobody; always (true)."""
    hedge_after: Annotated[
        PositiveDuration | None,
        BeforeValidator(_off),
        WithJsonSchema({"type": ["string", "number"], "examples": ["off", "2s"]}),
    ] = None
    """After how long without an answer a second route of the same model is tried beside the first. Both may be
    billed."""
    sticky: Literal["session", "off"] = "session"
    """Whether a session stays on the route whose prompt cache it has filled."""


_STRAIGHT = Route()
"""One for all workloads without: as a plain default it would be copied deeply for each."""


class Workload(Declared):
    """A use of models that is budgeted for itself."""

    name: Annotated[str, Field(max_length=200)] | None = None
    """How people call it."""
    owner: Annotated[str, Field(max_length=200)] | None = None
    """Who answers for it."""
    status: Literal["candidate", "planned", "committed"] = "candidate"
    """Only committed workloads are served."""
    ships: QuarterOf | None = None
    """The quarter in which it begins to be served."""
    retires: QuarterOf | None = None
    """The first quarter in which it no longer is."""
    stakeholder: Said | None = None
    """Who asks for it: a department or a customer."""
    sla: Said | None = None
    """What it is promised, e.g. 99.5% within 8s."""
    shape: Said | None = None
    """Its kind of work, e.g. chat, review or batch."""
    users: Users | None = None
    """How many people use it: in all, or by customer tier."""
    estimate: Estimate | None = None
    """What one of them uses in a month, and what it asks of machines and people."""
    tenants: list[str] | None = None
    """The tenants that may use it; without it, all of them."""
    pod: str | None = None
    """The pod that builds it."""
    project: str | None = None
    """The project it belongs to."""
    data: str | None = None
    """The class of the data that it handles, one of policies.data."""
    models: WorkloadModels | None = None
    """Which models serve it."""
    gate: str | None = None
    """The gate that holds its spend: mandatory for planned and committed workloads."""
    route: Annotated[Route, Field(default_factory=lambda: _STRAIGHT)]
    """How its calls find a provider, and what happens when one fails."""
    capacity: Capacity | None = None
    """A capacity pool of its own."""
    pool: PoolShare | None = None
    """Its part in a pool that several workloads share."""


class Plan(Declared):
    """The plan of one installation: who may use which models for what, and how much."""

    upshift: Annotated[Literal["1"], BeforeValidator(str)]
    """The version of this format: 1."""
    name: Name
    """The name of the plan."""
    providers: dict[Name, Provider] = {}
    """Services that models are reached at, by name."""
    models: dict[Name, Model] = {}
    """Models that clients can ask for, by name."""
    model_tiers: dict[Name, ModelTier] = {}
    """Lists of models by name, each in order of preference."""
    tiers: list[Name] = []
    """Customer tiers, which size the ceilings of users."""
    tenants: dict[Name, Tenant] = {}
    """Customers or departments, by name."""
    pods: dict[Name, Pod] = {}
    """Teams, by name."""
    projects: dict[Name, Project] = {}
    """Projects, by name."""
    gates: dict[Name, Gate] = {}
    """What holds spend, by name."""
    pools: Annotated[dict[Name, Capacity], Field(exclude_if=operator.not_)] = {}
    """Capacity pools that several workloads share, by name."""
    workloads: dict[WorkloadName, Workload] = {}
    """Uses of models, by name."""
    agents: Annotated[dict[Name, Agent], Field(exclude_if=operator.not_)] = {}
    """Agents of the system, by name."""
    interfaces: Annotated[dict[Name, Interface], Field(exclude_if=operator.not_)] = {}
    """Which agents speak to which, by name."""
    sign_offs: Literal["required", "waived"] | None = None
    """Whether planned and committed workloads need a complete estimate and sign-offs. Without it, they do as soon as
    any workload states an estimate."""
    budgets: Annotated[Budgets, Field(exclude_if=Budgets().__eq__)] = Budgets()
    """Owners and cadences of the three budgets, and the reserve over them."""
    ops: Annotated[Ops, Field(exclude_if=Ops().__eq__)] = Ops()
    """Staffing, in hours a week."""
    calendar: Annotated[Calendar, Field(exclude_if=Calendar().__eq__)] = Calendar()
    """The days of the organisation: its financial year, its holidays, and when no plan is put in force."""
    policies: Annotated[Policies, Field(exclude_if=Policies().__eq__)] = Policies()
    """Rules that the whole plan has to keep."""
