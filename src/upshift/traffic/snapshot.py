"""What is in force: the compiled plan, immutable, swapped whole; and the keys and consents beside it."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from upshift.model.budget import Limit
from upshift.model.ids import (
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
from upshift.model.span import Window


class Dialect(StrEnum):
    """The wire formats that are spoken."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class Ability(StrEnum):
    """What a request may need and a model may have. Streaming and plain text are taken for granted."""

    TOOLS = "tools"
    IMAGES = "images"
    JSON = "json"


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
    limit_field: str = "max_completion_tokens"
    """The OpenAI-dialect field that bounds an answer when the client set none."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Prices in nano-dollars per million tokens, valid from `above` input tokens on."""

    above: int = 0
    input: Nano
    output: Nano
    cached: Nano
    cache_write_5m: Nano
    cache_write_1h: Nano


class RateCard(msgspec.Struct, frozen=True):
    """Steps by input length, in rising order of `above`, the first at 0; `source` says whose figures they are."""

    steps: tuple[Rates, ...]
    source: str


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model as the plan names it. `card` is None where no price is known: never zero."""

    name: ModelName
    provider: Provider
    upstream_id: str
    context: int
    max_output: int
    abilities: frozenset[Ability]
    card: RateCard | None
    aliases: tuple[str, ...] = ()


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
