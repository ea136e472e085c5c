"""How is a person told what is wrong with a plan: where, what was found, what was expected, what to do?"""

import difflib
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec


class Severity(StrEnum):
    """An error keeps a plan from being applied; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to look at. `line` and `column` count from 1; `path` is like workloads.support-chat.gate.

    `value` is what was written, empty where nothing was and for secrets; `what` is what is wrong with it.
    """

    severity: Severity = Severity.ERROR
    file: str
    line: int
    column: int
    path: str
    value: str = ""
    what: str
    expected: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: {self.severity}: "
        path = f"{self.path}: " if self.path else ""
        expected = f"; expected {self.expected}" if self.expected else ""
        remedy = f". {self.remedy}" if self.remedy else ""
        return f"{where}{path}{self.what}{expected}{remedy}"


class PlanError(Exception):
    """A plan with errors. `problems` holds all of them and the warnings, in the order of the text."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


_MOST_NAMED = 12
_LONGEST_VALUE = 60


def nearest(word: str, valid: Iterable[str]) -> str:
    """A question like "Did you mean 'chat'?" with the spelling nearest to `word`; empty when none is near."""
    near = difflib.get_close_matches(word, list(valid), n=1, cutoff=0.6)
    if near:
        return f"Did you mean '{near[0]}'?"
    by_case = {each.casefold(): each for each in valid}
    same = by_case.get(word.casefold())
    return f"Did you mean '{same}'?" if same else ""


def one_of(valid: Iterable[str]) -> str:
    """'one of a, b, c', cut where a person would stop reading."""
    names = sorted(valid)
    if not names:
        return ""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ("one of " if len(names) > 1 else "") + ", ".join(names[:_MOST_NAMED]) + more


def shown(value: object) -> str:
    """A value as a message quotes it: at most 60 characters, control characters escaped."""
    text = repr(value if isinstance(value, str) else str(value))
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 4] + "...'"
