"""Who moves the runs of playbooks on? Looks at the recorded again and again, so that a restart changes nothing."""

import asyncio
from collections.abc import Callable
from typing import TypeAlias, assert_never

import structlog

from upshift.engine.act import Acts, NotYet
from upshift.engine.gather import Gatherer
from upshift.engine.notices import Teller
from upshift.evidence.pattern import HOUR
from upshift.model.entry import Decision
from upshift.model.span import Instant
from upshift.playbook.advance import FREEZE, Ask, Enter, Extend, Finish, RollBack, Wait, advance, judged
from upshift.playbook.book import Action, Answer
from upshift.playbook.checks import CHANGING
from upshift.playbook.run import (
    STARTED,
    Acted,
    Acting,
    Asked,
    Entered,
    Extended,
    Finding,
    Finished,
    Looked,
    Record,
    RolledBack,
    Run,
    State,
    Undone,
    Visit,
    fold,
    kind_of,
    pending_undo,
    records_of,
    to_decision,
)
from upshift.store.backend import StoreTroubleError
from upshift.store.journal import Journal

log = structlog.get_logger()

LEASE = "playbooks"
LEASE_SECONDS = 60.0
LOOK_EVERY = 6 * HOUR
"""How long a look that found nothing new goes unrecorded."""
Step: TypeAlias = Acting | Acted | Undone | Entered | Looked | Asked | Extended | RolledBack | Finished

_MOST_STEPS = 200
"""In one tick: no book has so many phases and actions."""
_ALL = 1_000_000


def load(journal: Journal, run: str) -> list[Record]:
    """The records of a run, in order; none where there is no such run."""
    started = [one for one in journal.decisions([STARTED], limit=_ALL) if one.subject == run]
    return _records(journal, started[-1]) if started else []


def _records(journal: Journal, started: Decision) -> list[Record]:
    return records_of([*journal.decisions([kind_of(started.subject)], limit=_ALL), started])


