"""Which calls of a bill by request are recorded, which are not, and what were those that nobody was sure of?"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from upshift.model.bill import RequestLine
from upshift.model.budget import NOTHING, Amount
from upshift.model.metered import Metered
from upshift.model.money import Nano
from upshift.model.span import MICROS, Instant
from upshift.model.tokens import NO_USAGE, Certainty, Usage
from upshift.reviews.compare import causes, compare, used_nothing
from upshift.reviews.findings import (
    Basis,
    Bounds,
    Cause,
    Figures,
    Finding,
    Known,
    Prices,
    Tolerance,
    Verdict,
    Why,
    canonical,
    total,
)

LONGEST_CALL = 900 * MICROS
"""How long after its start a call may be billed."""
_EARLY = 60 * MICROS
"""How far a provider's clock may be behind ours."""
_LEAST_MONEY = 1_000
"""Bills by request give millionths of a dollar."""


class Bill(msgspec.Struct):
    """The lines that bill one request."""

    lines: list[RequestLine]
    taken: bool = False

    @property
    def usage(self) -> Usage | None:
        said = [line.usage for line in self.lines if line.usage is not None]
        return sum(said, NO_USAGE) if said else None

    @property
    def nano(self) -> Nano | None:
        said = [line.nano for line in self.lines if line.nano is not None]
        return sum(said) if said else None

    @property
    def stated(self) -> tuple[str, ...]:
        """What every line states."""
        first = self.lines[0].stated
        return tuple(part for part in first if all(part in line.stated for line in self.lines))

    @property
    def at(self) -> Instant | None:
        return self.lines[0].at

    @property
    def model(self) -> str:
        return self.lines[0].model

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(id_ for line in self.lines for id_ in line.ids if id_))

    @property
    def where(self) -> tuple[str, ...]:
        return tuple(line.where for line in self.lines)

    def figures(self) -> Figures:
        return Figures(calls=1, usage=self.usage, nano=self.nano)


class Outcome(msgspec.Struct):
    """What a bill by request comes to."""

    findings: list[Finding]
    known: list[Known]
    matched: int
    billed: Figures
    recorded: Figures
    outside: int
    """Calls so close to the ends of the bill that it need not have them."""


