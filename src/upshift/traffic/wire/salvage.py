"""What can still be read of an answer that is not quite what its dialect says?"""

from typing import TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def salvage(data: bytes, shape: type[T]) -> T | None:
    """The fields that fit the shape, the others at their defaults; None where it is no JSON object at all.

    Every field of the shape needs a default.
    """
    try:
        fields = _FIELDS.decode(data)
    except (ValueError, RecursionError):
        return None
    found: dict[str, object] = {}
    for field in msgspec.structs.fields(shape):
        if field.encode_name in fields:
            try:
                found[field.name] = msgspec.json.decode(fields[field.encode_name], type=field.type)
            except (ValueError, RecursionError):
                continue
    return shape(**found)
