"""What takes long to compute: is it made once, by one thread, however many ask, and how long does who asks wait?"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

V = TypeVar("V")

AGAIN_SECONDS = 2
"""After so long it is worth asking again."""


class BeingComputedError(Exception):
    """What was asked for is being computed; whoever asks again later has it."""

    def __init__(self) -> None:
        super().__init__(f"this is still being computed; ask again in {AGAIN_SECONDS} seconds")


class Kept(Generic[V]):
    """What was made lately, by what it was made of, no more of it than `most`. For any thread.

    Each is made in a thread of its own, so that it is there next time even if nobody waited for it.
    """

    def __init__(self, most: int, patience: float | None = None) -> None:
        """Who asks waits for `patience` seconds; None is until it is made."""
        self._most = most
        self._patience = patience
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Future[V]] = OrderedDict()

    def __contains__(self, asked: Hashable) -> bool:
        """Whether it is there at once."""
        with self._lock:
            found = self._kept.get(asked)
        return found is not None and found.done()

    def get(self, asked: Hashable, make: Callable[[], V]) -> V:
        """What is there, else what `make` makes. Raises what `make` raises, which is not kept; BeingComputedError."""
        with self._lock:
            found = self._kept.get(asked)
            if found is None:
                found = self._kept[asked] = Future()
                threading.Thread(target=self._make, args=(asked, found, make), name="compute", daemon=True).start()
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(asked)
        # Asked apart from its result: it may be done just after nobody waits any more, or itself have run out of time.
        made, _ = wait((found,), self._patience)
        if not made:
            raise BeingComputedError
        return found.result()

    def _make(self, asked: Hashable, into: Future[V], make: Callable[[], V]) -> None:
        try:
            made = make()
        except BaseException as error:  # noqa: BLE001 - whoever asked has it raised
            with self._lock:
                if self._kept.get(asked) is into:
                    del self._kept[asked]
            into.set_exception(error)
        else:
            into.set_result(made)