class Matching:
    """Holds lines against records, one record after the other."""

    def __init__(
        self,
        lines: Sequence[RequestLine],
        name_of: Callable[[Metered], str],
        prices: Prices,
        tolerance: Tolerance,
        certain: tuple[Instant, Instant],
    ) -> None:
        """`certain` is the stretch of time in which a call has to be in the bill."""
        self._name_of = name_of
        self._prices = prices
        self._tolerance = tolerance
        self._certain = certain
        self._bills = _by_id(lines)
        self._blind: list[Metered] = []
        self._findings: list[Finding] = []
        self._known: list[Known] = []
        self._matched = 0
        self._outside = 0
        self._recorded: list[Figures] = []

    def add(self, record: Metered) -> None:
        """Looks for one call in the bill."""
        bill = (self._bills.get(record.upstream_id) if record.upstream_id else None) or self._bills.get(record.request)
        if bill is not None and not bill.taken:
            bill.taken = True
            self._met(record, bill)
        elif used_nothing(record):
            return
        elif not self._certain[0] <= record.started <= record.started + record.latency_us < self._certain[1]:
            self._outside += 1
        elif record.certainty is not Certainty.EXACT:
            self._blind.append(record)
        else:
            self._absent(record)
        if len(self._recorded) > 10_000:
            self._recorded = [total(self._recorded)]

    def done(self) -> Outcome:
        """What it all comes to."""
        distinct = list({id(bill): bill for bill in self._bills.values()}.values())
        left = [bill for bill in distinct if not bill.taken]
        self._assign(left)
        for bill in left:
            if not bill.taken:
                self._findings.append(self._unrecorded(bill))
        billed = total([bill.figures() for bill in distinct])
        return Outcome(self._findings, self._known, self._matched, billed, total(self._recorded), self._outside)

    # one record and its lines -------------------------------------------------------------------------------------

    def _met(self, record: Metered, bill: Bill) -> None:
        recorded = _figures(record)
        self._recorded.append(recorded)
        if record.certainty is not Certainty.EXACT:
            self._resolve(record, bill, Basis.ID)
            return
        billed, rounding = bill.figures(), sum(line.step for line in bill.lines) // 2
        apart = compare(billed, recorded, bill.stated, self._tolerance, max(_LEAST_MONEY, rounding))
        found = causes(apart, billed, recorded, (bill.lines[0].tier,), rounding, recorded.unpriced)
        name, other = self._name_of(record), bill.model
        renamed = bool(other) and canonical(other) != canonical(name)
        if renamed:
            found.append(Cause(Why.MODEL, f"recorded as {name}"))
        if len(bill.lines) > 1:
            found.append(Cause(Why.REPEATED, f"the bill has it {len(bill.lines)} times"))
        if used_nothing(record):
            found.append(Cause(Why.NOTHING_USED, f"recorded as {record.outcome} with nothing used"))
        beyond = set(apart.beyond)
        if recorded.unpriced:
            beyond.discard("money")
        if beyond or renamed:
            verdict = Verdict.DIFFERENT
        elif recorded.unpriced and bill.nano is not None:
            verdict = Verdict.UNKNOWN
        else:
            self._matched += 1
            return
        self._findings.append(
            Finding(
                verdict=verdict,
                start=record.started,
                end=record.started + record.latency_us,
                model=other or name,
                request=record.request,
                upstream_id=record.upstream_id,
                billed=billed,
                recorded=recorded,
                at_plan=self._prices.of_call(canonical(name), apart.usage) if bill.usage is not None else None,
                at_billed=apart.nano if bill.nano is not None and not recorded.unpriced else None,
                causes=tuple(found),
                where=bill.where,
            )
        )

    def _resolve(self, record: Metered, bill: Bill, basis: Basis) -> None:
        """The record is not sure; the bill says."""
        usage, nano = bill.usage, bill.nano
        if nano is None and usage is not None:
            nano = self._prices.of_call(canonical(bill.model or self._name_of(record)), usage)
        low, high = bounds_of(record)
        billed = Amount(low.tokens if usage is None else usage.total, low.nano if nano is None else nano)
        bounds = Bounds(low, high, 1, inside=within(billed, low, high))
        if usage is not None and {"input", "output"} <= set(bill.stated):
            self._known.append(Known(record=record, usage=usage, nano=nano, basis=basis, where=bill.where))
        self._findings.append(
            Finding(
                verdict=Verdict.UNKNOWN if within(billed, floor_of(record), high) else Verdict.DIFFERENT,
                start=record.started,
                model=bill.model or self._name_of(record),
                request=record.request,
                upstream_id=record.upstream_id or bill.ids[0],
                billed=bill.figures(),
                recorded=_figures(record),
                at_plan=None if nano is None else nano - record.counted,
                at_billed=None if bill.nano is None else bill.nano - record.counted,
                bounds=bounds,
                causes=(Cause(Why.UNSURE, _unsure(record, basis)),),
                where=bill.where,
            )
        )

    def _absent(self, record: Metered) -> None:
        recorded = _figures(record)
        self._recorded.append(recorded)
        self._findings.append(
            Finding(
                verdict=Verdict.MISSING_THERE,
                start=record.started,
                end=record.started + record.latency_us,
                model=self._name_of(record),
                request=record.request,
                upstream_id=record.upstream_id,
                recorded=recorded,
                at_plan=None if record.cost is None else -record.cost,
            )
        )

    def _unrecorded(self, bill: Bill) -> Finding:
        priced = None if bill.usage is None else self._prices.of_call(canonical(bill.model), bill.usage)
        found = [Cause(Why.AROUND, "nothing is recorded: a way around the gateway, or another user of the same key")]
        if len(bill.lines) > 1:
            found.append(Cause(Why.REPEATED, f"the bill has it {len(bill.lines)} times"))
        return Finding(
            verdict=Verdict.MISSING_HERE,
            start=bill.at,
            model=bill.model,
            upstream_id=bill.ids[0],
            billed=bill.figures(),
            at_plan=priced,
            at_billed=bill.nano,
            causes=tuple(found),
            where=bill.where,
        )

    # calls without an id ------------------------------------------------------------------------------------------

    def _assign(self, left: list[Bill]) -> None:
        """A call that was lost has no id of the provider: a line is its own if it alone fits, and fits no other."""
        fits = {
            record.request: [bill for bill in left if not record.upstream_id and self._fits(record, bill)]
            for record in self._blind
        }
        wanted: dict[int, int] = {}
        for bills in fits.values():
            for bill in bills:
                wanted[id(bill)] = wanted.get(id(bill), 0) + 1
        for record in self._blind:
            self._recorded.append(_figures(record))
            bills = fits[record.request]
            if len(bills) == 1 and wanted[id(bills[0])] == 1:
                bills[0].taken = True
                self._resolve(record, bills[0], Basis.ONLY_FIT)
            else:
                self._findings.append(self._open(record, len(bills)))

    def _fits(self, record: Metered, bill: Bill) -> bool:
        name = self._name_of(record)
        if name and bill.model and canonical(name) != canonical(bill.model):
            return False
        if bill.at is not None and not record.started - _EARLY <= bill.at <= record.started + LONGEST_CALL:
            return False
        low, high = floor_of(record), bounds_of(record)[1]
        usage, nano = bill.usage, bill.nano
        billed = Amount(low.tokens if usage is None else usage.total, low.nano if nano is None else nano)
        return within(billed, low, high)

    def _open(self, record: Metered, fitting: int) -> Finding:
        low, high = bounds_of(record)
        says = (
            f"{fitting} lines of the bill that nothing is recorded for may be its own"
            if fitting
            else "no line of the bill fits it: it was probably not billed"
        )
        return Finding(
            verdict=Verdict.UNKNOWN,
            start=record.started,
            model=self._name_of(record),
            request=record.request,
            upstream_id=record.upstream_id,
            recorded=_figures(record),
            bounds=Bounds(low, high, 1, inside=True),
            causes=(Cause(Why.UNSURE, f"{_state(record)}; {says}"),),
        )


