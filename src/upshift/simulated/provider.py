"""What happens to one call at the simulated provider, from request to bill?"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any
from urllib.parse import unquote

import msgspec

from upshift.http.exchange import Exchange, Headers
from upshift.model.span import MICROS
from upshift.model.tokens import Usage
from upshift.simulated import anthropic_messages, gemini, openai_chat, openai_responses
from upshift.simulated.asked import Asked, UnreadableError, encoded
from upshift.simulated.book import Bill, Book, Stats
from upshift.simulated.caching import PromptCache
from upshift.simulated.compose import Choice, Composer
from upshift.simulated.dialect import Dialect, Frame, Said
from upshift.simulated.openai_embeddings import Embeddings
from upshift.simulated.pace import Pace, pace_of
from upshift.simulated.traces import Lengths, conversation
from upshift.simulated.wishes import Wishes, read_wishes

_JSON = (b"content-type", b"application/json")
_EVENTS: Headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_SLOW = 10.0
_LEAST_SLEEP = 0.001
_HUGE = 10**12
_MOST_KEPT = 1000
_GARBAGE = b"data: {this is not json]\n\n"
_UNLUCKY = (429, 500, 503)
_MODELS = (b"/v1/models", b"/v1beta/models")
_GEMINI = (b"/v1/models/", b"/v1beta/models/")


@dataclass(frozen=True, slots=True)
class Options:
    """How the simulated provider behaves.

    speed       how many times faster than a real provider; 0: no waiting at all
    error_rate  share of calls refused with 429, 500 or 503; slow_rate: share of calls ten times slower
    vary        the same request gets another answer each time; otherwise always the same one
    chunk       output tokens in each piece of a stream
    api_key     the only key that is let in; None lets everybody in
    models      what the lists of models show; any model name is answered
    cache_from  shortest prompt prefix in tokens that the prompt caches keep
    keep_bills  most bills kept
    """

    seed: int = 1
    speed: float = 0.0
    error_rate: float = 0.0
    slow_rate: float = 0.0
    vary: bool = False
    chunk: int = 4
    api_key: str | None = None
    models: tuple[str, ...] = (
        "gpt-5",
        "gpt-5-mini",
        "gpt-4o-mini",
        "claude-opus-4-5",
        "claude-haiku-4-5",
        "gemini-3.5-flash",
    )
    cache_from: int = 1024
    keep_bills: int = 200_000


class _Call(msgspec.Struct):
    """One call that is being answered; `generated` output tokens so far."""

    ident: str
    dialect: Any
    asked: Asked
    wishes: Wishes
    choices: list[Choice]
    usage: Usage
    said: Said
    pace: Pace
    first: float
    generated: int = 0
    completed: bool = False


class Simulated:
    """The provider. `handle` answers one exchange; `billed` is what it billed, oldest first.

    `sleep` is where all waiting happens and `clock` tells seconds since 1970; tests pass their own.
    """

    def __init__(
        self,
        options: Options,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self._sleep = sleep
        self._clock = clock
        self._book = Book(options.keep_bills)
        self._cache = PromptCache(options.cache_from)
        self._composer = Composer(options.seed, Lengths(conversation()))
        self._fate = Random(options.seed)
        self._asked = 0
        self._kept: dict[str, list[str]] = {}
        """Prompts and answers that a later request may go on from."""
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def billed(self) -> list[Bill]:
        """What was billed, oldest first."""
        return self._book.billed

    def stats(self) -> Stats:
        """Totals since the start or since the bills were cleared."""
        return self._book.stats()

    async def idle(self) -> None:
        """Waits until every call that is being answered is billed; a client may see its answer's end before that."""
        await self._idle.wait()

    async def handle(self, exchange: Exchange) -> None:
        """Answers one exchange."""
        match exchange.method, exchange.path:
            case b"POST", b"/v1/chat/completions":
                await self._answer(exchange, openai_chat)
            case b"POST", b"/v1/responses":
                await self._answer(exchange, openai_responses)
            case b"POST", b"/v1/embeddings":
                await self._answer(exchange, Embeddings())
            case b"POST", b"/v1/messages":
                await self._answer(exchange, anthropic_messages)
            case b"POST", b"/v1/messages/count_tokens":
                self._count(exchange, anthropic_messages, anthropic_messages.counted)
            case b"POST", path if path.startswith(_GEMINI):
                await self._gemini(exchange)
            case b"GET", path if path in _MODELS or path.startswith(_GEMINI):
                self._models(exchange)
            case b"GET", b"/simulated/bills":
                exchange.respond(200, [_JSON], encoded(self._book.billed))
            case b"DELETE", b"/simulated/bills":
                self._book.clear()
                exchange.respond(204, [], b"")
            case b"GET", b"/simulated/stats":
                exchange.respond(200, [_JSON], encoded(self._book.stats()))
            case _:
                message = f"Unknown request URL: {exchange.method.decode()} {exchange.path.decode('latin-1')}"
                self._refuse(exchange, _dialect(exchange), 404, message)

    def _models(self, exchange: Exchange) -> None:
        name = unquote(exchange.path.decode("latin-1")).partition("/models")[2].strip("/")
        dialect, created = _dialect(exchange), int(self._clock())
        if not self._admitted(exchange):
            self._refuse(exchange, dialect, 401, "invalid API key")
        elif name and name not in self._options.models:
            self._refuse(exchange, dialect, 404, f"The model `{name}` does not exist")
        else:
            names = self._options.models
            if dialect.NAME == "anthropic":
                body = anthropic_messages.one_model(name) if name else anthropic_messages.models(names)
            elif dialect.NAME == "gemini":
                body = gemini.one_model(name) if name else gemini.models(names)
            else:
                body = openai_chat.one_model(name, created) if name else openai_chat.models(names, created)
            exchange.respond(200, [_JSON], body)

    def _count(self, exchange: Exchange, dialect: Dialect, counted: Callable[[bytes], bytes]) -> None:
        if not self._admitted(exchange):
            self._refuse(exchange, dialect, 401, "invalid API key")
            return
        try:
            body = counted(exchange.body)
        except UnreadableError as trouble:
            self._refuse(exchange, dialect, 400, str(trouble))
        else:
            exchange.respond(200, [_JSON, (dialect.REQUEST_ID, b"req_count")], body)

    async def _gemini(self, exchange: Exchange) -> None:
        place = gemini.Place(exchange.path, exchange.query)
        match place.verb:
            case "generateContent" | "streamGenerateContent":
                await self._answer(exchange, place)
            case "embedContent" | "batchEmbedContents":
                await self._answer(exchange, gemini.Embedding(exchange.path))
            case "countTokens":
                self._count(exchange, place, gemini.count)
            case _:
                self._refuse(exchange, place, 404, f"Method not found: {place.verb}")

    def _admitted(self, exchange: Exchange) -> bool:
        key = self._options.api_key
        if key is None:
            return True
        shown = exchange.header(b"x-api-key") or exchange.header(b"authorization") or b""
        shown = exchange.header(b"x-goog-api-key") or shown.removeprefix(b"Bearer ")
        return shown == key.encode() or b"key=" + key.encode() in exchange.query.split(b"&")

    def _refuse(
        self,
        exchange: Exchange,
        dialect: Dialect,
        status: int,
        message: str,
        retry_after: float | None = None,
    ) -> None:
        self._book.refuse(status)
        ident = f"{self._options.seed:x}refused{self._asked:08x}"
        headers = [_JSON, (dialect.REQUEST_ID, b"req_" + ident.encode())]
        if retry_after is not None:
            headers.append((b"retry-after", f"{retry_after:g}".encode()))
        exchange.respond(status, headers, dialect.error(status, message, ident))

    async def _answer(self, exchange: Exchange, dialect: Dialect) -> None:
        self._asked += 1
        self._book.ask()
        if not self._admitted(exchange):
            self._refuse(exchange, dialect, 401, "Incorrect API key provided.")
            return
        header = exchange.header(b"x-simulate")
        try:
            asked = self._going_on(dialect.read(exchange.body))
            wishes = read_wishes(asked.directives, header.decode("latin-1") if header else "")
            if await self._failed(exchange, dialect, wishes):
                return
            call = self._compose(exchange, dialect, asked, wishes)
        except (UnreadableError, ValueError) as trouble:
            self._refuse(exchange, dialect, 400, str(trouble))
            return
        self._book.open += 1
        self._idle.clear()
        try:
            if asked.stream:
                await self._stream(exchange, call)
            else:
                await self._whole(exchange, call)
        finally:
            self._bill(call)
            self._book.open -= 1
            if not self._book.open:
                self._idle.set()

    async def _failed(self, exchange: Exchange, dialect: Dialect, wishes: Wishes) -> bool:
        """Whether the call was ended before it began, by wish or by bad luck."""
        fate = self._fate.random()
        if wishes.delay:
            await self._sleep(wishes.delay)
        if wishes.hang:
            gone = asyncio.Event()
            exchange.on_gone(gone.set)
            await gone.wait()
            return True
        if wishes.reset:
            exchange.abort()
            return True
        status = wishes.status
        if status is None and fate < self._options.error_rate:
            status = _UNLUCKY[int(fate / self._options.error_rate * len(_UNLUCKY))]
        if status is not None:
            self._refuse(exchange, dialect, status, f"simulated error {status}", wishes.retry_after)
        return status is not None

    def _going_on(self, asked: Asked) -> Asked:
        """The request with what it goes on from before it. Raises UnreadableError when that was not kept."""
        if not asked.goes_on_from:
            return asked
        before = self._kept.get(asked.goes_on_from)
        if before is None:
            raise UnreadableError(f"Previous response with id '{asked.goes_on_from}' not found.")
        tokens = asked.prompt_tokens + len(before)
        return msgspec.structs.replace(asked, prompt=before + asked.prompt, prompt_tokens=tokens)

    def _compose(self, exchange: Exchange, dialect: Dialect, asked: Asked, wishes: Wishes) -> _Call:
        salt = self._options.seed.to_bytes(8, "big", signed=True)
        if self._options.vary:
            salt += self._asked.to_bytes(8, "big")
        digest = blake2b(exchange.body, digest_size=8, key=salt).digest()
        draws = Random(int.from_bytes(digest))
        choices = self._composer.compose(asked, wishes.output_tokens, draws)
        usage = self._usage(asked, wishes, choices)
        ident = f"{digest.hex()}{self._asked:08x}"
        if asked.keep:
            self._kept[f"resp_{ident}"] = asked.prompt + choices[0].text
            if len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        said = Said(
            ident=ident,
            created=int(self._clock()),
            model="some-other-model" if wishes.wrong_model else asked.model,
            usage=_reported(usage, wishes),
            finished=not wishes.no_finish,
        )
        pace = pace_of(asked.model)
        first = pace.until_first(usage.input - usage.cached, draws.random())
        if draws.random() < self._options.slow_rate:
            first, pace = first * _SLOW, pace._replace(per_output=pace.per_output * _SLOW)
        return _Call(ident, dialect, asked, wishes, choices, usage, said, pace, first)

    def _usage(self, asked: Asked, wishes: Wishes, choices: list[Choice]) -> Usage:
        tokens = asked.prompt_tokens if wishes.input_tokens is None else wishes.input_tokens
        read, short, long = 0, 0, 0
        if asked.blocks:
            read, short, long = self._cache.marked(asked.model, asked.blocks)
        elif asked.prompt:
            read = self._cache.automatic(asked.model, asked.prompt)
        read = min(tokens, read if wishes.cached_tokens is None else wishes.cached_tokens)
        short = min(tokens - read, short)
        return Usage(
            input=tokens,
            cached=read,
            cache_write_5m=short,
            cache_write_1h=min(tokens - read - short, long),
            output=sum(choice.output for choice in choices),
            reasoning=sum(choice.reasoning for choice in choices),
        )

    async def _wait(self, seconds: float) -> None:
        if self._options.speed > 0:
            await self._sleep(seconds / self._options.speed)

    async def _whole(self, exchange: Exchange, call: _Call) -> None:
        longest = max(choice.output for choice in call.choices)
        await self._wait(call.first + longest * call.pace.per_output)
        call.generated = call.usage.output
        headers = [_JSON, (call.dialect.REQUEST_ID, b"req_" + call.ident.encode())]
        body: bytes = call.dialect.whole(call.choices, call.said)
        wishes = call.wishes
        if wishes.close_after is not None:
            exchange.start(200, headers)
            exchange.write(body[: len(body) // 2])
            exchange.abort()
        elif wishes.garbage:
            exchange.respond(200, headers, b"<html><body>It works!</body></html>")
        elif wishes.half_event:
            exchange.respond(200, headers, body[: len(body) // 2])
        else:
            call.completed = not exchange.gone
            exchange.respond(200, headers, body)

    async def _stream(self, exchange: Exchange, call: _Call) -> None:
        await self._wait(call.first)
        exchange.start(200, [*_EVENTS, (call.dialect.REQUEST_ID, b"req_" + call.ident.encode())])
        per_token = call.pace.per_output / self._options.speed if self._options.speed > 0 else 0.0
        owed, content = 0.0, 0
        for frame in call.dialect.frames(call.asked, call.choices, call.said, self._options.chunk):
            if frame.tokens:
                owed += frame.tokens * per_token
                # A sleep of less than a timer tick would take a whole one, so short waits are saved up.
                due = owed if owed >= _LEAST_SLEEP else 0.0
                owed -= due
                await self._sleep(due + (call.wishes.slow_chunk if frame.data else 0.0))
            if exchange.gone:
                return
            if frame.tokens and frame.data:
                if self._broken_off(exchange, call, frame, content):
                    return
                content += 1
            call.generated += frame.tokens
            if frame.data:
                exchange.write(frame.data)
                await exchange.drain()
        call.completed = not exchange.gone
        exchange.end()

    def _broken_off(self, exchange: Exchange, call: _Call, frame: Frame, content: int) -> bool:
        """Plays the faults wished for before content chunk number `content`; whether the stream is over with that."""
        wishes = call.wishes
        if wishes.close_after == content:
            exchange.abort()
            return True
        if wishes.error_event_after == content:
            exchange.write(call.dialect.error_event("simulated error in mid-stream", call.ident))
            exchange.end()
            return True
        if wishes.half_event and content == 1:
            exchange.write(frame.data[: len(frame.data) // 2])
            exchange.end()
            return True
        if wishes.garbage and content == 1:
            exchange.write(_GARBAGE if call.dialect.NAME == "openai" else b"event: ping\n" + _GARBAGE)
        if wishes.keepalive_comments:
            exchange.write(b": keep-alive\n\n")
        return False

    def _bill(self, call: _Call) -> None:
        usage = call.usage
        cut = None
        if call.asked.stream and not call.completed:
            cut = call.generated
            usage = msgspec.structs.replace(usage, output=cut, reasoning=min(cut, usage.reasoning))
        self._book.bill(
            Bill(
                request_id=f"req_{call.ident}",
                at=int(self._clock() * MICROS),
                dialect=call.dialect.NAME,
                model=call.asked.model,
                usage=usage,
                images=call.asked.images,
                streamed=call.asked.stream,
                completed=call.completed,
                cancelled_at=cut,
            )
        )


def _dialect(exchange: Exchange) -> Dialect:
    if exchange.path.startswith(b"/v1/messages") or exchange.header(b"anthropic-version") is not None:
        return anthropic_messages
    if exchange.path.startswith(b"/v1beta/") or exchange.header(b"x-goog-api-key") is not None:
        return gemini.ANYWHERE
    return openai_chat


def _reported(usage: Usage, wishes: Wishes) -> Usage | None:
    if wishes.no_usage:
        return None
    if wishes.lie_usage == "negative":
        return Usage(input=-5, output=-7)
    if wishes.lie_usage == "huge":
        return Usage(input=_HUGE, output=_HUGE)
    return usage
