"""How is a request put in our words that was said to Gemini, and who speaks Gemini at all?"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import get_args

import msgspec

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import gemini_thoughts
from upshift.traffic.translate.asides import Losses
from upshift.traffic.translate.gemini_answer import reply_in, reply_out
from upshift.traffic.translate.gemini_request import request_out, tool_name
from upshift.traffic.translate.gemini_schema import json_schema
from upshift.traffic.translate.gemini_shape import (
    Blob,
    Config,
    Content,
    Count,
    FileData,
    PartSaid,
    Result,
    Said,
    ThinkingConfig,
    ToolConfig,
    ToolSaid,
    opened,
)
from upshift.traffic.translate.gemini_stream import GeminiStreamIn, GeminiStreamOut
from upshift.traffic.translate.words import (
    NOTHING_ASKED,
    Asked,
    Audio,
    Effort,
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
    Signature,
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
from upshift.traffic.wire.gemini import place

_NULL = msgspec.Raw(b"null")
_NOTHING = msgspec.Raw()
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
_EFFORTS: Mapping[str, Effort] = MappingProxyType({each.upper(): each for each in get_args(Effort)})
_AT_GOOGLE = "it runs at Google"


class Gemini:
    """Gemini generateContent."""

    __slots__ = ()

    def request_in(self, body: bytes, target: bytes = b"") -> tuple[Request, list[Loss]]:
        """Read a request that the dialect's Wire accepted. Raises Refused(BadRequest)."""
        model, stream = place(target)
        said, strangers = opened(body)
        losses = Losses(strangers)
        for loss in strangers:
            if loss.field.startswith("tools[].") and not loss.field.startswith("tools[].functionDeclarations"):
                losses.refuse(loss.field, _AT_GOOGLE)
        config = said.generation_config or Config()
        _unsaid(said, config, losses)
        request = Request(
            model=model,
            messages=_messages_in(said, losses),
            stream=stream,
            tools=_tools_in(said.tools or (), losses),
            tool_choice=_choice_in(said.tool_config, losses),
            format=_format_in(config, losses),
            max_output=_whole("generationConfig.maxOutputTokens", config.max_output_tokens),
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=_whole("generationConfig.topK", config.top_k),
            frequency_penalty=config.frequency_penalty,
            presence_penalty=config.presence_penalty,
            seed=_whole("generationConfig.seed", config.seed),
            stop=config.stop_sequences or [],
        )
        if config.thinking_config is not None:
            request.reasoning = _reasoning_in(config.thinking_config, losses)
        if said.service_tier and (tier := said.service_tier.lower()) != "unspecified":
            request.service_tier = "default" if tier == "standard" else tier
        return request, losses.all()

    def request_out(
        self, request: Request, model: str, max_output: int | None, *, stream: bool
    ) -> tuple[bytes, list[Loss]]:
        """Write a request; whether it is streamed is said in its path. Changes nothing of `request`."""
        del stream
        return request_out(request, model, max_output)

    def tool_name(self, name: str) -> str:
        """The name by which this dialect is told a tool."""
        return tool_name(name)

    def reply_in(self, body: bytes) -> Reply:
        """Read an answer in one piece. Raises ValueError where it is none."""
        return reply_in(body)

    def reply_out(self, reply: Reply, model: str, asked: Asked = NOTHING_ASKED) -> bytes:
        """Write an answer in one piece."""
        return reply_out(reply, model, asked)

    def stream_in(self) -> StreamIn:
        """A reader of one stream."""
        return GeminiStreamIn()

    def stream_out(self, model: str, asked: Asked = NOTHING_ASKED) -> StreamOut:
        """A writer of one stream."""
        return GeminiStreamOut(model, asked)


def _unsaid(said: Said, config: Config, losses: Losses) -> None:
    """What has no word here."""
    if said.cached_content:
        losses.refuse("cachedContent", "only Google keeps it")
    if said.continuation_token:
        losses.refuse("continuationToken", "only the provider that began the answer can go on with it")
    if (_whole("generationConfig.candidateCount", config.candidate_count) or 1) > 1:
        losses.refuse("generationConfig.candidateCount", "other dialects give one answer")
    if config.response_logprobs or config.logprobs:
        losses.refuse("generationConfig.responseLogprobs", "other dialects do not tell them")
    if config.response_modalities is not None and [each.upper() for each in config.response_modalities] != ["TEXT"]:
        losses.refuse("generationConfig.responseModalities", "only text can be answered")
    if config.speech_config != _NULL:
        losses.refuse("generationConfig.speechConfig", "only text can be answered")
    if config.image_config != _NULL:
        losses.add("generationConfig.imageConfig", "only text can be answered")


