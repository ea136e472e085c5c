"""What a provider says it billed: the lines of its usage reports, cost reports and bills by request."""

from enum import StrEnum
from typing import TypeAlias

import msgspec

from upshift.model.money import Nano
from upshift.model.span import Instant
from upshift.model.tokens import Usage


class Shape(StrEnum):
    """The exports that are read."""

    OPENAI_USAGE = "openai-usage"
    OPENAI_COSTS = "openai-costs"
    ANTHROPIC_USAGE = "anthropic-usage"
    ANTHROPIC_COSTS = "anthropic-costs"
    PER_REQUEST = "per-request"


class UsageLine(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one model in one stretch of time. `where` is file and line, or file and JSON path.

    `model` is empty where the export adds up all of them. `stated` names the fields of `usage` that the export speaks
    of; `calls` is None where it does not count them. `key` and `project` are the provider's own names.
    """

    where: str
    start: Instant
    end: Instant
    model: str = ""
    tier: str = ""
    key: str = ""
    project: str = ""
    usage: Usage
    stated: tuple[str, ...]
    calls: int | None = None


class CostLine(msgspec.Struct, frozen=True, kw_only=True):
    """Money for one model, or for something that is no model (`model` then names it), in one stretch of time.

    `step` is the value of the last digit that is given, in nano-dollars; 0 where the figure is not rounded.
    """

    where: str
    start: Instant
    end: Instant
    model: str = ""
    tier: str = ""
    key: str = ""
    project: str = ""
    nano: Nano
    step: Nano = 0


class RequestLine(msgspec.Struct, frozen=True, kw_only=True):
    """One call as billed. `ids` are names that it may be known by; `usage` and `nano` None where it is not said."""

    where: str
    ids: tuple[str, ...]
    at: Instant | None = None
    model: str = ""
    tier: str = ""
    key: str = ""
    project: str = ""
    usage: Usage | None = None
    stated: tuple[str, ...] = ()
    nano: Nano | None = None
    step: Nano = 0


Line: TypeAlias = UsageLine | CostLine | RequestLine


class Export(msgspec.Struct, frozen=True):
    """What one file says. `covers` are the stretches of time it speaks of, those without use included.

    `more` tells that the provider has further pages; `warnings` are about the file as a whole.
    """

    name: str
    shape: Shape
    lines: tuple[Line, ...]
    covers: tuple[tuple[Instant, Instant], ...] = ()
    more: bool = False
    warnings: tuple[str, ...] = ()
