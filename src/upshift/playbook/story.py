"""How does a run read: its timeline, and the post-mortem that its record makes?"""

from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

import msgspec

from upshift.model.span import Instant
from upshift.playbook.book import Answer, hours
from upshift.playbook.facts import Figure
from upshift.playbook.headline import amount, headline, percent, took, when
from upshift.playbook.run import (
    Aborted,
    Acted,
    Acting,
    Asked,
    Entered,
    Extended,
    Finding,
    Finished,
    Looked,
    Overridden,
    Record,
    RolledBack,
    Run,
    Signed,
    Started,
    State,
    Undone,
    fold,
    name_of,
)

_LONG = 220


class Line(msgspec.Struct, frozen=True):
    """One line of a timeline. `id` is the record's in the ledger."""

    at: Instant
    what: str
    by: str
    detail: tuple[str, ...]
    id: str


def timeline(records: Iterable[Record], *, looks: bool = False) -> tuple[Line, ...]:
    """What happened, in order, once each; looks that led to nothing only where they are asked for."""
    lines = []
    for record in {name_of(one): one for one in records}.values():
        if isinstance(record, Acting) or (isinstance(record, Looked) and not looks):
            continue
        what, by, detail = _line(record)
        lines.append(Line(record.at, what, by, detail, name_of(record)))
    return tuple(lines)


def _line(record: Record) -> tuple[str, str, tuple[str, ...]]:
    match record:
        case Started():
            given = tuple(f"{name}: {_short(value)}" for name, value in sorted(record.inputs.items()) if value)
            return f"started {record.book.title} (book {record.hash[:12]})", record.by, given
        case Entered():
            return f"entered {record.phase}", "", tuple(_answers(record.findings))
        case Looked():
            return "looked", "", tuple(_answers(record.findings))
        case Asked():
            whom = f" of {', '.join(record.roles)}" if record.roles else ""
            return f"asked a person{whom}", "", record.why
        case Extended():
            return f"extended the window by {hours(record.by)}, once", "", record.why
        case Signed():
            return f"signed off {record.criterion} for {record.role}", record.by, (record.note,) if record.note else ()
        case Overridden():
            until = when(record.expires)
            return (
                f"OVERRODE {record.criterion}",
                record.by,
                (f"reason: {record.reason}", f"risk owner: {record.owner}, until {until}"),
            )
        case Acting():
            return f"about to {record.action.do}", "", ()
        case Acted():
            return record.says, "", ()
        case Undone():
            return record.says, "", ()
        case RolledBack():
            return "rolled back", "", record.why
        case Aborted():
            return "aborted", record.by, (record.reason,)
        case Finished():
            return "finished", "", tuple(_answers(record.findings))
    assert_never(record)


def _answers(findings: Iterable[Finding]) -> Iterator[str]:
    for one in findings:
        says = f" - {one.says[0]}" if one.says else ""
        yield f"{one.criterion} {one.answer}{' (overridden)' if one.override else ''}{says}"


def _short(text: str) -> str:
    lines = text.splitlines()
    return f"{len(lines)} lines" if len(lines) > 1 else text


_CAN_TELL = "can-tell/"


def can_tell(run: Run, phase: str) -> tuple[str, ...]:
    """What the window of a phase can tell and what not, as it was stated before it began."""
    found: dict[str, str] = {}
    for visit in run.visits:
        for done in visit.acted:
            found.update({key: says for key, says in done.result.items() if key.startswith(f"{_CAN_TELL}{phase}/")})
    return tuple(found.values())


_ENDS = {
    State.RUNNING: "is still running",
    State.UNDOING: "is being undone",
    State.FINISHED: "finished: every gate opened",
    State.STOPPED: "was stopped before anything was changed",
    State.ROLLED_BACK: "was rolled back",
    State.ABORTED: "was aborted",
}


def post_mortem(records: Sequence[Record]) -> str:
    """The post-mortem in Markdown: nothing in it that is not in the record, and no blame."""
    run = fold(records)
    end = run.ending.at if run.ending is not None else run.latest
    subject = f" {run.subject}" if run.subject else ""
    said = [
        f"# {'Post-mortem' if run.over else 'Report so far'}: {run.book.title}{f' -{subject}' if subject else ''}",
        "",
        f"The run `{run.id}` {_ENDS[run.state]}. It was started by {run.started.by} on {when(run.started.at)} and "
        f"{'took' if run.over else 'has taken'} {took(end - run.started.at)}. Times are UTC.",
        "",
        "## In short",
        "",
        *(f"- {sentence}" for sentence in headline(run, records)),
        "",
        *_why_it_ended(run),
        *_risks(run),
        *_lessons(run),
        *_phases(run, end),
        *_evidence(run),
        *_told_before(run),
        *_people(run),
        "## Timeline",
        "",
    ]
    for line in timeline(records):
        by = f" by {line.by}" if line.by else ""
        said.append(f"- {when(line.at)} {line.what}{by}")
        said += [f"    - {_cut(detail)}" for detail in line.detail[:6]]
    said += [
        "",
        f"Written from the record of `{run.id}`: book {run.started.hash[:16]}, {len(records)} entries of the ledger.",
    ]
    return "\n".join(said) + "\n"


def _why_it_ended(run: Run) -> list[str]:
    match run.ending:
        case RolledBack():
            head = ["## Why it ended", ""]
            return [*head, *(f"- {why}" for why in run.ending.why), ""]
        case Aborted():
            return ["## Why it ended", "", f"- {run.ending.by}: {run.ending.reason}", ""]
        case Finished() | None:
            return []
    assert_never(run.ending)


