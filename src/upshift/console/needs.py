"""What waits for somebody: playbooks, sign-offs, steps, budgets, contracts, forecasts?"""

from collections.abc import Iterator, Sequence
from datetime import date
from urllib.parse import quote

import msgspec

from upshift.admin.burn import BurnsView
from upshift.admin.calibrated import CalibrationView
from upshift.admin.playbook_views import RunView
from upshift.admin.portfolio_views import QuarterView, StandingView
from upshift.console.roles import May, may
from upshift.model.key import Role
from upshift.model.money import show_money
from upshift.traffic.snapshot import Snapshot

_NAMED = 4
_OF_SIGNING = frozenset({"Unsigned", "Lost", "Expired", "OneHand"})


class Need(msgspec.Struct, frozen=True):
    """One thing to look at: how pressing it is (as a badge), in words, and where it is done."""

    state: str
    text: str
    link: str
    more: str = ""


def needs(
    role: Role,
    standings: Sequence[StandingView],
    quarters: Sequence[QuarterView],
    year: BurnsView | None,
    calibrated: tuple[CalibrationView, ...] | None,
    snapshot: Snapshot | None,
    today: date,
    runs: Sequence[RunView] = (),
) -> list[Need]:
    """The most pressing first. `calibrated` is None while the last quarter's forecast is being computed."""
    found = [*_asking(role, runs), *_uncovered(standings), *_hours(quarters), *_burning(year)]
    found += _overdue(snapshot, today)
    return [*found, *_signing(role, standings), *_moving(standings), *_recalibrating(calibrated)]


def _asking(role: Role, runs: Sequence[RunView]) -> Iterator[Need]:
    """Playbooks whose gate waits for a person: a change that is half done."""
    for each in runs:
        if each.waits_for:
            whom = "you" if role.value in each.waits_for else " or ".join(each.waits_for)
            text = f"the playbook {each.run} waits for {whom}: {each.needs[0]}"
            yield Need("asked", text, f"/console/playbooks/{quote(each.run)}")


def _uncovered(standings: Sequence[StandingView]) -> Iterator[Need]:
    names = [each.workload for each in standings if not each.covered]
    if names:
        yield Need("not covered", f"{_named(names)} lost what they were approved by", "/console/workloads?sort=may")


def _hours(quarters: Sequence[QuarterView]) -> Iterator[Need]:
    for each in quarters:
        if each.ceiling is not None and each.planned_hours > each.ceiling:
            short = each.planned_hours - each.ceiling
            what = "committed" if each.short_hours else "committed and planned"
            text = f"{each.quarter}: what is {what} is {short:.1f} h a week beyond the ceiling"
            yield Need("blocked" if each.short_hours else "watch", text, "/console/capacity")


def _burning(year: BurnsView | None) -> Iterator[Need]:
    for each in year.burns if year is not None else ():
        if each.runs_out is not None and each.budget_nano is not None:
            text = f"the year's budget of {each.name} runs out in week {each.week}"
            yield Need("nearly", text, "/console/capacity", show_money(each.budget_nano))


def _overdue(snapshot: Snapshot | None, today: date) -> Iterator[Need]:
    for each in snapshot.interfaces.values() if snapshot is not None else ():
        late = each.overdue_days(today)
        if late is not None:
            text = f"the contract {each.name} is due for a review"
            yield Need("overdue", text, "/console/interfaces", f"{late} days late" if late else "never reviewed")


def _signing(role: Role, standings: Sequence[StandingView]) -> Iterator[Need]:
    """For whoever may sign: what their side has not signed; for others: what waits for sign-offs alone."""
    if not may(role, May.SIGN):
        names = [each.workload for each in standings if each.answer == "to sign"]
        if names:
            yield Need("to sign", f"only sign-offs are missing for {_named(names)}", "/console/workloads?sort=may")
        return
    for each in standings:
        incomplete = any(reason.kind == "Incomplete" for reason in (*each.lacks, *each.missing))
        left = [one.budget for one in each.signatures if one.role == role.value and not one.stands]
        unsigned = any(reason.kind in _OF_SIGNING for reason in (*each.lacks, *each.missing))
        if unsigned and left and not incomplete:
            text = f"{each.workload} waits for your sign-off on {', '.join(left)}"
            yield Need("to sign", text, f"/console/workloads/{each.workload}")


def _moving(standings: Sequence[StandingView]) -> Iterator[Need]:
    names = [each.workload for each in standings if each.answer == "may move" and each.covered]
    if names:
        text = f"nothing is missing for the next step of {_named(names)}"
        yield Need("may move", text, "/console/workloads?sort=may")


def _recalibrating(calibrated: tuple[CalibrationView, ...] | None) -> Iterator[Need]:
    if calibrated is None:
        yield Need("watch", "last quarter's forecast is being computed, to be held against what came", "/console/")
        return
    names = [each.workload for each in calibrated if each.proposed]
    if names:
        text = f"the review of {calibrated[0].quarter} is due: inputs of {_named(names)} should be refreshed"
        yield Need("watch", text, "/console/workloads")


def _named(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
