"""Which number does a person mean who writes 1.234,56, 1 234,5, 1.4M or 12..30?"""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum

import msgspec

from upshift.sheets.texts import from_verbatim, verbatim

_BLANKS = " \u00a0\u202f\u2009'\u2019_"
_GROUPED = re.compile(rf"[0-9]{{1,3}}(?:[{_BLANKS}][0-9]{{3}})+(?=[.,]|$)")
_ENGLISH = re.compile(r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+")
_EUROPEAN = re.compile(r"(?:[1-9][0-9]{0,2}(?:\.[0-9]{3})+|[0-9]+)(?:,[0-9]+)?|,[0-9]+")
_ATOM = re.compile(rf"([+\-\u2212]?)([0-9.,{_BLANKS}]*[0-9])[\s\u00a0\u202f]*([^0-9.,\s]*)\.?")
_SPREAD = re.compile(r"\s*(?:\.\.\.?|\u2026)\s*")
_AROUND = re.compile(r"\s*(?:\u00b1|\+/-|\+-)\s*")
_CURRENCY = re.compile(r"[$\u20ac\u00a3\u00a5]|\b(?:usd|eur|gbp|chf|euros?|dollars?)\b", re.IGNORECASE)
_TOKENS = re.compile(r"\s*(?:tokens?|jetons?)$", re.IGNORECASE)
_DASHED = re.compile(r"[0-9]\s*[-\u2013\u2014]\s*[0-9]")
_FOR_ZERO = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}")

_MOST_DIGITS = 40


class Numbers(StrEnum):
    """How numbers are written: 1,234.5 or 1.234,5; or seen from those that leave no doubt."""

    ENGLISH = "english"
    EUROPEAN = "european"
    AUTO = "auto"


class Measure(StrEnum):
    """What a figure counts, which says what its units mean."""

    COUNT = "count"
    """Users, sessions, tokens, factors; k, M and B may follow."""
    SHARE = "share"
    """60% or 0.6."""
    HOURS = "hours"
    """Hours a week; a number alone is hours."""
    DURATION = "duration"
    """How long something lasts; a number alone means nothing."""


_UNITS: dict[Measure, dict[str, str]] = {
    Measure.COUNT: {
        **dict.fromkeys(("", "x", "user", "users", "nutzer"), ""),
        **dict.fromkeys(("k", "tsd", "tausend", "thousand", "mil", "mille"), "k"),
        **dict.fromkeys(("m", "mio", "mill", "million", "millions", "millionen", "mn", "mln"), "M"),
        **dict.fromkeys(("b", "bn", "mrd", "milliarde", "milliarden", "milliard", "milliards", "billion"), "B"),
    },
    Measure.SHARE: {"": "", "%": "%"},
    Measure.HOURS: dict.fromkeys(("", "h", "hr", "hrs", "hour", "hours", "std", "stunden", "heures", "horas"), "h"),
    Measure.DURATION: {
        **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "sek", "sekunden"), "s"),
        **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "minuten", "minutos"), "m"),
        **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "std", "stunden"), "h"),
    },
}
# 'mil' is a thousand in Spanish and Portuguese, a million nowhere; 'billion' is 10^9 in English only.
EXPECTED = {
    Measure.COUNT: "a number like 4200, 1.4M, 12..30 or 12..18..30",
    Measure.SHARE: "a share like 60% or 0.6",
    Measure.HOURS: "hours a week like 6, 6h or 4h..6h..8h",
    Measure.DURATION: "a duration with its unit, like 12m or 90s",
}


class UnclearError(ValueError):
    """A figure that means different things to English and European readers. `english` and `european` say which."""

    def __init__(self, text: str, english: str, european: str) -> None:
        super().__init__(f"{text!r} may be {english} or {european}")
        self.english = english
        self.european = european


class Evidence(msgspec.Struct, frozen=True):
    """What the figures of a column say of how its numbers are written."""

    english: bool
    european: bool

    @property
    def settled(self) -> Numbers:
        """One way of writing if all that leave no doubt agree on it, else AUTO."""
        if self.english == self.european:
            return Numbers.AUTO
        return Numbers.ENGLISH if self.english else Numbers.EUROPEAN


def evidence(texts: Iterable[str]) -> Evidence:
    """What the texts of one column leave no doubt about."""
    english = european = False
    for text in texts:
        for body in _bodies(text):
            one, other = _readings(body)
            english |= one is not None and other is None
            european |= other is not None and one is None
    return Evidence(english, european)


