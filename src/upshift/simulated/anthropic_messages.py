"""How does Anthropic's messages API put a request, an answer and an error?"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from upshift.model.tokens import Usage
from upshift.simulated.agent import Step, Turn, step
from upshift.simulated.asked import (
    Asked,
    Block,
    Prompt,
    Tool,
    UnreadableError,
    encoded,
    last_text,
    text_tokens,
)
from upshift.simulated.compose import Choice, Finish
from upshift.simulated.dialect import Frame, Said
from upshift.simulated.wishes import split_model, wishes_in

NAME: Final = "anthropic"
REQUEST_ID: Final = b"request-id"
_PER_MESSAGE = 3
_PER_IMAGE = 1_568
_THINKING_SHARE = 0.4
_FINISH = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.TOOLS: "tool_use",
    Finish.STOP_SEQUENCE: "stop_sequence",
}
_KIND = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_Content = str | list[dict[str, Any]]


class _Message(msgspec.Struct):
    role: str
    content: _Content


class _Request(msgspec.Struct):
    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    system: _Content | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Request).decode


def read(body: bytes) -> Asked:
    """Reads a messages request. Raises UnreadableError."""
    request = _request(body)
    if request.max_tokens is None:
        raise UnreadableError("max_tokens: Field required")
    if request.max_tokens < 0:
        raise UnreadableError("max_tokens: Input should be greater than or equal to 0")
    marked = b'"cache_control"' in body
    blocks, images = _blocks(request, marked)
    name, directives = split_model(request.model)
    last = request.messages[-1]
    said = last_text(last.content) if last.role == "user" else ""
    limit, shown = _thinking(request.thinking)
    doing = _step(request, said)
    return Asked(
        model=name,
        directives=f"{wishes_in(said)},{directives}",
        stream=bool(request.stream),
        prompt_tokens=sum(block.tokens for block in blocks),
        blocks=blocks if marked else [],
        images=images,
        max_tokens=request.max_tokens,
        stops=tuple(request.stop_sequences or ()),
        calls=doing.calls,
        reply=doing.reply,
        schema=_schema(request.output_config),
        reasoning_share=0.0 if limit == 0 else _THINKING_SHARE,
        reasoning_limit=limit,
        reasoning_shown=shown,
    )


def counted(body: bytes) -> bytes:
    """The answer to a request that only asks how many tokens its prompt has. Raises UnreadableError."""
    blocks, _ = _blocks(_request(body), marked=False)
    return encoded({"input_tokens": sum(block.tokens for block in blocks)})


def _request(body: bytes) -> _Request:
    try:
        request = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as trouble:
        raise UnreadableError(str(trouble)) from None
    if not request.messages:
        raise UnreadableError("messages: at least one message is required")
    return request


def _blocks(request: _Request, marked: bool) -> tuple[list[Block], int]:
    """The prompt in the order in which it is cached (tools, system, messages), and its images."""
    blocks: list[Block] = []
    images = 0
    parts: list[tuple[str, object]] = [("tool", tool) for tool in request.tools or ()]
    parts += [("system", block) for block in _split(request.system or [])]
    for message in request.messages:
        parts += [(message.role, block) for block in _split(message.content)]
    for at, (role, part) in enumerate(parts):
        prompt = Prompt()
        if isinstance(part, str):
            prompt.add(part)
            mark: object = None
        elif isinstance(part, dict):
            prompt.add(encoded(part).decode() if role == "tool" else [part])
            mark = part.get("cache_control")
        if at == len(parts) - 1:
            mark = mark or request.cache_control
        tokens = text_tokens(prompt.texts) + _PER_IMAGE * prompt.images
        blocks.append(Block(_content(role, part) if marked else b"", tokens, _ttl(mark)))
        images += prompt.images
    # What the vendor adds around each message belongs to the last block, which no shorter prefix contains.
    blocks.append(Block(b"", _PER_MESSAGE * len(request.messages), ""))
    return blocks, images


def _split(content: _Content) -> list[Any]:
    return [content] if isinstance(content, str) else list(content)


def _content(role: str, part: object) -> bytes:
    if isinstance(part, dict):
        part = {name: value for name, value in part.items() if name != "cache_control"}
    else:
        part = {"type": "text", "text": part}
    return role.encode() + encoded(part)


def _ttl(mark: object) -> str:
    if not isinstance(mark, dict):
        return ""
    return "1h" if mark.get("ttl") == "1h" else "5m"


def _thinking(thinking: dict[str, Any] | None) -> tuple[int | None, bool]:
    """Most tokens that may be thought (None: no limit) and whether the thoughts may be seen."""
    shown = thinking is not None and thinking.get("display") != "omitted"
    match thinking:
        case {"type": "enabled", "budget_tokens": int(budget)}:
            if budget < 1024:
                raise UnreadableError("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
            return budget, shown
        case {"type": "adaptive"}:
            return None, shown
        case _:
            return 0, False


def _step(request: _Request, said: str) -> Step:
    tools = [
        Tool(name, schema)
        for tool in request.tools or ()
        if isinstance(name := tool.get("name"), str) and isinstance(schema := tool.get("input_schema"), Mapping)
    ]
    asked = request.tool_choice or {}
    choice = {"any": "required", "none": "none", "tool": f"={asked.get('name')}"}.get(str(asked.get("type")), "auto")
    parallel = asked.get("disable_parallel_tool_use") is not True
    return step(tools, _turn(request), said, choice, parallel=parallel)


def _turn(request: _Request) -> Turn:
    results = 0
    for message in reversed(request.messages):
        if message.role != "user":
            continue
        found = sum(block.get("type") == "tool_result" for block in message.content if isinstance(block, dict))
        if not found:
            return Turn(last_text(message.content), results, last_text(request.system))
        results += found
    return Turn("", results)


def _schema(output_config: dict[str, Any] | None) -> Mapping[str, Any] | None:
    match output_config:
        case {"format": {"type": "json_schema", "schema": dict() as schema}}:
            return schema
        case _:
            return None


def whole(choices: list[Choice], said: Said) -> bytes:
    """The body of a message."""
    (choice,) = choices
    content: list[dict[str, Any]] = []
    if choice.reasoning:
        thinking = "".join(choice.thinking)
        content.append({"type": "thinking", "thinking": thinking, "signature": _signature(said)})
    if choice.text:
        content.append({"type": "text", "text": "".join(choice.text)})
    content += [
        {
            "type": "tool_use",
            "id": f"toolu_{call.ident}",
            "name": call.name,
            "input": _arguments("".join(call.arguments)),
        }
        for call in choice.calls
    ]
    answer = _message(said, content)
    if said.finished:
        answer["stop_reason"] = _FINISH[choice.finish]
        answer["stop_sequence"] = choice.stop
    return encoded(answer)


def _arguments(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        # Cut by max_tokens: an answer that is not streamed cannot carry half a JSON object.
        return {}


def _message(said: Said, content: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": f"msg_{said.ident}",
        "type": "message",
        "role": "assistant",
        "model": said.model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }
    if said.usage is not None:
        message["usage"] = _input_usage(said.usage) | _output_usage(said.usage)
    return message


def _input_usage(usage: Usage) -> dict[str, Any]:
    written = usage.cache_write_5m + usage.cache_write_1h
    return {
        "input_tokens": usage.input - usage.cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "service_tier": "standard",
    }


def _output_usage(usage: Usage) -> dict[str, Any]:
    figures: dict[str, Any] = {"output_tokens": usage.output}
    if usage.reasoning:
        figures["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return figures


def _signature(said: Said) -> str:
    return blake2b(said.ident.encode(), digest_size=32).hexdigest()


def frames(asked: Asked, choices: list[Choice], said: Said, chunk: int) -> Iterator[Frame]:
    """The events of a streamed message."""
    (choice,) = choices
    opening = _message(said, [])
    if said.usage is not None:
        opening["usage"] = _input_usage(said.usage) | {"output_tokens": min(1, said.usage.output)}
    yield _event({"type": "message_start", "message": opening})
    yield _event({"type": "ping"})
    for index, (block, kind, field, tokens, unseen) in enumerate(_streamed(choice)):
        yield _event({"type": "content_block_start", "index": index, "content_block": block}, unseen)
        for at in range(0, len(tokens), chunk):
            part = tokens[at : at + chunk]
            delta = {"type": kind, field: "".join(part)}
            yield _event({"type": "content_block_delta", "index": index, "delta": delta}, len(part))
        if block["type"] == "thinking":
            delta = {"type": "signature_delta", "signature": _signature(said)}
            yield _event({"type": "content_block_delta", "index": index, "delta": delta})
        yield _event({"type": "content_block_stop", "index": index})
    if not said.finished:
        return
    closing: dict[str, Any] = {
        "type": "message_delta",
        "delta": {"stop_reason": _FINISH[choice.finish], "stop_sequence": choice.stop},
    }
    if said.usage is not None:
        figures = _input_usage(said.usage)
        closing["usage"] = {
            name: figures[name] for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        } | _output_usage(said.usage)
    yield _event(closing)
    yield _event({"type": "message_stop"})


def _streamed(choice: Choice) -> Iterator[tuple[dict[str, Any], str, str, list[str], int]]:
    """Each content block as it opens, its kind of delta with the field of that, its tokens, and its unseen tokens."""
    if choice.reasoning:
        block: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
        yield block, "thinking_delta", "thinking", choice.thinking, choice.reasoning - len(choice.thinking)
    if choice.text:
        yield {"type": "text", "text": ""}, "text_delta", "text", choice.text, 0
    for call in choice.calls:
        block = {"type": "tool_use", "id": f"toolu_{call.ident}", "name": call.name, "input": {}}
        yield block, "input_json_delta", "partial_json", call.arguments, 1


def _event(value: dict[str, Any], tokens: int = 0) -> Frame:
    return Frame(b"event: %b\ndata: %b\n\n" % (value["type"].encode(), encoded(value)), tokens)


def error(status: int, message: str, ident: str) -> bytes:
    """The body of a refusal."""
    kind = _KIND.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return encoded({"type": "error", "error": {"type": kind, "message": message}, "request_id": f"req_{ident}"})


def error_event(message: str, ident: str) -> bytes:
    """An event that breaks a stream off."""
    return b"event: error\ndata: %b\n\n" % error(529, message, ident)


def models(names: tuple[str, ...]) -> bytes:
    """The list of models."""
    listed = [_model(name) for name in names]
    ends = (names[0], names[-1]) if names else (None, None)
    return encoded({"data": listed, "has_more": False, "first_id": ends[0], "last_id": ends[1]})


def one_model(name: str) -> bytes:
    """One model of the list."""
    return encoded(_model(name))


def _model(name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
    }
