"""How does a call reach a provider that answers it: in which words, with which limit, and what if one fails?"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from upshift.gateway.call import Call, MissingSecretError
from upshift.gateway.story import Story, Translated
from upshift.http.client import Response, Trouble
from upshift.model.metered import Outcome
from upshift.model.refusal import NoneOpen, Refused
from upshift.model.span import MICROS
from upshift.traffic import attempts, gate, meter
from upshift.traffic.attempts import Done, GiveUp, Happened, KeepWaiting, Try
from upshift.traffic.health import WELL, State, Verdict
from upshift.traffic.snapshot import Dialect, Model
from upshift.traffic.targets import Target
from upshift.traffic.translate.translate import Translation, Understood, understand
from upshift.traffic.wire.ask import Ask
from upshift.traffic.wire.wires import WIRES

if TYPE_CHECKING:
    from upshift.gateway.flow import Flow

log = structlog.get_logger()

BILLED_PERHAPS = "may-have-been-billed"
_UNSET = "not-configured"


@dataclass(eq=False)
class _InFlight:
    story: Story
    task: asyncio.Task[Response | Trouble]
    began: int


class Sending:
    """One call on its way to whoever answers it first. Every attempt that may be billed has a hold of its own."""

    def __init__(self, flow: Flow, story: Story, ask: Ask) -> None:
        self.flow = flow
        self.first = story
        self.ask = ask
        self.in_flight: dict[Target, _InFlight] = {}
        self.last: Response | Trouble | None = None
        """What the attempt before came to, kept until another one is made."""
        self.missing = ""
        self.understood: Understood | None = None
        self.unfit: Refused | None = None

    async def run(self) -> tuple[Story, Response | Trouble]:
        """The answer that goes on to the client, or what the last attempt came to, and the story that it ends.

        Raises Refused where no route is open or none can be sent the call.
        """
        story, flow = self.first, self.flow
        if len(story.targets) > 1:
            return await self._course(None, None)
        # Nearly every call. With nowhere else to go it is sent whatever is known of the provider, whose own words say
        # more than ours could; the course only begins where it goes wrong.
        sole = story.targets[0]
        circuit = flow.board.circuit(sole.provider.id)
        began = flow.clock.tick()
        answer = await self._send(story, sole)
        well = isinstance(answer, Response) and answer.status < 400
        if well and circuit is not WELL:
            flow.board.end(sole.model, Verdict.WELL, flow.clock.now())
        if well or circuit.state(flow.clock.now()) is not State.CLOSED:
            return story, answer
        return await self._course(self._happened(sole, answer, began), answer)

    async def _course(
        self, first: Happened | None, answer: Response | Trouble | None
    ) -> tuple[Story, Response | Trouble]:
        """Attempt after attempt; `first` is one that has been made, and `answer` what it came to."""
        story, flow = self.first, self.flow
        assert story.work
        now = flow.clock.now()
        header = story.exchange.header
        patience = attempts.asked_seconds(header(b"x-stainless-timeout"), header(b"x-server-timeout"))
        deadline = None if patience is None else story.started + int(patience * MICROS)
        routing = story.work.workload.routing
        steps = attempts.course(story.targets, routing, flow.board, now, deadline, random.random())
        try:
            step = next(steps)
            if first is not None:
                self.last = answer
                step = steps.send(first)
            while True:
                match step:
                    case Done():
                        return self._done(step)
                    case GiveUp():
                        return self._given_up(step)
                    case Try():
                        await self._begin(step)
                        step = steps.send(await self._next(step.hedge_after))
                    case KeepWaiting():
                        step = steps.send(await self._next(None))
        finally:
            steps.close()
            for target in tuple(self.in_flight):
                self._drop(target)

    # one attempt --------------------------------------------------------------------------------------------------

    async def _begin(self, step: Try) -> None:
        """Start an attempt; returns once it is under way."""
        self._forget()
        if step.pause:
            await asyncio.sleep(step.pause)
        story = self.first
        if step.holds_anew:
            story = await self._hold_anew(step)
        story.trail = step.trail
        began = self.flow.clock.tick()
        task = asyncio.create_task(self._send(story, step.target, step.seconds))
        self.in_flight[step.target] = _InFlight(story, task, began)

    async def _hold_anew(self, step: Try) -> Story:
        """A story of its own for an attempt beside, or after, one that may be billed. Raises Refused."""
        flow, before = self.flow, self.first
        assert before.let_in
        assert before.opening
        unsure = any(each.unsure for each in step.trail)
        request = flow.ids.next()
        story = before.beside(request)
        if unsure and before.ticket is not None and not before.ticket.closed:
            flow.close(before, Outcome.UPSTREAM_ERROR, 504, BILLED_PERHAPS, meter.unknown(before.held()))
        await flow.gate(story, self.ask, before.let_in, before.let_in.ways(self.ask, story.input_tokens))
        self.first = story if unsure else before
        return story

    async def _send(self, story: Story, target: Target, seconds: float | None = None) -> Response | Trouble:
        """Send to one target. What cannot be sent there at all is told as a trouble of ours."""
        flow, ask = self.flow, self.ask
        model = story.model = target.model
        provider = model.provider
        story.translated = None
        story.upstream = story.wire
        try:
            route = flow.routes.to(provider)
            body, dialect = self._body(story, target)
        except MissingSecretError as missing:
            self.missing = str(missing)
            return Trouble("unset", _UNSET, False)
        if flow.strict:
            assert story.ticket
            await flow.ledger.durable(story.ticket.mark)
        tick = flow.clock.tick
        sent_at = tick()
        sending = route.send(story.exchange, dialect, Call(model.upstream_id, ask.stream, target.native), body)
        if seconds is not None and seconds < provider.timeouts.first_byte:
            try:
                async with asyncio.timeout(seconds):
                    answer = await sending
            except TimeoutError:
                answer = Trouble("first_byte_timeout", f"no answer within {seconds:.1f} seconds", True)
        else:
            answer = await sending
        answered_at = tick()
        story.waited_ns += answered_at - sent_at
        story.first_byte_us = (answered_at - story.began) // 1000
        if isinstance(answer, Response) and not 200 <= answer.status < 300 and not 400 <= answer.status < 600:
            # A redirect would take the client, and its key, past every ceiling.
            answer.close()
            return Trouble("protocol", f"status {answer.status} is no answer to a call", True)
        return answer

    def _body(self, story: Story, target: Target) -> tuple[bytes, Dialect]:
        """The request in the provider's dialect and with its limit. Raises Refused for what cannot be carried."""
        ask, model = self.ask, target.model
        assert story.fit
        most = gate.asked_output(ask, model) * ask.choices
        bound = story.fit.output
        if ask.stream:
            assert story.work
            bound = story.fit.room + story.work.workload.gate.grace_tokens
        story.limited = max(1, bound // ask.choices) if bound < most else 0
        bounded = story.limited or _bound_to_say(ask, model)
        if target.native:
            body = story.exchange.body
            if ask.stream or bounded or ask.model != model.upstream_id:
                body = story.wire.rewrite(
                    body,
                    model=None if ask.model == model.upstream_id else model.upstream_id,
                    max_output=bounded,
                    limit_field=model.provider.limit_field,
                    include_usage=ask.stream and not ask.wants_usage,
                )
            return body, ask.dialect
        if self.understood is None:
            self.understood = understand(ask.dialect, story.exchange.body, story.exchange.target)
        provider = model.provider
        translation = Translation(ask.dialect, provider.dialect, provider.limit_field)
        limit = story.limited or min(gate.asked_output(ask, model), model.max_output)
        sent = translation.request(
            self.understood, model.upstream_id, limit if story.limited or ask.max_output else None,
            created=story.started // MICROS,
        )  # fmt: skip
        story.upstream = WIRES[provider.dialect]
        story.translated = Translated(translation, sent)
        return sent.body, provider.dialect

    # what came of it ----------------------------------------------------------------------------------------------

    async def _next(self, hedge_after: float | None) -> Happened:
        """Whatever ends first, or that nothing has for so long. Raises Refused."""
        tasks = {flight.task: target for target, flight in self.in_flight.items()}
        ended, _ = await asyncio.wait(tasks, timeout=hedge_after, return_when=asyncio.FIRST_COMPLETED)
        if not ended:
            return Happened(now=self.flow.clock.now(), slow=True)
        task = next(iter(ended))
        target = tasks[task]
        flight = self.in_flight[target]
        try:
            answer = task.result()
        except Refused as refused:
            if len(self.first.targets) == 1:
                raise
            # This provider's dialect has no words for the call; another's may.
            self.unfit = refused
            return Happened(now=self.flow.clock.now(), target=target, unfit=type(refused.reason).__name__)
        self._forget()
        self.last = answer
        return self._happened(target, answer, flight.began)

    def _happened(self, target: Target, answer: Response | Trouble, began: int) -> Happened:
        now, seconds = self.flow.clock.now(), (self.flow.clock.tick() - began) / 1e9
        if isinstance(answer, Trouble):
            kind = _UNSET if answer.kind == "unset" else answer.kind
            return Happened(now=now, target=target, trouble=kind, request_sent=answer.request_sent, seconds=seconds)
        wait = answer.header(b"retry-after")
        retry = float(wait) if wait is not None and wait.isdigit() and len(wait) < 9 else None
        return Happened(now=now, target=target, status=answer.status, retry_after=retry, seconds=seconds)

    def _done(self, step: Done) -> tuple[Story, Response | Trouble]:
        flight = self.in_flight.pop(step.target, None)
        story = self.first if flight is None else flight.story
        story.trail = step.trail
        story.rerouted = attempts.reason_of(step)
        answer, self.last = self.last, None
        assert answer is not None
        if story is not self.first:
            # The one before it is still in flight, or has ended: its own books say how.
            self._close(self.first)
        return story, answer

    def _given_up(self, step: GiveUp) -> tuple[Story, Response | Trouble]:
        story = self.first
        story.trail = step.trail
        answer, self.last = self.last, None
        self.in_flight.clear()
        if answer is None:
            unfit = self.unfit
            if unfit is not None:
                raise unfit
            names = ", ".join(dict.fromkeys(target.provider.id for target in story.targets))
            raise Refused(NoneOpen(model=story.targets[0].model.name, providers=names, retry_seconds=_wait(step)))
        if isinstance(answer, Trouble) and answer.kind == "unset":
            return story, Trouble("unset", self.missing, False)
        return story, answer

    def _forget(self) -> None:
        """Another attempt is made, so what the one before came to goes to nobody."""
        last, self.last = self.last, None
        if isinstance(last, Response):
            last.close()

    def _drop(self, target: Target) -> None:
        """An attempt that nobody waits for any more; it may be billed."""
        flight = self.in_flight.pop(target)
        flight.task.cancel()
        self._close(flight.story)

    def _close(self, story: Story) -> None:
        if story.ticket is not None and not story.ticket.closed:
            flow = self.flow
            flow.close(story, Outcome.UPSTREAM_ERROR, 499, BILLED_PERHAPS, meter.unknown(story.held()))


def _wait(step: GiveUp) -> int:
    return max(1, min(60, round(step.retry_after or 1.0)))


def _bound_to_say(ask: Ask, model: Model) -> int | None:
    """The bound to tell the provider in its own field: the client did not say it there, or beyond the model."""
    if ask.max_output is None:
        return None
    if ask.max_output > model.max_output:
        return model.max_output
    return ask.max_output if model.provider.limit_field == "max_tokens" else None
