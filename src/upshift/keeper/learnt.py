"""Which claims do gateway and keeper call by a number, so that a call costs few bytes?"""

from upshift.model.budget import Claim

MOST = 50_000
"""So many are remembered at most; then all are forgotten, on both sides, and learnt anew as they come."""


class Learnt:
    """Claims, the counters they name, and their number in the connection at hand."""

    __slots__ = ("claims", "keys", "number")

    def __init__(self, number: int, claims: tuple[Claim, ...]) -> None:
        self.number = number
        self.claims = claims
        self.keys = tuple(claim.key for claim in claims)


class Vocabulary:
    """The gateway's side. Numbers are never used twice, so that one which was forgotten means nothing."""

    __slots__ = ("_by_number", "_count", "_known")

    def __init__(self) -> None:
        self._count = 0
        # Known by identity: the tuple is kept, so its id is nobody else's. A call's claims are those of an account.
        self._known: dict[int, Learnt] = {}
        self._by_number: dict[int, Learnt] = {}

    def known(self, claims: tuple[Claim, ...]) -> Learnt | None:
        """What the keeper calls these very claims."""
        return self._known.get(id(claims))

    def numbered(self, number: int) -> Learnt | None:
        """The claims of a number."""
        return self._by_number.get(number)

    @property
    def full(self) -> bool:
        return len(self._known) >= MOST

    def learn(self, claims: tuple[Claim, ...]) -> Learnt:
        """Give these claims a number. The keeper has to be told."""
        self._count += 1
        learnt = self._known[id(claims)] = self._by_number[self._count] = Learnt(self._count, claims)
        return learnt

    def forget(self) -> None:
        """The keeper knows none of them, or not any more."""
        self._known.clear()
        self._by_number.clear()
