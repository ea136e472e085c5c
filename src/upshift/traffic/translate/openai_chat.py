"""How is a request read that is put in the words of OpenAI Chat Completions, and which translator speaks them?"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import cast

import msgspec

from upshift.traffic.translate import carriers, data_url
from upshift.traffic.translate import openai_chat_shape as shape
from upshift.traffic.translate.asides import Losses
from upshift.traffic.translate.openai_chat_answer import NULL, reply_in, reply_out, thoughts
from upshift.traffic.translate.openai_chat_request import LONGEST_NAME, request_out
from upshift.traffic.translate.openai_chat_shape import NOTHING
from upshift.traffic.translate.openai_chat_stream import ChatStreamIn, ChatStreamOut
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
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from upshift.traffic.wire import body as bodies

_NO_SCHEMA = msgspec.Raw(b'{"type":"object","properties":{}}')
_PLAIN_TIERS = {"auto", "default", "flex", "priority"}


_OPENER = Opener(shape.Request)
_encode = msgspec.json.Encoder().encode

_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "logit_bias": "tokens differ from model to model",
        "audio": "no other dialect answers in sound",
        "functions": "the old form of tools; send tools",
        "function_call": "the old form of tool_choice; send tool_choice",
        "web_search_options": "the search runs at OpenAI",
        "moderation": "the check runs at OpenAI",
    }
)
_DECLARED: Mapping[str, str] = MappingProxyType(
    {
        "prediction": "it only speeds an answer up",
        "metadata": "it is kept with OpenAI's own records",
        "prompt_cache_options": "caching is asked for in another way",
        "prompt_cache_retention": "caching is asked for in another way",
    }
)


class OpenAIChat:
    """OpenAI Chat Completions. `limit_field` names the field that bounds an answer at this provider."""

    __slots__ = ("_limit_field",)

    def __init__(self, limit_field: str = "max_completion_tokens") -> None:
        self._limit_field = limit_field

    def request_in(self, body: bytes, target: bytes = b"") -> tuple[Request, list[Loss]]:
        """Read a request that the dialect's Wire accepted. Raises Refused(BadRequest)."""
        said, strangers = _OPENER.open(body)
        losses = Losses(strangers)
        _unsaid(said, losses)
        options = said.stream_options
        request = Request(
            model=said.model,
            messages=_messages_in(said.messages, losses),
            stream=bool(said.stream),
            wants_usage=options is not None and bool(options.include_usage),
            max_output=said.max_tokens if said.max_completion_tokens is None else said.max_completion_tokens,
            temperature=said.temperature,
            top_p=said.top_p,
            top_k=said.top_k,
            frequency_penalty=said.frequency_penalty,
            presence_penalty=said.presence_penalty,
            seed=said.seed,
            parallel=said.parallel_tool_calls,
            user=said.safety_identifier or said.user or "",
            cache_key=said.prompt_cache_key or "",
            verbosity=said.verbosity or "",
        )
        if said.stop:
            request.stop = [said.stop] if isinstance(said.stop, str) else said.stop
        if said.tools:
            request.tools = _tools_in(said.tools, losses)
        if said.tool_choice is not None:
            request.tool_choice = _choice_in(said.tool_choice)
        if said.response_format is not None:
            request.format = _format_in(said.response_format)
        if said.reasoning_effort:
            request.reasoning = Reasoning(effort=_effort_in(said.reasoning_effort))
        if said.service_tier:
            tier = "priority" if said.service_tier == "fast" else said.service_tier
            request.service_tier = tier if tier in _PLAIN_TIERS else ""
            if tier not in _PLAIN_TIERS:
                losses.add("service_tier", f"{tier[:40]} is OpenAI's own")
        return request, losses.all()

    def request_out(
        self, request: Request, model: str, max_output: int | None, *, stream: bool
    ) -> tuple[bytes, list[Loss]]:
        """Write a request. Changes nothing of `request`."""
        return request_out(request, model, max_output, stream=stream, limit_field=self._limit_field)

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
        return ChatStreamIn()

    def stream_out(self, model: str, asked: Asked = NOTHING_ASKED) -> StreamOut:
        """A writer of one stream."""
        return ChatStreamOut(model, asked)


def _unsaid(said: shape.Request, losses: Losses) -> None:
    """What has no word here."""
    if said.n is not None and said.n > 1:
        losses.refuse("n", "other dialects give one answer")
    if said.logprobs or said.top_logprobs:
        losses.refuse("logprobs", "other dialects do not tell them")
    if said.modalities is not None and said.modalities != ["text"]:
        losses.refuse("modalities", "only text can be answered")
    if said.store:
        losses.add("store", "only OpenAI keeps its answers for later")
    for fields, say in ((_REFUSED, losses.refuse), (_DECLARED, losses.add)):
        for field, why in fields.items():
            value = getattr(said, field)
            if value is not None and value != NULL:
                say(field, why)


def _mark(part: shape.Part | shape.Tool, losses: Losses) -> CacheMark:
    """A cache mark: OpenAI's own, or Anthropic's as some clients put it into this dialect."""
    if part.cache_control is not None:
        return "1h" if part.cache_control.ttl == "1h" else "5m"
    own = part.prompt_cache_breakpoint if isinstance(part, shape.Part) else None
    if own is None:
        return ""
    if own.ttl == "12h":
        losses.add("messages[].content[].prompt_cache_breakpoint.ttl", "the longest that can be said is an hour")
    return "1h" if own.ttl else "5m"


