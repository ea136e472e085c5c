"""How many tokens does a user of a workload use in a month, of which kinds, and what do they cost?"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from upshift.model.rates import RateCard, Rates
from upshift.planning.draws import Array, Dice, Scale
from upshift.planning.outline import NONE, Estimate, Row, Share, Spread, exactly

Value: TypeAlias = Array | float
"""Draws of a figure, or a figure without doubt."""

FIRST_QUARTER = Spread(1.0, 1.3, 1.6)
"""Use in a workload's first quarter, over what was estimated: spend was seen to be under-sized by 30 to 60 %."""
NO_FIRST_QUARTER = exactly(1.0)
USERS_SIGMA = 0.8
"""Standard deviation of the logarithm of use between users: the heaviest twentieth use 2.7 times the mean or more."""

_PER = 1_000_000


class PerUser(NamedTuple):
    """One user of weight 1 in a month. `cost` in nano-dollars is None where a price is not known."""

    tokens: Value
    cost: Value | None
    unpriced: tuple[str, ...]
    """What keeps the cost from being known."""


class _Kinds(NamedTuple):
    """Tokens by how they are priced; `cached` and `written` are parts of the input."""

    input: Value
    output: Value
    cached: Value
    written: Value
    long: Value
    longest: Value | None
    """Input of one call, where it is known."""


def calls_per_session(row: Row, dice: Dice) -> Value | None:
    """Calls of a model in a session: turns x tool calls x tries. None where turns are not said."""
    turns = row.estimate.turns if row.estimate is not None else None
    if turns is None:
        return None
    calls = dice.draw(turns.turns, Scale.LOG, row.id, "turns")
    calls = calls * dice.draw(turns.tool_calls, Scale.LOG, row.id, "tool_calls")
    return calls * dice.draw(turns.retries, Scale.LOG, row.id, "retries")


def per_user(row: Row, dice: Dice) -> PerUser | None:
    """sessions x turns x (input + output x multiplier) x tool calls x tries, priced by kind; or the tokens as stated.

    None where the estimate says neither.
    """
    if row.estimate is None:
        return None
    kinds = _kinds(row, row.estimate, dice)
    if kinds is None:
        return None
    lacking = tuple(f"no price of {share.model} is known" for share in row.mix if share.card is None)
    if not row.mix:
        lacking = ("no model is known that serves it",)
    cost = None if lacking else _priced(row.mix, kinds)
    return PerUser(kinds.input + kinds.output, cost, lacking)


def lacking(row: Row) -> tuple[str, ...]:
    """What the plan does not say and tokens need; as people read it."""
    said = row.estimate or Estimate()
    missing = [] if row.audiences else ["users are not said"]
    if said.tokens is None and said.turns is None:
        missing.append("neither tokens nor turns are said")
    elif said.tokens is None and said.sessions is None:
        missing.append("sessions are not said")
    return tuple(missing)


def of_one_user(row: Row, dice: Dice, sigma: float = USERS_SIGMA) -> Array:
    """(draws) what one user picked at random uses, over the mean of all: lognormal, with mean 1."""
    return np.asarray(np.exp(sigma * dice.normal(row.id, "one user") - sigma**2 / 2))


def _kinds(row: Row, estimate: Estimate, dice: Dice) -> _Kinds | None:
    longest: Value | None = None
    if estimate.turns is not None and estimate.sessions is not None:
        calls = calls_per_session(row, dice)
        if calls is None:
            return None
        calls = calls * dice.draw(estimate.sessions, Scale.LOG, row.id, "sessions")
        longest = dice.draw(estimate.turns.input, Scale.LOG, row.id, "input")
        multiplier = dice.draw(estimate.turns.multiplier, Scale.LOG, row.id, "multiplier")
        read = calls * longest
        wrote = calls * dice.draw(estimate.turns.output, Scale.LOG, row.id, "output") * multiplier
    elif estimate.tokens is not None:
        total = dice.draw(estimate.tokens, Scale.LOG, row.id, "tokens")
        share = dice.draw(estimate.output_share, Scale.LOGIT, row.id, "output_share")
        read, wrote = total * (1.0 - share), total * share
    else:
        return None
    cached = dice.draw(estimate.cached, Scale.LOGIT, row.id, "cached")
    written = dice.draw(estimate.cache_written, Scale.LOGIT, row.id, "cache_written")
    # Both are parts of the same input.
    written = np.minimum(written, 1.0 - cached) if estimate.cache_written != NONE else written
    long = dice.draw(estimate.long, Scale.LOGIT, row.id, "long")
    return _Kinds(read, wrote, read * cached, read * written, long, longest)


def _priced(mix: Sequence[Share], kinds: _Kinds) -> Value:
    total: Value = 0.0
    for share in mix:
        if share.card is not None:
            total = total + share.part * _by_card(share.card, kinds)
    return total


def _by_card(card: RateCard, kinds: _Kinds) -> Value:
    """In the longest of its steps for the share that is long, and where a call's input is longer than the step."""
    short = _at(card.steps[0], kinds)
    if len(card.steps) == 1:
        return short
    if kinds.longest is None:
        return short * (1.0 - kinds.long) + _at(card.steps[-1], kinds) * kinds.long
    by_length = short
    for step in card.steps[1:]:
        by_length = np.where(np.asarray(kinds.longest) > step.above, _at(step, kinds), by_length)
    return by_length * (1.0 - kinds.long) + _at(card.steps[-1], kinds) * kinds.long


def _at(rates: Rates, kinds: _Kinds) -> Value:
    plain = kinds.input - kinds.cached - kinds.written
    read = plain * rates.input + kinds.cached * rates.cached + kinds.written * rates.cache_write_5m
    return (read + kinds.output * rates.output) / _PER
