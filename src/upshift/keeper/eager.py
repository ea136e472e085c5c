"""How is a coroutine that seldom has to wait run without a task of its own?"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Running(Generic[T]):
    """A coroutine that was started with `send(None)` and yielded a future; goes on when that is there.

    `ended` is called once with what it returned or raised; not after `cancel`.
    """

    __slots__ = ("_cancelled", "_coroutine", "_ended", "_waits_for")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        waits_for: asyncio.Future[Any],
        ended: Callable[[T | Exception], object],
    ) -> None:
        self._coroutine = coroutine
        self._ended = ended
        self._cancelled = False
        self._wait(waits_for)

    def _wait(self, waits_for: asyncio.Future[Any]) -> None:
        self._waits_for = waits_for
        waits_for.add_done_callback(self._go_on)

    def _go_on(self, _: asyncio.Future[Any]) -> None:
        if self._cancelled:
            # What it waited for was there already, and this call on its way.
            return
        try:
            waits_for = self._coroutine.send(None)
        except StopIteration as returned:
            self._ended(returned.value)
        except Exception as error:  # noqa: BLE001 - whoever runs it decides what that means
            self._ended(error)
        else:
            self._wait(waits_for)

    def cancel(self) -> None:
        """Raise CancelledError in it, now. It may not go on waiting after that. Not for one that has ended."""
        self._cancelled = True
        self._waits_for.remove_done_callback(self._go_on)
        try:
            self._coroutine.throw(asyncio.CancelledError())
        except (asyncio.CancelledError, StopIteration):
            return
        raise RuntimeError("a coroutine went on waiting after it was cancelled")


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that does not wait. Raises what it raises."""
    try:
        coroutine.send(None)
    except StopIteration as returned:
        result: T = returned.value
        return result
    raise RuntimeError("a coroutine waited that should not have to")
