"""What do the checks of a run have to know, and what do they answer to it?"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec
import numpy as np

from upshift.evidence.baseline import Baseline, Needs, Retired, Structure, lacking, still_valid
from upshift.evidence.measurement import Measurement, Observations, Scope, Span, measure, read_scope
from upshift.evidence.metrics import Recorded, metric, observe, select, session_of
from upshift.evidence.pattern import HOUR
from upshift.evidence.regression import Verdict, Watch, look
from upshift.evidence.tally import Tally, empty, push
from upshift.evidence.weigh import Rules
from upshift.model.feedback import Escalation, Feedback, Operation, TaskEnded
from upshift.model.metered import Metered
from upshift.model.span import MICROS, Instant
from upshift.planning.days import Calendar, closed_at
from upshift.planning.measurements import read_measured
from upshift.planning.next_agent import CREDIBLY, Advice, advise
from upshift.planning.team import study
from upshift.planning.usl import Shape
from upshift.playbook.advance import FREEZE, changing, criteria
from upshift.playbook.book import Answer, Criterion, Value
from upshift.playbook.checks import Check, number, texts
from upshift.playbook.facts import Capacity, ContractState, Facts, Frozen, Judgement, Need, Readiness
from upshift.playbook.run import Finding, Run
from upshift.playbook.standing import Standing
from upshift.traffic.staged import takes_part

QUARTER = HOUR // 4
SETTLING = 5 * 60 * MICROS
"""A call that began so long ago is recorded, or was given up."""
_BEFORE = 6 * HOUR
"""How long before its end a task may have begun: so far back its calls are looked for."""
_OF_TASKS = frozenset(("tokens-per-task", "cost-per-task", "escalation-rate", "reported-tokens-per-task"))
_ANEW = 24 * HOUR
"""After every day of a phase the sums are made anew, with what was reported late; so they are when a window ends."""
_DAYS, _VALUES = 14.0, 200

_judgement = msgspec.json.Decoder(Judgement).decode

Split: TypeAlias = Callable[[str], bool]


class Sources(Protocol):
    """Where what was recorded comes from."""

    def calls(self, span: Span) -> Sequence[Metered]:
        """Calls that started in a span."""

    def feedback(self, span: Span) -> Sequence[Feedback]:
        """What was reported in a span."""

    def contracts(self, interfaces: Sequence[str]) -> tuple[ContractState, ...] | None:
        """The contracts of planned interfaces; None where contracts are not known of at all."""

    def terms(self, interface: str) -> dict[str, str | int | bool | None]:
        """Between whom an interface is and the major version of its contract, as its activation states it."""

    def standing(self) -> Standing: ...

    def structure(self) -> Structure:
        """Who takes part at present, over which interfaces, under which plan."""

    def baseline(self, id_: str) -> Baseline | None: ...

    def retired(self) -> tuple[Retired, ...]: ...

    def calendar(self) -> Calendar:
        """On which days things may change. Raises ValueError where that cannot be read."""

    def zone(self, scope: Scope) -> str:
        """The time zone whose clocks the people of a scope live by."""


def settled(now: Instant) -> Instant:
    """Up to when everything is recorded: the end of a quarter of an hour, so that looks add up to the same."""
    return (now - SETTLING) // QUARTER * QUARTER


def scope_of(run: Run) -> Scope:
    """Whose figures a run watches. Raises ValueError for a text that names nobody."""
    return read_scope(run.started.inputs.get("scope", "system"))


def planned_interfaces(run: Run) -> tuple[str, ...]:
    """The interfaces that a run was started with, in their order."""
    given = run.started.inputs.get("interfaces", "")
    return tuple(dict.fromkeys(part.strip() for part in given.split(",") if part.strip()))


class _Seen(msgspec.Struct, frozen=True):
    until: Instant
    share: float | None
    stage: Tally
    control: Tally | None


class Gatherer:
    """Looks at the recorded, and keeps sums between looks. A new one comes to the same answers."""

    def __init__(self, sources: Sources, checks: Mapping[str, Check]) -> None:
        self.sources = sources
        self._checks = checks
        self._sums: dict[tuple[str, int, str], _Seen] = {}
        self._capacity: dict[tuple[str, float], Capacity] = {}
        self._observed: dict[tuple[str, tuple[str, ...]], tuple[Span, dict[str, Observations]]] = {}

    def findings(self, run: Run, now: Instant) -> tuple[Finding, ...]:
        """The answer of every check of the present gate, and of a freeze that keeps it shut."""
        found = (self._finding(run, phase, one, now) for phase, one in criteria(run.book, run.visit) if one.check)
        return (*found, *self.freeze(run, now))

    def freeze(self, run: Run, now: Instant) -> tuple[Finding, ...]:
        """What the plan's calendar says against changing what is in force when the window of a run ends; or now, where
        that has passed. Nothing where nothing does.
        """
        phase = changing(run)
        if phase is None:
            return ()
        try:
            shut = closed_at(self.sources.calendar(), max(now, run.visit.due) if run.visit.ready else now)
        except ValueError as error:
            return (Finding(phase=phase.name, criterion=FREEZE.name, answer=Answer.BROKEN, says=(str(error),)),)
        if shut is None:
            return ()
        until = "it says of no later day that anything may" if shut.opens is None else f"it waits until {shut.opens}"
        says = f"{'; '.join(shut.why)}; {phase.name} would change what is in force: {until}"
        return (
            Finding(phase=phase.name, criterion=FREEZE.name, answer=Answer.WAITING, says=(says,), until=shut.until),
        )

    def forget(self, run: str) -> None:
        """Drop what was kept of a run that is over."""
        self._sums = {key: kept for key, kept in self._sums.items() if key[0] != run}
        self._capacity = {key: kept for key, kept in self._capacity.items() if key[0] != run}
        self._observed = {key: kept for key, kept in self._observed.items() if key[0] != run}

    def _finding(self, run: Run, phase: str, criterion: Criterion, now: Instant) -> Finding:
        check = self._checks.get(criterion.check)
        if check is None:
            says = f"the check {criterion.check} is not installed here; install what brings it"
            judgement = Judgement(answer=Answer.BROKEN, says=(says,))
        else:
            judgement = self._judge(check, run, criterion, now)
        return Finding(
            phase=phase,
            criterion=criterion.name,
            answer=judgement.answer,
            says=judgement.says,
            until=judgement.until,
            figures=judgement.figures,
            lasting=judgement.lasting and judgement.answer is Answer.FAIL,
        )

    def _judge(self, check: Check, run: Run, criterion: Criterion, now: Instant) -> Judgement:
        try:
            found = check.judge(criterion.parameters, self.facts(run, check.needs, criterion.parameters, now))
            # Read again as it will be kept: what cannot be read back would be in the record for ever.
            return _judgement(msgspec.json.encode(found))
        except Exception as error:  # noqa: BLE001 - a check may be anybody's, and one that breaks is no pass
            return Judgement(answer=Answer.BROKEN, says=(f"the check {check.name} broke: {error!r}",))

    def facts(self, run: Run, needs: frozenset[Need], parameters: Mapping[str, Value], now: Instant) -> Facts:
        """What a check needs of a run."""
        names = texts(parameters, "metrics") or texts(parameters, "metric")
        facts = Facts(at=now, since=run.visit.since, until=run.visit.due)
        try:
            return msgspec.structs.replace(
                facts,
                capacity=self._advice(run, number(parameters, "credibly", CREDIBLY))
                if Need.CAPACITY in needs
                else None,
                contracts=self.sources.contracts(planned_interfaces(run)) if Need.CONTRACTS in needs else None,
                readiness=self._readiness(run, names, parameters, now) if Need.READINESS in needs else None,
                baselines=self._baselines(run, names) if Need.BASELINES in needs else None,
                verdicts=self._verdicts(run, names, parameters, now) if Need.VERDICTS in needs else None,
                measurements=self._measurements(run, names, now) if Need.MEASUREMENTS in needs else None,
            )
        except ValueError as error:
            return msgspec.structs.replace(facts, trouble=str(error))

    # phase 1 ------------------------------------------------------------------------------------------------------

    def _advice(self, run: Run, credibly: float) -> Capacity | None:
        key = (run.id, credibly)
        if key not in self._capacity:
            sheet, team = run.started.inputs.get("measurements", ""), run.started.inputs.get("team", "")
            if not sheet or not team:
                return None
            if not team.isdigit():
                raise ValueError(f"the team has {team!r} agents; say a whole number when the run is started")
            # The same run always draws the same, whoever asks and how often.
            draws = np.random.default_rng(int.from_bytes(hashlib.sha256(run.id.encode()).digest()[:8], "big"))
            now = int(team)
            verdict = advise(study(read_measured(sheet), Shape.MESH, draws), now, now + 1, credibly)
            step = verdict.path[0] if verdict.path else None
            self._capacity[key] = Capacity(
                advice=Advice(verdict.advice).value,
                says=verdict.says,
                instead=verdict.instead,
                gain=None if step is None else step.gain.mid,
                low=None if step is None else step.gain.low,
                high=None if step is None else step.gain.high,
                probability=None if step is None else step.p_gain,
            )
        return self._capacity[key]

    # baselines ----------------------------------------------------------------------------------------------------

    def steady(self, run: Run, parameters: Mapping[str, Value], now: Instant) -> tuple[Span, Needs]:
        """The span that a baseline is taken of, and what it takes."""
        days = number(parameters, "days", _DAYS)
        needs = Needs(days=days, values=int(number(parameters, "values", _VALUES)))
        end = settled(now)
        since = parameters.get("since")
        if isinstance(since, str):
            begun = next((one.since for one in reversed(run.visits) if one.phase.name == since), None)
            if begun is None:
                raise ValueError(f"the phase {since} has not begun")
            return Span(min(begun, end), end), needs
        return Span(end - int(days * 24 * HOUR), end), needs

    def observed(self, run: Run, names: Sequence[str], span: Span) -> dict[str, Observations]:
        """What was observed of metrics, by name, in the scope of a run."""
        scope, around, key = scope_of(run), Span(span.start - _BEFORE, span.end), (run.id, tuple(names))
        kept = self._observed.get(key)
        if kept is not None and kept[0] == span:
            # Every look within a quarter of an hour is at the same, and the action that follows freezes it.
            return kept[1]
        narrow, wide = _sides(scope, span, self.sources.calls(around), self.sources.feedback(around), None)
        found = {name: observe(metric(name), wide if name in _OF_TASKS else narrow) for name in names}
        self._observed[key] = (span, found)
        return found

    def _readiness(
        self, run: Run, names: Sequence[str], parameters: Mapping[str, Value], now: Instant
    ) -> tuple[Readiness, ...]:
        span, needs = self.steady(run, parameters, now)
        if span.hours < needs.days * 24 * 0.99:
            # Too early whatever there is: it need not be read.
            says = f"{span.hours / 24:.1f} days since {parameters.get('since')} where {needs.days:g} are needed"
            return tuple(Readiness(name, 1, (says,)) for name in names)
        found = self.observed(run, names, span)
        return tuple(
            Readiness(name, len(seen), tuple(one.says for one in lacking(seen, needs))) for name, seen in found.items()
        )

    def _baselines(self, run: Run, names: Sequence[str]) -> tuple[Frozen, ...]:
        structure, retired = self.sources.structure(), self.sources.retired()
        found = []
        for name in names:
            baseline = self._baseline(run, name)
            if baseline is None:
                found.append(Frozen(name))
            else:
                invalid = still_valid(baseline, structure, retired)
                found.append(Frozen(name, baseline.id, baseline.n, invalid))
        return tuple(found)

    def _baseline(self, run: Run, name: str) -> Baseline | None:
        id_ = run.result(f"baseline/{name}")
        return self.sources.baseline(id_) if id_ else None

    # what a stage shows -------------------------------------------------------------------------------------------

    def _verdicts(
        self, run: Run, names: Sequence[str], parameters: Mapping[str, Value], now: Instant
    ) -> tuple[Verdict, ...]:
        alpha = number(parameters, "alpha", 0.05)
        end = settled(now)
        if end <= run.visit.since:
            return ()
        pairs = [(name, baseline) for name in names if (baseline := self._baseline(run, name)) is not None]
        if not pairs:
            return ()
        rules = Rules(alpha=alpha, metrics=len(names))
        sums = self._summed(run, pairs, end)
        verdicts = []
        for name, baseline in pairs:
            seen = sums[name]
            watch = Watch(
                start=run.visit.since,
                stage=seen.stage,
                control=seen.control,
                share=1.0 if seen.share is None else seen.share,
            )
            verdicts.append(look(baseline, watch, end, rules)[1])
        return tuple(verdicts)

    def _summed(self, run: Run, pairs: Sequence[tuple[str, Baseline]], end: Instant) -> dict[str, _Seen]:
        agent, step, scope = run.subject, run.visit.step, scope_of(run)
        share = self.sources.standing().share(agent)
        share = share if share is not None and share < 1 else None
        found = {}
        missing = {}
        for name, baseline in pairs:
            kept = self._sums.get((run.id, step, name))
            since = run.visit.since
            stale = kept is None or kept.until > end or (kept.until - since) // _ANEW != (end - since) // _ANEW
            if kept is None or stale or kept.share != share or kept.stage.baseline != baseline.id:
                control = None if share is None else empty(baseline)
                kept = _Seen(run.visit.since, share, empty(baseline), control)
            found[name] = kept
            if kept.until < end:
                missing[name] = baseline
        for begin in {found[name].until for name in missing}:
            late = {name: one for name, one in missing.items() if found[name].until == begin}
            self._add(found, late, scope, Span(begin, end), agent)
        for name, seen in found.items():
            self._sums[run.id, step, name] = seen
        return found

    def _add(self, found: dict[str, _Seen], late: Mapping[str, Baseline], scope: Scope, span: Span, agent: str) -> None:
        calls = self.sources.calls(Span(span.start - _BEFORE, span.end))
        feedback = self.sources.feedback(Span(span.start - _BEFORE, span.end))
        by_share: dict[tuple[float | None, bool], tuple[Recorded, Recorded]] = {}
        for name, baseline in late.items():
            kept = found[name]
            sides = []
            for mine in (True, False):
                key = (kept.share, mine)
                if key not in by_share:
                    by_share[key] = _sides(scope, span, calls, feedback, _split(agent, kept.share, mine))
                narrow, wide = by_share[key]
                sides.append(observe(baseline.metric, wide if name in _OF_TASKS else narrow))
                if kept.share is None:
                    break
            control = kept.control
            if control is not None and len(sides) > 1:
                control = push(baseline, control, sides[1])
            found[name] = _Seen(span.end, kept.share, push(baseline, kept.stage, sides[0]), control)

    def _measurements(self, run: Run, names: Sequence[str], now: Instant) -> tuple[Measurement, ...]:
        span = Span(run.visit.since, max(settled(now), run.visit.since))
        scope = scope_of(run)
        found = self.observed(run, names, span)
        return tuple(measure(metric(name), scope, span, seen) for name, seen in found.items())


def _split(agent: str, share: float | None, mine: bool) -> Split | None:
    if share is None:
        return None
    return lambda session: takes_part(session, agent, share) is mine


def _sides(
    scope: Scope, span: Span, calls: Sequence[Metered], feedback: Sequence[Feedback], split: Split | None
) -> tuple[Recorded, Recorded]:
    """What concerns a scope, a span and one side; and the same of the tasks that ended in it, with all their calls and
    escalations, also from before the span.
    """
    own = split or _everybody
    inside = [one for one in calls if one.started >= span.start and own(one.session)]
    told = [one for one in feedback if one.at >= span.start and own(one.origin.session)]
    narrow = select(scope, span, inside, told)
    sessions = {session_of(one.origin) for one in told if isinstance(one, TaskEnded)}
    around = select(
        scope,
        Span(span.start - _BEFORE, span.end),
        [one for one in calls if session_of(one) in sessions],
        [one for one in feedback if isinstance(one, Escalation | Operation) and session_of(one.origin) in sessions],
    )
    tasks = tuple(one for one in narrow.feedback if isinstance(one, TaskEnded))
    return narrow, Recorded(scope, span, around.calls, (*around.feedback, *tasks))


def _everybody(session: str) -> bool:
    return True
