"""What is shown of playbooks and their runs, in the API's JSON and on the command line?"""

from collections.abc import Sequence

import msgspec

from upshift.admin.playbooks import UPGRADE, Unreadable
from upshift.admin.shown import Shown
from upshift.model.key import Role
from upshift.model.span import Instant, show_instant
from upshift.playbook.advance import FREEZE, gate, judged
from upshift.playbook.book import Answer, Book, Criterion, hours
from upshift.playbook.facts import Figure
from upshift.playbook.run import Finding, Record, Run, State
from upshift.playbook.story import can_tell, post_mortem, timeline

UNREADABLE = "unreadable"
_RUNNERS = (Role.ENGINEERING.value, Role.ADMIN.value)
"""Who is asked where no role is named."""


class PhaseView(Shown):
    """A phase of a playbook."""

    name: str
    """Its name."""
    title: str
    """What people call it."""
    says: str
    """What it is for."""
    window: str
    """How long it lasts at least; empty for no window."""
    entry: tuple[str, ...]
    """What has to hold to enter it."""
    exit: tuple[str, ...]
    """What has to hold to leave it."""


class BookView(Shown):
    """A playbook."""

    name: str
    """Its name."""
    title: str
    """What people call it."""
    says: str
    """What it is for."""
    hash: str
    """The SHA-256 of its content."""
    inputs: dict[str, str]
    """What has to be said when a run is started."""
    phases: tuple[PhaseView, ...]
    """In order."""


class RunView(Shown):
    """A run of a playbook, in short."""

    run: str
    """Its id."""
    book: str
    """The playbook's name."""
    hash: str
    """The hash of the playbook as the run was started with it."""
    subject: str
    """What the run is about, like the new agent's name."""
    state: str
    """running, undoing, finished, stopped, rolled-back or aborted; unreadable where this version cannot read it."""
    phase: str
    """The present or last phase."""
    since: str
    """Since when its window counts."""
    window_ends: str | None
    """When its window ends at the earliest; null without one and for a run that is over."""
    extended: bool
    """Whether the window was extended."""
    started: str
    """When the run was started."""
    by: str
    """Who started it."""
    needs: tuple[str, ...]
    """What the present gate still needs, in words."""
    waits_for: tuple[str, ...]
    """The roles that were asked about the present gate and are waited for; empty while it waits for nobody."""
    overrides: int
    """How many checks were overridden in it, ever."""


class FigureView(Shown):
    """One figure of evidence; null is not known, which is not zero."""

    what: str
    """The metric, and what it is held against."""
    estimator: str
    """How it is estimated or tested."""
    n: int | None
    """Of how many values; null where it is not of values."""
    value: float | None
    """What was observed."""
    reference: float | None
    """What it is held against."""
    low: float | None
    """The lower end of the interval of the change relative to the reference; of the value where there is none."""
    high: float | None
    """Its upper end."""
    outcome: str
    """What the test says."""
    source: str
    """The baseline, by the beginning of its id."""


class CriterionView(Shown):
    """One criterion of the present gate."""

    name: str
    """What it is called."""
    phase: str
    """The phase whose it is: the present one's exit, or the next one's entry."""
    check: str
    """The check; empty for a sign-off."""
    signer: str
    """The role that signs; empty for a check."""
    answer: Answer
    """pass, waiting, unclear, broken or fail."""
    says: tuple[str, ...]
    """Why, in sentences."""
    figures: tuple[FigureView, ...]
    """The evidence: values, sizes, intervals, estimators."""
    override: str
    """Whose override it passes by; empty where it is none."""


class OverrideView(Shown):
    """A check that a person let pass without evidence."""

    phase: str
    """In which phase."""
    criterion: str
    """Which one."""
    by: str
    """Who decided."""
    reason: str
    """Why."""
    owner: str
    """Who owns the risk."""
    at: str
    """When."""
    expires: str
    """Until when it holds."""
    expired: bool
    """Whether that has passed: what was accepted then is accepted no more."""


class ExplainView(Shown):
    """Why a run stands where it stands."""

    run: RunView
    """In short."""
    looked: str | None
    """When the engine noted last what it found; null before it did."""
    criteria: tuple[CriterionView, ...]
    """The present gate."""
    asked: tuple[str, ...]
    """What a person was asked in this phase."""
    overrides: tuple[OverrideView, ...]
    """All there ever were."""
    can_tell: tuple[str, ...]
    """What the present window can tell and what not, stated before it began."""


class LineView(Shown):
    """One line of a history."""

    at: str
    """When."""
    what: str
    """What happened."""
    by: str
    """Who did it; empty for the engine."""
    detail: tuple[str, ...]
    """Why, or what was found."""
    id: str
    """The entry's id in the ledger."""


class HistoryView(Shown):
    """What happened in a run."""

    run: RunView
    """In short."""
    lines: tuple[LineView, ...]
    """In order."""
    post_mortem: str
    """The record as a post-mortem, in Markdown."""


class PlaybooksView(Shown):
    """The playbooks that ship, and every run."""

    books: tuple[BookView, ...]
    """By name."""
    runs: tuple[RunView, ...]
    """The latest first."""


