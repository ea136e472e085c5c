"""How is a request written in the words of Gemini?"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import msgspec

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers, families, gemini_thoughts
from upshift.traffic.translate.asides import Losses, bound
from upshift.traffic.translate.results_first import results_first
from upshift.traffic.translate.words import (
    Audio,
    Effort,
    File,
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

_LONGEST_NAME = 64
_MOST_STOPS = 5
_VERSION = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?")
_encode = msgspec.json.Encoder().encode
_CACHES_ITSELF = "Gemini caches without being asked"

_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "png": "image/png",
        "jpg": "image/jpeg",
        "jpeg": "image/jpeg",
        "webp": "image/webp",
        "gif": "image/gif",
        "heic": "image/heic",
        "heif": "image/heif",
        "pdf": "application/pdf",
        "txt": "text/plain",
        "md": "text/markdown",
        "csv": "text/csv",
        "html": "text/html",
    }
)

_Piece = dict[str, object]


class _Takes(msgspec.Struct, frozen=True, gc=False):
    """What a model of Gemini's takes that others of them refuse."""

    thinking: bool = True
    level: bool = True
    """How hard to think as a word, not as a number of tokens."""
    quiet: bool = False
    """It can be told not to think."""
    minimal: bool = True
    signed: bool = True
    """Calls come back with a signature, or are refused."""
    shows: bool = True
    """Results of functions may have pictures in them."""


@lru_cache(maxsize=256)
def _takes(model: str) -> _Takes:
    found = _VERSION.search(model)
    if found is None:
        latest = "gemini" in model
        return _Takes(thinking=latest, level=latest, quiet=not latest, signed=latest, shows=latest)
    version = (int(found[1]), int(found[2] or 0))
    if version >= (3, 0):
        return _Takes(minimal="pro" not in model)
    thinks = version >= (2, 5)
    return _Takes(thinking=thinks, level=False, quiet="pro" not in model, signed=False, shows=False)


def request_out(request: Request, model: str, max_output: int | None) -> tuple[bytes, list[Loss]]:
    """Write a request. Changes nothing of `request`."""
    losses = Losses()
    takes = _takes(model)
    contents, system = _Writer(takes, losses).contents(results_first(request.messages))
    fields: dict[str, object] = {"contents": contents}
    if system:
        fields["systemInstruction"] = {"parts": system}
    if request.tools:
        fields["tools"] = [{"functionDeclarations": [_tool_out(tool, losses) for tool in request.tools]}]
        if request.tool_choice is not None:
            fields["toolConfig"] = {"functionCallingConfig": _choice_out(request.tool_choice)}
        if request.parallel is False:
            losses.add("parallel_tool_calls", "the model calls as many at once as it likes")
    config = _config_out(request, bound(request, max_output), losses)
    if (thinking := _thinking_out(request.reasoning, takes, losses)) is not None:
        config["thinkingConfig"] = thinking
    if config:
        fields["generationConfig"] = config
    if request.service_tier in {"flex", "priority", "default"}:
        fields["serviceTier"] = "standard" if request.service_tier == "default" else request.service_tier
    for name, value, why in (
        ("user", request.user, "no field of this dialect"),
        ("prompt_cache_key", request.cache_key, _CACHES_ITSELF),
        ("verbosity", request.verbosity, "no field of this dialect"),
        ("cache_control", request.cache, _CACHES_ITSELF),
    ):
        if value:
            losses.add(name, why)
    return _encode(fields), losses.all()


def tool_name(name: str) -> str:
    """The name by which this dialect is told a tool: it has to begin with a letter or an underscore."""
    fitted = carriers.fitted(name, _LONGEST_NAME)
    return fitted if fitted[0].isalpha() or fitted[0] == "_" else f"_{carriers.fitted(name, _LONGEST_NAME - 1)}"


