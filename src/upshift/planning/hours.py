"""How many hours of ops a week do some workloads need, every figure at its median?"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from upshift.model.ids import WorkloadId
from upshift.model.quarter import Quarter
from upshift.planning import lifetime
from upshift.planning.outline import Ops, Outline, Row, Spread


class Kin(NamedTuple):
    """The workload that runs already and is likest, and how unlike it is: 0 to 1. None where none runs."""

    nearest: WorkloadId | None
    unlike: float


def unlike(row: Row, other: Row) -> float:
    """How unlike two workloads are to those who run them, 0 to 1.

    1 if their shapes differ, else a half each for another stakeholder and another SLA. What is not said of either is
    taken to differ.
    """
    if _differ(row.shape, other.shape):
        return 1.0
    return 0.5 * _differ(row.stakeholder, other.stakeholder) + 0.5 * (_plain(row.sla) != _plain(other.sla))


class _Running:
    """Workloads by what they have in common, in the order they shipped; those that retired fall out at the front.

    Each is asked for quarters that never go back, so that every row is passed once however many ask.
    """

    def __init__(self) -> None:
        self._alike: dict[tuple[str, ...], deque[tuple[int, Row]]] = {}
        self._count = 0

    def add(self, row: Row) -> None:
        """One more that ships."""
        for likeness in (*_likenesses(row), ()):
            self._alike.setdefault(likeness, deque()).append((self._count, row))
        self._count += 1

    def likest(self, row: Row) -> Row | None:
        """The first of those that are likest to a workload and run when it ships."""
        # The first of each likeness are enough: all that share one with it are as like, but for those that share more.
        found = [first for each in (*_likenesses(row), ()) if (first := self._first(each, row.ships)) is not None]
        near = min(found, key=lambda each: (unlike(row, each[1]), each[0]), default=None)
        return None if near is None else near[1]

    def _first(self, likeness: tuple[str, ...], quarter: Quarter | None) -> tuple[int, Row] | None:
        alike = self._alike.get(likeness, deque())
        while alike and quarter is not None and not lifetime.runs_in_quarter(alike[0][1], quarter):
            alike.popleft()
        return alike[0] if alike else None


def _likenesses(row: Row) -> tuple[tuple[str, ...], ...]:
    """What others have to share to be alike in all; in shape and stakeholder; in shape and SLA."""
    shape, stakeholder, sla = _plain(row.shape), _plain(row.stakeholder), _plain(row.sla)
    return ("all", shape, stakeholder, sla), ("stakeholder", shape, stakeholder), ("sla", shape, sla)


def kin(rows: Sequence[Row]) -> Mapping[WorkloadId, Kin]:
    """For each workload, in the order of their quarters, the likest of those that run by then."""
    found: dict[WorkloadId, Kin] = {}
    running = _Running()
    for row in sorted(rows, key=lambda each: (each.ships is not None, each.ships or Quarter(0, 1))):
        nearest = running.likest(row)
        found[row.id] = Kin(None, 0.0) if nearest is None else Kin(nearest.id, unlike(row, nearest))
        running.add(row)
    return found


def usual_hours(of: Kin, staffing: Ops) -> Spread:
    """Hours a week of a workload once it is stable, by its kind: between those of a known and of another kind."""
    if of.nearest is None:
        return staffing.stable
    like, other = staffing.homogeneous, staffing.heterogeneous
    return Spread(
        like.low + (other.low - like.low) * of.unlike,
        like.mid + (other.mid - like.mid) * of.unlike,
        like.high + (other.high - like.high) * of.unlike,
    )


def stated_hours(row: Row) -> Spread | None:
    """Hours a week of a workload once it is stable, where its row says them."""
    return None if row.estimate is None else row.estimate.ops_hours


def hours_by_quarter(outline: Outline, rows: Sequence[Row], quarters: Sequence[Quarter]) -> dict[Quarter, float]:
    """Hours a week that some workloads and the platform need in each of some quarters.

    A workload takes its stable hours from the quarter it ships in, and in that quarter those of a first quarter on
    top: five at 6 h, 12 h for the one that is new and 4 h for the platform are 46 h.
    """
    staffing = outline.staffing
    # Most rows say their hours, and to find the likest of thousands takes long.
    kinds = kin(rows) if any(stated_hours(row) is None for row in rows) else {}
    found = dict.fromkeys(quarters, staffing.platform.mid)
    for row in rows:
        hours = (stated_hours(row) or usual_hours(kinds[row.id], staffing)).mid
        for quarter in found:
            if lifetime.runs_in_quarter(row, quarter):
                found[quarter] += hours
            if lifetime.new_in(row, quarter):
                found[quarter] += staffing.first_quarter.mid
    return found


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _differ(one: str, other: str) -> bool:
    return not _plain(one) or _plain(one) != _plain(other)
