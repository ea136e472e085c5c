"""How is an answer in one piece put in the words of OpenAI Chat Completions?"""

from collections.abc import Iterable, Mapping

import msgspec

from upshift.model.tokens import Usage
from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers
from upshift.traffic.translate.words import (
    Asked,
    Loss,
    Part,
    Refusal,
    Reply,
    Signature,
    StopReason,
    Text,
    Thinking,
    Tool,
    ToolCall,
)
from upshift.traffic.wire.openai_answer import read_usage
from upshift.traffic.wire.salvage import salvage

NULL = msgspec.Raw(b"null")
EMPTY = msgspec.Raw(b"[]")
_encode = msgspec.json.Encoder().encode

FORMATS: Mapping[Dialect, str] = {
    Dialect.ANTHROPIC: "anthropic-claude-v1",
    Dialect.GEMINI: "google-gemini-v1",
    Dialect.RESPONSES: "openai-responses-v1",
}
"""Whose thoughts these are, in `reasoning_details`: an extension by OpenRouter that many clients send back."""
_OWNERS = {name: dialect for dialect, name in FORMATS.items()}

_STOPS = {
    "stop": StopReason.END,
    "length": StopReason.LENGTH,
    "tool_calls": StopReason.TOOLS,
    "function_call": StopReason.TOOLS,
    "content_filter": StopReason.FILTER,
}
FINISHES = {
    StopReason.END: "stop",
    StopReason.SEQUENCE: "stop",
    StopReason.PAUSE: "stop",
    StopReason.TOOLS: "tool_calls",
    StopReason.LENGTH: "length",
    StopReason.CONTEXT: "length",
    StopReason.FILTER: "content_filter",
}


class Detail(msgspec.Struct, gc=False):
    """One of `reasoning_details`."""

    type: str = ""
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    id: str | None = None
    format: str | None = None
    index: int | None = None


class Function(msgspec.Struct, gc=False):
    """The function that is called, or what is new of its arguments."""

    name: str | None = None
    arguments: str | None = None


class _Custom(msgspec.Struct, gc=False):
    name: str | None = None
    input: str | None = None


class Call(msgspec.Struct, gc=False):
    """A call of a tool, or what is new of it."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    custom: _Custom | None = None


class _Part(msgspec.Struct, gc=False):
    text: str | None = None


class Said(msgspec.Struct, gc=False):
    """A message, or what is new of it."""

    content: str | list[_Part] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Detail] | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    annotations: msgspec.Raw = NULL
    audio: msgspec.Raw = NULL


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    message: Said | None = None
    delta: Said | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct, gc=False):
    """An answer, or a chunk of one."""

    id: str | None = None
    model: str | None = None
    created: int | None = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = NULL
    error: msgspec.Raw = NULL


_ANSWER = msgspec.json.Decoder(_Answer)


def read(data: bytes) -> _Answer | None:
    try:
        return _ANSWER.decode(data)
    except (ValueError, RecursionError):
        return salvage(data, _Answer)


def thoughts(details: Iterable[Detail]) -> list[Thinking]:
    """Thoughts as `reasoning_details` say them. Those of a format that is not known are the provider's own."""
    found: list[Thinking] = []
    for detail in details:
        owner = _OWNERS.get(detail.format or "", Dialect.OPENAI)
        opaque = detail.signature or detail.data or ""
        if opaque or owner is Dialect.OPENAI:
            signature: Signature | None = Signature(owner, opaque)
        else:
            signature = None
        found.append(Thinking(detail.text or detail.summary or "", signature, detail.type == "reasoning.encrypted"))
    return found


def details_of(parts: Iterable[Thinking]) -> list[dict[str, object]]:
    """Thoughts as `reasoning_details`."""
    return [detail_of(part.text, part.signature, part.redacted, index) for index, part in enumerate(parts)]


def detail_of(text: str, signature: Signature | None, redacted: bool, index: int) -> dict[str, object]:
    detail: dict[str, object] = {"format": "unknown" if signature is None else FORMATS.get(signature.of, "unknown")}
    if redacted and signature is not None:
        detail |= {"type": "reasoning.encrypted", "data": signature.value}
    else:
        detail |= {"type": "reasoning.text", "text": text}
        if signature is not None and signature.value:
            detail["signature"] = signature.value
    return detail | {"index": index}


