"""What may people do about playbooks: start, sign off, override, abort; each checked and recorded once?"""

from collections.abc import Mapping, Sequence

import msgspec

from upshift.admin.desk import ActError, Actor, Desk
from upshift.evidence.measurement import read_scope
from upshift.model.entry import Decision
from upshift.model.key import Role
from upshift.model.span import Instant, show_instant
from upshift.plan_file.books import read_book, shipped
from upshift.playbook.advance import gate as gate_of
from upshift.playbook.book import Book, Criterion
from upshift.playbook.run import (
    STARTED,
    Aborted,
    Later,
    Overridden,
    Record,
    Run,
    Signed,
    Started,
    State,
    fold,
    kind_of,
    records_of,
    to_decision,
)
from upshift.store.journal import Journal

_ALL = 1_000_000
_RUNNERS = (Role.ADMIN, Role.ENGINEERING)
_MOST_TEXT = 100_000
_TRIES = 5
UPGRADE = "use a version at least as new as the one that wrote it"


def book_of(name: str) -> Book:
    """A playbook that ships. Raises ActError with the names there are."""
    texts = shipped()
    if name not in texts:
        raise ActError(f"there is no playbook {name!r}; there are {', '.join(texts)}, or send one as YAML", 404)
    return read_book(texts[name], f"{name}.yaml")


class Unreadable(msgspec.Struct, frozen=True):
    """A run of which this version cannot read a record, as it may be after a downgrade."""

    id: str
    at: Instant
    """When it was started."""
    by: str
    problem: str


def runs(journal: Journal) -> list[Run]:
    """Every run that can be read, the latest first."""
    return [one for one in every_run(journal) if isinstance(one, Run)]


def every_run(journal: Journal) -> list[Run | Unreadable]:
    """Every run, the latest first."""
    return [_run(journal, one) for one in journal.decisions([STARTED], limit=_ALL)]


def _run(journal: Journal, started: Decision) -> Run | Unreadable:
    try:
        return fold(records_of([*journal.decisions([kind_of(started.subject)], limit=_ALL), started]))
    except (ValueError, KeyError) as error:
        return Unreadable(started.subject, started.at, started.by, str(error))


def records(journal: Journal, run: str) -> list[Record]:
    """The records of a run. Raises ActError where there is no such run, or this version cannot read one of them."""
    started = [one for one in journal.decisions([STARTED], limit=_ALL) if one.subject == run]
    if not started:
        raise ActError(f"there is no run {run!r}; see: upshift playbook list", 404)
    try:
        found = records_of([*journal.decisions([kind_of(run)], limit=_ALL), *started])
        fold(found)
    except (ValueError, KeyError) as error:
        raise ActError(f"run {run} cannot be read by this version: {error}; {UPGRADE}", 409) from error
    return found


def start(desk: Desk, actor: Actor, book: Book, inputs: Mapping[str, str], tell: Sequence[str] = ()) -> Run:
    """Start a run. It keeps the book as it is now. Raises ActError with everything that is missing."""
    _may_run(actor, "start a playbook")
    wrong = [f"there is no input {name!r}" for name in inputs if all(one.name != name for one in book.inputs)]
    given = {one.name: inputs.get(one.name, "").strip() or one.default for one in book.inputs}
    wrong += [
        f"{one.name} is missing: {one.says or 'an input of this playbook'}"
        for one in book.inputs
        if one.required and not given[one.name]
    ]
    wrong += [
        f"{name} has more than {_MOST_TEXT:,} characters" for name, text in given.items() if len(text) > _MOST_TEXT
    ]
    wrong += [f"{each!r} is not an e-mail address" for each in tell if "@" not in each]
    wrong += [f"{name} has characters that cannot be written" for name, text in given.items() if not _writable(text)]
    try:
        read_scope(given.get("scope") or "system")
    except ValueError as error:
        wrong.append(str(error))
    if wrong:
        raise ActError("; ".join(wrong))
    subject = given.get(book.subject, "")
    all_runs = every_run(desk.journal)
    stem = f"{book.name}-{_slug(subject)}"
    known = [one for one in all_runs if isinstance(one, Run) and (one.book.name, one.subject) == (book.name, subject)]
    live = next((one for one in known if not one.over), None)
    if live is not None:
        what = f" for {subject}" if subject else ""
        raise ActError(f"run {live.id} of {book.name}{what} is not over; abort it, or wait for its end", 409)
    unread = next((one for one in all_runs if isinstance(one, Unreadable) and _numbered(one.id, stem)), None)
    if unread is not None:
        raise ActError(f"run {unread.id} cannot be read by this version, so it may not be over; {UPGRADE}", 409)
    # Two subjects may be spelled alike in an id: the number tells them apart.
    taken, number = {one.id for one in all_runs}, len(known) + 1
    while (id_ := f"{stem}{number}") in taken:
        number += 1
    record = Started(run=id_, at=desk.now(), by=actor.name, book=book, hash=book.hash, inputs=given, tell=tuple(tell))
    if not desk.journal.decide(to_decision(record)):
        raise ActError(f"run {id_} was started by somebody else just now", 409)
    return fold([record])


