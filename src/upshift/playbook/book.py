"""What does a playbook say: its phases, what opens and closes them, how long they last, what is done?"""

import hashlib
from enum import StrEnum
from typing import TypeAlias

import msgspec

from upshift.model.span import MICROS, Instant

Value: TypeAlias = str | int | float | bool | tuple[str, ...]
"""Of a parameter; durations are microseconds."""

END = "end"
"""What follows the last phase."""


class Answer(StrEnum):
    """The five answers of a gate. Only PASS opens it."""

    PASS = "pass"  # noqa: S105 - an answer
    WAITING = "waiting"
    UNCLEAR = "unclear"
    """The evidence is there and does not say; a person has to."""
    BROKEN = "broken"
    """There is no evidence: missing data is never a pass."""
    FAIL = "fail"


class OnFail(StrEnum):
    """What a FAIL does."""

    ROLL_BACK = "roll-back"
    ASK = "ask"


class OnUnclear(StrEnum):
    """What an UNCLEAR does before the window is over."""

    ASK = "ask"
    WAIT = "wait"
    ROLL_BACK = "roll-back"


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that has to hold: a named check, or a sign-off by a role where `check` is empty."""

    name: str
    check: str = ""
    signer: str = ""
    parameters: dict[str, Value] = {}
    says: str = ""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is done, by the name of what can do it."""

    do: str
    parameters: dict[str, Value] = {}


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """`window` and `extend` in microseconds; no window is 0, no extension is 0."""

    name: str
    title: str
    says: str = ""
    entry: tuple[Criterion, ...] = ()
    exit: tuple[Criterion, ...] = ()
    window: int = 0
    extend: int = 0
    """By how much the window grows, once, where the evidence is undecided at its end."""
    entering: tuple[Action, ...] = ()
    """Done on entering, and undone in reverse when the run is rolled back or aborted."""
    rolling_back: tuple[Action, ...] = ()
    """Done besides, once everything is undone."""
    on_fail: OnFail = OnFail.ROLL_BACK
    on_unclear: OnUnclear = OnUnclear.ASK
    next: str = END


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be said when a run is started."""

    name: str
    says: str = ""
    required: bool = True
    default: str = ""


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """A playbook. A run keeps the one it was started with, so that no edit changes its windows or its gates."""

    name: str
    title: str
    says: str = ""
    subject: str = ""
    """The input by whose value runs are told apart: one at a time of each."""
    inputs: tuple[Input, ...] = ()
    phases: tuple[Phase, ...]

    @property
    def hash(self) -> str:
        """The SHA-256 of its content."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()

    def phase(self, name: str) -> Phase:
        """Raises KeyError for a phase that is not one of the book."""
        for one in self.phases:
            if one.name == name:
                return one
        raise KeyError(name)


def hours(micros: int) -> str:
    """A duration as people say it: 48 h, 7 days, 15 min."""
    if micros % (24 * 3600 * MICROS) == 0 and micros >= 96 * 3600 * MICROS:
        return f"{micros // (24 * 3600 * MICROS)} days"
    if micros >= 3600 * MICROS:
        return f"{micros / (3600 * MICROS):g} h" if micros % (360 * MICROS) == 0 else f"{micros / 3600 / MICROS:.1f} h"
    return f"{micros / (60 * MICROS):.0f} min"


def due(phase: Phase, since: Instant, extended: int) -> Instant:
    """When a phase's window ends."""
    return since + phase.window + extended
