"""How is a request of OpenAI Responses put in words that no dialect owns?"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from upshift.traffic.translate import carriers, data_url
from upshift.traffic.translate.asides import Losses
from upshift.traffic.translate.openai_responses_answer import ResponsesStreamIn, reply_in, reply_out, unsealed
from upshift.traffic.translate.openai_responses_asked import LONGEST_NAME, request_out
from upshift.traffic.translate.openai_responses_stream import ResponsesStreamOut
from upshift.traffic.translate.opening import Opener
from upshift.traffic.translate.words import (
    EFFORTS,
    NOTHING_ASKED,
    Asked,
    Audio,
    CacheMark,
    Effort,
    File,
    Format,
    Image,
    Loss,
    Message,
    Part,
    Reasoning,
    Refusal,
    Reply,
    Request,
    Role,
    StreamIn,
    StreamOut,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from upshift.traffic.wire import body as bodies

_NOTHING = msgspec.Raw()
_NULL = msgspec.Raw(b"null")
_EMPTY = msgspec.Raw(b"[]")


class _Strict(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    pass


class _Breakpoint(_Strict):
    mode: str | None = None
    ttl: str | None = None


class _Sound(_Strict):
    data: str = ""
    format: str = ""


class _Part(_Strict):
    type: str = ""
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    detail: str | None = None
    input_audio: _Sound | None = None
    annotations: msgspec.Raw = _NULL
    logprobs: msgspec.Raw = _NULL
    prompt_cache_breakpoint: _Breakpoint | None = None


class _Tool(_Strict):
    type: str = "function"
    name: str = ""
    description: str | None = None
    parameters: msgspec.Raw = _NULL
    strict: bool | None = None
    format: msgspec.Raw = _NOTHING
    tools: "list[_Tool] | None" = None
    defer_loading: bool | None = None
    namespace: str | None = None


class _Format(_Strict):
    type: str = "text"
    name: str = ""
    description: str | None = None
    schema: msgspec.Raw = _NOTHING
    strict: bool | None = None


class _Text(_Strict):
    format: _Format | None = None
    verbosity: str | None = None


class _Reasoning(_Strict):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None
    mode: str | None = None


class _Item(_Strict):
    type: str | None = None
    id: str | None = None
    status: str | None = None
    role: str = ""
    phase: str | None = None
    content: str | list[_Part] | None = None
    summary: list[_Part] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[_Part] | None = None
    tools: list[msgspec.Raw] | None = None
    reasoning: _Reasoning | None = None
    text: _Text | None = None


class _Choice(_Strict):
    type: str = ""
    name: str = ""
    namespace: str | None = None
    mode: str = "auto"
    tools: list[_Tool] = []


class _Request(_Strict):
    model: str
    input: str | list[msgspec.Raw] | None = None
    instructions: str | None = None
    stream: bool | None = None
    stream_options: msgspec.Raw = _NULL
    max_output_tokens: int | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: str | _Choice | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    text: _Text | None = None
    reasoning: _Reasoning | None = None
    include: list[str] | None = None
    store: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    truncation: str | None = None
    top_logprobs: int | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: msgspec.Raw = _NULL
    prompt: msgspec.Raw = _NULL
    moderation: msgspec.Raw = _NULL
    max_tool_calls: int | None = None
    metadata: msgspec.Raw = _NULL
    client_metadata: msgspec.Raw = _NULL
    context_management: msgspec.Raw = _NULL
    prompt_cache_options: msgspec.Raw = _NULL
    prompt_cache_retention: str | None = None


class _Kind(msgspec.Struct, gc=False):
    type: str = ""


_OPENER = Opener(_Request)
_ITEMS = Opener(_Item)
_TOOLS = Opener(_Tool)
_KIND = msgspec.json.Decoder(_Kind)

_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "previous_response_id": "only the provider that keeps the answer can go on from it",
        "conversation": "only the provider that keeps the conversation can go on from it",
        "prompt": "only the provider that keeps the prompt knows it",
        "moderation": "the check runs at OpenAI",
    }
)
_DECLARED: Mapping[str, str] = MappingProxyType(
    {
        "max_tool_calls": "it counts calls that run at OpenAI",
        "metadata": "it is kept with OpenAI's own records",
        "client_metadata": "it is kept with OpenAI's own records",
        "context_management": "the context is sent whole",
        "prompt_cache_options": "caching is asked for in another way",
        "prompt_cache_retention": "caching is asked for in another way",
    }
)
_LEFT_OUT = frozenset({"web_search", "web_search_preview", "image_generation", "tool_search"})
"""Tools that agents offer as a matter of course: without them the model does less, but nothing else."""
_PAST = frozenset({"web_search_call", "tool_search_call", "tool_search_output", "image_generation_call"})
"""What was done at OpenAI in earlier turns, and told in the text that followed."""
_PLAIN_TIERS = frozenset({"auto", "default", "flex", "priority"})


class OpenAIResponses:
    """OpenAI Responses."""

    __slots__ = ()

    def request_in(self, body: bytes, target: bytes = b"") -> tuple[Request, list[Loss]]:
        """Read a request that the dialect's Wire accepted. Raises Refused(BadRequest)."""
        said, strangers = _OPENER.open(body)
        losses = Losses(strangers)
        _unsaid(said, losses)
        request = Request(
            model=said.model,
            messages=[],
            stream=bool(said.stream),
            max_output=said.max_output_tokens,
            temperature=said.temperature,
            top_p=said.top_p,
            parallel=said.parallel_tool_calls,
            user=said.safety_identifier or said.user or "",
            cache_key=said.prompt_cache_key or "",
        )
        if said.reasoning is not None:
            request.reasoning = _reasoning_in(said.reasoning, "reasoning", losses)
        _text_in(said.text, request)
        if said.service_tier:
            if said.service_tier in _PLAIN_TIERS:
                request.service_tier = said.service_tier
            else:
                losses.add("service_tier", f"{said.service_tier[:40]} is OpenAI's own")
        if said.instructions:
            request.messages.append(Message(Role.SYSTEM, [Text(said.instructions)]))
        tools = _tools_in("tools", said.tools or (), losses)
        if isinstance(said.input, str):
            request.messages.append(Message(Role.USER, [Text(said.input)]))
        else:
            tools += _Input(request, losses).read(said.input or ())
        if tools:
            request.tools = tools
        if said.tool_choice is not None:
            request.tool_choice = _choice_in(said.tool_choice, tools, losses)
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
        return ResponsesStreamIn()

    def stream_out(self, model: str, asked: Asked = NOTHING_ASKED) -> StreamOut:
        """A writer of one stream."""
        return ResponsesStreamOut(model, asked)


