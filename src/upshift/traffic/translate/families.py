"""Which models of a vendor take what others of it refuse?

Told by name, from the vendors' migration guides (platform.claude.com/docs/models, platform.openai.com/docs/models).
A name of no known family is taken for a server that speaks the dialect as it was when others began to copy it.
"""

import re
from functools import lru_cache

import msgspec

from upshift.traffic.translate.words import Effort

_CLAUDE = re.compile(r"claude-(?:([a-z]+)-(\d{1,2})(?:[-.](\d{1,2}))?|(\d{1,2})(?:[-.](\d{1,2}))?-[a-z]+)(?!\d)")
_GPT = re.compile(r"(?:^|[/.])(?:chatgpt-|ft:)?(?:gpt-(\d{1,2})(?:\.(\d{1,2}))?|(o)\d)")
_NEWEST = (99, 0)
_ALWAYS_THINK = {"fable", "mythos"}


class Claude(msgspec.Struct, frozen=True, gc=False):
    """What a model takes that is spoken to in Anthropic Messages."""

    sampling: bool = True
    """temperature, top_p, top_k."""
    both: bool = True
    """temperature beside top_p."""
    thinking: bool = True
    budget: bool = True
    """thinking of a number of tokens."""
    adaptive: bool = False
    """thinking as much as the model likes, and output_config.effort beside it."""
    quiet: bool = True
    """It can be told not to think."""
    forcing: bool = True
    """A tool_choice that leaves no choice."""
    system_later: bool = False
    """A message of role system after a user's."""
    schema: bool = True
    """output_config.format, and tools with "strict"."""
    xhigh: bool = False


class Gpt(msgspec.Struct, frozen=True, gc=False):
    """What a model takes that is spoken to in Chat Completions or Responses."""

    sampling: bool = True
    """temperature, top_p and penalties while it reasons."""
    stop: bool = True
    efforts: frozenset[Effort] = frozenset(("none", "minimal", "low", "medium", "high"))
    """Empty: it is not to be told how hard to think."""


@lru_cache(maxsize=256)
def claude(model: str) -> Claude:
    """What a model of this name takes."""
    found = _CLAUDE.search(model)
    if found is None:
        if "claude-" not in model:
            return Claude()
        family, version = "", _NEWEST
    else:
        family = found[1] or ""
        version = (int(found[2] or found[4]), int(found[3] or found[5] or 0))
    always = family in _ALWAYS_THINK or version >= (5, 5)
    return Claude(
        sampling=version < (4, 7) and not always,
        both=version < (4, 1),
        thinking=version >= (3, 7),
        budget=version < (4, 7) and not always,
        adaptive=version >= (4, 6) or always,
        quiet=not always,
        forcing=not always,
        system_later=version >= (4, 8),
        schema=version >= (4, 5),
        xhigh=version >= (4, 7),
    )


@lru_cache(maxsize=256)
def gpt(model: str) -> Gpt:
    """What a model of this name takes."""
    found = _GPT.search(model)
    if found is None:
        return Gpt()
    if found[3]:
        return Gpt(sampling=False, stop=False, efforts=frozenset(("low", "medium", "high")))
    version = (int(found[1]), int(found[2] or 0))
    if version < (5, 0):
        return Gpt(efforts=frozenset())
    efforts: set[Effort] = {"low", "medium", "high"}
    efforts.add("minimal" if version < (5, 1) else "none")
    if version >= (5, 2):
        efforts.add("xhigh")
    if version >= (6, 0):
        efforts.add("max")
    return Gpt(sampling=False, efforts=frozenset(efforts))


_LADDER: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def nearest(effort: Effort, known: frozenset[Effort]) -> Effort | None:
    """The effort itself if it is known, else the next lower one, else the lowest; None if none is known."""
    rank = _LADDER.index(effort)
    ranked = [each for each in _LADDER if each in known]
    below = [each for each in ranked if _LADDER.index(each) <= rank]
    return below[-1] if below else (ranked[0] if ranked else None)


def effort_of(budget: int) -> Effort:
    """An effort for a budget of tokens to think with."""
    if budget <= 0:
        return "none"
    if budget < 4_096:
        return "low"
    return "medium" if budget < 16_384 else "high"


BUDGETS: dict[Effort, int] = {
    "none": 0,
    "minimal": 1_024,
    "low": 2_048,
    "medium": 8_192,
    "high": 16_384,
    "xhigh": 24_576,
    "max": 31_999,
}
"""Tokens to think with for an effort, where a model has to be told tokens; `effort_of` leads back as far as it can."""
