"""Is everybody told when the entry that he waits for is on disk, and not before?"""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upshift.store.ledger import DuplicateRequestError, LedgerUnavailableError
from upshift.store.marks import Marks

steady = settings(deadline=None, derandomize=True, max_examples=100)
small = st.integers(1, 12)


@steady
@given(st.lists(small), st.sets(small), st.lists(small).map(sorted))
def test_whoever_waits_is_told_at_his_mark(waits: list[int], refused: set[int], steps: list[int]) -> None:
    async def run() -> None:
        wanted: list[int] = []
        marks = Marks(60.0, wanted.append)
        waiting = [(mark, marks.reached(mark)) for mark in waits]
        assert wanted == waits
        for mark in refused:
            marks.refuse(mark)
        for durable in steps:
            marks.advance(durable)
            assert [mark for mark, written in waiting if written.done()] == [mark for mark in waits if mark <= durable]
        for mark, written in waiting:
            if written.done():
                assert isinstance(written.exception(), DuplicateRequestError) == (mark in refused)
                # Whoever asks only now hears the same.
                assert (marks.reached(mark).exception() is None) == (mark not in refused)
        assert wanted == waits

    asyncio.run(run())


async def test_one_that_waits_no_more_is_passed_over() -> None:
    marks = Marks(60.0, lambda _: None)
    first, second = marks.reached(1), marks.reached(2)
    first.cancel()
    marks.advance(2)
    assert first.cancelled()
    assert second.result() is None


async def test_at_the_end_nobody_waits() -> None:
    marks = Marks(60.0, lambda _: None)
    waiting = marks.reached(3)
    assert not marks.give_up("the disk is full")
    marks.end("closed")
    for each in (waiting, marks.reached(4)):
        with pytest.raises(LedgerUnavailableError, match="closed"):
            await each
    marks.advance(4)
    assert marks.reached(4).result() is None
