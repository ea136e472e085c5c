"""Is what a provider has begun to send an answer at all, before anything of it goes to the client?

An answer in one piece is read to its end here, and a stream up to the first thing that was generated, so that what
breaks before may still be asked for elsewhere.
"""

import dataclasses

from upshift.gateway import answer
from upshift.gateway.clock import Clock
from upshift.gateway.story import OpenedStream, Story, Whole
from upshift.http.client import Response, Trouble
from upshift.traffic.attempts import CLIENT_LEFT
from upshift.traffic.snapshot import OnDisconnect
from upshift.traffic.wire.ask import Answer

LARGEST_ANSWER = 64 * 1024 * 1024
HELD_BACK_SECONDS = 1.0
"""A stream that has begun and says nothing goes on to its client after so long: clients wait for a beginning too."""
_HELD_BACK_BYTES = 64 * 1024
_NO_ANSWER = Answer()
"""What is read of bytes that say nothing."""


async def opened(story: Story, response: Response, clock: Clock) -> Trouble | None:
    """What is wrong with an answer, found before its client has seen any of it; else it is noted in the story."""
    assert story.ask
    assert story.model
    cancels = story.model.provider.on_disconnect is OnDisconnect.CANCEL
    if cancels:
        story.exchange.on_gone(response.close)
    if story.ask.stream and is_stream(response):
        trouble = await _stream(story, response, clock)
    else:
        trouble = await _whole(story, response, clock)
    if trouble is None:
        return None
    response.close()
    if cancels and story.exchange.gone:
        return Trouble(CLIENT_LEFT, "nobody waits for the answer", True)
    return trouble


def is_stream(response: Response) -> bool:
    """Whether a provider that was asked for a stream sends one; some answer whole all the same."""
    kind = response.header(b"content-type")
    return kind is None or kind[:17].lower() == b"text/event-stream"


async def _whole(story: Story, response: Response, clock: Clock) -> Trouble | None:
    body = await response.read(LARGEST_ANSWER)
    return body if isinstance(body, Trouble) else read(story, body, clock)


def read(story: Story, body: bytes, clock: Clock) -> Trouble | None:
    """The same as `opened` of an answer in one piece that has arrived."""
    assert story.upstream
    began = clock.tick()
    found = story.upstream.answer(body)
    if found == _NO_ANSWER and not answer.is_json(body):
        return Trouble("protocol", f"{len(body)} bytes that are not an answer", True)
    story.whole = Whole(body, found)
    # Whoever waits for the answer counts all of this as waiting for the provider.
    story.waited_ns -= clock.tick() - began
    return None


async def _stream(story: Story, response: Response, clock: Clock) -> Trouble | None:
    assert story.ask
    assert story.upstream
    meter = story.upstream.stream(keep_usage=story.ask.wants_usage or story.translated is not None)
    out: list[bytes] = []
    size, until = 0, 0
    while not (meter.output_events or meter.complete) and size < _HELD_BACK_BYTES:
        if size:
            left = (until - clock.tick()) / 1e9
            if left <= 0 or not await response.more(left):
                break
        piece = await response.chunk()
        if isinstance(piece, Trouble):
            if size and story.exchange.gone:
                # What was seen of it counts, as of any stream whose client has left.
                break
            return dataclasses.replace(piece, cut=piece.kind == "reset")
        if piece is None:
            out.append(meter.finish())
            if not (meter.complete or meter.usage or meter.error):
                return Trouble("incomplete", "the stream ended before its answer began", True)
        else:
            until = until or clock.tick() + int(HELD_BACK_SECONDS * 1e9)
            size += len(piece)
            out.append(meter.feed(piece))
        if meter.error and not meter.output_events:
            return Trouble("error-event", meter.error, True)
        if piece is None:
            break
    story.opened = OpenedStream(meter, b"".join(out))
    return None
