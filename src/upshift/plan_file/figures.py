"""Which figures may an estimate hold, exact or as ranges, and how are they written: 18, 12..30, 18 +-20%, 60%, 12m?"""

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache, partial
from typing import Annotated, Any, NamedTuple, TypeAlias

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from upshift.model.quarter import Quarter, parse_month, parse_quarter
from upshift.plan_file.problems import nearest, shown
from upshift.plan_file.quantities import point_for_comma, unfit
from upshift.planning.outline import Spread, exactly

_LONGEST = 80
_REMEMBERED = 1024
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+(?:_\d+)*)(?:\.\d+)?"
_SCALES: Mapping[str, Decimal | int] = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}
_MINUTES = {"s": Decimal(1) / 60, "m": Decimal(1), "min": Decimal(1), "h": Decimal(60)}
_HOURS = {"": Decimal(1), "h": Decimal(1), "m": Decimal(1) / 60, "min": Decimal(1) / 60}
_TIMES: Mapping[str, Decimal | int] = {"": 1, "x": 1}
_PARTS: Mapping[str, Decimal | int] = {"%": Decimal("0.01"), "": 1}
_GIVE_OR_TAKE = re.compile(r"(.+?)\s*(?:\+-|\+/-|±)\s*(\d+(?:\.\d+)?)\s*%\s*", re.DOTALL)
_PERCENTILES = ("p10", "p50", "p90")
_FIRST_YEAR, _LAST_YEAR = 2000, 2199


class Kind(NamedTuple):
    """A kind of figure: what it is called, how one of it is written, and between which values it lies.

    `one` has two groups, the number and its unit; `units` says what a unit is worth in what is kept.
    """

    like: str
    one: re.Pattern[str]
    units: Mapping[str, Decimal | int]
    least: float
    most: float
    bounds: str
    examples: tuple[str | float, ...]
    bare: str = ""
    """What to write for a number without a unit, where that is refused: '{}%'."""


