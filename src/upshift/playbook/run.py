"""What is recorded of a run, once each and never edited, and where does the run stand by its records?"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TypeAlias, assert_never

import msgspec

from upshift.model.entry import Decision
from upshift.model.span import Instant
from upshift.playbook.book import Action, Answer, Book, Phase, due
from upshift.playbook.facts import Figure

STARTED = "playbook-started"
"""The kind of the decision that starts a run; all later ones of it are of the kind `kind_of(run)`."""
ENGINE = "playbook engine"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One criterion's answer at one look. `override` names the person whose override it is."""

    phase: str
    criterion: str
    answer: Answer
    says: tuple[str, ...] = ()
    until: Instant | None = None
    figures: tuple[Figure, ...] = ()
    override: str = ""
    lasting: bool = False


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The book as it was: a run is judged by this copy alone."""

    run: str
    at: Instant
    by: str
    book: Book
    hash: str
    inputs: dict[str, str]
    tell: tuple[str, ...] = ()


class Entered(msgspec.Struct, frozen=True, kw_only=True, tag="entered"):
    """A phase was entered; `findings` are what opened its gate."""

    run: str
    at: Instant
    step: int
    phase: str
    findings: tuple[Finding, ...] = ()


class Looked(msgspec.Struct, frozen=True, kw_only=True, tag="looked"):
    """What was found, where it changed or a while had passed."""

    run: str
    at: Instant
    step: int
    number: int
    findings: tuple[Finding, ...]


class Asked(msgspec.Struct, frozen=True, kw_only=True, tag="asked"):
    """A person was asked; `roles` whom, empty for whoever runs it. `key` says about what."""

    run: str
    at: Instant
    step: int
    key: str
    why: tuple[str, ...]
    roles: tuple[str, ...] = ()


class Extended(msgspec.Struct, frozen=True, kw_only=True, tag="extended"):
    """The window grew, once."""

    run: str
    at: Instant
    step: int
    by: int
    """Microseconds."""
    why: tuple[str, ...]


class Signed(msgspec.Struct, frozen=True, kw_only=True, tag="signed"):
    """A person signed a criterion off."""

    run: str
    at: Instant
    step: int
    criterion: str
    role: str
    by: str
    note: str = ""


class Overridden(msgspec.Struct, frozen=True, kw_only=True, tag="overridden"):
    """A person let a criterion pass without evidence: why, who owns the risk, and until when it holds."""

    run: str
    at: Instant
    step: int
    number: int
    criterion: str
    by: str
    reason: str
    owner: str
    expires: Instant


class Acting(msgspec.Struct, frozen=True, kw_only=True, tag="acting"):
    """An action is about to be done; `before` is what it will change, as it was, so that it can be undone."""

    run: str
    at: Instant
    step: int
    number: int
    action: Action
    before: dict[str, str]


class Acted(msgspec.Struct, frozen=True, kw_only=True, tag="acted"):
    """An action is done; `result` names what came of it."""

    run: str
    at: Instant
    step: int
    number: int
    says: str
    result: dict[str, str] = {}


class Undone(msgspec.Struct, frozen=True, kw_only=True, tag="undone"):
    """An action is undone, or one of rolling back is done (`number` from the number of those of entering on)."""

    run: str
    at: Instant
    step: int
    number: int
    says: str


class RolledBack(msgspec.Struct, frozen=True, kw_only=True, tag="rolled-back"):
    """The run is to be undone."""

    run: str
    at: Instant
    step: int
    why: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


class Aborted(msgspec.Struct, frozen=True, kw_only=True, tag="aborted"):
    """A person ended the run; it is to be undone."""

    run: str
    at: Instant
    step: int
    by: str
    reason: str


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """The last gate opened."""

    run: str
    at: Instant
    step: int
    findings: tuple[Finding, ...] = ()


Later: TypeAlias = (
    Entered
    | Looked
    | Asked
    | Extended
    | Signed
    | Overridden
    | Acting
    | Acted
    | Undone
    | RolledBack
    | Aborted
    | Finished
)
Record: TypeAlias = Started | Later


def name_of(record: Record) -> str:
    """The id by which a record is appended once. All that end a phase share one: only the first of them does."""
    at = f"playbook/{record.run}"
    match record:
        case Started():
            return f"{at}/started"
        case Entered() | RolledBack() | Aborted() | Finished():
            return f"{at}/step/{record.step}"
        case Looked():
            return f"{at}/{record.step}/look/{record.number}"
        case Asked():
            return f"{at}/{record.step}/asked/{record.key}"
        case Extended():
            return f"{at}/{record.step}/extended"
        case Signed():
            return f"{at}/{record.step}/signed/{record.criterion}"
        case Overridden():
            return f"{at}/{record.step}/override/{record.criterion}/{record.number}"
        case Acting() | Acted() | Undone():
            what = {Acting: "acting", Acted: "acted", Undone: "undone"}[type(record)]
            return f"{at}/{record.step}/{what}/{record.number}"
    assert_never(record)


def kind_of(run: str) -> str:
    """The kind of decisions that the later records of a run are."""
    return f"playbook/{run}"


def to_decision(record: Record) -> Decision:
    """A record as the journal keeps it."""
    kind = STARTED if isinstance(record, Started) else kind_of(record.run)
    by = record.by if isinstance(record, Started | Signed | Overridden | Aborted) else ENGINE
    document = msgspec.json.encode(record, order="deterministic").decode()
    return Decision(name_of(record), record.at, kind, "", record.run, by, {"record": document})


_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def from_decision(decision: Decision) -> Record:
    """Raises ValueError for a decision that holds no record, or one of a version that this one cannot read."""
    document = decision.detail.get("record")
    if not isinstance(document, str):
        raise ValueError(f"the decision {decision.id} holds no record of a playbook")
    try:
        return _decoder.decode(document)
    except msgspec.DecodeError as error:
        raise ValueError(f"the record of a playbook in the decision {decision.id} cannot be read: {error}") from error


class State(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    UNDOING = "undoing"
    FINISHED = "finished"
    STOPPED = "stopped"
    """Ended by evidence before anything was done."""
    ROLLED_BACK = "rolled-back"
    ABORTED = "aborted"


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """A phase that was entered, and what happened in it."""

    step: int
    phase: Phase
    at: Instant
    extended: int = 0
    asked: tuple[Asked, ...] = ()
    signed: tuple[Signed, ...] = ()
    overridden: tuple[Overridden, ...] = ()
    looks: int = 0
    look: Looked | None = None
    failed: tuple[Finding, ...] = ()
    """What failed for as long as the phase lasts."""
    acting: tuple[Acting, ...] = ()
    acted: tuple[Acted, ...] = ()
    undone: tuple[int, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether everything that is done on entering is done."""
        return len(self.acted) == len(self.phase.entering)

    @property
    def since(self) -> Instant:
        """From when its window counts: entered, and everything done."""
        return max([self.at, *(one.at for one in self.acted)])

    @property
    def due(self) -> Instant:
        return due(self.phase, self.since, self.extended)


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run by its records. The first visit is of no phase: the gate of the first phase."""

    started: Started
    visits: tuple[Visit, ...]
    ending: RolledBack | Aborted | Finished | None = None
    latest: Instant = 0
    """The latest time that any record has: time is never taken to be before it."""

    @property
    def id(self) -> str:
        return self.started.run

    @property
    def book(self) -> Book:
        return self.started.book

    @property
    def visit(self) -> Visit:
        return self.visits[-1]

    @property
    def next_step(self) -> int:
        return len(self.visits)

    @property
    def subject(self) -> str:
        return self.started.inputs.get(self.book.subject, "")

    @property
    def state(self) -> State:
        match self.ending:
            case None:
                return State.RUNNING
            case Finished():
                return State.FINISHED
            case RolledBack() | Aborted():
                if any(pending_undo(visit) is not None for visit in self.visits):
                    return State.UNDOING
                if isinstance(self.ending, Aborted):
                    return State.ABORTED
                return State.ROLLED_BACK if any(visit.acting for visit in self.visits) else State.STOPPED
        assert_never(self.ending)

    @property
    def over(self) -> bool:
        return self.state not in (State.RUNNING, State.UNDOING)

    def result(self, key: str) -> str:
        """What came of the last action that had a result of this name; empty when none had."""
        for visit in reversed(self.visits):
            for done in reversed(visit.acted):
                if key in done.result:
                    return done.result[key]
        return ""


def pending_undo(visit: Visit) -> int | None:
    """The number of the next action of a visit to undo, last ones first, then those of rolling back; None when all are.

    What was begun has to be undone even if nobody noted that it was done.
    """
    for acting in reversed(visit.acting):
        if acting.number not in visit.undone:
            return acting.number
    if visit.acting:
        for number in range(len(visit.phase.rolling_back)):
            if len(visit.phase.entering) + number not in visit.undone:
                return len(visit.phase.entering) + number
    return None


def fold(records: Iterable[Record]) -> Run:
    """Where a run stands. A record that is there twice counts once; one of a phase that was left counts for nothing.

    Raises ValueError where the first is not the one that starts it, or one is of another run.
    """
    seen: set[str] = set()
    run: Run | None = None
    for record in records:
        name = name_of(record)
        if name in seen:
            continue
        seen.add(name)
        if isinstance(record, Started):
            gate = Visit(step=0, phase=_gate(record.book), at=record.at)
            run = Run(started=record, visits=(gate,), latest=record.at)
            continue
        if run is None or record.run != run.id:
            raise ValueError(f"{name} is not a record of a run that was started")
        run = msgspec.structs.replace(_told(run, record), latest=max(run.latest, record.at))
    if run is None:
        raise ValueError("a run has no records")
    return run


def _gate(book: Book) -> Phase:
    return Phase(name="", title="before the first phase", next=book.phases[0].name)


def _told(run: Run, record: Later) -> Run:
    match record:
        case Entered():
            if run.ending is not None or record.step != run.next_step:
                return run
            visit = Visit(step=record.step, phase=run.book.phase(record.phase), at=record.at)
            return msgspec.structs.replace(run, visits=(*run.visits, visit))
        case RolledBack() | Aborted() | Finished():
            if run.ending is not None or record.step != run.next_step:
                return run
            return msgspec.structs.replace(run, ending=record)
        case Acting() | Acted() | Undone():
            if not 0 <= record.step < len(run.visits):
                return run
            visits = list(run.visits)
            visits[record.step] = _done(visits[record.step], record)
            return msgspec.structs.replace(run, visits=tuple(visits))
        case Looked() | Asked() | Extended() | Signed() | Overridden():
            if run.ending is not None or record.step != run.visit.step:
                return run
            return msgspec.structs.replace(run, visits=(*run.visits[:-1], _noted(run.visit, record)))
    assert_never(record)


def _done(visit: Visit, record: Acting | Acted | Undone) -> Visit:
    match record:
        case Acting():
            return msgspec.structs.replace(visit, acting=(*visit.acting, record))
        case Acted():
            return msgspec.structs.replace(visit, acted=(*visit.acted, record))
        case Undone():
            return msgspec.structs.replace(visit, undone=(*visit.undone, record.number))
    assert_never(record)


def _noted(visit: Visit, record: Looked | Asked | Extended | Signed | Overridden) -> Visit:
    match record:
        case Looked():
            failed = tuple(one for one in record.findings if one.lasting and one not in visit.failed)
            return msgspec.structs.replace(visit, looks=visit.looks + 1, look=record, failed=(*visit.failed, *failed))
        case Asked():
            return msgspec.structs.replace(visit, asked=(*visit.asked, record))
        case Extended():
            return msgspec.structs.replace(visit, extended=record.by)
        case Signed():
            return msgspec.structs.replace(visit, signed=(*visit.signed, record))
        case Overridden():
            return msgspec.structs.replace(visit, overridden=(*visit.overridden, record))
    assert_never(record)


def records_of(decisions: Sequence[Decision]) -> list[Record]:
    """The records of decisions that are given latest first, in the order of the ledger."""
    return [from_decision(one) for one in reversed(decisions)]
