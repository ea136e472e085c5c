"""What is one provider sent for a call: whose words, which limit, which model's name?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from upshift.gateway.call import Call, Route
from upshift.gateway.story import Story, Translated
from upshift.model.span import MICROS
from upshift.traffic import gate
from upshift.traffic.snapshot import Dialect, Model
from upshift.traffic.targets import Target
from upshift.traffic.translate.translate import Translation, Understood, understand
from upshift.traffic.wire.ask import Ask
from upshift.traffic.wire.wires import WIRES

if TYPE_CHECKING:
    from upshift.gateway.flow import Flow


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it goes out."""

    route: Route
    dialect: Dialect
    call: Call
    body: bytes


class Requests:
    """The requests of one call, each made from what its client sent."""

    __slots__ = ("_ask", "_flow", "_understood")

    def __init__(self, flow: Flow, ask: Ask) -> None:
        self._flow = flow
        self._ask = ask
        self._understood: Understood | None = None

    def ready(self, story: Story, target: Target) -> Request:
        """The request for a target, noted in the story as the one it was sent to last.

        Raises Refused for what its dialect has no words for, and MissingSecretError; then nothing is noted.
        """
        model, ask = target.model, self._ask
        route = self._flow.routes.to(model.provider)
        limited = self._limit(story, model)
        if target.native:
            story.upstream, story.translated = story.wire, None
            dialect, body = ask.dialect, self._rewritten(story, model, limited)
        else:
            dialect, body = model.provider.dialect, self._translated(story, model, limited)
            story.upstream = WIRES[dialect]
        story.model, story.limited = model, limited
        return Request(route, dialect, Call(model.upstream_id, ask.stream, target.native), body)

    def _limit(self, story: Story, model: Model) -> int:
        """Tokens per answer that the budget leaves, where that is less than was asked for; 0 where it is not."""
        ask = self._ask
        assert story.fit
        bound = story.fit.output
        if ask.stream:
            assert story.work
            bound = story.fit.room + story.work.workload.gate.grace_tokens
        return max(1, bound // ask.choices) if bound < gate.asked_output(ask, model) * ask.choices else 0

    def _rewritten(self, story: Story, model: Model, limited: int) -> bytes:
        """The client's own bytes, with as few changes as can be."""
        ask = self._ask
        bounded = limited or _bound_to_say(ask, model)
        if not (ask.stream or bounded or ask.model != model.upstream_id):
            return story.exchange.body
        return story.wire.rewrite(
            story.exchange.body,
            model=None if ask.model == model.upstream_id else model.upstream_id,
            max_output=bounded,
            limit_field=model.provider.limit_field,
            include_usage=ask.stream and not ask.wants_usage,
        )

    def _translated(self, story: Story, model: Model, limited: int) -> bytes:
        ask, provider = self._ask, model.provider
        if self._understood is None:
            self._understood = understand(ask.dialect, story.exchange.body, story.exchange.target)
        translation = Translation(ask.dialect, provider.dialect, provider.limit_field)
        limit = limited or min(gate.asked_output(ask, model), model.max_output)
        sent = translation.request(
            self._understood, model.upstream_id, limit if limited or ask.max_output else None,
            created=story.started // MICROS,
        )  # fmt: skip
        story.translated = Translated(translation, sent)
        return sent.body


def _bound_to_say(ask: Ask, model: Model) -> int | None:
    """The bound to tell the provider in its own field: the client did not say it there, or beyond the model."""
    if ask.max_output is None:
        return None
    if ask.max_output > model.max_output:
        return model.max_output
    return ask.max_output if model.provider.limit_field == "max_tokens" else None