def bounds_of(record: Metered) -> tuple[Amount, Amount | None]:
    """What a call that the record is not sure of has used at least, and at most where that is known: its hold."""
    low = Amount(record.usage.total, record.cost or 0)
    held = Amount(record.counted_tokens, record.counted)
    return low, held if record.certainty is Certainty.UNKNOWN else None


def floor_of(record: Metered) -> Amount:
    """What such a call has been billed for at least. The text that was seen of a cut answer becomes tokens by an
    estimate, so that a bill may be below it.
    """
    return NOTHING if record.certainty is Certainty.AT_LEAST else bounds_of(record)[0]


def within(amount: Amount, low: Amount, high: Amount | None) -> bool:
    """Whether tokens and money both lie between."""
    if amount.tokens < low.tokens or amount.nano < low.nano:
        return False
    # A hold of tokens without money is one at an unknown price.
    return high is None or (amount.tokens <= high.tokens and (amount.nano <= high.nano or high.nano == 0))


def _figures(record: Metered) -> Figures:
    # Where the record is not sure, what the budget was charged stands for it.
    if record.certainty is Certainty.UNKNOWN:
        return Figures(calls=1, usage=record.usage, nano=record.counted)
    return Figures(calls=1, usage=record.usage, nano=record.cost, unpriced=int(record.cost is None))


def _state(record: Metered) -> str:
    if record.certainty is Certainty.AT_LEAST:
        return f"recorded as at least {record.usage.total} tokens ({record.outcome})"
    return f"recorded as unknown ({record.outcome}), counted at its hold of {record.counted_tokens} tokens"


def _unsure(record: Metered, basis: Basis) -> str:
    how = {
        Basis.ID: "the bill names it",
        Basis.ONLY_FIT: "one line alone fits it, and fits no other call",
        Basis.REST: "the only such call of its bucket",
    }
    return f"{_state(record)}; {how[basis]}"


def _by_id(lines: Sequence[RequestLine]) -> dict[str, Bill]:
    found: dict[str, Bill] = {}
    for line in lines:
        ids = [id_ for id_ in line.ids if id_]
        bill = next((found[id_] for id_ in ids if id_ in found), None)
        if bill is None:
            bill = Bill([line])
        else:
            bill.lines.append(line)
        for id_ in ids:
            found.setdefault(id_, bill)
    return found


def span_of(lines: Iterable[RequestLine]) -> tuple[Instant, Instant] | None:
    """From the first to the last moment that the lines name; None where they name none."""
    moments = [line.at for line in lines if line.at is not None]
    return (min(moments), max(moments) + 1) if moments else None
