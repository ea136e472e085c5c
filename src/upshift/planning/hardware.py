"""When has a machine paid for itself with the API spend that it displaces, at the load that it really has?"""

from enum import Enum

import msgspec

from upshift.model.money import Nano

HOURS_PER_MONTH = 730.0
"""8,760 hours of a year by 12."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that serves models locally. What is None is unknown; it is never taken as nothing."""

    price: Nano | None
    """To buy, or what it costs beyond the machine that would be bought anyway."""
    watts: float | None = None
    """Drawn under load."""
    idle_watts: float = 0.0
    kwh: Nano | None = None
    """Price of a kilowatt-hour."""
    upkeep: Nano = 0
    """Per month: care, space, support."""
    tokens_per_second: float | None = None
    """Served under full load."""
    life_months: int = 36
    """After which it is worth nothing; it loses the same each month."""


class Displaced(msgspec.Struct, frozen=True, kw_only=True):
    """The API spend per month that a machine stands in for: a share of what is spent."""

    spend: Nano | None
    """Per month, of all who use the machine."""
    share: float = 1.0
    """How much of it the machine takes over, 0 to 1."""
    price_per_million: Nano | None = None
    """What the API takes per million of the tokens displaced: it bounds the spend that the machine can take over."""


class Outcome(Enum):
    """Whether a machine pays for itself."""

    PAYS = "pays"
    TOO_LATE = "too late"
    """After the end of its life."""
    NEVER = "never"
    """It costs as much to run as it saves, or more."""
    UNKNOWN = "unknown"


class Payback(msgspec.Struct, frozen=True, kw_only=True):
    """When a machine has paid for itself, and what is behind it. Money is per month; None is unknown."""

    outcome: Outcome
    months: float | None
    utilisation: float
    saved: Nano | None
    """API spend displaced, no more than the machine can serve at this utilisation."""
    power: Nano | None
    upkeep: Nano
    net: Nano | None
    depreciation: Nano | None
    per_million: Nano | None
    """A million tokens served by the machine: depreciation, power and upkeep."""
    bound: bool
    """The machine cannot serve all that was to be displaced."""
    needed: float | None
    """The utilisation that would serve all of it; above 1 it takes more than one machine."""
    unknown: tuple[str, ...]
    """What has to be known for an answer."""
    left_out: tuple[str, ...]
    """Costs that are not known and not in `net`: with them it takes longer than `months`."""


def per_million(hourly: Nano, tokens_per_second: float, utilisation: float) -> Nano:
    """What a million tokens cost on a machine that costs `hourly` whether it is busy or not.

    Raises ValueError where utilisation is not above 0 and at most 1.
    """
    _checked(utilisation)
    if tokens_per_second <= 0:
        raise ValueError(f"{tokens_per_second:g} tokens per second; measure what the machine serves under full load")
    return round(hourly / (tokens_per_second * 3600 * utilisation) * 1_000_000)


def payback(machine: Machine, displaced: Displaced, utilisation: float) -> Payback:
    """Months until the spend displaced, less power and upkeep, has paid the price.

    `utilisation` is the share of all hours in which the machine serves at full load. It must be stated: nothing else
    moves the answer as much. Raises ValueError where it, or the share displaced, is not possible.
    """
    _checked(utilisation)
    if not 0 <= displaced.share <= 1:
        raise ValueError(f"a share of {displaced.share:g} cannot be displaced; 30 % is 0.3")
    power = _power(machine, utilisation)
    served = _served(machine, displaced, utilisation)
    wanted = None if displaced.spend is None else displaced.spend * displaced.share
    saved = None if wanted is None else wanted if served is None else min(wanted, served)
    net = None if saved is None else saved - (power or 0) - machine.upkeep
    depreciation = None if machine.price is None else machine.price / machine.life_months
    months = None if machine.price is None or net is None or net <= 0 else machine.price / net
    running = None if power is None or depreciation is None else depreciation + power + machine.upkeep
    return Payback(
        outcome=_outcome(machine, net, months),
        months=months,
        utilisation=utilisation,
        saved=_nano(saved),
        power=_nano(power),
        upkeep=machine.upkeep,
        net=_nano(net),
        depreciation=_nano(depreciation),
        per_million=_per_million(machine, running, utilisation),
        bound=wanted is not None and served is not None and served < wanted,
        needed=None if wanted is None or not served else utilisation * wanted / served,
        unknown=_unknown(machine, displaced),
        left_out=() if power is not None else ("power: watts and the price of a kilowatt-hour",),
    )


def _checked(utilisation: float) -> None:
    if not 0 < utilisation <= 1:
        raise ValueError(f"a utilisation of {utilisation:g} is not possible; 25 % is 0.25")


def _power(machine: Machine, utilisation: float) -> float | None:
    """Nano-dollars per month; None where the draw or its price is unknown."""
    if machine.watts is None or machine.kwh is None:
        return None
    drawn = machine.watts * utilisation + machine.idle_watts * (1 - utilisation)
    return drawn / 1000 * HOURS_PER_MONTH * machine.kwh


def _served(machine: Machine, displaced: Displaced, utilisation: float) -> float | None:
    """The spend per month that the machine can take over at this utilisation; None where nothing says."""
    if machine.tokens_per_second is None or displaced.price_per_million is None:
        return None
    return machine.tokens_per_second * 3600 * HOURS_PER_MONTH * utilisation / 1_000_000 * displaced.price_per_million


def _per_million(machine: Machine, running: float | None, utilisation: float) -> Nano | None:
    if machine.tokens_per_second is None or running is None:
        return None
    return per_million(round(running / HOURS_PER_MONTH), machine.tokens_per_second, utilisation)


def _outcome(machine: Machine, net: float | None, months: float | None) -> Outcome:
    if net is not None and net <= 0:
        return Outcome.NEVER
    if months is None:
        return Outcome.UNKNOWN
    return Outcome.PAYS if months <= machine.life_months else Outcome.TOO_LATE


def _unknown(machine: Machine, displaced: Displaced) -> tuple[str, ...]:
    needed = {"the price of the machine": machine.price, "the API spend": displaced.spend}
    return tuple(name for name, amount in needed.items() if amount is None)


def _nano(amount: float | None) -> Nano | None:
    return None if amount is None else round(amount)
