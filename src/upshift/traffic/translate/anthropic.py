"""How is a request read that is put in the words of Anthropic Messages, and which translator speaks them?"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers
from upshift.traffic.translate.anthropic_answer import reply_in, reply_out
from upshift.traffic.translate.anthropic_request import LONGEST_NAME, request_out
from upshift.traffic.translate.anthropic_stream import MessagesStreamIn, MessagesStreamOut
from upshift.traffic.translate.asides import Losses
from upshift.traffic.translate.opening import Opener
from upshift.traffic.translate.words import (
    EFFORTS,
    NOTHING_ASKED,
    Asked,
    CacheMark,
    File,
    Format,
    Image,
    Loss,
    Message,
    Part,
    Reasoning,
    Reply,
    Request,
    Role,
    StreamIn,
    StreamOut,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from upshift.traffic.wire import body as bodies

_NOTHING = msgspec.Raw()
_NULL = msgspec.Raw(b"null")
_BILLING = "x-anthropic-billing-header:"
_RUNS_THERE = "it runs at Anthropic"


class _Strict(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    pass


class _Cache(_Strict):
    type: str = ""
    ttl: str | None = None


class _Source(_Strict):
    type: str = ""
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    content: "str | list[_Block] | None" = None


class _Block(_Strict):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = _NOTHING
    tool_use_id: str | None = None
    content: "str | list[_Block] | _Block | None" = None
    is_error: bool | None = None
    source: _Source | str | None = None
    title: str | None = None
    context: str | None = None
    citations: msgspec.Raw = _NULL
    cache_control: _Cache | None = None
    caller: msgspec.Raw = _NULL
    toolset_name: str | None = None
    tool_name: str | None = None
    transformations: msgspec.Raw = _NULL


class _Message(_Strict):
    role: str = ""
    content: str | list[_Block] = ""


class _Tool(_Strict):
    name: str = ""
    type: str | None = None
    description: str | None = None
    input_schema: msgspec.Raw = _NOTHING
    strict: bool | None = None
    cache_control: _Cache | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None
    allowed_callers: list[str] | None = None
    input_examples: msgspec.Raw = _NULL


class _Choice(_Strict):
    type: str = ""
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Thinking(_Strict):
    type: str = ""
    budget_tokens: int | None = None
    display: str | None = None


class _Format(_Strict):
    type: str = ""
    schema: msgspec.Raw = _NOTHING


class _OutputConfig(_Strict):
    effort: str | None = None
    format: _Format | None = None


class _Metadata(_Strict):
    user_id: str | None = None


class _Request(_Strict):
    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    system: str | list[_Block] | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    thinking: _Thinking | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None
    metadata: _Metadata | None = None
    service_tier: str | None = None
    cache_control: _Cache | None = None
    container: msgspec.Raw = _NULL
    mcp_servers: msgspec.Raw = _NULL
    inference_geo: msgspec.Raw = _NULL
    context_management: msgspec.Raw = _NULL
    diagnostics: msgspec.Raw = _NULL
    speed: msgspec.Raw = _NULL
    user_profile_id: msgspec.Raw = _NULL


_OPENER = Opener(_Request)
_EMPTY = (_NULL, _NOTHING, msgspec.Raw(b"[]"))

_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "container": "it is kept at Anthropic",
        "mcp_servers": "their tools run at Anthropic",
        "inference_geo": "where Anthropic computes says nothing of another provider",
    }
)
_DECLARED: Mapping[str, str] = MappingProxyType(
    {
        "context_management": "Anthropic itself edits the context",
        "diagnostics": "it is about Anthropic's own caches",
        "speed": "Anthropic's own modes",
        "user_profile_id": "it is kept at Anthropic",
    }
)


class Anthropic:
    """Anthropic Messages."""

    __slots__ = ()

    def request_in(self, body: bytes, target: bytes = b"") -> tuple[Request, list[Loss]]:
        """Read a request that the dialect's Wire accepted. Raises Refused(BadRequest)."""
        said, strangers = _OPENER.open(body)
        losses = Losses(strangers)
        for fields, say in ((_REFUSED, losses.refuse), (_DECLARED, losses.add)):
            for field, why in fields.items():
                if getattr(said, field) != _NULL:
                    say(field, why)
        messages: list[Message] = []
        if said.system:
            messages.append(Message(Role.SYSTEM, _system_in(said.system, losses)))
        names: dict[str, str] = {}
        for index, message in enumerate(said.messages):
            messages.append(Message(_role(message.role, index), _parts_in(message.content, names, losses)))
        if messages and messages[-1].role is Role.ASSISTANT:
            losses.add("messages[-1].content", "an answer that is begun is not gone on from, but given anew")
        request = Request(
            model=said.model,
            messages=messages,
            stream=bool(said.stream),
            max_output=said.max_tokens,
            temperature=said.temperature,
            top_p=said.top_p,
            top_k=said.top_k,
            reasoning=_reasoning_in(said.thinking, said.output_config, losses),
            cache=_mark(said.cache_control),
        )
        if said.stop_sequences:
            request.stop = said.stop_sequences
        if said.tools:
            request.tools = _tools_in(said.tools, losses)
        if said.tool_choice is not None:
            request.tool_choice, request.parallel = _choice_in(said.tool_choice)
        form = said.output_format if said.output_config is None else said.output_config.format or said.output_format
        if form is not None:
            request.format = Format("schema", form.schema, strict=True)
        if said.metadata is not None:
            request.user = said.metadata.user_id or ""
        if said.service_tier:
            request.service_tier = "default" if said.service_tier == "standard_only" else "auto"
        return request, losses.all()

    def request_out(
        self, request: Request, model: str, max_output: int | None, *, stream: bool
    ) -> tuple[bytes, list[Loss]]:
        """Write a request. Changes nothing of `request`."""
        return request_out(request, model, max_output, stream=stream)

    def tool_name(self, name: str) -> str:
        """The name by which this dialect is told a tool."""
        return carriers.fitted(name, LONGEST_NAME)

    def reply_in(self, body: bytes) -> Reply:
        """Read an answer in one piece. Raises ValueError where it is none."""
        return reply_in(body)

    def reply_out(self, reply: Reply, model: str, asked: Asked = NOTHING_ASKED) -> bytes:
        """Write an answer in one piece."""
        return reply_out(reply, model, asked)

    def stream_in(self) -> StreamIn:
        """A reader of one stream."""
        return MessagesStreamIn()

    def stream_out(self, model: str, asked: Asked = NOTHING_ASKED) -> StreamOut:
        """A writer of one stream."""
        return MessagesStreamOut(model, asked)


