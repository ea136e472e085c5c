"""How far are two sides' figures apart, is that within the tolerance, and what may be the cause?"""

import msgspec

from upshift.model.metered import Metered
from upshift.model.money import Nano, show_money
from upshift.model.tokens import Certainty, Usage
from upshift.reviews.findings import Cause, Figures, Tolerance, Why

PARTS = ("input", "cached", "cache_write_5m", "cache_write_1h", "output", "reasoning")

_PLAIN_TIERS = {"", "default", "standard", "auto", "message"}


def used_nothing(record: Metered) -> bool:
    """Whether a call is known to have used nothing: refused here, or by the provider."""
    return record.certainty is Certainty.EXACT and record.usage.total == 0 and record.counted_tokens == 0


def minus(one: Usage, other: Usage) -> Usage:
    """The difference; its parts may be negative."""
    return Usage(*(getattr(one, part) - getattr(other, part) for part in PARTS))


def only(usage: Usage, stated: tuple[str, ...]) -> Usage:
    """What is stated of it; the rest as nothing."""
    return Usage(**{part: getattr(usage, part) for part in PARTS if part in stated})


class Apart(msgspec.Struct, frozen=True):
    """Billed minus recorded, of what the bill states. `beyond` names what is further apart than is tolerated."""

    calls: int
    usage: Usage
    nano: Nano
    beyond: tuple[str, ...]


def compare(
    billed: Figures, recorded: Figures, stated: tuple[str, ...], tolerance: Tolerance, money_slack: Nano
) -> Apart:
    """The figures against each other. `money_slack` is how far money may be apart whatever its size."""
    beyond = []
    calls = (billed.calls or 0) - (recorded.calls or 0) if billed.calls is not None else 0
    if abs(calls) > tolerance.tokens_share * (billed.calls or 0):
        beyond.append("calls")
    usage = Usage()
    if billed.usage is not None:
        usage = minus(only(billed.usage, stated), only(recorded.usage or Usage(), stated))
        share, of = tolerance.tokens_share, billed.usage
        beyond += [part for part in stated if abs(getattr(usage, part)) > share * getattr(of, part)]
    nano = (billed.nano - (recorded.nano or 0)) if billed.nano is not None else 0
    if abs(nano) > max(money_slack, tolerance.money_share * abs(billed.nano or 0)):
        beyond.append("money")
    return Apart(calls, usage, nano, tuple(beyond))


def causes(
    apart: Apart, billed: Figures, recorded: Figures, tiers: tuple[str, ...], rounding: Nano, unpriced: int
) -> list[Cause]:
    """What the figures themselves show. `rounding` is how far off the bill's own rounding may have made it."""
    found = []
    if apart.nano and abs(apart.nano) <= rounding:
        found.append(Cause(Why.ROUNDING, f"the bill's own rounding may account for {show_money(rounding)}"))
    if unpriced and apart.nano:
        found.append(Cause(Why.UNPRICED, f"{unpriced} calls are recorded without a price"))
    special = [tier for tier in tiers if tier not in _PLAIN_TIERS]
    if "money" in apart.beyond and special:
        found.append(Cause(Why.TIER, f"some of it was billed at other tiers: {', '.join(special)}"))
    same = billed.usage is not None and not any(part in apart.beyond for part in PARTS)
    if "money" in apart.beyond and same and not unpriced and billed.nano is not None and recorded.nano:
        ratio = billed.nano / recorded.nano
        found.append(Cause(Why.PRICE, f"the same tokens cost {ratio:.4g} times what the plan says: prices differ"))
    return found
