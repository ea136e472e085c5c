"""What the ledger appends: every change of a counter and every decision, once, never edited."""

from typing import TypeAlias

import msgspec

from upshift.model.budget import Amount, BudgetKey
from upshift.model.ids import PlanHash, RequestId
from upshift.model.metered import Metered
from upshift.model.span import Instant


class Hold(msgspec.Struct, frozen=True, tag="hold", gc=False):
    """A call holds what it may cost against every counter in `keys`. A second hold of a request extends the first.

    `opening` is the call's record as far as it is known, kept so that a call lost in a crash can say what it was.
    """

    request: RequestId
    at: Instant
    plan: PlanHash
    keys: tuple[BudgetKey, ...]
    amount: Amount
    opening: Metered | None = None


class Settle(msgspec.Struct, frozen=True, tag="settle", gc=False):
    """A call is over: what it held is returned, `amount` is spent, its record is kept. At most one per request."""

    request: RequestId
    at: Instant
    keys: tuple[BudgetKey, ...]
    held: Amount
    amount: Amount
    record: Metered


class Release(msgspec.Struct, frozen=True, tag="release", gc=False):
    """A call is over without cost: all it held is returned. Its record is kept. At most one per request."""

    request: RequestId
    at: Instant
    keys: tuple[BudgetKey, ...]
    held: Amount
    record: Metered


class Note(msgspec.Struct, frozen=True, tag="note", gc=False):
    """A call that never held anything (refused before it could): only its record."""

    request: RequestId
    at: Instant
    record: Metered


class Adjust(msgspec.Struct, frozen=True, tag="adjust"):
    """A person corrects what a counter has spent (credit notes, reconciliation). `amount` may be negative."""

    id: str
    at: Instant
    keys: tuple[BudgetKey, ...]
    amount: Amount
    by: str
    reason: str


class Grant(msgspec.Struct, frozen=True, tag="grant"):
    """A person lifts a ceiling for one period. `amount` is added to the limit."""

    id: str
    at: Instant
    keys: tuple[BudgetKey, ...]
    amount: Amount
    by: str
    reason: str


class Alert(msgspec.Struct, frozen=True, tag="alert"):
    """A threshold was reached. `id` is counter and threshold, so that it can only be raised once per period."""

    id: str
    at: Instant
    key: BudgetKey
    threshold: int
    measure: str
    used: int
    limit: int
    runs_out: Instant | None
    plan: PlanHash


class Decision(msgspec.Struct, frozen=True, tag="decision"):
    """A person or the system decided something: a plan applied, a key issued, a pay-as-you-go opt-in, a recovery."""

    id: str
    at: Instant
    kind: str
    tenant: str
    subject: str
    by: str
    detail: dict[str, str | int | bool | None]


Entry: TypeAlias = Hold | Settle | Release | Note | Adjust | Grant | Alert | Decision
