"""How is a request put in the words of OpenAI Responses?"""

from collections.abc import Sequence

import msgspec

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers, data_url, families
from upshift.traffic.translate.asides import Losses, bound
from upshift.traffic.translate.words import (
    Audio,
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
_LONGEST_ID = 64
_LEAST_OUTPUT = 16
_NO_SCHEMA = msgspec.Raw(b'{"type":"object","properties":{}}')
_CACHES_ITSELF = "OpenAI caches without being asked"
_encode = msgspec.json.Encoder().encode


class _Inner(msgspec.Struct):
    syntax: str = ""
    definition: str = ""


class _Grammar(msgspec.Struct):
    """What a free text has to match; in Chat Completions it is one level deeper."""

    type: str = "text"
    syntax: str = ""
    definition: str = ""
    grammar: _Inner | None = None


def request_out(request: Request, model: str, max_output: int | None, *, stream: bool) -> tuple[bytes, list[Loss]]:
    """Write a request. Changes nothing of `request`."""
    losses = Losses()
    takes = families.gpt(model)
    # Nothing is kept there that the client did not ask to be kept.
    fields: dict[str, object] = {"model": model, "input": _Items(losses).of(request.messages), "store": False}
    if not takes.sampling:
        fields["include"] = ["reasoning.encrypted_content"]
    if stream:
        fields["stream"] = True
    most = bound(request, max_output)
    if most is not None:
        if most < _LEAST_OUTPUT:
            losses.add("max_output_tokens", f"at least {_LEAST_OUTPUT} have to be allowed")
        fields["max_output_tokens"] = max(_LEAST_OUTPUT, most)
    reasoning = _reasoning_out(request.reasoning, takes, losses)
    if reasoning:
        fields["reasoning"] = reasoning
    _sampling_out(request, takes.sampling or reasoning.get("effort") == "none", fields, losses)
    if request.tools:
        free = {tool.name for tool in request.tools if tool.freeform}
        fields["tools"] = [_tool_out(tool, losses) for tool in request.tools]
        if request.parallel is not None:
            fields["parallel_tool_calls"] = request.parallel
        if request.tool_choice is not None:
            fields["tool_choice"] = _choice_out(request.tool_choice, free)
    text: dict[str, object] = {}
    if request.format is not None:
        text["format"] = _format_out(request.format)
    if request.verbosity:
        text["verbosity"] = request.verbosity
    if text:
        fields["text"] = text
    told = {"user": request.user, "prompt_cache_key": request.cache_key, "service_tier": request.service_tier}
    fields |= {name: value for name, value in told.items() if value}
    if request.cache:
        losses.add("cache_control", _CACHES_ITSELF)
    return _encode(fields), losses.all()


class _Items:
    """Messages as items of an input."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._items: list[dict[str, object]] = []
        self._free: set[str] = set()
        """Calls of tools that take a free text."""

    def of(self, messages: Sequence[Message]) -> list[dict[str, object]]:
        """All of them."""
        for message in messages:
            said: list[dict[str, object]] = []
            for part in message.parts:
                self._part(message.role, part, said)
            self._flush(message.role, said)
        return self._items

    def _flush(self, role: Role, said: list[dict[str, object]]) -> None:
        if said:
            one = said[0].get("text") if len(said) == 1 and said[0]["type"] == "input_text" else None
            self._items.append({"type": "message", "role": role.value, "content": one or list(said)})
            said.clear()

    def _part(self, role: Role, part: Part, said: list[dict[str, object]]) -> None:
        """Content is collected in `said`; everything else is an item of its own, after what was said before."""
        if not isinstance(part, Thinking | Refusal | Audio) and part.cache:
            self._losses.add("messages[].content[].cache_control", _CACHES_ITSELF)
        match part:
            case Text():
                said.append({"type": "output_text" if role is Role.ASSISTANT else "input_text", "text": part.text})
            case Refusal():
                said.append({"type": "refusal", "refusal": part.text})
            case ToolCall():
                self._flush(role, said)
                self._call(part)
            case ToolResult():
                self._flush(role, said)
                self._result(part)
            case Thinking():
                self._flush(role, said)
                self._thought(part)
            case Image() if role is not Role.ASSISTANT:
                said.append(self._image(part))
            case File() if role is not Role.ASSISTANT:
                said.append(self._file(part))
            case Audio() if role is not Role.ASSISTANT:
                kind = part.media_type.removeprefix("audio/")
                sound = {"data": part.data, "format": {"mpeg": "mp3", "x-wav": "wav", "wave": "wav"}.get(kind, kind)}
                said.append({"type": "input_audio", "input_audio": sound})
            case _:
                self._losses.refuse("messages[].content[]", f"an assistant cannot say {type(part).__name__} here")

    def _call(self, part: ToolCall) -> None:
        item: dict[str, object] = {"call_id": carriers.fitted(part.id, _LONGEST_ID)}
        item["name"] = carriers.fitted(part.name, LONGEST_NAME)
        if part.freeform:
            self._free.add(part.id)
            self._items.append({"type": "custom_tool_call"} | item | {"input": part.arguments})
        else:
            self._items.append({"type": "function_call"} | item | {"arguments": part.arguments or "{}"})

    def _result(self, part: ToolResult) -> None:
        texts = [each.text for each in part.content if isinstance(each, Text)]
        if part.is_error:
            self._losses.add("messages[].content[].is_error", "said in the text of the result")
            if not (texts and texts[0].lower().startswith("error")):
                texts = [f"Error: {texts[0] if texts else ''}".rstrip(": "), *texts[1:]]
        shown = [
            self._image(each) if isinstance(each, Image) else self._file(each)
            for each in part.content
            if not isinstance(each, Text)
        ]
        output: object = "\n".join(texts)
        if shown:
            output = [*({"type": "input_text", "text": text} for text in texts), *shown]
        kind = "custom_tool_call_output" if part.freeform or part.id in self._free else "function_call_output"
        self._items.append({"type": kind, "call_id": carriers.fitted(part.id, _LONGEST_ID), "output": output})

    def _thought(self, part: Thinking) -> None:
        if part.signature is None or part.signature.of is not Dialect.RESPONSES or not part.signature.value:
            self._losses.add("messages[].content[].thinking", "only the provider that thought it can go on from it")
            return
        summary = [{"type": "summary_text", "text": part.text}] if part.text else []
        self._items.append({"type": "reasoning", "summary": summary, "encrypted_content": part.signature.value})

    def _image(self, part: Image) -> dict[str, object]:
        if part.file_id:
            self._losses.refuse("messages[].content[].source.file_id", "only the provider that keeps the file knows it")
        url = part.url or data_url.joined(part.media_type, part.data)
        return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}

    def _file(self, part: File) -> dict[str, object]:
        if part.text:
            self._losses.add("messages[].content[].source", "a document of plain text is sent as text")
            return {"type": "input_text", "text": f"{part.name}\n\n{part.text}" if part.name else part.text}
        if part.file_id:
            self._losses.refuse("messages[].content[].source.file_id", "only the provider that keeps the file knows it")
        if part.url:
            return {"type": "input_file", "file_url": part.url}
        data = data_url.joined(part.media_type or "application/pdf", part.data)
        return {"type": "input_file", "filename": part.name or "document.pdf", "file_data": data}


def _tool_out(tool: Tool, losses: Losses) -> dict[str, object]:
    if tool.cache:
        losses.add("tools[].cache_control", _CACHES_ITSELF)
    said: dict[str, object] = {"name": carriers.fitted(tool.name, LONGEST_NAME)}
    if tool.description:
        said["description"] = tool.description
    if not tool.freeform:
        # Not said would mean strict here, which many a schema does not bear.
        return {"type": "function"} | said | {"parameters": tool.schema or _NO_SCHEMA, "strict": bool(tool.strict)}
    if grammar := _grammar_out(tool.grammar):
        said["format"] = grammar
    return {"type": "custom"} | said


def _grammar_out(raw: msgspec.Raw) -> dict[str, object]:
    try:
        said = msgspec.json.decode(raw, type=_Grammar)
    except (ValueError, RecursionError):
        return {}
    inner = said.grammar or _Inner(said.syntax, said.definition)
    if said.type != "grammar":
        return {}
    return {"type": "grammar", "syntax": inner.syntax, "definition": inner.definition}


def _choice_out(choice: ToolChoice, free: set[str]) -> object:
    named = [
        {"type": "custom" if name in free else "function", "name": carriers.fitted(name, LONGEST_NAME)}
        for name in choice.names
    ]
    if choice.mode == "named":
        return named[0]
    mode = "required" if choice.mode == "any" else choice.mode
    if not named or choice.mode == "none":
        return mode
    return {"type": "allowed_tools", "mode": mode, "tools": named}


def _format_out(asked: Format) -> dict[str, object]:
    if asked.kind == "json":
        return {"type": "json_object"}
    said: dict[str, object] = {"type": "json_schema", "name": asked.name or "answer"}
    if asked.description:
        said["description"] = asked.description
    said["schema"] = asked.schema or _NO_SCHEMA
    if asked.strict is not None:
        said["strict"] = asked.strict
    return said


def _reasoning_out(asked: Reasoning | None, takes: families.Gpt, losses: Losses) -> dict[str, object]:
    said: dict[str, object] = {}
    if asked is None:
        return said
    effort = asked.effort
    if effort is None and asked.budget is not None:
        effort = families.effort_of(asked.budget)
        losses.add("thinking.budget_tokens", f"said as the effort {effort}")
    nearest = None if effort is None else families.nearest(effort, takes.efforts)
    if nearest is not None:
        said["effort"] = nearest
    if effort not in {nearest, "none"}:
        told = (
            f"the model knows no {effort}, so {nearest}" if nearest else "the model is not to be told how hard to think"
        )
        losses.add("reasoning.effort", told)
    if asked.shown and takes.efforts:
        said["summary"] = "auto"
    return said


def _sampling_out(request: Request, free: bool, fields: dict[str, object], losses: Losses) -> None:
    for name, value in (("temperature", request.temperature), ("top_p", request.top_p)):
        if value is not None and free:
            fields[name] = value
        elif value not in {None, 1.0}:
            losses.add(name, "a model that reasons samples as it likes")
    for name, unsaid in (
        ("frequency_penalty", request.frequency_penalty),
        ("presence_penalty", request.presence_penalty),
        ("seed", request.seed),
        ("top_k", request.top_k),
    ):
        if unsaid is not None and not (unsaid == 0 and name.endswith("penalty")):
            losses.add(name, "no field of this dialect")
    if request.stop:
        losses.refuse("stop", "this dialect has no stop sequences")