def _messages_in(said: Sequence[shape.Message], losses: Losses) -> list[Message]:
    messages: list[Message] = []
    names: dict[str, str] = {}
    for index, message in enumerate(said):
        if message.name:
            losses.add("messages[].name", "participants have no names in other dialects")
        match message.role:
            case "system" | "developer":
                messages.append(Message(Role(message.role), _parts_in(message.content, losses)))
            case "user":
                messages.append(Message(Role.USER, _parts_in(message.content, losses)))
            case "assistant":
                messages.append(Message(Role.ASSISTANT, _assistant_in(message, names, losses)))
            case "tool":
                content = cast("list[Text | Image | File]", _parts_in(message.content, losses))
                ident = message.tool_call_id or ""
                result = ToolResult(ident, content, name=names.get(ident, ""))
                last = messages[-1] if messages else None
                if last is not None and said[index - 1].role == "tool":
                    last.parts.append(result)
                else:
                    messages.append(Message(Role.USER, [result]))
            case other:
                bodies.refuse(
                    f"messages[{index}].role",
                    f"found {other[:40]!r}, expected system, developer, user, assistant or tool",
                )
    return messages


def _assistant_in(message: shape.Message, names: dict[str, str], losses: Losses) -> list[Part]:
    parts: list[Part] = []
    if message.reasoning_details:
        parts += thoughts(message.reasoning_details)
    elif thought := message.reasoning_content or message.reasoning:
        parts.append(Thinking(thought))
    parts += _parts_in(message.content, losses)
    if message.refusal:
        parts.append(Refusal(message.refusal))
    for call in message.tool_calls or ():
        if call.custom is not None:
            part = ToolCall(call.id or "", call.custom.name, call.custom.input or "", freeform=True)
        else:
            function = call.function or shape.Function()
            part = ToolCall(call.id or "", function.name, function.arguments or "")
        names[part.id] = part.name
        parts.append(part)
    if message.audio != NULL:
        losses.add("messages[].audio", "sound that OpenAI keeps")
    if message.function_call != NULL:
        losses.refuse("messages[].function_call", "the old form of tool calls; send tool_calls")
    if message.annotations not in (NULL, _EMPTY):
        losses.add("messages[].annotations", "citations are no input elsewhere")
    return parts


_EMPTY = msgspec.Raw(b"[]")


def _parts_in(content: str | list[shape.Part] | None, losses: Losses) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content)]
    return [_part_in(part, losses) for part in content]


def _part_in(part: shape.Part, losses: Losses) -> Part:
    mark = "" if part.prompt_cache_breakpoint is None and part.cache_control is None else _mark(part, losses)
    match part.type:
        case "text" | "":
            return Text(part.text or "", mark)
        case "refusal":
            return Refusal(part.refusal or "")
        case "image_url" if part.image_url is not None:
            image = _image_in(part.image_url.url, part.image_url.detail or "")
            image.cache = mark
            return image
        case "input_audio" if part.input_audio is not None:
            return Audio(part.input_audio.data, f"audio/{part.input_audio.format}")
        case "file" if part.file is not None:
            media, data = data_url.split(part.file.file_data or "")
            return File(
                name=part.file.filename or "",
                media_type=media or ("application/pdf" if data else ""),
                data=data,
                file_id=part.file.file_id or "",
                cache=mark,
            )
        case other:
            losses.refuse(f"messages[].content[].{other[:40]}", "unknown to the gateway")
            return Text("")


def _image_in(url: str, detail: str) -> Image:
    media, data = data_url.split(url)
    return Image(media_type=media, data=data, detail=detail) if media else Image(url=url, detail=detail)


def _tools_in(said: list[shape.Tool], losses: Losses) -> list[Tool]:
    tools = []
    for tool in said:
        mark = "" if tool.cache_control is None else _mark(tool, losses)
        if tool.custom is not None:
            custom = tool.custom
            tools.append(Tool(custom.name, custom.description or "", freeform=True, grammar=custom.format, cache=mark))
        elif tool.function is not None:
            one = tool.function
            schema = NOTHING if one.parameters == NULL else one.parameters
            tools.append(Tool(one.name, one.description or "", schema, one.strict, cache=mark))
        else:
            losses.refuse("tools[].type", f"a tool of type {tool.type[:40]} runs at OpenAI")
    return tools


def _choice_in(said: str | shape.Choice) -> ToolChoice:
    if isinstance(said, str):
        match said:
            case "auto" | "none":
                return ToolChoice(said)
            case "required":
                return ToolChoice("any")
            case _:
                bodies.refuse("tool_choice", f"found {said[:40]!r}, expected auto, none, required or an object")
    if said.allowed_tools is not None:
        names = tuple(_own_name(tool) for tool in said.allowed_tools.tools)
        return ToolChoice("any" if said.allowed_tools.mode == "required" else "auto", names)
    named = said.custom or said.function
    if named is None:
        bodies.refuse("tool_choice", "found an object without a function, expected the name of one")
    return ToolChoice("named", (named.name,))


def _own_name(tool: shape.Tool) -> str:
    if tool.function is not None:
        return tool.function.name
    return "" if tool.custom is None else tool.custom.name


def _format_in(said: shape.Format) -> Format | None:
    match said.type:
        case "text":
            return None
        case "json_object":
            return Format("json")
        case "json_schema":
            schema = said.json_schema or shape.Schema()
            return Format("schema", schema.schema or _NO_SCHEMA, schema.name, schema.description or "", schema.strict)
        case other:
            bodies.refuse("response_format.type", f"found {other[:40]!r}, expected text, json_object or json_schema")


def _effort_in(said: str) -> Effort:
    if said not in EFFORTS:
        bodies.refuse("reasoning_effort", f"found {said[:40]!r}, expected one of {', '.join(EFFORTS)}")
    return said
