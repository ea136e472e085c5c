"""How do tests call in crowds: over bare sockets, knowing exactly which bytes have arrived?"""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
MODELS = {"openai": "big", "anthropic": "sonnet"}
_LAST_EVENTS = {"openai": b"data: [DONE]", "anthropic": b"event: message_stop"}


@dataclass
class Heard:
    """What has arrived of one answer; `ended` once the HTTP message is complete."""

    dialect: str
    streamed: bool
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False

    @property
    def request(self) -> str:
        """The gateway's name for the call; empty before the head has arrived."""
        return self.headers.get("x-upshift-request", "")

    @property
    def whole(self) -> bool:
        """Whether the client has its answer: every byte of it, or the event that ends a stream."""
        return self.ended or (self.streamed and _LAST_EVENTS[self.dialect] in self.body)

    def json(self) -> Any:
        return json.loads(self.body)

    def used(self) -> tuple[int, int]:
        """Tokens in and out, as the answer itself says."""
        if self.streamed:
            events = [json.loads(line[6:]) for line in self.body.split(b"\n") if line.startswith(b"data: {")]
        else:
            events = [self.json()]
        found: dict[str, int] = {}
        for event in events:
            usage = event.get("usage") or event.get("message", {}).get("usage") or {}
            found |= {name: figure for name, figure in usage.items() if isinstance(figure, int)}
        if self.dialect == "openai":
            return found["prompt_tokens"], found["completion_tokens"]
        cache = found.get("cache_read_input_tokens", 0) + found.get("cache_creation_input_tokens", 0)
        return found["input_tokens"] + cache, found["output_tokens"]


class Line:
    """One connection to a gateway, used for one call after the other."""

    def __init__(self, port: int, on_bytes: Callable[[], None] = lambda: None) -> None:
        """`on_bytes` is told of every piece that arrives."""
        self._port = port
        self._on_bytes = on_bytes
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self.heard: Heard | None = None
        """The latest answer, as far as it got."""

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.hang_up()

    def hang_up(self, *, reset: bool = False) -> None:
        """Leave at once, in the middle of an answer if need be; with a reset even a gateway that says nothing notices,
        to whom a mere end of the connection may mean that nothing more is asked."""
        if reset:
            linger = struct.pack("ii", 1, 0)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    async def call(
        self,
        secret: str,
        text: str,
        *,
        dialect: str = "openai",
        stream: bool = False,
        max_tokens: int | None = 1000,
        session: str = "",
        user: str = "",
        leave_after: int | None = None,
    ) -> Heard:
        """Ask and hear the answer out, or hang up after `leave_after` pieces of it.

        Raises OSError or asyncio.IncompleteReadError when the connection ends before the answer does; `heard` has
        what arrived.
        """
        body: dict[str, Any] = {"model": MODELS[dialect], "messages": [{"role": "user", "content": text}]}
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        if stream:
            body["stream"] = True
            if dialect == "openai":
                body["stream_options"] = {"include_usage": True}
        sent = json.dumps(body).encode()
        head = (
            f"POST {PATHS[dialect]} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {secret}\r\n"
            f"content-type: application/json\r\nsession-id: {session}\r\ncontent-length: {len(sent)}\r\n"
        )
        head += f"x-upshift-user: {user}\r\n\r\n" if user else "\r\n"
        self.heard = heard = Heard(dialect, stream)
        self._writer.write(head.encode() + sent)
        await self._head(heard)
        if heard.headers.get("transfer-encoding") == "chunked":
            await self._chunks(heard, leave_after)
        else:
            heard.streamed = False
            heard.body = await self._reader.readexactly(int(heard.headers["content-length"]))
            self._on_bytes()
            heard.ended = True
        return heard

    async def _head(self, heard: Heard) -> None:
        raw = await self._reader.readuntil(b"\r\n\r\n")
        self._on_bytes()
        status, *lines = raw[:-4].decode("latin-1").split("\r\n")
        for line in lines:
            name, _, value = line.partition(":")
            heard.headers[name.lower()] = value.strip()
        heard.status = int(status.split(" ")[1])

    async def _chunks(self, heard: Heard, leave_after: int | None) -> None:
        pieces = 0
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            piece = await self._reader.readexactly(size + 2)
            self._on_bytes()
            if not size:
                heard.ended = True
                return
            heard.body += piece[:-2]
            pieces += 1
            if pieces == leave_after:
                self.hang_up()
                return