def sign(desk: Desk, actor: Actor, run: str, criterion: str, note: str = "") -> Run:
    """Sign a criterion of the present gate off, for the role of one's key. Raises ActError."""
    found, wanted = _criterion(desk, run, criterion)
    if wanted.check:
        raise ActError(f"{criterion} is not a sign-off but the check {wanted.check}; evidence opens it, or an override")
    if actor.role.value != wanted.signer:
        raise ActError(f"{criterion} has to be signed by {wanted.signer}; this key's role is {actor.role}", 403)
    if not actor.person:
        raise ActError("a sign-off needs a person; use the key of one", 403)
    record = Signed(
        run=run,
        at=desk.now(),
        step=found.visit.step,
        criterion=criterion,
        role=wanted.signer,
        by=actor.person,
        note=note.strip(),
    )
    return _recorded(desk, record)


def override(desk: Desk, actor: Actor, run: str, criterion: str, *, reason: str, owner: str, expires: Instant) -> Run:
    """Let a check of the present gate pass without evidence until `expires`. It shortens no window and covers no FAIL.

    Raises ActError unless a named person gives a reason, an owner of the risk, and an end that is still to come.
    """
    _may_run(actor, "override a check")
    _, wanted = _criterion(desk, run, criterion)
    wrong = []
    if not wanted.check:
        wrong.append(f"{criterion} is a sign-off by {wanted.signer}: it is signed, not overridden")
    if not actor.person:
        wrong.append("an override needs a person; use the key of one (--key)")
    if not reason.strip():
        wrong.append("an override needs a reason")
    if not owner.strip():
        wrong.append("an override needs the name of who owns the risk")
    if expires <= desk.now():
        wrong.append(f"the override would have expired already ({show_instant(expires)})")
    if wrong:
        raise ActError("; ".join(wrong))
    for _ in range(_TRIES):
        found, _ = _criterion(desk, run, criterion)
        record = Overridden(
            run=run,
            at=desk.now(),
            step=found.visit.step,
            number=len(found.visit.overridden),
            criterion=criterion,
            by=actor.person,
            reason=reason.strip(),
            owner=owner.strip(),
            expires=expires,
        )
        # Somebody else may override the same just now: both are on record.
        if desk.journal.decide(to_decision(record)):
            return fold(records(desk.journal, run))
    raise ActError(f"{criterion} of {run} is overridden by others at the same time; try again", 409)


def abort(desk: Desk, actor: Actor, run: str, reason: str) -> Run:
    """End a run; the engine makes everything as it was before it. Raises ActError."""
    _may_run(actor, "abort a playbook")
    if not reason.strip():
        raise ActError("an abort needs a reason")
    for _ in range(_TRIES):
        found = fold(records(desk.journal, run))
        if found.ending is not None:
            raise ActError(f"run {run} is {found.state} already", 409)
        record = Aborted(run=run, at=desk.now(), step=found.next_step, by=actor.name, reason=reason.strip())
        # The engine may just have entered a phase: then that one is what has to be ended.
        if desk.journal.decide(to_decision(record)):
            return fold(records(desk.journal, run))
    raise ActError(f"run {run} moves on too quickly to be aborted; try again", 409)


def _recorded(desk: Desk, record: Later) -> Run:
    desk.journal.decide(to_decision(record))
    return fold(records(desk.journal, record.run))


def _criterion(desk: Desk, run: str, name: str) -> tuple[Run, Criterion]:
    found = fold(records(desk.journal, run))
    if found.state is not State.RUNNING:
        raise ActError(f"run {run} is {found.state}", 409)
    gate = [one for _, one in gate_of(found)]
    wanted = next((one for one in gate if one.name == name), None)
    if wanted is None:
        names = ", ".join(one.name for one in gate) or "nothing"
        raise ActError(f"the present gate of {run} has no {name!r}; it has {names}", 404)
    return found, wanted


def _may_run(actor: Actor, act: str) -> None:
    if actor.role not in _RUNNERS:
        raise ActError(f"only engineering or an admin may {act}", 403)


def _writable(text: str) -> bool:
    """Whether it is text as UTF-8 has it: JSON may hold half of a pair."""
    return all(not "\ud800" <= each <= "\udfff" for each in text)


def _numbered(id_: str, stem: str) -> bool:
    return id_.startswith(stem) and id_.removeprefix(stem).isdigit()


def _slug(subject: str) -> str:
    kept = "".join(each if each.isalnum() else "-" for each in subject.lower()).strip("-")
    return f"{kept[:60]}-" if kept else ""