def _unsaid(said: _Request, losses: Losses) -> None:
    """What has no word here."""
    if said.top_logprobs:
        losses.refuse("top_logprobs", "other dialects do not tell them")
    if said.background:
        losses.refuse("background", "only OpenAI answers later")
    if said.store:
        losses.add("store", "only OpenAI keeps its answers for later")
    if said.truncation not in {None, "disabled"}:
        losses.add("truncation", "the context is sent whole")
    for each in said.include or ():
        if each == "message.output_text.logprobs":
            losses.refuse("include", "other dialects do not tell logprobs")
        elif each != "reasoning.encrypted_content":
            losses.add("include", f"{each[:60]} is of tools that run at OpenAI")
    for fields, say in ((_REFUSED, losses.refuse), (_DECLARED, losses.add)):
        for field, why in fields.items():
            value = getattr(said, field)
            if value is not None and value not in ("", _NULL):
                say(field, why)


class _Input:
    """The items of an input, put together to messages."""

    def __init__(self, request: Request, losses: Losses) -> None:
        self._request = request
        self._losses = losses
        self._names: dict[str, str] = {}
        self._last = ""
        self._tools: list[Tool] = []

    def read(self, items: Sequence[msgspec.Raw]) -> list[Tool]:
        """Put all items into the request; returns the tools among them. Raises Refused(BadRequest)."""
        for index, raw in enumerate(items):
            where = f"input[{index}]"
            kind = bodies.within(where, raw, _KIND).type or "message"
            if kind in _PAST:
                self._losses.add(f"input[].{kind}", "what ran at OpenAI is told by the text that followed")
            elif kind in _TAKEN:
                item, strangers = _ITEMS.open(bytes(raw))
                for loss in strangers:
                    self._losses.add(f"input[].{loss.field}", loss.why)
                self._take(kind, where, item)
            else:
                self._losses.refuse(f"input[].{kind[:40]}", "only OpenAI can go on from it")
        return self._tools

    def _take(self, kind: str, where: str, item: _Item) -> None:
        match kind:
            case "message":
                self._message(where, item)
            case "reasoning":
                text = "\n\n".join(part.text or "" for part in item.summary or _parts(item.content))
                self._say(Role.ASSISTANT, unsealed(text, item.encrypted_content or ""), kind)
            case "function_call" | "custom_tool_call":
                free = kind == "custom_tool_call"
                name = _qualified(item.namespace, item.name or "")
                ident = item.call_id or item.id or ""
                self._names[ident] = name
                arguments = (item.input if free else item.arguments) or ""
                self._say(Role.ASSISTANT, ToolCall(ident, name, arguments, freeform=free), kind)
            case "function_call_output" | "custom_tool_call_output":
                self._result(where, item, free=kind == "custom_tool_call_output")
            case "additional_tools":
                self._tools += _tools_in("input[].tools", item.tools or (), self._losses)
            case "configuration_update":
                if item.reasoning is not None:
                    self._request.reasoning = _reasoning_in(item.reasoning, "input[].reasoning", self._losses)
                _text_in(item.text, self._request)

    def _message(self, where: str, item: _Item) -> None:
        if item.role not in {"user", "system", "developer", "assistant"}:
            bodies.refuse(f"{where}.role", f"found {item.role[:40]!r}, expected user, system, developer or assistant")
        if item.phase:
            self._losses.add("input[].phase", "no field of other dialects")
        role = Role(item.role)
        parts = [self._part(part) for part in _parts(item.content)]
        if role is Role.ASSISTANT:
            for part in parts:
                self._say(role, part, "message")
        else:
            self._request.messages.append(Message(role, parts))
            self._last = "message"

    def _result(self, where: str, item: _Item, *, free: bool) -> None:
        content: list[Text | Image | File] = []
        for part in _parts(item.output):
            found = self._part(part)
            if not isinstance(found, Text | Image | File):
                bodies.refuse(f"{where}.output", f"found {part.type[:40]!r}, expected texts, images and files")
            content.append(found)
        ident = item.call_id or ""
        result = ToolResult(ident, content, name=self._names.get(ident, ""), freeform=free)
        self._say(Role.USER, result, "output")

    def _say(self, role: Role, part: Part, kind: str) -> None:
        """Add a part to the message that is being said, or begin one: results of tools have one of their own."""
        messages = self._request.messages
        goes_on = messages and messages[-1].role is role and (role is Role.ASSISTANT or self._last == "output")
        if goes_on:
            messages[-1].parts.append(part)
        else:
            messages.append(Message(role, [part]))
        self._last = kind

    def _part(self, part: _Part) -> Part:
        mark = self._mark(part.prompt_cache_breakpoint)
        if part.annotations not in (_NULL, _EMPTY):
            self._losses.add("input[].content[].annotations", "citations are no input elsewhere")
        match part.type:
            case "input_text" | "output_text" | "text" | "":
                return Text(part.text or "", mark)
            case "refusal":
                return Refusal(part.refusal or "")
            case "input_image":
                return _image_in(part, mark)
            case "input_file":
                if part.detail:
                    self._losses.add("input[].content[].detail", "no field of other dialects")
                media, data = data_url.split(part.file_data or "")
                return File(
                    name=part.filename or "",
                    url=part.file_url or "",
                    media_type=media or ("application/pdf" if data else ""),
                    data=data,
                    file_id=part.file_id or "",
                    cache=mark,
                )
            case "input_audio" if part.input_audio is not None:
                return Audio(part.input_audio.data, f"audio/{part.input_audio.format}")
            case other:
                self._losses.refuse(f"input[].content[].{other[:40]}", "unknown to the gateway")
                return Text("")

    def _mark(self, said: _Breakpoint | None) -> CacheMark:
        if said is None:
            return ""
        if said.ttl == "12h":
            self._losses.add("input[].content[].prompt_cache_breakpoint.ttl", "the longest that can be said is an hour")
        return "1h" if said.ttl else "5m"