class Runner:
    """Moves every run on as far as it goes. One replica acts, and what two of them do at once happens once."""

    def __init__(
        self,
        journal: Journal,
        gatherer: Gatherer,
        acts: Acts,
        now: Callable[[], Instant],
        holder: str,
        teller: Teller | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._journal = journal
        self._gatherer = gatherer
        self._acts = acts
        self._now = now
        self._holder = holder
        self._teller = teller
        self._lease_seconds = lease_seconds
        self._over: set[str] = set()

    def tick(self) -> int:
        """Do what is due; returns how many records were made. Blocking: call it off the event loop."""
        if not self._journal.lease(LEASE, self._holder, self._now(), self._lease_seconds):
            return 0
        made = 0
        for decision in reversed(self._journal.decisions([STARTED], limit=_ALL)):
            if decision.subject in self._over:
                continue
            try:
                made += self._tick(decision)
            except ValueError as error:
                # One run that cannot go on stops no other.
                log.error("playbook.stuck", run=decision.subject, problem=str(error))
        return made

    async def watch(self, every_seconds: float) -> None:
        """Tick for ever; run as a task."""
        while True:
            try:
                await asyncio.to_thread(self.tick)
            except StoreTroubleError as error:
                log.warning("playbooks.unreadable", problem=str(error))
            await asyncio.sleep(every_seconds)

    def _tick(self, started: Decision) -> int:
        made = 0
        for _ in range(_MOST_STEPS):
            records = _records(self._journal, started)
            run = fold(records)
            step = self._step(run, self._now())
            if step is None or not self._journal.decide(to_decision(step)):
                break
            made += 1
            log.info("playbook", run=run.id, record=type(step).__name__, step=step.step)
        told = self._teller is None or self._teller.tell(records, self._now())
        if run.over and told:
            self._over.add(run.id)
            self._gatherer.forget(run.id)
        return made

    def _step(self, run: Run, now: Instant) -> Step | None:
        """The next record of a run; None when there is none to make now."""
        # A clock that was set back neither shortens a window nor puts a record before its cause.
        at = max(now, run.latest)
        match run.state:
            case State.UNDOING:
                return self._undo(run, at)
            case State.RUNNING:
                pass
            case _:
                return None
        if not run.visit.ready:
            return self._act(run, at)
        findings = self._gatherer.findings(run, now)
        return self._next(run, findings, now, at)

    def _next(self, run: Run, findings: tuple[Finding, ...], now: Instant, at: Instant) -> Step | None:
        visit = run.visit
        held = judged(run, findings, now)
        if held and _news(visit, held, at):
            # Recorded before anything follows from it: what was found is on record even if nothing does.
            return Looked(run=run.id, at=at, step=visit.step, number=visit.looks, findings=held)
        coming = advance(run.book, run, findings, now)
        match coming:
            case Wait():
                return None
            case Enter():
                return Entered(run=run.id, at=at, step=run.next_step, phase=coming.phase, findings=coming.findings)
            case Ask():
                return Asked(run=run.id, at=at, step=visit.step, key=coming.key, why=coming.why, roles=coming.roles)
            case Extend():
                return Extended(run=run.id, at=at, step=visit.step, by=coming.by, why=coming.why)
            case RollBack():
                return RolledBack(run=run.id, at=at, step=run.next_step, why=coming.why, findings=coming.findings)
            case Finish():
                return Finished(run=run.id, at=at, step=run.next_step, findings=coming.findings)
        assert_never(coming)

    def _act(self, run: Run, at: Instant) -> Acting | Acted | Looked | None:
        """The next action of the present phase: begun, with what it will change as it is, then done. One that changes
        what is in force is not begun in a freeze.
        """
        visit = run.visit
        number = len(visit.acted)
        action = visit.phase.entering[number]
        begun = next((one for one in visit.acting if one.number == number), None)
        if begun is None and action.do in CHANGING and (held := self._frozen(run, at)):
            return (
                Looked(run=run.id, at=at, step=visit.step, number=visit.looks, findings=held)
                if (_news(visit, held, at))
                else None
            )
        if begun is None:
            before = self._acts.before(action, run)
            return Acting(run=run.id, at=at, step=visit.step, number=number, action=action, before=before)
        done = self._acts.do(_name(run, visit, number), action, run, begun.at)
        if isinstance(done, NotYet):
            log.warning("playbook.not-yet", run=run.id, action=action.do, why=done.why)
            return None
        return Acted(run=run.id, at=at, step=visit.step, number=number, says=done.says, result=done.result)

    def _frozen(self, run: Run, at: Instant) -> tuple[Finding, ...]:
        found = judged(run, self._gatherer.freeze(run, at), at)
        return tuple(one for one in found if one.criterion == FREEZE.name and one.answer is not Answer.PASS)

    def _undo(self, run: Run, at: Instant) -> Undone | None:
        for visit in reversed(run.visits):
            number = pending_undo(visit)
            if number is None:
                continue
            extra = number - len(visit.phase.entering)
            if extra >= 0:
                said = self._besides(run, visit, number, visit.phase.rolling_back[extra], at)
            else:
                acting = next(one for one in visit.acting if one.number == number)
                if all(one.number != number for one in visit.acted):
                    # Begun, and nobody knows how far it got: done to its end, so that no straggler does it later.
                    self._acts.do(_name(run, visit, number), acting.action, run, acting.at)
                name = f"{_name(run, visit, number)}/undo"
                said = self._acts.undo(name, acting.action, acting.before, run, at)
            return Undone(run=run.id, at=at, step=visit.step, number=number, says=said)
        return None

    def _besides(self, run: Run, visit: Visit, number: int, action: Action, at: Instant) -> str:
        done = self._acts.do(_name(run, visit, number), action, run, at)
        return done.why if isinstance(done, NotYet) else done.says


def _name(run: Run, visit: Visit, number: int) -> str:
    return f"playbook/{run.id}/{visit.step}/act/{number}"


def _news(visit: Visit, held: tuple[Finding, ...], at: Instant) -> bool:
    if visit.look is None or at - visit.look.at >= LOOK_EVERY:
        return True
    return _answers(visit.look.findings) != _answers(held)


def _answers(findings: tuple[Finding, ...]) -> tuple[tuple[str, str, str, str], ...]:
    return tuple((one.phase, one.criterion, one.answer, one.override) for one in findings)
