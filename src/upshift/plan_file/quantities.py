"""Which amounts may a plan hold, and how are they written: 1.4M tokens, $2.50, 48h?"""

import re
from decimal import Decimal
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from upshift.model.money import Nano, dollars, parse_money
from upshift.model.tokens import parse_tokens
from upshift.plan_file.problems import shown

MOST_TOKENS = 10**15
MOST_NANO = 10**18
"""A thousand million dollars, and well within 64 bits."""
MOST_SECONDS = 366 * 86_400.0

_LONGEST = 40
_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|)\s*$")
_UNITS = {"ms": "0.001", "s": "1", "": "1", "m": "60", "min": "60", "h": "3600", "d": "86400"}

TOKENS_LIKE = "a number of tokens like 520k, 1.4M or 200000"
MONEY_LIKE = "an amount of money like $2.50, $120 or $1.2k"
DURATION_LIKE = "a duration like 500ms, 30s, 15m or 48h"


def parse_duration(text: str) -> float:
    """Seconds of '500ms', '30s', '15m', '48h', '2d' or '90'. Raises ValueError on anything else."""
    found = _DURATION.match(text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration; write it like 500ms, 30s, 15m or 48h")
    return float(Decimal(found[1]) * Decimal(_UNITS[found[2]]))


def unfit(value: object, what: str, expected: str, remedy: str = "", secret: bool = False) -> PydanticCustomError:
    """The error of a value that does not fit: `what` is wrong with it, e.g. 'is not an e-mail address'."""
    quoted = "the value" if secret else shown(value)
    ctx = {"what": f"{quoted} {what}", "expected": expected, "remedy": remedy, "secret": secret}
    return PydanticCustomError("unfit", "{what}", ctx)


def point_for_comma(text: str) -> str:
    """What to write instead of 1,5M or 1.400.000; empty for what is not written so."""
    found = re.fullmatch(r"(\D*)(\d{1,3}(?:\.\d{3})+|\d+),(\d{1,2}|\d{4,})(\D*)", text, re.ASCII)
    if found is not None:
        better = f"{found[1]}{found[2].replace('.', ',')}.{found[3]}{found[4]}".strip()
        return f"Write '{better}': the point is decimal, and a comma only groups three digits."
    if re.fullmatch(r"\D*\d{1,3}(\.\d{3}){2,}\D*", text, re.ASCII):
        return f"Write '{text.strip().replace('.', ',')}': the point is decimal, and a comma groups three digits."
    return ""


def looks_like_money(value: object) -> bool:
    """Whether a ceiling in its short form is money rather than tokens."""
    return isinstance(value, str) and ("$" in value or "USD" in value.upper())


def _tokens(value: Any) -> int:
    text = _number(value, TOKENS_LIKE)
    try:
        count = parse_tokens(text)
    except ValueError:
        remedy = "That is money: put it under 'money:'." if looks_like_money(value) else point_for_comma(text)
        raise unfit(value, "is not a whole number of tokens", TOKENS_LIKE, remedy) from None
    if count > MOST_TOKENS:
        raise unfit(value, "is more tokens than can be counted", f"at most {MOST_TOKENS:,}")
    return count


def _money(value: Any) -> Nano:
    text = _number(value, MONEY_LIKE)
    try:
        nano = parse_money(text)
    except ValueError:
        raise unfit(value, "is not an amount of money", MONEY_LIKE, point_for_comma(text)) from None
    if nano > MOST_NANO:
        raise unfit(value, "is more money than can be counted", f"at most ${MOST_NANO // 10**9:,}")
    return nano


def _duration(value: Any) -> float:
    text = _number(value, DURATION_LIKE)
    try:
        seconds = parse_duration(text)
    except ValueError:
        raise unfit(value, "is not a duration", DURATION_LIKE) from None
    if seconds > MOST_SECONDS:
        raise unfit(value, "is too long", "at most 366d")
    return seconds


def _positive(value: Any) -> float:
    seconds = _duration(value)
    if seconds <= 0:
        raise unfit(value, "leaves no time at all", "more than 0s")
    return seconds


def _number(value: Any, expected: str) -> str:
    """The text of a number. A plan's text brings strings, its stored form JSON numbers."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        found = "a list" if isinstance(value, list) else "a mapping" if isinstance(value, dict) else shown(value)
        raise PydanticCustomError(
            "unfit",
            "{what}",
            {"what": f"this is {found}", "expected": expected, "remedy": "", "secret": False},
        )
    text = f"{Decimal(str(value)):f}" if isinstance(value, float) else str(value)
    if len(text) > _LONGEST:
        raise unfit(value, "is too long for a number", expected)
    return text


def exact_dollars(nano: Nano) -> str:
    """'$1.25': every digit there is, so that it reads back as the same amount."""
    return f"${dollars(nano).normalize():f}"


def _like(pattern: str, *examples: str | int) -> WithJsonSchema:
    return WithJsonSchema({"type": ["string", "number"], "pattern": pattern, "examples": list(examples)})


TOKENS_PATTERN = r"^\s*\d[\d_,]*(\.\d+)?\s*[kKmMbB]?\s*(tokens?)?\s*$"
MONEY_PATTERN = r"^\s*\$?\s*(\d[\d_,]*(\.\d+)?|\.\d+)\s*[kKmM]?\s*(USD)?\s*$"
_DURATION_PATTERN = r"^\s*\d+(\.\d+)?\s*(ms|s|m|min|h|d)?\s*$"

Tokens: TypeAlias = Annotated[int, BeforeValidator(_tokens), _like(TOKENS_PATTERN, "520k", "1.4M", 200000)]
Money: TypeAlias = Annotated[
    Nano,
    BeforeValidator(_money),
    PlainSerializer(exact_dollars, return_type=str),
    _like(MONEY_PATTERN, "$2.50", "$1.2k"),
]
Duration: TypeAlias = Annotated[float, BeforeValidator(_duration), _like(_DURATION_PATTERN, "500ms", "30s", "15m")]
PositiveDuration: TypeAlias = Annotated[
    float, BeforeValidator(_positive), _like(_DURATION_PATTERN, "5s", "120s", "15m")
]
