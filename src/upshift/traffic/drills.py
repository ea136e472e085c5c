"""Where would calls go if a provider were out, and has a drill proved that they would be served there?"""

from collections.abc import Iterable, Sequence

import msgspec

from upshift.model.budget import Bucket
from upshift.model.ids import ProviderId
from upshift.model.money import Nano
from upshift.model.tokens import NO_USAGE, Usage
from upshift.traffic.dispatch import Work
from upshift.traffic.gate import amount
from upshift.traffic.health import Board
from upshift.traffic.price import rates_at
from upshift.traffic.route import Way, targets
from upshift.traffic.snapshot import Dialect, Model, Snapshot
from upshift.traffic.targets import Known
from upshift.traffic.wire.ask import Ask

INPUT_TOKENS = 64
"""More than the prompt of a drill has in any tokeniser."""


class Second(msgspec.Struct, frozen=True):
    """What stands in for a model while the drilled provider is out: `route`, for these workloads."""

    model: str
    route: Model
    workloads: tuple[str, ...]


class Stranded(msgspec.Struct, frozen=True):
    """A model of these workloads that nothing stands in for."""

    model: str
    workloads: tuple[str, ...]


class Sent(msgspec.Struct, frozen=True):
    """What came of one shadow call. `problem` is empty where it was answered; `cost` is None where it is unknown."""

    second: Second
    problem: str
    status: int
    seconds: float
    usage: Usage = NO_USAGE
    cost: Nano | None = 0


class Outcome(msgspec.Struct, frozen=True):
    """A drill that is over."""

    sent: tuple[Sent, ...]
    stranded: tuple[Stranded, ...]

    @property
    def failed(self) -> tuple[Sent, ...]:
        return tuple(each for each in self.sent if each.problem)

    @property
    def passed(self) -> bool:
        """Every model that would be affected is served elsewhere. A drill of nothing proves nothing."""
        return bool(self.sent) and not self.failed and not self.stranded

    @property
    def slowest(self) -> float:
        """Seconds of the slowest call that was answered; 0 where none was."""
        return max((each.seconds for each in self.sent if not each.problem), default=0.0)


def affected(snapshot: Snapshot, provider: ProviderId) -> tuple[tuple[Second, ...], tuple[Stranded, ...]]:
    """The second route of every model that a served workload reaches at `provider` first, and the models without.

    Each route is there once, however many workloads would take it.
    """
    ask = Ask(dialect=Dialect.OPENAI, model="", text_bytes=INPUT_TOKENS)
    known = Known(board=Board(), now=0, input_tokens=INPUT_TOKENS, output_tokens=INPUT_TOKENS, chance=0.5)
    routes: dict[tuple[str, str, str], tuple[Model, list[str]]] = {}
    lost: dict[str, list[str]] = {}
    for workload in snapshot.workloads.values():
        for model in workload.models:
            if all(route.provider.id != provider for route in model.routes):
                continue
            shadow = msgspec.structs.replace(ask, dialect=model.provider.dialect)
            found = targets(Way(Bucket.INCLUDED, model, ""), Work(workload, model), shadow, known)
            second = next((each.model for each in found if each.provider.id != provider), None)
            if second is None:
                lost.setdefault(model.name, []).append(workload.id)
            else:
                name = (model.name, second.name, second.provider.id)
                routes.setdefault(name, (second, []))[1].append(workload.id)
    seconds = tuple(Second(name[0], route, tuple(served)) for name, (route, served) in routes.items())
    return seconds, tuple(Stranded(model, tuple(served)) for model, served in lost.items())


def most(seconds: Iterable[Second], output_tokens: int) -> Nano | None:
    """What the shadow calls cost at most; None where a price is not known."""
    total = 0
    for each in seconds:
        card = each.route.card
        if card is None:
            return None
        rates = rates_at(card, INPUT_TOKENS)
        total += amount(INPUT_TOKENS, output_tokens, rates.input, rates.output).nano
    return total


def cost(sent: Sequence[Sent]) -> Nano:
    """What is known to have been spent."""
    return sum(each.cost or 0 for each in sent)
