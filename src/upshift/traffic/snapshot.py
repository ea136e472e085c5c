"""What is in force: the compiled plan, immutable, swapped whole; and the keys and consents beside it."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from upshift.model.budget import Limit
from upshift.model.contract import Activation, Agent, Interface
from upshift.model.ids import (
    AgentId,
    GateId,
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
from upshift.model.key import Key
from upshift.model.money import Nano
from upshift.model.pool import Pool
from upshift.model.rates import RateCard
from upshift.model.span import Window


class Dialect(StrEnum):
    """The wire formats that are spoken."""

    OPENAI = "openai"
    """Chat Completions."""
    RESPONSES = "openai-responses"
    EMBEDDINGS = "openai-embeddings"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


class Ability(StrEnum):
    """What a request may need and a model may have. Streaming and plain text are taken for granted."""

    TOOLS = "tools"
    IMAGES = "images"
    JSON = "json"


class Local(StrEnum):
    """Which kind of server a provider of one's own is; all speak the OpenAI dialect."""

    OLLAMA = "ollama"
    VLLM = "vllm"
    LLAMACPP = "llamacpp"
    OPENAI = "openai"
    """Any other that is compatible."""


class TierRole(StrEnum):
    """What a model tier is for."""

    ORCHESTRATOR = "orchestrator"
    """Frontier models, that plan and judge."""
    WORKER = "worker"
    """Mid-range models, for routine work."""
    LOCAL = "local"
    """Models on machines of one's own."""


class Order(StrEnum):
    """How the routes of a call are ordered, among those that are equally wanted."""

    AS_LISTED = "as-listed"
    CHEAPEST = "cheapest"
    FASTEST = "fastest"
    WEIGHTED = "weighted"


class Overage(StrEnum):
    """The steps that an exhausted ceiling may lead to; a hard cap ends every ladder."""

    HARD_CAP = "hard-cap"
    SOFT_CAP = "soft-cap"
    PAY_AS_YOU_GO = "pay-as-you-go"


class HoldPolicy(StrEnum):
    """How much a streamed call holds at first."""

    GROWING = "growing"
    """The input and a usual answer, extended while the answer streams."""
    MAXIMUM = "maximum"
    """The input and all the output it may ask for: no overshoot at all, but long calls lock the budget."""


class OnDisconnect(StrEnum):
    """What happens upstream when a client leaves in the middle of a stream."""

    CANCEL = "cancel"
    DRAIN = "drain"


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds granted to a provider."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 900.0


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model is reached. `key_env` names the environment variable with the secret; empty sends none."""

    id: ProviderId
    dialect: Dialect
    base_url: str
    key_env: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    timeouts: Timeouts = Timeouts()
    on_disconnect: OnDisconnect = OnDisconnect.CANCEL
    max_connections: int = 1000
    speaks: frozenset[Dialect] = frozenset()
    """The dialects it serves as they come; empty: its own only. Others are translated into its own."""
    limit_field: str = "max_completion_tokens"
    """The OpenAI-dialect field that bounds an answer when the client set none."""
    local: Local | None = None
    """It runs on machines of one's own."""
    discover: bool = False
    """It may be asked which models it has."""

    def serves(self, dialect: Dialect) -> bool:
        """Whether calls in `dialect` go there as they come."""
        return dialect is self.dialect or dialect in self.speaks


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model as the plan names it, at its first provider. `card` is None where no price is known: never zero."""

    name: ModelName
    provider: Provider
    upstream_id: str
    context: int
    max_output: int
    abilities: frozenset[Ability]
    card: RateCard | None
    aliases: tuple[str, ...] = ()
    weight: int = 1
    """Its share of the calls, beside other routes, where they are shared out by weight."""
    offers: tuple["Model", ...] = ()
    """The same model at further providers, with their id, price and lengths; these have no offers themselves."""

    @property
    def routes(self) -> tuple["Model", ...]:
        """The model at each of its providers."""
        return (self, *self.offers)


class Ceiling(msgspec.Struct, frozen=True):
    """At most `limit` per calendar window."""

    window: Window
    limit: Limit


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What holds spend: ceilings by tier, and the ladder of overage steps at the ceiling."""

    id: GateId
    ceilings: Mapping[TierId, tuple[Ceiling, ...]]
    ladder: tuple[Overage, ...]
    degraded: Mapping[TierId, tuple[Ceiling, ...]]
    """Ceilings of the degraded bucket by tier; an empty tuple is no limit."""
    overage_limit: tuple[Ceiling, ...] = ()
    """Ceilings of pay-as-you-go over all users of a tenant."""
    grace_tokens: int = 0
    """How far a streaming answer may run past the ceiling to be finished rather than cut."""
    hold: HoldPolicy = HoldPolicy.GROWING
    patience_seconds: float = 30.0
    """How long a call waits for the holds of its user's other calls before it is refused."""
    how_to_ask: str = ""


