"""What was done about months of calls that are old enough to go?"""

from typing import TypeAlias, assert_never

import msgspec

from upshift.store.backend import StoreTroubleError

TOPIC = "retention"
"""The kind of the decisions that say so."""

FIGURES_SAID = (
    "input", "cached", "cache_write_5m", "cache_write_1h", "output", "reasoning", "counted", "counted_tokens",
)  # fmt: skip
"""What such a decision tells of a month, beside its calls and their cost."""


class RetentionError(StoreTroubleError):
    """A month must not be dropped: its totals are not what its calls add up to."""


class Dropped(msgspec.Struct, frozen=True):
    """A month whose calls are gone; its totals stay. `last_seq` is the last entry of a group that had some of them."""

    month: str
    calls: int
    cost: int
    last_seq: int
    digest: str
    """The ledger's digest (hex) at that entry."""


class Kept(msgspec.Struct, frozen=True):
    """A month that is old enough but has to stay for now."""

    month: str
    why: str


Outcome: TypeAlias = Dropped | Kept

STILL_CLOSED = "calls that began in it are still being closed"
STILL_OPEN = "a call that was opened before its last one was closed is still open"


def said(each: Outcome) -> str:
    """What happened to a month, in words."""
    match each:
        case Dropped():
            return f"{each.month}: {each.calls} calls dropped, their totals kept"
        case Kept():
            return f"{each.month}: kept, since {each.why}"
    assert_never(each)


def differing(label: str) -> RetentionError:
    """To be raised before anything is dropped."""
    return RetentionError(f"the totals of {label} are not what its calls add up to; nothing was dropped")
