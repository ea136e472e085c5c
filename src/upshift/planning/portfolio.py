"""How far may each workload of a plan go, what is missing for its next step, and which plan may not be applied?"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias, assert_never

import msgspec

from upshift.model.ids import WorkloadId
from upshift.model.key import Role
from upshift.model.quarter import Quarter
from upshift.planning.completeness import lacking
from upshift.planning.hours import hours_by_quarter, stated_hours
from upshift.planning.outline import BudgetLine, Outline, Row, Status
from upshift.planning.sign_offs import SIGNERS, Change, SignOff, changes, content, expired, same_hand


class Incomplete(msgspec.Struct, frozen=True, tag=True):
    """The capacity estimate lacks figures; `fields` are as the plan spells them."""

    fields: tuple[str, ...]


class Unsigned(msgspec.Struct, frozen=True, tag=True):
    """Nobody signed a budget off for a side."""

    budget: BudgetLine
    role: Role


class Lost(msgspec.Struct, frozen=True, tag=True):
    """What was signed off is not what the plan says."""

    budget: BudgetLine
    role: Role
    by: str
    changes: tuple[Change, ...]


class Expired(msgspec.Struct, frozen=True, tag=True):
    """A sign-off stood until a quarter that is over."""

    budget: BudgetLine
    role: Role
    by: str
    until: Quarter


class OneHand(msgspec.Struct, frozen=True, tag=True):
    """The same person signed this workload off for the other side first."""

    budget: BudgetLine
    role: Role
    by: str


class NoGate(msgspec.Struct, frozen=True, tag=True):
    """Planned and committed workloads need a gate."""


class NoOwner(msgspec.Struct, frozen=True, tag=True):
    """Committed workloads need an owner."""


class NoShipQuarter(msgspec.Struct, frozen=True, tag=True):
    """Committed workloads need a quarter in which they ship."""


class BeyondCeiling(msgspec.Struct, frozen=True, tag=True):
    """What is committed needs more hours of ops a week in a quarter than its ceiling allows."""

    quarter: Quarter
    hours: float
    ceiling: float
    fte_hours: float
    """Of one full-time equivalent."""

    @property
    def short(self) -> float:
        """Hours a week that are missing."""
        return self.hours - self.ceiling

    @property
    def short_fte(self) -> float:
        """The same in full-time equivalents."""
        return self.short / self.fte_hours


Reason: TypeAlias = Incomplete | Unsigned | Lost | Expired | OneHand | NoGate | NoOwner | NoShipQuarter | BeyondCeiling
_OF_SIGNING = (Unsigned, Lost, Expired, OneHand)


def say(reason: Reason) -> str:
    """A reason in words, for whoever has to do something about it."""
    match reason:
        case Incomplete(fields):
            return f"the estimate is not complete: it does not say {', '.join(fields)}"
        case Unsigned(budget, role):
            return f"{budget} is not signed off by {role}"
        case Lost(budget, role, by, moved):
            return f"{budget} lost the sign-off of {role} ({by}): {', '.join(each.text for each in moved)}"
        case Expired(budget, role, by, until):
            return f"{budget}: the sign-off of {role} ({by}) stood until {until}"
        case OneHand(budget, role, by):
            return f"{budget}: {by} signed for {role} and for the other side; another person has to"
        case NoGate():
            return "it has no gate"
        case NoOwner():
            return "it has no owner"
        case NoShipQuarter():
            return "it has no quarter in which it ships"
        case BeyondCeiling():
            return (
                f"{reason.quarter}: {reason.hours:.1f} h/week of ops are more than the ceiling of"
                f" {reason.ceiling:g} h, {reason.short:.1f} h or {reason.short_fte:.2f} FTE short"
            )
        case _:
            assert_never(reason)


class Signature(msgspec.Struct, frozen=True):
    """A budget's sign-off by one side: the one that stands, else the latest, else none. `lacks` is why it is none."""

    budget: BudgetLine
    role: Role
    sign_off: SignOff | None
    lacks: Reason | None


