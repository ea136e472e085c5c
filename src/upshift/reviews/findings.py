"""What can be found when a bill is held against the record?"""

import re
from enum import StrEnum
from typing import Protocol

import msgspec

from upshift.model.budget import Amount
from upshift.model.metered import Metered
from upshift.model.money import Nano
from upshift.model.span import Instant
from upshift.model.tokens import NO_USAGE, Usage

_DATED = re.compile(r"(-latest|[-@]\d{8}|-\d{4}-\d{2}-\d{2})$")
_GAPS = re.compile(r"[\s._]+")


def canonical(model: str) -> str:
    """One name of a model: 'Claude Haiku 4.5' and claude-haiku-4-5-20251001 are the same."""
    return _DATED.sub("", _GAPS.sub("-", model.strip().lower()))


class ReconcileError(ValueError):
    """Lines that cannot be held against the record, and why."""


class Verdict(StrEnum):
    """What is to be said of one bucket or request."""

    MATCHED = "matched"
    DIFFERENT = "different"
    MISSING_HERE = "missing-here"
    """Billed, and not recorded: a way around the gateway, or somebody else with the same key."""
    MISSING_THERE = "missing-there"
    """Recorded, and not billed."""
    UNKNOWN = "unknown"
    """The record itself is not sure; the bill is within what it allows."""


class Why(StrEnum):
    """What the data shows to be the probable cause."""

    AROUND = "around"
    BEYOND_TOKENS = "beyond-tokens"
    EDGE = "edge"
    MODEL = "model"
    NOTHING_USED = "nothing-used"
    PRICE = "price"
    REPEATED = "repeated"
    ROUNDING = "rounding"
    TIER = "tier"
    UNPRICED = "unpriced"
    UNSURE = "unsure"


class Cause(msgspec.Struct, frozen=True):
    """A probable cause, in words with its figures."""

    why: Why
    says: str


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One side's figures. None is not said; `unpriced` calls are not in `nano`."""

    calls: int | None = None
    usage: Usage | None = None
    nano: Nano | None = None
    unpriced: int = 0


class Bounds(msgspec.Struct, frozen=True):
    """What the record allows: from `low` to `high`, tokens in all and money; `high` None has no end that is known."""

    low: Amount
    high: Amount | None
    unsure: int
    """Calls of which the record is not sure."""
    inside: bool
    """Whether what was billed lies within."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One bucket of one model, or one request.

    The stake is billed minus recorded: at the plan's prices, and as billed; None where that cannot be told.
    """

    verdict: Verdict
    start: Instant | None = None
    end: Instant | None = None
    model: str = ""
    """As billed, else as recorded; empty for all models together."""
    request: str = ""
    upstream_id: str = ""
    tiers: tuple[str, ...] = ()
    billed: Figures | None = None
    recorded: Figures | None = None
    at_plan: Nano | None = None
    at_billed: Nano | None = None
    bounds: Bounds | None = None
    causes: tuple[Cause, ...] = ()
    where: tuple[str, ...] = ()
    """The lines of the bill."""

    @property
    def stake(self) -> Nano | None:
        """What is at stake: as billed if that is known, else at the plan's prices."""
        return self.at_plan if self.at_billed is None else self.at_billed


class Basis(StrEnum):
    """How it is known what a call has used after all."""

    ID = "id"
    """The bill names it."""
    ONLY_FIT = "only-fit"
    """Of the lines that nothing is recorded for, one alone fits, and it fits no other call."""
    REST = "rest"
    """It is the only unsure call of its bucket: what the others leave of the bill is its own."""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A call that was not known for certain, and is by the bill. `nano` None where no price of it is known."""

    record: Metered
    usage: Usage
    nano: Nano | None
    basis: Basis
    where: tuple[str, ...]

    @property
    def correction(self) -> Amount:
        """What is to be added to the counters that were charged for it."""
        nano = 0 if self.nano is None else self.nano - self.record.counted
        return Amount(self.usage.total - self.record.counted_tokens, nano)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole comparison of [since, until). Buckets that match are findings too; requests that match are counted."""

    since: Instant
    until: Instant
    findings: tuple[Finding, ...]
    matched: int
    """Buckets or requests that agree."""
    known: tuple[Known, ...]
    billed: Figures
    recorded: Figures
    complete: bool
    """Whether all of the bill was there."""
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Nothing is different or missing, and the bill is whole."""
        return self.complete and all(each.verdict in (Verdict.MATCHED, Verdict.UNKNOWN) for each in self.findings)


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """How far figures may be apart and still match: shares of what was billed, and money in any bucket."""

    tokens_share: float = 0.0
    money_share: float = 0.005
    money: Nano = 10_000_000


class Prices(Protocol):
    """The plan's prices by canonical model; None where there is none. Tokens may be negative: differences."""

    def knows(self, model: str) -> bool: ...

    def of_call(self, model: str, usage: Usage) -> Nano | None: ...

    def of_sum(self, model: str, usage: Usage) -> Nano | None:
        """Of the tokens of many calls: whether one of them was long enough for another price is not known."""


def total(figures: list[Figures]) -> Figures:
    """All together; a measure that only some state is the sum of those."""
    calls = [each.calls for each in figures if each.calls is not None]
    usages = [each.usage for each in figures if each.usage is not None]
    nanos = [each.nano for each in figures if each.nano is not None]
    return Figures(
        calls=sum(calls) if calls else None,
        usage=sum(usages, NO_USAGE) if usages else None,
        nano=sum(nanos) if nanos else None,
        unpriced=sum(each.unpriced for each in figures),
    )