def reply_in(body: bytes) -> Reply:
    """Read an answer in one piece. Raises ValueError where it is none."""
    said = read(body)
    choices = said.choices if said is not None else None
    if said is None or not choices:
        raise ValueError("no chat completion")
    message = choices[0].message or Said()
    parts: list[Part] = []
    losses: list[Loss] = []
    if message.reasoning_details:
        parts += thoughts(message.reasoning_details)
    elif thought := message.reasoning_content or message.reasoning:
        parts.append(Thinking(thought, Signature(Dialect.OPENAI, "")))
    if text := text_of(message.content):
        parts.append(Text(text))
    if message.refusal:
        parts.append(Refusal(message.refusal))
    calls = [_call(call) for call in message.tool_calls or ()]
    if message.function_call is not None:
        calls.append(ToolCall("", message.function_call.name or "", message.function_call.arguments or ""))
    parts += calls
    if message.annotations not in (NULL, EMPTY):
        losses.append(Loss("choices[].message.annotations", "citations have no place in other dialects"))
    if message.audio != NULL:
        losses.append(Loss("choices[].message.audio", "only text can be answered"))
    return Reply(
        id=said.id or "",
        model=said.model or "",
        parts=parts,
        stop=stop_of(choices[0].finish_reason, called=bool(calls), refused=bool(message.refusal)),
        usage=None if said.usage == NULL else read_usage(said.usage),
        created=said.created or 0,
        losses=losses,
    )


def text_of(content: str | list[_Part] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text or "" for part in content)


def _call(call: Call) -> ToolCall:
    if call.custom is not None:
        return ToolCall(call.id or "", call.custom.name or "", call.custom.input or "", freeform=True)
    function = call.function or Function()
    return ToolCall(call.id or "", function.name or "", function.arguments or "")


def stop_of(said: str | None, *, called: bool, refused: bool) -> StopReason:
    """Why it ended. Some servers say "stop" beside tool calls, and a refusal ends with "stop" too."""
    reason = _STOPS.get(said or "", StopReason.END)
    if reason is StopReason.END:
        if called:
            return StopReason.TOOLS
        if refused:
            return StopReason.FILTER
    return reason


def reply_out(reply: Reply, model: str, asked: Asked) -> bytes:
    """Write an answer in one piece."""
    message: dict[str, object] = {"role": "assistant", "content": None, "refusal": None}
    texts: list[str] = []
    calls: list[dict[str, object]] = []
    thought: list[Thinking] = []
    for part in reply.parts:
        match part:
            case Text():
                texts.append(part.text)
            case ToolCall():
                calls.append(_call_out(part, asked.tools.get(part.name)))
            case Thinking():
                thought.append(part)
            case Refusal():
                message["refusal"] = part.text
            case _:
                continue
    if texts:
        message["content"] = "".join(texts)
    if calls:
        message["tool_calls"] = calls
    if thought:
        if text := "".join(part.text for part in thought):
            message["reasoning_content"] = text
        if any(part.signature is not None and part.signature.value for part in thought):
            message["reasoning_details"] = details_of(thought)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": FINISHES[reply.stop]}
    answer: dict[str, object] = {
        "id": reply.id or "chatcmpl-0",
        "object": "chat.completion",
        "created": reply.created or asked.created,
        "model": model,
        "choices": [choice],
    }
    if reply.usage is not None:
        answer["usage"] = shown_usage(reply.usage)
    return _encode(answer)


def _call_out(part: ToolCall, tool: Tool | None) -> dict[str, object]:
    name = part.name if tool is None else tool.name
    if part.freeform or (tool is not None and tool.freeform):
        text = part.arguments if part.freeform else carriers.unwrap(part.arguments)
        return {"id": part.id, "type": "custom", "custom": {"name": name, "input": text}}
    return {"id": part.id, "type": "function", "function": {"name": name, "arguments": part.arguments or "{}"}}


def shown_usage(usage: Usage) -> dict[str, object]:
    """Usage as this dialect says it: input contains what was read from caches and written to them."""
    details = {"cached_tokens": usage.cached}
    if written := usage.cache_write_5m + usage.cache_write_1h:
        details["cache_write_tokens"] = written
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }
