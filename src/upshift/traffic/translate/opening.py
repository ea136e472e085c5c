"""Which fields of a body have no place in its shape, and what is left without them?"""

import types
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import msgspec

from upshift.traffic.translate.words import Loss
from upshift.traffic.wire import body as bodies

T = TypeVar("T", bound=msgspec.Struct)

_ANY = msgspec.json.Decoder(Any)
_UNKNOWN = "unknown to the gateway, so nobody can say it in the other dialect"
_TOO_DEEP = "found JSON nested too deeply, expected at most a few hundred levels"


class Opener(Generic[T]):
    """Reads bodies of one shape, a struct that forbids unknown fields, as do all structs in it."""

    __slots__ = ("_decoder", "_shape")

    def __init__(self, shape: type[T]) -> None:
        self._shape = shape
        self._decoder = msgspec.json.Decoder(shape)

    def open(self, body: bytes) -> tuple[T, list[Loss]]:
        """The body, and a loss for each field that its shape has no place for. Raises Refused(BadRequest)."""
        try:
            return self._decoder.decode(body), []
        except msgspec.ValidationError:
            return self._without_strangers(body)
        except RecursionError:
            bodies.refuse("body", _TOO_DEEP)
        except ValueError as error:
            bodies.refuse("body", f"found no sound JSON ({error}), expected one JSON object")

    def _without_strangers(self, body: bytes) -> tuple[T, list[Loss]]:
        try:
            value = _ANY.decode(body)
            strangers: dict[str, None] = {}
            _strip(value, self._shape, "", strangers)
            found = self._decoder.decode(msgspec.json.encode(value))
        except msgspec.ValidationError as error:
            said, _, path = str(error).partition(" - at `$")
            bodies.refuse(path.rstrip("`").lstrip(".") or "body", said[:1].lower() + said[1:])
        except RecursionError:
            bodies.refuse("body", _TOO_DEEP)
        except ValueError as error:
            bodies.refuse("body", f"found no sound JSON ({error}), expected one JSON object")
        return found, [Loss(field, _UNKNOWN) for field in strangers]


def _strip(value: object, shape: Any, path: str, strangers: dict[str, None]) -> None:
    """Take out of a value what its shape does not know, and name it."""
    origin = get_origin(shape)
    if origin in {Union, types.UnionType}:
        for option in get_args(shape):
            if isinstance(value, dict) == (isinstance(option, type) and issubclass(option, msgspec.Struct)):
                _strip(value, option, path, strangers)
    elif isinstance(value, list) and origin is list:
        for item in value:
            _strip(item, get_args(shape)[0], f"{path}[]", strangers)
    elif isinstance(value, dict) and isinstance(shape, type) and issubclass(shape, msgspec.Struct):
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(shape)}
        for name in list(value):
            where = f"{path}.{name}" if path else str(name)
            if name in fields:
                _strip(value[name], fields[name], where, strangers)
            elif value.pop(name) is not None:
                strangers[where[:120]] = None
