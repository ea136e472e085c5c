"""How much memory does an open stream cost that says nothing?"""

import argparse
import asyncio
import json
import os
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.load import chat_request
from bench.peers import CHAT, HERE
from bench.process import free_port, launch, resident_mib, wait_listening
from bench.upstream import stream_events


class Upstream(asyncio.Protocol):
    """Answers a request with the first event of a stream."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        event = stream_events()[0]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.transport.write(head + b"%x\r\n%b\r\n" % (len(event), event))


async def _open(port: int, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await reader.readuntil(b"\n\n")
    return reader, writer


async def measure(streams: int, say: Console) -> dict[str, float]:
    """Opens the streams a hundred at a time; MiB before and after, KiB for each."""
    loop = asyncio.get_running_loop()
    upstream_port, port = free_port(), free_port()
    upstream = await loop.create_server(Upstream, "127.0.0.1", upstream_port, backlog=4096)
    with tempfile.TemporaryDirectory(prefix="upshift-idle-") as folder:
        tmp = Path(folder)
        plan, db = tmp / "plan.yaml", tmp / "ledger.db"
        text = (
            (HERE / "plan.yaml")
            .read_text()
            .replace('STREAM_UPSTREAM}/v1"', 'STREAM_UPSTREAM}/v1", max_connections: 20000')
        )
        url = f"http://127.0.0.1:{upstream_port}"
        plan.write_text(string.Template(text).substitute(UPSTREAM=url, STREAM_UPSTREAM=url))
        upshift = [sys.executable, "-m", "upshift"]
        words = ["--db", str(db), "--json"]
        await asyncio.to_thread(
            subprocess.run, [*upshift, "plan", "apply", str(plan), "--yes", *words], check=True, capture_output=True
        )
        issue = [*upshift, "key", "issue", "--tenant", "bench", "--user", "load", "--name", "bench", *words]
        told = await asyncio.to_thread(subprocess.run, issue, check=True, capture_output=True)
        key = json.loads(told.stdout)["secret"]
        serve = [*upshift, "serve", "--db", str(db), "--port", str(port), "--no-admin", "--log-level", "error"]
        server = launch(serve, core=min(os.sched_getaffinity(0)), log=tmp / "log")
        try:
            wait_listening(server, port, 60)
            request = chat_request(
                port, CHAT, {"Authorization": f"Bearer {key}"}, "bench-stream", size=600, streaming=True
            )
            first = [await _open(port, request) for _ in range(10)]
            before = resident_mib(server.pid)
            held = list(first)
            began = time.monotonic()
            while len(held) < streams:
                more = min(100, streams - len(held))
                held += await asyncio.gather(*[_open(port, request) for _ in range(more)])
            opening = time.monotonic() - began
            await asyncio.sleep(1)
            after = resident_mib(server.pid)
            for _, writer in held:
                writer.transport.abort()
        finally:
            server.stop()
            upstream.close()
    each = (after - before) * 1024 / (streams - len(first))
    found = {
        "streams": float(streams),
        "before_mib": round(before, 1),
        "after_mib": round(after, 1),
        "kib_per_stream": round(each, 1),
        "ten_thousand_mib": round(before + each * 10_000 / 1024, 1),
        "opened_per_second": round(streams / opening, 1),
    }
    say.print(found)
    return found


def main(words: Sequence[str]) -> int:
    """Measures and writes results/idle.json."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--streams", type=int, default=9_000, help="each takes two descriptors of the gateway")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "idle.json")
    asked = parser.parse_args(words)
    found = asyncio.run(measure(asked.streams, Console()))
    asked.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
