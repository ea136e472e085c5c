"""What do the tests ask instead of a model server: answers by path, in a thread of its own?"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """A request that was made."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class LocalServer:
    """Answers by path: a document, or (status, document)."""

    answers: Mapping[str, Any]
    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str, body: Any) -> tuple[int, Any]:
        found = self.answers.get(path, (404, {"error": "not here"}))
        if callable(found):
            found = found(body)
        return found if isinstance(found, tuple) else (200, found)


@contextmanager
def serving(answers: Mapping[str, Any]) -> Iterator[LocalServer]:
    local = LocalServer(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            asked = json.loads(body) if body else None
            local.asked.append(Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, asked))
            status, document = local.answer(self.path, asked)
            said = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    local.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield local
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
