"""Which rows, sums and digest does a group of entries come to, whatever database it is written to?"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, filterfalse, repeat
from typing import Any

import msgspec

from upshift.model.budget import NOTHING, Amount, BudgetKey
from upshift.model.entry import Adjust, Alert, Decision, Entry, Grant, Hold, Note, Release, Settle
from upshift.model.ids import RequestId
from upshift.model.metered import Metered
from upshift.store.rows import HOLD, NOTE, RELEASE, SETTLE, Value, deed_row, encode, pack, stored
from upshift.store.schema import BUDGET_COLUMNS, PROFILE_COLUMNS

NO_DIGEST = bytes(32)
_KEPT_BUDGETS = 200_000
_KEPT_PROFILES = 100_000
"""So many ids at most are kept in memory, before budgets are looked up again and profiles are kept once more."""


class ConflictError(Exception):
    """An entry of the group happened before: its request was closed, or its id is known."""


class Tail(msgspec.Struct, frozen=True):
    """The end of the log: the last entry, where open holds may begin, and the digest over all groups so far."""

    last_seq: int
    low: int
    digest: bytes


START = Tail(0, 1, NO_DIGEST)
"""The tail of an empty log."""


def group_digest(
    before: bytes,
    first: int,
    last: int,
    low: int,
    budgets: Sequence[Value],
    profiles: Sequence[Value],
    holds: bytes | None,
    calls: Sequence[Value],
    deeds: Sequence[Value],
) -> bytes:
    """SHA-256 of the digest before and the msgpack of the list of all others, rows as stored and one after another."""
    return hashlib.sha256(before + pack((first, last, low, budgets, profiles, holds, calls, deeds))).digest()


class Draft:
    """A group before it is committed; dropped whole when the transaction fails. Rows come one after another."""

    def __init__(self, tail: Tail) -> None:
        self.tail = tail
        self.first = tail.last_seq + 1
        self.last = tail.last_seq
        self.low = 0
        self.digest = b""
        self.budgets: list[Value] = []
        self.profiles: list[Value] = []
        self.holds: list[tuple[Value, ...]] = []
        self.document: bytes | None = None
        """All holds, as they are kept; None when there are none."""
        self.calls: list[Value] = []
        self.deeds: list[Value] = []
        self.sums: defaultdict[tuple[int, ...], list[int]] = defaultdict([0, 0, 0, 0, 0, 0].copy)
        """Per set of counters: settled tokens and nano, held tokens and nano, granted tokens and nano to add."""
        self.opened: dict[RequestId, int] = {}
        self.closed: set[RequestId] = set()
        self.asked: list[tuple[int, str]] = []
        """Which entries may answer a request in the inbox, with its id."""
        self.decided = False

    def still_open(self) -> list[RequestId]:
        """Those that it opened and does not close."""
        return list(filterfalse(self.closed.__contains__, self.opened))

    def counters(self) -> list[int]:
        """One row per counter: what all the entries of the group together add to it."""
        totals: dict[int, list[int]] = {}
        for budgets, sum_ in self.sums.items():
            for budget in budgets:
                before = totals.get(budget)
                totals[budget] = sum_ if before is None else [a + b for a, b in zip(before, sum_, strict=True)]
        values: list[int] = []
        for budget, total in totals.items():
            values.append(budget)
            values += total
        return values


class Drafter:
    """Makes drafts, and remembers which ids budgets and profiles have and which requests are open."""

    def __init__(self, find_budget: Callable[[BudgetKey], int | None], largest: Callable[[str], int]) -> None:
        """`largest` gives the largest id in a table, 0 for an empty one; both are asked inside the transaction."""
        self._find_budget = find_budget
        self._largest = largest
        self._budgets: dict[BudgetKey, int] = {}
        self._profiles: dict[tuple[Any, ...], tuple[int, tuple[int, ...]]] = {}
        """Ids of a profile and of its budgets. A profile that is not found here is kept once more, which harms none."""
        self._open: dict[RequestId, int] = {}

    def resume(self, opened: Mapping[RequestId, int]) -> None:
        """These requests are open, since those entries."""
        self._open.update(opened)

    def knows(self, key: BudgetKey) -> bool:
        """Whether the id of this budget needs no looking up."""
        return key in self._budgets

    def learn(self, key: BudgetKey, id_: int) -> None:
        self._budgets[key] = id_

    def draft(self, tail: Tail, entries: Sequence[Entry]) -> Draft:
        """Raises ConflictError for a request that the entries themselves hold or close after it was closed."""
        draft = Draft(tail)
        for seq, entry in enumerate(entries, draft.first):
            if isinstance(entry, Hold):
                self._hold(draft, seq, entry)
            elif isinstance(entry, Settle):
                self._call(draft, seq, SETTLE, entry, entry.keys, entry.amount, entry.held)
            elif isinstance(entry, Release):
                self._call(draft, seq, RELEASE, entry, entry.keys, NOTHING, entry.held)
            elif isinstance(entry, Note):
                self._call(draft, seq, NOTE, entry, (), NOTHING, NOTHING)
            else:
                self._deed(draft, seq, entry)
        draft.last = tail.last_seq + len(entries)
        # Both are in the order of seq, and what this group opened comes after what was open before.
        first = next(filterfalse(draft.closed.__contains__, chain(self._open, draft.opened)), None)
        draft.low = draft.last + 1 if first is None else self._open.get(first) or draft.opened[first]
        draft.document = pack(draft.holds) if draft.holds else None
        draft.digest = group_digest(
            tail.digest, draft.first, draft.last, draft.low, draft.budgets, draft.profiles, draft.document,
            draft.calls, draft.deeds,
        )  # fmt: skip
        return draft

    def keep(self, draft: Draft) -> None:
        """The draft is on disk."""
        self._open.update(draft.opened)
        list(map(self._open.pop, draft.closed, repeat(None)))
        if len(self._budgets) > _KEPT_BUDGETS:
            self._budgets.clear()
        if len(self._profiles) > _KEPT_PROFILES:
            self._profiles.clear()

    def drop(self) -> None:
        """A draft was not written: some of these ids may not have come into being."""
        self._budgets.clear()
        self._profiles.clear()

    def unheard(self, draft: Draft) -> list[RequestId]:
        """Requests of a draft that were not open before it, so that they may have been closed long ago."""
        return [*draft.opened, *(each for each in draft.closed if each not in self._open and each not in draft.opened)]

    def _hold(self, draft: Draft, seq: int, entry: Hold) -> None:
        request, amount, opening = entry.request, entry.amount, entry.opening
        if request in draft.closed:
            raise ConflictError("a request was closed before")
        opened = draft.opened
        extends = request in self._open or request in opened
        if not extends:
            opened[request] = seq
        if opening is None:
            opening = Metered(request=request, started=entry.at, plan=entry.plan)
        elif opening.plan != entry.plan:
            opening = msgspec.structs.replace(opening, plan=entry.plan)
        profile, budgets = self._profile(draft, HOLD, entry.keys, opening)
        tokens, nano = amount.tokens, amount.nano
        draft.holds.append((seq, request, profile, entry.at, extends, tokens, nano, opening.started, opening.session))
        sums = draft.sums[budgets]
        sums[2] += tokens
        sums[3] += nano

    def _call(
        self,
        draft: Draft,
        seq: int,
        kind: str,
        entry: Settle | Release | Note,
        keys: tuple[BudgetKey, ...],
        spent: Amount,
        held: Amount,
    ) -> None:
        record, request = entry.record, entry.request
        if request in draft.closed:
            raise ConflictError("a request was closed before")
        draft.closed.add(request)
        profile, budgets = self._profile(draft, kind, keys, record)
        usage = record.usage
        draft.calls += (
            seq, request, profile, record.started, entry.at, record.session, record.upstream_id, usage.input,
            usage.cached, usage.cache_write_5m, usage.cache_write_1h, usage.output, usage.reasoning, record.cost,
            spent.nano, spent.tokens, held.tokens, held.nano, record.latency_us, record.first_byte_us,
            record.overhead_us,
        )  # fmt: skip
        sums = draft.sums[budgets]
        sums[0] += spent.tokens
        sums[1] += spent.nano
        sums[2] -= held.tokens
        sums[3] -= held.nano

    def _deed(self, draft: Draft, seq: int, entry: Adjust | Grant | Alert | Decision) -> None:
        if isinstance(entry, Decision):
            keys: tuple[BudgetKey, ...] = ()
            draft.decided = True
        elif isinstance(entry, Alert):
            keys = (entry.key,)
        else:
            keys = entry.keys
            draft.asked.append((seq, entry.id))
        budgets = tuple(self._budget(draft, key) for key in keys)
        draft.deeds += deed_row(seq, entry, encode(budgets).decode())
        if isinstance(entry, Adjust | Grant):
            sums, at = draft.sums[budgets], 0 if isinstance(entry, Adjust) else 4
            sums[at] += entry.amount.tokens
            sums[at + 1] += entry.amount.nano

    def _profile(
        self, draft: Draft, kind: str, keys: tuple[BudgetKey, ...], record: Metered
    ) -> tuple[int, tuple[int, ...]]:
        """Ids of the profile and of its budgets."""
        # After the keys the end of PROFILE_COLUMNS, from `plan` on, before `stored`.
        name: tuple[Any, ...] = (
            kind, keys, record.plan, record.tenant, record.user, record.tier, record.workload, record.pod,
            record.project, record.agent, record.key, record.dialect, record.streamed, record.requested_model,
            record.served_model, record.provider, record.outcome, record.status, record.bucket, record.reason,
            record.certainty,
        )  # fmt: skip
        found = self._profiles.get(name)
        if found is None:
            fresh = self._largest("profiles") + len(draft.profiles) // len(PROFILE_COLUMNS) + 1
            budgets = tuple(self._budget(draft, key) for key in keys)
            draft.profiles += (fresh, draft.first, kind, encode(budgets).decode(), *map(stored, name[2:]))
            found = self._profiles[name] = fresh, budgets
        return found

    def _budget(self, draft: Draft, key: BudgetKey) -> int:
        known = self._budgets.get(key)
        if known is not None:
            return known
        found = self._find_budget(key)
        if found is None:
            found = self._largest("budgets") + len(draft.budgets) // len(BUDGET_COLUMNS) + 1
            draft.budgets += (
                found, draft.first, key.tenant, key.user, key.workload, key.bucket.value, key.window, key.period,
            )  # fmt: skip
        self._budgets[key] = found
        return found