def _whole(where: str, count: Count) -> int | None:
    if count is None:
        return None
    try:
        return int(count)
    except (ValueError, OverflowError):
        bodies.refuse(where, "found no number, expected a whole one")


class _Conversation:
    """Contents, read in turn: calls without an id are given one, and results find the call that they answer."""

    __slots__ = ("calls", "losses", "open")

    def __init__(self, losses: Losses) -> None:
        self.losses = losses
        self.calls = 0
        self.open: list[ToolCall] = []
        """Calls that no result has come to yet."""

    def parts(self, content: Content, role: Role) -> list[Part]:
        """The parts of a content."""
        found: list[Part] = []
        for part in content.parts or ():
            if part.thought:
                self._thought(part, found)
                continue
            if part.thought_signature:
                gemini_thoughts.restore(part.thought_signature, found)
            if part.text is not None:
                if part.text:
                    found.append(Text(part.text))
            elif part.function_call is not None:
                call = part.function_call
                self.calls += 1
                arguments = "{}" if call.args in (_NULL, _NOTHING) else bytes(call.args).decode()
                self.open.append(ToolCall(call.id or f"call_{self.calls}", call.name or "", arguments))
                found.append(self.open[-1])
            elif part.function_response is not None:
                found.append(self._result(part.function_response))
            elif part.inline_data is not None:
                found.append(_blob(part.inline_data, self.losses))
            elif part.file_data is not None:
                found.append(_file(part.file_data, self.losses))
            else:
                self._at_google(part)
        if role is Role.ASSISTANT and any(not isinstance(part, Text | Thinking | ToolCall) for part in found):
            self.losses.refuse("contents[].parts[]", "a model has said something other than text and calls")
        return found

    def _thought(self, part: PartSaid, found: list[Part]) -> None:
        """A thought, or more of the one before: it comes in pieces, the last of them signed."""
        signature = None if not part.thought_signature else Signature(Dialect.GEMINI, part.thought_signature)
        last = found[-1] if found else None
        if isinstance(last, Thinking) and last.signature is None:
            last.text += part.text or ""
            last.signature = signature
        else:
            found.append(Thinking(part.text or "", signature))

    def _result(self, said: Result) -> ToolResult:
        call = next((each for each in self.open if said.id and each.id == said.id), None)
        if call is None:
            call = next((each for each in self.open if each.name == said.name), None)
        if call is not None:
            self.open.remove(call)
        text, is_error = _response(said.response)
        content: list[Text | Image | File] = [Text(text)] if text else []
        for part in said.parts or ():
            shown: Part | None = None
            if part.inline_data is not None:
                shown = _blob(part.inline_data, self.losses)
            elif part.file_data is not None:
                shown = _file(part.file_data, self.losses)
            elif part.text:
                shown = Text(part.text)
            if isinstance(shown, Text | Image | File):
                content.append(shown)
            elif shown is not None:
                self.losses.refuse("contents[].parts[].functionResponse.parts[]", "a sound is no result elsewhere")
        ident = call.id if call is not None else said.id or f"call_{said.name}"
        return ToolResult(ident, content, is_error, said.name or (call.name if call is not None else ""))

    def _at_google(self, part: PartSaid) -> None:
        for name, raw in (
            ("executableCode", part.executable_code),
            ("codeExecutionResult", part.code_execution_result),
            ("toolCall", part.tool_call),
            ("toolResponse", part.tool_response),
        ):
            if raw != _NULL:
                self.losses.refuse(f"contents[].parts[].{name}", _AT_GOOGLE)


def _messages_in(said: Said, losses: Losses) -> list[Message]:
    conversation = _Conversation(losses)
    messages = []
    if said.system_instruction is not None:
        parts = conversation.parts(said.system_instruction, Role.SYSTEM)
        if not all(isinstance(part, Text) for part in parts):
            losses.refuse("systemInstruction.parts[]", "only text can instruct elsewhere")
        messages.append(Message(Role.SYSTEM, parts))
    for index, content in enumerate(said.contents):
        match content.role:
            case "user" | "function" | None:
                role = Role.USER
            case "model":
                role = Role.ASSISTANT
            case other:
                bodies.refuse(f"contents[{index}].role", f"found {other[:40]!r}, expected user or model")
        messages.append(Message(role, conversation.parts(content, role)))
    return [message for message in messages if message.parts]


