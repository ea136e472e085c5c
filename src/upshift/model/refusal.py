"""The one way to say no: every reason a call can be refused for, with what the person needs to go on."""

from typing import TypeAlias

import msgspec

from upshift.model.budget import BudgetKey
from upshift.model.pool import Shortage
from upshift.model.span import Instant


class BadRequest(msgspec.Struct, frozen=True, tag="bad_request"):
    """The call cannot be understood: `where` it goes wrong, `what` was found and expected."""

    where: str
    what: str


class TooLarge(msgspec.Struct, frozen=True, tag="too_large"):
    limit_bytes: int


class NoRoute(msgspec.Struct, frozen=True, tag="no_route"):
    """Nothing is served at this path and method."""

    method: str
    path: str
    served: tuple[str, ...]


class NoneOpen(msgspec.Struct, frozen=True, tag="none_open"):
    """Every route to the model is failing or was asked to rest; `why` says why there is no other."""

    model: str
    providers: str
    retry_seconds: int
    why: str = ""


class NoKey(msgspec.Struct, frozen=True, tag="no_key"):
    """No key was sent."""


class BadKey(msgspec.Struct, frozen=True, tag="bad_key"):
    """The key is unknown, expired or revoked; `state` says which and `hint` shows its first characters."""

    state: str
    hint: str
    since: Instant | None = None


class NotAllowed(msgspec.Struct, frozen=True, tag="not_allowed"):
    """The key is good but may not do this; `what` was asked, `allowed` is open to it."""

    what: str
    allowed: tuple[str, ...]


class UnknownModel(msgspec.Struct, frozen=True, tag="unknown_model"):
    model: str
    known: tuple[str, ...]


class CannotServe(msgspec.Struct, frozen=True, tag="cannot_serve"):
    """The model cannot do what the request needs (tools, images, JSON mode, context length)."""

    model: str
    needs: tuple[str, ...]
    remedy: str


class OverBudget(msgspec.Struct, frozen=True, tag="over_budget"):
    """A ceiling is reached. Amounts are in `measure` units: tokens or nano-dollars."""

    key: BudgetKey
    measure: str
    used: int
    held: int
    limit: int
    needed: int
    resets_at: Instant
    zone: str
    owner: str
    why: str
    """What the overage rule says and why no other step was open."""
    still_open: tuple[str, ...]
    how_to_ask: str


class Busy(msgspec.Struct, frozen=True, tag="busy"):
    """The budget has room but calls in flight hold it; they did not end while this one waited."""

    key: BudgetKey
    waited_seconds: float
    retry_seconds: int


class PoolFull(msgspec.Struct, frozen=True, tag="pool_full"):
    """The workload's capacity pool has no place for the call: nothing to do with budgets."""

    pool: str
    workload: str
    shortage: Shortage


class InterfaceClosed(msgspec.Struct, frozen=True, tag="interface_closed"):
    """One agent may not speak to the other at present; `interface` is empty where the plan has none between them."""

    caller: str
    callee: str
    interface: str
    why: str


class ContractBroken(msgspec.Struct, frozen=True, tag="contract_broken"):
    """A message between agents does not fit their contract. Each violation is the path of a field and what is wrong."""

    interface: str
    version: str
    violations: tuple[tuple[str, str], ...]


class LedgerDown(msgspec.Struct, frozen=True, tag="ledger_down"):
    """Records cannot be written, so nothing may be spent."""

    retry_seconds: int


class Stopping(msgspec.Struct, frozen=True, tag="stopping"):
    """The gateway is shutting down."""

    retry_seconds: int


Reason: TypeAlias = (
    BadRequest
    | TooLarge
    | NoRoute
    | NoKey
    | BadKey
    | NotAllowed
    | UnknownModel
    | CannotServe
    | NoneOpen
    | OverBudget
    | Busy
    | PoolFull
    | InterfaceClosed
    | ContractBroken
    | LedgerDown
    | Stopping
)


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """Raised by any step of the request path; caught once, in the flow."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason
