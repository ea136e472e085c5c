"""At this pace, when is the year's budget gone?"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import msgspec
import numpy as np

from upshift.planning.methods import DAILY, Floats, median
from upshift.planning.series import Forecast, forecast, forecast_many

INTERVAL = 0.8
"""Chance that the year's spend lies within the projected bounds."""

_SHORT = 14
"""Days of spend below which a projection comes with a warning."""


class Year(msgspec.Struct, frozen=True):
    """The days a budget is for, `first` and `last` included; a financial year need not be a calendar's."""

    first: date
    last: date


class Burn(msgspec.Struct, frozen=True):
    """Spend against a year's budget, in US dollars.

    `pace`: spend so far over the budget's even share of the days so far; above 1 is too fast; None on the first day
    or for a budget of zero. `low`, `projected`, `high`: the year's spend. `likely`, `early` and `late`: the day the
    budget runs out at P50, and with one chance in ten of being sooner or later; None is not within the year.
    """

    name: str
    budget: float
    spent: float
    pace: float | None
    low: float
    projected: float
    high: float
    early: date | None
    likely: date | None
    late: date | None
    because: str

    @property
    def week(self) -> str | None:
        """The ISO week the budget runs out in at P50, like 2026-W47; None is not within the year."""
        return None if self.likely is None else iso_week(self.likely)


def iso_week(day: date) -> str:
    """'2026-W47' (ISO 8601: weeks begin on Monday, the first has the year's first Thursday)."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


def burn(name: str, spend: Sequence[float] | Floats, budget: float, *, year: Year, today: date) -> Burn:
    """Project one series of US dollars per day, from `year.first` to the day before `today`; NaN is not observed.

    Today counts as still to come. Raises ValueError with all that is wrong.
    """
    days = _checked({name: spend}, {name: budget}, year, today)[name]
    left = (year.last - today).days + 1
    ahead = forecast(days, left, season=DAILY, name=name) if left > 0 and days.size else None
    return _burn(name, days, budget, ahead, year, today)


def burn_many(
    spends: Mapping[str, Sequence[float] | Floats],
    budgets: Mapping[str, float],
    organisation_budget: float,
    *,
    year: Year,
    today: date,
    organisation: str = "organisation",
) -> tuple[Burn, ...]:
    """The organisation first, then each pod in the order given. The organisation is projected as a series of its own.

    Raises ValueError with all that is wrong.
    """
    pods = _checked(spends, {**budgets, organisation: organisation_budget}, year, today)
    left = (year.last - today).days + 1
    whole = np.sum([_filled(days) for days in pods.values()], axis=0)
    if left < 1 or not whole.size:
        none = [_burn(name, days, budgets[name], None, year, today) for name, days in pods.items()]
        return _burn(organisation, whole, organisation_budget, None, year, today), *none
    ahead = forecast_many(pods, left, season=DAILY, total=organisation)
    return (
        _burn(organisation, whole, organisation_budget, ahead.total, year, today),
        *(_burn(one.name, pods[one.name], budgets[one.name], one, year, today) for one in ahead.workloads),
    )


def _checked(
    spends: Mapping[str, Sequence[float] | Floats], budgets: Mapping[str, float], year: Year, today: date
) -> dict[str, Floats]:
    problems = []
    if not spends:
        problems.append("there is no spend; give at least one series")
    if year.last < year.first:
        problems.append(f"the year ends on {year.last}, before it begins on {year.first}; swap them")
    if today < year.first:
        problems.append(f"today, {today}, is before the year begins on {year.first}; there is nothing to project yet")
    past = (min(today, year.last + timedelta(days=1)) - year.first).days
    rows = {name: np.asarray(days, dtype=np.float64) for name, days in spends.items()}
    for name, days in rows.items():
        if days.shape != (max(past, 0),):
            problems.append(
                f"{name}: {days.size} days of spend; give {past}, from {year.first} to the day before {today}"
            )
        if ((days < 0) | np.isinf(days)).any():
            problems.append(f"{name}: spend below 0 or infinite; net credits out, and use NaN for a day not observed")
        if name not in budgets:
            problems.append(f"{name} has no budget; give one")
    problems += [f"{name}: a budget of {amount}; give 0 or more" for name, amount in budgets.items() if not amount >= 0]
    if problems:
        raise ValueError("; ".join(problems))
    return rows


def _burn(name: str, days: Floats, budget: float, ahead: Forecast | None, year: Year, today: date) -> Burn:
    known = _filled(days)
    spent = float(known.sum())
    even = budget * days.size / ((year.last - year.first).days + 1)
    low, projected, high = (
        np.cumsum(np.concatenate([known, _path(ahead, share)]))
        for share in ((1 - INTERVAL) / 2, 0.5, (1 + INTERVAL) / 2)
    )
    early, likely, late = (_runs_out(path, budget, year) for path in (high, projected, low))
    ends = [float(path[-1]) if path.size else 0.0 for path in (low, projected, high)]
    said = [_sentence(name, budget, ends[1], (early, likely, late), today)]
    if days.size < _SHORT and ahead is not None:
        said.append(f"Only {days.size} days were seen: a weak basis.")
    if gaps := int(np.isnan(days).sum()):
        said.append(f"{gaps} days were not observed and count as a median day.")
    return Burn(
        name=name, budget=budget, spent=spent, pace=spent / even if even > 0 else None,
        low=ends[0], projected=ends[1], high=ends[2], early=early, likely=likely, late=late, because=" ".join(said),
    )  # fmt: skip


def _filled(days: Floats) -> Floats:
    usual = float(np.nan_to_num(median(days[None])[0])) if days.size else 0.0
    return np.asarray(np.where(np.isfinite(days), days, usual))


def _path(ahead: Forecast | None, share: float) -> Floats:
    """The days to come, scaled to the quantile of their sum: what is not known is the level, far more than the day."""
    if ahead is None:
        return np.zeros(0)
    total = float(ahead.points.sum())
    weights = ahead.points / total if total > 0 else np.full(len(ahead.points), 1 / len(ahead.points))
    return np.asarray(weights * ahead.total(share))


def _runs_out(path: Floats, budget: float, year: Year) -> date | None:
    # A budget that is spent to the last cent on the last day has lasted.
    over = np.flatnonzero(path > budget * (1 + 1e-12))
    return year.first + timedelta(days=int(over[0])) if over.size else None


def _sentence(
    name: str, budget: float, projected: float, days: tuple[date | None, date | None, date | None], today: date
) -> str:
    early, likely, late = days
    if likely is not None and likely < today:
        return f"{name} ran out on {likely} ({iso_week(likely)}): its budget of ${budget:,.2f} is spent."
    if likely is not None:
        until = f"by {late}" if late is not None else "or not at all this year"
        return (
            f"{name} runs out on {likely} ({iso_week(likely)}), perhaps on {early}, {until}:"
            f" ${projected:,.2f} projected against ${budget:,.2f}."
        )
    if early is not None:
        return f"{name} lasts the year at P50 (${projected:,.2f} of ${budget:,.2f}), but may run out from {early} on."
    return f"{name} lasts the year: ${projected:,.2f} projected against ${budget:,.2f}."