class Answer(StrEnum):
    """Whether a workload may take its next step."""

    MAY_MOVE = "may move"
    """Nothing is missing: its status may be changed in the plan."""
    TO_SIGN = "to sign"
    """All that is missing are sign-offs."""
    NOT_YET = "not yet"
    NOTHING_LEFT = "nothing left"
    """It is committed."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How far a workload has come."""

    workload: WorkloadId
    status: Status
    lacks: tuple[Reason, ...]
    """What it would need to be what the plan says it is; empty where that is covered."""
    next: Status | None
    missing: tuple[Reason, ...]
    """What it needs for the next status."""
    signatures: tuple[Signature, ...]

    @property
    def covered(self) -> bool:
        """Whether it may be what the plan says it is."""
        return not self.lacks


class Refusal(msgspec.Struct, frozen=True):
    """Why a plan may not be put in force. `workload` is None where it is about all of them."""

    workload: WorkloadId | None
    reason: Reason

    @property
    def text(self) -> str:
        """The reason, with the workload that it is about."""
        return say(self.reason) if self.workload is None else f"{self.workload}: {say(self.reason)}"


def judge(outline: Outline, sign_offs: Sequence[SignOff], quarter: Quarter) -> tuple[Standing, ...]:
    """The standing of every workload, in the order of the plan.

    `sign_offs` are those that were not withdrawn, oldest first; any that approved what the plan says now stands,
    however often it was changed in between. Where the plan waives sign-offs, only gates, owners and quarters are
    looked at. `quarter` is the present one.
    """
    by_row: dict[WorkloadId, list[SignOff]] = {}
    for each in sign_offs:
        by_row.setdefault(each.workload, []).append(each)
    committed = _Committed(outline, quarter)
    return tuple(_standing(outline, row, by_row.get(row.id, []), quarter, committed) for row in outline.rows)


def approvable(standing: Standing) -> Answer:
    """May it take its next step? `standing.missing` says why not."""
    if standing.next is None:
        return Answer.NOTHING_LEFT
    if not standing.missing:
        return Answer.MAY_MOVE
    signing = all(isinstance(reason, _OF_SIGNING) for reason in standing.missing)
    return Answer.TO_SIGN if signing else Answer.NOT_YET


def refusals(outline: Outline, standings: Sequence[Standing], quarter: Quarter) -> tuple[Refusal, ...]:
    """Every reason why a plan may not be applied; empty where it may.

    A plan that waives sign-offs is held to its ceilings of ops hours alone.
    """
    found: list[Refusal] = []
    if outline.sign_offs:
        found += [Refusal(each.workload, reason) for each in standings for reason in each.lacks]
    found += [Refusal(None, reason) for reason in _Committed(outline, quarter).beyond()]
    return tuple(found)


class _Committed:
    """The hours of ops that committed workloads need, against the ceilings of the present quarter and those to come."""

    def __init__(self, outline: Outline, quarter: Quarter) -> None:
        self._outline = outline
        self._rows = [row for row in outline.rows if row.status is Status.COMMITTED]
        self._quarters = [each for each in sorted(outline.staffing.ceilings) if each >= quarter]
        self._hours = hours_by_quarter(outline, self._rows, self._quarters)
        self._stated = all(stated_hours(row) is not None for row in self._rows)

    def beyond(self, one_more: Row | None = None) -> tuple[BeyondCeiling, ...]:
        """Where they pass a ceiling, with one more workload if there is one."""
        staffing = self._outline.staffing
        # Hours are rounded, so that figures which add up to the ceiling are not above it by their last bit.
        needed = {each: round(hours, 6) for each, hours in self._with(one_more).items()}
        return tuple(
            BeyondCeiling(each, needed[each], staffing.ceilings[each], staffing.fte_hours)
            for each in self._quarters
            if needed[each] > staffing.ceilings[each]
        )

    def _with(self, row: Row | None) -> Mapping[Quarter, float]:
        if row is None or not self._quarters:
            return self._hours
        if not self._stated or stated_hours(row) is None:
            # What a workload adds depends on its likest, so they have to be looked at together.
            return hours_by_quarter(self._outline, [*self._rows, row], self._quarters)
        alone, platform = hours_by_quarter(self._outline, [row], self._quarters), self._outline.staffing.platform.mid
        return {each: hours + alone[each] - platform for each, hours in self._hours.items()}


class Move(msgspec.Struct, frozen=True):
    """What a change of plan does to a workload's standing; `signing` tells sign-offs from statuses."""

    workload: WorkloadId
    signing: bool
    text: str


