"""What do a gateway and the keeper say to each other, and how is it framed?

A frame is four bytes of length, most significant first, and a msgpack list of messages: all that was to be said in one
turn of the event loop. Fields may be added at the end of a message with a default; anything else is a new VERSION.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

from upshift.model.budget import Amount, Balance, BudgetKey, Claim
from upshift.model.entry import Adjust, Alert, Decision, Grant
from upshift.model.ids import PlanHash, RequestId
from upshift.model.metered import Metered
from upshift.model.pool import Place, Pool, PoolUse, Shortage
from upshift.model.span import Instant

VERSION = 1
LARGEST_FRAME = 256 * 1024 * 1024
"""Bytes. A gateway that resumes presents all that it has open in one frame."""
LARGEST_GREETING = 4096
"""Bytes of a frame from somebody who has not shown yet that it knows the secret."""

State: TypeAlias = tuple[int, int, int, int, int, int]
"""A balance: settled, held and granted, tokens and nano-dollars of each."""


class _Message(msgspec.Struct, array_like=True, frozen=True):
    """Said in either direction; a list on the wire, its tag first."""


# Greetings: challenge, hello, welcome. Either side hangs up on a proof that is wrong.


class Challenge(_Message, frozen=True, tag=1, gc=False):
    """The keeper, first of all."""

    version: int
    nonce: bytes


class Hello(_Message, frozen=True, tag=2, gc=False):
    """The gateway. `who` is the random name of its process, the same in every connection."""

    version: int
    who: bytes
    nonce: bytes
    proof: bytes


class Welcome(_Message, frozen=True, tag=3, gc=False):
    """The keeper. It forgets a gateway that it has not heard for `resume_seconds`."""

    proof: bytes
    resume_seconds: float


# From the gateway. Numbered messages are kept, and said again after a break, until they are known to be on disk.


class Learn(_Message, frozen=True, tag=10):
    """From now on, in this connection, these claims are called `number`."""

    number: int
    claims: tuple[Claim, ...]


class Presented(_Message, frozen=True, gc=False):
    """A call that was let in, and whose closing is not known to be on disk."""

    request: RequestId
    plan: PlanHash
    claims: int
    step: int
    amount: Amount
    """All that it holds."""
    output: int
    room: int
    opening: Metered | None


class Resume(_Message, frozen=True, tag=11):
    """The first message of a connection but for what it refers to: all that the gateway has open."""

    open: list[Presented]


class Priced(_Message, frozen=True, gc=False):
    """A Fare."""

    claims: int
    input: int
    input_rate: int
    output_rate: int
    wanted: int
    enough: int
    choices: int
    least: int


class Decide(_Message, frozen=True, tag=12):
    """May this call spend? Good for so many microseconds; it waits for its turn at most `patience` seconds."""

    request: RequestId
    plan: PlanHash
    fares: tuple[Priced, ...]
    good_for: int
    patience: float
    opening: Metered | None
    again: bool
    """Whether a keeper may have heard it before, and have let it in."""


class Extend(_Message, frozen=True, tag=13, gc=False):
    """May this call hold more? `held` is what the gateway knows that it holds."""

    request: RequestId
    claims: int
    output_rate: int
    want: int
    grace: int
    held: Amount
    at: Instant


class Settle(_Message, frozen=True, tag=14, gc=False):
    number: int
    request: RequestId
    at: Instant
    amount: Amount
    record: Metered


class Release(_Message, frozen=True, tag=15, gc=False):
    number: int
    request: RequestId
    at: Instant
    record: Metered


class Note(_Message, frozen=True, tag=16, gc=False):
    number: int
    at: Instant
    record: Metered


class Append(_Message, frozen=True, tag=17):
    number: int
    entry: Adjust | Grant | Alert | Decision


class Withdraw(_Message, frozen=True, tag=18, gc=False):
    """Nobody waits for the answer to a Decide any more: out of the queue, and nothing is to be held for it."""

    number: int
    request: RequestId
    at: Instant


class Refresh(_Message, frozen=True, tag=19):
    """What are the balances of these counters?"""

    id: int
    keys: tuple[BudgetKey, ...]


class Ping(_Message, frozen=True, tag=20, gc=False):
    """The gateway lives; `at` is its own clock's."""

    at: float


class Bye(_Message, frozen=True, tag=21, gc=False):
    """The gateway has ended; what it has open is lost."""


class Want(_Message, frozen=True, tag=23, gc=False):
    """Somebody waits for entry `mark` to be on disk. Not said of numbered messages, which somebody always waits for."""

    mark: int


class Forget(_Message, frozen=True, tag=22, gc=False):
    """No claims that were learnt so far are referred to any more."""


class KnowPools(_Message, frozen=True, tag=24):
    """The capacity pools of this gateway's plan."""

    pools: list[Pool]


class Seat(_Message, frozen=True):
    """A call that has a place."""

    pool: Pool
    place: Place


class Seated(_Message, frozen=True, tag=25):
    """All calls of this gateway that have a place, and all that wait for one. Said before Resume."""

    held: list[Seat]
    asked: list[RequestId]


class Enter(_Message, frozen=True, tag=26):
    """May this call have a place? `spec` is the pool where it is not that of the plan."""

    pool: str
    place: Place
    spec: Pool | None


