"""What does a sign-off approve, to the last figure, and does it still stand for what the plan says?"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from upshift.model.ids import WorkloadId
from upshift.model.key import Role
from upshift.model.money import Nano, dollars
from upshift.model.quarter import Quarter
from upshift.model.rates import RateCard
from upshift.model.span import Instant
from upshift.planning.outline import Audience, BudgetLine, Compute, Estimate, Ops, Outline, Row, Spread

SIGNERS = (Role.ENGINEERING, Role.FINANCE)
"""Who signs each of the three budgets."""

ONCE_SAID = frozenset(("ships", "retires"))
"""What a sign-off covers only if it was said by then: a candidate is approved before its quarter is settled."""

NOT_SAID = "not said"


class SignOff(msgspec.Struct, frozen=True, kw_only=True):
    """What one person approved of one budget of one workload. `content` maps each field to its value, as text."""

    workload: WorkloadId
    budget: BudgetLine
    role: Role
    by: str
    """The person, by whom two sign-offs are told to be of one hand."""
    at: Instant
    content: Mapping[str, str]
    until: Quarter | None = None
    """The last quarter in which it stands; None: until what it approved changes."""
    note: str = ""


class Change(msgspec.Struct, frozen=True):
    """A field that is not as it was approved."""

    field: str
    approved: str
    now: str

    @property
    def text(self) -> str:
        """'users 280 -> 400'."""
        return f"{self.field} {self.approved} -> {self.now}"


def content(outline: Outline, row: Row, budget: BudgetLine) -> dict[str, str]:
    """Every field of a row that a budget reads, and of what all rows share, with its value as exact text.

    Owner, name, pod, project and status are not figures, and are in none of them.
    """
    return dict(sorted(_fields(outline, row, budget)))


def canonical(fields: Mapping[str, str]) -> str:
    """The JSON that is kept and hashed: fields in the order of their names, no spaces."""
    return json.dumps(dict(fields), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def fingerprint(fields: Mapping[str, str]) -> str:
    """SHA-256 in hex of the canonical JSON."""
    return hashlib.sha256(canonical(fields).encode()).hexdigest()


def changes(sign_off: SignOff, now: Mapping[str, str]) -> tuple[Change, ...]:
    """What is not as it was approved; empty where the sign-off stands for `now`."""
    approved = sign_off.content
    return tuple(
        Change(field, approved.get(field, NOT_SAID), now.get(field, NOT_SAID))
        for field in sorted(approved.keys() | now.keys())
        if approved.get(field) != now.get(field) and (field in approved or field not in ONCE_SAID)
    )


def expired(sign_off: SignOff, quarter: Quarter) -> bool:
    """Whether the last quarter in which it stands is over."""
    return sign_off.until is not None and sign_off.until < quarter


def same_hand(one: str, other: str) -> bool:
    """Whether two names are one person's, however they are spaced or capitalised."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


def _fields(outline: Outline, row: Row, budget: BudgetLine) -> Iterator[tuple[str, str]]:
    for name, quarter in (("ships", row.ships), ("retires", row.retires)):
        if quarter is not None:
            yield name, str(quarter)
    match budget:
        case BudgetLine.TOKENS:
            yield from _users(row.audiences)
            yield from _estimate(row.estimate, _TOKENS, turns=_ALL_TURNS)
            yield from _served(row)
        case BudgetLine.COMPUTE:
            yield from _users(row.audiences)
            yield from _estimate(row.estimate, _COMPUTE, turns=_CALLS)
            if row.estimate is None or row.estimate.minutes is None:
                # Without it no peak is known, and whoever signs that should see it.
                yield "minutes", NOT_SAID
            yield from _machines(outline.machines)
        case BudgetLine.OPS:
            yield from _estimate(row.estimate, ("ops_hours",), turns=())
            yield from (
                (name, getattr(row, name)) for name in ("stakeholder", "sla", "shape") if getattr(row, name) != ""
            )
            yield from _staffing(outline.staffing)


_TOKENS = ("sessions", "tokens", "output_share", "cached", "cache_written", "long", "growth")
_COMPUTE = ("sessions", "growth", "minutes", "busy", "burst")
_CALLS = ("turns", "tool_calls", "retries")
_ALL_TURNS = (*_CALLS, "input", "output", "multiplier")


def _users(audiences: Iterable[Audience]) -> Iterator[tuple[str, str]]:
    for each in audiences:
        of = f" of {each.tier}" if each.tier is not None else ""
        yield f"users{of}", spread(each.users)
        yield f"weight{of}", spread(each.weight)


def _estimate(estimate: Estimate | None, names: Iterable[str], turns: Iterable[str]) -> Iterator[tuple[str, str]]:
    if estimate is None:
        return
    yield from ((name, spread(value)) for name in names if (value := getattr(estimate, name)) is not None)
    if estimate.turns is not None:
        yield from ((name, spread(getattr(estimate.turns, name))) for name in turns)


def _served(row: Row) -> Iterator[tuple[str, str]]:
    """What the tokens cost, and what holds them."""
    for name, said in (("primary", row.primary), ("degrade_to", row.degrade_to), ("gate", row.gate)):
        if said is not None:
            yield name, said
    if row.overage:
        yield "overage", ", ".join(row.overage)
    for tier, tokens, nano in row.ceilings:
        if tokens is not None:
            yield f"ceiling of {tier} in tokens", str(tokens)
        if nano is not None:
            yield f"ceiling of {tier} in money", money(nano)
    for share in row.mix:
        yield f"share of {share.model}", number(share.part)
        yield from _prices(f"price of {share.model}", share.card)


def _prices(name: str, card: RateCard | None) -> Iterator[tuple[str, str]]:
    if card is None:
        yield name, "unknown"
        return
    for step in card.steps:
        above = f" above {step.above}" if step.above else ""
        for figure in ("input", "output", "cached", "cache_write_5m", "cache_write_1h"):
            yield f"{name}{above}: {figure}", money(getattr(step, figure))


def _machines(machines: Compute) -> Iterator[tuple[str, str]]:
    yield "headroom", number(machines.headroom)
    if machines.sessions_per_unit is not None:
        yield "sessions_per_unit", number(machines.sessions_per_unit)
    if machines.unit is not None:
        yield "unit", money(machines.unit)


def _staffing(staffing: Ops) -> Iterator[tuple[str, str]]:
    yield "fte", number(staffing.fte_hours)
    for name in ("platform", "stable", "first_quarter", "homogeneous", "heterogeneous"):
        yield name, spread(getattr(staffing, name))
    for name, nano in (("hour", staffing.hour), ("incident", staffing.incident)):
        if nano is not None:
            yield name, money(nano)


def spread(value: Spread) -> str:
    """'18', or '12..18..30'."""
    if value.exact:
        return number(value.mid)
    return "..".join(map(number, (value.low, value.mid, value.high)))


def number(value: float) -> str:
    """As short as it can be without losing anything: '4200', '0.35'."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def money(nano: Nano) -> str:
    """Exact dollars: '$2.5'."""
    text = f"{dollars(nano):f}"
    return "$" + (text.rstrip("0").rstrip(".") if "." in text else text)
