"""What may a plan say of capacity: how many calls at once, how many in a time, shared by whom?"""

import re
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from upshift.model.pool import Rate
from upshift.model.span import MICROS
from upshift.model.tokens import parse_tokens
from upshift.plan_file.parts import Sparse
from upshift.plan_file.quantities import MOST_TOKENS, Duration, PositiveDuration, unfit

RATE_LIKE = "a rate like 600/min, 10/s, 5k/h or 2M/min"
SHARE_LIKE = "a whole percentage from 1% to 100%"

_RATE = re.compile(r"\s*([^/]+?)\s*/\s*(s|min|h|d)\s*")
_SHARE = re.compile(r"\s*(\d{1,3})\s*%\s*")
_PERIODS = {"s": MICROS, "min": 60 * MICROS, "h": 3600 * MICROS, "d": 86_400 * MICROS}
_PARTS = 10
"""Without `burst`, a tenth of a rate's period may come at once."""


def _rate(value: Any) -> str:
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise unfit(value, "is not a rate", RATE_LIKE)
    try:
        amount = parse_tokens(found[1])
    except ValueError:
        raise unfit(value, "is not a rate", RATE_LIKE) from None
    if not 0 < amount <= MOST_TOKENS:
        raise unfit(value, "lets nothing through" if not amount else "is more than can be counted", RATE_LIKE)
    return f"{amount}/{found[2]}"


def _share(value: Any) -> str:
    found = _SHARE.fullmatch(value) if isinstance(value, str) else None
    if found is None or not 1 <= int(found[1]) <= 100:
        raise unfit(value, "is not a share", SHARE_LIKE)
    return f"{int(found[1])}%"


RateText: TypeAlias = Annotated[
    str,
    BeforeValidator(_rate),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*[\d,_.]+\s*[kKmMbB]?\s*/\s*(s|min|h|d)\s*$",
            "examples": ["600/min", "2M/min"],
        }
    ),
]
ShareText: TypeAlias = Annotated[
    str,
    BeforeValidator(_share),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d{1,3}\s*%\s*$", "examples": ["25%"]}),
]
Count: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)]


def rate_of(text: str, burst_seconds: float | None) -> Rate:
    """What a checked text means; without a burst a tenth of its period may come at once, and always one unit."""
    amount, _, unit = text.partition("/")
    count, period = int(amount), _PERIODS[unit]
    at_once = period // _PARTS if burst_seconds is None else int(burst_seconds * MICROS)
    return Rate(count, period, max(1, count * at_once // period))


class CapacityLimits(Sparse):
    """The most that some calls may take together; what is left out is not limited."""

    concurrent: Count | None = None
    """Calls at once."""
    requests: RateText | None = None
    """Calls in a time, like 600/min."""
    tokens: RateText | None = None
    """Tokens in a time, input and output together, like 2M/min."""
    burst: PositiveDuration | None = None
    """How much of a rate may come at once: what it gives in so long. Without it, a tenth of the rate's own time."""


class Capacity(CapacityLimits):
    """A capacity pool: calls beyond it wait in a fair queue, and are then refused with 429 and retry-after."""

    queue: Annotated[int, Field(ge=0, le=100_000)] = 100
    """How many calls of a workload may wait."""
    wait: Duration = 10.0
    """How long each of them may wait."""
    per_user: CapacityLimits = CapacityLimits()
    """The most of it that one user may take."""
    per_tenant: CapacityLimits = CapacityLimits()
    """The most of it that one tenant may take."""


class PoolShare(Sparse):
    """A workload's part in a pool that several share. Short form: the name of the pool."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update({"type": ["object", "string"], "examples": ["shared"]})
    )

    name: str
    """The pool."""
    reserve: ShareText | None = None
    """The share of the pool that is this workload's own; without it, it has what is common."""
    lend: bool = False
    """Whether others may use what lies idle of the reserve. The owner then waits until a call of theirs ends."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data
