"""What is tried next when a provider fails: another route, the same one after a pause, or nothing?

A generator yields what to do and is sent what happened, until it has nothing more to do. A call is only sent again
where it cannot have been billed, or as far as the plan takes the risk; never once its client has seen a byte.
"""

from collections.abc import Generator, Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec

from upshift.model.span import MICROS, Instant
from upshift.traffic.health import Board, State, Verdict
from upshift.traffic.snapshot import Routing, Unsure
from upshift.traffic.targets import SAME_MODEL, SAME_TIER, Target

MOST = 8
"""No call is tried more often, whatever the plan says."""
SHORT_PAUSE = 1.0
"""Seconds that are rather waited for the same model than gone on without."""
LONGEST_PAUSE = 20.0
"""Seconds; who is told to come back later than that is told to go."""
LEAST_SECONDS = 0.05
"""No attempt is begun with less time left."""
RETRIED = "retried"
FAILOVER = "failover"
HEDGED = "hedged"

_FIRST_BACKOFF = 0.25
_TRY_AGAIN = frozenset({429, 500, 502, 503, 529})
"""A provider that says so has not served the call, and bills nothing."""
_ELSEWHERE = frozenset({401, 402, 403, 404})
"""It is not us whom this provider serves, or not with this model: no use in asking it again, but others may."""
UNSURE = frozenset({408, 504})
"""Something gave up waiting for an answer that may have been made, and billed."""
_DOWN = frozenset({502, 503, 504, 529})
CLIENT_LEFT: Literal["client-left"] = "client-left"
"""The trouble of an attempt that was ended because nobody waits for it any more."""
_OUR_OWN = frozenset({"pool_timeout", "total_timeout", "too_large", "not-configured", CLIENT_LEFT})
"""Troubles that say nothing of the provider."""
_NOT_AGAIN = frozenset({"not-configured"})


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt, by the first byte of an answer: a status, a trouble, or that there is none yet.

    `target` says of which one where two are in flight. `seconds` is how long it took to get there.
    """

    now: Instant
    target: Target | None = None
    status: int = 0
    retry_after: float | None = None
    trouble: str = ""
    """Its kind, like connect or first_byte_timeout."""
    request_sent: bool = True
    cut: bool = False
    """The connection ended before anything that was generated had come."""
    silent: bool = False
    """For the second half of the wait the provider said nothing to anybody, though others waited all along."""
    first_byte_seen: bool = False
    unfit: str = ""
    """Why this target cannot be sent the call after all, as a code; nothing was sent."""
    slow: bool = False
    """Nothing has come of any attempt for as long as the plan waits before it hedges."""
    seconds: float = 0.0


class Tried(msgspec.Struct, frozen=True):
    """An attempt that is over. `unsure`: it may have been billed, though nobody has seen an answer."""

    target: Target
    what: str
    unsure: bool


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """Wait `pause` seconds, then send to `target`, and wait at most `seconds` for the first byte of an answer.

    It takes over the hold of the attempt before, which was not billed. With `holds_anew` there is none to take over:
    the one before may have been billed, or is still in flight. Then this one needs a hold of its own.
    """

    target: Target
    number: int
    pause: float
    seconds: float
    hedge_after: float | None
    holds_anew: bool
    trail: tuple[Tried, ...]


class KeepWaiting(msgspec.Struct, frozen=True):
    """Nothing is begun; an attempt is still in flight."""


class Done(msgspec.Struct, frozen=True):
    """The answer of `target` goes on to the client. `left` are still in flight: cancel them, they may be billed."""

    target: Target
    trail: tuple[Tried, ...]
    left: tuple[Target, ...]
    number: int = 1
    """Which attempt it was, in the order they were begun."""
    hedge: bool = False
    """It was begun beside another attempt."""


class GiveUp(msgspec.Struct, frozen=True):
    """There is nothing more to try; `why` is a code. `retry_after` is in how many seconds a route may be open again."""

    why: str
    trail: tuple[Tried, ...]
    retry_after: float | None
    left: tuple[Target, ...] = ()


Step: TypeAlias = Try | KeepWaiting | Done | GiveUp


def course(
    targets: Sequence[Target],
    routing: Routing,
    board: Board,
    now: Instant,
    deadline: Instant | None,
    chance: float,
    made: Happened | None = None,
) -> Generator[Step, Happened, None]:
    """The attempts of one call, over after Done or GiveUp. What they say of the providers goes on the board.

    `chance` in [0, 1) spreads the pauses. `made` is what came of a first attempt, at the first target, that was made
    without asking. Close it when the client has left.
    """
    run = _Run(targets, routing, board, deadline, chance)
    try:
        step = run.next(now) if made is None else run.resume(made)
        while not isinstance(step, (Done, GiveUp)):
            step = run.after((yield step))
        yield step
    finally:
        run.drop()


def reason_of(done: Done) -> str:
    """The code that says why a call was not served where it was first sent: retried, or failover and its step."""
    if done.number == 1:
        return ""
    if not done.trail:
        return HEDGED
    step = done.target.step
    if step == SAME_MODEL:
        first = done.trail[0].target.provider.id
        return RETRIED if done.target.provider.id == first else f"{FAILOVER}:{SAME_MODEL}"
    return f"{FAILOVER}:{step if step == SAME_TIER else 'tier ' + step}"


def said(trail: Iterable[Tried]) -> str:
    """'openai status-503, azure connect': the attempts before, for a header and the record."""
    return ", ".join(f"{each.target.provider.id} {each.what}" for each in trail)


def may_be_billed(happened: Happened) -> bool:
    """Whether an attempt that failed may have been served all the same, and billed."""
    if happened.trouble:
        return happened.request_sent
    return happened.status in UNSURE


def not_billed(happened: Happened) -> bool:
    """Whether the provider cannot have billed the call, and another try may go better."""
    if happened.unfit or (happened.trouble and not happened.request_sent):
        return True
    return not happened.trouble and (happened.status in _TRY_AGAIN or happened.status in _ELSEWHERE)


def asked_seconds(*said: bytes | None) -> float | None:
    """How long a client waits, by the headers of its SDK; None where none says so. The shortest counts."""
    least: float | None = None
    for value in said:
        if value is None:
            continue
        try:
            seconds = float(value)
        except ValueError:
            continue
        if 0 < seconds < 86_400 and (least is None or seconds < least):
            least = seconds
    return least


class _Run:
    """One call on its way through its targets."""

    def __init__(
        self, targets: Sequence[Target], routing: Routing, board: Board, deadline: Instant | None, chance: float
    ) -> None:
        self.targets = targets
        self.routing = routing
        self.board = board
        self.deadline = deadline
        self.chance = chance
        self.most = min(MOST, len(targets) + routing.retries)
        self.retries = routing.retries
        self.trail: list[Tried] = []
        self.number = 0
        self.in_flight: dict[Target, bool] = {}
        """Whether each is the trial of its provider."""
        self.given: dict[Target, float] = {}
        """How many seconds each had at its last try."""
        self.numbers: dict[Target, int] = {}
        """Which attempt that was."""
        self.fresh = list(targets)
        self.again: dict[Target, Instant] = {}
        """Those that may be sent the call again, from when on."""
        self.hedge: Target | None = None
        self.risked = False
        """It has gone on once though it may have been billed."""
        self.over = ""
        """Why nothing more may be begun; empty while something may."""

    # what happened ------------------------------------------------------------------------------------------------

    def resume(self, made: Happened) -> Step:
        first = self.targets[0]
        self.fresh.remove(first)
        self.number = self.numbers[first] = 1
        self.given[first] = self._left(made.now) + made.seconds
        self.in_flight[first] = False
        self.board.sent(first.provider.id)
        return self.after(msgspec.structs.replace(made, target=first))

    def after(self, happened: Happened) -> Step:
        if happened.slow:
            return self._hedge(happened.now)
        target = happened.target or next(reversed(self.in_flight))
        trial = self.in_flight.pop(target)
        self.board.end(target.model, self._verdict(target, happened), happened.now, trial=trial)
        if happened.status == 429 or (happened.status == 503 and happened.retry_after is not None):
            self.board.rest(target.model, happened.now, happened.retry_after)
        if _answered(happened):
            self.board.quick(target.model, happened.seconds)
        unsure = may_be_billed(happened)
        over = happened.first_byte_seen or (unsure and not self._is_worth_it(target, happened))
        if not (over or unsure or not_billed(happened)):
            number = self.numbers[target]
            return Done(target, tuple(self.trail), tuple(self.in_flight), number, target == self.hedge)
        self.trail.append(Tried(target, _what(happened), unsure))
        if happened.trouble == CLIENT_LEFT:
            self.over = CLIENT_LEFT
        elif over:
            self.over = "may-have-been-billed" if unsure else "broke-off"
        elif unsure and self.routing.retry_unsure is Unsure.OUTAGE:
            # Only on another route: what cut an answer off here may well do so again.
            self.risked = True
        elif self._is_repeatable(happened):
            self.again[target] = happened.now + int((happened.retry_after or 0.0) * MICROS)
        return KeepWaiting() if self.in_flight else self.next(happened.now)

    def drop(self) -> None:
        """What is in flight ends without a verdict."""
        for target, trial in self.in_flight.items():
            self.board.end(target.model, Verdict.NOTHING, 0, trial=trial)
        self.in_flight.clear()

    def _verdict(self, target: Target, happened: Happened) -> Verdict:
        if happened.trouble == "first_byte_timeout" and self.given[target] < target.provider.timeouts.first_byte:
            # A client without patience says something of itself; of the provider only where that is usually quicker.
            slow = self.board.pace(target.model).slow
            return Verdict.SHAKY if 0 < slow < self.given[target] else Verdict.NOTHING
        return _verdict(happened)

    def _is_worth_it(self, target: Target, happened: Happened) -> bool:
        """Whether the plan takes the risk that a call which may have been billed is billed once more."""
        match self.routing.retry_unsure:
            case Unsure.NEVER:
                return False
            case Unsure.OUTAGE:
                return not self.risked and (happened.cut or self._is_in_vain(target, happened))
            case Unsure.ALWAYS:
                return True

    def _is_in_vain(self, target: Target, happened: Happened) -> bool:
        """Whether nobody is answered there, so that it is not just this answer that takes long."""
        if happened.trouble != "first_byte_timeout":
            return False
        # Also between its pauses: until a trial is answered nobody is, and a trial takes as long as any other call.
        circuit = self.board.circuit(target.provider.id)
        return happened.silent or circuit.state(happened.now) is not State.CLOSED

    def _is_repeatable(self, happened: Happened) -> bool:
        return happened.status not in _ELSEWHERE and not happened.unfit and happened.trouble not in _NOT_AGAIN

    # what next ----------------------------------------------------------------------------------------------------

    def next(self, now: Instant) -> Step:
        """The first route of the earliest stage that is open; one that has failed only where waiting is worth it."""
        if self.over:
            return self._give_up(self.over, now)
        if self.number >= self.most:
            return self._give_up("no-tries-left", now)
        if self._left(now) < LEAST_SECONDS:
            return self._give_up("deadline", now)
        ready = [target for target in self.fresh if self._ready(target, now)]
        for stage in sorted({target.stage for target in self.targets}):
            first = next((target for target in ready if target.stage == stage), None)
            if first is not None:
                return self._try(first, now, 0.0)
            later = any(target.stage > stage for target in ready)
            found = self._again(stage, now, SHORT_PAUSE if later else LONGEST_PAUSE)
            if found is not None:
                return self._try(*found)
        if not self.trail:
            # All rest, as they were asked to. One that is tried all the same says more than we could.
            resting = [target for target in self.fresh if self._open(target, now)]
            if resting:
                return self._try(min(resting, key=lambda each: self.board.pace(each.model).rests_until), now, 0.0)
        return self._give_up("every-route-failed" if self.trail else "no-route-open", now)

    def _again(self, stage: int, now: Instant, patience: float) -> tuple[Target, Instant, float] | None:
        if not self.retries:
            return None
        backoff = _FIRST_BACKOFF * 2 ** max(0, len(self.trail) - 1) * (0.5 + self.chance / 2)
        for target, since in self.again.items():
            pause = max(backoff, (since - now) / MICROS)
            if (
                target.stage == stage
                and pause <= patience
                and pause + LEAST_SECONDS < self._left(now)
                and self._open(target, now)
                and self.board.may_repeat(target.provider.id)
            ):
                return target, now, pause
        return None

    def _try(self, target: Target, now: Instant, pause: float) -> Try:
        repeat = target in self.again
        seconds = min(target.provider.timeouts.first_byte, self._left(now) - pause)
        hedge = bool(self.in_flight)
        if repeat:
            self.retries -= 1
            del self.again[target]
        else:
            self.fresh.remove(target)
        self.number += 1
        self.given[target] = seconds
        self.numbers[target] = self.number
        self.in_flight[target] = self.board.begin(target.model, now, pause + seconds, repeat=repeat)
        return Try(
            target=target,
            number=self.number,
            pause=pause,
            seconds=seconds,
            hedge_after=None if self.hedge is not None or not self.fresh else self.routing.hedge_after,
            holds_anew=hedge or self.hedge is not None or bool(self.trail and self.trail[-1].unsure),
            trail=tuple(self.trail),
        )

    def _hedge(self, now: Instant) -> Step:
        """A second route beside the first, once, of the same model: a hedge buys time, not another answer."""
        stages = {target.stage for target in self.in_flight}
        ready = [target for target in self.fresh if target.stage in stages and self._ready(target, now)]
        if (
            self.over
            or self.hedge is not None
            or not ready
            or self.number >= self.most
            or self._left(now) < LEAST_SECONDS
        ):
            return KeepWaiting()
        self.hedge = ready[0]
        return self._try(ready[0], now, 0.0)

    def _ready(self, target: Target, now: Instant) -> bool:
        return self._open(target, now) and self.board.pace(target.model).rests_until <= now

    def _open(self, target: Target, now: Instant) -> bool:
        return self.board.circuit(target.provider.id).state(now) in (State.CLOSED, State.HALF_OPEN)

    def _left(self, now: Instant) -> float:
        """Seconds."""
        return float("inf") if self.deadline is None else (self.deadline - now) / MICROS

    def _give_up(self, why: str, now: Instant) -> GiveUp:
        opens = [self._opens(target) for target in self.targets]
        wait = max(0.0, (min(opens, default=now) - now) / MICROS)
        return GiveUp(why, tuple(self.trail), wait or None, tuple(self.in_flight))

    def _opens(self, target: Target) -> Instant:
        circuit = self.board.circuit(target.provider.id)
        return max(circuit.until, circuit.trial_until, self.board.pace(target.model).rests_until)


def _answered(happened: Happened) -> bool:
    return 200 <= happened.status < 300


def _verdict(happened: Happened) -> Verdict:
    if happened.unfit or happened.trouble in _OUR_OWN:
        return Verdict.NOTHING
    if happened.trouble or happened.status in _DOWN:
        return Verdict.DOWN
    return Verdict.SHAKY if happened.status >= 500 else Verdict.WELL


def _what(happened: Happened) -> str:
    return happened.unfit or happened.trouble or f"status-{happened.status}"
