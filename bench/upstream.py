"""What does the provider behind every gateway answer, at no cost that would blur the comparison?"""

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from typing import cast

import uvloop

CHUNKS = 32
"""Content chunks per stream; one more carries the usage."""
GAP_SECONDS = 0.005
"""Between two chunks of a stream: what arrives in one piece would be forwarded as one piece, and measure nothing."""

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
USAGE = {"prompt_tokens": 120, "completion_tokens": CHUNKS, "total_tokens": 120 + CHUNKS}


def chat_answer(size: int = 600) -> str:
    """A chat completion with usage, `size` bytes long."""
    message = {"role": "assistant", "content": ""}
    answer = {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "bench",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": USAGE,
    }
    words = "every ceiling holds " * (size // 20)
    message["content"] = words[: size - len(json.dumps(answer))]
    return json.dumps(answer)


def stream_events() -> list[bytes]:
    """The server-sent events of one streamed chat completion, usage and [DONE] at its end."""
    head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1760000000, "model": "bench"}
    chunks: list[dict[str, object]] = []
    for number in range(CHUNKS):
        delta = {"role": "assistant", "content": "every"} if number == 0 else {"content": " ceiling"}
        finish = "stop" if number == CHUNKS - 1 else None
        chunks.append({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    chunks.append({**head, "choices": [], "usage": USAGE})
    events = [b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n" for chunk in chunks]
    return [*events, b"data: [DONE]\n\n"]


def framed(events: Sequence[bytes]) -> list[bytes]:
    """What to write, one piece per event: response head with the first, the end of the chunked body with the last."""
    pieces = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head + pieces[0], *pieces[1:-1], pieces[-1] + b"0\r\n\r\n"]


def nginx_answering(port: int, tmp: str, user: str) -> str:
    """Configuration of an nginx that answers every request with the chat completion."""
    return f"""{user}
worker_processes 1; daemon off; pid {tmp}/upstream.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 4m; client_body_temp_path {tmp}/upstream.body;
  proxy_temp_path {tmp}/u1; fastcgi_temp_path {tmp}/u2; uwsgi_temp_path {tmp}/u3; scgi_temp_path {tmp}/u4;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    default_type application/json;
    location / {{ return 200 '{chat_answer()}'; }}
  }}
}}
"""


class Streaming(asyncio.Protocol):
    """Answers each request on a connection with the same stream, a piece every GAP_SECONDS."""

    def __init__(self, pieces: Sequence[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._pieces = pieces
        self._loop = loop
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports behave as asyncio.Transport without being one.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        length = CONTENT_LENGTH.search(self._received, 0, end + 2)
        if len(self._received) >= end + 4 + (int(length[1]) if length else 0):
            self._received.clear()
            self._send(0)

    def piece(self, number: int) -> bytes:
        """What to write next."""
        return self._pieces[number]

    def _send(self, number: int) -> None:
        if self._transport is None:
            return
        self._transport.write(self.piece(number))
        if number + 1 < len(self._pieces):
            self._loop.call_later(GAP_SECONDS, self._send, number + 1)


async def serve(port: int) -> None:
    """Streams on `port` of loopback until the process is ended."""
    loop = asyncio.get_running_loop()
    pieces = framed(stream_events())
    server = await loop.create_server(lambda: Streaming(pieces, loop), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
