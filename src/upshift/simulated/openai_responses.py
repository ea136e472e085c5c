"""How does OpenAI's responses API put a request, an answer and an error?"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from upshift.model.tokens import Usage
from upshift.simulated import openai_chat
from upshift.simulated.agent import Step, Turn, step
from upshift.simulated.asked import Asked, Prompt, Tool, UnreadableError, encoded, last_text
from upshift.simulated.compose import Choice, Finish
from upshift.simulated.dialect import Frame, Said
from upshift.simulated.openai_chat import ANY_OBJECT, reasoning_share
from upshift.simulated.tokens import pieces
from upshift.simulated.wishes import split_model, wishes_in

NAME: Final = "openai-responses"
REQUEST_ID: Final = b"x-request-id"
_PER_ITEM = 3
_PER_IMAGE = 765


class _Request(msgspec.Struct):
    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    background: bool | None = None


_decode = msgspec.json.Decoder(_Request).decode


def read(body: bytes) -> Asked:
    """Reads a responses request. Raises UnreadableError."""
    try:
        request = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as trouble:
        raise UnreadableError(f"We could not parse the JSON body of your request. ({trouble})") from None
    items = _items(request.input)
    if not items:
        raise UnreadableError("Invalid 'input': empty array. Expected an array with minimum length 1.")
    if request.background:
        raise UnreadableError("Invalid 'background': the simulated provider answers at once.")
    limit = request.max_output_tokens
    if limit is not None and limit < 16:
        raise UnreadableError("Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16.")
    offered = list(request.tools or ())
    for item in items:
        if item.get("type") == "additional_tools" and isinstance(more := item.get("tools"), list):
            offered += more
    prompt = _prompt(request, items, offered)
    tokens = pieces("\n".join(prompt.texts))
    name, directives = split_model(request.model)
    last = items[-1]
    said = last_text(last.get("content")) if last.get("role") == "user" else ""
    wanted = request.reasoning or {}
    doing = _step(request, offered, said, items)
    return Asked(
        model=name,
        directives=f"{wishes_in(said)},{directives}",
        stream=bool(request.stream),
        prompt_tokens=len(tokens) + _PER_ITEM * len(items) + _PER_IMAGE * prompt.images,
        prompt=tokens,
        images=prompt.images,
        max_tokens=limit,
        calls=doing.calls,
        reply=doing.reply,
        schema=_schema(request.text),
        reasoning_share=reasoning_share(name, wanted.get("effort")),
        reasoning_shown=bool(wanted.get("summary")),
        keep=request.store is not False,
        goes_on_from=request.previous_response_id or "",
    )


def _items(given: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _prompt(request: _Request, items: list[dict[str, Any]], offered: list[Any]) -> Prompt:
    prompt = Prompt()
    if offered:
        prompt.add(encoded(offered).decode())
    if request.instructions:
        prompt.add(request.instructions)
    for item in items:
        match item.get("type", "message"):
            case "message":
                prompt.add(item.get("role"))
                prompt.add(item.get("content"))
            case "function_call_output" | "custom_tool_call_output":
                prompt.add(item.get("output"))
            case "reasoning":
                prompt.add(item.get("summary"))
            case "additional_tools":
                continue
            case _:
                prompt.add(encoded(item).decode())
    return prompt


def _step(request: _Request, offered: list[Any], said: str, items: list[dict[str, Any]]) -> Step:
    tools: list[Tool] = []
    for tool in offered:
        tools += _tools(tool, "")
    choice = request.tool_choice or "auto"
    if not isinstance(choice, str):
        if choice.get("type") == "allowed_tools":
            allowed = {each.get("name") for each in choice.get("tools", ())}
            tools = [tool for tool in tools if tool.name in allowed]
            choice = str(choice.get("mode", "auto"))
        else:
            choice = f"={choice['name']}" if "name" in choice else "auto"
    return step(tools, _turn(items), said, choice, parallel=request.parallel_tool_calls is not False)


def _turn(items: list[dict[str, Any]]) -> Turn:
    results = 0
    for item in reversed(items):
        if item.get("role") == "user":
            return Turn(last_text(item.get("content")), results)
        results += item.get("type") in ("function_call_output", "custom_tool_call_output")
    return Turn("", results)


def _tools(tool: object, space: str) -> Iterator[Tool]:
    """The functions and free tools that are offered; what the vendor would run itself is never called here."""
    match tool:
        case {"type": "function", "name": str(name), "parameters": dict(parameters)}:
            yield Tool(name, parameters, space)
        case {"type": "function", "name": str(name)}:
            yield Tool(name, {}, space)
        case {"type": "custom", "name": str(name)}:
            yield Tool(name, {}, space, free=True)
        case {"type": "namespace", "name": str(name), "tools": list(inner)}:
            for each in inner:
                yield from _tools(each, name)


def _schema(text: dict[str, Any] | None) -> Mapping[str, Any] | None:
    match text:
        case {"format": {"type": "json_schema", "schema": dict() as schema}}:
            return schema
        case {"format": {"type": "json_object"}}:
            return ANY_OBJECT
        case _:
            return None


def whole(choices: list[Choice], said: Said) -> bytes:
    """The body of a response."""
    (choice,) = choices
    return encoded(_ended(choice, said) if said.finished else _response(said, "in_progress", _output(choice, said)))


def _response(said: Said, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"resp_{said.ident}",
        "object": "response",
        "created_at": said.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": said.model,
        "output": output,
        "parallel_tool_calls": True,
        "service_tier": "default",
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
    }


def _ended(choice: Choice, said: Said) -> dict[str, Any]:
    cut = choice.finish is Finish.LENGTH
    ended = _response(said, "incomplete" if cut else "completed", _output(choice, said))
    if cut:
        ended["incomplete_details"] = {"reason": "max_output_tokens"}
    if said.usage is not None:
        ended["usage"] = _usage(said.usage)
    return ended


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


def _output(choice: Choice, said: Said) -> list[dict[str, Any]]:
    """The items of an answer; where it was cut, the last one is incomplete."""
    items: list[dict[str, Any]] = []
    if choice.reasoning:
        items.append(_reasoning(choice, said))
    if choice.text or not choice.calls:
        part = {"type": "output_text", "text": "".join(choice.text), "annotations": [], "logprobs": []}
        items.append(
            {
                "id": f"msg_{said.ident}",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [part],
            }
        )
    for call in choice.calls:
        kind, field = ("custom_tool_call", "input") if call.free else ("function_call", "arguments")
        item: dict[str, Any] = {
            "id": f"{'ctc' if call.free else 'fc'}_{call.ident}",
            "type": kind,
            "status": "completed",
            "call_id": f"call_{call.ident}",
            "name": call.name,
            field: "".join(call.arguments),
        }
        if call.space:
            item["namespace"] = call.space
        items.append(item)
    if choice.finish is Finish.LENGTH and items[-1]["type"] != "reasoning":
        items[-1]["status"] = "incomplete"
    return items


def _reasoning(choice: Choice, said: Said) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": "".join(choice.thinking)}] if choice.thinking else []
    sealed = blake2b(said.ident.encode(), digest_size=48).hexdigest()
    return {"id": f"rs_{said.ident}", "type": "reasoning", "summary": summary, "encrypted_content": sealed}


def frames(asked: Asked, choices: list[Choice], said: Said, chunk: int) -> Iterator[Frame]:
    """The events of a streamed response."""
    (choice,) = choices
    for number, (value, tokens) in enumerate(_events(choice, said, chunk)):
        yield Frame(_event(value | {"sequence_number": number}), tokens)


def _events(choice: Choice, said: Said, chunk: int) -> Iterator[tuple[dict[str, Any], int]]:
    opening = _response(said, "in_progress", [])
    yield {"type": "response.created", "response": opening}, 0
    yield {"type": "response.in_progress", "response": opening}, 0
    calls = iter(choice.calls)
    for index, item in enumerate(_output(choice, said)):
        match item["type"]:
            case "reasoning":
                yield from _thinking(index, item, choice, chunk)
            case "message":
                yield from _message(index, item, choice, chunk)
            case _:
                yield from _calling(index, item, next(calls).arguments, chunk)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}, 0
    if said.finished:
        ended = _ended(choice, said)
        yield {"type": f"response.{ended['status']}", "response": ended}, 0


def _thinking(index: int, item: dict[str, Any], choice: Choice, chunk: int) -> Iterator[tuple[dict[str, Any], int]]:
    opening = {name: value for name, value in item.items() if name != "encrypted_content"} | {"summary": []}
    added = {"type": "response.output_item.added", "output_index": index, "item": opening}
    yield added, choice.reasoning - len(choice.thinking)
    for summary in item["summary"]:
        at = {"item_id": item["id"], "output_index": index, "summary_index": 0}
        yield {"type": "response.reasoning_summary_part.added", **at, "part": summary | {"text": ""}}, 0
        yield from _deltas("response.reasoning_summary_text", at, choice.thinking, chunk)
        yield {"type": "response.reasoning_summary_text.done", **at, "text": summary["text"]}, 0
        yield {"type": "response.reasoning_summary_part.done", **at, "part": summary}, 0


def _message(index: int, item: dict[str, Any], choice: Choice, chunk: int) -> Iterator[tuple[dict[str, Any], int]]:
    (part,) = item["content"]
    at = {"item_id": item["id"], "output_index": index, "content_index": 0}
    opening = item | {"status": "in_progress", "content": []}
    yield {"type": "response.output_item.added", "output_index": index, "item": opening}, 0
    yield {"type": "response.content_part.added", **at, "part": part | {"text": ""}}, 0
    yield from _deltas("response.output_text", at | {"logprobs": []}, choice.text, chunk)
    yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}, 0
    yield {"type": "response.content_part.done", **at, "part": part}, 0


def _calling(index: int, item: dict[str, Any], tokens: list[str], chunk: int) -> Iterator[tuple[dict[str, Any], int]]:
    field = "arguments" if item["type"] == "function_call" else "input"
    kind = "response.function_call_arguments" if field == "arguments" else "response.custom_tool_call_input"
    at = {"item_id": item["id"], "output_index": index}
    opening = item | {"status": "in_progress", field: ""}
    yield {"type": "response.output_item.added", "output_index": index, "item": opening}, 1
    yield from _deltas(kind, at, tokens, chunk)
    yield {"type": f"{kind}.done", **at, field: item[field]}, 0


def _deltas(kind: str, at: dict[str, Any], tokens: list[str], chunk: int) -> Iterator[tuple[dict[str, Any], int]]:
    for start in range(0, len(tokens), chunk):
        part = tokens[start : start + chunk]
        yield {"type": f"{kind}.delta", **at, "delta": "".join(part)}, len(part)


def _event(value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), encoded(value))


def error(status: int, message: str, ident: str) -> bytes:
    """The body of a refusal; it is that of chat completions."""
    return openai_chat.error(status, message, ident)


def error_event(message: str, ident: str) -> bytes:
    """An event that breaks a stream off."""
    return _event({"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": 0})
