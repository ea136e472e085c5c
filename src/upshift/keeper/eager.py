"""How is a coroutine that seldom has to wait run without a task of its own?"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Running(Generic[T]):
    """A coroutine, run up to where it waits at once, and further when that is there. For one event loop.

    `ended` is called once with what it returned or raised, before the constructor returns if it never waits; not
    after `cancel`.
    """

    __slots__ = ("_coroutine", "_ended", "_loop", "_waits_for", "done")

    def __init__(self, coroutine: Coroutine[Any, Any, T], ended: Callable[[T | Exception], object]) -> None:
        self._coroutine = coroutine
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._waits_for: asyncio.Future[Any] | None = None
        self.done = False
        self._go_on(None)

    def _go_on(self, _: object) -> None:
        if self.done:
            return
        try:
            waits_for = self._coroutine.send(None)
        except StopIteration as returned:
            self._end(returned.value)
        except Exception as error:  # noqa: BLE001 - whoever runs it decides what that means
            self._end(error)
        else:
            self._waits_for = waits_for
            if waits_for is None:
                self._loop.call_soon(self._go_on, None)
            else:
                waits_for.add_done_callback(self._go_on)

    def _end(self, result: T | Exception) -> None:
        self.done = True
        self._ended(result)

    def cancel(self) -> None:
        """Raise CancelledError in it, now. It may not go on waiting after that."""
        if self.done:
            return
        self.done = True
        if self._waits_for is not None:
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
