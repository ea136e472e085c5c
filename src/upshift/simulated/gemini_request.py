"""What does a request to Gemini ask for, and is it one that the vendor takes?"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from upshift.simulated.agent import Step, Turn, step
from upshift.simulated.asked import Asked, Tool, UnreadableError, encoded
from upshift.simulated.tokens import pieces
from upshift.simulated.wishes import split_model, wishes_in

SIGNED: Final = b"simulated:"
"""What every signature of the simulated provider begins with, before base64."""
_FOREIGN = frozenset({"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"})
"""Signatures that the vendor tells people to put on calls which none of its models made."""
_PER_CONTENT = 3
_PER_IMAGE = 258
_THINKERS = ("gemini-2.5", "gemini-3", "gemini-4")
_STRICT = ("gemini-3", "gemini-4")
"""Models that take their own calls back only with the signature they came with."""
_SHARES = {"minimal": 0.05, "low": 0.2, "medium": 0.4, "high": 0.6, "xhigh": 0.75}
_ANY_OBJECT: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "score": {"type": "integer"}, "sure": {"type": "boolean"}},
}

_Object = dict[str, Any]
_decode = msgspec.json.Decoder(_Object).decode


def decoded(body: bytes) -> _Object:
    """The object in a body. Raises UnreadableError."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as trouble:
        raise UnreadableError(f"Invalid JSON payload received. {trouble}") from None


def field(value: Mapping[str, Any], name: str) -> Any:
    """A field by its name in camel case, spelt so or in snake case."""
    found = value.get(name)
    if found is None:
        found = value.get("".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name))
    return found


def read(body: bytes, model: str, *, stream: bool) -> Asked:
    """Reads a generateContent request to a model. Raises UnreadableError."""
    request = decoded(body)
    name, directives = split_model(model)
    contents = _contents(request)
    _check_turns(contents, strict=any(part in name for part in _STRICT))
    texts, images = _prompt(request, contents)
    tokens = pieces("\n".join(texts))
    config = _object(field(request, "generationConfig"), "generation_config")
    limit, choices = _count(config, "maxOutputTokens"), _count(config, "candidateCount") or 1
    if choices > 8:
        raise UnreadableError("Unable to submit request because candidateCount must be from 1 to 8.")
    said = _last_said(contents)
    share, budget, shown = _thinking(name, config)
    doing = _step(request, said, contents)
    return Asked(
        model=name,
        directives=f"{wishes_in(said)},{directives}",
        stream=stream,
        prompt_tokens=len(tokens) + _PER_CONTENT * len(contents) + _PER_IMAGE * images,
        prompt=tokens,
        images=images,
        max_tokens=limit,
        stops=tuple(field(config, "stopSequences") or ()),
        calls=doing.calls,
        reply=doing.reply,
        schema=_schema(config),
        reasoning_share=share,
        reasoning_limit=budget,
        reasoning_shown=shown,
        choices=choices,
    )


def counted(body: bytes) -> int:
    """Tokens of the prompt that a countTokens request holds. Raises UnreadableError."""
    request = decoded(body)
    request = field(request, "generateContentRequest") or request
    contents = _contents(request)
    texts, images = _prompt(request, contents)
    return len(pieces("\n".join(texts))) + _PER_CONTENT * len(contents) + _PER_IMAGE * images


def text_of(content: object) -> str:
    """The text in a content. Raises UnreadableError."""
    return "\n".join(part["text"] for part in _parts(_object(content, "content")) if isinstance(part.get("text"), str))


def _object(value: object, name: str) -> _Object:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UnreadableError(f"Invalid value at '{name}', expected an object.")
    return value


def _listed(value: object, name: str) -> list[_Object]:
    found = value if isinstance(value, list) else [] if value is None else [value]
    return [_object(each, name) for each in found]


def _contents(request: _Object) -> list[_Object]:
    contents = _listed(request.get("contents"), "contents")
    if not contents:
        raise UnreadableError("* GenerateContentRequest.contents: contents is not specified")
    for content in contents:
        if content.get("role", "user") not in ("user", "model", "function"):
            raise UnreadableError("Please use a valid role: user, model.")
        if not _parts(content):
            raise UnreadableError("* GenerateContentRequest.contents: contents.parts must not be empty.")
    return contents


def _parts(content: _Object) -> list[_Object]:
    return _listed(content.get("parts"), "parts")


def _count(config: _Object, name: str) -> int | None:
    count = field(config, name)
    if count is None:
        return None
    try:
        found = int(count)
    except (TypeError, ValueError):
        raise UnreadableError(f"Invalid value at 'generation_config.{name}' (TYPE_INT32), {count!r}") from None
    if found < 1:
        raise UnreadableError(f"Unable to submit request because {name} must be at least 1.")
    return found


def _check_turns(contents: list[_Object], *, strict: bool) -> None:
    """As the vendor does: a call is answered in the next turn, and in the current one it carries its signature."""
    spoken = [at for at, content in enumerate(contents) if content.get("role", "user") == "user" and _spoken(content)]
    current = spoken[-1] if spoken else -1
    for at, content in enumerate(contents):
        calls = [part for part in _parts(content) if field(part, "functionCall") is not None]
        # A client that streams may put each event's content down as one of its own: together they are the turn.
        following = next((each for each in contents[at + 1 :] if each.get("role") != "model"), None)
        if calls and following is not None:
            results = sum(field(part, "functionResponse") is not None for part in _parts(following))
            if results != len(calls):
                raise UnreadableError(
                    "Please ensure that the number of function response parts is equal to the number of function call "
                    "parts of the function call turn."
                )
        if strict and calls and at > current and not _signed(field(calls[0], "thoughtSignature")):
            name = _object(field(calls[0], "functionCall"), "function_call").get("name")
            raise UnreadableError(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                f"work correctly. Additional data, function call `{name}`, position {at + 1}."
            )


