"""May this call spend, on which way, and how much may it hold?

Written against balances that the ledger reads inside its transaction, so the same rule is atomic on every store.
Invariant: what is admitted never takes settled + held of any counter past its limit (plus grants).
"""

import sys
from collections.abc import Callable, Iterable, Sequence

import msgspec

from upshift.model.budget import EMPTY, NOTHING, Amount, Balance, BudgetKey, Claim
from upshift.model.span import Instant
from upshift.traffic.outlook import Outlook
from upshift.traffic.price import PER, input_rate, most_rates, rates_at
from upshift.traffic.snapshot import HoldPolicy, Model
from upshift.traffic.wire.ask import PLAIN, Ask

Read = Callable[[BudgetKey], Balance]

ENDLESS = sys.maxsize
LEAST_ANSWER = 16
"""A shorter answer is of no use: refused rather than paid for, unless the call asks for or usually takes less."""


# Looking a member up on its class runs Python code in 3.11, and this is on every call's path.
_GROWING = HoldPolicy.GROWING


class Fare(msgspec.Struct, frozen=True, gc=False):
    """What one way would cost: tokens of input and wanted output, prices in nano-dollars per million tokens."""

    claims: tuple[Claim, ...]
    input: int
    input_rate: int
    output_rate: int
    wanted: int
    """Output tokens to hold now."""
    enough: int
    """With this much output the call need not wait for more room."""
    choices: int = 1
    """Answers it asks for; each has at least one token."""
    least: int = 1
    """Less output than this is refused by the provider."""


class Fit(msgspec.Struct, frozen=True, gc=False):
    """Way number `step` is open: hold `amount`, with `output` for the answer; `room` is all the output that fits."""

    step: int
    amount: Amount
    output: int
    room: int


class Crowded(msgspec.Struct, frozen=True):
    """There is room but for the holds of other calls on `key`."""

    key: BudgetKey


class Full(msgspec.Struct, frozen=True):
    """No way is open; `claim` is the ceiling that closed the first one."""

    claim: Claim
    balance: Balance
    measure: str
    needed: int


class Offer(msgspec.Struct, frozen=True, gc=False):
    """All that a call offers the ledger: its fares in the order of its ways, good until the first period ends."""

    fares: tuple[Fare, ...]
    until: Instant


class Growth(msgspec.Struct, frozen=True, gc=False):
    """What an answer in flight asks for besides: `want` output tokens, up to `grace` past the ceiling."""

    claims: tuple[Claim, ...]
    output_rate: int
    want: int
    grace: int

    def __call__(self, read: Read) -> Amount:
        """How much more it may hold on these balances."""
        granted = grow(self.claims, self.output_rate, read, self.want, self.grace)
        return amount(0, granted, 0, self.output_rate)


def fare(
    ask: Ask, model: Model, hold: HoldPolicy, claims: tuple[Claim, ...], outlook: Outlook,
    input_tokens: int | None = None,
) -> Fare:  # fmt: skip
    """What a way would hold. Usual output is as the outlook expects it, and so is the input unless it is given.

    A stream that may grow holds a usual answer; every other call holds all the output it may come to.
    """
    if input_tokens is None:
        input_tokens = outlook.input_tokens(ask.text_bytes, ask.images)
    card, choices = model.card, ask.choices
    most = asked_output(ask, model) * choices
    least = min(most, ask.least_output * choices)
    usual = min(most, max(outlook.output_tokens() * choices, least))
    wanted = usual if ask.stream and hold is _GROWING else most
    if card is None:
        return Fare(claims, input_tokens, 0, 0, wanted, usual, choices, least)
    extras = ask.extras
    rates = rates_at(card, input_tokens) if extras is PLAIN else most_rates(card, input_tokens, extras.service)
    by_input = input_rate(rates, ask.cache_write) if ask.cache_write else rates.input
    return Fare(claims, input_tokens, by_input, rates.output, wanted, usual, choices, least)


def fare_for_any(
    ask: Ask, options: Sequence[tuple[Model, Outlook]], hold: HoldPolicy, claims: tuple[Claim, ...]
) -> Fare:
    """The same where any of several models may answer: no less than the fare of the dearest and of the longest.

    A model without a price adds none: where a ceiling is in money, the plan has none such.
    """
    model, outlook = options[0]
    if len(options) == 1:
        return fare(ask, model, hold, claims, outlook)
    inputs = [outlook.input_tokens(ask.text_bytes, ask.images) for _, outlook in options]
    longest = max(inputs)
    fares = [
        fare(ask, model, hold, claims, outlook, length)
        for (model, outlook), own in zip(options, inputs, strict=True)
        for length in {own, longest}
    ]
    return Fare(
        claims,
        longest,
        max(each.input_rate for each in fares),
        max(each.output_rate for each in fares),
        max(each.wanted for each in fares),
        max(each.enough for each in fares),
        ask.choices,
        max(each.least for each in fares),
    )


def asked_output(ask: Ask, model: Model) -> int:
    """Output tokens that one answer may come to: what the call asks for, and no more than the model can give."""
    return model.max_output if ask.max_output is None else min(ask.max_output, model.max_output)


def admit(fares: Iterable[Fare], read: Read, may_wait: bool) -> Fit | Crowded | Full:
    """The first way that fits, or 'crowded', or 'full'.

    Crowded means that there would be room if every other call in flight ended at no cost: then a call waits, if it
    may, and is not told that its budget is spent. Where waiting is over, an answer shorter than was wanted is
    better than none, and the next way is better than a refusal.
    """
    crowded: Crowded | None = None
    full: Full | None = None
    for step, fare in enumerate(fares):
        room = _room_now(fare, read)
        if room >= fare.wanted or room >= fare.enough:
            return _fit(step, fare, room)
        least = _least(fare)
        _, claim, _ = _tightest(fare, read, with_held=True)
        free, closed_by, balance = _tightest(fare, read, with_held=False)
        if free >= max(least, room + 1):
            if may_wait:
                return Crowded(claim.key)
            crowded = crowded or Crowded(claim.key)
        if room >= least:
            return _fit(step, fare, room)
        full = full or _full(fare, closed_by, balance)
    if crowded is not None:
        return crowded
    if full is None:
        raise ValueError("a call needs at least one way")
    return full


def grow(claims: Sequence[Claim], output_rate: int, read: Read, output: int, grace: int) -> int:
    """How many of `output` further tokens an answer in flight may hold, up to `grace` tokens past the ceiling."""
    room = ENDLESS
    for claim in claims:
        balance = read(claim.key)
        room = min(room, _room(claim, balance, balance.held, 0, 0, output_rate))
    return max(0, min(output, room + grace if room < ENDLESS else output))


def amount(input_tokens: int, output_tokens: int, input_rate: int, output_rate: int) -> Amount:
    """Tokens and money of a hold, money rounded up."""
    nano = -(-(input_tokens * input_rate + output_tokens * output_rate) // PER)
    return Amount(input_tokens + output_tokens, nano)


def _least(fare: Fare) -> int:
    return max(fare.choices, fare.least, min(fare.wanted, fare.enough, LEAST_ANSWER))


def _fit(step: int, fare: Fare, room: int) -> Fit:
    output = min(fare.wanted, room)
    return Fit(step, amount(fare.input, output, fare.input_rate, fare.output_rate), output, room)


def _room_now(fare: Fare, read: Read) -> int:
    """What `_tightest` says with all holds, without the claim that binds: nearly every call needs no more."""
    claims = fare.claims
    if not claims:
        raise ValueError("a fare needs at least one claim")
    least, input_tokens, output_rate = ENDLESS, fare.input, fare.output_rate
    input_cost = input_tokens * fare.input_rate
    for claim in claims:
        # `_room`, written out: the call, and that of min(), would cost as much as the rest of this loop.
        balance, limit = read(claim.key), claim.limit
        settled, held, granted = balance.settled, balance.held, balance.granted
        if limit.tokens is not None:
            room = limit.tokens + granted.tokens - settled.tokens - held.tokens - input_tokens
            if room < least:  # noqa: PLR1730
                least = room
        if limit.nano is not None:
            scaled = (limit.nano + granted.nano - settled.nano - held.nano) * PER - input_cost
            room = scaled // output_rate if output_rate else (ENDLESS if scaled >= 0 else -1)
            if room < least:  # noqa: PLR1730
                least = room
    return least


def _tightest(fare: Fare, read: Read, *, with_held: bool) -> tuple[int, Claim, Balance]:
    """Output tokens that still fit under every claim (negative: not even the input), and the claim that binds."""
    least = ENDLESS
    tight: Claim | None = None
    state = EMPTY
    for claim in fare.claims:
        balance = read(claim.key)
        held = balance.held if with_held else NOTHING
        room = _room(claim, balance, held, fare.input, fare.input * fare.input_rate, fare.output_rate)
        if room < least or tight is None:
            least, tight, state = room, claim, balance
    assert tight is not None
    return least, tight, state


def _room(claim: Claim, balance: Balance, held: Amount, input_tokens: int, input_cost: int, output_rate: int) -> int:
    """Output tokens that fit under one claim beside what is held. `input_cost` is tokens times rate."""
    limit, settled, granted = claim.limit, balance.settled, balance.granted
    room = ENDLESS
    if limit.tokens is not None:
        room = limit.tokens + granted.tokens - settled.tokens - held.tokens - input_tokens
    if limit.nano is not None:
        scaled = (limit.nano + granted.nano - settled.nano - held.nano) * PER - input_cost
        by_money = scaled // output_rate if output_rate else (ENDLESS if scaled >= 0 else -1)
        room = min(room, by_money)
    return room


def _full(fare: Fare, claim: Claim, balance: Balance) -> Full:
    need = amount(fare.input, _least(fare), fare.input_rate, fare.output_rate)
    limit = claim.limit
    by_tokens = (
        limit.tokens is not None and limit.tokens + balance.granted.tokens - balance.settled.tokens < need.tokens
    )
    return Full(claim, balance, "tokens" if by_tokens else "money", need.tokens if by_tokens else need.nano)
