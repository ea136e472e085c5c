"""What do a request, an answer and a stream say, in words that no dialect owns?"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect

CacheMark: TypeAlias = Literal["", "5m", "1h"]
"""How long what ends here shall stay cached; empty: not marked."""


class Loss(msgspec.Struct, frozen=True, gc=False):
    """Something that does not reach the other side.

    `field` is its path in the dialect where it was found, without indices ("messages[].content[].citations").
    `fatal`: without it the answer would mean something else, so the call is refused.
    """

    field: str
    why: str
    fatal: bool = False


class Signature(msgspec.Struct, frozen=True, gc=False):
    """What a provider signs or encrypts its thoughts with; only dialect `of` can read it."""

    of: Dialect
    value: str


class Text(msgspec.Struct, gc=False):
    text: str
    cache: CacheMark = ""


class Refusal(msgspec.Struct, gc=False):
    """A model's text that declines to answer."""

    text: str


class Image(msgspec.Struct, gc=False):
    """One of: `url`; base64 `data` with its `media_type`; `file_id` at the provider (which no other knows)."""

    url: str = ""
    media_type: str = ""
    data: str = ""
    file_id: str = ""
    detail: str = ""
    cache: CacheMark = ""


class File(msgspec.Struct, gc=False):
    """One of: `url`; base64 `data` with its `media_type`; plain `text`; `file_id` at the provider."""

    name: str = ""
    url: str = ""
    media_type: str = ""
    data: str = ""
    text: str = ""
    file_id: str = ""
    cache: CacheMark = ""


class Audio(msgspec.Struct, gc=False):
    """Base64 `data` with its `media_type` ("audio/wav")."""

    data: str
    media_type: str


class ToolCall(msgspec.Struct, gc=False):
    """`arguments` is the JSON text of an object as the model wrote it, sound or not; free text if `freeform`."""

    id: str
    name: str
    arguments: str
    freeform: bool = False
    cache: CacheMark = ""


class ToolResult(msgspec.Struct, gc=False):
    """What a tool answered to the call with this `id`. `name` is the tool's, as far as known (Gemini needs it)."""

    id: str
    content: "list[Text | Image | File]"
    is_error: bool = False
    name: str = ""
    freeform: bool = False
    cache: CacheMark = ""


class Thinking(msgspec.Struct, gc=False):
    """Thoughts of a model, as text that may be shown, and what its provider wants back to go on from them.

    A signature of Gemini that sits on a text or a call is a Thinking without text before that part. `redacted`: there
    is no text because the provider encrypted it.
    """

    text: str = ""
    signature: Signature | None = None
    redacted: bool = False


Part: TypeAlias = Text | Refusal | Image | File | Audio | ToolCall | ToolResult | Thinking


class Role(StrEnum):
    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    """People and tools: results are parts of a user's message."""
    ASSISTANT = "assistant"


class Message(msgspec.Struct, gc=False):
    role: Role
    parts: list[Part]


class Tool(msgspec.Struct, gc=False):
    """`schema` is a JSON Schema of the arguments, as JSON; empty: none. `freeform` takes text; `grammar` is then what
    the text has to match, as the dialect's own JSON.

    `name` is unique in a request. A dialect with namespaces makes it of `namespace` and `inner`.
    """

    name: str
    description: str = ""
    schema: msgspec.Raw = msgspec.Raw()
    strict: bool | None = None
    freeform: bool = False
    grammar: msgspec.Raw = msgspec.Raw()
    namespace: str = ""
    inner: str = ""
    cache: CacheMark = ""


class ToolChoice(msgspec.Struct, frozen=True, gc=False):
    """`any`: at least one call; `named`: a call of `names[0]`. For auto and any, `names` are the only ones allowed."""

    mode: Literal["auto", "any", "none", "named"]
    names: tuple[str, ...] = ()


class Format(msgspec.Struct, frozen=True, gc=False):
    """The form of an answer: any JSON object, or one that fits the `schema` (JSON Schema, as JSON)."""

    kind: Literal["json", "schema"]
    schema: msgspec.Raw = msgspec.Raw()
    name: str = ""
    description: str = ""
    strict: bool | None = None


Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """How much to think: `effort`, or a `budget` in tokens; `adaptive` leaves it to the model; none said: as usual.

    `shown` says whether the caller wants to see (a summary of) the thoughts; None: as usual. "none" turns it off.
    """

    effort: Effort | None = None
    budget: int | None = None
    adaptive: bool = False
    shown: bool | None = None


class Request(msgspec.Struct, gc=False, kw_only=True):
    """A request. None and empty say: not said. System messages stand where they were said, usually first."""

    model: str
    messages: list[Message]
    stream: bool = False
    wants_usage: bool = True
    """Whether the client expects usage within a stream."""
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    parallel: bool | None = None
    """Whether several tools may be called at once."""
    format: Format | None = None
    reasoning: Reasoning | None = None
    max_output: int | None = None
    temperature: float | None = None
    """0 to 2 as OpenAI and Gemini count; Anthropic's end at 1."""
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: list[str] = []
    user: str = ""
    """Who the caller says the end user is: an opaque id."""
    cache_key: str = ""
    """What a provider may route by so that its caches are met again."""
    cache: CacheMark = ""
    """Cache the longest prefix there is, without a mark in the content."""
    service_tier: str = ""
    """"auto", "default", "flex" or "priority", as OpenAI says."""
    verbosity: str = ""
    """"low", "medium" or "high"."""


