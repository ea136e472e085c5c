"""Which ways are there to serve a call: its own model first, then the steps that its gate's overage ladder allows?"""

import msgspec

from upshift.model.budget import Bucket
from upshift.model.refusal import CannotServe, Refused
from upshift.traffic.dispatch import Work
from upshift.traffic.snapshot import Consent, Dialect, Model, Overage, Workload
from upshift.traffic.targets import Known, Target, Wanted, can_carry, lacking, ordered, speaks, sure_tokens
from upshift.traffic.wire.ask import Ask


class Way(msgspec.Struct, frozen=True):
    """One way to serve a call: counted in `bucket`, by `model`; `why` names the overage step, empty for the first."""

    bucket: Bucket
    model: Model
    why: str


class Ways(msgspec.Struct, frozen=True):
    """Ways in the order they are tried, and for each overage step that is not open, why not (for the refusal)."""

    tried: tuple[Way, ...]
    closed: tuple[str, ...]


def ways(ask: Ask, work: Work, input_tokens: int, consent: Consent | None) -> Ways:
    """The ways to serve a call. Raises Refused(CannotServe) when the model asked for cannot serve it at all.

    `input_tokens` errs upwards: good enough to pass a substitute over, not to refuse the model that was asked for.
    What may just fit is left to the provider to judge.
    """
    model, workload = work.model, work.workload
    missing = _missing(model, ask, sure_tokens(ask, input_tokens))
    if missing and work.tier and ask.dialect is not Dialect.EMBEDDINGS:
        # The client named no model, so another one of the tier will do.
        model = next((each for each in work.tier if not _missing(each, ask, input_tokens)), model)
    if missing and model is work.model:
        able = [each.name for each in workload.models if not _missing(each, ask, input_tokens)]
        remedy = f"ask for {' or '.join(able)}" if able else "none of the workload's models can serve it"
        raise Refused(CannotServe(model=model.name, needs=missing, remedy=remedy))
    tried = [Way(Bucket.INCLUDED, model, "")]
    closed: list[str] = []
    for step in workload.gate.ladder:
        if step is Overage.SOFT_CAP:
            found = _substitute(ask, workload, model, input_tokens)
            if isinstance(found, Model):
                tried.append(Way(Bucket.DEGRADED, found, step))
            else:
                closed.append(found)
        elif step is Overage.PAY_AS_YOU_GO:
            if consent is not None:
                tried.append(Way(Bucket.OVERAGE, model, step))
            else:
                closed.append("pay-as-you-go is not switched on: an admin of the tenant has to opt in")
    return Ways(tuple(tried), tuple(closed))


def _substitute(ask: Ask, workload: Workload, model: Model, input_tokens: int) -> Model | str:
    whys: list[str] = []
    able: list[Model] = []
    substitutes = workload.substitutes
    if ask.dialect is Dialect.EMBEDDINGS:
        substitutes = tuple(each for each in substitutes if each.name == model.name)
        if not substitutes:
            return f"embeddings stay with {model.name}: vectors of two models do not mix"
    for each in substitutes:
        missing = _missing(each, ask, input_tokens)
        if missing:
            whys.append(f"{each.name} lacks {' and '.join(missing)}")
        else:
            able.append(each)
    if able:
        return next((each for each in able if speaks(each, ask.dialect)), able[0])
    return f"no model of tier {workload.substitute_tier} can serve this request: " + "; ".join(whys or ["it is empty"])


def _missing(model: Model, ask: Ask, input_tokens: int) -> tuple[str, ...]:
    """What no route of the model can do for this request; what its first one cannot, where none can do it all."""
    carrying = [route for route in model.routes if can_carry(route.provider, ask)]
    if not carrying:
        if ask.holder is not None:
            where = f"where {ask.state} is kept, if anywhere"
            return (f"{ask.holder}, {where} ({model.name} cannot be had there in {ask.dialect} itself)",)
        why = " with what was kept there" if ask.keeps_state else ""
        return (f"a provider that speaks {ask.dialect} itself{why} ({model.name} has none)",)
    found = [lacking(route, ask, input_tokens) for route in carrying]
    return () if () in found else found[0]


def targets(way: Way, work: Work, ask: Ask, known: Known) -> tuple[Target, ...]:
    """The targets of a call on one of its ways, in the order they are tried. See `targets.ordered`.

    A degraded call never comes back to the models that its ceiling has closed, whatever fails.
    """
    workload = work.workload
    degraded = way.bucket is Bucket.DEGRADED
    tier = workload.substitutes if degraded else work.tier or _tier_of(workload, way.model)
    barred: frozenset[str] = frozenset()
    if degraded:
        barred = frozenset(model.name for model in workload.primary) - {model.name for model in workload.substitutes}
    wanted = Wanted(model=way.model, tier=tier, left_open=degraded or bool(work.tier), barred=barred)
    return ordered(workload.routing, wanted, ask, known)


def _tier_of(workload: Workload, model: Model) -> tuple[Model, ...]:
    """The tier of a workload that a model was asked for in."""
    tiers = (workload.primary, workload.substitutes, *(task.models for task in workload.routing.tasks))
    return next((tier for tier in tiers if any(each is model for each in tier)), (model,))
