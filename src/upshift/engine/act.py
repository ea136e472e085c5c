"""How are the actions of a playbook done, once, and undone?"""

from collections.abc import Mapping
from typing import Protocol, TypeAlias

import msgspec

from upshift.engine.gather import Gatherer, planned_interfaces, scope_of
from upshift.evidence.baseline import Baseline, freeze, recalibrate
from upshift.evidence.detectable import detectable
from upshift.evidence.metrics import metric
from upshift.evidence.pattern import HOUR
from upshift.evidence.weigh import Rules
from upshift.model.entry import Decision
from upshift.model.span import Instant
from upshift.playbook.book import Action
from upshift.playbook.checks import number, texts
from upshift.playbook.run import ENGINE, Run
from upshift.playbook.standing import ACTIVATED, DEACTIVATED, SHARED
from upshift.store.journal import Journal

FROZEN, RETIRED, REINSTATED = "baseline-frozen", "baseline-retired", "baseline-reinstated"
_BASELINE = "baseline/"


class Done(msgspec.Struct, frozen=True):
    """An action is done; `result` is what later checks and actions look for."""

    says: str
    result: dict[str, str] = {}


class NotYet(msgspec.Struct, frozen=True):
    """An action cannot be done now; it is tried again."""

    why: str


Outcome: TypeAlias = Done | NotYet


class Acts(Protocol):
    """What a playbook can do. Doing or undoing one twice under the same id changes nothing the second time."""

    def before(self, action: Action, run: Run) -> dict[str, str]:
        """What an action will change, as it is now."""

    def do(self, id_: str, action: Action, run: Run, at: Instant) -> Outcome:
        """Do it. `at` is when it was begun, the same at every try."""

    def undo(self, id_: str, action: Action, before: Mapping[str, str], run: Run, at: Instant) -> str:
        """Make it as it was before; what was done, in words."""


