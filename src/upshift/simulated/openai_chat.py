"""How does OpenAI's chat completions API put a request, an answer and an error?"""

from collections.abc import Iterator, Mapping
from itertools import chain, zip_longest
from typing import Any, Final

import msgspec

from upshift.model.tokens import Usage
from upshift.simulated.agent import Step, Turn, step
from upshift.simulated.asked import Asked, Prompt, Tool, UnreadableError, encoded, last_text
from upshift.simulated.compose import Choice, Finish
from upshift.simulated.dialect import Frame, Said
from upshift.simulated.tokens import pieces
from upshift.simulated.wishes import split_model, wishes_in

NAME: Final = "openai"
REQUEST_ID: Final = b"x-request-id"
_PER_MESSAGE = 3
_PER_IMAGE = 765
_REASONERS = ("gpt-5", "gpt-6", "o3", "o4-mini")
_EFFORT = {"none": 0.0, "minimal": 0.05, "low": 0.2, "medium": 0.4, "high": 0.6, "xhigh": 0.75, "max": 0.8}
_FINISH = {
    Finish.STOP: "stop",
    Finish.LENGTH: "length",
    Finish.TOOLS: "tool_calls",
    Finish.STOP_SEQUENCE: "stop",
}
_KIND = {
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
ANY_OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "score": {"type": "integer"}, "sure": {"type": "boolean"}},
}


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Request(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None


_decode = msgspec.json.Decoder(_Request).decode


def read(body: bytes) -> Asked:
    """Reads a chat completions request. Raises UnreadableError."""
    try:
        request = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as trouble:
        raise UnreadableError(f"We could not parse the JSON body of your request. ({trouble})") from None
    if not request.messages:
        raise UnreadableError("Invalid 'messages': empty array. Expected an array with minimum length 1.")
    limit = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
    if limit is not None and limit < 1:
        raise UnreadableError("Invalid 'max_tokens': integer below minimum value. Expected a value >= 1.")
    choices = 1 if request.n is None else request.n
    if not 1 <= choices <= 128:
        raise UnreadableError("Invalid 'n': expected a value from 1 to 128.")
    prompt = _prompt(request)
    tokens = pieces("\n".join(prompt.texts))
    name, directives = split_model(request.model)
    last = request.messages[-1]
    said = last_text(last.content) if last.role == "user" else ""
    stop = request.stop or []
    doing = _step(request, said, prompt.texts)
    return Asked(
        model=name,
        directives=f"{wishes_in(said)},{directives}",
        stream=bool(request.stream),
        prompt_tokens=len(tokens) + _PER_MESSAGE * len(request.messages) + _PER_IMAGE * prompt.images,
        prompt=tokens,
        images=prompt.images,
        max_tokens=limit,
        stops=(stop,) if isinstance(stop, str) else tuple(stop),
        calls=doing.calls,
        reply=doing.reply,
        schema=_schema(request.response_format),
        reasoning_share=reasoning_share(name, request.reasoning_effort),
        choices=choices,
        include_usage=bool(request.stream_options and request.stream_options.include_usage),
    )


def _prompt(request: _Request) -> Prompt:
    prompt = Prompt()
    if request.tools:
        prompt.add(encoded(request.tools).decode())
    for message in request.messages:
        prompt.add(message.role)
        prompt.add(message.content)
        if message.tool_calls:
            prompt.add(encoded(message.tool_calls).decode())
    return prompt


def _step(request: _Request, said: str, texts: list[str]) -> Step:
    tools = []
    for offered in request.tools or ():
        function = offered.get("function")
        if isinstance(function, Mapping) and isinstance(name := function.get("name"), str):
            parameters = function.get("parameters")
            tools.append(Tool(name, parameters if isinstance(parameters, Mapping) else {}))
    choice = request.tool_choice or "auto"
    if not isinstance(choice, str):
        function = choice.get("function")
        choice = f"={function.get('name')}" if isinstance(function, Mapping) else "auto"
    parallel = request.parallel_tool_calls is not False
    return step(tools, _turn(request.messages, texts), said, choice, parallel=parallel)


def _turn(messages: list[_Message], texts: list[str]) -> Turn:
    results = 0
    for message in reversed(messages):
        if message.role == "user":
            return Turn(last_text(message.content), results, "\n".join(texts))
        results += message.role == "tool"
    return Turn("", results)


def _schema(response_format: dict[str, Any] | None) -> Mapping[str, Any] | None:
    match response_format:
        case {"type": "json_schema", "json_schema": {"schema": dict() as schema}}:
            return schema
        case {"type": "json_schema" | "json_object"}:
            return ANY_OBJECT
        case _:
            return None


def reasoning_share(model: str, effort: str | None) -> float:
    """The share of an answer that is thought. Raises UnreadableError for an effort that is none."""
    if effort is not None:
        if effort not in _EFFORT:
            raise UnreadableError(f"Invalid value: '{effort}'. Supported values are: {', '.join(_EFFORT)}.")
        return _EFFORT[effort]
    return _EFFORT["medium"] if any(part in model for part in _REASONERS) else 0.0


def whole(choices: list[Choice], said: Said) -> bytes:
    """The body of a chat completion."""
    answer: dict[str, Any] = {
        "id": f"chatcmpl-{said.ident}",
        "object": "chat.completion",
        "created": said.created,
        "model": said.model,
        "choices": [
            {
                "index": index,
                "message": _message(choice),
                "logprobs": None,
                "finish_reason": _FINISH[choice.finish] if said.finished else None,
            }
            for index, choice in enumerate(choices)
        ],
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
    }
    if said.usage is not None:
        answer["usage"] = _usage(said.usage)
    return encoded(answer)


def _message(choice: Choice) -> dict[str, Any]:
    text = "".join(choice.text)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if choice.calls:
        message["content"] = text or None
        message["tool_calls"] = [
            {
                "id": f"call_{call.ident}",
                "type": "function",
                "function": {"name": call.name, "arguments": "".join(call.arguments)},
            }
            for call in choice.calls
        ]
    return message


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def frames(asked: Asked, choices: list[Choice], said: Said, chunk: int) -> Iterator[Frame]:
    """The events of a streamed chat completion; the choices take turns."""
    head: dict[str, Any] = {
        "id": f"chatcmpl-{said.ident}",
        "object": "chat.completion.chunk",
        "created": said.created,
        "model": said.model,
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
        "choices": [],
    }
    with_usage = asked.include_usage and said.usage is not None
    if with_usage:
        head["usage"] = None
    turns = zip_longest(*(_deltas(index, one, said, chunk) for index, one in enumerate(choices)))
    for turn in chain.from_iterable(turns):
        if turn is not None:
            choice, tokens = turn
            yield Frame(_event({**head, "choices": [choice]}) if choice else b"", tokens)
    if with_usage and said.usage is not None:
        yield Frame(_event({**head, "usage": _usage(said.usage)}), 0)
    yield Frame(b"data: [DONE]\n\n", 0)


def _deltas(index: int, choice: Choice, said: Said, chunk: int) -> Iterator[tuple[dict[str, Any], int]]:
    def delta(change: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": change, "logprobs": None, "finish_reason": finish}

    yield {}, choice.reasoning
    yield delta({"role": "assistant", "content": None if choice.calls else "", "refusal": None}), 0
    for at in range(0, len(choice.text), chunk):
        part = choice.text[at : at + chunk]
        yield delta({"content": "".join(part)}), len(part)
    for number, call in enumerate(choice.calls):
        opening = {
            "index": number,
            "id": f"call_{call.ident}",
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        yield delta({"tool_calls": [opening]}), 1
        for at in range(0, len(call.arguments), chunk):
            part = call.arguments[at : at + chunk]
            yield (
                delta({"tool_calls": [{"index": number, "function": {"arguments": "".join(part)}}]}),
                len(part),
            )
    if said.finished:
        yield delta({}, _FINISH[choice.finish]), 0


def _event(value: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % encoded(value)


def error(status: int, message: str, ident: str) -> bytes:
    """The body of a refusal; OpenAI names the request in a header only."""
    kind, code = _KIND.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    return encoded({"error": {"message": message, "type": kind, "param": None, "code": code}})


def error_event(message: str, ident: str) -> bytes:
    """An event that breaks a stream off."""
    return b"data: %b\n\n" % error(500, message, ident)


def models(names: tuple[str, ...], created: int) -> bytes:
    """The list of models."""
    return encoded({"object": "list", "data": [_model(name, created) for name in names]})


def one_model(name: str, created: int) -> bytes:
    """One model of the list."""
    return encoded(_model(name, created))


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "simulated"}