def _shaped(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


COUNT = Kind(
    "a number like 18, 1.8, 4,200 or 1.4M",
    _shaped(rf"\s*({_NUMBER})\s*([kKmMbB]?)\s*"),
    _SCALES,
    0,
    1e15,
    "0 to 1,000,000B",
    (18, "12..30", "4,200", "18 +-20%"),
)
TOKENS = Kind(
    "a number of tokens like 520k, 1.4M or 200000",
    _shaped(rf"\s*({_NUMBER})\s*([kKmMbB]?)\s*(?:tokens?)?\s*"),
    _SCALES,
    0,
    1e15,
    "0 to 1,000,000B",
    ("520k", "400k..700k", "1.4M +-30%"),
)
FACTOR = Kind(
    "a factor of 1 or more, like 1.4",
    _shaped(rf"\s*({_NUMBER})\s*(x?)\s*"),
    _TIMES,
    1,
    1e6,
    "1 to 1,000,000",
    (1.4, "1.1..1.4..2"),
)
WEIGHT = FACTOR._replace(like="a factor like 0.5 or 3", least=0, bounds="0 to 1,000,000", examples=(3, "2..4"))
SHARE = Kind(
    "a share like 60%",
    _shaped(rf"\s*({_NUMBER})\s*(%|)\s*"),
    _PARTS,
    0,
    1,
    "0% to 100%",
    ("60%", "40%..70%"),
    "{}%",
)
GROWTH = Kind(
    "a rate per month like 3% or -2%",
    _shaped(rf"\s*(-?\s*{_NUMBER})\s*(%|)\s*"),
    _PARTS,
    -0.99,
    10,
    "-99% to 1000%",
    ("3%", "1%..3%..6%"),
    "{}%",
)
MARGIN = SHARE._replace(like="a share like 35%", most=10, bounds="0% to 1000%", examples=("35%",))
MINUTES = Kind(
    "a duration like 90s, 12m or 1.5h",
    _shaped(rf"\s*({_NUMBER})\s*(s|m|min|h|)\s*"),
    _MINUTES,
    0,
    366 * 1440,
    "0s to 8784h",
    ("12m", "5m..12m..40m"),
    "{}m",
)
HOURS = Kind(
    "hours a week like 6h",
    _shaped(rf"\s*({_NUMBER})\s*(h|m|min|)\s*"),
    _HOURS,
    0,
    1e6,
    "0h to 1,000,000h",
    ("6h", "4h..6h..8h"),
)


def parse_spread(text: str, kind: Kind) -> Spread:
    """The figure of '18', '12..30', '12..18..30' or '18 +-20%'. Raises PydanticCustomError saying what does not fit.

    A range is P10 to P90; its median is the geometric mean where both are above zero, for what people use spreads by
    factors, else the middle.
    """
    if len(text) > _LONGEST:
        raise unfit(text, "is too long for a figure", kind.like)
    around = _GIVE_OR_TAKE.fullmatch(text) if text.rstrip().endswith("%") else None
    if around is not None:
        middle, part = _one(around[1], text, kind), float(Decimal(around[2]) / 100)
        if part > 1:
            raise unfit(text, "takes away more than there is", "at most +-100%")
        return _bounded(Spread(*sorted((middle * (1 - part), middle, middle * (1 + part)))), text, kind)
    if ".." not in text:
        return _bounded(exactly(_one(text, text, kind)), text, kind)
    parts = text.split("..")
    if len(parts) > 3 or not all(part.strip() for part in parts):
        raise unfit(text, "is not a range", "low..high or low..middle..high", f"Write it like {kind.examples[-1]}.")
    _units_said(parts, text, kind)
    values = [_one(part, text, kind) for part in parts]
    return _bounded(_ordered(values, parts, text), text, kind)


def _one(part: str, text: str, kind: Kind) -> float:
    found = kind.one.fullmatch(part)
    if found is None:
        below = kind.least >= 0 and re.match(r"\s*-\s*\d", part) is not None
        what = "is below zero" if below else f"is not {_article(kind)}"
        raise unfit(text, what, kind.like, "" if below else _remedy(part, kind))
    number = Decimal(found[1].replace(",", "").replace("_", "").replace(" ", ""))
    unit = found[2].lower()
    if unit == "" and kind.bare and number and ("" not in kind.units or abs(number) >= 1):
        raise unfit(text, "has no unit", kind.like, f"Write '{kind.bare.format(part.strip())}'.")
    return float(number * kind.units.get(unit, 1))


def _article(kind: Kind) -> str:
    return kind.like.partition(" like ")[0].partition(" of 1")[0]


def _remedy(part: str, kind: Kind) -> str:
    """What was probably meant: 1,5 or 1.400.000 as Europeans write it, 12-30, 5% for a factor, -3."""
    said = part.strip()
    better = point_for_comma(said)
    if better:
        return better
    span = re.fullmatch(r"([^-–]+?)\s*[-–]\s*([^-–]+)", said)
    if span is not None and all(kind.one.fullmatch(each) for each in span.groups()):
        return f"Write '{span[1]}..{span[2].strip()}'."
    percent = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", said)
    if percent is not None and kind.least == 1:
        times = float(percent[1]) / 100
        return f"Write '{times if times >= 1 else 1 + times:g}'."
    return ""


def _units_said(parts: list[str], text: str, kind: Kind) -> None:
    """'400..520k' may mean 400 or 400k: it is refused rather than guessed. Zero needs no unit."""
    last = kind.one.fullmatch(parts[-1])
    if last is None or not last[2] or last[2].lower() == "x":
        return
    found = [kind.one.fullmatch(part) for part in parts]
    if any(each is not None and not each[2] and float(each[1].replace(",", "").replace(" ", "")) for each in found):
        better = "..".join(
            part.strip() + (last[2] if each is not None and not each[2] else "")
            for part, each in zip(parts, found, strict=True)
        )
        raise unfit(text, "says the unit of its last figure only", "the unit at each", f"Write '{better}'.")


def _ordered(values: list[float], written: list[str], text: str) -> Spread:
    if values != sorted(values):
        better = "..".join(
            part.strip() for _, part in sorted(zip(values, written, strict=True), key=lambda each: each[0])
        )
        raise unfit(text, "does not rise", "low..high or low..middle..high", f"Write '{better}'.")
    low, high = values[0], values[-1]
    if len(values) == 2:
        middle = math.sqrt(low * high) if low > 0 and low < high else (low + high) / 2
        return Spread(low, min(max(middle, low), high), high)
    return Spread(low, values[len(values) // 2], high)


def _bounded(spread: Spread, written: object, kind: Kind) -> Spread:
    if not (math.isfinite(spread.low) and math.isfinite(spread.high)):
        raise unfit(written, "is not a figure", kind.like)
    if spread.low < kind.least or spread.high > kind.most:
        raise unfit(written, "is out of bounds", kind.bounds)
    return spread


def _spread(kind: Kind) -> Callable[[Any], Spread]:
    # Thousands of rows write the same few figures.
    parse = lru_cache(_REMEMBERED)(partial(parse_spread, kind=kind))

    def read(value: Any) -> Spread:
        if isinstance(value, Spread):
            return value
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            # Only the kept document has numbers: they are in the unit that is kept.
            return _bounded(exactly(float(value)), value, kind)
        if isinstance(value, dict):
            return _percentiles(value, kind)
        what = "a list" if isinstance(value, list) else shown(value)
        raise PydanticCustomError(
            "unfit", "{what}", {"what": f"this is {what}", "expected": kind.like, "remedy": "", "secret": False}
        )

    return read


def _percentiles(said: dict[Any, Any], kind: Kind) -> Spread:
    expected = "{p10: ..., p50: ..., p90: ...}"
    for key in said:
        if key not in _PERCENTILES:
            raise unfit(key, "is not a percentile here", "p10, p50 and p90", nearest(str(key), _PERCENTILES))
    if said.get("p10") is None or said.get("p90") is None:
        missing = "p10" if said.get("p10") is None else "p90"
        raise unfit(missing, "is missing", expected, f"Add '{missing}: ...'.")
    written = [said[key] for key in _PERCENTILES if said.get(key) is not None]
    values = []
    for each in written:
        one = _spread(kind)(each)
        if not one.exact:
            raise unfit(each, "is a range within a range", expected)
        values.append(one.low)
    texts = [str(each) for each in written]
    return _bounded(_ordered(values, texts, "..".join(texts)), "..".join(texts), kind)


def _exact(kind: Kind) -> Callable[[Any], float]:
    read_spread = _spread(kind)

    def read(value: Any) -> float:
        found = read_spread(value)
        if not found.exact:
            raise unfit(value, "is a range, though this has to be exact", kind.like)
        return found.low

    return read


def kept(spread: Spread) -> float | dict[str, float]:
    """A figure as the document keeps it: a number, or its percentiles."""
    if spread.exact:
        return spread.low
    return {"p10": spread.low, "p50": spread.mid, "p90": spread.high}


def _schema(kind: Kind, *, exact: bool) -> dict[str, Any]:
    """Texts by pattern, numbers where no unit is needed, and, of a spread, its percentiles."""
    one = kind.one.pattern.replace("(?:", "(")
    span = "" if exact else rf"(\.\.{one}){{0,2}}|{one}(\+-|\+/-|±)\s*\d+(\.\d+)?\s*%"
    types = ["string"] if kind is MINUTES else ["string", "number"]
    schema: dict[str, Any] = {"type": types, "pattern": f"^({one}{span})$", "minimum": kind.least, "maximum": kind.most}
    if kind is MINUTES:
        del schema["minimum"], schema["maximum"]
    if not exact:
        schema["type"] = [*types, "object"]
        inner = {"type": types, "pattern": f"^{one}$"}
        schema["propertyNames"] = {"enum": list(_PERCENTILES)}
        schema["additionalProperties"] = inner
        schema["required"] = ["p10", "p90"]
    return {**schema, "examples": list(kind.examples[:1] if exact else kind.examples)}


def _quarter(value: Any) -> Quarter:
    expected = "a quarter like Q3-2026"
    if isinstance(value, Quarter):
        return value
    if not isinstance(value, str):
        found = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else shown(value)
        ctx = {"what": f"this is {found}", "expected": expected, "remedy": "", "secret": False}
        raise PydanticCustomError("unfit", "{what}", ctx)
    try:
        found_quarter = parse_quarter(value)
    except ValueError:
        raise unfit(value, "is not a quarter", expected, _quarter_meant(value)) from None
    if not _FIRST_YEAR <= found_quarter.year <= _LAST_YEAR:
        raise unfit(value, "is out of bounds", f"a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    return found_quarter


def quarter_name(value: str) -> str:
    """'Q3-2026', however the quarter is written."""
    return str(_quarter(value))


def _quarter_meant(text: str) -> str:
    month = re.match(r"\s*(\d{4}-\d{2})(?:-\d{2})?\s*$", text)
    if month is not None:
        try:
            return f"Write '{parse_month(month[1]).quarter}'."
        except ValueError:
            return ""
    short = re.fullmatch(r"\s*[qQ]([1-4])[-/ ']*(\d{2})\s*", text)
    if short is not None:
        return f"Write 'Q{short[1]}-20{short[2]}'."
    if re.match(r"\s*[qQ]\s*\d", text):
        return "A year has the quarters Q1 to Q4."
    return ""


_STORED = PlainSerializer(kept, return_type=Any)


def _schema_of(kind: Kind) -> WithJsonSchema:
    return WithJsonSchema(_schema(kind, exact=False))


def _exact_schema(kind: Kind) -> WithJsonSchema:
    return WithJsonSchema(_schema(kind, exact=True))


QUARTER_PATTERN = r"^\s*([qQ][1-4][-/ ]?\d{4}|\d{4}[-/ ]?[qQ][1-4])\s*$"

CountFigure: TypeAlias = Annotated[Spread, PlainValidator(_spread(COUNT)), _STORED, _schema_of(COUNT)]
TokensFigure: TypeAlias = Annotated[Spread, PlainValidator(_spread(TOKENS)), _STORED, _schema_of(TOKENS)]
FactorFigure: TypeAlias = Annotated[Spread, PlainValidator(_spread(FACTOR)), _STORED, _schema_of(FACTOR)]
WeightFigure: TypeAlias = Annotated[Spread, PlainValidator(_spread(WEIGHT)), _STORED, _schema_of(WEIGHT)]
ShareFigure: TypeAlias = Annotated[Spread, PlainValidator(_spread(SHARE)), _STORED, _schema_of(SHARE)]
GrowthFigure: TypeAlias = Annotated[Spread, PlainValidator(_spread(GROWTH)), _STORED, _schema_of(GROWTH)]
MinutesFigure: TypeAlias = Annotated[Spread, PlainValidator(_spread(MINUTES)), _STORED, _schema_of(MINUTES)]
HoursFigure: TypeAlias = Annotated[Spread, PlainValidator(_spread(HOURS)), _STORED, _schema_of(HOURS)]
Share: TypeAlias = Annotated[float, PlainValidator(_exact(SHARE)), _exact_schema(SHARE)]
Margin: TypeAlias = Annotated[float, PlainValidator(_exact(MARGIN)), _exact_schema(MARGIN)]
Count: TypeAlias = Annotated[float, PlainValidator(_exact(COUNT)), _exact_schema(COUNT)]
Hours: TypeAlias = Annotated[float, PlainValidator(_exact(HOURS)), _exact_schema(HOURS)]
QuarterOf: TypeAlias = Annotated[
    Quarter,
    PlainValidator(_quarter),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": QUARTER_PATTERN, "examples": ["Q3-2026"]}),
]
