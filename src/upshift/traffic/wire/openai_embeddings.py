"""How do OpenAI Embeddings say a request, an answer and a refusal?"""

from collections.abc import Sequence

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect
from upshift.traffic.wire import body as bodies
from upshift.traffic.wire import openai_models
from upshift.traffic.wire.ask import Answer, Ask, ModelEntry, StreamMeter, believable
from upshift.traffic.wire.openai_answer import ChatMeter, error_body
from upshift.traffic.wire.salvage import salvage

_LEAST_BYTES_PER_TOKEN = 3
"""Bytes of text that a token sent as its number counts as, so that it is held as at least one token."""


class _Request(msgspec.Struct, gc=False):
    model: str = ""
    input: str | list[str | int | list[int]] = []
    user: str | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int
    total_tokens: int | None = None


class _Whole(msgspec.Struct, gc=False):
    model: str | None = None
    data: list[msgspec.Raw] | None = None
    usage: _Usage | None = None


_REQUEST = msgspec.json.Decoder(_Request)
_WHOLE = msgspec.json.Decoder(_Whole)


class OpenAIEmbeddings:
    """OpenAI Embeddings: an input, no output, never a stream."""

    __slots__ = ()

    def read(self, body: bytes, target: bytes = b"") -> Ask:
        """Understand a request. Raises Refused(BadRequest)."""
        request, _ = bodies.open_body(body, _REQUEST)
        if not request.input:
            bodies.refuse("input", "found none, expected a text, a list of texts, or tokens")
        numbers = 0
        if not isinstance(request.input, str):
            for each in request.input:
                numbers += len(each) if isinstance(each, list) else isinstance(each, int)
        return Ask(
            dialect=Dialect.EMBEDDINGS,
            model=bodies.named(request.model),
            max_output=0,
            text_bytes=max(len(body), numbers * _LEAST_BYTES_PER_TOKEN),
            user_hint=request.user or "",
        )

    def rewrite(
        self,
        body: bytes,
        *,
        model: str | None = None,
        max_output: int | None = None,
        limit_field: str = "",
        include_usage: bool = False,
    ) -> bytes:
        """Put the model into a body that `read` accepted; nothing else can be bounded or asked for here."""
        del max_output, limit_field, include_usage
        if model is None:
            return body
        return bodies.splice(body, bodies.fields_of(body), {"model": msgspec.json.encode(model)})

    def answer(self, body: bytes) -> Answer:
        """Read an answer that came in one piece. Never raises."""
        try:
            said: _Whole | None = _WHOLE.decode(body)
        except (ValueError, RecursionError):
            said = salvage(body, _Whole)
        if said is None:
            return Answer()
        return Answer(usage=_believed(said.usage), model=said.model or "", complete=bool(said.data))

    def stream(self, *, keep_usage: bool) -> StreamMeter:
        """A meter for what should never come: no request of this dialect is read as asking for a stream."""
        return ChatMeter(keep_usage=keep_usage)

    def refusal(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """The body of an error answer; the request id goes in a header alone, as OpenAI does it."""
        del request_id
        return error_body(status, code, message)

    def models(self, entries: Sequence[ModelEntry]) -> bytes:
        """The body of a list of models."""
        return openai_models.models(entries)

    def model(self, entry: ModelEntry) -> bytes:
        """The body that shows one model."""
        return openai_models.model(entry)


def _believed(said: _Usage | None) -> Usage | None:
    """Usage in our terms; None where it is missing or cannot be true. All that is billed is input."""
    if said is None:
        return None
    tokens = max(said.prompt_tokens, said.total_tokens or 0)
    return Usage(input=tokens) if believable(said.prompt_tokens, tokens, said.total_tokens or 0) else None
