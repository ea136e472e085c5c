"""What was in flight when the last process died, and how are its books closed?"""

import heapq
from collections.abc import Iterator, Sequence
from operator import itemgetter

import msgspec

from upshift.model.budget import NOTHING, Amount, BudgetKey
from upshift.model.entry import Decision, Entry, Settle
from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.model.span import Instant
from upshift.store.backend import Groups
from upshift.store.ledger import Recovered
from upshift.store.rows import Held, lost_record

NONE_RECOVERED = Recovered((), NOTHING)


class Found(msgspec.Struct, frozen=True):
    """A request that somebody opened and nobody closed; `held` is what it holds with its extensions."""

    request: RequestId
    at: Instant
    keys: tuple[BudgetKey, ...]
    held: Amount
    opening: Metered


def open_holds(groups: Groups) -> Sequence[Found]:
    """What is open on disk, in the order of opening; `groups` goes on from there. Raises StoreTroubleError."""
    low = groups.tail().low
    found: dict[str, tuple[Held, Amount]] = {}
    for _, held, closed in heapq.merge(_held(groups, low), _closed(groups, low), key=itemgetter(0)):
        if held is None:
            found.pop(closed, None)
        else:
            first, amount = found.get(held.request, (held, NOTHING))
            found[held.request] = first, amount + Amount(held.tokens, held.nano)
    groups.resume({first.request: first.seq for first, _ in found.values()})
    openings = groups.openings([first for first, _ in found.values()])
    return [
        Found(first.request, first.at, keys, amount, opening)
        for (first, amount), (keys, opening) in zip(found.values(), openings, strict=True)
    ]


def _held(groups: Groups, low: int) -> Iterator[tuple[int, Held | None, str]]:
    return ((held.seq, held, "") for held in groups.held_since(low))


def _closed(groups: Groups, low: int) -> Iterator[tuple[int, Held | None, str]]:
    return ((seq, None, request) for seq, request in groups.closed_since(low))


def recover(groups: Groups, at: Instant) -> Recovered:
    """Settle every open hold at what it held and mark it LOST, with one decision that says so.

    A hold that never reached the disk was never acknowledged, so there is nothing to close.
    """
    last = groups.tail().last_seq
    found = open_holds(groups)
    total = sum((each.held for each in found), start=NOTHING)
    entries: list[Entry] = [lost(each, at) for each in found]
    if entries:
        entries.append(
            Decision(
                id=f"recovery/{last}",
                at=at,
                kind="recovery",
                tenant="",
                subject="",
                by="system",
                detail={"calls": len(found), "tokens": total.tokens, "nano": total.nano},
            )
        )
        groups.write(entries)
    return Recovered(tuple(each.request for each in found), total)


def lost(found: Found, at: Instant) -> Settle:
    """The closing of a call that nobody can tell the end of: counted at its hold."""
    record = lost_record(found.request, found.at, found.opening.plan, found.keys, found.held, found.opening)
    return Settle(found.request, at, found.keys, found.held, found.held, record)
