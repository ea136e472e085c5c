"""Do the sums of a bill's hours or days agree with the calls that were recorded in them?"""

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from upshift.model.bill import CostLine, Shape, UsageLine
from upshift.model.budget import NOTHING, Amount
from upshift.model.metered import Metered
from upshift.model.money import Nano, show_money
from upshift.model.span import MICROS, Instant
from upshift.model.tokens import NO_USAGE, Certainty, Usage
from upshift.reviews.compare import causes, compare, minus, only, used_nothing
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
from upshift.reviews.requests import bounds_of, floor_of

SLACK = 5 * MICROS
"""How far the provider's clock and ours may be apart where a bucket ends."""

_USAGE = {Shape.OPENAI_USAGE, Shape.ANTHROPIC_USAGE}
_COSTS = {Shape.OPENAI_COSTS, Shape.ANTHROPIC_COSTS}

ALL = ""
"""The model of sums over all models."""


class Sum(msgspec.Struct):
    """What the calls of one bucket and model add up to. `calls`, `usage` and `nano` are of those known for certain."""

    calls: int = 0
    usage: Usage = NO_USAGE
    nano: Nano = 0
    unpriced: int = 0
    unsure: list[Metered] = []

    def add(self, record: Metered) -> None:
        """Counts a call."""
        if record.certainty is not Certainty.EXACT:
            self.unsure.append(record)
            return
        self.calls += 1
        self.usage += record.usage
        self.nano += record.cost or 0
        self.unpriced += record.cost is None

    def figures(self) -> Figures:
        return Figures(calls=self.calls, usage=self.usage, nano=self.nano, unpriced=self.unpriced)


