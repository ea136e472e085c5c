"""A small playbook for the tests, and runs of it that nothing but rules moves on."""

from collections.abc import Callable, Iterable

from upshift.evidence.pattern import HOUR
from upshift.model.span import Instant
from upshift.plan_file.books import read_book
from upshift.playbook.advance import Ask, Enter, Extend, Finish, RollBack, Wait, advance, criteria, judged
from upshift.playbook.book import Answer, Book
from upshift.playbook.run import (
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
    Started,
    fold,
)

BEGIN: Instant = 480_000 * HOUR
TEXT = """
playbook: small
title: A small one
subject: agent
inputs:
  agent: {says: whose}
  interfaces: {says: which, required: false}
phases:
  ready:
    exit: [{check: contracts-complete}]
  staged:
    window: 48h
    extend: 24h
    entering: [{do: share-of-traffic, with: {share: 25%}}, {do: activate-interfaces, with: {first: 2}}]
    exit: [{check: no-regression, with: {metrics: [latency]}}]
  full:
    window: 72h
    entering: [{do: activate-interfaces}]
    exit:
      - {check: no-regression, with: {metrics: [latency]}}
      - {sign-off: engineering, name: closed}
"""


def small(text: str = TEXT) -> Book:
    return read_book(text, "small.yaml")


def started(book: Book | None = None, at: Instant = BEGIN) -> Started:
    found = book or small()
    return Started(run="small-1", at=at, by="mia", book=found, hash=found.hash, inputs={"agent": "dora"})


def finding(run: Run, criterion: str, answer: Answer, says: str = "because", *, lasting: bool = False) -> Finding:
    phase = next(phase for phase, one in criteria(run.book, run.visit) if one.name == criterion)
    return Finding(phase=phase, criterion=criterion, answer=answer, says=(says,), lasting=lasting)


Answers = Callable[[str], Answer | None]


def moved(records: list[Record], answers: Answers, now: Instant) -> list[Record]:
    """One look by the rules alone: what an engine would record, all actions done at once."""
    made: list[Record] = []
    for _ in range(50):
        record = _next(fold([*records, *made]), answers, now)
        if record is None:
            return made
        made += record
    raise AssertionError("a run that never comes to rest")


def _next(run: Run, answers: Answers, now: Instant) -> list[Record] | None:
    at, visit = max(now, run.latest), run.visit
    if run.ending is not None:
        return None
    if not visit.ready:
        number = len(visit.acted)
        action = visit.phase.entering[number]
        acting = Acting(run=run.id, at=at, step=visit.step, number=number, action=action, before={})
        return [acting, Acted(run=run.id, at=at, step=visit.step, number=number, says="done")]
    found = []
    for _, one in criteria(run.book, visit):
        answer = answers(one.name) if one.check else None
        if answer is not None:
            found.append(finding(run, one.name, answer, lasting=answer is Answer.FAIL))
    coming = advance(run.book, run, found, now)
    look = Looked(run=run.id, at=at, step=visit.step, number=visit.looks, findings=judged(run, found, now))
    match coming:
        case Wait():
            return None
        case Enter():
            entered = Entered(run=run.id, at=at, step=run.next_step, phase=coming.phase, findings=coming.findings)
            return [look, entered]
        case Ask():
            return [Asked(run=run.id, at=at, step=visit.step, key=coming.key, why=coming.why, roles=coming.roles)]
        case Extend():
            return [Extended(run=run.id, at=at, step=visit.step, by=coming.by, why=coming.why)]
        case RollBack():
            return [look, RolledBack(run=run.id, at=at, step=run.next_step, why=coming.why, findings=coming.findings)]
        case Finish():
            return [Finished(run=run.id, at=at, step=run.next_step, findings=coming.findings)]


def of(records: Iterable[Record], kind: type[Record]) -> list[Record]:
    return [one for one in records if isinstance(one, kind)]


def always(answer: Answer | None) -> Answers:
    return lambda _: answer