def moves(before: Outline | None, after: Outline, sign_offs: Sequence[SignOff], quarter: Quarter) -> tuple[Move, ...]:
    """Which workloads change their status when one plan replaces another, and which sign-offs are lost or regained."""
    rows = {row.id: row for row in before.rows} if before is not None else {}
    found: list[Move] = []
    by_row: dict[WorkloadId, list[SignOff]] = {}
    for each in sign_offs:
        by_row.setdefault(each.workload, []).append(each)
    for row in after.rows:
        old = rows.pop(row.id, None)
        if old is None:
            found.append(Move(row.id, False, f"{row.id} is {row.status}"))
        elif old.status != row.status:
            found.append(Move(row.id, False, f"{row.id} is {row.status} instead of {old.status}"))
        if before is not None and old is not None and row.id in by_row:
            found += _signing(before, old, after, row, by_row[row.id], quarter)
    found += [Move(name, False, f"{name} is no longer in the plan") for name in rows]
    return tuple(found)


def _signing(
    before: Outline, old: Row, after: Outline, new: Row, own: Sequence[SignOff], quarter: Quarter
) -> Iterator[Move]:
    was, now = signatures(before, old, own, quarter), signatures(after, new, own, quarter)
    for one, other in zip(was, now, strict=True):
        if one.lacks is None and other.lacks is not None:
            yield Move(new.id, True, f"{new.id}: {say(other.lacks)}")
        elif one.lacks is not None and other.lacks is None and other.sign_off is not None:
            text = f"{new.id}: {other.budget} has the sign-off of {other.role} ({other.sign_off.by}) again"
            yield Move(new.id, True, text)


def signatures(outline: Outline, row: Row, own: Sequence[SignOff], quarter: Quarter) -> tuple[Signature, ...]:
    """The six signatures of a row. `own` are its sign-offs, oldest first.

    Whoever signed for one side first, on whatever budget, is not counted for the other.
    """
    now = {budget: content(outline, row, budget) for budget in {each.budget for each in own}}
    found: dict[tuple[BudgetLine, Role], Signature] = {}
    for each in own:
        key = each.budget, each.role
        lacks = _lacks(each, own, now[each.budget], quarter)
        if key not in found or lacks is None or found[key].lacks is not None:
            found[key] = Signature(each.budget, each.role, each, lacks)
    return tuple(
        found.get((budget, role)) or Signature(budget, role, None, Unsigned(budget, role))
        for budget in BudgetLine
        for role in SIGNERS
    )


def _lacks(sign_off: SignOff, own: Sequence[SignOff], now: Mapping[str, str], quarter: Quarter) -> Reason | None:
    """Why a sign-off does not stand."""
    first = next(each for each in own if same_hand(each.by, sign_off.by))
    if first.role is not sign_off.role:
        return OneHand(sign_off.budget, sign_off.role, sign_off.by)
    moved = changes(sign_off, now)
    if moved:
        return Lost(sign_off.budget, sign_off.role, sign_off.by, moved)
    if sign_off.until is not None and expired(sign_off, quarter):
        return Expired(sign_off.budget, sign_off.role, sign_off.by, sign_off.until)
    return None


def _standing(outline: Outline, row: Row, own: Sequence[SignOff], quarter: Quarter, running: _Committed) -> Standing:
    signed = signatures(outline, row, own, quarter)
    planned: list[Reason] = [NoGate()] if row.gate is None else []
    if outline.sign_offs:
        fields = lacking(row.audiences, row.estimate)
        planned += [Incomplete(fields)] if fields else []
        planned += [each.lacks for each in signed if each.lacks is not None]
    committed = list(planned)
    committed += [NoOwner()] if not row.owner.strip() else []
    committed += [NoShipQuarter()] if row.ships is None else []
    lacks: list[Reason] = []
    missing: list[Reason] = []
    next_: Status | None = None
    match row.status:
        case Status.CANDIDATE:
            next_, missing = Status.PLANNED, planned
        case Status.PLANNED:
            lacks, next_ = planned, Status.COMMITTED
            missing = [*committed, *running.beyond(row)]
        case Status.COMMITTED:
            lacks = committed
        case _:
            assert_never(row.status)
    return Standing(
        workload=row.id,
        status=row.status,
        lacks=tuple(lacks),
        next=next_,
        missing=tuple(missing),
        signatures=signed,
    )