class _Writer:
    """Writes messages as contents."""

    __slots__ = ("_losses", "_names", "_takes")

    def __init__(self, takes: _Takes, losses: Losses) -> None:
        self._takes = takes
        self._losses = losses
        self._names: dict[str, str] = {}
        """Names of the functions called so far, by the call's id: results have to repeat them."""

    def contents(self, messages: Sequence[Message]) -> tuple[list[_Piece], list[_Piece]]:
        """Contents, and the parts of the instruction before them."""
        system: list[_Piece] = []
        contents: list[_Piece] = []
        for message in messages:
            match message.role:
                case Role.SYSTEM | Role.DEVELOPER:
                    parts = self._user(message.parts)
                    if not contents:
                        system += parts
                    elif parts:
                        self._losses.add("messages[].role", "what instructs later on is said as the user's")
                        _instruct(contents, parts)
                case Role.USER:
                    results = self._results(message.parts)
                    if results:
                        contents.append({"role": "user", "parts": results})
                    if rest := self._user(message.parts):
                        contents.append({"role": "user", "parts": rest})
                case Role.ASSISTANT:
                    if parts := self._model(message.parts):
                        contents.append({"role": "model", "parts": parts})
        if not contents and system:
            self._losses.add("messages[].role", "an instruction alone is said as the user's")
            return [{"role": "user", "parts": system}], []
        return contents, system

    def _results(self, parts: Sequence[Part]) -> list[_Piece]:
        """The results of functions, which have a content of their own."""
        out: list[_Piece] = []
        shown: list[_Piece] = []
        for part in parts:
            if not isinstance(part, ToolResult):
                continue
            self._mark(part.cache)
            text = "\n".join(each.text for each in part.content if isinstance(each, Text))
            attached: list[_Piece] = []
            for each in part.content:
                if not isinstance(each, Text):
                    self._attach(each, attached)
            name = tool_name(part.name or self._names.get(part.id, "") or "unknown")
            result: _Piece = {"id": part.id, "name": name, "response": _response_out(text, part)}
            if attached and self._takes.shows:
                result["parts"] = attached
            elif attached:
                self._losses.add("messages[].content[].content[]", "what a tool shows is sent as the user's")
                shown += attached
            out.append({"functionResponse": result})
        return out + shown

    def _user(self, parts: Sequence[Part]) -> list[_Piece]:
        out: list[_Piece] = []
        for part in parts:
            match part:
                case Text() | Refusal():
                    if isinstance(part, Text):
                        self._mark(part.cache)
                    if part.text:
                        out.append({"text": part.text})
                case Image() | File():
                    self._attach(part, out)
                case Audio():
                    out.append({"inlineData": {"mimeType": part.media_type, "data": part.data}})
                case ToolResult():
                    continue
                case _:
                    self._losses.refuse("messages[].content[]", f"a user cannot say {type(part).__name__} here")
        return out

    def _model(self, parts: Sequence[Part]) -> list[_Piece]:
        out: list[_Piece] = []
        waiting: list[Thinking] = []
        called = False
        for part in parts:
            match part:
                case Thinking():
                    out += self._thought(part, waiting)
                    continue
                case Text() | Refusal():
                    if isinstance(part, Text):
                        self._mark(part.cache)
                    if not part.text:
                        continue
                    said: _Piece = {"text": part.text}
                case ToolCall():
                    said = self._call(part)
                    if self._takes.signed and not called and not waiting:
                        said["thoughtSignature"] = gemini_thoughts.FOREIGN
                    called = True
                case _:
                    self._losses.refuse("messages[].content[]", f"a model cannot say {type(part).__name__} here")
                    continue
            out.append(self._signed(said, waiting))
        if waiting:
            out.append(self._signed({"text": ""}, waiting))
        return out

    def _signed(self, said: _Piece, waiting: list[Thinking]) -> _Piece:
        if waiting:
            said["thoughtSignature"] = gemini_thoughts.packed(waiting[-1:])
            if len(waiting) > 1:
                self._losses.add("messages[].content[].thinking", "a part has one signature, so the last")
            waiting.clear()
        return said

    def _thought(self, part: Thinking, waiting: list[Thinking]) -> list[_Piece]:
        signature = part.signature
        if signature is None or signature.of is not Dialect.GEMINI:
            self._losses.add("messages[].content[].thinking", "only the provider that thought it can go on from it")
        elif part.text:
            return [{"text": part.text, "thought": True, "thoughtSignature": signature.value}]
        else:
            waiting.append(part)
        return []

    def _call(self, part: ToolCall) -> _Piece:
        self._mark(part.cache)
        self._names[part.id] = part.name
        arguments = carriers.wrap(part.arguments) if part.freeform else part.arguments
        call = {"id": part.id, "name": tool_name(part.name), "args": carriers.as_object(arguments)}
        return {"functionCall": call}

    def _attach(self, part: Image | File, out: list[_Piece]) -> None:
        self._mark(part.cache)
        if part.file_id:
            self._losses.refuse("messages[].content[].file_id", "only the provider that keeps the file knows it")
        elif isinstance(part, File) and part.text:
            self._losses.add("messages[].content[].source", "a document of plain text is sent as text")
            out.append({"text": f"{part.name}\n\n{part.text}" if part.name else part.text})
        elif part.url:
            usual = "image/jpeg" if isinstance(part, Image) else "application/pdf"
            ending = part.url.split("?", 1)[0].rpartition(".")[2].lower()
            kind = part.media_type or _KINDS.get(ending, usual)
            out.append({"fileData": {"mimeType": kind, "fileUri": part.url}})
        else:
            usual = "image/png" if isinstance(part, Image) else "application/pdf"
            out.append({"inlineData": {"mimeType": part.media_type or usual, "data": part.data}})
        if isinstance(part, Image) and part.detail not in {"", "auto"}:
            self._losses.add("messages[].content[].image_url.detail", "a picture is seen as the model likes")
        if isinstance(part, File) and part.name and not part.text:
            self._losses.add("messages[].content[].file.filename", "files have no names in this dialect")

    def _mark(self, cache: str) -> None:
        if cache:
            self._losses.add("messages[].content[].cache_control", _CACHES_ITSELF)


