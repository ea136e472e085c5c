"""How is a streamed answer passed on, metered as it goes, and ended when its budget ends?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from upshift.gateway import answer
from upshift.gateway.story import OpenedStream, Story
from upshift.http.client import Response, Trouble
from upshift.model.metered import Outcome
from upshift.traffic import disclose, meter, price
from upshift.traffic.gate import Growth
from upshift.traffic.meter import Tally
from upshift.traffic.snapshot import Dialect, HoldPolicy, OnDisconnect
from upshift.traffic.translate.translate import Stream
from upshift.traffic.wire.ask import StreamMeter

if TYPE_CHECKING:
    from upshift.gateway.flow import Flow

log = structlog.get_logger()

_AHEAD = 32
"""Tokens before the end of a hold at which it is extended."""


class Streaming:
    """One streamed answer in flight."""

    def __init__(self, flow: Flow, story: Story, response: Response, opened: OpenedStream) -> None:
        assert story.ask
        assert story.work
        assert story.model
        assert story.fit
        assert story.ticket
        assert story.outlook
        self.flow = flow
        self.story = story
        self.response = response
        self.exchange = story.exchange
        translated = story.translated
        self.meter = opened.meter
        self.begun = opened.out
        self.words: Stream | StreamMeter = self.meter
        """Who speaks to the client when we have something to say in the middle of its answer."""
        self.translated: Stream | None = None
        if translated is not None:
            self.words = self.translated = translated.stream(story.model.name)
        self.ticket = story.ticket
        self.outlook = story.outlook
        self.model = story.model
        self.held_output = story.fit.output
        held_by = story.work.workload.gate
        self.never_cut = held_by.hold is HoldPolicy.MAXIMUM
        asked = story.ask.max_output
        self.most = (self.model.max_output if asked is None else asked) * story.ask.choices
        """Output tokens of an answer that nothing cuts."""
        self.told = min(self.most, story.fit.room + held_by.grace_tokens)
        """Output tokens at which the provider was told to stop: our own count of its text errs upwards, not this."""

    async def run(self) -> None:
        """Pass the stream on until it ends, is cut, breaks, or its client leaves; then close the books."""
        flow, story, exchange, response = self.flow, self.story, self.exchange, self.response
        await flow.ledger.durable(self.ticket.mark)
        drain = self.model.provider.on_disconnect is OnDisconnect.DRAIN
        story.streaming = True
        told = answer.passed_on(response) if self.translated is None else answer.EVENTS
        exchange.start(response.status, told, flow.disclosure(story))
        if not drain:
            exchange.on_gone(response.close)
        out = self.begun
        while await self.passed_on(out):
            waiting_since = flow.clock.tick()
            piece = await response.chunk()
            story.waited_ns += flow.clock.tick() - waiting_since
            if exchange.gone and not drain:
                response.close()
                await self.left()
                return
            if isinstance(piece, Trouble):
                await self.broken(piece.kind, f"{piece.kind}: {piece.detail}")
                return
            if piece is None:
                await self.ended(self.meter.finish())
                return
            out = self.meter.feed(piece)
        response.close()

    async def passed_on(self, out: bytes) -> bool:
        """Hand on what has come; False where the stream is over with that and its books are closed."""
        if self.meter.complete:
            await self.ended(out)
            return False
        if self.meter.error and not out:
            await self.broken("garbage", self.meter.error)
            return False
        if self.translated is not None:
            out = self.translated.feed(out)
        if out:
            self.exchange.write(out)
        if self.nears_its_end() and not await self.extend():
            await self.cut()
            return False
        if not self.exchange.gone:
            writing_since = self.flow.clock.tick()
            await self.exchange.drain()
            self.story.waited_ns += self.flow.clock.tick() - writing_since
        return True

    def seen(self) -> int:
        """Output tokens so far, judged by the text that went by; never fewer than there were."""
        return int(self.meter.output_bytes / self.outlook.bytes_per_token + 0.999)

    def nears_its_end(self) -> bool:
        """Whether the answer comes to where its hold ends, if that may be before it is complete."""
        if self.never_cut or self.held_output >= self.most:
            # The provider was told to stop where the hold ends; our own count of its text errs upwards.
            return False
        return self.seen() + _AHEAD > self.held_output

    async def extend(self) -> bool:
        """Grow the hold of an answer that nears its end; False when it may not grow and the answer has used it up."""
        seen = self.seen()
        want = max(seen + _AHEAD - self.held_output, min(self.held_output // 2, 4096), 64)
        self.held_output += await self.grant(want)
        return seen <= self.held_output

    async def grant(self, want: int) -> int:
        """Ask the ledger for more output; returns the tokens granted."""
        story, model = self.story, self.model
        assert story.work
        assert story.ask
        card, service = model.card, story.ask.extras.service
        rate = 0 if card is None else price.most_rates(card, story.input_tokens, service).output
        growth = Growth(story.claims, rate, want, story.work.workload.gate.grace_tokens)
        return (await self.flow.ledger.extend(self.ticket, growth, self.flow.clock.now())).tokens

    async def ended(self, last: bytes) -> None:
        """The provider ended the stream: settle, then let the last bytes go."""
        found = self.meter
        outcome = Outcome.SERVED
        if found.usage is not None and (found.complete or not found.error):
            assert self.story.ask
            tally = meter.exact(self.model, found.usage, self.story.extras(found.extras), self.story.held())
            self.outlook.observe(found.usage, self.story.ask.text_bytes, self.story.ask.images, found.output_bytes)
            reason = self.story.reason()
        elif found.error:
            # The provider's own error event has gone to the client already.
            outcome, reason, tally = Outcome.UPSTREAM_ERROR, "provider-error-event", self.at_least()
            self.flow.broke_off(self.model, "error-event")
        elif not found.complete:
            await self.broken("incomplete", "the stream ended before its answer did")
            return
        else:
            tally = self.at_least() if found.output_bytes else meter.unknown(self.story.held())
            reason = "usage-not-reported"
        if self.exchange.gone:
            outcome = Outcome.CLIENT_LEFT
        await self.flow.settle(self.story, outcome, 200, reason, tally)
        assert self.story.ask
        self.flow.stay(self.story, self.story.ask, self.meter.upstream_id)
        if self.translated is not None:
            last = self.translated.feed(last) + self.translated.finish()
        if last:
            self.exchange.write(last)
        self.exchange.end()

    async def cut(self) -> None:
        """The ceiling is reached in mid-answer: end it with the dialect's own length stop, and say why."""
        note = {
            "reason": disclose.CUT_BECAUSE,
            "request": self.story.request,
            "budget": self.story.claims[0].key.path(),
        }
        tally = self.at_least()
        await self.flow.settle(self.story, Outcome.CUT, 200, disclose.CUT_BECAUSE, tally)
        self.exchange.write(self.words.length_stop(note, tally.usage))
        self.exchange.end()

    async def left(self) -> None:
        """The client has gone: what was produced is settled as the least it can have been."""
        await self.flow.settle(self.story, Outcome.CLIENT_LEFT, 200, "client-left", self.at_least())

    async def broken(self, kind: str, detail: str) -> None:
        """The provider broke off: an error event in the dialect, so that nobody takes the answer for a whole one."""
        provider = self.model.provider.id
        self.flow.broke_off(self.model, kind)
        await self.flow.settle(self.story, Outcome.UPSTREAM_ERROR, 200, f"provider-{kind}", self.at_least())
        log.warning("stream.broken", request=self.story.request, provider=provider, problem=detail)
        message = f"provider {provider} broke off the answer ({detail})"
        self.exchange.write(self.words.failure(message, "provider_failed"))
        assert self.story.ask
        if self.story.ask.dialect is Dialect.GEMINI:
            # Its command line reads over an error among the chunks, and shows only a connection that was cut.
            self.exchange.abort()
        else:
            self.exchange.end()

    def at_least(self) -> Tally:
        """Books of an answer that was not finished."""
        reported = self.meter.usage or self.meter.partial
        usage = meter.seen(reported, self.story.input_tokens, min(self.seen(), self.told))
        return meter.at_least(self.model, usage, self.story.extras(self.meter.extras), self.story.held())
