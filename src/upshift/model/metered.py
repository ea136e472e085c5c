"""The record of one call: whose it was, what was asked, what was served, what it used, cost and took."""

from enum import StrEnum

import msgspec

from upshift.model.budget import Bucket
from upshift.model.ids import KeyId, PlanHash, RequestId
from upshift.model.money import Nano
from upshift.model.span import Instant
from upshift.model.tokens import NO_USAGE, Certainty, Usage


class Outcome(StrEnum):
    """How a call ended."""

    SERVED = "served"
    REFUSED = "refused"
    """By us, before anything was sent upstream."""
    UPSTREAM_ERROR = "upstream_error"
    """The provider answered with an error, or not at all."""
    CUT = "cut"
    """We ended the answer, because a ceiling was reached while it streamed."""
    CLIENT_LEFT = "client_left"
    LOST = "lost"
    """In flight when the process died; counted at its hold on the next start."""


class Metered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call. `cost` is None where the price is unknown; times are microseconds, `started` since the epoch."""

    request: RequestId
    started: Instant
    plan: PlanHash
    tenant: str = ""
    user: str = ""
    tier: str = ""
    workload: str = ""
    pod: str = ""
    project: str = ""
    session: str = ""
    agent: str = ""
    key: KeyId = KeyId("")
    dialect: str = ""
    streamed: bool = False
    requested_model: str = ""
    served_model: str = ""
    provider: str = ""
    upstream_id: str = ""
    outcome: Outcome = Outcome.SERVED
    status: int = 0
    bucket: Bucket = Bucket.INCLUDED
    reason: str = ""
    """Why it was degraded, refused, cut or failed: the code of the rule that spoke; empty when nothing did."""
    certainty: Certainty = Certainty.EXACT
    usage: Usage = NO_USAGE
    cost: Nano | None = 0
    counted: Nano = 0
    """What the counters were charged: the cost, or the hold where the cost is unknown."""
    counted_tokens: int = 0
    latency_us: int = 0
    first_byte_us: int = 0
    overhead_us: int = 0
    """Time inside the gateway that was not waiting for the provider, the client or the budget queue."""
