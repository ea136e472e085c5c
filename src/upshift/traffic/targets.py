"""Which models at which providers may serve a call, and in which order?"""

from collections.abc import Iterable, Sequence

import msgspec

from upshift.model.span import Instant
from upshift.traffic.affinity import Kept
from upshift.traffic.health import Board, State
from upshift.traffic.price import PER, input_rate, rates_at
from upshift.traffic.snapshot import Dialect, Model, Order, Pin, Provider, Routing
from upshift.traffic.wire.ask import Ask

SAME_MODEL = "same-model"
SAME_TIER = "same-tier"

SUREST_BYTES_PER_TOKEN = 16
"""No tokeniser packs prose or code tighter: fewer tokens than bytes / 16 are certain."""
EXPLORED = 0.05
"""The share of calls that go to another route than the quickest, so that one that has become quicker is noticed."""


class Target(msgspec.Struct, frozen=True):
    """A model at one provider. `stage` counts up from what was asked for to what only stands in for it."""

    model: Model
    stage: int
    step: str
    """The step of the failover rule that leads here: same-model, same-tier, or the name of a model tier."""
    native: bool
    """The call goes out as it came; otherwise it is translated into the provider's dialect."""

    @property
    def provider(self) -> Provider:
        return self.model.provider


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to choose by. `chance` is a random number in [0, 1); the same one makes the same choice."""

    board: Board
    now: Instant
    input_tokens: int
    output_tokens: int
    chance: float
    kept: Kept | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a call wants: `model`, of the models of `tier`; or any of them, where the client left it to the plan."""

    model: Model
    tier: tuple[Model, ...]
    left_open: bool = False
    barred: frozenset[str] = frozenset()
    """Names of models that no detour may lead to."""


def can_carry(provider: Provider, ask: Ask) -> bool:
    """Whether a provider can be sent a call at all: as it is, or translated."""
    if ask.holder is not None and provider.id != ask.holder:
        return False
    return carries(provider, ask.dialect, keeps_state=ask.keeps_state)


def carries(provider: Provider, dialect: Dialect, *, keeps_state: bool = False) -> bool:
    """The same of any call of a dialect. Only chat can be translated; what a provider keeps is nowhere else."""
    if provider.serves(dialect):
        return True
    return not keeps_state and dialect is not Dialect.EMBEDDINGS and provider.dialect is not Dialect.EMBEDDINGS


def speaks(model: Model, dialect: Dialect) -> bool:
    """Whether some provider of the model takes calls in `dialect` as they come."""
    return any(route.provider.serves(dialect) for route in model.routes)


def takes(model: Model, dialect: Dialect) -> bool:
    """Whether the model can be asked in `dialect`, translated if need be."""
    return any(carries(route.provider, dialect) for route in model.routes)


def lacking(model: Model, ask: Ask, input_tokens: int) -> tuple[str, ...]:
    """What the request needs and the model cannot do; empty when it can serve."""
    if not ask.needs and input_tokens < model.context:
        return ()
    missing = [f"{need} (not among what {model.name} can do)" for need in sorted(ask.needs - model.abilities)]
    if input_tokens >= model.context:
        missing.append(f"a context of about {input_tokens:,} tokens ({model.name} has {model.context:,})")
    return tuple(missing)


