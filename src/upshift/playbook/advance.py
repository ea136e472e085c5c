"""What comes next in a run: a phase, waiting, a question, more time, the way back, or its end?

A window opens by time AND evidence: it has passed in full, and every criterion passes. Evidence that is undecided at
its end gets the extension that the book allows, once; then a person is asked, and the gate stays shut until evidence
or a person's recorded override opens it. What changes what is in force waits, besides, for the end of a freeze; the way
back never does.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from upshift.model.span import Instant, show_instant
from upshift.playbook.book import END, Answer, Book, Criterion, OnFail, OnUnclear, Phase, hours
from upshift.playbook.checks import CHANGING
from upshift.playbook.run import Finding, Overridden, Run, Visit

FREEZE = Criterion(name="change-freeze", check="change-freeze", says="Nothing changes while the plan says so.")
"""Of every gate to a phase that changes what is in force; found only where the plan's calendar keeps it shut."""


class Enter(msgspec.Struct, frozen=True):
    """Enter a phase; `findings` opened its gate."""

    phase: str
    findings: tuple[Finding, ...]


class Wait(msgspec.Struct, frozen=True):
    """Nothing is to be done before `until`, as far as that is known."""

    until: Instant | None
    why: tuple[str, ...]


class Ask(msgspec.Struct, frozen=True):
    """Ask a person, once for each `key`; `roles` says whom, none for whoever runs it."""

    key: str
    why: tuple[str, ...]
    roles: tuple[str, ...] = ()


class Extend(msgspec.Struct, frozen=True):
    """Give the phase more time, in microseconds."""

    by: int
    why: tuple[str, ...]


class RollBack(msgspec.Struct, frozen=True):
    """Undo everything that was done."""

    why: tuple[str, ...]
    findings: tuple[Finding, ...]


class Finish(msgspec.Struct, frozen=True):
    """The last gate is open."""

    findings: tuple[Finding, ...]


Next: TypeAlias = Enter | Wait | Ask | Extend | RollBack | Finish


def criteria(book: Book, visit: Visit) -> tuple[tuple[str, Criterion], ...]:
    """What the gate at the end of a phase takes, by phase: its own exit, and the entry of the phase that follows."""
    found = [(visit.phase.name, one) for one in visit.phase.exit]
    if visit.phase.next != END:
        following = book.phase(visit.phase.next)
        found += [(following.name, one) for one in following.entry]
    return tuple(found)


def changing(run: Run) -> Phase | None:
    """The phase whose actions come next, where they change what is in force; None where they do not, or have begun."""
    visit = run.visit
    if not visit.ready:
        phase, todo = visit.phase, visit.phase.entering[len(visit.acted) :]
        # What has begun is done to its end: half of a change would be in force all along a freeze.
        if any(one.action.do in CHANGING for one in visit.acting):
            return None
    elif visit.phase.next != END:
        phase = run.book.phase(visit.phase.next)
        todo = phase.entering
    else:
        return None
    return phase if any(one.do in CHANGING for one in todo) else None


def gate(run: Run) -> tuple[tuple[str, Criterion], ...]:
    """All that may keep a run where it is, by phase: the criteria of its book, and a freeze."""
    phase = changing(run)
    return criteria(run.book, run.visit) + (() if phase is None else ((phase.name, FREEZE),))


def judged(run: Run, findings: Iterable[Finding], now: Instant) -> tuple[Finding, ...]:
    """The answer of every criterion of the present gate: as found, as signed, as overridden. What nobody found is
    BROKEN; only a freeze that nobody found is none. An override stands in for evidence that is missing, never for
    evidence against: a FAIL stays one.
    """
    found = {(one.phase, one.criterion): one for one in (*findings, *run.visit.failed)}
    answers = []
    for phase, criterion in criteria(run.book, run.visit):
        if criterion.check:
            answer = found.get((phase, criterion.name)) or Finding(
                phase=phase, criterion=criterion.name, answer=Answer.BROKEN, says=("nothing was found out about it",)
            )
        else:
            answer = _signed(run.visit, phase, criterion)
        if answer.answer not in (Answer.PASS, Answer.FAIL):
            answer = _overridden(run.visit.overridden, answer, now)
        answers.append(answer)
    coming = changing(run)
    frozen = None if coming is None else found.get((coming.name, FREEZE.name))
    if frozen is not None:
        # A phase may be entered by an override just before midnight, and its actions be due just after.
        gates = run.visits[-1:] if run.visit.ready else run.visits[-2:]
        said = [one for visit in gates for one in visit.overridden]
        answers.append(_overridden(said, frozen, now))
    return tuple(answers)


