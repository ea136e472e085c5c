"""What is one provider sent for a call: whose words, which limit, which model's name?"""

import msgspec

from upshift.gateway.call import Call, Route, Routes
from upshift.gateway.story import Story, Translated
from upshift.model.span import MICROS
from upshift.traffic import gate
from upshift.traffic.snapshot import Dialect, Model
from upshift.traffic.targets import Target
from upshift.traffic.translate.foreign import without_foreign
from upshift.traffic.translate.translate import Translation, understand
from upshift.traffic.wire.ask import Ask
from upshift.traffic.wire.wires import WIRES


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request as it goes out."""

    route: Route
    dialect: Dialect
    call: Call
    body: bytes


def ready(routes: Routes, story: Story, ask: Ask, target: Target) -> Request:
    """The request of a call for a target, noted in the story as the one it was sent to last.

    Raises Refused for what its dialect has no words for, and MissingSecretError; then the story is as it was.
    """
    model, fit, choices = target.model, story.fit, ask.choices
    route = routes.to(model.provider)
    assert fit
    bound = fit.output
    if ask.stream:
        assert story.work
        bound = fit.room + story.work.workload.gate.grace_tokens
    # Tokens per answer that the budget leaves, where that is less than was asked for; 0 where it is not.
    limited = max(1, bound // choices) if bound < gate.asked_output(ask, model) * choices else 0
    if target.native:
        dialect, body = ask.dialect, _rewritten(story, ask, model, limited)
        story.upstream, story.translated = story.wire, None
    else:
        dialect, body = model.provider.dialect, _translated(story, ask, model, limited)
        story.upstream = WIRES[dialect]
    story.model, story.limited = model, limited
    return Request(route, dialect, Call(model.upstream_id, ask.stream, target.native), body)


def _rewritten(story: Story, ask: Ask, model: Model, limited: int) -> bytes:
    """The client's own bytes, with as few changes as can be: a provider refuses thoughts that another one signed."""
    body = without_foreign(ask.dialect, story.exchange.body)
    asked, most, name = ask.max_output, model.max_output, model.upstream_id
    # The bound to tell the provider in its own field: the client did not say it there, or beyond the model.
    bounded = limited or None
    if asked is not None and not limited:
        if asked > most:
            bounded = most
        elif model.provider.limit_field == "max_tokens":
            bounded = asked
    if not (ask.stream or bounded or ask.model != name):
        return body
    return story.wire.rewrite(
        body,
        model=None if ask.model == name else name,
        max_output=bounded,
        limit_field=model.provider.limit_field,
        include_usage=ask.stream and not ask.wants_usage,
    )


def _translated(story: Story, ask: Ask, model: Model, limited: int) -> bytes:
    provider = model.provider
    if story.understood is None:
        story.understood = understand(ask.dialect, story.exchange.body, story.exchange.target)
    translation = Translation(ask.dialect, provider.dialect, provider.limit_field)
    limit = limited or min(gate.asked_output(ask, model), model.max_output)
    sent = translation.request(
        story.understood, model.upstream_id, limit if limited or ask.max_output else None,
        created=story.started // MICROS,
    )  # fmt: skip
    story.translated = Translated(translation, sent)
    return sent.body