def _spoken(content: _Object) -> bool:
    return any(field(part, "functionResponse") is None for part in _parts(content))


def _signed(signature: object) -> bool:
    if signature is None:
        return False
    if signature in _FOREIGN:
        return True
    try:
        value = base64.urlsafe_b64decode(str(signature).replace("+", "-").replace("/", "_"))
    except (binascii.Error, ValueError):
        value = b""
    if not value.startswith(SIGNED):
        raise UnreadableError("Corrupted thought signature.")
    return True


def _prompt(request: _Object, contents: list[_Object]) -> tuple[list[str], int]:
    texts: list[str] = []
    images = 0
    if tools := request.get("tools"):
        texts.append(encoded(tools).decode())
    system = field(request, "systemInstruction")
    for content in ([] if system is None else [_object(system, "system_instruction")]) + contents:
        texts.append(str(content.get("role", "")))
        for part in _parts(content):
            if isinstance(part.get("text"), str):
                texts.append(part["text"])
            elif field(part, "inlineData") is not None or field(part, "fileData") is not None:
                images += 1
            else:
                rest = {name: value for name, value in part.items() if name not in ("thoughtSignature", "thought")}
                texts.append(encoded(rest).decode())
    return texts, images


def _last_said(contents: list[_Object]) -> str:
    last = contents[-1]
    return text_of(last) if last.get("role", "user") == "user" else ""


def _thinking(model: str, config: _Object) -> tuple[float, int | None, bool]:
    """Share of an answer that is thought, most tokens of it (None: no limit), and whether it may be seen."""
    asked = _object(field(config, "thinkingConfig"), "thinking_config")
    shown = field(asked, "includeThoughts") is True
    level, budget = field(asked, "thinkingLevel"), field(asked, "thinkingBudget")
    if level is not None and budget is not None:
        raise UnreadableError("You can only set only one of thinking budget and thinking level.")
    if level is not None and str(level).lower() not in _SHARES:
        raise UnreadableError(f"Invalid value at 'generation_config.thinking_config.thinking_level', {level!r}")
    if not any(part in model for part in _THINKERS):
        if budget or level:
            raise UnreadableError("Thinking is not supported for this model.")
        return 0.0, 0, False
    share = _SHARES["medium" if level is None else str(level).lower()]
    return share, None if budget is None or budget < 0 else int(budget), shown


def _step(request: _Object, said: str, contents: list[_Object]) -> Step:
    tools = []
    for tool in _listed(request.get("tools"), "tools"):
        for declared in _listed(field(tool, "functionDeclarations"), "function_declarations"):
            schema = field(declared, "parametersJsonSchema")
            if schema is None:
                schema = _json_schema(declared.get("parameters") or {})
            if isinstance(name := declared.get("name"), str) and isinstance(schema, Mapping):
                tools.append(Tool(name, schema))
    config = _object(field(_object(field(request, "toolConfig"), "tool_config"), "functionCallingConfig"), "config")
    mode, allowed = str(config.get("mode") or "AUTO").upper(), field(config, "allowedFunctionNames")
    if mode == "ANY" and allowed:
        tools = [tool for tool in tools if tool.name in allowed]
        if not tools:
            raise UnreadableError("allowed_function_names names no function that is declared.")
    choice = {"ANY": "required", "NONE": "none"}.get(mode, "auto")
    return step(tools, _turn(contents), said, choice, parallel=True)


def _turn(contents: list[_Object]) -> Turn:
    results = 0
    for content in reversed(contents):
        if content.get("role", "user") == "model":
            continue
        found = sum(field(part, "functionResponse") is not None for part in _parts(content))
        if not found:
            return Turn(text_of(content), results)
        results += found
    return Turn("", results)


def _schema(config: _Object) -> Mapping[str, Any] | None:
    kind, own = field(config, "responseMimeType"), field(config, "responseSchema")
    schema = field(config, "responseJsonSchema")
    if (own or schema) and kind != "application/json":
        raise UnreadableError("Function calling config or response schema needs response_mime_type application/json.")
    if isinstance(schema, Mapping):
        return schema
    if isinstance(own, Mapping):
        found = _json_schema(own)
        return found if isinstance(found, Mapping) else _ANY_OBJECT
    return _ANY_OBJECT if kind == "application/json" else None


def _json_schema(schema: object) -> object:
    """The vendor's own kind of schema, a part of OpenAPI's, as JSON Schema."""
    if isinstance(schema, list):
        return [_json_schema(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    return dict(_fields(schema))


def _fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in schema.items():
        if name == "type" and isinstance(value, str):
            yield name, value.lower()
        elif name == "properties" and isinstance(value, Mapping):
            yield name, {key: _json_schema(each) for key, each in value.items()}
        elif name in ("items", "anyOf", "any_of"):
            yield "anyOf" if name == "any_of" else name, _json_schema(value)
        elif name in ("minItems", "maxItems", "minLength", "maxLength") and isinstance(value, str):
            yield name, int(value)
        else:
            yield name, value