def sure_tokens(ask: Ask, input_tokens: int) -> int:
    """The input tokens that are certain: what may just fit is left to the provider to judge."""
    return min(input_tokens, ask.text_bytes // SUREST_BYTES_PER_TOKEN)


def narrowed(model: Model, pin: Pin) -> Model | None:
    """The model with no other routes than its pin allows; None where none is left."""
    if pin.models and model.name not in pin.models:
        return None
    left = [route for route in model.routes if not pin.providers or route.provider.id in pin.providers]
    if len(left) == len(model.routes):
        return model
    if not left:
        return None
    first = left[0]
    return msgspec.structs.replace(first, aliases=model.aliases, offers=tuple(left[1:]))


def ordered(routing: Routing, wanted: Wanted, ask: Ask, known: Known) -> tuple[Target, ...]:
    """The targets of a call in the order they are tried; none where nothing can serve it.

    What goes on from a state that a provider keeps has one target only: no other provider has it. Embeddings go to no
    other model: vectors of two models cannot be compared, and nobody who stores them would notice.
    """
    routes = _stuck(_wanted(routing, wanted, ask, known), routing, ask, known)
    if ask.keeps_state:
        return _targets([(SAME_MODEL, routes[:1])], ask)
    groups = [(SAME_MODEL, routes if routing.same_model else routes[:1])]
    if ask.dialect is Dialect.EMBEDDINGS:
        return _targets(groups, ask)
    if routing.same_tier:
        groups.append((SAME_TIER, _others(wanted.tier, routing, ask, known)))
    for detour in routing.detours:
        models = [model for model in detour.models if model.name not in wanted.barred]
        groups.append((detour.tier, _others(models, routing, ask, known)))
    return _targets(groups, ask)


def _wanted(routing: Routing, wanted: Wanted, ask: Ask, known: Known) -> list[Model]:
    """The routes of the model that serves the call if all goes well."""
    model = wanted.model
    if wanted.left_open and ask.dialect is not Dialect.EMBEDDINGS:
        ranked = _others(wanted.tier, routing, ask, known)
        names = [each.name for each in ranked]
        name = names[0] if names and routing.order is not Order.AS_LISTED else None
        if (routing.sticky or ask.keeps_state) and known.kept is not None and known.kept.model in names:
            name = known.kept.model
        if name is not None:
            return [each for each in ranked if each.name == name]
    sure = sure_tokens(ask, known.input_tokens)
    routes = [each for each in model.routes if can_carry(each.provider, ask) and not lacking(each, ask, sure)]
    return _ranked(routes, routing, ask, known)


def _others(models: Iterable[Model], routing: Routing, ask: Ask, known: Known) -> list[Model]:
    """Routes of several models that can serve the call for certain. As listed, those come first that need no
    translation: a translated call loses a little of what was asked."""
    routes = [
        each
        for model in models
        for each in model.routes
        if can_carry(each.provider, ask) and not lacking(each, ask, known.input_tokens)
    ]
    if routing.order is Order.AS_LISTED:
        routes.sort(key=lambda each: not each.provider.serves(ask.dialect))
    return _ranked(routes, routing, ask, known)


def _ranked(routes: list[Model], routing: Routing, ask: Ask, known: Known) -> list[Model]:
    if len(routes) < 2 or ask.keeps_state:
        # Nothing is known of who keeps it, or only one is left: the same guess every time.
        return routes
    match routing.order:
        case Order.AS_LISTED:
            return routes
        case Order.CHEAPEST:
            return sorted(routes, key=lambda each: _cost(each, ask, known))
        case Order.FASTEST:
            return _by_pace(routes, known)
        case Order.WEIGHTED:
            return _shared_out(routes, known.chance)


def _cost(model: Model, ask: Ask, known: Known) -> tuple[bool, int]:
    """What a call would cost, roughly; what is not known comes last, for it is not zero."""
    if model.card is None:
        return True, 0
    rates = rates_at(model.card, known.input_tokens)
    by_input = known.input_tokens * input_rate(rates, ask.cache_write)
    return False, (by_input + known.output_tokens * rates.output) // PER


def _by_pace(routes: list[Model], known: Known) -> list[Model]:
    """The quickest first; now and then another one before it, and always one that has never been measured."""
    ranked = sorted(routes, key=lambda each: known.board.pace(each).typical)
    if known.chance < EXPLORED:
        picked = ranked.pop(int(known.chance / EXPLORED * len(ranked)))
        ranked.insert(0, picked)
    return ranked


def _shared_out(routes: list[Model], chance: float) -> list[Model]:
    """A random order, in which each comes first as often as its weight says. A weight of 0 only stands by."""
    left = [each for each in routes if each.weight]
    standing_by = [each for each in routes if not each.weight]
    found: list[Model] = []
    while left:
        total = sum(each.weight for each in left)
        at, before = chance * total, 0
        index = 0
        while index < len(left) - 1 and before + left[index].weight <= at:
            before += left[index].weight
            index += 1
        # What is left of the number within the chosen share is as random as the whole was.
        chance = min(max((at - before) / left[index].weight, 0.0), 0.999999)
        found.append(left.pop(index))
    return found + standing_by


def _stuck(routes: list[Model], routing: Routing, ask: Ask, known: Known) -> list[Model]:
    """The route of the session first, unless it is out; always, where the session's state is nowhere else."""
    kept = known.kept
    if kept is None or not (routing.sticky or ask.keeps_state):
        return routes
    for index, each in enumerate(routes):
        if (each.name, each.provider.id) == (kept.model, kept.provider):
            well = known.board.circuit(each.provider.id).state(known.now) is State.CLOSED
            return [each, *routes[:index], *routes[index + 1 :]] if well or ask.keeps_state else routes
    return routes


def _targets(groups: Iterable[tuple[str, Sequence[Model]]], ask: Ask) -> tuple[Target, ...]:
    """Each route once, at its first stage."""
    found: dict[tuple[str, str], Target] = {}
    for stage, (step, routes) in enumerate(groups):
        for each in routes:
            name = (each.name, each.provider.id)
            if name not in found:
                found[name] = Target(each, stage, step, each.provider.serves(ask.dialect))
    return tuple(found.values())
