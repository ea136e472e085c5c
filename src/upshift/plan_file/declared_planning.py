"""What may a plan say of what will be needed: estimates, budgets, people, agents?"""

from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, model_validator
from pydantic.config import JsonDict

from upshift.model.ids import PlanHash
from upshift.plan_file.figures import (
    QUARTER_PATTERN,
    Count,
    CountFigure,
    FactorFigure,
    GrowthFigure,
    Hours,
    HoursFigure,
    Margin,
    MinutesFigure,
    Share,
    ShareFigure,
    TokensFigure,
    WeightFigure,
    quarter_name,
)
from upshift.plan_file.parts import RULE_TAG, TIERS_TAG, Sparse
from upshift.plan_file.quantities import Money
from upshift.planning import outline

_ESTIMATE = outline.Estimate()
_OPS = outline.Ops()
_COMPUTE = outline.Compute()
_PLAN = outline.Outline(plan=PlanHash(""), name="", rows=())

PERCENTILES = frozenset(("p10", "p50", "p90"))
TURN_FIELDS = ("turns", "input", "output", "multiplier", "tool_calls", "retries")
"""The fields of an estimate that tokens are derived from; the first three are needed for it."""

Said: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]


class Estimate(Sparse):
    """What one user of a workload uses in a month, and what it asks of machines and people. Figures are exact, or
    ranges of P10..P90. Its tokens are either stated, or derived from turns."""

    sessions: CountFigure | None = None
    """Sessions per user and month."""
    tokens: TokensFigure | None = None
    """Tokens per user and month, input and output together. Leave it out where turns say it."""
    turns: CountFigure | None = None
    """Turns per session."""
    input: TokensFigure | None = None
    """Input tokens per turn, those read from a cache included."""
    output: TokensFigure | None = None
    """Visible output tokens per turn."""
    multiplier: FactorFigure = outline.ONE
    """Billed output tokens for each visible one: reasoning is output."""
    tool_calls: FactorFigure = outline.ONE
    """Calls of a model that a turn becomes through its tools."""
    retries: FactorFigure = outline.ONE
    """Calls that one becomes through tries that fail."""
    output_share: ShareFigure = _ESTIMATE.output_share
    """Output among stated tokens."""
    cached: ShareFigure = _ESTIMATE.cached
    """Input that is read from a cache."""
    cache_written: ShareFigure = _ESTIMATE.cache_written
    """Input that is written to a cache for five minutes."""
    long: ShareFigure = _ESTIMATE.long
    """Tokens that are priced as of a long context, where the model has such prices."""
    growth: GrowthFigure = _ESTIMATE.growth
    """How the number of users grows, per month."""
    session: MinutesFigure | None = None
    """How long a session lasts."""
    busy: FactorFigure = _ESTIMATE.busy
    """Sessions that begin in the busiest hour, over those of an average hour of the month."""
    burst: FactorFigure = _ESTIMATE.burst
    """Sessions open at the worst minute, over those open on average within the busiest hour."""
    ops: HoursFigure | None = None
    """Hours of ops a week once it is stable."""


def _short_audience(schema: JsonDict) -> None:
    schema.update({"type": ["object", "string", "number"], "examples": [4000, {"users": 200, "weight": 3}]})


class Audience(Sparse):
    """The users of one customer tier. Short form: how many they are."""

    model_config = ConfigDict(json_schema_extra=_short_audience)

    users: CountFigure
    """How many they are."""
    weight: WeightFigure = outline.ONE
    """What one of them uses, over what the estimate says of a user."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        short = isinstance(data, (str, int, float)) or (isinstance(data, dict) and _percentiles(data))
        return {"users": data} if short else data


def _percentiles(data: dict[Any, Any]) -> bool:
    return bool(data) and data.keys() <= PERCENTILES


def _by_tier(value: Any) -> str:
    return TIERS_TAG if isinstance(value, dict) and not _percentiles(value) else RULE_TAG


Users: TypeAlias = Annotated[
    Annotated[dict[str, Audience], Tag(TIERS_TAG)] | Annotated[CountFigure, Tag(RULE_TAG)], Discriminator(_by_tier)
]


class TokensBudget(Sparse):
    """Who answers for what is spent on tokens, and how much that may be."""

    owners: Annotated[list[Said], Field(min_length=1)] = list(_PLAN.tokens.owners)
    """Who answers for it."""
    forecast: outline.Cadence = _PLAN.tokens.forecast
    """How often it is forecast."""
    review: outline.Cadence = _PLAN.tokens.review
    """How often it is reviewed."""
    year: Money | None = None
    """What may be spent in a financial year."""


class ComputeBudget(Sparse):
    """Who answers for the machines, and how they are sized."""

    owners: Annotated[list[Said], Field(min_length=1)] = list(_PLAN.compute.owners)
    """Who answers for it."""
    forecast: outline.Cadence = _PLAN.compute.forecast
    """How often it is forecast."""
    review: outline.Cadence = _PLAN.compute.review
    """How often it is reviewed."""
    headroom: Margin = _COMPUTE.headroom
    """What is held above the forecast peak: 30% to 40% is usual."""
    sessions_per_unit: Count | None = None
    """Concurrent sessions that one unit of capacity carries."""
    unit: Money | None = None
    """What a unit costs a month."""


class OpsBudget(Sparse):
    """Who answers for the hours of ops."""

    owners: Annotated[list[Said], Field(min_length=1)] = list(_PLAN.ops.owners)
    """Who answers for it."""
    forecast: outline.Cadence = _PLAN.ops.forecast
    """How often it is forecast."""
    review: outline.Cadence = _PLAN.ops.review
    """How often it is reviewed."""


class Budgets(Sparse):
    """The three budgets and the reserve over them."""

    tokens: TokensBudget = TokensBudget()
    """What is spent on tokens."""
    compute: ComputeBudget = ComputeBudget()
    """The machines that sessions need."""
    ops: OpsBudget = OpsBudget()
    """The people who run the workloads."""
    buffer: Share = _PLAN.buffer
    """The central reserve over each of the three: 15% to 20% is usual."""


class Ops(Sparse):
    """Staffing, in hours a week."""

    fte: Hours = _OPS.fte_hours
    """The hours of one full-time equivalent."""
    platform: HoursFigure = _OPS.platform
    """Work across workloads."""
    stable: HoursFigure = _OPS.stable
    """One workload, once it is stable, where its estimate says nothing."""
    first_quarter: HoursFigure = _OPS.first_quarter
    """One workload in its first quarter."""
    homogeneous: HoursFigure = _OPS.homogeneous
    """What one more workload of a kind that is already run adds."""
    heterogeneous: HoursFigure = _OPS.heterogeneous
    """What one more workload of another kind adds."""
    ceilings: Annotated[
        dict[Annotated[str, AfterValidator(quarter_name)], Hours],
        WithJsonSchema(
            {
                "type": "object",
                "propertyNames": {"pattern": QUARTER_PATTERN},
                "additionalProperties": {"type": ["string", "number"]},
                "examples": [{"Q3-2026": "60h"}],
            }
        ),
    ] = {}
    """The most hours by quarter."""
    hour: Money | None = None
    """What an hour costs."""
    incident: Money | None = None
    """What an hour that is missing costs in incidents and in engineering."""
