"""What does the gate say of a gateway's offer, here where the balances are?"""

from collections.abc import Callable, Sequence

from upshift.model.budget import BudgetKey
from upshift.model.refusal import LedgerDown
from upshift.model.span import Instant
from upshift.store.ledger import Admit, Deny, Read, Wait
from upshift.traffic.gate import Crowded, Fare, Fit, Full, admit

_NO = Deny(LedgerDown(retry_seconds=0))
"""The gateway words its refusals itself; this one is never shown."""


class Ruling:
    """The rule of one offer. Good until `until` by `now`, the keeper's own clock."""

    __slots__ = ("_fares", "_keys", "_now", "_until", "verdict")

    def __init__(
        self, fares: Sequence[Fare], keys: Sequence[tuple[BudgetKey, ...]], until: Instant, now: Callable[[], Instant]
    ) -> None:
        """`keys` are those of each fare's claims."""
        self._fares = fares
        self._keys = keys
        self._until = until
        self._now = now
        self.verdict: Fit | Crowded | Full | None = None
        """What the gate said last; None when the offer's time had passed."""

    def __call__(self, read: Read, may_wait: bool) -> Admit | Wait | Deny:
        if self._now() >= self._until:
            self.verdict = None
            return _NO
        verdict = self.verdict = admit(self._fares, read, may_wait)
        if isinstance(verdict, Fit):
            return Admit(verdict.step, self._keys[verdict.step], verdict.amount)
        if may_wait and isinstance(verdict, Crowded):
            return Wait(verdict.key)
        return _NO

    def place_of(self, full: Full) -> tuple[int, int]:
        """Which fare, and which of its claims, was closed."""
        for number, fare in enumerate(self._fares):
            for place, claim in enumerate(fare.claims):
                if claim is full.claim:
                    return number, place
        raise LookupError("a claim of no fare")