class User(msgspec.Struct, frozen=True):
    id: UserId
    tier: TierId
    email: str = ""


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """`default_tier` serves users that the plan does not list; empty refuses them."""

    id: TenantId
    name: str
    zone: str
    owner: str
    users: Mapping[UserId, User]
    default_tier: TierId | None


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a request has to look like. Lengths are tokens of input, as they are estimated."""

    needs: frozenset[Ability] = frozenset()
    without: frozenset[Ability] = frozenset()
    above: int | None = None
    below: int | None = None


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of work within a workload, served by a tier of its own. Without a shape, only its name leads to it."""

    name: str
    tier: ModelTierId
    models: tuple[Model, ...]
    shape: Shape | None = None


class Detour(msgspec.Struct, frozen=True):
    """Where a call goes when the routes before have failed: another model tier."""

    tier: ModelTierId
    models: tuple[Model, ...]


class Pin(msgspec.Struct, frozen=True):
    """What a regulated workload is kept to, on every way. Where nothing of a kind is named, all of it may serve."""

    providers: frozenset[ProviderId] = frozenset()
    models: frozenset[ModelName] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.providers or self.models)


class Unsure(StrEnum):
    """When a call is tried again that may have been billed already: sent, and no answer came."""

    NEVER = "never"
    OUTAGE = "outage"
    """Once, on another route, where its connection ended before anything that was generated had come, or where it was
    waited for in vain at a provider that answers nobody: then it is not just a slow answer."""
    ALWAYS = "always"


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """How a workload's calls find a route, and what happens when one fails."""

    order: Order = Order.AS_LISTED
    tasks: tuple[Task, ...] = ()
    pin: Pin = Pin()
    """The workload's models are narrowed to it when the plan is compiled."""
    same_model: bool = True
    """A call may go on with the same model at another provider."""
    same_tier: bool = False
    """Then with another model of the tier that served it."""
    detours: tuple[Detour, ...] = ()
    """Then with these tiers."""
    retries: int = 0
    """Tries of a call on routes that have failed already, over all of its routes."""
    retry_unsure: Unsure = Unsure.OUTAGE
    hedge_after: float | None = None
    """Seconds without a first byte after which a second route is tried beside the first; None never."""
    sticky: bool = True
    """A session stays on the route whose prompt cache it has filled."""


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """`primary` serves it; `substitutes` may, after a soft cap. Models in order of preference."""

    id: WorkloadId
    name: str
    owner: str
    status: str
    tenants: frozenset[TenantId]
    pod: PodId
    project: ProjectId
    primary_tier: ModelTierId
    primary: tuple[Model, ...]
    substitute_tier: ModelTierId | None
    substitutes: tuple[Model, ...]
    gate: Gate
    routing: Routing = Routing()
    pool: Pool | None = None
    """Where its calls need a place; the same for all workloads that share it."""

    @property
    def models(self) -> tuple[Model, ...]:
        """Every model that may be asked for, each once."""
        of_tasks = (model for task in self.routing.tasks for model in task.models)
        return tuple({model.name: model for model in (*self.primary, *self.substitutes, *of_tasks)}.values())


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One compiled plan. `models` is keyed by every name and alias a client may ask for."""

    hash: PlanHash
    name: str
    tenants: Mapping[TenantId, Tenant]
    workloads: Mapping[WorkloadId, Workload]
    models: Mapping[str, Model]
    model_tiers: Mapping[ModelTierId, tuple[Model, ...]]
    providers: Mapping[ProviderId, Provider]
    tiers: tuple[TierId, ...]
    roles: Mapping[ModelTierId, TierRole] = {}
    """Of the model tiers that have one."""
    agents: Mapping[AgentId, Agent] = {}
    interfaces: Mapping[str, Interface] = {}
    """Which agents may speak to which once it is decided, by name."""

    @property
    def pools(self) -> tuple[Pool, ...]:
        """The capacity pools of its workloads, each once."""
        return tuple({each.pool.id: each.pool for each in self.workloads.values() if each.pool is not None}.values())


class Consent(msgspec.Struct, frozen=True):
    """A tenant's admin opted in to pay-as-you-go for a workload, at most `limit` per month (None: the gate's own)."""

    tenant: TenantId
    workload: WorkloadId
    by: str
    limit: Nano | None


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a request is judged by. Captured once per request, so a change of plan never splits a call."""

    snapshot: Snapshot
    keys: Mapping[str, Key]
    """By SHA-256 hex digest of the secret."""
    consents: Mapping[tuple[TenantId, WorkloadId], Consent]
    activations: Mapping[str, Activation] = {}
    """Interfaces that are active, by name."""
    shares: Mapping[AgentId, float] = {}
    """The share of sessions, 0 to 1, of agents that do not get all of them."""
