"""What becomes of what is said in one dialect, on the way to who speaks another?"""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from upshift.model.refusal import Refused
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers
from upshift.traffic.translate.translate import TRANSLATORS
from upshift.traffic.translate.words import Image, Loss, Message, Reply, Request, Role, Text, Tool, ToolCall


class Fate(StrEnum):
    """In falling order of fidelity."""

    CARRIED = "carried"
    """It reaches the other side, where it says the same in our words."""
    CHANGED = "changed"
    """It reaches the other side in another form, which says as much as that dialect can."""
    DECLARED = "declared"
    """It does not reach the other side whole, and the answer says so."""
    REFUSED = "refused"
    """The call is refused."""


class Outcome(msgspec.Struct, frozen=True):
    fate: Fate
    losses: tuple[Loss, ...] = ()


def request_outcome(
    client: Dialect, provider: Dialect, body: bytes, *, target: bytes = b"", model: str = "a-model"
) -> Outcome:
    """What becomes of a request that is said to a provider whose model is named `model`."""
    here, there = TRANSLATORS[client], TRANSLATORS[provider]
    try:
        said, lost = here.request_in(body, target)
        sent, more = there.request_out(said, model, None, stream=said.stream)
        losses = (*lost, *more)
        if any(loss.fatal for loss in losses):
            return Outcome(Fate.REFUSED, losses)
        if losses:
            return Outcome(Fate.DECLARED, losses)
        heard, _ = there.request_in(sent, target_of(provider, model, stream=said.stream))
    except Refused:
        return Outcome(Fate.REFUSED)
    if said.max_output is None:
        # A dialect that wants a bound was given one.
        heard.max_output = None
    return Outcome(Fate.CARRIED if told(heard) == told(said) else Fate.CHANGED)


def reply_outcome(provider: Dialect, client: Dialect, body: bytes) -> Outcome:
    """What becomes of an answer in one piece that a provider gives to a client. Raises ValueError where it is none."""
    here, there = TRANSLATORS[provider], TRANSLATORS[client]
    said = here.reply_in(body)
    if said.losses:
        return Outcome(Fate.DECLARED, tuple(said.losses))
    heard = there.reply_in(there.reply_out(said, said.model))
    return Outcome(Fate.CARRIED if answered(heard) == answered(said) else Fate.CHANGED)


def target_of(dialect: Dialect, model: str, *, stream: bool) -> bytes:
    """The path and query that a request goes to, for the dialect that says part of it there."""
    if dialect is not Dialect.GEMINI:
        return b""
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{model}:{verb}".encode()


def told(request: Request) -> object:
    """A request in a form in which those that mean the same are equal."""
    return _plain(msgspec.structs.replace(request, model="", messages=_joined(request.messages), wants_usage=True))


def answered(reply: Reply) -> object:
    """An answer in a form in which those that mean the same are equal."""
    return _plain(msgspec.structs.replace(reply, id="", model="", created=0))


def _plain(value: object) -> object:
    """A value without its types, and JSON in it without its spaces."""
    match value:
        case msgspec.Raw():
            return msgspec.json.decode(value) if len(value) else None
        case ToolCall() if (arguments := carriers.sound(value.arguments)) is not None:
            return ["call", value.id, value.name, value.freeform, value.cache, msgspec.json.decode(arguments)]
        case Image(detail="auto"):
            return _plain(msgspec.structs.replace(value, detail=""))
        case Tool(strict=False):
            return _plain(msgspec.structs.replace(value, strict=None))
        case msgspec.Struct():
            return {name: _plain(getattr(value, name)) for name in value.__struct_fields__} | {"": type(value).__name__}
        case list():
            return [_plain(each) for each in value]
        case _:
            return value


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Neighbours of one role as one, and neighbouring texts of an assistant as one."""
    joined: list[Message] = []
    for message in messages:
        role = Role.SYSTEM if message.role is Role.DEVELOPER else message.role
        if joined and joined[-1].role is role:
            joined[-1].parts.extend(message.parts)
        else:
            joined.append(Message(role, list(message.parts)))
    for message in joined:
        if all(isinstance(part, Text) and not part.cache for part in message.parts):
            text = "".join(part.text for part in message.parts if isinstance(part, Text))
            message.parts = [Text(text)]
    return joined
