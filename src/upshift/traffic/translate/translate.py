"""How does a client that speaks one dialect call a provider that speaks another?"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from upshift.model.refusal import BadRequest, CannotServe, Refused
from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.anthropic import Anthropic
from upshift.traffic.translate.gemini import Gemini
from upshift.traffic.translate.openai_chat import OpenAIChat
from upshift.traffic.translate.openai_responses import OpenAIResponses
from upshift.traffic.translate.words import Asked, Loss, Request, StreamIn, StreamOut, Tool, Translator
from upshift.traffic.wire.stream import fault_text
from upshift.traffic.wire.wires import WIRES

TRANSLATORS: Mapping[Dialect, Translator] = MappingProxyType(
    {
        Dialect.OPENAI: OpenAIChat(),
        Dialect.RESPONSES: OpenAIResponses(),
        Dialect.ANTHROPIC: Anthropic(),
        Dialect.GEMINI: Gemini(),
    }
)
"""Who speaks what. Embeddings say too little to be translated."""

_OLD_LIMIT = OpenAIChat("max_tokens")
_NO_TOOLS: Mapping[str, Tool] = MappingProxyType({})


class Understood(msgspec.Struct, frozen=True, gc=False):
    """A request in our words, read once for all attempts; `losses` is what of it has no word."""

    request: Request
    losses: tuple[Loss, ...]


class Sent(msgspec.Struct, frozen=True, gc=False):
    """What goes to the provider, what of the request does not, and what the answer is to be shaped by."""

    body: bytes
    losses: tuple[Loss, ...]
    asked: Asked


class Stream:
    """One streamed answer on its way, behind the provider's own meter. Never raises."""

    __slots__ = ("_in", "_out")

    def __init__(self, provider: StreamIn, client: StreamOut) -> None:
        self._in = provider
        self._out = client

    @property
    def losses(self) -> Sequence[Loss]:
        """What was met so far that the client's dialect cannot say."""
        return self._in.losses

    def feed(self, chunk: bytes) -> bytes:
        """Whole events of the client's dialect, perhaps none."""
        events = self._in.feed(chunk)
        if len(events) == 1:
            return self._out.say(events[0])
        return b"".join([self._out.say(event) for event in events])

    def finish(self) -> bytes:
        """The provider ended the stream cleanly: the end in the client's dialect, whether or not one was said."""
        return b"".join([self._out.say(event) for event in self._in.finish()]) + self._out.finish()

    def length_stop(self, note: Mapping[str, str], usage: Usage | None = None) -> bytes:
        """Events that end the stream here, as if a length limit had been reached."""
        return self._out.length_stop(note, usage)

    def failure(self, message: str, code: str) -> bytes:
        """An error event in the client's own form."""
        return self._out.failure(message, code)


class Translation:
    """A client's dialect and a provider's, joined. Holds no state of a call.

    `limit_field` is the provider's, for Chat Completions.
    """

    __slots__ = ("_client", "_client_dialect", "_provider", "_provider_dialect")

    def __init__(self, client: Dialect, provider: Dialect, limit_field: str = "max_completion_tokens") -> None:
        self._client_dialect, self._provider_dialect = client, provider
        self._client = TRANSLATORS[client]
        old = provider is Dialect.OPENAI and limit_field == "max_tokens"
        self._provider: Translator = _OLD_LIMIT if old else TRANSLATORS[provider]

    def request(self, understood: Understood, model: str, max_output: int | None, *, created: int = 0) -> Sent:
        """What the provider is sent. `model` is its name there; `max_output` bounds the answer in tokens; `created`
        is now, in seconds since the epoch.

        Raises Refused(CannotServe) where the answer would not mean what was asked.
        """
        request = understood.request
        _refuse(model, understood.losses)
        body, lost = self._provider.request_out(request, model, max_output, stream=request.stream)
        _refuse(model, lost)
        tools = _NO_TOOLS
        if request.tools:
            named = ((self._provider.tool_name(tool.name), tool) for tool in request.tools)
            tools = {name: tool for name, tool in named if name != tool.name or tool.freeform or tool.namespace}
        return Sent(body, (*understood.losses, *lost), Asked(request.wants_usage, tools, created))

    def reply(self, body: bytes, model: str, asked: Asked) -> tuple[bytes, Sequence[Loss]]:
        """An answer in one piece, for the client, who knows its model as `model`. Raises ValueError if it is none."""
        reply = self._provider.reply_in(body)
        return self._client.reply_out(reply, model, asked), reply.losses

    def stream(self, model: str, asked: Asked) -> Stream:
        """A streamed answer, for the client, who knows its model as `model`."""
        return Stream(self._provider.stream_in(), self._client.stream_out(model, asked))

    def error(self, status: int, body: bytes, request_id: str) -> bytes:
        """The body of a provider's error answer, in the client's own form."""
        message = fault_text(_error_in(body)) or f"the provider answered {status}"
        return WIRES[self._client_dialect].refusal(status, "provider_error", message, request_id)


def understand(client: Dialect, body: bytes, target: bytes = b"") -> Understood:
    """A request that the client's Wire accepted, in our words. Raises Refused(BadRequest)."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        # Parts of it are carried over as they are, unread: what is no text would make the translation no JSON.
        raise Refused(BadRequest(where="body", what=f"found byte {error.start} that is not UTF-8")) from error
    request, losses = TRANSLATORS[client].request_in(body, target)
    return Understood(request, tuple(losses))


def not_carried(losses: Sequence[Loss]) -> str:
    """The fields that do not reach the other side, for a header: in ASCII, at most some 500 characters."""
    names: list[str] = []
    room = 480
    for loss in losses:
        name = loss.field.encode("ascii", "replace").decode().replace(",", "?").strip()
        room -= len(name) + 2
        if room < 0:
            names.append("...")
            break
        names.append("".join(each if each.isprintable() else "?" for each in name))
    return ", ".join(names)


def _refuse(model: str, losses: Sequence[Loss]) -> None:
    fatal = [loss for loss in losses if loss.fatal]
    if fatal:
        raise Refused(
            CannotServe(
                model,
                tuple(loss.field for loss in fatal),
                "its provider speaks another dialect: " + "; ".join(f"{loss.field}: {loss.why}" for loss in fatal),
            )
        )


class _Body(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw(b"null")
    message: msgspec.Raw = msgspec.Raw(b"null")


def _error_in(body: bytes) -> msgspec.Raw:
    """The error in a body that says no."""
    try:
        found = msgspec.json.decode(body, type=_Body | list[_Body])
    except (ValueError, RecursionError):
        return msgspec.Raw(msgspec.json.encode(body.decode("utf-8", "replace")[:500]))
    one = found[0] if isinstance(found, list) and found else found
    if isinstance(one, _Body):
        return one.error if one.error != msgspec.Raw(b"null") else one.message
    return msgspec.Raw(b"null")
