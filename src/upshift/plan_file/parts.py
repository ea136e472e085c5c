"""What holds for every part of a plan, whatever it declares?"""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

RULE_TAG = "<rule>"
TIERS_TAG = "<by tier>"
"""Stand in the location of an error below what may be one value or one by tier, though not in the text."""


class Declared(BaseModel):
    """Part of a plan. A key with nothing after it counts as not written."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

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