def _phases(run: Run, end: Instant) -> list[str]:
    rows = ["## Phases", "", "| phase | entered | lasted | window | extended |", "|---|---|---|---|---|"]
    for visit in run.visits[1:]:
        left = end if visit is run.visit else run.visits[visit.step + 1].at
        window = hours(visit.phase.window) if visit.phase.window else "none"
        extended = hours(visit.extended) if visit.extended else "no"
        rows.append(f"| {visit.phase.title} | {when(visit.at)} | {took(left - visit.at)} | {window} | {extended} |")
    never = [phase.title for phase in run.book.phases if all(phase.name != one.phase.name for one in run.visits)]
    if never and run.over:
        rows += ["", f"Never entered: {', '.join(never)}."]
    return [*rows, ""]


def _told_before(run: Run) -> list[str]:
    rows = []
    for visit in run.visits[1:]:
        said = can_tell(run, visit.phase.name)
        if said:
            rows += [f"### {visit.phase.title}", "", *(f"- {one}" for one in said), ""]
    return ["## What the windows could tell, stated before they began", "", *rows] if rows else []


def _evidence(run: Run) -> list[str]:
    """The last evidence of each gate: of those that opened, what opened them; of the last, what was found."""
    gates: list[tuple[str, list[Figure]]] = []
    for name, findings in _openings(run):
        known = [figure for one in findings for figure in one.figures if figure.value is not None or figure.outcome]
        if known:
            gates.append((name, known))
    if not gates:
        return []
    rows = ["## Evidence", "", "Changes are relative to the reference, to the worse; intervals hold at every look.", ""]
    for name, figures in gates:
        rows += [
            f"### {name}",
            "",
            "| what | n | value | reference | interval | estimator |",
            "|---|---|---|---|---|---|",
        ]
        rows += map(_figure, figures)
        rows.append("")
    return rows


def _openings(run: Run) -> Iterator[tuple[str, tuple[Finding, ...]]]:
    for visit in run.visits[1:]:
        if visit.look is not None:
            yield f"Last look in {visit.phase.title}", visit.look.findings
    seen = run.visit.look.findings if run.visit.look is not None else ()
    if isinstance(run.ending, RolledBack) and run.ending.findings != seen:
        yield "What it was rolled back for", run.ending.findings


def _figure(one: Figure) -> str:
    value = amount(one, one.value)
    reference = "-" if one.reference is None else amount(one, one.reference)
    if one.low is None or one.high is None:
        interval = "-"
    elif one.reference is None:
        interval = f"{one.low:.4g} to {one.high:.4g}"
    else:
        interval = f"{percent(one.low)} to {percent(one.high)}"
    outcome = f" ({one.outcome})" if one.outcome else ""
    size = "-" if one.n is None else f"{one.n}"
    return f"| {one.what}{outcome} | {size} | {value} | {reference} | {interval} | {one.estimator} |"


def _people(run: Run) -> list[str]:
    lines = [
        f"- {signed.by} signed {signed.criterion} off for {signed.role} on {when(signed.at)}"
        + (f": {signed.note}" if signed.note else "")
        for visit in run.visits
        for signed in visit.signed
    ]
    for visit in run.visits:
        for one in visit.asked:
            whom = " or ".join(one.roles) or "whoever runs it"
            answers = [signed.at for signed in visit.signed if signed.at >= one.at and signed.role in one.roles]
            answer = f", who answered after {took(min(answers) - one.at)}" if answers else ""
            lines.append(f"- Asked on {when(one.at)}: {whom}{answer}")
    return ["## People", "", *lines, ""] if lines else []


def _risks(run: Run) -> list[str]:
    lines = [
        f"- **{one.criterion}** in {visit.phase.title}: {one.by} let it pass without evidence on {when(one.at)}: "
        f"{one.reason}. The risk is {one.owner}'s, until {when(one.expires)}."
        for visit in run.visits
        for one in visit.overridden
    ]
    return ["## Overrides and their risks", "", *lines, ""] if lines else []


def _lessons(run: Run) -> list[str]:
    """What the record shows to have gone otherwise than planned."""
    lines = []
    for visit in run.visits:
        where = visit.phase.title
        if visit.extended:
            lines.append(
                f"- {where} was undecided at the end of its window: plan more traffic or a longer window next time."
            )
        lines += [
            f"- {where} needed a person: {_sentence(_cut(one.why[0]))}"
            for one in visit.asked
            if one.why and not one.roles
        ]
        if visit.look is not None:
            broken = [one.criterion for one in visit.look.findings if one.answer is Answer.BROKEN]
            if broken:
                lines.append(
                    f"- {where}: no data for {', '.join(broken)} at the last look; mend the measurement first."
                )
    if isinstance(run.ending, RolledBack) and run.state is State.ROLLED_BACK:
        if isinstance(run.ending, RolledBack) and run.visit.phase.window:
            left = run.visit.due - run.ending.at
            lines.append(f"- The watch ended it {took(left)} before the window of {run.visit.phase.title} was over.")
        lines.append("- Mend what is worse, then start the playbook anew.")
    return ["## What to learn", "", *lines, ""] if lines else []


def _sentence(text: str) -> str:
    return text if text.endswith((".", "…")) else f"{text}."


def _cut(text: str) -> str:
    """The first part of a long sentence: the whole is in the record."""
    return text if len(text) <= _LONG else text[:_LONG].rpartition(" ")[0].rstrip(" .,;:") + " …"
