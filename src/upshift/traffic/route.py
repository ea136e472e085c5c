"""Which ways are there to serve a call: its own model first, then the steps that its gate's overage ladder allows?"""

import msgspec

from upshift.model.budget import Bucket
from upshift.model.refusal import CannotServe, Refused
from upshift.traffic.dispatch import Work
from upshift.traffic.snapshot import Consent, Model, Overage, Workload
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


SUREST_BYTES_PER_TOKEN = 16
"""No tokeniser packs prose or code tighter: fewer tokens than bytes / 16 are certain."""


def lacking(model: Model, ask: Ask, input_tokens: int) -> tuple[str, ...]:
    """What the request needs and the model cannot do; empty when it can serve."""
    if not ask.needs and input_tokens < model.context:
        return ()
    missing = [f"{need} (not among what {model.name} can do)" for need in sorted(ask.needs - model.abilities)]
    if input_tokens >= model.context:
        missing.append(f"a context of about {input_tokens:,} tokens ({model.name} has {model.context:,})")
    return tuple(missing)


def ways(ask: Ask, work: Work, input_tokens: int, consent: Consent | None) -> Ways:
    """The ways to serve a call. Raises Refused(CannotServe) when the model asked for cannot serve it at all.

    `input_tokens` errs upwards: good enough to pass a substitute over, not to refuse the model that was asked for.
    What may just fit is left to the provider to judge.
    """
    model, workload = work.model, work.workload
    missing = lacking(model, ask, min(input_tokens, ask.text_bytes // SUREST_BYTES_PER_TOKEN))
    if missing:
        able = [
            each.name
            for each in workload.primary + workload.substitutes
            if each.provider.dialect is ask.dialect and not lacking(each, ask, input_tokens)
        ]
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
    for each in workload.substitutes:
        if each.provider.dialect is not ask.dialect:
            whys.append(f"{each.name} speaks {each.provider.dialect}")
            continue
        missing = lacking(each, ask, input_tokens)
        if not missing:
            return each
        whys.append(f"{each.name} lacks {' and '.join(missing)}")
    return f"no model of tier {workload.substitute_tier} can serve this request: " + "; ".join(whys or ["it is empty"])