def _signed(visit: Visit, phase: str, criterion: Criterion) -> Finding:
    for one in visit.signed:
        if one.criterion == criterion.name:
            note = f": {one.note}" if one.note else ""
            says = (f"signed off for {one.role} by {one.by} on {show_instant(one.at)}{note}",)
            return Finding(phase=phase, criterion=criterion.name, answer=Answer.PASS, says=says)
    says = (f"to be signed off by {criterion.signer}",)
    return Finding(phase=phase, criterion=criterion.name, answer=Answer.WAITING, says=says)


def _overridden(said: Sequence[Overridden], found: Finding, now: Instant) -> Finding:
    for one in reversed(said):
        if one.criterion == found.criterion and now < one.expires:
            says = (
                f"OVERRIDDEN by {one.by} until {show_instant(one.expires)}: {one.reason}; the risk is {one.owner}'s",
                f"without the override: {found.answer}",
                *found.says,
            )
            return msgspec.structs.replace(found, answer=Answer.PASS, says=says, override=one.by)
    return found


def advance(book: Book, run: Run, findings: Iterable[Finding], now: Instant) -> Next:
    """What comes next. `book` is the one that the run was started with, `findings` what checks answered at `now`.

    Raises ValueError for another book: a run is never judged by one that was edited since.
    """
    if book.hash != run.started.hash:
        raise ValueError(f"run {run.id} was started with book {run.started.hash[:12]}, not {book.hash[:12]}")
    visit = run.visit
    if run.ending is not None or not visit.ready:
        return Wait(None, ("its actions are not done yet",) if run.ending is None else ("the run has ended",))
    found = judged(run, findings, now)
    phase = visit.phase
    failed = _with(found, Answer.FAIL)
    unclear = _with(found, Answer.UNCLEAR)
    if failed and phase.on_fail is OnFail.ROLL_BACK:
        return RollBack(_why(failed), found)
    if unclear and phase.on_unclear is OnUnclear.ROLL_BACK:
        return RollBack(_why(unclear), found)
    if failed:
        return _ask(visit, failed, None)
    if unclear and phase.on_unclear is OnUnclear.ASK:
        return _ask(visit, unclear, visit.due if now < visit.due else None)
    if now < visit.due:
        left = f"the window of {hours(visit.phase.window + visit.extended)} ends {show_instant(visit.due)}"
        return Wait(visit.due, (left, *_why(_open(found))))
    if not _open(found):
        return Finish(found) if phase.next == END else Enter(phase.next, found)
    return _late(book, visit, found)


def _late(book: Book, visit: Visit, found: tuple[Finding, ...]) -> Next:
    """The window has passed, and not everything passes."""
    signers = {(phase, one.name): one.signer for phase, one in criteria(book, visit) if not one.check}
    to_sign = [one for one in _open(found) if (one.phase, one.criterion) in signers]
    frozen = [one for one in _open(found) if one.criterion == FREEZE.name and one.answer is Answer.WAITING]
    by_check = [one for one in _open(found) if one not in to_sign and one not in frozen]
    if not by_check and to_sign:
        # A person's signature is asked for last, when the evidence that is signed is all there.
        roles = tuple(sorted({signers[one.phase, one.criterion] for one in to_sign}))
        return _ask(visit, to_sign, None, roles)
    if not by_check:
        return Wait(_until(frozen), _why(frozen))
    own = [one for one in by_check if one.phase == visit.phase.name]
    if own and visit.phase.extend and not visit.extended:
        return Extend(visit.phase.extend, _why(own))
    broken = _with(found, Answer.BROKEN)
    late = own if visit.phase.window else broken
    if late or broken:
        return _ask(visit, late or broken, _until(by_check))
    return Wait(_until(by_check), _why(_open(found)))


def _ask(visit: Visit, about: list[Finding], until: Instant | None, roles: tuple[str, ...] = ()) -> Ask | Wait:
    what = "|".join(f"{one.phase}.{one.criterion}={one.answer}" for one in about)
    key = hashlib.sha256(f"{what}|{visit.extended}".encode()).hexdigest()[:16]
    if any(one.key == key for one in visit.asked):
        return Wait(until, ("a person has been asked", *_why(about)))
    return Ask(key, _why(about), roles)


def _with(found: Iterable[Finding], answer: Answer) -> list[Finding]:
    return [one for one in found if one.answer is answer]


def _open(found: Iterable[Finding]) -> list[Finding]:
    return [one for one in found if one.answer is not Answer.PASS]


def _until(found: Iterable[Finding]) -> Instant | None:
    return min((one.until for one in found if one.until is not None), default=None)


def _why(found: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(f"{one.criterion}: {says}" for one in found for says in one.says[:3] or (str(one.answer),))