class Leave(_Message, frozen=True, tag=27, gc=False):
    """A call has ended with so many tokens (None: nothing was sent), or does not wait for a place any more."""

    request: RequestId
    used: int | None


class Look(_Message, frozen=True, tag=28, gc=False):
    """How full are the pools?"""

    id: int


# From the keeper


class Admitted(_Message, frozen=True, tag=40, gc=False):
    """Let in; the hold is entry `mark`. `states` are those of its fare's claims, in their order."""

    request: RequestId
    mark: int
    step: int
    amount: Amount
    output: int
    room: int
    states: list[State]


class Kept(_Message, frozen=True, tag=41, gc=False):
    """A call that was presented holds what it did; the hold is entry `mark` (0: on disk)."""

    request: RequestId
    mark: int


class Crowd(_Message, frozen=True, tag=42):
    """There is room but for the holds of others, and waiting is over."""

    request: RequestId
    key: BudgetKey


class Filled(_Message, frozen=True, tag=43, gc=False):
    """No way is open: claim number `claim` of fare number `fare` closed it."""

    request: RequestId
    fare: int
    claim: int
    state: State
    measure: str
    needed: int


class Stale(_Message, frozen=True, tag=44, gc=False):
    """The offer's time had passed when its turn came."""

    request: RequestId


class Duplicate(_Message, frozen=True, tag=45, gc=False):
    """The request was closed before."""

    request: RequestId


class Unavailable(_Message, frozen=True, tag=46, gc=False):
    request: RequestId
    why: str


class Granted(_Message, frozen=True, tag=47, gc=False):
    """The answer to Extend: all that the call holds now."""

    request: RequestId
    held: Amount
    states: list[State]


class Durable(_Message, frozen=True, tag=48, gc=False):
    """On disk are numbered messages up to `number` and entries up to `mark`, and so the balances changed to this."""

    number: int
    mark: int
    states: list[tuple[int, list[State]]]
    """By the number of the claims."""


class Barred(_Message, frozen=True, tag=49, gc=False):
    """Of a request that was closed long ago: its hold (0) or numbered message is not on disk and will never be."""

    request: RequestId
    number: int


class Fresh(_Message, frozen=True, tag=50, gc=False):
    """The answer to Refresh."""

    id: int
    states: list[State]


class Pong(_Message, frozen=True, tag=51, gc=False):
    """The answer to Ping, with its own `at`. `trouble` says why nothing can be decided now; empty when it can.

    `away` says why entries go to the keeper's own disk instead of the database; empty while they do not.
    """

    at: float
    trouble: str
    away: str = ""


class Entered(_Message, frozen=True, tag=52, gc=False):
    """The call has its place until it leaves."""

    request: RequestId


class TurnedAway(_Message, frozen=True, tag=53, gc=False):
    """The call has no place."""

    request: RequestId
    shortage: Shortage


class Uses(_Message, frozen=True, tag=54):
    """The answer to Look."""

    id: int
    uses: list[PoolUse]


Numbered: TypeAlias = Settle | Release | Note | Append | Withdraw
OfPools: TypeAlias = KnowPools | Seated | Enter | Leave | Look
ToKeeper: TypeAlias = (
    Hello | Learn | Resume | Decide | Extend | Numbered | Refresh | Ping | Bye | Forget | Want | OfPools
)
ToGateway: TypeAlias = (
    Challenge
    | Welcome
    | Admitted
    | Kept
    | Crowd
    | Filled
    | Stale
    | Duplicate
    | Unavailable
    | Granted
    | Durable
    | Barred
    | Fresh
    | Pong
    | Entered
    | TurnedAway
    | Uses
)

read_as_keeper = msgspec.msgpack.Decoder(list[ToKeeper]).decode
"""Raises msgspec.MsgspecError for what is not a list of messages."""
read_as_gateway = msgspec.msgpack.Decoder(list[ToGateway]).decode
_encode = msgspec.msgpack.Encoder().encode
_LENGTH = struct.Struct(">I")


def frame(messages: Sequence[ToKeeper] | Sequence[ToGateway]) -> bytes:
    """Messages as they go over the wire."""
    body = _encode(messages)
    return _LENGTH.pack(len(body)) + body


class FrameError(Exception):
    """Bytes that are not a frame of ours."""


class Frames:
    """A push parser: bytes in as they come, bodies of whole frames out."""

    def __init__(self, largest: int = LARGEST_GREETING) -> None:
        self.largest = largest
        """Bytes; a longer frame is an error."""
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """The frames that are complete now. Raises FrameError when one is too long to be meant."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, end = 0, len(data)
        view = memoryview(data)
        while end - at >= 4:
            (length,) = _LENGTH.unpack_from(data, at)
            if length > self.largest:
                raise FrameError(f"a frame of {length} bytes")
            if end - at - 4 < length:
                break
            at += 4 + length
            yield view[at - length : at]
        self._rest = data[at:]


def state_of(balance: Balance) -> State:
    """A balance as it goes over the wire."""
    settled, held, granted = balance.settled, balance.held, balance.granted
    return settled.tokens, settled.nano, held.tokens, held.nano, granted.tokens, granted.nano


def balance_from(state: State) -> Balance:
    """A balance as it came over the wire."""
    return Balance(Amount(state[0], state[1]), Amount(state[2], state[3]), Amount(state[4], state[5]))
