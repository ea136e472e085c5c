"""Which header of a sheet means which column of the plan's table, and how sure is that?"""

import difflib
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from upshift.sheets.cells import Cell, Kind, letters
from upshift.sheets.columns import BY_FIELD, EXACT, NAMES, USERS, Column, Says, folded, without_unit
from upshift.sheets.moments import quarter

NOT_READ = "-"
"""What --map says of a column that is to be left out."""

_NEAR = 0.72
_TIER = re.compile(r"(users|weight)\s*\((.+)\)", re.IGNORECASE)
# 'per day' is no near miss of 'per month': who proposed it would propose a thirtyfold.
_SPANS = {
    **dict.fromkeys(("day", "daily", "tag", "taglich", "jour", "dia"), "day"),
    **dict.fromkeys(("week", "weekly", "woche", "wochentlich", "semaine", "semana"), "week"),
    **dict.fromkeys(("month", "monthly", "monat", "monatlich", "mois", "mes"), "month"),
    **dict.fromkeys(("quarter", "quartal", "trimestre"), "quarter"),
    **dict.fromkeys(("year", "yearly", "annual", "jahr", "jahrlich", "an", "ano"), "year"),
    **dict.fromkeys(("session", "sitzung", "request", "anfrage", "call", "turn"), "use"),
    **dict.fromkeys(("total", "gesamt", "summe"), "total"),
}


class How(StrEnum):
    """How a header was taken for a column."""

    EXACT = "exact"
    ALIAS = "alias"
    MAPPED = "mapped"
    PROPOSED = "proposed"
    """Near a known name; not read unless a person says so."""
    LEFT_OUT = "left out"
    UNKNOWN = "unknown"
    DERIVED = "derived"
    """Quarters of an export, which follow from status and ship quarter."""


def field_of(text: str) -> str:
    """A field as --map names it: 'tokens', 'users (pro)', 'client', or '-'. Raises ValueError for anything else."""
    stripped = text.strip()
    if stripped == NOT_READ or stripped in BY_FIELD or _TIER.fullmatch(stripped):
        return stripped
    known = NAMES.get(folded(stripped))
    if known is not None:
        return known
    near = difflib.get_close_matches(stripped, list(BY_FIELD), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"{text!r} is not a column: one of {', '.join(BY_FIELD)}, users (TIER), or - to leave it out{hint}"
    )


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """A column of a sheet. `field` is empty where it means nothing; `tier` is set in columns of one customer tier."""

    cell: Cell
    field: str
    how: How
    tier: str = ""
    weight: bool = False
    unit: str = ""

    @property
    def read(self) -> bool:
        """Whether its cells are read."""
        return self.how in {How.EXACT, How.ALIAS, How.MAPPED}

    @property
    def column(self) -> Column:
        """What its cells say."""
        return BY_FIELD[self.field]


def matches(header: Sequence[Cell], wanted: Mapping[str, str]) -> list[Match]:
    """What each cell of a header means. `wanted` holds what a person said: headers or letters, and fields.

    A person's word comes first, then exact names, then aliases; what is only near is proposed, each field once.
    """
    found = [_match(cell, wanted) for cell in header if cell.text or letters(cell.column) in wanted]
    taken = {(each.field, each.tier, each.weight) for each in found if each.read}
    proposed = []
    for each in found:
        near = _near(each.cell.text) if each.how is How.UNKNOWN and each.cell.kind is Kind.TEXT else ""
        if near and (near, "", False) not in taken:
            taken.add((near, "", False))
            proposed.append(msgspec.structs.replace(each, field=near, how=How.PROPOSED))
        else:
            proposed.append(each)
    return proposed


def recognised(row: Sequence[Cell], wanted: Mapping[str, str]) -> int:
    """How many different columns a row names, were it the header."""
    return len({(each.field, each.tier, each.weight) for cell in row for each in [_match(cell, wanted)] if each.read})


def _match(cell: Cell, wanted: Mapping[str, str]) -> Match:
    said = wanted.get(cell.text) if cell.text else None
    bare, unit = without_unit(cell.text)
    if said is None:
        same = [field for name, field in wanted.items() if cell.text and folded(name) == folded(cell.text)]
        said = same[0] if same else wanted.get(letters(cell.column))
    if said == NOT_READ:
        return Match(cell=cell, field="", how=How.LEFT_OUT)
    tier = _TIER.fullmatch(said if said is not None else cell.text)
    if tier is not None and not unit:
        how = How.EXACT if said is None else How.MAPPED
        return Match(cell=cell, field=USERS.field, how=how, tier=tier[2], weight=tier[1].lower() == "weight")
    if said is not None:
        return Match(cell=cell, field=said, how=How.MAPPED, unit=unit)
    if cell.text in EXACT:
        return Match(cell=cell, field=EXACT[cell.text], how=How.EXACT)
    if _is_quarter(cell.text):
        return Match(cell=cell, field="", how=How.DERIVED)
    known = NAMES.get(folded(cell.text)) or (NAMES.get(folded(bare)) if unit else None)
    if known is not None:
        return Match(cell=cell, field=known, how=How.ALIAS, unit=unit)
    return Match(cell=cell, field="", how=How.UNKNOWN, unit=unit)


def _near(text: str) -> str:
    bare, _ = without_unit(text)
    word = folded(bare)
    spans = _spans(word)
    for name in difflib.get_close_matches(word, list(NAMES), n=6, cutoff=_NEAR):
        column = BY_FIELD[NAMES[name]]
        meant = _spans(folded(column.header)) | _spans(name)
        if column.says is not Says.FIGURE or spans <= meant:
            return column.field
    return ""


def _spans(word: str) -> set[str]:
    return {_SPANS[each] for each in word.split() if each in _SPANS}


def _is_quarter(text: str) -> bool:
    try:
        quarter(text)
    except ValueError:
        return False
    return True
