"""Should the team grow, up to what size, and if not, what should be made better instead?"""

from enum import Enum

import msgspec
import numpy as np

from upshift.planning.team import Interval, Study, at, interval, what_to_measure
from upshift.planning.usl import Array, Law, interfaces

CREDIBLY = 0.9
"""A gain is credible at this probability. Not 0.95: an agent is added in stages and can be taken back."""

LARGEST = 1_000
"""The largest target; beyond it agents are teams of teams, and this law is not theirs."""


class Advice(Enum):
    """What to do about the size of a team."""

    ADD = "add"
    STOP = "stop"
    MEASURE = "measure"
    """Not enough is known to say either."""


class Step(msgspec.Struct, frozen=True):
    """A size on the way: what it gets done, and how much more than the team of today and than the step before."""

    agents: int
    throughput: Interval
    gain: Interval
    p_gain: float
    """How probable it is that it gets more done than the team of today."""
    marginal: Interval
    p_none: float
    """How probable it is that this step brings nothing, or less."""


class Verdict(msgspec.Struct, frozen=True):
    """What to do, with every size that was looked at."""

    advice: Advice
    now: int
    target: int
    best: int
    """The size to have: `now` for a stop."""
    known_to: int
    """The largest size of which anything can be said; it may be below the target."""
    fitted: bool
    """From the law; else from sizes that were all measured."""
    extrapolated: bool
    """Sizes beyond those measured were judged by the law."""
    path: tuple[Step, ...]
    says: str
    instead: str


def advise(found: Study, now: int, target: int, credibly: float = CREDIBLY) -> Verdict:
    """The smallest size that credibly gets more done than `now` and that no larger one up to `target` credibly beats.

    It looks over all sizes: where the second agent costs and the fourth pays, asking only whether the next one pays
    would stop at one. Raises ValueError where the target is not above `now`.
    """
    if not 1 <= now < target <= LARGEST:
        raise ValueError(
            f"{now} agents now and a target of {target}: the target is above the team of today, at most {LARGEST:,}"
        )
    sizes, fitted = _sizes(found, now, min(target, found.reach))
    end = sizes[-1]
    if found.seen is None or end == now:
        says = f"Not enough sizes measured to say what {target} agents would get done: {what_to_measure(found)}."
        return Verdict(Advice.MEASURE, now, target, now, now, fitted, False, (), says, "")
    drawn = at(found, sizes, fitted=fitted)
    path = _path(sizes, drawn)
    best = sizes[_best(drawn, credibly)]
    advice = Advice.STOP if best == now else Advice.ADD
    made = Verdict(advice, now, target, best, end, fitted, end > found.largest, path, "", "")
    instead = _instead(found.law if found.fits else None, now) if advice is Advice.STOP else ""
    return msgspec.structs.replace(made, says=_says(made, found.largest), instead=instead)


def _sizes(found: Study, now: int, end: int) -> tuple[list[int], bool]:
    """The sizes to look at, and whether the law speaks for them; only `now` where nothing does.

    As measured if all were measured; else from the law, unless what was measured contradicts it.
    """
    measured = {int(size) for size in found.agents}
    every = range(now, end + 1)
    if found.fits and not measured.issuperset(every):
        return [now, *every[1:]], True
    return [now, *(size for size in every[1:] if size in measured and now in measured)], False


def _path(sizes: list[int], drawn: Array) -> tuple[Step, ...]:
    steps: list[Step] = []
    for column in range(1, len(sizes)):
        gain = drawn[:, column] - drawn[:, 0]
        last = drawn[:, column] - drawn[:, column - 1]
        steps.append(
            Step(
                sizes[column],
                interval(drawn[:, column]),
                interval(gain),
                float(np.mean(gain > 0)),
                interval(last),
                float(np.mean(last <= 0)),
            )
        )
    return tuple(steps)


def _best(drawn: Array, credibly: float) -> int:
    """The column of the size to have."""
    better = [0, *(1 + np.flatnonzero(_beats(drawn[:, 1:], drawn[:, :1]) >= credibly))]
    for place, column in enumerate(better):
        if not np.any(_beats(drawn[:, better[place + 1 :]], drawn[:, [column]]) >= credibly):
            return int(column)
    return 0


def _beats(larger: Array, smaller: Array) -> Array:
    """How probable it is that each larger team gets more done."""
    share: Array = np.mean(larger > smaller, axis=0)
    return share


def _says(verdict: Verdict, largest: int) -> str:
    beyond = f" Of more than {verdict.known_to} agents nothing is known." if verdict.known_to < verdict.target else ""
    if verdict.advice is Advice.STOP:
        following = verdict.path[0]
        furthest = max(verdict.path, key=lambda step: step.p_gain)
        looked = (
            f"and no size up to {verdict.known_to} credibly gets more done"
            f" (most probable: {furthest.agents}, {furthest.p_gain:.0%})"
            if len(verdict.path) > 1
            else "and its gain is not credible"
        )
        return (
            f"Stop at {verdict.now}: {_nothing(verdict.now, following)} with a probability of"
            f" {following.p_none:.0%}, {looked}.{_trust(verdict, largest)}{beyond}"
        )
    step = next(step for step in verdict.path if step.agents == verdict.best)
    before = step.throughput.mid - step.gain.mid
    said = (
        f"Grow to {verdict.best}: {step.gain.mid / before:+.0%} on {verdict.now}"
        f" ({step.gain.low / before:+.0%} to {step.gain.high / before:+.0%}),"
        f" more with a probability of {step.p_gain:.0%}."
    )
    passed = [each.agents for each in verdict.path if each.agents < verdict.best and each.p_gain < 0.5]
    if passed:
        said += f" On the way, {' and '.join(map(str, passed))} agents get less done than {verdict.now}."
    if verdict.best < verdict.known_to:
        said += f" No larger team up to {verdict.known_to} credibly gets more done than {verdict.best}."
    return said + _trust(verdict, largest) + beyond


def _nothing(now: int, step: Step) -> str:
    if step.agents == now + 1:
        return f"agent {step.agents} brings nothing"
    return f"going to {step.agents} agents brings nothing"


def _trust(verdict: Verdict, largest: int) -> str:
    if verdict.known_to <= largest:
        return ""
    return f" Only up to {largest} agents were measured: beyond them this is the law's word; add agents one at a time."


def _instead(law: Law | None, agents: int) -> str:
    """Which of the two costs to halve: contention, or interfaces; whichever gives more."""
    if law is None or agents == 1:
        return (
            "Make the agents there are faster or their work more independent; a team cannot gain from less coordination"
            " before it knows what coordination costs."
        )
    today = law.throughput(agents)
    less_queueing = msgspec.structs.replace(law, alpha=law.alpha / 2).throughput(agents) / today - 1
    fewer_talks = msgspec.structs.replace(law, beta=law.beta / 2).throughput(agents) / today - 1
    if max(less_queueing, fewer_talks) < 0.01:
        return "Neither contention nor interfaces cost this team 1 %: make the agents there are faster."
    if fewer_talks > less_queueing:
        active = float(interfaces(law.topology, np.array([float(agents)]))[0])
        return (
            f"Retire interfaces: half of the {active:g} among {agents} agents would bring {fewer_talks:+.0%};"
            f" halving what they queue for, {less_queueing:+.0%}."
        )
    return (
        f"Relieve what the agents queue for (reviews, shared files, rate limits): halving it would bring"
        f" {less_queueing:+.0%}; halving their interfaces, {fewer_talks:+.0%}."
    )
