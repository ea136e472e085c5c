"""What holds for every part of a plan, whatever it declares?"""

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from textwrap import dedent
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

RULE_TAG = "<rule>"
TIERS_TAG = "<by tier>"
"""Stand in the location of an error below what may be one value or one by tier, though not in the text."""


class Declared(BaseModel):
    """Part of a plan. A key with nothing after it counts as not written."""

    # Built when the first plan is read, all parts at once: each by itself takes as long as the whole of a small plan.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _written(cls, data: Any) -> Any:
        if data is None:
            return {}
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


class Sparse(Declared):
    """A part whose document leaves defaults out: what is added to it later changes the hash of no plan without it."""

    defaults: ClassVar[tuple[tuple[str, str, Any], ...]] = ()
    """Each field, its name in a document, and what it is where it is not said."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls.defaults = tuple((name, field.alias or name, field.default) for name, field in cls.model_fields.items())

    @model_serializer(mode="wrap")
    def _said(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = written(self)
        said = self.__dict__
        for name, alias, default in self.defaults:
            if said[name] is default or said[name] == default:
                document.pop(alias, None)
        return document


@cache
def meanings(part: type[BaseModel]) -> Mapping[str, str]:
    """What each field of a part is for: the docstring below it. Read from the source, for few ever ask.

    Nothing where there is no source, as in an installation of compiled files alone.
    """
    found: dict[str, str] = {}
    for owner in reversed([each for each in part.__mro__ if issubclass(each, Declared)]):
        try:
            source = inspect.getsource(owner)
        except OSError:
            continue
        (written,) = ast.parse(dedent(source)).body
        for field, below in pairwise(written.body if isinstance(written, ast.ClassDef) else ()):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = inspect.cleandoc(text)
                case _:
                    continue
    return MappingProxyType({name: text for name, text in found.items() if name in part.model_fields})