_TAKEN = frozenset(
    {
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "function_call_output",
        "custom_tool_call_output",
        "additional_tools",
        "configuration_update",
    }
)


def _parts(content: str | list[_Part] | None) -> list[_Part]:
    if isinstance(content, str):
        return [_Part("input_text", content)]
    return content or []


def _image_in(part: _Part, mark: CacheMark) -> Image:
    media, data = data_url.split(part.image_url or "")
    detail = part.detail or ""
    if media:
        return Image(media_type=media, data=data, detail=detail, cache=mark)
    return Image(url=part.image_url or "", file_id=part.file_id or "", detail=detail, cache=mark)


def _qualified(namespace: str | None, name: str) -> str:
    return f"{namespace}__{name}" if namespace else name


def _tools_in(where: str, said: Sequence[msgspec.Raw], losses: Losses) -> list[Tool]:
    tools: list[Tool] = []
    for raw in said:
        kind = bodies.within(where, raw, _KIND).type or "function"
        if kind in _LEFT_OUT:
            losses.add(f"{where}[].{kind}", "the tool runs at OpenAI, so it is not offered")
        elif kind not in {"function", "custom", "namespace"}:
            losses.refuse(f"{where}[].{kind[:40]}", "the tool runs at OpenAI")
        else:
            tool, strangers = _TOOLS.open(bytes(raw))
            for loss in strangers:
                losses.add(f"{where}[].{loss.field}", loss.why)
            tools += _tool_in(where, tool, "", losses)
    return tools