def _response_out(text: str, part: ToolResult) -> object:
    """What a function answered as an object: that of the text if it is one, else the text under a name."""
    if part.is_error:
        return {"error": text}
    whole = carriers.sound(text) if text.lstrip()[:1] == "{" else None
    if whole is None or set(msgspec.json.decode(whole, type=dict[str, msgspec.Raw])) & {"output", "error"}:
        return {"output": text}
    return whole


def _tool_out(tool: Tool, losses: Losses) -> _Piece:
    declared: _Piece = {"name": tool_name(tool.name)}
    description, schema = carriers.as_function(tool)
    if description:
        declared["description"] = description
    if len(schema):
        declared["parametersJsonSchema"] = schema
    if tool.strict:
        losses.add("tools[].strict", "the model keeps to the schema as well as it can")
    if tool.cache:
        losses.add("tools[].cache_control", _CACHES_ITSELF)
    return declared


def _choice_out(choice: ToolChoice) -> _Piece:
    names = [tool_name(name) for name in choice.names]
    match choice.mode:
        case "none":
            return {"mode": "NONE"}
        case "auto":
            # Only a mode that keeps to the schemas takes names without forcing a call.
            return {"mode": "VALIDATED", "allowedFunctionNames": names} if names else {"mode": "AUTO"}
        case "any" | "named":
            return {"mode": "ANY", "allowedFunctionNames": names} if names else {"mode": "ANY"}


def _config_out(request: Request, most: int | None, losses: Losses) -> _Piece:
    config: _Piece = {}
    for name, value in (
        ("maxOutputTokens", most),
        ("temperature", request.temperature),
        ("topP", request.top_p),
        ("topK", request.top_k),
        ("frequencyPenalty", request.frequency_penalty),
        ("presencePenalty", request.presence_penalty),
        ("seed", request.seed),
    ):
        if value is not None:
            config[name] = value
    if request.stop:
        config["stopSequences"] = request.stop[:_MOST_STOPS]
        if len(request.stop) > _MOST_STOPS:
            losses.add("stop", "only five stop sequences can be said")
    asked = request.format
    if asked is not None:
        config["responseMimeType"] = "application/json"
        if asked.kind == "schema" and len(asked.schema):
            config["responseJsonSchema"] = asked.schema
        if asked.description:
            losses.add("response_format.json_schema.description", "no field of this dialect")
    return config


_LEVELS: frozenset[Effort] = frozenset(("minimal", "low", "medium", "high"))
_LARGEST_BUDGET = 24_576


def _thinking_out(asked: Reasoning | None, takes: _Takes, losses: Losses) -> _Piece | None:
    if asked is None:
        return None
    if not takes.thinking:
        if asked.budget or asked.adaptive or asked.effort not in {None, "none"}:
            losses.add("reasoning_effort", "the model does not think")
        return None
    config: _Piece = {}
    if asked.shown is not None:
        config["includeThoughts"] = asked.shown
    if asked.budget is not None:
        config["thinkingBudget"] = asked.budget
    elif asked.effort is not None and takes.level:
        nearest = families.nearest(asked.effort, _LEVELS if takes.minimal else _LEVELS - {"minimal"})
        config["thinkingLevel"] = (nearest or "high").upper()
        if nearest != asked.effort:
            losses.add("reasoning_effort", f"the model knows no {asked.effort}, so {nearest}")
    elif asked.effort is not None:
        budget = min(families.BUDGETS[asked.effort], _LARGEST_BUDGET)
        if asked.effort == "none" and not takes.quiet:
            budget = 128
            losses.add("reasoning_effort", "the model cannot be told not to think, so as little as it can")
        config["thinkingBudget"] = budget
    elif asked.adaptive and not takes.level:
        config["thinkingBudget"] = -1
    return config or None


def _instruct(contents: list[_Piece], parts: list[_Piece]) -> None:
    """Add what instructs later on to the user's turn before it, so that it does not pass for a turn of its own; results
    of tools stand alone."""
    last = contents[-1]
    before = last["parts"] if last["role"] == "user" else None
    if isinstance(before, list) and not any("functionResponse" in part for part in before):
        last["parts"] = [*before, *parts]
    else:
        contents.append({"role": "user", "parts": parts})