def _role(said: str, index: int) -> Role:
    if said not in {"user", "assistant", "system"}:
        bodies.refuse(f"messages[{index}].role", f"found {said[:40]!r}, expected user, assistant or system")
    return Role(said)


def _mark(cache: _Cache | None) -> CacheMark:
    if cache is None:
        return ""
    return "1h" if cache.ttl == "1h" else "5m"


def _system_in(said: str | list[_Block], losses: Losses) -> list[Part]:
    if isinstance(said, str):
        return [Text(said)]
    parts: list[Part] = []
    for block in said:
        text = block.text or ""
        if text.startswith(_BILLING):
            # No instruction, and different for each call: it would keep other providers' caches from ever being met.
            losses.add("system[].x-anthropic-billing-header", "meant for Anthropic, not for a model")
        else:
            parts.append(Text(text, _mark(block.cache_control)))
    return parts


def _parts_in(content: str | list[_Block], names: dict[str, str], losses: Losses) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)]
    parts: list[Part] = []
    for block in content:
        part = _part_in(block, names, losses)
        if part is not None:
            parts.append(part)
    return parts


def _part_in(block: _Block, names: dict[str, str], losses: Losses) -> Part | None:
    mark = "" if block.cache_control is None else _mark(block.cache_control)
    match block.type:
        case "text":
            if block.citations not in _EMPTY:
                losses.add("messages[].content[].citations", "citations are no input elsewhere")
            return Text(block.text or "", mark)
        case "tool_use":
            ident, name = block.id or "", block.name or ""
            if block.toolset_name:
                losses.refuse("messages[].content[].toolset_name", "a toolset is Anthropic's own")
            names[ident] = name
            return ToolCall(ident, name, bytes(block.input).decode("utf-8", "replace"), cache=mark)
        case "tool_result":
            ident = block.tool_use_id or ""
            inner = _parts_in(_nested(block.content), names, losses)
            content = [each for each in inner if isinstance(each, Text | Image | File)]
            if len(content) < len(inner):
                losses.refuse("messages[].content[].content[]", "what a tool gives back is text, images and files")
            return ToolResult(ident, content, bool(block.is_error), names.get(ident, ""), cache=mark)
        case "thinking":
            return Thinking(block.thinking or "", carriers.unseal(block.signature or "", Dialect.ANTHROPIC))
        case "redacted_thinking":
            return Thinking(signature=carriers.unseal(block.data or "", Dialect.ANTHROPIC), redacted=True)
        case "image":
            if block.transformations not in _EMPTY:
                losses.add("messages[].content[].transformations", "Anthropic's own")
            return _image_in(block.source, mark)
        case "document":
            return _document_in(block, mark, losses)
        case "search_result":
            losses.add("messages[].content[].search_result", "sent as text")
            texts = _texts(_nested(block.content))
            source = block.source if isinstance(block.source, str) else ""
            return Text("\n".join([block.title or "", source, *texts]).strip(), mark)
        case other:
            losses.add(f"messages[].content[].{other[:60]}", _RUNS_THERE)
            return None


