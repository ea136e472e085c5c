"""Which monthly ceiling per user and tier fits what the users of a workload will use?"""

import math

import numpy as np

from upshift.model.ids import TierId
from upshift.model.money import Nano
from upshift.planning.budgets import Ceiling
from upshift.planning.draws import Array, Dice, Scale, at_rank
from upshift.planning.outline import ONE, Row, Spread
from upshift.planning.tokens import PerUser, of_one_user

SHARE = 0.95
"""Of all users of a tier, those whom the proposed ceiling does not stop."""


def propose(row: Row, one: PerUser, dice: Dice, sigma: float) -> tuple[Ceiling, ...]:
    """For every tier that has users or a ceiling: what 95 % of its users stay below, rounded up to two digits.

    It counts both that the mean is not known for certain and that users differ.
    """
    user = of_one_user(row, dice, sigma)
    weights: dict[TierId | None, Spread] = {each.tier: each.weight for each in row.audiences}
    stated: dict[TierId | None, tuple[int | None, Nano | None]] = {
        tier: (tokens, money) for tier, tokens, money in row.ceilings
    }
    if None in weights and stated:
        # Users of no tier in particular may have any of those with a ceiling.
        anyone = weights.pop(None)
        for named in stated:
            weights.setdefault(named, anyone)
    found: list[Ceiling] = []
    tiers: list[TierId | None] = [*weights, *(each for each in stated if each not in weights)]
    for tier in tiers:
        weight = dice.draw(weights.get(tier, ONE), Scale.LOG, row.id, "weight", tier or "")
        use: Array = np.asarray(user * one.tokens * weight)
        tokens, money = stated.get(tier, (None, None))
        found.append(
            Ceiling(
                workload=row.id,
                tier=tier,
                tokens=tokens,
                proposed_tokens=round_up(at_rank(use, SHARE)),
                money=money,
                proposed_money=None if one.cost is None else round_up(at_rank(user * one.cost * weight, SHARE)),
                reached=None if tokens is None else float((use >= tokens).mean()),
            )
        )
    return tuple(found)


def round_up(value: float) -> int:
    """To two significant digits, never down."""
    if value <= 0:
        return 0
    step = 10.0 ** max(0, math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / step) * step)
