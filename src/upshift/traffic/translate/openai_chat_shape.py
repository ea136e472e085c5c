"""Which fields does a request have that is put in the words of OpenAI Chat Completions?

Structs that forbid unknown fields, so that none is dropped in silence; with the extensions that many clients send.
"""

import msgspec

from upshift.traffic.translate.openai_chat_answer import NULL, Detail

NOTHING = msgspec.Raw()


class Strict(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What has no field but those it names."""


class Breakpoint(Strict):
    mode: str | None = None
    type: str | None = None
    ttl: str | None = None


class ImageUrl(Strict):
    url: str = ""
    detail: str | None = None


class Sound(Strict):
    data: str = ""
    format: str = ""


class FileData(Strict):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class Part(Strict):
    type: str = ""
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | None = None
    input_audio: Sound | None = None
    file: FileData | None = None
    prompt_cache_breakpoint: Breakpoint | None = None
    cache_control: Breakpoint | None = None


class Function(Strict):
    name: str = ""
    arguments: str | None = None


class Custom(Strict):
    name: str = ""
    input: str | None = None


class Call(Strict):
    id: str | None = None
    type: str | None = None
    index: int | None = None
    function: Function | None = None
    custom: Custom | None = None


class Message(Strict):
    role: str = ""
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Detail] | None = None
    audio: msgspec.Raw = NULL
    function_call: msgspec.Raw = NULL
    annotations: msgspec.Raw = NULL


class Definition(Strict):
    name: str = ""
    description: str | None = None
    parameters: msgspec.Raw = NOTHING
    strict: bool | None = None


class CustomDefinition(Strict):
    name: str = ""
    description: str | None = None
    format: msgspec.Raw = NOTHING


class Tool(Strict):
    type: str = "function"
    function: Definition | None = None
    custom: CustomDefinition | None = None
    cache_control: Breakpoint | None = None


class Named(Strict):
    name: str = ""


class Allowed(Strict):
    mode: str = "auto"
    tools: list[Tool] = []


class Choice(Strict):
    type: str = ""
    function: Named | None = None
    custom: Named | None = None
    allowed_tools: Allowed | None = None


class Schema(Strict):
    name: str = ""
    description: str | None = None
    schema: msgspec.Raw = NOTHING
    strict: bool | None = None


class Format(Strict):
    type: str = "text"
    json_schema: Schema | None = None


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Request(Strict):
    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | Choice | None = None
    parallel_tool_calls: bool | None = None
    response_format: Format | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: msgspec.Raw = NULL
    modalities: list[str] | None = None
    audio: msgspec.Raw = NULL
    functions: msgspec.Raw = NULL
    function_call: msgspec.Raw = NULL
    web_search_options: msgspec.Raw = NULL
    prediction: msgspec.Raw = NULL
    moderation: msgspec.Raw = NULL
    metadata: msgspec.Raw = NULL
    store: bool | None = None
    prompt_cache_options: msgspec.Raw = NULL
    prompt_cache_retention: str | None = None
