"""How does Gemini's generateContent say a request, a refusal and a list of models?"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

import msgspec

from upshift.traffic.snapshot import Ability, Dialect
from upshift.traffic.wire import body as bodies
from upshift.traffic.wire.ask import Ask, ModelEntry, StreamMeter, asked_extras
from upshift.traffic.wire.body import Fields
from upshift.traffic.wire.gemini_answer import GeminiMeter, error_body, read_answer

_NULL = msgspec.Raw(b"null")
_NOTHING = msgspec.Raw()
_MOST_CHOICES = 8
_FILE_BYTES_PER_IMAGE = 50_000
"""Base64 bytes of a document or film that may cost as many tokens as an image: about a scanned page, or a second."""
_SOUND_BYTES_PER_IMAGE = 500_000
"""Base64 bytes of a sound that may cost as many tokens as an image: minutes of narrow-band speech."""
_UNSEEN_FILE = 10
"""Images that a document or a cached prompt counts as which is only referred to."""
_UNSEEN_FILM = 300
"""Images that a film or a sound counts as which is only referred to: five minutes at one picture per second."""
_KEPT_FILES = ("https://generativelanguage.googleapis.com/", "files/")
_TARGET = re.compile(rb"/v1(?:beta)?/models/(.+):(generateContent|streamGenerateContent)", re.DOTALL)
_QUERY = frozenset({b"alt", b"key", b"prettyPrint"})
_DIGITS = re.compile(r"[0-9]{1,15}")
_INNER_CAPITAL = re.compile(r"(?<=[a-z])([A-Z])")


def _snake(name: str) -> str:
    return _INNER_CAPITAL.sub(r"_\1", name).lower()


def _spellings(*names: str) -> Mapping[str, str]:
    """The fields whose spelling matters, by each form of their names that the vendor takes."""
    return MappingProxyType({form: name for name in names for form in (name, _snake(name))})


_TOP = _spellings(
    "contents", "tools", "systemInstruction", "generationConfig", "cachedContent", "continuationToken", "model",
    "serviceTier",
)  # fmt: skip
_CONFIG = _spellings(
    "maxOutputTokens", "candidateCount", "responseMimeType", "responseSchema", "responseJsonSchema", "thinkingConfig"
)
_THINKING = _spellings("thinkingBudget")
_SCHEMAS = ("responseSchema", "responseJsonSchema", "_responseJsonSchema")
_LEAST_THOUGHT = 512
"""A budget of thoughts that all models accept which think by one."""


class _Blob(msgspec.Struct, gc=False):
    """Data of a file, or where it is. Fields may be spelt in either way."""

    camel_type: str | None = msgspec.field(name="mimeType", default=None)
    snake_type: str | None = msgspec.field(name="mime_type", default=None)
    data: msgspec.Raw = _NOTHING
    camel_uri: str | None = msgspec.field(name="fileUri", default=None)
    snake_uri: str | None = msgspec.field(name="file_uri", default=None)


class _Part(msgspec.Struct, gc=False):
    camel_inline: _Blob | None = msgspec.field(name="inlineData", default=None)
    snake_inline: _Blob | None = msgspec.field(name="inline_data", default=None)
    camel_file: _Blob | None = msgspec.field(name="fileData", default=None)
    snake_file: _Blob | None = msgspec.field(name="file_data", default=None)
    camel_call: msgspec.Raw = msgspec.field(name="functionCall", default=_NOTHING)
    snake_call: msgspec.Raw = msgspec.field(name="function_call", default=_NOTHING)
    camel_result: "_Result | None" = msgspec.field(name="functionResponse", default=None)
    snake_result: "_Result | None" = msgspec.field(name="function_response", default=None)


class _Result(msgspec.Struct, gc=False):
    parts: list[_Part] | _Part | None = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | _Part | None = None


# The vendor takes one object where a list of them is meant, and its own examples do so.
_CONTENTS = msgspec.json.Decoder(list[_Content] | _Content | None)
_CONTENT = msgspec.json.Decoder(_Content | None)
_TOOLS = msgspec.json.Decoder(list[Fields] | Fields | None)
_FIELDS = msgspec.json.Decoder(Fields)
_NUMBER = msgspec.json.Decoder(int | float | str | None)
_TEXT = msgspec.json.Decoder(str | None)


class _Seen:
    """What the parts of a request have in them."""

    __slots__ = ("images", "inline", "keeps_state", "needs")

    def __init__(self) -> None:
        self.images = 0
        self.inline = 0
        self.keeps_state = False
        self.needs: set[Ability] = set()

    def parts(self, parts: list[_Part] | _Part | None, *, nested: bool = False) -> None:
        """Look through parts, and into the results of functions."""
        for part in (parts,) if isinstance(parts, _Part) else parts or ():
            if (blob := part.camel_inline) is not None:
                self._data(blob)
            if (blob := part.snake_inline) is not None:
                self._data(blob)
            if (blob := part.camel_file) is not None:
                self._reference(blob)
            if (blob := part.snake_file) is not None:
                self._reference(blob)
            if len(part.camel_call) or len(part.snake_call):
                self.needs.add(Ability.TOOLS)
            if (result := part.camel_result) is not None:
                self._result(result, nested=nested)
            if (result := part.snake_result) is not None:
                self._result(result, nested=nested)

    def _result(self, result: _Result, *, nested: bool) -> None:
        self.needs.add(Ability.TOOLS)
        if not nested:
            self.parts(result.parts, nested=True)

    def _data(self, blob: _Blob) -> None:
        data = len(blob.data)
        self.inline += data
        kind = blob.camel_type or blob.snake_type or ""
        if kind.startswith("image/"):
            self.needs.add(Ability.IMAGES)
            self.images += 1
        else:
            each = _SOUND_BYTES_PER_IMAGE if kind.startswith("audio/") else _FILE_BYTES_PER_IMAGE
            self.images += 1 + data // each

    def _reference(self, blob: _Blob) -> None:
        kind = blob.camel_type or blob.snake_type or ""
        if (blob.camel_uri or blob.snake_uri or "").startswith(_KEPT_FILES):
            self.keeps_state = True
        if kind.startswith("image/"):
            self.needs.add(Ability.IMAGES)
            self.images += 1
        elif kind.startswith(("video/", "audio/")) or not kind:
            self.images += _UNSEEN_FILM
        else:
            self.images += _UNSEEN_FILE


def place(target: bytes) -> tuple[str, bool]:
    """The model that a path names, and whether the answer is to be streamed. Raises Refused(BadRequest)."""
    path, _, query = target.partition(b"?")
    found = _TARGET.fullmatch(path)
    if found is None:
        bodies.refuse("path", "found no model in it, expected /v1beta/models/NAME:generateContent")
    try:
        name = unquote_to_bytes(found[1]).decode()
    except UnicodeDecodeError:
        bodies.refuse("path", "found a model whose name is not UTF-8")
    stream = found[2] == b"streamGenerateContent"
    forms = []
    for part in query.split(b"&"):
        option, _, value = part.partition(b"=")
        if option == b"alt":
            forms.append(value)
        elif option and option not in _QUERY:
            # Among the vendor's are some that leave usage out of an answer, and some that carry secrets.
            bodies.refuse(f"query {option.decode('latin-1')[:40]}", "found an option that is not served")
    if stream and forms != [b"sse"]:
        bodies.refuse("query alt", "found none, expected ?alt=sse: answers are streamed as server-sent events only")
    if not stream and forms not in ([], [b"json"]):
        bodies.refuse("query alt", "found one beside generateContent, expected streamGenerateContent?alt=sse")
    return bodies.named(name.removeprefix("models/")), stream


def known(where: str, fields: Fields, names: Mapping[str, str]) -> dict[str, str]:
    """How each field that matters is spelt, by its name in camel case. Raises Refused(BadRequest).

    The vendor takes generationConfig and generation_config alike: only one of them may be there, and no third form.
    """
    found: dict[str, str] = {}
    for name in fields:
        own = names.get(name)
        if own is None:
            if not name.startswith("_"):
                _no_third_form(where, name, names)
        elif own in found:
            bodies.refuse(where, f"found {found[own]!r} and {name!r}, expected one of the two")
        else:
            found[own] = name
    return found


def _no_third_form(where: str, name: str, names: Mapping[str, str]) -> None:
    letters = name.replace("_", "").lower()
    for own in names.values():
        if own.lower() == letters:
            bodies.refuse(where, f"found the field {name[:80]!r}, expected {own!r}")


class Gemini:
    """Gemini generateContent and streamGenerateContent."""

    __slots__ = ()

    def read(self, body: bytes, target: bytes = b"") -> Ask:
        """Understand a request. Raises Refused(BadRequest)."""
        model, stream = place(target)
        fields, _ = bodies.open_body(body, _FIELDS, capitals=True)
        spelt = known("body", fields, _TOP)
        given = {own: fields[name] for own, name in spelt.items() if fields[name] != _NULL}
        seen = _Seen()
        contents = bodies.within("contents", given.get("contents", _NULL), _CONTENTS)
        if not contents:
            bodies.refuse("contents", "found none, expected a list with at least one content")
        for content in (contents,) if isinstance(contents, _Content) else contents:
            seen.parts(content.parts)
        if "systemInstruction" in given:
            system = bodies.within("systemInstruction", given["systemInstruction"], _CONTENT)
            if system is not None:
                seen.parts(system.parts)
        if "tools" in given and bodies.within("tools", given["tools"], _TOOLS):
            seen.needs.add(Ability.TOOLS)
        if "model" in given:
            named = bodies.within("model", given["model"], _TEXT)
            if named is not None and named.removeprefix("models/") != model:
                bodies.refuse("model", f"found {named[:80]!r}, expected none or the one in the path, {model!r}")
        if "cachedContent" in given:
            seen.images += _UNSEEN_FILE
        config: Fields = {}
        if "generationConfig" in given:
            config = _config(given["generationConfig"])
            if "thinkingConfig" in config:
                _thinking(config["thinkingConfig"])
            if _asks_for_json(config):
                seen.needs.add(Ability.JSON)
        tier = bodies.within("serviceTier", given["serviceTier"], _TEXT) if "serviceTier" in given else None
        return Ask(
            dialect=Dialect.GEMINI,
            model=model,
            stream=stream,
            max_output=_count("generationConfig.maxOutputTokens", config.get("maxOutputTokens")),
            choices=_count("generationConfig.candidateCount", config.get("candidateCount"), _MOST_CHOICES) or 1,
            needs=frozenset(seen.needs),
            text_bytes=len(body) - seen.inline,
            images=seen.images,
            wants_usage=True,
            extras=asked_extras(tier),
            keeps_state=seen.keeps_state or "cachedContent" in given or "continuationToken" in given,
        )

    def rewrite(
        self,
        body: bytes,
        *,
        model: str | None = None,
        max_output: int | None = None,
        limit_field: str = "maxOutputTokens",
        include_usage: bool = False,
    ) -> bytes:
        """Put fields into a body that `read` accepted; the same object where nothing changes.

        The model is in the path; a body that names it as well follows. The bound has one place, within
        generationConfig, and usage is always reported: the last two arguments change nothing. A budget of thoughts
        that the bound leaves no room for shrinks with it.
        """
        del limit_field, include_usage
        if max_output is None and (model is None or b'"model"' not in body):
            return body
        fields = bodies.fields_of(body)
        spelt = known("body", fields, _TOP)
        changes: dict[str, bytes] = {}
        if model is not None and "model" in spelt:
            changes["model"] = msgspec.json.encode(f"models/{model}")
        if max_output is not None:
            name = spelt.get("generationConfig", "generationConfig")
            raw = fields.get(name, _NULL)
            config = bodies.object_at("generationConfig", raw)
            own = known("generationConfig", config, _CONFIG)
            bound = own.get("maxOutputTokens", "maxOutputTokens")
            within = {bound: str(max_output).encode()} | _thoughts(config, own, max_output)
            changes[name] = bodies.splice(bytes(raw), config, within)
        return bodies.splice(body, fields, changes)

    answer = staticmethod(read_answer)
    """Read an answer that came in one piece. Never raises."""

    def stream(self, *, keep_usage: bool) -> StreamMeter:
        """A meter for one streamed answer. Usage is part of events that clients need, so it always stays."""
        del keep_usage
        return GeminiMeter()

    def refusal(self, status: int, code: str, message: str, request_id: str) -> bytes:
        """The body of an error answer; the request id goes in a header alone, as Google does it."""
        del request_id
        return error_body(status, code, message)

    def models(self, entries: Sequence[ModelEntry]) -> bytes:
        """The body of a list of models."""
        return msgspec.json.encode({"models": [_listed(entry) for entry in entries]})

    def model(self, entry: ModelEntry) -> bytes:
        """The body that shows one model."""
        return msgspec.json.encode(_listed(entry))


def _thinking(raw: msgspec.Raw) -> tuple[Fields, str, int | None]:
    """The fields of thinkingConfig, how its budget of tokens is spelt there, and what it is; None or negative where the
    model is to decide."""
    where = "generationConfig.thinkingConfig"
    thinking = bodies.object_at(where, raw)
    field = known(where, thinking, _THINKING).get("thinkingBudget", "thinkingBudget")
    said = bodies.within(f"{where}.{field}", thinking.get(field, _NULL), _NUMBER)
    return thinking, field, said if isinstance(said, int) else None


def _thoughts(config: Fields, own: Mapping[str, str], bound: int) -> dict[str, bytes]:
    """The thinkingConfig that goes with a lower bound: thoughts are part of it, and would leave no answer."""
    name = own.get("thinkingConfig", "thinkingConfig")
    raw = config.get(name, _NULL)
    thinking, field, said = _thinking(raw)
    if said is None or said < max(bound, _LEAST_THOUGHT + 1):
        return {}
    limit = own.get("maxOutputTokens", "maxOutputTokens")
    asked = _count("generationConfig.maxOutputTokens", config.get(limit)) or 0
    less = max(_LEAST_THOUGHT, bodies.in_proportion(said, bound, asked))
    return {name: bodies.splice(bytes(raw), thinking, {field: str(less).encode()})}


def _listed(entry: ModelEntry) -> dict[str, object]:
    return {
        "name": f"models/{entry.name}",
        "displayName": entry.name,
        "description": f"{entry.name}, by {entry.owner}" if entry.owner else entry.name,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


def _config(raw: msgspec.Raw) -> Fields:
    """The fields of generationConfig that matter, by their names in camel case, and those with an underscore first."""
    fields = bodies.object_at("generationConfig", raw)
    found = {own: fields[name] for own, name in known("generationConfig", fields, _CONFIG).items()}
    return found | {name: value for name, value in fields.items() if name.startswith("_")}


def _asks_for_json(config: Fields) -> bool:
    if "responseMimeType" in config:
        kind = bodies.within("generationConfig.responseMimeType", config["responseMimeType"], _TEXT)
        if kind == "application/json":
            return True
    return any(config[name] != _NULL for name in _SCHEMAS if name in config)


def _count(where: str, raw: msgspec.Raw | None, most: int | None = None) -> int | None:
    """A whole number, written as one, as a fraction without a rest or as a text of digits: the vendor takes all three
    (proto3 JSON mapping, int32)."""
    if raw is None:
        return None
    found = bodies.within(where, raw, _NUMBER)
    if isinstance(found, str):
        if _DIGITS.fullmatch(found) is None:
            bodies.refuse(where, "found a text, expected a whole number")
        found = int(found)
    elif isinstance(found, float):
        if not found.is_integer():
            bodies.refuse(where, "found a fraction, expected a whole number")
        found = int(found)
    return bodies.bounded(where, found) if most is None else bodies.bounded(where, found, most)