class Asked(msgspec.Struct, frozen=True, gc=False):
    """What of a request its answer is shaped by. `tools` is keyed by the name that the provider was told; the client's
    own name, and whether it takes free text, are in the tool.
    """

    wants_usage: bool = True
    tools: Mapping[str, Tool] = MappingProxyType({})
    created: int = 0
    """Seconds since the epoch, for dialects that say when an answer was made and providers that do not."""


NOTHING_ASKED = Asked()


class StopReason(StrEnum):
    """Why an answer ended."""

    END = "end"
    TOOLS = "tools"
    LENGTH = "length"
    SEQUENCE = "sequence"
    """A stop sequence was met; dialects that do not tell it from END read it as END."""
    FILTER = "filter"
    """Declined or withheld, by the model or by a filter."""
    CONTEXT = "context"
    """The model's context window is full."""
    PAUSE = "pause"
    """The provider wants to be asked to go on."""


class Reply(msgspec.Struct, gc=False, kw_only=True):
    """An answer in one piece. `created` is seconds since the epoch, 0 where nobody said."""

    id: str
    model: str
    parts: list[Part]
    stop: StopReason
    stop_sequence: str = ""
    usage: Usage | None = None
    created: int = 0
    losses: list[Loss] = []


# A stream is a sequence of events. `Start` is first, once. Parts never interleave: all deltas of one part, then its
# `PartEnd`, then the next. `Stop` is last, once, except for a `UsageSeen` that may still follow. `Fault` ends all.


class Start(msgspec.Struct, frozen=True, gc=False):
    id: str
    model: str
    usage: Usage | None = None
    """What is known of it at the start: input at best."""
    created: int = 0


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """More text of the open text part; opens one if none is open."""

    text: str


class RefusalDelta(msgspec.Struct, frozen=True, gc=False):
    """More text that declines to answer; opens such a part if none is open."""

    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False):
    """More thought of the open part; opens one if none is open."""

    text: str


class Signed(msgspec.Struct, frozen=True, gc=False):
    """The signature of the open thinking part, whole; opens one without text if none is open."""

    signature: Signature
    redacted: bool = False


class ToolStart(msgspec.Struct, frozen=True, gc=False):
    id: str
    name: str
    freeform: bool = False


class ToolDelta(msgspec.Struct, frozen=True, gc=False):
    """More of the arguments of the open call."""

    text: str


class PartEnd(msgspec.Struct, frozen=True, gc=False):
    """The open part is whole."""


class UsageSeen(msgspec.Struct, frozen=True, gc=False):
    """Usage so far; the last one counts."""

    usage: Usage


class Stop(msgspec.Struct, frozen=True, gc=False):
    reason: StopReason
    sequence: str = ""


class Fault(msgspec.Struct, frozen=True, gc=False):
    """The provider broke the answer off. `code` is one of ours or the provider's."""

    message: str
    code: str = "provider_error"


Event: TypeAlias = (
    Start
    | TextDelta
    | RefusalDelta
    | ThinkingDelta
    | Signed
    | ToolStart
    | ToolDelta
    | PartEnd
    | UsageSeen
    | Stop
    | Fault
)


class StreamIn(Protocol):
    """Reads the stream of a provider. Never raises, whatever the bytes."""

    losses: list[Loss]
    """What was met that has no word here."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Events that are whole now; the same whatever way the stream was split."""

    def finish(self) -> list[Event]:
        """The provider ended the stream: what was held back, open parts ended, and a Stop if none was said."""


class StreamOut(Protocol):
    """Writes a stream for a client. Each call gives whole events of its dialect, perhaps none."""

    def say(self, event: Event) -> bytes:
        """Events of the dialect that say this one."""

    def finish(self) -> bytes:
        """What the dialect ends a stream with, unless it was said."""

    def length_stop(self, note: Mapping[str, str], usage: Usage | None = None) -> bytes:
        """End the stream here as if a length limit had been reached: open parts ended, stop, usage, end.

        `note` is the extra field "upshift"; `usage` our own figure, sent where the client expects one. Nothing where
        the stream has ended.
        """

    def failure(self, message: str, code: str) -> bytes:
        """An error event in the dialect's own form."""


class Translator(Protocol):
    """One dialect, in and out. Holds no state."""

    def request_in(self, body: bytes, target: bytes = b"") -> tuple[Request, list[Loss]]:
        """Read a request that the dialect's Wire accepted. Raises Refused(BadRequest), and nothing else."""

    def request_out(
        self, request: Request, model: str, max_output: int | None, *, stream: bool
    ) -> tuple[bytes, list[Loss]]:
        """Write a request. `model` is the provider's name for it. `max_output` bounds the answer in tokens, set where
        the request says nothing or more; a stream always asks for usage. Changes nothing of `request`.
        """

    def tool_name(self, name: str) -> str:
        """The name by which this dialect is told a tool: itself wherever it may be."""

    def reply_in(self, body: bytes) -> Reply:
        """Read an answer in one piece. Raises ValueError where it is none."""

    def reply_out(self, reply: Reply, model: str, asked: Asked = NOTHING_ASKED) -> bytes:
        """Write an answer in one piece. `model` is the name that the client knows it by."""

    def stream_in(self) -> StreamIn:
        """A reader of one stream."""

    def stream_out(self, model: str, asked: Asked = NOTHING_ASKED) -> StreamOut:
        """A writer of one stream."""
