"""What is the shape of a request to Gemini, in whichever way its fields are spelt?"""

import types
from typing import Any, Union, get_args, get_origin

import msgspec

from upshift.traffic.translate.opening import Opener
from upshift.traffic.translate.words import Loss

_NULL = msgspec.Raw(b"null")
_NOTHING = msgspec.Raw()

Count = int | float | str | None
"""A whole number, as the vendor takes it: written as one, with an empty fraction, or as a text."""


class Strict(msgspec.Struct, gc=False, forbid_unknown_fields=True, rename="camel"):
    """Fields in camel case, and no others."""


class Blob(Strict):
    mime_type: str | None = None
    data: str | None = None
    display_name: str | None = None


class FileData(Strict):
    mime_type: str | None = None
    file_uri: str | None = None
    display_name: str | None = None


class Call(Strict):
    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = _NOTHING


class ResultPart(Strict):
    inline_data: Blob | None = None
    file_data: FileData | None = None
    text: str | None = None


class Result(Strict):
    id: str | None = None
    name: str | None = None
    response: msgspec.Raw = _NOTHING
    parts: list[ResultPart] | None = None


class PartSaid(Strict):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: Call | None = None
    function_response: Result | None = None
    executable_code: msgspec.Raw = _NULL
    code_execution_result: msgspec.Raw = _NULL
    tool_call: msgspec.Raw = _NULL
    tool_response: msgspec.Raw = _NULL


class Content(Strict):
    role: str | None = None
    parts: list[PartSaid] | None = None


class Declaration(Strict):
    name: str = ""
    description: str | None = None
    parameters: msgspec.Raw = _NULL
    parameters_json_schema: msgspec.Raw = _NULL


class ToolSaid(Strict):
    function_declarations: list[Declaration] | None = None


class CallingConfig(Strict):
    mode: str | None = None
    allowed_function_names: list[str] | None = None


class ToolConfig(Strict):
    function_calling_config: CallingConfig | None = None


class ThinkingConfig(Strict):
    include_thoughts: bool | None = None
    thinking_budget: Count = None
    thinking_level: str | None = None


class Config(Strict):
    temperature: float | None = None
    top_p: float | None = None
    top_k: Count = None
    candidate_count: Count = None
    max_output_tokens: Count = None
    stop_sequences: list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: Count = None
    response_logprobs: bool | None = None
    logprobs: Count = None
    response_mime_type: str | None = None
    response_schema: msgspec.Raw = _NULL
    response_json_schema: msgspec.Raw = _NULL
    first_json_schema: msgspec.Raw = msgspec.field(name="_responseJsonSchema", default=_NULL)
    response_modalities: list[str] | None = None
    speech_config: msgspec.Raw = _NULL
    image_config: msgspec.Raw = _NULL
    thinking_config: ThinkingConfig | None = None


class Said(Strict):
    contents: list[Content]
    model: str | None = None
    system_instruction: Content | None = None
    tools: list[ToolSaid] | None = None
    tool_config: ToolConfig | None = None
    generation_config: Config | None = None
    cached_content: str | None = None
    continuation_token: str | None = None
    service_tier: str | None = None


_DECODER = msgspec.json.Decoder(Said)
_OPENER = Opener(Said)


def opened(body: bytes) -> tuple[Said, list[Loss]]:
    """A body, and a loss for each field that has no place here. Raises Refused(BadRequest)."""
    try:
        return _DECODER.decode(body), []
    except (ValueError, RecursionError):
        pass
    try:
        value = msgspec.json.decode(body)
        body = msgspec.json.encode(_camel(value, Said))
    except (ValueError, RecursionError):
        # What is wrong with it is for the opener to say.
        pass
    return _OPENER.open(body)


def _camel(value: Any, shape: Any) -> Any:
    """The value with its fields in camel case, and with a list wherever one object stands for it."""
    if get_origin(shape) in {Union, types.UnionType}:
        known = [each for each in get_args(shape) if get_origin(each) is list or _is_struct(each)]
        return _camel(value, known[0]) if known else value
    if get_origin(shape) is list:
        (item,) = get_args(shape)
        if isinstance(value, dict):
            value = [value]
        return [_camel(each, item) for each in value] if isinstance(value, list) else value
    if not _is_struct(shape) or not isinstance(value, dict):
        return value
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}
    snake = {_folded(name): name for name in fields}
    turned = {}
    for name, each in value.items():
        own = snake.get(_folded(name), name)
        turned[own] = _camel(each, fields[own]) if own in fields else each
    return turned


def _folded(name: str) -> str:
    return name if name.startswith("_") else name.replace("_", "").lower()


def _is_struct(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, msgspec.Struct)
