"""What does a change of plan do to everybody's budgets, routes and prices?"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from upshift.model.budget import Limit
from upshift.model.ids import PlanHash, TierId
from upshift.model.money import Nano, show_money
from upshift.model.rates import Rates
from upshift.model.tokens import show_tokens
from upshift.plan_file.difference_agents import agents_moved
from upshift.plan_file.difference_pools import pools_moved
from upshift.traffic.snapshot import Ceiling, Gate, Model, Provider, Routing, Shape, Snapshot, Tenant, Unsure, Workload

N = TypeVar("N", bound=str)


class Kind(StrEnum):
    """What a consequence is about."""

    SERVED = "served"
    STOPPED = "stopped"
    CEILING = "ceiling"
    OVERAGE = "overage"
    ROUTE = "route"
    ACCESS = "access"
    USER = "user"
    TENANT = "tenant"
    MODEL = "model"
    PRICE = "price"
    PROVIDER = "provider"
    CAPACITY = "capacity"
    INTERFACE = "interface"
    STATUS = "status"
    SIGN_OFF = "sign-off"
    COST = "cost"


class Consequence(msgspec.Struct, frozen=True):
    """One consequence, in words. `subject` is whom or what it meets, like support-chat/pro or gpt-5."""

    kind: Kind
    subject: str
    text: str


def difference(old: Snapshot | None, new: Snapshot) -> list[Consequence]:
    """What happens when `new` replaces `old`, or nothing at all where `old` is None."""
    before = old if old is not None else _nothing()
    return [
        *_workloads(before, new),
        *_tenants(before, new),
        *_models(before, new),
        *_roles(before, new),
        *_providers(before, new),
        *(Consequence(Kind.CAPACITY, name, text) for name, text in pools_moved(before, new)),
        *(Consequence(Kind.INTERFACE, name, text) for name, text in agents_moved(before, new)),
    ]


def _nothing() -> Snapshot:
    return Snapshot(
        hash=PlanHash(""), name="", tenants={}, workloads={}, models={}, model_tiers={}, providers={}, tiers=()
    )


def _workloads(old: Snapshot, new: Snapshot) -> Iterator[Consequence]:
    for name in _names(old.workloads, new.workloads):
        before, after = old.workloads.get(name), new.workloads.get(name)
        if before is None and after is not None:
            text = f"{name} is served to {_list(after.tenants)} by {_models_of(after)}, held by gate {after.gate.id}"
            yield Consequence(Kind.SERVED, name, text)
            for tier in sorted(after.gate.ceilings):
                limits = _ceilings(after.gate.ceilings[tier])
                yield Consequence(Kind.CEILING, f"{name}/{tier}", f"users of tier {tier} may use {limits} of {name}")
        elif after is None:
            yield Consequence(Kind.STOPPED, name, f"{name} is no longer served: its callers will be refused")
        elif before is not None and before != after:
            yield from _workload(before, after)


def _workload(old: Workload, new: Workload) -> Iterator[Consequence]:
    name = new.id
    for tenant in sorted(old.tenants - new.tenants):
        text = f"tenant {tenant} may no longer call {name}: its calls will be refused"
        yield Consequence(Kind.ACCESS, f"{name}/{tenant}", text)
    for tenant in sorted(new.tenants - old.tenants):
        yield Consequence(Kind.ACCESS, f"{name}/{tenant}", f"tenant {tenant} may call {name}")
    if _models_of(old) != _models_of(new):
        text = f"{name} is served by {_models_of(new)} instead of {_models_of(old)}"
        yield Consequence(Kind.ROUTE, name, text)
    for what, before, after in _routing(old.routing, new.routing):
        if before != after:
            yield Consequence(Kind.ROUTE, name, f"{name}: {what} {after} instead of {before}")
    if old.gate != new.gate:
        yield from _gate(name, old.gate, new.gate)


def _routing(old: Routing, new: Routing) -> Iterator[tuple[str, str, str]]:
    """What is compared of two routings, before and after, in words."""
    yield "its routes are taken", old.order, new.order
    yield "it is pinned to", _pin(old), _pin(new)
    yield "when a provider fails it goes on with", _failover(old), _failover(new)
    yield "its tasks are", _tasks(old), _tasks(new)
    yield "it is tried again", _times(old), _times(new)
    yield "a second route is tried beside the first", _hedge(old), _hedge(new)
    yield "its sessions stay on", _kept(old), _kept(new)


def _pin(routing: Routing) -> str:
    return _list((*routing.pin.providers, *routing.pin.models)) or "nothing"


def _failover(routing: Routing) -> str:
    steps = ["the same model elsewhere"] * routing.same_model + ["the same tier"] * routing.same_tier
    return ", then ".join([*steps, *(f"tier {detour.tier}" for detour in routing.detours)]) or "nothing"


def _tasks(routing: Routing) -> str:
    return _list(f"{task.name} ({task.tier}{_shape(task.shape)})" for task in routing.tasks) or "none"


def _shape(shape: Shape | None) -> str:
    if shape is None:
        return ""
    said = [*sorted(shape.needs), *(f"no {each}" for each in sorted(shape.without))]
    said += [f"above {show_tokens(shape.above)}"] if shape.above is not None else []
    said += [f"below {show_tokens(shape.below)}"] if shape.below is not None else []
    return f" for {' and '.join(said)}"


_RISKS: Final = {
    Unsure.NEVER: "",
    Unsure.OUTAGE: ", and once elsewhere in an outage",
    Unsure.ALWAYS: ", even if it may have been billed",
}


def _times(routing: Routing) -> str:
    return f"{routing.retries} times{_RISKS[routing.retry_unsure]}"


def _kept(routing: Routing) -> str:
    return "their route" if routing.sticky else "no route"


def _hedge(routing: Routing) -> str:
    return "never" if routing.hedge_after is None else f"after {routing.hedge_after:g}s"


def _gate(name: str, old: Gate, new: Gate) -> Iterator[Consequence]:
    yield from _moved(name, old.ceilings, new.ceilings, "")
    if old.ladder != new.ladder:
        text = f"at a ceiling of {name}: {_list(new.ladder, ' then ')} instead of {_list(old.ladder, ' then ')}"
        yield Consequence(Kind.OVERAGE, name, text)
    yield from _moved(name, old.degraded, new.degraded, " after a soft cap")
    if old.overage_limit != new.overage_limit:
        before, after = _ceilings(old.overage_limit), _ceilings(new.overage_limit)
        text = f"pay-as-you-go of a tenant for {name}: {before} -> {after}"
        yield Consequence(Kind.CEILING, name, text)
    plain = (
        ("answers may run past a ceiling by", f"{old.grace_tokens:,} tokens", f"{new.grace_tokens:,} tokens"),
        ("streaming calls hold", f"{old.hold}", f"{new.hold}"),
        ("calls wait for others at most", f"{old.patience_seconds:g}s", f"{new.patience_seconds:g}s"),
        ("who is refused is told", repr(old.how_to_ask), repr(new.how_to_ask)),
    )
    for what, before, after in plain:
        if before != after:
            yield Consequence(Kind.OVERAGE, name, f"{name}: {what} {after} instead of {before}")


def _moved(
    name: str,
    old: Mapping[TierId, tuple[Ceiling, ...]],
    new: Mapping[TierId, tuple[Ceiling, ...]],
    when: str,
) -> Iterator[Consequence]:
    for tier in _names(old, new):
        before, after = old.get(tier), new.get(tier)
        if before == after:
            continue
        was = "no rule" if before is None else _ceilings(before)
        now = "no rule" if after is None else _ceilings(after)
        text = f"users of tier {tier} of {name}{when}: {was} -> {now}"
        yield Consequence(Kind.CEILING, f"{name}/{tier}", text)


def _tenants(old: Snapshot, new: Snapshot) -> Iterator[Consequence]:
    for name in _names(old.tenants, new.tenants):
        before, after = old.tenants.get(name), new.tenants.get(name)
        if before is None and after is not None:
            text = f"tenant {name} begins with {len(after.users)} users"
            yield Consequence(Kind.TENANT, name, text)
        elif after is None:
            yield Consequence(Kind.TENANT, name, f"tenant {name} is removed: all its keys will be refused")
        elif before is not None and before != after:
            yield from _tenant(before, after)


def _tenant(old: Tenant, new: Tenant) -> Iterator[Consequence]:
    name = new.id
    if old.zone != new.zone:
        text = f"days and months of {name} follow {new.zone} instead of {old.zone}: current counters begin anew"
        yield Consequence(Kind.TENANT, name, text)
    if old.owner != new.owner:
        text = f"mail about {name} goes to {new.owner or 'nobody'} instead of {old.owner or 'nobody'}"
        yield Consequence(Kind.TENANT, name, text)
    if old.default_tier != new.default_tier:
        before, after = (f"tier {tier}" if tier else "refused" for tier in (old.default_tier, new.default_tier))
        yield Consequence(Kind.TENANT, name, f"unlisted users of {name}: {before} -> {after}")
    for user in _names(old.users, new.users):
        was, now = old.users.get(user), new.users.get(user)
        if was is None and now is not None:
            yield Consequence(Kind.USER, f"{name}/{user}", f"user {user} of {name} gets tier {now.tier}")
        elif now is None:
            rest = f"counts as tier {new.default_tier}" if new.default_tier else "will be refused"
            yield Consequence(Kind.USER, f"{name}/{user}", f"user {user} of {name} is removed and {rest}")
        elif was is not None and was.tier != now.tier:
            text = f"user {user} of {name}: tier {was.tier} -> {now.tier}"
            yield Consequence(Kind.USER, f"{name}/{user}", text)


def _models(old: Snapshot, new: Snapshot) -> Iterator[Consequence]:
    for name in _names(old.models, new.models):
        before, after = old.models.get(name), new.models.get(name)
        if before is None and after is not None:
            text = f"{name} can be asked for, at {_price(after)}"
            yield Consequence(Kind.MODEL, name, text)
        elif after is None:
            yield Consequence(Kind.MODEL, name, f"{name} can no longer be asked for: calls that name it are refused")
        elif before is not None and name == after.name:
            yield from _model(before, after)


def _model(old: Model, new: Model) -> Iterator[Consequence]:
    name = new.name
    was, now = (" or ".join(f"{each.provider.id}/{each.upstream_id}" for each in model.routes) for model in (old, new))
    if was != now:
        yield Consequence(Kind.ROUTE, name, f"{name} is served by {now} instead of {was}")
    if old.context != new.context:
        text = f"context of {name}: {show_tokens(old.context)} -> {show_tokens(new.context)}"
        yield Consequence(Kind.MODEL, name, text)
    if old.max_output != new.max_output:
        text = f"longest answer of {name}: {show_tokens(old.max_output)} -> {show_tokens(new.max_output)}"
        yield Consequence(Kind.MODEL, name, text)
    for ability in sorted(old.abilities - new.abilities):
        yield Consequence(Kind.MODEL, name, f"{name} no longer serves calls that need {ability}")
    for ability in sorted(new.abilities - old.abilities):
        yield Consequence(Kind.MODEL, name, f"{name} also serves calls that need {ability}")
    weights = _weights(old), _weights(new)
    if was == now and weights[0] != weights[1]:
        yield Consequence(Kind.ROUTE, name, f"weights of the providers of {name}: {' -> '.join(weights)}")
    yield from _moved_price(name, old, new)
    offered = {each.provider.id: each for each in old.offers}
    for each in new.offers:
        known = offered.get(each.provider.id)
        if known is not None:
            yield from _moved_price(f"{name} at {each.provider.id}", known, each)
        elif each.provider.id != old.provider.id:
            yield Consequence(Kind.PRICE, name, f"price of {name} at {each.provider.id}: {_price(each)}")


def _weights(model: Model) -> str:
    return ":".join(str(each.weight) for each in model.routes)


def _moved_price(name: str, old: Model, new: Model) -> Iterator[Consequence]:
    before = old.card.steps if old.card is not None else ()
    after = new.card.steps if new.card is not None else ()
    if before == after:
        return
    if before and after and tuple(step.above for step in before) == tuple(step.above for step in after):
        moves = [move for one, other in zip(before, after, strict=True) for move in _rates_moved(one, other)]
        yield Consequence(Kind.PRICE, name, f"price of {name}: {', '.join(moves)}")
    else:
        yield Consequence(Kind.PRICE, name, f"price of {name}: {_price(old)} -> {_price(new)}")


def _roles(old: Snapshot, new: Snapshot) -> Iterator[Consequence]:
    for tier in _names(old.roles, new.roles):
        was, now = old.roles.get(tier, "none"), new.roles.get(tier, "none")
        if was != now:
            yield Consequence(Kind.ROUTE, tier, f"role of model tier {tier}: {was} -> {now}")


_FIGURES = ("input", "output", "cached", "cache_write_5m", "cache_write_1h")


def _rates_moved(old: Rates, new: Rates) -> Iterator[str]:
    above = f" above {show_tokens(new.above)}" if new.above else ""
    for figure in _FIGURES:
        was: Nano = getattr(old, figure)
        now: Nano = getattr(new, figure)
        if was != now:
            change = f" ({(now - was) / was:+.1%})" if was else ""
            yield f"{figure.replace('_', ' ')}{above} {show_money(was)} -> {show_money(now)}{change}"


def _price(model: Model) -> str:
    if model.card is None:
        return "an unknown price"
    steps = [
        (f"above {show_tokens(step.above)} " if step.above else "")
        + f"{show_money(step.input)} in and {show_money(step.output)} out per million tokens"
        for step in model.card.steps
    ]
    return "; ".join(steps)


def _providers(old: Snapshot, new: Snapshot) -> Iterator[Consequence]:
    for name in _names(old.providers, new.providers):
        before, after = old.providers.get(name), new.providers.get(name)
        if before is None and after is not None:
            yield Consequence(Kind.PROVIDER, name, f"provider {name} is reached at {after.base_url}")
        elif after is None:
            yield Consequence(Kind.PROVIDER, name, f"provider {name} is no longer used")
        elif before is not None and before != after:
            changes = ", ".join(_provider(before, after))
            yield Consequence(Kind.PROVIDER, name, f"provider {name}: {changes}")


def _provider(old: Provider, new: Provider) -> Iterator[str]:
    for field in new.__struct_fields__:
        was, now = getattr(old, field), getattr(new, field)
        if was != now:
            words = field.replace("_", " ")
            # Extra headers may carry what only the provider should see.
            yield (
                f"{words} changed"
                if field in {"headers", "timeouts"}
                else f"{words} {_list(was) or 'none'} -> {_list(now) or 'none'}"
                if isinstance(was, frozenset)
                else f"{words} {was or 'none'} -> {now or 'none'}"
            )


def _names(old: Mapping[N, object], new: Mapping[N, object]) -> list[N]:
    return sorted(old.keys() | new.keys())


def _list(names: Iterable[str], separator: str = ", ") -> str:
    listed = list(names) if separator != ", " else sorted(names)
    return separator.join(str(name) for name in listed)


def _models_of(workload: Workload) -> str:
    text = ", ".join(model.name for model in workload.primary)
    if workload.substitutes:
        text += f" (after a soft cap {', '.join(model.name for model in workload.substitutes)})"
    return text


def _ceilings(ceilings: tuple[Ceiling, ...]) -> str:
    return " and ".join(f"{_limit(each.limit)} a {each.window}" for each in ceilings) or "without limit"


def _limit(limit: Limit) -> str:
    tokens = f"{show_tokens(limit.tokens)} tokens" if limit.tokens is not None else ""
    money = show_money(limit.nano) if limit.nano is not None else ""
    return " or ".join(each for each in (tokens, money) if each)