def figure(text: str, measure: Measure, numbers: Numbers, unit: str = "") -> str:
    """A figure as a plan writes it: plain digits, spreads as low..mid..high. `unit` is what the column's header says.

    Raises UnclearError where the text means two things, ValueError where it is no such figure.
    """
    exact = from_verbatim(text)
    if exact is not None:
        return exact
    text = _TOKENS.sub("", text.strip())
    if _CURRENCY.search(text):
        raise ValueError(f"{text!r} is an amount of money")
    around = _AROUND.split(text)
    if len(around) == 2:
        if not around[1].endswith("%"):
            raise ValueError(f"{text!r} has a margin that is not in per cent")
        return f"{_atom(around[0], measure, numbers, unit)} +-{_atom(around[1], Measure.SHARE, numbers, '')}"
    parts = _SPREAD.split(text)
    if len(parts) > 3 or len(around) > 2:
        raise ValueError(f"{text!r} has {max(len(parts), len(around))} parts")
    if len(parts) == 1 and _DASHED.search(text):
        raise ValueError(f"{text!r} is written with a dash; write a range from P10 to P90 like 12..30")
    found = [_atom(each, measure, numbers, unit) for each in parts]
    if found[-1][-1].isalpha() and any(each[-1].isdigit() and each.strip("0.") for each in found):
        raise ValueError(f"{text!r} says the unit of its last figure only")
    return "..".join(found)


def stated(text: str, measure: Measure) -> str:
    """A plan's figure as a cell that reads back the same whatever else is in its column."""
    try:
        found = figure(text, measure, Numbers.ENGLISH)
        return found if figure(found, measure, Numbers.AUTO) == found else verbatim(text)
    except ValueError:
        return verbatim(text)


def plain(number: Decimal) -> str:
    """A number in digits that nobody can take for another: 1.234 becomes 1.2340."""
    text = f"{number:f}"
    return f"{text}0" if _FOR_ZERO.fullmatch(text.lstrip("-")) else text


def means(weighed: Sequence[tuple[Decimal, Decimal]]) -> tuple[Decimal, Decimal]:
    """The mean of (value, weight) pairs with their weights, and without. Raises ValueError without any weight."""
    total = sum((weight for _, weight in weighed), Decimal(0))
    if not weighed or total <= 0 or any(weight < 0 for _, weight in weighed):
        raise ValueError("a weighted mean needs weights, none below 0")
    with_weights = sum((value * weight for value, weight in weighed), Decimal(0)) / total
    return with_weights, sum((value for value, _ in weighed), Decimal(0)) / len(weighed)


def _bodies(text: str) -> list[str]:
    found = []
    for part in _SPREAD.split(_AROUND.sub("..", text)):
        atom = _ATOM.fullmatch(part.strip())
        if atom is not None:
            found.append(atom[2])
    return found


def _readings(body: str) -> tuple[Decimal | None, Decimal | None]:
    """What digits mean in English and in European writing; None where they are not a number in it."""
    if len(body) > _MOST_DIGITS:
        return None, None
    grouped = _GROUPED.match(body)
    if grouped is not None:
        # Digits in groups of three already: what follows can only be decimals.
        whole, rest = re.sub(rf"[{_BLANKS}]", "", grouped[0]), body[grouped.end() :]
        value = Decimal(whole + rest.replace(",", ".")) if re.fullmatch(r"(?:[.,][0-9]+)?", rest) else None
        if not rest or value is None:
            return value, value
        return (value, None) if rest[0] == "." else (None, value)
    english = Decimal(body.replace(",", "")) if _ENGLISH.fullmatch(body) else None
    european = Decimal(body.replace(".", "").replace(",", ".")) if _EUROPEAN.fullmatch(body) else None
    return english, european


def _atom(text: str, measure: Measure, numbers: Numbers, unit: str) -> str:
    found = _ATOM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a number")
    sign = "-" if found[1] in {"-", "\u2212"} else ""
    english, european = _readings(found[2])
    if english is None and european is None:
        raise ValueError(f"{text!r} is not a number")
    if english is not None and european is not None and english != european and numbers is Numbers.AUTO:
        raise UnclearError(text, f"{english:f}", f"{european:f}")
    if numbers is Numbers.AUTO:
        value = european if english is None else english
    else:
        value = english if numbers is Numbers.ENGLISH else european
    if value is None:
        raise ValueError(f"{text!r} is not a number in {numbers} writing")
    return sign + _with_unit(text, value, found[3].lower(), measure, unit)


def _with_unit(text: str, value: Decimal, suffix: str, measure: Measure, unit: str) -> str:
    known = _UNITS[measure]
    if suffix == "" and unit:
        suffix = unit
    if measure is Measure.DURATION and suffix == "":
        raise ValueError(f"{text!r} has no unit")
    if suffix not in known:
        raise ValueError(f"{text!r} has the unit {suffix!r}")
    if measure is Measure.SHARE and known[suffix] == "" and value >= 1:
        raise ValueError(f"{text!r} has no %, and is not below 1")
    return f"{plain(value)}{known[suffix]}"