def book_view(book: Book) -> BookView:
    return BookView(
        name=book.name,
        title=book.title,
        says=book.says,
        hash=book.hash,
        inputs={one.name: one.says + ("" if one.required else " (may be left out)") for one in book.inputs},
        phases=tuple(
            PhaseView(
                name=one.name,
                title=one.title,
                says=one.says,
                window=hours(one.window) if one.window else "",
                entry=tuple(map(_named, one.entry)),
                exit=tuple(map(_named, one.exit)),
            )
            for one in book.phases
        ),
    )


def _named(one: Criterion) -> str:
    return one.name if one.check else f"{one.name} (signed by {one.signer})"


def gate_of(run: Run, now: Instant) -> tuple[Finding, ...]:
    """What the present gate answers, by the engine's last look and what people decided since."""
    if run.state is not State.RUNNING:
        return run.visit.look.findings if run.visit.look is not None else ()
    looked = run.visit.look.findings if run.visit.look is not None else ()
    # An override is judged anew: it may have expired since.
    return judged(run, (one for one in looked if not one.override), now)


def run_view(run: Run, now: Instant) -> RunView:
    visit, running = run.visit, run.state is State.RUNNING
    needs = [
        f"{one.criterion}: {one.says[0] if one.says else one.answer}"
        for one in gate_of(run, now)
        if one.answer is not Answer.PASS
    ]
    if not visit.ready:
        action = visit.phase.entering[len(visit.acted)].do
        held = [one for one in gate_of(run, now) if one.criterion == FREEZE.name and one.answer is not Answer.PASS]
        needs = [f"{one.criterion}: {says}" for one in held for says in one.says] or [
            f"{action} is not done yet; where it stays so, the log of the admin process says why"
        ]
    return RunView(
        run=run.id,
        book=run.book.name,
        hash=run.started.hash,
        subject=run.subject,
        state=run.state.value,
        phase=visit.phase.name,
        since=show_instant(visit.since),
        window_ends=show_instant(visit.due) if running and visit.phase.window else None,
        extended=bool(visit.extended),
        started=show_instant(run.started.at),
        by=run.started.by,
        needs=tuple(needs) if running else (),
        waits_for=_waits_for(run, now),
        overrides=sum(len(one.overridden) for one in run.visits),
    )


def listed(run: Run | Unreadable, now: Instant) -> RunView:
    """A run as a list has it, whether or not it can be read."""
    if isinstance(run, Run):
        return run_view(run, now)
    started = show_instant(run.at)
    return RunView(
        run=run.id,
        book="",
        hash="",
        subject="",
        state=UNREADABLE,
        phase="",
        since=started,
        window_ends=None,
        extended=False,
        started=started,
        by=run.by,
        needs=(f"{UPGRADE}: {run.problem}",),
        waits_for=(),
        overrides=0,
    )


def _waits_for(run: Run, now: Instant) -> tuple[str, ...]:
    visit = run.visit
    # The end of a freeze is waited for, and that is nobody.
    frozen = (FREEZE.name, Answer.WAITING)
    still = {one.answer for one in gate_of(run, now) if (one.criterion, one.answer) != frozen} - {Answer.PASS}
    if run.state is not State.RUNNING or not visit.asked or not still:
        return ()
    # Within the window what is merely early needs nobody, whatever was asked about before.
    if now < visit.due and not still & {Answer.UNCLEAR, Answer.FAIL}:
        return ()
    return visit.asked[-1].roles or _RUNNERS


def explain_view(run: Run, now: Instant) -> ExplainView:
    visit = run.visit
    by_key = {(phase, one.name): one for phase, one in gate(run)} if visit.phase.next else {}
    return ExplainView(
        run=run_view(run, now),
        looked=show_instant(visit.look.at) if visit.look is not None else None,
        criteria=tuple(
            CriterionView(
                name=one.criterion,
                phase=one.phase,
                check=by_key[one.phase, one.criterion].check,
                signer=by_key[one.phase, one.criterion].signer,
                answer=one.answer,
                says=one.says,
                figures=tuple(map(_figure_view, one.figures)),
                override=one.override,
            )
            for one in gate_of(run, now)
        ),
        asked=tuple(why for one in visit.asked for why in one.why),
        overrides=tuple(
            OverrideView(
                phase=each.phase.name,
                criterion=one.criterion,
                by=one.by,
                reason=one.reason,
                owner=one.owner,
                at=show_instant(one.at),
                expires=show_instant(one.expires),
                expired=one.expires <= now,
            )
            for each in run.visits
            for one in each.overridden
        ),
        can_tell=can_tell(run, visit.phase.name),
    )


def _figure_view(one: Figure) -> FigureView:
    return FigureView(**msgspec.structs.asdict(one))


def history_view(run: Run, records: Sequence[Record], now: Instant, *, looks: bool = False) -> HistoryView:
    return HistoryView(
        run=run_view(run, now),
        lines=tuple(
            LineView(at=show_instant(one.at), what=one.what, by=one.by, detail=one.detail, id=one.id)
            for one in timeline(records, looks=looks)
        ),
        post_mortem=post_mortem(records),
    )
