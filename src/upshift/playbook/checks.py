"""What does each named check answer to the facts that were gathered for it?"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import assert_never

import msgspec

from upshift.evidence.measurement import Kind
from upshift.evidence.metrics import METRICS
from upshift.evidence.regression import Comparison, Outcome, Verdict
from upshift.model.span import show_instant
from upshift.playbook.book import Answer, Value
from upshift.playbook.facts import Facts, Figure, Judgement, Need


class Kinds(StrEnum):
    """What a parameter of a check or an action is."""

    TEXT = "text"
    TEXTS = "a list"
    NUMBER = "a number"
    SHARE = "a share"
    DURATION = "a duration"
    FLAG = "yes or no"
    METRIC = "a metric"
    METRICS = "a list of metrics"


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of a check or an action. `default` None and not required: it is left out."""

    name: str
    kind: Kinds
    says: str
    required: bool = False
    least: float | None = None
    """Of a number."""


Judge = Callable[[Mapping[str, Value], Facts], Judgement]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A named check: pure, of its parameters and what was gathered. What it `needs` is what it is told."""

    name: str
    says: str
    needs: frozenset[Need]
    judge: Judge
    parameters: tuple[Parameter, ...] = ()


def number(parameters: Mapping[str, Value], name: str, otherwise: float) -> float:
    """A parameter that is a number, a share or a duration in microseconds."""
    found = parameters.get(name, otherwise)
    return float(found) if isinstance(found, int | float) else otherwise


def texts(parameters: Mapping[str, Value], name: str) -> tuple[str, ...]:
    """A parameter that is a list, or one text."""
    found = parameters.get(name, ())
    if isinstance(found, tuple):
        return found
    return (str(found),)


def _broken(facts: Facts, what: str) -> Judgement:
    why = facts.trouble or what
    return Judgement(answer=Answer.BROKEN, says=(why,))


def _capacity(parameters: Mapping[str, Value], facts: Facts) -> Judgement:
    found = facts.capacity
    if found is None:
        return _broken(facts, "no measured throughput of the team by its size; start the run with a sheet of it")
    figures = (
        Figure(
            what="gain in throughput",
            estimator="Universal Scalability Law, draws from what is credible",
            n=None,
            value=found.gain,
            low=found.low,
            high=found.high,
            outcome=found.advice if found.probability is None else f"{found.advice}, P {found.probability:.2f}",
        ),
    )
    if found.advice == "add":
        return Judgement(answer=Answer.PASS, says=(found.says,), figures=figures)
    if found.advice == "stop":
        instead = (f"Instead: {found.instead}",) if found.instead else ()
        return Judgement(answer=Answer.FAIL, says=(found.says, *instead), figures=figures)
    return Judgement(answer=Answer.BROKEN, says=(found.says,), figures=figures)


def _contracts(parameters: Mapping[str, Value], facts: Facts) -> Judgement:
    found = facts.contracts
    if found is None:
        return _broken(facts, "nobody knows of any contract")
    if not found:
        return _broken(facts, "no interface is planned; name them when the run is started")
    lacking = [one for one in found if one.lacks]
    if lacking:
        says = tuple(f"{one.interface} lacks {', '.join(one.lacks)}" for one in lacking)
        return Judgement(answer=Answer.WAITING, says=says)
    names = ", ".join(one.interface for one in found)
    return Judgement(answer=Answer.PASS, says=(f"{len(found)} of {len(found)} contracts are complete: {names}",))


def _possible(parameters: Mapping[str, Value], facts: Facts) -> Judgement:
    found = facts.readiness
    if not found:
        return _broken(facts, "nothing was measured")
    figures = tuple(Figure(what=one.metric, estimator="count of values", n=one.n) for one in found)
    lacking = [one for one in found if one.lacks]
    if not lacking:
        least = min(one.n for one in found)
        says = f"{len(found)} metrics have enough steady state for a baseline, at least {least:,} values each"
        return Judgement(answer=Answer.PASS, says=(says,), figures=figures)
    says_lacking = tuple(f"{one.metric}: {'; '.join(one.lacks)}" for one in lacking)
    none = all(one.n == 0 for one in lacking)
    return Judgement(answer=Answer.BROKEN if none else Answer.WAITING, says=says_lacking, figures=figures)


def _frozen(parameters: Mapping[str, Value], facts: Facts) -> Judgement:
    found = facts.baselines
    if not found:
        return _broken(facts, "no baseline is frozen")
    figures = tuple(
        Figure(what=one.metric, estimator="frozen baseline", n=one.n, source=one.id[:16]) for one in found if one.id
    )
    missing = [one.metric for one in found if not one.id]
    invalid = [one for one in found if one.id and one.invalid]
    if missing:
        says = f"no baseline of {', '.join(missing)}"
        return Judgement(answer=Answer.BROKEN, says=(says,), figures=figures)
    if invalid:
        says_invalid = tuple(f"{one.metric}: {'; '.join(one.invalid)}" for one in invalid)
        return Judgement(answer=Answer.UNCLEAR, says=says_invalid, figures=figures)
    listed = ", ".join(f"{one.metric} {one.id[:12]}" for one in found)
    return Judgement(answer=Answer.PASS, says=(f"frozen and valid: {listed}",), figures=figures)


_LONGEST_SILENCE = 1 / 3
"""Of the time since a phase began: where nothing came for longer, traffic stopped, and what was before says nothing."""
_NOTHING_KNOWN = 100.0
"""A change that may be a hundredfold either way is not known at all."""
_WORST = (Outcome.REGRESSED, Outcome.DRIFT, Outcome.INSUFFICIENT, Outcome.UNDECIDED, Outcome.NON_INFERIOR)


def _regression(parameters: Mapping[str, Value], facts: Facts) -> Judgement:
    asked = texts(parameters, "metrics")
    found = facts.verdicts
    if not found:
        return _broken(facts, "there is no verdict: no baseline, or nothing measured")
    missing = [name for name in asked if all(one.metric.name != name for one in found)]
    worst = min(found, key=lambda one: _WORST.index(one.outcome)).outcome
    ordered = sorted(found, key=lambda one: _WORST.index(one.outcome))
    says = tuple(map(_because, ordered))
    figures = tuple(_figure(verdict, one) for verdict in found for one in verdict.comparisons)
    if worst is Outcome.REGRESSED:
        regressed = tuple(_because(one) for one in found if one.outcome is worst)
        return Judgement(answer=Answer.FAIL, says=regressed, figures=figures, lasting=True)
    if missing:
        return Judgement(
            answer=Answer.BROKEN,
            says=(f"no verdict on {', '.join(missing)}: no baseline of it", *says),
            figures=figures,
        )
    match worst:
        case Outcome.DRIFT:
            return Judgement(answer=Answer.UNCLEAR, says=says, figures=figures)
        case Outcome.INSUFFICIENT:
            return Judgement(answer=Answer.BROKEN, says=says, until=facts.until, figures=figures)
        case Outcome.UNDECIDED:
            return Judgement(answer=Answer.WAITING, says=says, until=facts.until, figures=figures)
        case Outcome.NON_INFERIOR:
            return Judgement(answer=Answer.PASS, says=says, figures=figures)
    assert_never(worst)


def _figure(verdict: Verdict, one: Comparison) -> Figure:
    both = one.n > 0 and one.reference_n > 0 and max(abs(one.low), abs(one.high)) < _NOTHING_KNOWN
    return Figure(
        what=f"{verdict.metric.name} against the {one.against}",
        estimator=one.statistic,
        n=one.n,
        value=_six(one.value) if one.n else None,
        reference=_six(one.reference) if one.reference_n else None,
        low=_six(one.low) if both else None,
        high=_six(one.high) if both else None,
        outcome=verdict.outcome,
        source=verdict.baseline[:16],
    )


def _because(one: Verdict) -> str:
    """Why, without figures of what nobody has seen: those would read as zero."""
    unseen = any(not each.n or not each.reference_n for each in one.comparisons)
    said = [why for why in one.because if not (unseen and why.startswith(f"{one.metric.name} "))]
    return f"{one.metric.name} {one.outcome}: {'; '.join(said)}" if said else f"{one.metric.name} {one.outcome}"


def _six(number: float) -> float:
    """Six digits: the last ones depend on the order in which sums were added up, which a restart changes."""
    return float(f"{number:.6g}")


def _measured(parameters: Mapping[str, Value], facts: Facts) -> Judgement:
    name = str(parameters.get("metric", ""))
    found = next((one for one in facts.measurements or () if one.metric == name), None)
    if found is None or found.mean is None:
        return _broken(facts, f"no value of {name}")
    least = int(number(parameters, "values", 50))
    value = found.mean
    if found.kind is Kind.P95 and found.quantiles is not None:
        value = found.quantiles.p95
    width = 1.96 * (found.deviation or 0.0) / found.n**0.5
    figures = (
        Figure(
            what=name,
            estimator="95th percentile" if found.kind is Kind.P95 else "mean, normal interval",
            n=found.n,
            value=value,
            low=None if found.kind is Kind.P95 else value - width,
            high=None if found.kind is Kind.P95 else value + width,
        ),
    )
    said = f"{name} is {value:.4g}{' ' + found.unit if found.unit else ''} over {found.n:,} values"
    if found.n < least:
        return Judgement(answer=Answer.BROKEN, says=(f"{said}, {least:,} are needed",), figures=figures)
    most, at_least = parameters.get("at-most"), parameters.get("at-least")
    if most is None and at_least is None:
        says = f"{said}, and the playbook says neither what it is to be at most nor at least"
        return Judgement(answer=Answer.BROKEN, says=(says,), figures=figures)
    if isinstance(most, int | float) and value > most:
        return Judgement(answer=Answer.FAIL, says=(f"{said}, at most {most:g} is allowed",), figures=figures)
    if isinstance(at_least, int | float) and value < at_least:
        return Judgement(answer=Answer.FAIL, says=(f"{said}, at least {at_least:g} is needed",), figures=figures)
    if found.latest is not None and found.span.end - found.latest > _LONGEST_SILENCE * (found.span.end - facts.since):
        says = f"{said}, and none since {show_instant(found.latest)}: whether it still is so is not known"
        return Judgement(answer=Answer.BROKEN, says=(says,), figures=figures)
    return Judgement(answer=Answer.PASS, says=(said,), figures=figures)


_METRIC_LIST = Parameter(name="metrics", kind=Kinds.METRICS, says="which metrics", required=True)
_SINCE = Parameter(name="since", kind=Kinds.TEXT, says="only from the beginning of this phase on")
_DAYS = Parameter(name="days", kind=Kinds.NUMBER, says="days of steady state that are needed", least=0)
_VALUES = Parameter(name="values", kind=Kinds.NUMBER, says="how many values are needed at least", least=1)

BUILT_IN: tuple[Check, ...] = (
    Check(
        name="capacity-verdict",
        says="the larger team credibly gets more done; else the run ends with what to make better instead",
        needs=frozenset((Need.CAPACITY,)),
        judge=_capacity,
        parameters=(Parameter(name="credibly", kind=Kinds.SHARE, says="how probable a gain has to be"),),
    ),
    Check(
        name="contracts-complete",
        says="every planned interface has a complete contract",
        needs=frozenset((Need.CONTRACTS,)),
        judge=_contracts,
    ),
    Check(
        name="baseline-possible",
        says="there is steady state enough to freeze a baseline of every metric",
        needs=frozenset((Need.READINESS,)),
        judge=_possible,
        parameters=(_METRIC_LIST, _DAYS, _VALUES, _SINCE),
    ),
    Check(
        name="baseline-frozen",
        says="every metric has a frozen baseline that is valid for the present structure",
        needs=frozenset((Need.BASELINES,)),
        judge=_frozen,
        parameters=(_METRIC_LIST,),
    ),
    Check(
        name="no-regression",
        says="no metric is worse than its frozen baseline and the untouched traffic, and each is healthy",
        needs=frozenset((Need.VERDICTS,)),
        judge=_regression,
        parameters=(_METRIC_LIST, Parameter(name="alpha", kind=Kinds.SHARE, says="false alarms over a whole window")),
    ),
    Check(
        name="measured",
        says="a metric's mean over the phase (the 95th percentile of a p95 metric) is within bounds",
        needs=frozenset((Need.MEASUREMENTS,)),
        judge=_measured,
        parameters=(
            Parameter(name="metric", kind=Kinds.METRIC, says="which metric", required=True),
            Parameter(name="at-most", kind=Kinds.NUMBER, says="more than this fails"),
            Parameter(name="at-least", kind=Kinds.NUMBER, says="less than this fails"),
            _VALUES,
        ),
    ),
)

METRIC_NAMES = tuple(one.name for one in METRICS)


class ActionKind(msgspec.Struct, frozen=True, kw_only=True):
    """An action that a book may ask for; the engine knows how to do and undo it."""

    name: str
    says: str
    parameters: tuple[Parameter, ...] = ()
    changes: bool = False
    """Whether it changes what is in force: that waits for the end of a freeze."""


ACTIONS: tuple[ActionKind, ...] = (
    ActionKind(
        name="freeze-baselines",
        says="freeze a baseline of each metric, of what was measured up to now",
        parameters=(_METRIC_LIST, _DAYS, _VALUES, _SINCE),
    ),
    ActionKind(
        name="recalibrate",
        says="freeze new baselines for the larger team, and retire those of the run as no longer valid",
        parameters=(_METRIC_LIST, _DAYS, _VALUES, _SINCE),
    ),
    ActionKind(
        name="activate-interfaces",
        says="activate the first so many of the planned interfaces, or all",
        parameters=(Parameter(name="first", kind=Kinds.NUMBER, says="how many; all unless said", least=0),),
        changes=True,
    ),
    ActionKind(
        name="share-of-traffic",
        says="give the agent this share of the sessions",
        parameters=(Parameter(name="share", kind=Kinds.SHARE, says="from 0% to 100%", required=True),),
        changes=True,
    ),
)
CHANGING = frozenset(one.name for one in ACTIONS if one.changes)