class Billed(msgspec.Struct):
    """The lines of one bucket and model."""

    usages: list[UsageLine] = []
    costs: list[CostLine] = []

    @property
    def stated(self) -> tuple[str, ...]:
        """The tokens that every line of usage states."""
        first = self.usages[0].stated if self.usages else ()
        return tuple(part for part in first if all(part in line.stated for line in self.usages))

    @property
    def lines(self) -> list[UsageLine | CostLine]:
        return [*self.usages, *self.costs]

    @property
    def name(self) -> str:
        return self.lines[0].model

    @property
    def tiers(self) -> tuple[str, ...]:
        return tuple(sorted({line.tier for line in self.lines} - {""}))

    @property
    def where(self) -> tuple[str, ...]:
        return tuple(line.where for line in self.lines)

    @property
    def rounding(self) -> Nano:
        """How far off the rounding of every line may have made the sum."""
        return -(-sum(line.step for line in self.costs) // 2)

    def figures(self) -> Figures:
        counted = [line.calls for line in self.usages if line.calls is not None]
        return Figures(
            calls=sum(counted) if self.usages and len(counted) == len(self.usages) else None,
            usage=sum((line.usage for line in self.usages), NO_USAGE) if self.usages else None,
            nano=sum(line.nano for line in self.costs) if self.costs else None,
        )


class Outcome(msgspec.Struct, frozen=True):
    """What the buckets of one width come to; `recorded` has calls that nobody is sure of at what they were charged."""

    findings: list[Finding]
    known: list[Known]
    billed: Figures
    recorded: Figures


Slot = tuple[int, str]
"""A bucket's number since 1970 and a canonical model."""


class Buckets:
    """Holds sums against records, one record after the other. All lines have buckets of one `width`."""

    def __init__(
        self,
        lines: Sequence[UsageLine | CostLine],
        width: Instant,
        span: tuple[Instant, Instant],
        shapes: Collection[Shape],
        name_of: Callable[[Metered], str],
        prices: Prices,
        tolerance: Tolerance,
    ) -> None:
        """`span` is where each bucket is in the bill, or had no use; it begins and ends with a bucket.

        `shapes` says what the bill is of, also where it has no lines.
        """
        self._width = width
        self._first, self._last = span[0] // width, span[1] // width
        self._name_of = name_of
        self._prices = prices
        self._tolerance = tolerance
        usages = [line for line in lines if isinstance(line, UsageLine)]
        costs = [line for line in lines if isinstance(line, CostLine)]
        self.has_usage = not _USAGE.isdisjoint(shapes)
        self.has_costs = not _COSTS.isdisjoint(shapes)
        self._lumped_usage = bool(usages) and all(not line.model for line in usages)
        self._lumped_costs = bool(costs) and all(not line.model for line in costs)
        self._billed: dict[Slot, Billed] = {}
        for usage in usages:
            self._slot(usage).usages.append(usage)
        for cost in costs:
            self._slot(cost).costs.append(cost)
        self._sums: dict[Slot, Sum] = {}
        self._near: list[Metered] = []
        self._names: dict[str, str] = {}

    def _slot(self, line: UsageLine | CostLine) -> Billed:
        return self._billed.setdefault((line.start // self._width, canonical(line.model)), Billed())

    def add(self, record: Metered) -> None:
        """Counts one call where it belongs, or keeps it if it is close to where a bucket ends."""
        if used_nothing(record):
            return
        width, ended = self._width, record.started + record.latency_us
        begun = record.started // width
        if record.certainty is Certainty.EXACT and (record.started - SLACK) // width != (ended + SLACK) // width:
            self._near.append(record)
        elif self._first <= begun < self._last:
            self._count(self._sums, begun, record)

    def _count(self, sums: dict[Slot, Sum], number: int, record: Metered) -> None:
        name = self._name_of(record)
        key = canonical(name)
        self._names.setdefault(key, name)
        for model in {key, ALL}:
            sums.setdefault((number, model), Sum()).add(record)

    def done(self) -> Outcome:
        """The findings in order of time and model, those that match among them, and what is known now."""
        by_start, by_end = (self._placed(moment) for moment in (_started, _ended))
        booked = by_end if self._misfits(by_end[0]) < self._misfits(by_start[0]) else by_start
        sums, moved = self._shifted(*booked)
        findings, known = [], []
        for slot in sorted({*self._billed, *sums}):
            judged = self._judged(slot, sums.get(slot, Sum()), moved.get(slot, 0))
            if judged is not None:
                findings.append(judged[0])
                known += judged[1]
        inside = [each for (number, _), each in self._billed.items() if self._first <= number < self._last]
        recorded = [
            _charged(each)
            for (number, model), each in sums.items()
            if model == ALL and self._first <= number < self._last
        ]
        return Outcome(findings, known, total([each.figures() for each in inside]), total(recorded))

    # calls close to where a bucket ends ---------------------------------------------------------------------------

    def _placed(self, moment: Callable[[Metered], Instant]) -> tuple[dict[Slot, Sum], list[tuple[Instant, Metered]]]:
        """The sums if providers count a call at this moment, and the calls that clocks may put on either side."""
        sums = {slot: msgspec.structs.replace(each, unsure=list(each.unsure)) for slot, each in self._sums.items()}
        either = []
        for record in self._near:
            at = moment(record)
            self._count(sums, at // self._width, record)
            if (at - SLACK) // self._width != (at + SLACK) // self._width:
                either.append((at, record))
        return sums, sorted(either, key=lambda each: each[0])

    def _misfits(self, sums: Mapping[Slot, Sum]) -> int:
        return sum(not self._fits(slot, sums.get(slot, Sum())) for slot in self._billed)

    def _fits(self, slot: Slot, found: Sum) -> bool:
        billed = self._billed.get(slot)
        if billed is None:
            return found.calls == 0
        figures = billed.figures()
        return not compare(figures, found.figures(), billed.stated, self._tolerance, self._tolerance.money).beyond

    def _shifted(
        self, sums: dict[Slot, Sum], either: list[tuple[Instant, Metered]]
    ) -> tuple[dict[Slot, Sum], dict[Slot, int]]:
        """The sums with each end of a bucket where the provider's clock may have it, and how many calls that moved.

        Clocks that differ move an end as a whole: the calls that change sides are those next to it.
        """
        moved: dict[Slot, int] = {}
        at_end: dict[Slot, list[tuple[Instant, Metered]]] = {}
        for at, record in either:
            edge = (at + SLACK) // self._width
            for model in {canonical(self._name_of(record)), ALL}:
                at_end.setdefault((edge, model), []).append((at, record))
        for (edge, model), calls in sorted(at_end.items()):
            left, right = (edge - 1, model), (edge, model)
            inner = left if edge > self._first else right
            if self._fits(inner, sums.get(inner, Sum())) or inner not in self._billed:
                continue
            split = sum(at < edge * self._width for at, _ in calls)
            for cut in sorted(range(len(calls) + 1), key=lambda each: abs(each - split)):
                taken = [record for _, record in calls[min(cut, split) : max(cut, split)]]
                to, out_of = (left, right) if cut > split else (right, left)
                tried = {to: _with(sums.get(to), taken, 1), out_of: _with(sums.get(out_of), taken, -1)}
                if self._fits(inner, tried[inner]):
                    sums |= tried
                    for slot in tried:
                        moved[slot] = moved.get(slot, 0) + len(taken)
                    break
        return sums, moved

    # one bucket and model -----------------------------------------------------------------------------------------

    def _judged(self, slot: Slot, found: Sum, moved: int) -> tuple[Finding, list[Known]] | None:
        number, model = slot
        billed = self._billed.get(slot)
        lumped = model == ALL
        if not self._first <= number < self._last or not self._concerns(lumped, billed):
            return None
        told = Figures() if billed is None else billed.figures()
        stated = () if billed is None else billed.stated
        empty = not (told.calls or told.nano or (told.usage is not None and told.usage.total))
        if empty and not found.calls and not found.unsure:
            return None
        recorded = found.figures()
        finding = Finding(
            verdict=Verdict.MATCHED,
            start=number * self._width,
            end=(number + 1) * self._width,
            model=(billed.name if billed is not None else "") or self._names.get(model, model),
            tiers=() if billed is None else billed.tiers,
            billed=None if billed is None else told,
            recorded=recorded if found.calls or found.unsure else None,
            where=() if billed is None else billed.where,
        )
        edge = (
            [Cause(Why.EDGE, f"{moved} calls within {SLACK // MICROS} s of the bucket's ends were counted beside it")]
            if moved
            else []
        )
        if found.unsure:
            return self._unsure(finding, found, told, stated, edge)
        if empty:
            return _absent(finding, recorded), []
        if not found.calls:
            return self._unrecorded(finding, told, model), []
        return self._compared(finding, slot, told, recorded, stated, edge), []

    def _concerns(self, lumped: bool, billed: Billed | None) -> bool:
        """Whether this kind of row is judged: sums over all models only where the bill has such."""
        if billed is not None:
            return True
        if lumped:
            return self._lumped_usage or self._lumped_costs
        return (self.has_usage and not self._lumped_usage) or (self.has_costs and not self._lumped_costs)

    def _compared(
        self,
        finding: Finding,
        slot: Slot,
        told: Figures,
        recorded: Figures,
        stated: tuple[str, ...],
        edge: list[Cause],
    ) -> Finding:
        billed = self._billed[slot]
        apart = compare(told, recorded, stated, self._tolerance, self._tolerance.money)
        found = causes(apart, told, recorded, billed.tiers, billed.rounding, recorded.unpriced) + edge
        beyond = set(apart.beyond)
        if recorded.unpriced:
            beyond.discard("money")
        if beyond and not edge:
            found += self._maybe_edge(slot, apart.usage, told.usage is not None)
        verdict = Verdict.DIFFERENT if beyond else Verdict.UNKNOWN if "money" in apart.beyond else Verdict.MATCHED
        by_plan = self._prices.of_sum(slot[1], apart.usage) if told.usage is not None and slot[1] != ALL else None
        return msgspec.structs.replace(
            finding,
            verdict=verdict,
            at_plan=None if verdict is Verdict.MATCHED else by_plan,
            at_billed=apart.nano if verdict is Verdict.DIFFERENT and told.nano is not None else None,
            causes=tuple(found),
        )

    def _maybe_edge(self, slot: Slot, apart: Usage, has_usage: bool) -> list[Cause]:
        """Names calls close to the ends of a bucket that are as many tokens as the difference, or more."""
        if not has_usage:
            return []
        close = self._close(*slot)
        tokens = sum(record.usage.total for record in close)
        if not close or abs(apart.total) > tokens:
            return []
        says = f"{len(close)} calls with {tokens} tokens lie across the bucket's ends, and may be counted beside it"
        return [Cause(Why.EDGE, says)]

    def _close(self, number: int, model: str) -> list[Metered]:
        """Calls that may be counted in this bucket or beside it."""
        ends = (number * self._width, (number + 1) * self._width)
        return [
            record
            for record in self._near
            if model in (ALL, canonical(self._name_of(record)))
            and any(_started(record) - SLACK <= end <= _ended(record) + SLACK for end in ends)
        ]

    def _unrecorded(self, finding: Finding, told: Figures, model: str) -> Finding:
        priced = self._prices.of_sum(model, told.usage) if told.usage is not None else None
        if model == ALL or told.usage is not None or self._prices.knows(model):
            says = "nothing is recorded: a way around the gateway, or another user of the same account"
            why = Why.AROUND
        else:
            says = f"the plan has no model {finding.model}: another user of the same account, or no tokens at all"
            why = Why.BEYOND_TOKENS
        return msgspec.structs.replace(
            finding,
            verdict=Verdict.MISSING_HERE,
            at_plan=priced,
            at_billed=told.nano,
            causes=(Cause(why, says),),
        )

    def _unsure(
        self, finding: Finding, found: Sum, told: Figures, stated: tuple[str, ...], edge: list[Cause]
    ) -> tuple[Finding, list[Known]]:
        """Some calls are not known for certain: the bill has to be between what they can be."""
        low = high = Amount(found.usage.total, found.nano)
        open_end, unpriced, charged = False, found.unpriced > 0, 0
        for record in found.unsure:
            most = bounds_of(record)[1]
            low += floor_of(record)
            high += most or NOTHING
            open_end = open_end or most is None
            unpriced = unpriced or not record.counted
            charged += record.counted
        count, inside = len(found.unsure), True
        if told.calls is not None:
            inside = found.calls <= told.calls <= found.calls + count
        if told.usage is not None:
            rest = minus(only(told.usage, stated), only(found.usage, stated))
            inside = inside and min(getattr(rest, part) for part in stated) >= 0
            inside = inside and low.tokens <= told.usage.total and (open_end or told.usage.total <= high.tokens)
        if told.nano is not None:
            slack = max(self._tolerance.money, int(self._tolerance.money_share * abs(told.nano)))
            inside = inside and low.nano - slack <= told.nano
            inside = inside and (open_end or unpriced or told.nano <= high.nano + slack)
        known = self._rest(found, told, stated) if inside and not edge else None
        others = f"the others are {found.usage.total} tokens and {show_money(found.nano)}"
        says = f"not known for certain: {count} of {found.calls + count} calls; {others}"
        by_plan = None
        if told.usage is not None and canonical(finding.model) != ALL:
            priced = self._prices.of_sum(canonical(finding.model), minus(told.usage, only(found.usage, stated)))
            by_plan = None if priced is None else priced - charged
        finding = msgspec.structs.replace(
            finding,
            verdict=Verdict.UNKNOWN if inside else Verdict.DIFFERENT,
            at_plan=by_plan,
            at_billed=None if told.nano is None else told.nano - found.nano - charged,
            bounds=Bounds(low, None if open_end else high, count, inside),
            causes=(Cause(Why.UNSURE, says), *edge),
        )
        return finding, [] if known is None else [msgspec.structs.replace(known, where=finding.where)]

    def _rest(self, found: Sum, told: Figures, stated: tuple[str, ...]) -> Known | None:
        """One call alone is not sure, and nothing else can account for what is left of the bill."""
        if len(found.unsure) != 1 or told.usage is None or not {"input", "output"} <= set(stated):
            return None
        (record,) = found.unsure
        name, number = canonical(self._name_of(record)), record.started // self._width
        usage = minus(told.usage, only(found.usage, stated))
        # Without any tokens left, perhaps it was not billed, perhaps not yet.
        if name == ALL or not usage.total or told.calls == found.calls or self._close(number, name):
            return None
        nano = self._prices.of_call(name, usage)
        if told.nano is not None and not found.unpriced:
            nano = told.nano - found.nano
        return Known(record=record, usage=usage, nano=nano, basis=Basis.REST, where=())


def _absent(finding: Finding, recorded: Figures) -> Finding:
    return msgspec.structs.replace(
        finding, verdict=Verdict.MISSING_THERE, at_plan=-(recorded.nano or 0) if not recorded.unpriced else None
    )


def _charged(found: Sum) -> Figures:
    return Figures(
        calls=found.calls + len(found.unsure),
        usage=sum((record.usage for record in found.unsure), found.usage),
        nano=found.nano + sum(record.counted for record in found.unsure),
        unpriced=found.unpriced,
    )


def _with(found: Sum | None, records: Sequence[Metered], sign: int) -> Sum:
    """A sum with calls more (1) or less (-1)."""
    base = Sum() if found is None else found
    usage = sum((record.usage for record in records), NO_USAGE)
    return Sum(
        base.calls + sign * len(records),
        base.usage + usage if sign > 0 else minus(base.usage, usage),
        base.nano + sign * sum(record.cost or 0 for record in records),
        base.unpriced + sign * sum(record.cost is None for record in records),
        base.unsure,
    )


def _started(record: Metered) -> Instant:
    return record.started


def _ended(record: Metered) -> Instant:
    return record.started + record.latency_us
