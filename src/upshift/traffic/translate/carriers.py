"""How does what one dialect alone understands travel through another and come back?"""

import re
from hashlib import blake2b

import msgspec

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate.words import Signature, Tool

MARK = "upshift."
"""What a signature of another dialect begins with, where it travels in an opaque text."""
_ODD = re.compile(r"[^a-zA-Z0-9_-]")
_FREEFORM = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
FREEFORM_SCHEMA = msgspec.Raw(
    b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"],"additionalProperties":false}'
)
"""The arguments of a tool that takes free text, in a dialect where every tool takes an object."""
UNSOUND = "INVALID_JSON"
"""The one field of the object that stands for arguments which are no object (as Anthropic advises for those)."""


def seal(signature: Signature, own: Dialect) -> str:
    """A signature as the opaque text of dialect `own`: itself if it is its own, else marked with whose it is."""
    if signature.of is own:
        return signature.value
    return f"{MARK}{signature.of.value}.{signature.value}"


def unseal(text: str, own: Dialect) -> Signature:
    """The signature in an opaque text of dialect `own`."""
    if text.startswith(MARK):
        of, _, value = text[len(MARK) :].partition(".")
        if of in _DIALECTS:
            return Signature(Dialect(of), value)
    return Signature(own, text)


def fitted(name: str, longest: int) -> str:
    """A name or id of at most `longest` letters, digits, "_" and "-": itself, or one made of it that is as unique."""
    if 0 < len(name) <= longest and _ODD.search(name) is None:
        return name
    mark = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{_ODD.sub('_', name)[: longest - 9]}_{mark}"


def wrap(text: str) -> str:
    """Free text for a tool as the JSON text of an object that fits FREEFORM_SCHEMA."""
    return msgspec.json.encode({"input": text}).decode()


def unwrap(arguments: str) -> str:
    """The free text in arguments that `wrap` made, or a model in its manner; else the arguments themselves."""
    try:
        return _STRING.decode(_FREEFORM.decode(arguments)["input"])
    except (ValueError, RecursionError, KeyError):
        return arguments


def sound(arguments: str) -> msgspec.Raw | None:
    """Arguments as the JSON of an object; None where they are none. No arguments at all are an empty object."""
    if not arguments or arguments.isspace():
        return msgspec.Raw(b"{}")
    try:
        data = arguments.encode()
        _FREEFORM.decode(data)
    except (ValueError, RecursionError):
        return None
    return msgspec.Raw(data)


def as_object(arguments: str) -> msgspec.Raw:
    """Arguments as the JSON of an object, where need be one that says they are unsound."""
    return sound(arguments) or msgspec.Raw(
        msgspec.json.encode({UNSOUND: arguments.encode("utf-8", "replace").decode()})
    )


_DIALECTS = frozenset(dialect.value for dialect in Dialect)


def as_function(tool: Tool) -> tuple[str, msgspec.Raw]:
    """Description and schema of a tool where every tool takes an object. A grammar is told in the description."""
    if not tool.freeform:
        return tool.description, tool.schema
    grammar = _grammar(tool.grammar)
    said = f"The input has to match this grammar:\n{grammar}" if grammar else ""
    return "\n\n".join(text for text in (tool.description, said) if text), FREEFORM_SCHEMA


class _Grammar(msgspec.Struct):
    definition: str = ""
    grammar: "_Grammar | None" = None


def _grammar(raw: msgspec.Raw) -> str:
    try:
        found = msgspec.json.decode(raw, type=_Grammar)
    except (ValueError, RecursionError):
        return ""
    return found.definition or (found.grammar.definition if found.grammar is not None else "")


def closed(schema: msgspec.Raw) -> bool:
    """Whether a schema is as strict as OpenAI wants a strict one: objects without further or optional fields."""
    try:
        return _closed(msgspec.json.decode(schema))
    except (ValueError, RecursionError):
        return False


def _closed(node: object) -> bool:
    if isinstance(node, list):
        return all(map(_closed, node))
    if not isinstance(node, dict):
        return True
    fields = node.get("properties")
    if node.get("type") == "object" or fields is not None:
        names = set(fields) if isinstance(fields, dict) else set()
        required = node.get("required", [])
        if node.get("additionalProperties") is not False or not isinstance(required, list):
            return False
        if names - {each for each in required if isinstance(each, str)}:
            return False
    return all(map(_closed, node.values()))
