"""How does a call reach a provider that answers it, and who is charged for the attempts before and beside it?"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upshift.gateway.bid import Bid
from upshift.gateway.call import MissingSecretError
from upshift.gateway.opening import LARGEST_ANSWER, opened, read
from upshift.gateway.request import Request, ready
from upshift.gateway.story import Story
from upshift.http.client import Response, Trouble
from upshift.model.metered import Outcome
from upshift.model.refusal import NoneOpen, Refused
from upshift.model.span import MICROS, Instant
from upshift.traffic import attempts, meter
from upshift.traffic.attempts import CLIENT_LEFT, Done, GiveUp, Happened, KeepWaiting, Step, Tried, Try
from upshift.traffic.health import State, Verdict
from upshift.traffic.route import Ways
from upshift.traffic.targets import Target
from upshift.traffic.wire.ask import Ask

if TYPE_CHECKING:
    from upshift.gateway.flow import Flow

OVERTAKEN = "overtaken"
"""Another attempt answered first; this one was cut off, and may be billed."""
CANNOT_CARRY = "cannot-carry"
NO_BUDGET = "no-budget"
"""The budget has no room for a second attempt beside, or after, one that may be billed."""
_UNSET = "not-configured"


@dataclass(eq=False)
class _Attempt:
    """One attempt and the story whose hold it is made on."""

    story: Story
    target: Target
    began: int
    """A tick of the clock."""
    answer: Response | Trouble | None = None
    """What it came to."""
    billed: bool = False
    """It failed, and may be billed all the same."""


async def send(flow: Flow, story: Story, ask: Ask, patience: float | None) -> tuple[Story, Response | Trouble | None]:
    """The answer that goes on to the client, or what the last attempt came to, and the story that it ends.

    An attempt that was not billed leaves its hold to the next one; one that may be billed is closed at its hold, and
    the next one needs a hold of its own. So there is one record for every attempt that may be billed.

    Nothing at all where the client left before the next attempt: its books are closed then. Raises Refused where no
    route is open or none can be sent the call, and LedgerUnavailableError. `patience` is how many seconds from its
    beginning the client waits.
    """
    deadline = None if patience is None else story.started + int(patience * MICROS)
    if len(story.targets) > 1:
        return await _Course(flow, story, ask, deadline).run(None)
    # Nearly every call. With nowhere else to go it is sent whatever is known of the provider, whose own words say more
    # than ours could; the course only begins where it goes wrong.
    sole = story.targets[0]
    board, model = flow.board, sole.model
    provider = model.provider.id
    # None where nothing but good is known of it.
    state = None if board.untroubled(provider) else board.circuit(provider).state(flow.clock.now())
    seconds = None if deadline is None else (deadline - flow.clock.now()) / MICROS
    if (state is not None and state is State.HALF_OPEN) or (seconds is not None and seconds < attempts.LEAST_SECONDS):
        return await _Course(flow, story, ask, deadline).run(None)
    tick = flow.clock.tick
    try:
        request = ready(flow.routes, story, ask, sole)
    except MissingSecretError as missing:
        story.model = model
        return story, Trouble("unset", str(missing), False)
    began = tick()
    answer = await _exchange(flow, story, request, seconds)
    story.waited_ns += tick() - began
    well = isinstance(answer, Response) and answer.status < 400
    if well and state is not None:
        board.sent(provider)
        board.end(model, Verdict.WELL, flow.clock.now(), trial=state is not State.CLOSED)
    if well or (state is not None and state is not State.CLOSED and not story.exchange.gone):
        return story, answer
    return await _Course(flow, story, ask, deadline).run(_Attempt(story, sole, began, answer))


async def _exchange(flow: Flow, story: Story, request: Request, seconds: float | None) -> Response | Trouble:
    """Send a request, wait at most `seconds` for the head of its answer, and see whether it begins as one."""
    if flow.strict:
        assert story.ticket
        await flow.ledger.durable(story.ticket.mark)
    sending = request.route.send(story.exchange, request.dialect, request.call, request.body)
    if seconds is None or seconds >= request.route.provider.timeouts.first_byte:
        answer = await sending
    else:
        try:
            async with asyncio.timeout(seconds):
                answer = await sending
        except TimeoutError:
            answer = Trouble("first_byte_timeout", f"no answer within {seconds:.1f} seconds", True)
    story.first_byte_us = (flow.clock.tick() - story.began) // 1000
    if isinstance(answer, Response) and not 200 <= answer.status < 300 and not 400 <= answer.status < 600:
        # A redirect would take the client, and its key, past every ceiling.
        answer.close()
        return Trouble("protocol", f"status {answer.status} is no answer to a call", True)
    if isinstance(answer, Response) and answer.status < 300:
        body = None if request.call.stream or story.exchange.gone else answer.arrived(LARGEST_ANSWER)
        if body is not None:
            return read(story, body, flow.clock) or answer
        return await opened(story, answer, flow.clock) or answer
    return answer


class _Course:
    """Attempt after attempt, and one beside another, until one answers or nothing is left to try."""

    def __init__(self, flow: Flow, story: Story, ask: Ask, deadline: Instant | None) -> None:
        self.flow = flow
        self.first = story
        self.ask = ask
        self.deadline = deadline
        self.in_flight: dict[asyncio.Task[Response | Trouble], _Attempt] = {}
        self.free: _Attempt | None = None
        """Whose hold the next attempt may take over, since it was not billed."""
        self.last: _Attempt | None = None
        """The one that ended last."""
        self.obstacle: Refused | Trouble | None = None
        """Why a target could not be sent the call at all."""
        self.left = False
        """The client left before there was an answer, and an attempt was not made for it."""
        self.waited = 0
        """Nanoseconds of waiting, for providers and in pauses."""

    async def run(self, made: _Attempt | None) -> tuple[Story, Response | Trouble | None]:
        """See `send`. `made` is an attempt that has ended already."""
        story, flow = self.first, self.flow
        assert story.work
        happened = None
        if made is None:
            self.free = _Attempt(story, story.targets[0], 0)
        else:
            happened = self._ended(made)
        steps = attempts.course(
            story.targets, story.work.workload.routing, flow.board, flow.clock.now(), self.deadline, random.random(),
            happened,
        )  # fmt: skip
        kept = story
        try:
            kept, answer = await self._follow(steps.send, next(steps))
            return kept, answer
        finally:
            steps.close()
            self._close_all_but(kept)

    async def _follow(self, tell: Callable[[Happened], Step], step: Step) -> tuple[Story, Response | Trouble | None]:
        while True:
            match step:
                case Done():
                    return self._done(step)
                case GiveUp():
                    return self._given_up(step)
                case Try():
                    happened = await self._begin(step) or await self._next(step.hedge_after)
                case KeepWaiting():
                    happened = await self._next(None)
            step = tell(happened)

    # one attempt --------------------------------------------------------------------------------------------------

    async def _begin(self, step: Try) -> Happened | None:
        """Make an attempt; None while it is under way."""
        flow, target = self.flow, step.target
        if step.pause:
            await self._pause(step.pause)
        if self.first.exchange.gone:
            self.left = True
            return self._unsent(target, CLIENT_LEFT)
        hold = None if step.holds_anew else self.free
        if hold is None:
            hold = await self._hold_anew(target)
            if hold is None:
                return self._unsent(target, NO_BUDGET)
        try:
            request = ready(flow.routes, hold.story, self.ask, target)
        except Refused as refused:
            # This provider's dialect has no words for the call; another's may.
            self.obstacle = refused
            self._spare(hold)
            return self._unsent(target, CANNOT_CARRY)
        except MissingSecretError as missing:
            self.obstacle = Trouble("unset", str(missing), False)
            self._spare(hold)
            return Happened(now=flow.clock.now(), target=target, trouble=_UNSET, request_sent=False)
        if hold is self.free:
            self.free = None
        assert hold.story.let_in
        hold.story.outlook = flow.passes.outlook_of(hold.story.let_in, target.model)
        self._overrule(hold.story)
        attempt = _Attempt(hold.story, target, flow.clock.tick())
        sending = _exchange(flow, hold.story, request, step.seconds)
        if step.hedge_after is not None or self.in_flight:
            self.in_flight[asyncio.create_task(sending)] = attempt
            return None
        attempt.answer = await sending
        self.waited += flow.clock.tick() - attempt.began
        return self._ended(attempt)

    async def _hold_anew(self, target: Target) -> _Attempt | None:
        """A hold of its own for an attempt beside, or after, one that may be billed; None where none fits by now.

        It is on the same way as the first: a second attempt is no reason to go past a ceiling, or to degrade.
        """
        flow, before = self.flow, self.first
        assert before.let_in
        assert before.way
        story = before.beside(flow.ids.next())
        bid = Bid(
            story, self.ask, before.let_in, Ways((before.way,), ()), flow.accounts, flow.passes, flow.clock,
            flow.board, flow.affinity, 0.0, flow.clock.tick(), decided=before.targets,
        )  # fmt: skip
        if await flow.hold(story, bid, 0.0) is not None:
            return None
        assert story.fit
        assert before.fit
        if self.in_flight and story.fit.output < before.fit.output:
            # A shorter answer is better than none, and worse than the one that is on its way.
            flow.close(story, Outcome.REFUSED, 402, NO_BUDGET, None)
            return None
        return _Attempt(story, target, 0)

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than the client does."""
        began, gone = self.flow.clock.tick(), asyncio.Event()
        self.first.exchange.on_gone(gone.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await gone.wait()
        self.waited += self.flow.clock.tick() - began

    def _unsent(self, target: Target, why: str) -> Happened:
        return Happened(now=self.flow.clock.now(), target=target, unfit=why)

    # what came of it ----------------------------------------------------------------------------------------------

    async def _next(self, hedge_after: float | None) -> Happened:
        """Whatever ends first, or that nothing has for so long."""
        began = self.flow.clock.tick()
        ended, _ = await asyncio.wait(self.in_flight, timeout=hedge_after, return_when=asyncio.FIRST_COMPLETED)
        self.waited += self.flow.clock.tick() - began
        if not ended:
            return Happened(now=self.flow.clock.now(), slow=True)
        task = next(iter(ended))
        attempt = self.in_flight.pop(task)
        attempt.answer = task.result()
        return self._ended(attempt)

    def _ended(self, attempt: _Attempt) -> Happened:
        """Note an attempt that has ended, and what becomes of its hold if it failed."""
        happened = self._happened(attempt)
        if happened.trouble == CLIENT_LEFT:
            self.left = True
        if attempts.may_be_billed(happened):
            attempt.billed = True
        elif attempts.not_billed(happened):
            self._spare(attempt)
        self._overrule(attempt.story)
        self.last = attempt
        return happened

    def _happened(self, attempt: _Attempt) -> Happened:
        target, answer = attempt.target, attempt.answer
        now, seconds = self.flow.clock.now(), (self.flow.clock.tick() - attempt.began) / 1e9
        if isinstance(answer, Trouble):
            return Happened(
                now=now, target=target, trouble=answer.kind, request_sent=answer.request_sent, cut=answer.cut,
                silent=answer.silent, seconds=seconds,
            )  # fmt: skip
        assert answer is not None
        wait = answer.header(b"retry-after")
        retry = float(wait) if wait is not None and wait.isdigit() and len(wait) < 9 else None
        return Happened(now=now, target=target, status=answer.status, retry_after=retry, seconds=seconds)

    def _done(self, step: Done) -> tuple[Story, Response | Trouble]:
        attempt, self.last = self.last, None
        assert attempt is not None
        assert attempt.answer is not None
        story = attempt.story
        story.trail = step.trail
        if step.hedge:
            story.trail += tuple(Tried(target, OVERTAKEN, unsure=True) for target in step.left)
        story.rerouted = attempts.reason_of(step)
        story.waited_ns += self.waited
        return story, attempt.answer

    def _given_up(self, step: GiveUp) -> tuple[Story, Response | Trouble | None]:
        attempt, self.last = self.last, None
        if self.left:
            self._leave(attempt)
            return self.first, None
        if attempt is not None:
            story = attempt.story
            story.trail = step.trail if len(step.trail) > 1 else ()
            story.waited_ns += self.waited
            assert attempt.answer is not None
            return story, attempt.answer
        story, found = self.first, self.obstacle
        if isinstance(found, Refused):
            raise found
        names = ", ".join(dict.fromkeys(target.provider.id for target in story.targets))
        story.model = story.targets[0].model
        if step.why == "deadline":
            return story, Trouble("first_byte_timeout", "the client's own time was over before it was sent", False)
        if found is None:
            raise Refused(NoneOpen(model=story.model.name, providers=names, retry_seconds=_wait(step)))
        return story, found

    # books --------------------------------------------------------------------------------------------------------

    def _spare(self, attempt: _Attempt) -> None:
        """Its hold is free for the next attempt; of two that are free, one is let go."""
        free, self.free = self.free, attempt
        if free is not None and free.story is not attempt.story:
            self._close(free)

    def _overrule(self, by: Story) -> None:
        """Another attempt is made or has ended, so what the one before came to goes to nobody."""
        last, self.last = self.last, None
        if last is None:
            return
        if isinstance(last.answer, Response):
            last.answer.close()
        if last.billed and last.story is not by:
            self._close(last)

    def _leave(self, last: _Attempt | None) -> None:
        """The client has left: close the books on what it had come to."""
        if last is not None and isinstance(last.answer, Response):
            last.answer.close()
        story = self.first if last is None else last.story
        tally = meter.unknown(story.held()) if last is not None and last.billed else None
        self.flow.close(story, Outcome.CLIENT_LEFT, 499, CLIENT_LEFT, tally)

    def _close_all_but(self, kept: Story) -> None:
        """End what is in flight, and close the books of every attempt that nobody waits for any more."""
        for task, attempt in self.in_flight.items():
            if not task.cancel() and not task.cancelled() and task.exception() is None:
                attempt.answer = task.result()
                attempt.billed = not attempts.not_billed(self._happened(attempt))
                if isinstance(attempt.answer, Response):
                    attempt.answer.close()
            else:
                attempt.billed = True
            self._close(attempt)
        self.in_flight.clear()
        for each in (self.last, self.free):
            if each is not None and each.story is not kept:
                self._close(each)

    def _close(self, attempt: _Attempt) -> None:
        story, flow = attempt.story, self.flow
        if story.ticket is None or story.ticket.closed:
            return
        outcome, reason = Outcome.UPSTREAM_ERROR, ""
        match attempt.answer:
            case Trouble(kind="client-left"):
                outcome, status, reason = Outcome.CLIENT_LEFT, 499, CLIENT_LEFT
            case Trouble() as trouble:
                status, reason = 504 if trouble.kind.endswith("timeout") else 502, f"provider-{trouble.kind}"
            case Response() as response if response.status >= 400:
                status, reason = response.status, f"provider-status-{response.status}"
            case _:
                status, reason = 499, OVERTAKEN if attempt.billed else CANNOT_CARRY
        story.waited_ns += self.waited
        tally = meter.unknown(story.held()) if attempt.billed else None
        flow.close(story, outcome, status, reason, tally)
        if tally is not None:
            flow.alert(story)


def _wait(step: GiveUp) -> int:
    return max(1, min(60, round(step.retry_after or 1.0)))
