"""What is a run in a few sentences: how it ended, how sure that is, what it touched, and for how long?"""

from collections.abc import Iterator, Sequence
from typing import assert_never

from upshift.evidence.measurement import Worse
from upshift.evidence.metrics import METRICS
from upshift.evidence.regression import Outcome
from upshift.model.span import Instant, to_datetime
from upshift.playbook.book import Answer
from upshift.playbook.facts import Figure
from upshift.playbook.run import Aborted, Finding, Finished, Record, RolledBack, Run, State, Undone, Visit

_AGAINST = " against the "
_UNITS = {one.name: one.unit for one in METRICS}
_DOWN = frozenset(one.name for one in METRICS if one.worse is Worse.DOWN)


def headline(run: Run, records: Sequence[Record]) -> list[str]:
    """Sentences of Markdown, the most important first."""
    match run.ending:
        case None:
            return [*_standing(run), *_exposed(run, run.latest)]
        case Finished():
            return [*_overrides(run), *_healthy(run), *_in_force(run)]
        case RolledBack():
            return [*_found(run, run.ending), *_undone(run, records), *_exposed(run, run.ending.at)]
        case Aborted():
            return [*_undone(run, records), *_exposed(run, run.ending.at)]
    assert_never(run.ending)


def _standing(run: Run) -> Iterator[str]:
    visit = run.visit
    open_ = [one for one in (visit.look.findings if visit.look is not None else ()) if one.answer is not Answer.PASS]
    yield f"It is in the phase {visit.phase.title} since {when(visit.since)}, and is not over."
    for one in open_:
        yield f"The gate waits for **{one.criterion}**, which is {one.answer}."


def _overrides(run: Run) -> Iterator[str]:
    count = sum(len(visit.overridden) for visit in run.visits)
    if count:
        times = "once" if count == 1 else f"{count} times"
        yield f"**A person opened a gate without evidence {times}**: see the risks below."
    else:
        yield "Every gate opened on evidence and signatures; nobody overrode anything."


def _healthy(run: Run) -> Iterator[str]:
    for visit in reversed(run.visits):
        healthy = [one for one in figures_of(visit) if one.outcome == Outcome.NON_INFERIOR and _AGAINST in one.what]
        if healthy:
            said = "; ".join(change(one) for one in healthy if one.what.endswith("snapshot"))
            yield f"Healthy at the end of {visit.phase.title}: {said}."
            return


def _found(run: Run, ending: RolledBack) -> Iterator[str]:
    wrong = [figure for one in ending.findings if one.answer is Answer.FAIL for figure in one.figures]
    for one in wrong:
        if one.outcome == Outcome.REGRESSED:
            of = "" if one.n is None else f", of {one.n:,} values"
            yield f"**Regressed**: {change(one)}{of}."
    visit = run.visit
    if visit.acting:
        yield f"It was found {took(ending.at - visit.since)} after what {visit.phase.title} changes was in force."


def _undone(run: Run, records: Sequence[Record]) -> Iterator[str]:
    undone = [one.at for one in records if isinstance(one, Undone)]
    if run.state is State.UNDOING:
        yield "It is being undone."
    elif undone and run.ending is not None:
        later = took(max(undone) - run.ending.at)
        yield f"Everything that it had changed was undone {f'within {later}' if later != '0 min' else 'at once'}."
    elif not undone:
        yield "Nothing had been changed, so that nothing had to be undone."


def _exposed(run: Run, end: Instant) -> Iterator[str]:
    for visit in run.visits:
        begun = [one for one in visit.acted if visit.phase.window]
        if begun:
            until = end if visit is run.visit else run.visits[visit.step + 1].at
            yield f"In force for {took(until - visit.since)}: {'; '.join(one.says for one in begun)}."


def _in_force(run: Run) -> Iterator[str]:
    latest = {
        acting.action.do: done.says
        for visit in run.visits
        for acting, done in zip(visit.acting, visit.acted, strict=False)
    }
    said = [says for do, says in latest.items() if do in ("share-of-traffic", "activate-interfaces")]
    if said:
        yield f"In force now: {'; '.join(said)}."


def figures_of(visit: Visit) -> tuple[Figure, ...]:
    """The figures of a phase's last look."""
    found: tuple[Finding, ...] = visit.look.findings if visit.look is not None else ()
    return tuple(figure for one in found for figure in one.figures)


def change(one: Figure) -> str:
    """What became of a metric, in words and with its interval."""
    name, _, against = one.what.partition(_AGAINST)
    value, reference = amount(one, one.value), amount(one, one.reference)
    if not one.value or not one.reference:
        return f"{name} is {value}, and was {reference}"
    by = one.value / one.reference - 1
    worse = -by if name in _DOWN else by
    than = f"{abs(worse):.1%} {'worse' if worse > 0 else 'better'} than the {against}'s {reference}"
    if one.low is None or one.high is None:
        return f"{name} {value}, {than}"
    return f"{name} {value}, {than} ({percent(one.low)} to {percent(one.high)} to the worse)"


def amount(one: Figure, value: float | None) -> str:
    """A value of a figure with its unit; what nobody knows is not zero."""
    if value is None:
        return "not known"
    unit = _UNITS.get(one.what.partition(_AGAINST)[0], "")
    return f"${value:.4g}" if unit == "$" else f"{value:.4g} {unit}".rstrip()


def percent(change: float) -> str:
    """A relative change. No amount falls by more than all of it, however wide an interval is."""
    return f"{max(change, -1.0):+.1%}"


def when(at: Instant) -> str:
    """A time, to the minute."""
    return f"{to_datetime(at):%Y-%m-%d %H:%M}"


def took(micros: int) -> str:
    """How long something took, to the minute."""
    minutes = micros // 60_000_000
    days, rest = divmod(minutes, 24 * 60)
    if days:
        return f"{days} d {rest // 60} h"
    return f"{rest // 60} h {rest % 60} min" if rest >= 60 else f"{rest} min"