def _response(raw: msgspec.Raw) -> tuple[str, bool]:
    """What a function answered, as text, and whether that is an error."""
    if raw in (_NULL, _NOTHING):
        return "", False
    whole = bytes(raw).decode()
    try:
        fields = _FIELDS.decode(raw)
    except (ValueError, RecursionError):
        return whole, False
    for name in ("output", "error"):
        if list(fields) == [name]:
            try:
                return _STRING.decode(fields[name]), name == "error"
            except (ValueError, RecursionError):
                return bytes(fields[name]).decode(), name == "error"
    return whole, False


def _blob(blob: Blob, losses: Losses) -> Part:
    kind, data = (blob.mime_type or "").lower(), blob.data or ""
    if kind.startswith("image/"):
        return Image(media_type=kind, data=data)
    if kind.startswith("audio/"):
        return Audio(data, kind)
    if kind.startswith("video/"):
        losses.refuse("contents[].parts[].inlineData", "no other dialect takes films")
    return File(name=blob.display_name or "", media_type=kind, data=data)


def _file(said: FileData, losses: Losses) -> Part:
    uri, kind = said.file_uri or "", (said.mime_type or "").lower()
    if kind.startswith("image/") and _public(uri):
        return Image(url=uri)
    if kind.startswith(("audio/", "video/")) or not kind or not _public(uri):
        losses.refuse("contents[].parts[].fileData", "only Google can fetch it")
    return File(name=said.display_name or "", url=uri, media_type=kind)


def _public(uri: str) -> bool:
    return uri.startswith(("https://", "http://")) and not uri.startswith("https://generativelanguage.googleapis.com/")


def _tools_in(said: list[ToolSaid] | tuple[()], losses: Losses) -> list[Tool]:
    tools = []
    for declared in (each for tool in said for each in tool.function_declarations or ()):
        schema = declared.parameters_json_schema
        if schema == _NULL:
            schema = _NOTHING if declared.parameters == _NULL else json_schema(declared.parameters)
        tools.append(Tool(declared.name, declared.description or "", schema))
    if len({tool.name for tool in tools}) < len(tools):
        losses.refuse("tools[].functionDeclarations[].name", "two functions of one name")
    return tools


def _choice_in(said: ToolConfig | None, losses: Losses) -> ToolChoice | None:
    config = said.function_calling_config if said is not None else None
    if config is None or not config.mode:
        return None
    names = tuple(config.allowed_function_names or ())
    match config.mode.upper():
        case "AUTO":
            return ToolChoice("auto")
        case "VALIDATED":
            losses.add("toolConfig.functionCallingConfig.mode", "VALIDATED is said as AUTO")
            return ToolChoice("auto", names)
        case "ANY":
            return ToolChoice("named", names) if len(names) == 1 else ToolChoice("any", names)
        case "NONE":
            return ToolChoice("none")
        case "MODE_UNSPECIFIED":
            return None
        case other:
            bodies.refuse("toolConfig.functionCallingConfig.mode", f"found {other[:40]!r}, expected AUTO, ANY or NONE")


def _format_in(config: Config, losses: Losses) -> Format | None:
    kind = (config.response_mime_type or "").lower()
    if kind in {"", "text/plain"}:
        return None
    if kind != "application/json":
        losses.refuse("generationConfig.responseMimeType", f"no other dialect answers in {kind[:40]}")
        return None
    for schema in (config.response_json_schema, config.first_json_schema):
        if schema != _NULL:
            return Format("schema", schema)
    if config.response_schema != _NULL:
        return Format("schema", json_schema(config.response_schema))
    return Format("json")


def _reasoning_in(said: ThinkingConfig, losses: Losses) -> Reasoning | None:
    budget = _whole("generationConfig.thinkingConfig.thinkingBudget", said.thinking_budget)
    level = (said.thinking_level or "").upper()
    effort = _EFFORTS.get(level)
    if level and effort is None and level != "THINKING_LEVEL_UNSPECIFIED":
        losses.add("generationConfig.thinkingConfig.thinkingLevel", f"{level[:40]} is known to Google only")
    if budget == 0:
        effort, budget = "none", None
    adaptive = budget is not None and budget < 0
    return Reasoning(effort, None if adaptive else budget, adaptive, said.include_thoughts)
