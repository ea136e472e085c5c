"""How is a request written in the words of OpenAI Chat Completions?"""

from collections.abc import Sequence
from typing import Any

import msgspec

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers, data_url, families
from upshift.traffic.translate.asides import Losses, bound
from upshift.traffic.translate.openai_chat_answer import details_of
from upshift.traffic.translate.results_first import results_first
from upshift.traffic.translate.words import (
    Audio,
    Effort,
    File,
    Format,
    Image,
    Loss,
    Message,
    Part,
    Reasoning,
    Refusal,
    Request,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

LONGEST_NAME = 64
_LONGEST_ID = 40
_LONGEST_USER = 64
_CACHES_ITSELF = "OpenAI caches without being asked"
_NO_SCHEMA = msgspec.Raw(b'{"type":"object","properties":{}}')
_encode = msgspec.json.Encoder().encode


def request_out(
    request: Request, model: str, max_output: int | None, *, stream: bool, limit_field: str
) -> tuple[bytes, list[Loss]]:
    """Write a request, with its bound in `limit_field`. Changes nothing of `request`."""
    losses = Losses()
    takes = families.gpt(model)
    fields: dict[str, object] = {"model": model, "messages": _messages_out(results_first(request.messages), losses)}
    if stream:
        fields["stream"] = True
        fields["stream_options"] = {"include_usage": True}
    most = bound(request, max_output)
    if most is not None:
        fields[limit_field] = most
    effort = _effort_out(request.reasoning, takes, losses)
    if effort is not None:
        fields["reasoning_effort"] = effort
    _sampling_out(request, takes.sampling or effort == "none", fields, losses)
    if request.stop:
        if not takes.stop:
            losses.refuse("stop", "the model takes no stop sequences")
        fields["stop"] = request.stop[:4]
        if len(request.stop) > 4:
            losses.refuse("stop", "only four stop sequences can be said")
    if request.tools:
        fields["tools"] = [_tool_out(tool, losses) for tool in request.tools]
        if request.parallel is not None:
            fields["parallel_tool_calls"] = request.parallel
        if request.tool_choice is not None:
            fields["tool_choice"] = _choice_out(request.tool_choice)
    if request.format is not None:
        fields["response_format"] = _format_out(request.format, losses)
    if len(request.user) > _LONGEST_USER:
        losses.add("user", f"longer than {_LONGEST_USER} characters, so told as a hash")
    hints = {
        "user": carriers.fitted(request.user, _LONGEST_USER) if len(request.user) > _LONGEST_USER else request.user,
        "prompt_cache_key": request.cache_key,
        "verbosity": request.verbosity,
        "service_tier": request.service_tier,
    }
    fields |= {name: value for name, value in hints.items() if value}
    if request.cache:
        losses.add("cache_control", "OpenAI caches without being asked")
    return _encode(fields), losses.all()


def _messages_out(messages: Sequence[Message], losses: Losses) -> list[dict[str, object]]:
    out: list[dict[str, object]] = []
    for message in messages:
        match message.role:
            case Role.SYSTEM | Role.DEVELOPER:
                # OpenAI reads system as developer where need be; other servers know only system.
                out.append({"role": "system", "content": _content_out(message.parts, losses)})
            case Role.USER:
                _user_out(message.parts, out, losses)
            case Role.ASSISTANT:
                out.append(_assistant_out(message.parts, losses))
    return out


def _user_out(parts: Sequence[Part], out: list[dict[str, object]], losses: Losses) -> None:
    """A message for each result of a tool, which come first, and one for all else."""
    rest: list[Part] = []
    for part in parts:
        if not isinstance(part, ToolResult):
            rest.append(part)
            continue
        texts = [each.text for each in part.content if isinstance(each, Text)]
        shown: list[Part] = [each for each in part.content if not isinstance(each, Text)]
        if shown:
            # A tool's message is text only; what it shows comes in the user's message that follows.
            losses.add("messages[].content[].content[]", "what a tool shows is sent as the user's")
            texts = texts or ["(see the attachment below)"]
            rest = [*shown, *rest]
        text = "\n".join(texts)
        if part.is_error:
            losses.add("messages[].content[].is_error", "said in the text of the result")
            text = text if text.lower().startswith("error") else f"Error: {text}"
        if part.cache:
            losses.add("messages[].content[].cache_control", _CACHES_ITSELF)
        out.append({"role": "tool", "tool_call_id": carriers.fitted(part.id, _LONGEST_ID), "content": text})
    if rest:
        out.append({"role": "user", "content": _content_out(rest, losses)})


def _assistant_out(parts: Sequence[Part], losses: Losses) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": None}
    texts: list[str] = []
    calls: list[dict[str, object]] = []
    thought: list[Thinking] = []
    for part in parts:
        match part:
            case Text():
                texts.append(part.text)
                if part.cache:
                    losses.add("messages[].content[].cache_control", _CACHES_ITSELF)
            case Refusal():
                message["refusal"] = part.text
            case ToolCall():
                arguments = part.arguments or "{}"
                function = {
                    "name": carriers.fitted(part.name, LONGEST_NAME),
                    "arguments": carriers.wrap(part.arguments) if part.freeform else arguments,
                }
                ident = carriers.fitted(part.id, _LONGEST_ID)
                calls.append({"id": ident, "type": "function", "function": function})
                if part.cache:
                    losses.add("messages[].content[].cache_control", _CACHES_ITSELF)
            case Thinking():
                # Only what this dialect's providers said themselves; nobody else can read it, or is known to take it.
                if part.signature is not None and part.signature.of is Dialect.OPENAI:
                    thought.append(part)
                else:
                    losses.add("messages[].content[].thinking", "only the provider that thought it can go on from it")
            case _:
                losses.refuse("messages[].content[]", f"an assistant cannot say {type(part).__name__} here")
    if texts:
        message["content"] = "".join(texts)
    if calls:
        message["tool_calls"] = calls
    if thought:
        message["reasoning_content"] = "".join(part.text for part in thought)
        if details := details_of(part for part in thought if part.signature is not None and part.signature.value):
            message["reasoning_details"] = details
    return message


def _content_out(parts: Sequence[Part], losses: Losses) -> str | list[dict[str, object]]:
    """One text, or a list of parts."""
    if len(parts) == 1 and isinstance(first := parts[0], Text) and not first.cache:
        return first.text
    content: list[dict[str, object]] = []
    for part in parts:
        match part:
            case Text() | Refusal():
                content.append({"type": "text", "text": part.text})
            case Image():
                content.append(_image_out(part, losses))
            case File():
                content.append(_file_out(part, losses))
            case Audio():
                kind = part.media_type.removeprefix("audio/")
                sound = {"data": part.data, "format": {"mpeg": "mp3", "x-wav": "wav", "wave": "wav"}.get(kind, kind)}
                content.append({"type": "input_audio", "input_audio": sound})
                continue
            case _:
                losses.refuse("messages[].content[]", f"a user cannot say {type(part).__name__} here")
                continue
        if not isinstance(part, Refusal) and part.cache:
            losses.add("messages[].content[].cache_control", _CACHES_ITSELF)
    return content


def _image_out(part: Image, losses: Losses) -> dict[str, object]:
    if part.file_id:
        losses.refuse("messages[].content[].source.file_id", "only the provider that keeps the file knows it")
    url = part.url or data_url.joined(part.media_type, part.data)
    image = {"url": url, "detail": part.detail} if part.detail else {"url": url}
    return {"type": "image_url", "image_url": image}


def _file_out(part: File, losses: Losses) -> dict[str, object]:
    if part.text:
        losses.add("messages[].content[].source", "a document of plain text is sent as text")
        return {"type": "text", "text": f"{part.name}\n\n{part.text}" if part.name else part.text}
    if part.file_id:
        losses.refuse("messages[].content[].source.file_id", "only the provider that keeps the file knows it")
    if part.url:
        losses.refuse("messages[].content[].source.url", "a document has to be sent as data here")
    data = data_url.joined(part.media_type or "application/pdf", part.data)
    return {"type": "file", "file": {"filename": part.name or "document.pdf", "file_data": data}}


def _tool_out(tool: Tool, losses: Losses) -> dict[str, object]:
    function: dict[str, Any] = {"name": carriers.fitted(tool.name, LONGEST_NAME)}
    description, schema = carriers.as_function(tool)
    if description:
        function["description"] = description
    function["parameters"] = schema or _NO_SCHEMA
    if tool.strict is not None:
        function["strict"] = _strict(tool.strict, schema, "tools[].strict", losses)
    if tool.cache:
        losses.add("tools[].cache_control", _CACHES_ITSELF)
    return {"type": "function", "function": function}


def _choice_out(choice: ToolChoice) -> object:
    if choice.mode == "named":
        return {"type": "function", "function": {"name": carriers.fitted(choice.names[0], LONGEST_NAME)}}
    mode = "required" if choice.mode == "any" else choice.mode
    if not choice.names or choice.mode == "none":
        return mode
    tools = [{"type": "function", "function": {"name": carriers.fitted(name, LONGEST_NAME)}} for name in choice.names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def _format_out(asked: Format, losses: Losses) -> dict[str, object]:
    if asked.kind == "json":
        return {"type": "json_object"}
    schema: dict[str, object] = {"name": asked.name or "answer", "schema": asked.schema or _NO_SCHEMA}
    if asked.description:
        schema["description"] = asked.description
    if asked.strict is not None:
        schema["strict"] = _strict(asked.strict, asked.schema, "output_config.format.schema", losses)
    return {"type": "json_schema", "json_schema": schema}


def _strict(wanted: bool, schema: msgspec.Raw, field: str, losses: Losses) -> bool:
    """Whether the model is to be kept to a schema: OpenAI does so only for closed ones."""
    kept = wanted and carriers.closed(schema)
    if wanted and not kept:
        losses.add(field, "OpenAI keeps to a schema only if all its fields are required and no others allowed")
    return kept


def _effort_out(asked: Reasoning | None, takes: families.Gpt, losses: Losses) -> Effort | None:
    if asked is None:
        return None
    effort = asked.effort
    if effort is None and asked.budget is not None:
        effort = families.effort_of(asked.budget)
        losses.add("thinking.budget_tokens", f"said as the effort {effort}")
    if effort is None:
        return None
    nearest = families.nearest(effort, takes.efforts)
    if nearest is None:
        if effort != "none":
            losses.add("reasoning_effort", "the model is not to be told how hard to think")
    elif nearest != effort:
        losses.add("reasoning_effort", f"the model knows no {effort}, so {nearest}")
    return nearest


def _sampling_out(request: Request, free: bool, fields: dict[str, object], losses: Losses) -> None:
    for name, value, usual in (
        ("temperature", request.temperature, 1.0),
        ("top_p", request.top_p, 1.0),
        ("frequency_penalty", request.frequency_penalty, 0.0),
        ("presence_penalty", request.presence_penalty, 0.0),
    ):
        if value is None:
            continue
        if free:
            fields[name] = value
        elif value != usual:
            losses.add(name, "a model that reasons samples as it likes")
    if request.seed is not None:
        fields["seed"] = request.seed
    if request.top_k is not None:
        losses.add("top_k", "no field of this dialect")
