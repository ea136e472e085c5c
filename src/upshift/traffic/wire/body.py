"""Is a request body sound JSON of the expected shape, and how are fields put in without touching the others?"""

import re
from collections.abc import Mapping
from itertools import chain, repeat
from typing import NoReturn, TypeVar

import msgspec

from upshift.model.refusal import BadRequest, Refused
from upshift.traffic.wire.ask import MOST_TOKENS

T = TypeVar("T")
Fields = dict[str, msgspec.Raw]

_FIELDS = msgspec.json.Decoder(Fields)
_OBJECT = msgspec.json.Decoder(Fields | None)
_encode = msgspec.json.Encoder().encode
_MISMATCH = re.compile(r"Expected `(?P<expected>.+)`, got `(?P<found>.+)`$")
_NAME = re.compile(rb'\s*[{,]\s*"([^"\\]*)"\s*:\s*')
_FIRST, _NEXT, _THEN = (b'{"',), repeat(b', "'), repeat(b'": ')
"""What stands before the first name, before every other and before a value, as Python's json writes an object."""
_TOO_DEEP = "found JSON nested too deeply, expected at most a few hundred levels"
_LONGEST_NAME = 256
_NO_FALLBACKS = (msgspec.Raw(), msgspec.Raw(b"null"), msgspec.Raw(b"[]"))


def refuse(where: str, what: str) -> NoReturn:
    """Raises Refused(BadRequest)."""
    raise Refused(BadRequest(where=where, what=what))


def open_body(body: bytes, decoder: msgspec.json.Decoder[T], *, capitals: bool = False) -> tuple[T, Fields]:
    """A body in the decoder's shape, and its top-level fields. Raises Refused(BadRequest).

    A field name that comes twice is refused: which of the two counts differs from parser to parser, and a ceiling
    must not be judged by the one while the provider serves the other. A dialect with `capitals` in its own names
    has to see to their spelling itself.
    """
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            refuse("body", f"found a byte that is not UTF-8 at offset {error.start}, expected JSON in UTF-8")
    try:
        found = decoder.decode(body)
        fields = _FIELDS.decode(body)
    except msgspec.ValidationError as error:
        _mismatch(str(error))
    except RecursionError:
        refuse("body", _TOO_DEEP)
    except ValueError as error:
        refuse("body", f"found no sound JSON ({error}), expected one JSON object")
    if not capitals:
        names = "".join(fields)
        if names != names.lower() or not names.isascii():
            # Some parsers (Go's) take "Max_tokens" for "max_tokens"; no field of such a dialect has a capital.
            odd = next(name for name in fields if name != name.lower() or not name.isascii())
            refuse("body", f"found the top-level field {odd[:80]!r}, expected names in lower case")
    # A body that is what its fields are written as has nothing else in it; others are walked, which takes longer.
    if _encode(fields) != body:
        _no_repeats(body, fields)
    return found, fields


def named(model: str) -> str:
    """The model that a body names. Raises Refused(BadRequest) where there is none."""
    if not model:
        refuse("model", "found nothing, expected the name of a model")
    if len(model) > _LONGEST_NAME:
        refuse("model", f"found {len(model)} characters, expected at most {_LONGEST_NAME}")
    return model


def bounded(where: str, count: int | None, most: int = MOST_TOKENS) -> int | None:
    """A whole number from 1 to `most`, or None. Raises Refused(BadRequest)."""
    if count is not None and not 1 <= count <= most:
        shown = count if abs(count) <= most * 1000 else "a number out of all range"
        refuse(where, f"found {shown}, expected a whole number from 1 to {most}")
    return count


def in_proportion(budget: int, bound: int, asked: int) -> int:
    """The budget of thoughts that leaves as much of a lower bound for the answer as there was of the one asked for."""
    return min(bound - 1, budget * bound // asked) if asked > budget else bound - 1


def no_fallbacks(where: str, raw: msgspec.Raw) -> None:
    """Raises Refused(BadRequest) where a request names further models that its provider may go over to.

    None of them was held for, and the plan may not let the workload have them; the gateway has routes of its own.
    """
    if raw not in _NO_FALLBACKS:
        refuse(where, "found models to fall back on, expected none: the plan says which models may stand in")


def fields_of(body: bytes) -> Fields:
    """The top-level fields of a body that was opened before. Raises Refused(BadRequest).

    That happens only where its nesting was as deep as could just be read, and the stack is fuller now.
    """
    try:
        return _FIELDS.decode(body)
    except RecursionError:
        refuse("body", _TOO_DEEP)


def items(where: str, raw: msgspec.Raw, decoder: msgspec.json.Decoder[list[T]]) -> list[T]:
    """The items of a value that is a text, a list or null: those of the list, else none.

    Raises Refused(BadRequest) where it is anything else, or the list has items of another shape.
    """
    first = bytes(memoryview(raw)[:1])
    if first == b"[":
        try:
            return decoder.decode(raw)
        except msgspec.ValidationError as error:
            _mismatch(str(error), where)
    if first not in {b'"', b"n", b""}:
        refuse(where, "found neither, expected a text or a list of parts")
    return []


def within(where: str, raw: msgspec.Raw, decoder: msgspec.json.Decoder[T]) -> T:
    """A value of a body that was opened before, in the decoder's shape. Raises Refused(BadRequest)."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        _mismatch(str(error), where)
    except (ValueError, RecursionError):
        refuse(where, _TOO_DEEP)


def object_at(where: str, raw: msgspec.Raw) -> Fields:
    """The fields of an object in a body that was opened before; none of null. Raises Refused(BadRequest).

    That is where a ceiling is judged by one of them, so each may come only once, as at the top level.
    """
    fields = within(where, raw, _OBJECT)
    if fields and _encode(fields) != bytes(raw):
        _no_repeats(bytes(raw), fields, where)
    return fields or {}


def splice(body: bytes, fields: Fields, changes: Mapping[str, bytes]) -> bytes:
    """The body with top-level fields replaced in place or added at the end; the same object where none differs."""
    differing = {name: msgspec.Raw(value) for name, value in changes.items() if fields.get(name) != msgspec.Raw(value)}
    return msgspec.json.encode(fields | differing) if differing else body


def _no_repeats(body: bytes, fields: Fields, where: str = "") -> None:
    """What was decoded has to be all there is in the top level of an object with spaces in it."""
    # As Python's json writes it, in one piece; any other object is walked, which comes to the same and takes longer.
    parts = zip(chain(_FIRST, _NEXT), map(str.encode, fields), _THEN, fields.values(), strict=False)
    if b"".join((*chain.from_iterable(parts), b"}")) == body:
        return
    position = 0
    for name, value in fields.items():
        found = _NAME.match(body, position)
        if found is None or found[1] != name.encode() or not body.startswith(bytes(value), found.end()):
            _repeated(name, where)
        position = found.end() + len(value)
    if fields and body[position:].strip() != b"}":
        _repeated(next(reversed(fields)), where)


def _repeated(name: str, where: str) -> NoReturn:
    kind = "field" if where else "top-level field"
    refuse(
        where or "body",
        f"found a {kind} twice or with an escaped name, at or near {name[:80]!r}; expected each field once",
    )


def _mismatch(text: str, where: str = "") -> NoReturn:
    """Say where, below a place in the body, it has the wrong shape, what was found and what expected."""
    said, _, path = text.partition(" - at `$")
    parts = _MISMATCH.match(said)
    what = said if parts is None else f"found {parts['found']}, expected {parts['expected']}"
    refuse((where + path.rstrip("`")).lstrip(".") or "body", what)