class JournalActs:
    """Actions that are decisions in the journal, which gateways and reports read."""

    def __init__(self, journal: Journal, gatherer: Gatherer) -> None:
        self._journal = journal
        self._gatherer = gatherer

    def before(self, action: Action, run: Run) -> dict[str, str]:
        standing = self._gatherer.sources.standing()
        match action.do:
            case "activate-interfaces":
                return {name: "active" if name in standing.interfaces else "" for name in _first(action, run)}
            case "share-of-traffic":
                share = standing.share(run.subject)
                return {"share": "" if share is None else repr(share)}
            case "recalibrate":
                return {name: run.result(_BASELINE + name) for name in texts(action.parameters, "metrics")}
            case _:
                return {}

    def do(self, id_: str, action: Action, run: Run, at: Instant) -> Outcome:
        match action.do:
            case "activate-interfaces":
                return self._activate(id_, _first(action, run), run, at)
            case "share-of-traffic":
                share = number(action.parameters, "share", 1.0)
                self._decide(f"{id_}/share", at, SHARED, run.subject, {"share": repr(share), "run": run.id})
                return Done(f"gave {run.subject} {share:.0%} of the sessions")
            case "freeze-baselines":
                return self._freeze(action, run, at)
            case "recalibrate":
                return self._recalibrate(action, run, at)
            case _:
                return NotYet(f"the action {action.do} is not known here; upgrade what runs the playbooks")

    def undo(self, id_: str, action: Action, before: Mapping[str, str], run: Run, at: Instant) -> str:
        match action.do:
            case "activate-interfaces":
                added = [name for name, was in before.items() if not was]
                for name in added:
                    self._decide(f"{id_}/{name}", at, DEACTIVATED, name, {"run": run.id})
                return f"deactivated {', '.join(added)}" if added else "every interface was active before"
            case "share-of-traffic":
                was = before.get("share", "")
                self._decide(f"{id_}/share", at, SHARED, run.subject, {"share": was or None, "run": run.id})
                return (
                    f"gave {run.subject} {float(was):.0%} of the sessions again"
                    if was
                    else (f"took the sessions from {run.subject} again")
                )
            case "recalibrate":
                for name, old in before.items():
                    if old:
                        self._decide(f"{id_}/{name}", at, REINSTATED, old, {"run": run.id})
                return "reinstated the baselines from before"
            case _:
                return "the baselines that were frozen stay on record"

    def _decide(
        self, id_: str, at: Instant, kind: str, subject: str, detail: dict[str, str | int | bool | None]
    ) -> None:
        self._journal.decide(Decision(id_, at, kind, "", subject, ENGINE, detail))

    def _activate(self, id_: str, names: tuple[str, ...], run: Run, at: Instant) -> Outcome:
        active = self._gatherer.sources.standing().interfaces
        for name in names:
            if name not in active:
                detail = {**self._gatherer.sources.terms(name), "run": run.id}
                self._decide(f"{id_}/{name}", at, ACTIVATED, name, detail)
        return Done(f"interfaces are active: {', '.join(names) or 'none'}")

    def _frozen(self, action: Action, run: Run, at: Instant) -> tuple[list[Baseline], list[str]]:
        span, needs = self._gatherer.steady(run, action.parameters, at)
        names = texts(action.parameters, "metrics")
        made, lacking = [], []
        sources = self._gatherer.sources
        structure, zone = sources.structure(), sources.zone(scope_of(run))
        for name, seen in self._gatherer.observed(run, names, span).items():
            found = freeze(metric(name), scope_of(run), structure, seen, needs, zone)
            if isinstance(found, Baseline):
                made.append(found)
            else:
                lacking.append(str(found))
        return made, lacking

    def _freeze(self, action: Action, run: Run, at: Instant) -> Outcome:
        try:
            made, lacking = self._frozen(action, run, at)
        except ValueError as error:
            return NotYet(str(error))
        for one in made:
            document = msgspec.json.encode(one, order="deterministic").decode()
            self._decide(_BASELINE + one.id, at, FROZEN, one.id, {"metric": one.metric.name, "document": document})
        without = f"; {'; '.join(lacking)}" if lacking else ""
        named = ", ".join(f"{one.metric.name} {one.id[:12]}" for one in made)
        result = {_BASELINE + one.metric.name: one.id for one in made}
        return Done(f"froze baselines: {named}{without}", {**result, **_can_tell(made, run)})

    def _recalibrate(self, action: Action, run: Run, at: Instant) -> Outcome:
        done = self._freeze(action, run, at)
        if isinstance(done, NotYet):
            return done
        retired = 0
        for name in texts(action.parameters, "metrics"):
            sources = self._gatherer.sources
            old = sources.baseline(run.result(_BASELINE + name))
            new = sources.baseline(done.result.get(_BASELINE + name, ""))
            if old is not None and new is not None and old.id != new.id:
                one = recalibrate(old, new, at, ENGINE)
                detail: dict[str, str | int | bool | None] = {"reason": one.reason, "successor": one.successor}
                self._decide(f"baseline-retired/{old.id}/{run.id}", at, RETIRED, old.id, detail)
                retired += 1
        return Done(f"{done.says}; retired {retired} of before", done.result)


def _first(action: Action, run: Run) -> tuple[str, ...]:
    planned = planned_interfaces(run)
    return planned[: int(number(action.parameters, "first", len(planned)))]


def _can_tell(made: list[Baseline], run: Run) -> dict[str, str]:
    """What each window ahead can tell of each metric, by key: stated before it begins."""
    said = {}
    for phase in run.book.phases:
        watched = [one for one in phase.exit if one.check == "no-regression"]
        if not watched or not phase.window or any(one.phase.name == phase.name for one in run.visits):
            continue
        names = texts(watched[0].parameters, "metrics")
        given = [one for one in phase.entering if one.do == "share-of-traffic"]
        share = number(given[-1].parameters, "share", 1.0) if given else 1.0
        rules = Rules(alpha=number(watched[0].parameters, "alpha", 0.05), metrics=len(names))
        for one in made:
            if one.metric.name not in names or share <= 0:
                continue
            rate = round(one.n / max(one.span.hours, 1.0), 1)
            control = rate * (1 - share) if share < 1 else None
            found = detectable(one, round(rate * share, 1), phase.window / HOUR, rules, control, changes=(0.1, 0.5))
            said[f"can-tell/{phase.name}/{one.metric.name}"] = "; ".join(found.says)
    return said
