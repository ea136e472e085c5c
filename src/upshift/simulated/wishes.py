"""Which faults and figures did the caller ask the simulated provider to show?"""

import re
from collections.abc import Callable

import msgspec

_IN_TEXT = re.compile(r"\[\[simulate:([^\]]*)\]\]")


class Wishes(msgspec.Struct, frozen=True):
    """Directives for one call. Times are real seconds, never scaled by the provider's speed.

    status              answer with this error (400 to 599)
    retry_after         `retry-after` header of that error, in seconds
    delay               wait before doing anything
    hang                never answer
    reset               cut the connection before the first byte
    close_after         cut the connection after this many content chunks (whole answers: after half the body)
    garbage             send something that is not JSON among the events (whole answers: as the body)
    half_event          end cleanly in the middle of an event (whole answers: in the middle of the body)
    no_usage            say nothing of usage
    lie_usage           report impossible figures: `negative` (default) or `huge`
    wrong_model         say that another model answered
    error_event_after   send an error event after this many content chunks
    output_tokens       exact length of each plain text answer, reasoning included, max tokens permitting
    input_tokens        input tokens to report and to bill
    cached_tokens       how many of them were read from the prompt cache
    no_finish           leave the reason for finishing out
    slow_chunk          wait before each content chunk
    keepalive_comments  send an SSE comment before each content chunk
    write               write these files (parted by |) with the tools on offer, one after the other, then say so
    edit                edit these files, the same way
    """

    status: int | None = None
    retry_after: float | None = None
    delay: float = 0.0
    hang: bool = False
    reset: bool = False
    close_after: int | None = None
    garbage: bool = False
    half_event: bool = False
    no_usage: bool = False
    lie_usage: str = ""
    wrong_model: bool = False
    error_event_after: int | None = None
    output_tokens: int | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    no_finish: bool = False
    slow_chunk: float = 0.0
    keepalive_comments: bool = False
    write: str = ""
    edit: str = ""


NO_WISHES = Wishes()
_COUNTS = ("status", "close_after", "error_event_after", "output_tokens", "input_tokens", "cached_tokens")
_SECONDS = ("retry_after", "delay", "slow_chunk")
_LIES = ("negative", "huge")
_TEXTS = ("write", "edit")


def read_wishes(*sources: str) -> Wishes:
    """Reads comma lists such as 'status=429, retry_after=2'; of the same directive the last one holds.

    Raises ValueError, naming the directive, when one is not known or its value is not of its kind.
    """
    found: dict[str, object] = {}
    for source in sources:
        for item in source.split(","):
            name, _, value = item.strip().partition("=")
            if name:
                found[name] = _value(name, value.strip())
    return Wishes(**found) if found else NO_WISHES  # type: ignore[arg-type]  # _value gives each its kind


def wishes_in(text: str) -> str:
    """The directives in the `[[simulate: ...]]` marks of a message, as one comma list; '' if there are none."""
    if "[[simulate:" not in text:
        return ""
    return ",".join(_IN_TEXT.findall(text))


def split_model(model: str) -> tuple[str, str]:
    """'gpt-5-mini@status=500,delay=1' as the model's own name and its directives."""
    name, _, directives = model.partition("@")
    return name, directives


def _value(name: str, value: str) -> object:
    if name not in Wishes.__struct_fields__:
        known = ", ".join(Wishes.__struct_fields__)
        raise ValueError(f"the simulated provider knows no directive {name!r}; it knows {known}")
    if name in _TEXTS:
        return value
    if name == "lie_usage":
        if value not in ("", *_LIES):
            raise ValueError(f"lie_usage is negative or huge, not {value!r}")
        return value or "negative"
    if name in _SECONDS:
        return _number(name, value, float)
    if name not in _COUNTS:
        if value:
            raise ValueError(f"{name} takes no value")
        return True
    count = _number(name, value, int)
    if name == "status" and not 400 <= count <= 599:
        raise ValueError(f"status is an error from 400 to 599, not {value}")
    return count


def _number(name: str, value: str, kind: Callable[[str], float]) -> float:
    try:
        number = kind(value)
    except ValueError:
        number = -1
    if not 0 <= number < 1e12:
        raise ValueError(f"{name} needs a number of zero or more, not {value!r}")
    return number
