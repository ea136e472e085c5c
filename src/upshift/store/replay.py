"""What of a log does the database not have yet that was away while it was kept, and how does it hear of it, once?

An entry is known by what it says: a closing and what follows by its request, a decision by its id, a hold by its
request, moment and amount. So it does not matter how much of the log had reached the database, nor how often it is
told.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise

import msgspec

from upshift.model.budget import NOTHING
from upshift.model.entry import Decision, Entry, Hold, Note, Release, Settle
from upshift.model.ids import RequestId
from upshift.model.metered import Outcome
from upshift.model.span import Instant
from upshift.store.away_log import AwayLog, Sat
from upshift.store.backend import Groups, StoreTroubleError
from upshift.store.draft import ConflictError
from upshift.store.recovery import open_holds
from upshift.store.rows import storable
from upshift.store.writer import LARGEST_GROUP, instead

OutcomeOf = Callable[[RequestId], Outcome | None]
_Said = tuple[RequestId, Instant, int, int]


def tell_log(groups: Groups, outcome_of: OutcomeOf, log: AwayLog, epoch: int, at: Instant) -> int:
    """Write what is missing, with one decision that says so, and clear the log; returns how many entries were missing.

    For whoever has the seat `epoch`, before anything is decided. Raises StoreTroubleError, FencedError.
    """
    if not log.entries:
        return 0
    others = _others(log.seats, epoch)
    told = list(_Missing(groups, outcome_of, log.entries, at, others=others).entries())
    known = _refused(groups, told)
    told = [entry for position, entry in enumerate(told) if position not in known]
    counted = sum((entry.amount for entry in told if isinstance(entry, Settle)), start=NOTHING)
    detail: dict[str, str | int | bool | None] = {
        "entries": len(log.entries),
        "missing": len(told),
        "tokens": counted.tokens,
        "nano": counted.nano,
        "others_decided_meanwhile": others,
        "why": "told by the log of a process that ended while the database was away",
    }
    decided = [Decision(f"store-away/{epoch}/told", at, "store-away", "", "", "system", detail)] if told else []
    to_write = [*told, *decided]
    for begin in range(0, len(to_write), LARGEST_GROUP):
        _write(groups, to_write[begin : begin + LARGEST_GROUP])
    with suppress(StoreTroubleError):
        # What is told once more at the next start changes nothing.
        log.clear()
    return len(told)


def _others(seats: Sequence[Sat], epoch: int) -> bool:
    """Whether somebody else may have been the keeper since."""
    epochs = [seat.epoch for seat in seats] + [epoch] * (not seats or seats[-1].epoch != epoch)
    return len(epochs) < 2 or any(later - earlier != 1 for earlier, later in pairwise(epochs))


class _Missing:
    def __init__(
        self, groups: Groups, outcome_of: OutcomeOf, log: Sequence[Entry], at: Instant, *, others: bool
    ) -> None:
        """With `others`, who presented what was open to them: what those hold then stands, whatever the log says."""
        self._outcome_of = outcome_of
        self._log = log
        self._at = at
        self._others = others
        first: dict[RequestId, Entry] = {}
        for entry in log:
            if isinstance(entry, Hold | Settle | Release | Note):
                first.setdefault(entry.request, entry)
        calls = list(first.values())
        requests = list(first)
        self._closed = {requests[position] for position in _refused(groups, calls)}
        self._held = {found.request: found.held for found in open_holds(groups)}
        self._on_disk = _said(groups, first)
        self._theirs = frozenset(self._held)

    def entries(self) -> Iterator[Entry]:
        """In their order; decisions that are known may be among them."""
        for entry in self._log:
            if isinstance(entry, Hold):
                if self._new(entry):
                    self._held[entry.request] = self._held.get(entry.request, NOTHING) + entry.amount
                    yield entry
            elif not isinstance(entry, Settle | Release | Note):
                yield entry
            elif entry.request not in self._closed:
                self._closed.add(entry.request)
                held = self._held.pop(entry.request, NOTHING)
                yield entry if isinstance(entry, Note) else msgspec.structs.replace(entry, held=held)
            elif isinstance(entry, Settle) and entry.record.outcome is not Outcome.LOST:
                yield from self._late(entry)

    def _new(self, entry: Hold) -> bool:
        request = entry.request
        if request in self._closed:
            return False
        said = (request, entry.at, entry.amount.tokens, entry.amount.nano)
        if self._on_disk[said]:
            self._on_disk[said] -= 1
            return False
        return not (self._others and request in self._theirs)

    def _late(self, entry: Settle) -> Iterator[Decision]:
        """What a call came to that was counted as lost meanwhile."""
        if self._outcome_of(entry.request) is Outcome.LOST:
            detail: dict[str, str | int | bool | None] = {"tokens": entry.amount.tokens, "nano": entry.amount.nano}
            id_ = f"late-closing/{entry.request}"
            yield Decision(id_, self._at, "late-closing", entry.record.tenant, entry.request, "system", detail)


def _said(groups: Groups, requests: Collection[RequestId]) -> Counter[_Said]:
    """The holds on disk of those requests, as far as any of them may be open."""
    held = groups.held_since(groups.tail().low)
    return Counter((each.request, each.at, each.tokens, each.nano) for each in held if each.request in requests)


def _refused(groups: Groups, entries: Sequence[Entry]) -> set[int]:
    found: set[int] = set()
    for begin in range(0, len(entries), LARGEST_GROUP):
        found.update(begin + position for position in groups.refused(entries[begin : begin + LARGEST_GROUP]))
    return found


def _write(groups: Groups, entries: Sequence[Entry]) -> None:
    try:
        groups.write(entries)
    except (ValueError, OverflowError):
        groups.write([storable(entry) for entry in entries])
    except ConflictError as error:
        known = set(groups.refused(entries))
        if not known:
            raise StoreTroubleError(f"what was kept while the database was away cannot be written: {error}") from error
        left = [instead(each, each[0] in known) for each in enumerate(entries)]
        groups.write([each[1] for each in left if each is not None])
