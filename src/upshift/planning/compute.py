"""How many sessions and requests are open at the worst minute of a month, over all workloads together?"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from upshift.model.quarter import Month
from upshift.planning.draws import Array, Dice, Scale
from upshift.planning.outline import Estimate, Row
from upshift.planning.tokens import Value, calls_per_session

CHANCE = 0.999
"""Of all moments of the busiest hour, the share in which no more sessions are open than the peak says."""
_Z = float(ndtri(CHANCE))


class Load(NamedTuple):
    """What one user of weight 1 puts on the machines, per session a month and hour of the month.

    `open` and `requests` are of the busiest hour: sessions open at once on average, requests per minute (None where
    turns are not said). `excess` is what the worst minute has above them, as a share; `average` what `open` is over.
    """

    open: Value
    requests: Value | None
    excess: Value
    busy: Value


def load_per_user(row: Row, dice: Dice) -> Load | None:
    """By Little's law: sessions that begin in an hour x hours that one lasts. None where either is not said.

    To be multiplied by users and divided by the hours of the month.
    """
    said = row.estimate
    if said is None or said.sessions is None or said.minutes is None:
        return None
    busy = dice.draw(said.busy, Scale.LOG, row.id, "busy")
    begun = dice.draw(said.sessions, Scale.LOG, row.id, "sessions") * busy
    calls = calls_per_session(row, dice)
    return Load(
        open=begun * dice.draw(said.minutes, Scale.LOG, row.id, "minutes") / 60.0,
        requests=None if calls is None else begun * calls / 60.0,
        excess=np.maximum(dice.draw(said.burst, Scale.LOG, row.id, "burst") - 1.0, 0.0),
        busy=busy,
    )


def lacking(row: Row) -> tuple[str, ...]:
    """What the plan does not say and a peak needs; as people read it."""
    said = row.estimate or Estimate()
    needed = {
        "users are not said": bool(row.audiences),
        "sessions are not said": said.sessions is not None,
        "how long a session lasts is not said": said.minutes is not None,
    }
    return tuple(what for what, there in needed.items() if not there)


def hours_of(month: Month) -> float:
    """Hours of a calendar month."""
    return month.days * 24.0


def joint_peak(open_: Array, bursts: Array) -> Array:
    """Sessions open at the worst minute: those of the busiest hour, and what chance and bursts add.

    `open_` is the mean over the busiest hour, all workloads summed (their busiest hours are taken to coincide);
    `bursts` the sum of the squares of what each workload's worst minute has above its own mean. Sessions that begin
    independently and may wait for nobody are a Poisson number (Erlang; M/G/infinity), whatever their durations are;
    its quantile is by Cornish and Fisher's expansion, within one of the exact one from a mean of 0.1 on. Bursts of
    different workloads are independent, so their squares add, as variances do: the peak is above the sum of averages
    and below the sum of the separate peaks.
    """
    chance = np.where(open_ > 0, _Z * np.sqrt(open_) + (_Z**2 - 1) / 6, 0.0)
    return np.asarray(open_ + np.hypot(chance, np.sqrt(bursts)))


def units(sized: float, per_unit: float | None) -> int | None:
    """Whole units of capacity that carry so many sessions; None where the plan says no unit."""
    return None if per_unit is None else math.ceil(sized / per_unit)
