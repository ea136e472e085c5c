"""What of a plan do forecasts, sign-offs and reviews read?"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from upshift.model.ids import AgentId, GateId, ModelName, ModelTierId, PlanHash, PodId, ProjectId, TierId, WorkloadId
from upshift.model.money import Nano
from upshift.model.quarter import Quarter
from upshift.model.rates import RateCard
from upshift.planning.days import Calendar


class BudgetLine(StrEnum):
    """The three budgets, which are never blended into one."""

    TOKENS = "tokens"
    COMPUTE = "compute"
    OPS = "ops"


class Status(StrEnum):
    """How far a workload has come; each step needs sign-offs."""

    CANDIDATE = "candidate"
    PLANNED = "planned"
    COMMITTED = "committed"


class Cadence(StrEnum):
    """How often a budget is forecast or reviewed."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"


class Spread(msgspec.Struct, frozen=True):
    """A figure and how sure one is of it: its median, and its tenth and ninetieth percentile. low <= mid <= high.

    All three equal: it is known, or taken as such.
    """

    low: float
    mid: float
    high: float

    @property
    def exact(self) -> bool:
        """Whether it has no spread."""
        return self.low == self.high


def exactly(value: float) -> Spread:
    """A figure without doubt."""
    return Spread(value, value, value)


ONE = exactly(1.0)
NONE = exactly(0.0)


class Turns(msgspec.Struct, frozen=True, kw_only=True):
    """What a session is made of, where tokens are derived: turns x (input + output x multiplier) x both factors."""

    turns: Spread
    """Per session."""
    input: Spread
    """Tokens per turn, what is read from a cache included."""
    output: Spread
    """Visible tokens per turn."""
    multiplier: Spread = ONE
    """Billed output tokens for each visible one: reasoning is output."""
    tool_calls: Spread = ONE
    """How many calls of a model a turn becomes through its tools."""
    retries: Spread = ONE
    """How many calls one that is wanted becomes through tries that fail."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """How much one user of a workload uses in a month, and what it asks of machines and people.

    Tokens are either derived from `turns` or stated as `tokens`; a row with neither, without sessions or without hours
    of ops is no complete estimate.
    """

    sessions: Spread | None = None
    """Per user and month."""
    turns: Turns | None = None
    tokens: Spread | None = None
    """Per user and month, input and output together, where they are stated rather than derived."""
    output_share: Spread = exactly(0.2)
    """Output among stated tokens, 0 to 1."""
    cached: Spread = NONE
    """Input that is read from a cache, 0 to 1."""
    cache_written: Spread = NONE
    """Input that is written to a cache for five minutes, 0 to 1."""
    long: Spread = NONE
    """Input and output that is priced as of a long context, 0 to 1, where the model has such prices."""
    growth: Spread = NONE
    """Of the number of users, per month: 0.02 is two per cent."""
    minutes: Spread | None = None
    """How long a session lasts."""
    busy: Spread = exactly(1.0)
    """Sessions that begin in the busiest hour, over those of an average hour of the month."""
    burst: Spread = exactly(1.0)
    """Sessions open at the worst minute, over those open on average within the busiest hour."""
    ops_hours: Spread | None = None
    """Hours of ops per week once it is stable."""


class Audience(msgspec.Struct, frozen=True):
    """Users of one customer tier; `weight` is what one uses, over what the estimate says of a user."""

    tier: TierId | None
    users: Spread
    weight: Spread = ONE


class Share(msgspec.Struct, frozen=True):
    """The part of a workload's tokens that a model serves, 0 to 1. `card` is None where no price is known."""

    model: ModelName
    part: float
    card: RateCard | None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A workload of the plan. Empty texts and None were not said."""

    id: WorkloadId
    name: str = ""
    owner: str = ""
    status: Status = Status.CANDIDATE
    ships: Quarter | None = None
    retires: Quarter | None = None
    """The first quarter in which it no longer runs."""
    pod: PodId | None = None
    project: ProjectId | None = None
    audiences: tuple[Audience, ...] = ()
    estimate: Estimate | None = None
    stakeholder: str = ""
    """Who is served: a department or customer that asks for it."""
    sla: str = ""
    """What it is promised, e.g. '99.5% within 8s'; empty for none."""
    shape: str = ""
    """Its kind of work, e.g. chat, review, batch."""
    primary: ModelTierId | None = None
    degrade_to: ModelTierId | None = None
    mix: tuple[Share, ...] = ()
    """Which models serve its primary path; parts sum to 1 where there are any."""
    gate: GateId | None = None
    overage: tuple[str, ...] = ()
    ceilings: tuple[tuple[TierId, int | None, Nano | None], ...] = ()
    """Per customer tier, what one user may use in a month: tokens and nano-dollars."""


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent of the system, and the workload that it serves."""

    id: AgentId
    workload: WorkloadId | None = None
    owner: str = ""


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers for one of the three budgets, or the buffer, and how often it is looked at."""

    owners: tuple[str, ...]
    forecast: Cadence
    review: Cadence


class Ops(msgspec.Struct, frozen=True, kw_only=True):
    """The people who run the workloads. Hours are per week."""

    fte_hours: float = 40.0
    """Of one full-time equivalent."""
    platform: Spread = exactly(4.0)
    """Work across workloads."""
    stable: Spread = Spread(4.0, 6.0, 8.0)
    """One workload, once it is stable, where its row says nothing."""
    first_quarter: Spread = Spread(12.0, 14.0, 16.0)
    """One workload in its first quarter."""
    homogeneous: Spread = exactly(4.0)
    """What one more workload of a kind that is already run adds."""
    heterogeneous: Spread = Spread(10.0, 11.0, 12.0)
    """What one more workload of another kind adds."""
    ceilings: Mapping[Quarter, float] = {}
    """The most hours a week in a quarter."""
    hour: Nano | None = None
    """What an hour costs."""
    incident: Nano | None = None
    """What an hour of ops that is missing costs in incidents and in engineering."""


class Compute(msgspec.Struct, frozen=True, kw_only=True):
    """The machines that sessions need."""

    headroom: float = 0.35
    """Above the forecast peak; 0.3 to 0.4 is usual."""
    sessions_per_unit: float | None = None
    """Concurrent sessions that one unit of capacity carries."""
    unit: Nano | None = None
    """What a unit costs a month."""


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """The whole plan, as planning sees it."""

    plan: PlanHash
    name: str
    rows: tuple[Row, ...]
    agents: tuple[Agent, ...] = ()
    interfaces: tuple[tuple[AgentId, AgentId], ...] = ()
    """Which agent speaks to which."""
    tokens: Budget = Budget(owners=("product", "finance"), forecast=Cadence.MONTHLY, review=Cadence.MONTHLY)
    compute: Budget = Budget(owners=("platform engineering",), forecast=Cadence.MONTHLY, review=Cadence.QUARTERLY)
    ops: Budget = Budget(owners=("ops lead",), forecast=Cadence.QUARTERLY, review=Cadence.QUARTERLY)
    buffer: float = 0.18
    """The central reserve over each of the three budgets: 0.15 to 0.20 is usual."""
    staffing: Ops = Ops()
    machines: Compute = Compute()
    year: Nano | None = None
    """What may be spent on tokens in a financial year."""
    pods: Mapping[str, Nano] = {}
    """The same by pod, for pods that have a budget of their own."""
    sign_offs: bool = False
    """Whether planned and committed workloads need them."""
    calendar: Calendar = Calendar()
    """The days of the organisation: when its financial year begins, and when plans may change."""