def _tool_in(where: str, tool: _Tool, namespace: str, losses: Losses) -> Iterator[Tool]:
    if tool.defer_loading:
        losses.add(f"{where}[].defer_loading", "all tools are offered at once")
    inner = tool.name if namespace else ""
    name, description = _qualified(namespace, tool.name), tool.description or ""
    match tool.type:
        case "namespace":
            if description:
                losses.add(f"{where}[].description", "a namespace is only part of the names of its tools")
            for each in tool.tools or ():
                yield from _tool_in(where, each, tool.name, losses)
        case "custom":
            yield Tool(name, description, freeform=True, grammar=tool.format, namespace=namespace, inner=inner)
        case "function":
            schema = _NOTHING if tool.parameters == _NULL else tool.parameters
            yield Tool(name, description, schema, tool.strict, namespace=namespace, inner=inner)
        case other:
            losses.refuse(f"{where}[].{other[:40]}", "the tool runs at OpenAI")


def _choice_in(said: str | _Choice, tools: Sequence[Tool], losses: Losses) -> ToolChoice:
    if isinstance(said, str):
        match said:
            case "auto" | "none":
                return ToolChoice(said)
            case "required":
                return ToolChoice("any")
            case _:
                bodies.refuse("tool_choice", f"found {said[:40]!r}, expected auto, none, required or an object")
    match said.type:
        case "function" | "custom":
            return ToolChoice("named", (_known(said.name, said.namespace, tools),))
        case "allowed_tools":
            names = tuple(_known(tool.name, tool.namespace, tools) for tool in said.tools if tool.name)
            return ToolChoice("any" if said.mode == "required" else "auto", names)
        case other:
            losses.refuse("tool_choice", f"a tool of type {other[:40]} runs at OpenAI")
            return ToolChoice("auto")


def _known(name: str, namespace: str | None, tools: Sequence[Tool]) -> str:
    """The name that a tool goes by, which may be in a namespace."""
    wanted = _qualified(namespace, name)
    if any(tool.name == wanted for tool in tools):
        return wanted
    return next((tool.name for tool in tools if tool.inner == name), wanted)


def _reasoning_in(said: _Reasoning, where: str, losses: Losses) -> Reasoning | None:
    if said.context:
        losses.add(f"{where}.context", "which thoughts are read again is up to the provider")
    if said.mode not in {None, "standard"}:
        losses.add(f"{where}.mode", "no field of other dialects")
    shown = True if said.summary or said.generate_summary else None
    effort = _effort_in(where, said.effort) if said.effort else None
    return None if effort is None and shown is None else Reasoning(effort=effort, shown=shown)


def _effort_in(where: str, said: str) -> Effort:
    for effort in EFFORTS:
        if effort == said:
            return effort
    bodies.refuse(f"{where}.effort", f"found {said[:40]!r}, expected one of {', '.join(EFFORTS)}")


def _text_in(said: _Text | None, request: Request) -> None:
    if said is None:
        return
    request.verbosity = said.verbosity or request.verbosity
    asked = said.format
    if asked is None:
        return
    match asked.type:
        case "text":
            request.format = None
        case "json_object":
            request.format = Format("json")
        case "json_schema":
            request.format = Format("schema", asked.schema, asked.name, asked.description or "", asked.strict)
        case other:
            bodies.refuse("text.format.type", f"found {other[:40]!r}, expected text, json_object or json_schema")
