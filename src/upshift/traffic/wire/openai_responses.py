"""How does OpenAI Responses say a request, an answer, a stream and a refusal?"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from upshift.traffic.snapshot import Ability, Dialect
from upshift.traffic.wire import body as bodies
from upshift.traffic.wire import openai_models
from upshift.traffic.wire.ask import Ask, ModelEntry, StreamMeter, asked_extras
from upshift.traffic.wire.openai_answer import error_body
from upshift.traffic.wire.responses_answer import ResponsesMeter, read_answer

_NULL = msgspec.Raw(b"null")
_NOTHING = msgspec.Raw()
_FILE_BYTES_PER_IMAGE = 50_000
"""Base64 bytes of a file that may cost as many tokens as an image: about a scanned page."""
_SOUND_BYTES_PER_IMAGE = 500_000
"""Base64 bytes of a sound that may cost as many tokens as an image: minutes of narrow-band speech."""
_UNSEEN_FILE = 10
"""Images that a file counts as which is only referred to."""
_LEAST_OUTPUT = 16
"""No smaller max_output_tokens is accepted."""
_UNSEEN_CONTEXT = 10
"""Images that what a provider kept of a conversation counts as, since we never see it."""


class _Format(msgspec.Struct, gc=False):
    type: str = ""


class _Text(msgspec.Struct, gc=False):
    format: _Format | None = None


class _CacheOptions(msgspec.Struct, gc=False):
    ttl: str | None = None


class _Conversation(msgspec.Struct, gc=False):
    id: str = ""


class _Request(msgspec.Struct, gc=False):
    model: str = ""
    input: msgspec.Raw = _NOTHING
    stream: bool | None = None
    background: bool | None = None
    max_output_tokens: int | None = None
    tools: list[msgspec.Raw] | None = None
    text: _Text | None = None
    previous_response_id: str | None = None
    conversation: str | _Conversation | None = None
    prompt: msgspec.Raw = _NULL
    prompt_cache_key: str | None = None
    prompt_cache_options: _CacheOptions | None = None
    safety_identifier: str | None = None
    user: str | None = None
    service_tier: str | None = None
    models: msgspec.Raw = _NULL


class _Part(msgspec.Struct, gc=False):
    type: str = ""
    image_url: msgspec.Raw = _NOTHING
    file_id: msgspec.Raw = _NOTHING
    file_data: msgspec.Raw = _NOTHING
    input_audio: msgspec.Raw = _NOTHING


class _Item(msgspec.Struct, gc=False):
    type: str | None = None
    content: msgspec.Raw = _NOTHING
    output: msgspec.Raw = _NOTHING
    tools: msgspec.Raw = _NOTHING
    result: msgspec.Raw = _NOTHING


_REQUEST = msgspec.json.Decoder(_Request)
_ITEMS = msgspec.json.Decoder(list[_Item])
_PARTS = msgspec.json.Decoder(list[_Part])
_OUTPUT = msgspec.json.Decoder(list[_Part] | _Part | str | None)


class _Seen:
    """What the input of a request has in it."""

    __slots__ = ("images", "inline", "keeps_state", "needs")

    def __init__(self) -> None:
        self.images = 0
        self.inline = 0
        self.keeps_state = False
        self.needs: set[Ability] = set()

    def item(self, where: str, item: _Item) -> None:
        """Look through one item. Raises Refused(BadRequest)."""
        kind = item.type or "message"
        if kind == "message":
            for part in bodies.items(f"{where}.content", item.content, _PARTS):
                self._part(part)
        elif kind == "item_reference":
            self.keeps_state = True
            self.images += _UNSEEN_FILE
        elif kind == "additional_tools" or kind.endswith(("_call", "_call_output")):
            self.needs.add(Ability.TOOLS)
            self._output(item.output)
            if kind == "image_generation_call" and len(item.result) > len(_NULL):
                self.inline += len(item.result)
                self.images += 1

    def _output(self, raw: msgspec.Raw) -> None:
        """What a tool gave back: a text, parts, or one part; the shapes of tools that we do not know are text."""
        if not len(raw):
            return
        try:
            found = _OUTPUT.decode(raw)
        except (ValueError, RecursionError):
            return
        for part in [found] if isinstance(found, _Part) else found or ():
            if isinstance(part, _Part):
                self._part(part)

    def _part(self, part: _Part) -> None:
        if _said(part.file_id):
            # The provider holds it, so no other one can read it.
            self.keeps_state = True
        if part.type in {"input_image", "computer_screenshot"} or _said(part.image_url):
            self.needs.add(Ability.IMAGES)
            self.images += 1
            if bytes(memoryview(part.image_url)[:6]) == b'"data:':
                self.inline += len(part.image_url)
        elif _said(part.file_data):
            self.inline += len(part.file_data)
            self.images += 1 + len(part.file_data) // _FILE_BYTES_PER_IMAGE
        elif part.type == "input_file":
            self.images += _UNSEEN_FILE
        elif _said(part.input_audio):
            self.inline += len(part.input_audio)
            self.images += 1 + len(part.input_audio) // _SOUND_BYTES_PER_IMAGE


def _said(raw: msgspec.Raw) -> bool:
    return raw != _NULL and len(raw) > 0


class OpenAIResponses:
    """OpenAI Responses."""

    __slots__ = ()

    def read(self, body: bytes, target: bytes = b"") -> Ask:
        """Understand a request. Raises Refused(BadRequest)."""
        request, _ = bodies.open_body(body, _REQUEST)
        if request.background:
            bodies.refuse("background", "found true, expected a call that is answered at once: its use is metered then")
        bodies.no_fallbacks("models", request.models)
        seen = _Seen()
        items = bodies.items("input", request.input, _ITEMS)
        for index, item in enumerate(items):
            seen.item(f"input[{index}]", item)
        conversation = request.conversation
        kept_as = conversation.id if isinstance(conversation, _Conversation) else conversation
        if request.previous_response_id or kept_as or request.prompt != _NULL:
            seen.keeps_state = True
            seen.images += _UNSEEN_CONTEXT
        elif not items and bytes(memoryview(request.input)[:1]) != b'"':
            bodies.refuse("input", "found none, expected a text or a list with at least one item")
        if request.tools:
            seen.needs.add(Ability.TOOLS)
        asked = request.text.format if request.text is not None else None
        if asked is not None and asked.type in {"json_object", "json_schema"}:
            seen.needs.add(Ability.JSON)
        return Ask(
            dialect=Dialect.RESPONSES,
            model=bodies.named(request.model),
            stream=bool(request.stream),
            max_output=bodies.bounded("max_output_tokens", request.max_output_tokens),
            needs=frozenset(seen.needs),
            text_bytes=len(body) - seen.inline,
            images=seen.images,
            cache_write=_cache_write(request.prompt_cache_options),
            user_hint=request.safety_identifier or request.user or "",
            session_hint=request.prompt_cache_key or kept_as or "",
            wants_usage=True,
            least_output=_LEAST_OUTPUT,
            extras=asked_extras(request.service_tier),
            keeps_state=seen.keeps_state,
            state=request.previous_response_id or kept_as or "",
        )

    def rewrite(
        self,
        body: bytes,
        *,
        model: str | None = None,
        max_output: int | None = None,
        limit_field: str = "max_output_tokens",
        include_usage: bool = False,
    ) -> bytes:
        """Put top-level fields into a body that `read` accepted; the same object where nothing changes.

        This dialect has one bound, max_output_tokens, and always reports usage: the last two arguments change nothing.
        """
        del limit_field, include_usage
        changes: dict[str, bytes] = {}
        if model is not None:
            changes["model"] = msgspec.json.encode(model)
        if max_output is not None:
            changes["max_output_tokens"] = str(max_output).encode()
        return bodies.splice(body, bodies.fields_of(body), changes) if changes else body

    answer = staticmethod(read_answer)
    """Read an answer that came in one piece. Never raises."""

    def stream(self, *, keep_usage: bool) -> StreamMeter:
        """A meter for one streamed answer. Usage is part of an event that clients need, so it always stays."""
        del keep_usage
        return ResponsesMeter()

    def refusal(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """The body of an error answer; the request id goes in a header alone, as OpenAI does it.

        A spent budget with status 429 is what Codex shows at once and in full, if a header x-codex-promo-message
        repeats the message; other clients are sent 402.
        """
        del request_id
        if status == 429 and code == "over_budget":
            return msgspec.json.encode(
                {"error": {"message": message, "type": "usage_limit_reached", "param": None, "code": code}}
            )
        return error_body(status, code, message)

    def models(self, entries: Sequence[ModelEntry]) -> bytes:
        """The body of a list of models."""
        return openai_models.models(entries)

    def model(self, entry: ModelEntry) -> bytes:
        """The body that shows one model."""
        return openai_models.model(entry)


def _cache_write(options: _CacheOptions | None) -> Literal["", "5m", "1h"]:
    """The dearer of two lifetimes where it is asked for; what is written without asking costs as much as is read."""
    return "1h" if options is not None and options.ttl == "12h" else ""