def _nested(content: str | list[_Block] | _Block | None) -> str | list[_Block]:
    """The content of a block; that of a tool which ran at Anthropic may be a single one."""
    return [content] if isinstance(content, _Block) else content or ""


def _texts(content: str | Sequence[_Block]) -> list[str]:
    return [content] if isinstance(content, str) else [block.text for block in content if block.text]


def _image_in(source: _Source | str | None, mark: CacheMark) -> Image:
    if not isinstance(source, _Source):
        bodies.refuse("messages[].content[].source", "found none, expected the source of an image")
    return Image(
        url=source.url or "",
        media_type=source.media_type or "",
        data=source.data or "",
        file_id=source.file_id or "",
        cache=mark,
    )


def _document_in(block: _Block, mark: CacheMark, losses: Losses) -> File:
    source = block.source
    if not isinstance(source, _Source):
        bodies.refuse("messages[].content[].source", "found none, expected the source of a document")
    if block.citations not in _EMPTY and b"true" in bytes(block.citations):
        losses.add("messages[].content[].citations", "no other dialect cites documents")
    if block.context:
        losses.add("messages[].content[].context", "no field of other dialects")
    file = File(name=block.title or "", url=source.url or "", file_id=source.file_id or "", cache=mark)
    match source.type:
        case "text":
            file.text = source.data or ""
        case "content":
            file.text = "\n".join(_texts(source.content or ""))
            losses.add("messages[].content[].source.content", "sent as one text")
        case _:
            file.media_type, file.data = source.media_type or "", source.data or ""
    return file


def _tools_in(said: list[_Tool], losses: Losses) -> list[Tool]:
    tools = []
    for tool in said:
        kind = tool.type or "custom"
        if kind.startswith("tool_search_tool"):
            losses.add("tools[].tool_search_tool", "all tools are shown at once instead")
            continue
        if kind != "custom":
            losses.refuse(f"tools[].{kind[:60]}", "a tool that Anthropic defines, or runs")
            continue
        if tool.defer_loading:
            losses.add("tools[].defer_loading", "all tools are shown at once instead")
        if tool.eager_input_streaming is not None:
            losses.add("tools[].eager_input_streaming", "Anthropic's own")
        if tool.allowed_callers is not None and tool.allowed_callers != ["direct"]:
            losses.add("tools[].allowed_callers", "tools are called directly")
        if tool.input_examples not in _EMPTY:
            losses.add("tools[].input_examples", "no field of other dialects")
        tools.append(
            Tool(tool.name, tool.description or "", tool.input_schema, tool.strict, cache=_mark(tool.cache_control))
        )
    return tools


def _choice_in(said: _Choice) -> tuple[ToolChoice, bool | None]:
    parallel = None if said.disable_parallel_tool_use is None else not said.disable_parallel_tool_use
    match said.type:
        case "auto" | "any" | "none":
            return ToolChoice(said.type), parallel
        case "tool":
            return ToolChoice("named", (said.name or "",)), parallel
        case other:
            bodies.refuse("tool_choice.type", f"found {other[:40]!r}, expected auto, any, tool or none")


def _reasoning_in(said: _Thinking | None, config: _OutputConfig | None, losses: Losses) -> Reasoning | None:
    effort = None if config is None else config.effort
    if effort is not None and effort not in EFFORTS:
        bodies.refuse("output_config.effort", f"found {effort[:40]!r}, expected one of {', '.join(EFFORTS)}")
    if said is None:
        return None if effort is None else Reasoning(effort=effort)
    shown = None if said.display is None else said.display != "omitted"
    match said.type:
        case "disabled":
            return Reasoning(effort="none")
        case "enabled":
            return Reasoning(effort=effort, budget=said.budget_tokens, shown=shown)
        case "between_tools":
            losses.add("thinking.type", "between_tools is Anthropic's own")
            return Reasoning(effort=effort, adaptive=True, shown=shown)
        case _:
            return Reasoning(effort=effort, adaptive=True, shown=shown)
