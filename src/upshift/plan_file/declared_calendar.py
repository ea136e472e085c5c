"""What may a plan say of the days of its organisation?"""

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema

from upshift.plan_file.declared_agents import Day, Said
from upshift.plan_file.parts import Sparse
from upshift.plan_file.texts import Name

MonthName: TypeAlias = Literal[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
MONTHS: tuple[str, ...] = get_args(MonthName)


def _month(value: Any) -> Any:
    return value.strip().capitalize() if isinstance(value, str) else value


def _days(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_DAYS_SCHEMA = {
    "type": ["string", "array"],
    "items": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
    "pattern": r"^\d{4}-\d{2}-\d{2}$",
    "examples": ["2026-12-25", ["2026-12-25", "2027-12-25"]],
}
Days: TypeAlias = Annotated[
    list[Day], BeforeValidator(_days), Field(min_length=1), WithJsonSchema(_DAYS_SCHEMA, mode="validation")
]


class Freeze(Sparse):
    """Days on which no plan is put in force."""

    from_: Annotated[Day, Field(alias="from")]
    """The first day."""
    to: Day
    """The last day."""
    why: Said | None = None
    """What it is for; told to whom it stops."""


class Calendar(Sparse):
    """The days of the organisation."""

    timezone: str = "UTC"
    """Where its days begin and end."""
    year_begins: Annotated[MonthName, BeforeValidator(_month)] = "January"
    """The month in which the financial year begins."""
    holidays: dict[Said, Days] = {}
    """Days off beside Saturdays and Sundays, by name."""
    changes: Literal["always", "workdays"] = "always"
    """On which days plans are put in force."""
    freezes: dict[Name, Freeze] = {}
    """Days on which none is put in force, by name."""
