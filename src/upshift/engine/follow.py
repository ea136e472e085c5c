"""Which calls has the ledger taken on since one last looked?"""

from collections.abc import Iterator, Sequence

from upshift.store.journal import Call, Journal

_PAGE = 2_000


def last_call(journal: Journal) -> int:
    """The place of the latest call in the ledger; 0 before the first."""
    calls = journal.calls(limit=1)
    return calls[0].seq if calls else 0


def calls_after(journal: Journal, seq: int, until: int, page: int = _PAGE) -> Iterator[tuple[int, Sequence[Call]]]:
    """The calls beyond the place `seq`, up to `until`, in their order: how far that is now, and what came on the way.

    One reads the ledger in stretches of so many entries: a stretch has no more calls than that, perhaps none.
    """
    while seq < until:
        end = min(seq + page, until)
        found = journal.calls(limit=page, before=end + 1)
        yield end, [call for call in reversed(found) if call.seq > seq]
        seq = end
