"""Where does what a playbook looks at come from: the journal's records and decisions?"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from upshift.engine.act import FROZEN, REINSTATED, RETIRED
from upshift.engine.gather import SETTLING
from upshift.evidence.baseline import Baseline, Retired, Structure
from upshift.evidence.measurement import Scope, Span
from upshift.evidence.pattern import HOUR
from upshift.model.feedback import Feedback, counted
from upshift.model.ids import PlanHash
from upshift.model.metered import Metered
from upshift.model.span import Instant, to_datetime
from upshift.plan_file.compiled import compile_plan, of_document
from upshift.plan_file.declared import Plan
from upshift.plan_file.outlined import calendar_of
from upshift.plan_file.prices import Terms
from upshift.planning.days import Calendar
from upshift.playbook.facts import ContractState
from upshift.playbook.standing import KINDS, Standing, standing
from upshift.store.entries import CALLS
from upshift.store.journal import Journal
from upshift.traffic.clocks import zone_of
from upshift.traffic.interfaces import delivery_of
from upshift.traffic.snapshot import Snapshot

_PAGE = 2_000
_ALL = 1_000_000
_HELD_HOURS = 12
_LONGEST_CALL = HOUR
"""Calls are listed by their end: one that began in a span ended at most so long after."""

_decode = msgspec.json.Decoder(Baseline).decode


def _read_of(plan: Plan, terms: Mapping[str, Terms], hash_: PlanHash) -> tuple[Snapshot, Calendar]:
    return compile_plan(plan, terms, hash_), calendar_of(plan.calendar)


class JournalSources:
    """Calls from the ledger, reports from the journal, contracts from the plan in force, the rest from decisions.

    Where nobody reports finished tasks, what needs them is answered BROKEN, never passed.
    """

    def __init__(self, journal: Journal, now: Callable[[], Instant]) -> None:
        self._journal = journal
        self._now = now
        self._baselines: dict[str, Baseline] = {}
        self._plan: tuple[PlanHash, Snapshot, Calendar] | None = None
        self._read: tuple[Span, list[Metered]] | None = None
        """The last span that was read, for what is asked of it next: its reports, and the other runs' looks at it."""

    def calls(self, span: Span) -> Sequence[Metered]:
        if self._read is not None and self._read[0] == span:
            return self._read[1]
        found = self._calls(span)
        # What is not over yet may still change.
        self._read = (span, found) if span.end <= self._now() - SETTLING else None
        return found

    def _calls(self, span: Span) -> list[Metered]:
        found: list[Metered] = []
        over = self._journal.entries(CALLS, limit=1, until=span.end + _LONGEST_CALL)
        before = over[0].seq + 1 if over else 0
        while page := self._journal.calls(limit=_PAGE, before=before):
            found += [one.record for one in page if span.start <= one.record.started < span.end]
            before = page[-1].seq
            if max(one.record.started for one in page) < span.start - _LONGEST_CALL:
                break
        return found

    def feedback(self, span: Span) -> Sequence[Feedback]:
        deliveries = [told for one in self.calls(span) if (told := delivery_of(one)) is not None]
        if span.hours > _HELD_HOURS:
            # Read once in a quarter of an hour at most: it would only be held in memory.
            self._read = None
        reported = self._journal.feedback(since=span.start, until=span.end)
        return [*(record for one in reported if (record := counted(one)) is not None), *deliveries]

    def contracts(self, interfaces: Sequence[str]) -> tuple[ContractState, ...] | None:
        snapshot = self._snapshot()
        if snapshot is None:
            return None
        today = to_datetime(self._now()).date()
        found = []
        for name in interfaces:
            interface = snapshot.interfaces.get(name)
            if interface is None:
                found.append(ContractState(name, ("an entry in the plan in force",)))
                continue
            late = interface.overdue_days(today)
            review = (f"its review, {late} days overdue",) if late else ()
            found.append(ContractState(name, (*interface.lacks(), *review)))
        return tuple(found)

    def terms(self, interface: str) -> dict[str, str | int | bool | None]:
        snapshot = self._snapshot()
        found = None if snapshot is None else snapshot.interfaces.get(interface)
        if found is None:
            return {}
        major = None if found.version is None else found.version.major
        return {"from": found.caller, "to": found.callee, "major": major}

    def standing(self) -> Standing:
        return standing(reversed(self._journal.decisions(KINDS, limit=_ALL)))

    def structure(self) -> Structure:
        now, snapshot = self.standing(), self._snapshot()
        agents = set(now.shares)
        if snapshot is not None:
            active = [one for name in now.interfaces if (one := snapshot.interfaces.get(name)) is not None]
            agents |= {agent for one in active for agent in (one.caller, one.callee)}
        return Structure(tuple(sorted(agents)), now.interfaces, PlanHash("") if snapshot is None else snapshot.hash)

    def calendar(self) -> Calendar:
        try:
            plan = self._in_force()
        except ValueError as error:
            raise ValueError(f"the plan in force cannot be read here, nor its freezes: {error}") from error
        return Calendar() if plan is None else plan[2]

    def zone(self, scope: Scope) -> str:
        try:
            plan = self._in_force()
        except ValueError:
            plan = None
        return "UTC" if plan is None else zone_of(scope, plan[1], plan[2].zone)

    def _snapshot(self) -> Snapshot | None:
        """The plan in force; None before the first, and where this version cannot read it."""
        try:
            plan = self._in_force()
        except ValueError:
            return None
        return None if plan is None else plan[1]

    def _in_force(self) -> tuple[PlanHash, Snapshot, Calendar] | None:
        """The plan in force; None before the first. Raises ValueError where this version cannot read it."""
        plan = self._journal.plan_in_force()
        if plan is None:
            return None
        if self._plan is None or self._plan[0] != plan.hash:
            self._plan = (plan.hash, *of_document(plan.document.decode(), _read_of))
        return self._plan

    def baseline(self, id_: str) -> Baseline | None:
        if id_ and id_ not in self._baselines:
            for one in self._journal.decisions([FROZEN], limit=_ALL):
                document = one.detail.get("document")
                if one.subject == id_ and isinstance(document, str):
                    self._baselines[id_] = _decode(document)
        return self._baselines.get(id_)

    def retired(self) -> tuple[Retired, ...]:
        found: dict[str, Retired] = {}
        for one in reversed(self._journal.decisions([RETIRED, REINSTATED], limit=_ALL)):
            if one.kind == REINSTATED:
                found.pop(one.subject, None)
            else:
                detail = one.detail
                successor = str(detail.get("successor") or "")
                found[one.subject] = Retired(one.subject, one.at, one.by, str(detail.get("reason") or ""), successor)
        return tuple(found.values())
