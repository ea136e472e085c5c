"""How many requests does a server answer rightly, and how long does each take?"""

import contextlib
import json
import os
import re
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
END_OF_CHUNKS = b"\r\n0\r\n\r\n"
CHUNK_MARK = b"chat.completion.chunk"
MAX_ERRORS = 200
"""A run with more is given up: it measures how fast a server fails."""
DRAIN_SECONDS = 15.0
MAX_WARM_SECONDS = 4.0
MAX_STRETCH = 3.0
LEAST_ANSWERS_PER_LINE = 3


@dataclass(frozen=True, slots=True)
class Target:
    """A server and the one request it is sent, ready for the wire."""

    port: int
    request: bytes
    streaming: bool = False


@dataclass(slots=True)
class Load:
    """What came of one run. `answers` counts only checked ones; `latencies` in seconds, unsorted."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    answers: int = 0
    chunks: int = 0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    error_samples: list[str] = field(default_factory=list)

    def fail(self, text: str) -> None:
        self.errors += 1
        if len(self.error_samples) < 3:
            self.error_samples.append(text)

    def add_errors(self, other: "Load") -> None:
        """Takes over the errors of `other`, so that none made while warming up is lost."""
        self.errors += other.errors
        self.error_samples = [*other.error_samples, *self.error_samples][:3]


def chat_request(port: int, path: str, headers: Mapping[str, str], model: str, *, size: int, streaming: bool) -> bytes:
    """A POST of a chat completion whose body is `size` bytes long, or as short as it can be."""
    body: dict[str, object] = {"model": model, "max_tokens": 64, "messages": []}
    if streaming:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    system = {"role": "system", "content": "You answer in one short sentence."}
    user = {"role": "user", "content": ""}
    body["messages"] = [system, user]
    words = "Which ceilings hold when many agents call at once, and who is told when one is near? "
    missing = max(0, size - len(json.dumps(body)))
    user["content"] = (words * (missing // len(words) + 1))[:missing]
    data = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Line:
    """One keep-alive connection with at most one request in flight. `chunks` counts those of streams as they arrive."""

    __slots__ = ("_needed", "_received", "_unsent", "busy", "chunks", "sent_at", "socket", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.socket = socket.create_connection(("127.0.0.1", target.port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.busy = False
        self.chunks = 0
        self.sent_at = 0.0
        self._received = bytearray()
        self._needed = -1
        self._unsent = memoryview(b"")

    def send(self) -> None:
        """Starts a request. Large ones may need `resume` when the socket is writable again."""
        self.busy = True
        self._needed = -1
        self.sent_at = time.perf_counter()
        self._unsent = memoryview(self.target.request)
        self.resume()

    def resume(self) -> None:
        while self._unsent:
            try:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                # Told once more, with its reason, by the next `receive`.
                return

    def receive(self) -> bytes | None:
        """What is here of the answer once it is complete, else None. Raises OSError when it cannot become so."""
        try:
            data = self.socket.recv(262_144)
        except BlockingIOError:
            return None
        if not data:
            raise ConnectionResetError(f"closed in mid-answer after {bytes(self._received[:200])!r}")
        received = self._received
        seen = max(0, len(received) - len(CHUNK_MARK) + 1)
        received += data
        if self.target.streaming:
            self.chunks += received.count(CHUNK_MARK, seen)
        if self._needed < 0:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return None
            if length := CONTENT_LENGTH.search(received, 0, end + 2):
                self._needed = end + 4 + int(length[1])
            elif CHUNKED.search(received, 0, end + 2):
                self._needed = 0
            else:
                raise ConnectionError(f"an answer without length: {bytes(received[:200])!r}")
        if not (received.endswith(END_OF_CHUNKS) if self._needed == 0 else len(received) >= self._needed):
            return None
        answer = bytes(received)
        received.clear()
        self.busy = False
        return answer


def fault(answer: bytes, streaming: bool) -> str:
    """Why an answer does not count; empty when it does."""
    if not answer.startswith(b"HTTP/1.1 200"):
        return f"not a 200: {answer[:300]!r}"
    if b'"usage"' not in answer:
        return f"no usage: {answer[-300:]!r}"
    if streaming and b"[DONE]" not in answer[-64:]:
        return f"a stream without its end: {answer[-300:]!r}"
    return ""


class Lines:
    """The open connections of a run, and what is ready on them; `asleep` leaves the core to others meanwhile."""

    def __init__(self, *, asleep: bool = False) -> None:
        self._asleep = asleep
        self._epoll = select.epoll()
        self._lines: dict[int, Line] = {}

    def open(self, target: Target) -> Line:
        line = Line(target)
        self._lines[line.socket.fileno()] = line
        # Edge-triggered, so that a socket which is always writable does not wake us all the time.
        events = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
        self._epoll.register(line.socket.fileno(), events)
        return line

    def close(self, line: Line) -> None:
        self._lines.pop(line.socket.fileno(), None)
        line.socket.close()

    def ready(self, seconds: float) -> list[Line]:
        """Lines with something to read, after at most `seconds`; those that can be written are served here."""
        # Not asleep where CPU time is measured: waking a process on another core is charged to the waker, and in a
        # virtual machine it can cost a fast gateway more CPU time than the whole request. The upstream here gets
        # its turn by sched_yield.
        deadline = time.perf_counter() + seconds
        while not (polled := self._epoll.poll(seconds if self._asleep else 0)):
            if time.perf_counter() >= deadline:
                return []
            os.sched_yield()
        found = []
        for descriptor, events in polled:
            line = self._lines.get(descriptor)
            if line is None:
                continue
            if events & select.EPOLLOUT:
                line.resume()
            if events & ~select.EPOLLOUT:
                found.append(line)
        return found

    def unanswered(self) -> list[Target]:
        """The target of each request that is in flight."""
        return [line.target for line in self._lines.values() if line.busy]

    def finish(self) -> None:
        """Closes everything, after the answers in flight: an abandoned one would burden the next run."""
        deadline = time.perf_counter() + DRAIN_SECONDS
        for line in list(self._lines.values()):
            # What was announced once and not read yet is not announced again.
            with contextlib.suppress(OSError):
                line.receive()
        while self.unanswered() and time.perf_counter() < deadline:
            for line in self.ready(0.05):
                try:
                    line.receive()
                except OSError:
                    self.close(line)
        for line in list(self._lines.values()):
            self.close(line)
        self._epoll.close()


def take(lines: Lines, line: Line, load: Load) -> Line | None:
    """Reads what is ready on a line and counts it. The line to send on next, or None while the answer goes on."""
    if not line.busy:
        # The server closed a connection that was at rest, as it may.
        lines.close(line)
        return None
    before = line.chunks
    try:
        answer = line.receive()
    except OSError as error:
        load.fail(str(error))
        lines.close(line)
        return lines.open(line.target)
    load.chunks += line.chunks - before
    if answer is None:
        return None
    elapsed = time.perf_counter() - line.sent_at
    if text := fault(answer, line.target.streaming):
        load.fail(text)
    else:
        load.answers += 1
        load.latencies.append(elapsed)
    if CLOSE.search(answer, 0, 2000):
        lines.close(line)
        return lines.open(line.target)
    return line


def closed_loop(target: Target, meter: Callable[[], float], *, connections: int, warm: float, seconds: float) -> Load:
    """Keeps `connections` requests in flight and measures for `seconds` after `warm`.

    Both last longer for a server so slow that its answers still come in waves. `meter` reads the server's CPU
    seconds so far. Raises OSError when the server cannot be reached.
    """
    load, warming = Load(), Load()
    lines = Lines()
    try:
        for _ in range(connections):
            lines.open(target).send()
        start = time.perf_counter()
        began, cpu_before, counting = start, 0.0, False
        while load.errors + warming.errors <= MAX_ERRORS:
            ready = lines.ready(0.02)
            now = time.perf_counter()
            if not counting:
                steady = warming.answers >= connections or now >= start + MAX_WARM_SECONDS
                if now >= start + warm and steady:
                    cpu_before, began, counting = meter(), time.perf_counter(), True
            elif now >= began + seconds:
                enough = load.answers >= LEAST_ANSWERS_PER_LINE * connections
                if enough or now >= began + MAX_STRETCH * seconds:
                    break
            for line in ready:
                following = take(lines, line, load if counting else warming)
                if following is not None:
                    following.send()
        if counting:
            load.cpu_seconds = meter() - cpu_before
            load.seconds = time.perf_counter() - began
    finally:
        lines.finish()
    load.add_errors(warming)
    return load


def open_loop(targets: Sequence[Target], *, rate: float, seconds: float, asleep: bool = False) -> list[Load]:
    """Sends `rate` requests per second to each target, in turn, whatever the answers do; one Load per target.

    Interleaved, so that a disturbance of the machine meets all of them alike. Latency counts from the true sending.
    """
    loads = {target: Load(seconds=seconds) for target in targets}
    early = {target: Load() for target in targets}
    lines = Lines(asleep=asleep)
    idle: dict[Target, list[Line]] = {target: [] for target in targets}
    step = 1 / (rate * len(targets))
    total = int(rate * seconds) * len(targets)
    began = time.perf_counter() + 0.05
    sent = 0
    warm = int(rate * 0.5) * len(targets)
    try:
        while sent < total or lines.unanswered():
            due = began + sent * step
            now = time.perf_counter()
            if now > began + seconds + DRAIN_SECONDS or any(load.errors > MAX_ERRORS for load in loads.values()):
                break
            if sent < total and now >= due:
                target = targets[sent % len(targets)]
                line = idle[target].pop() if idle[target] else lines.open(target)
                line.send()
                sent += 1
                continue
            for line in lines.ready(max(0.0, due - now) if sent < total else 0.05):
                at_rest = not line.busy
                following = take(lines, line, loads[line.target] if sent > warm else early[line.target])
                if following is not None:
                    idle[line.target].append(following)
                elif at_rest and line in idle[line.target]:
                    idle[line.target].remove(line)
        for target in lines.unanswered():
            loads[target].fail(f"no answer within {DRAIN_SECONDS:.0f} s")
    finally:
        lines.finish()
    for target, load in loads.items():
        load.add_errors(early[target])
    return list(loads.values())


def first_answer(target: Target, seconds: float) -> None:
    """Waits for one right answer. Raises RuntimeError with the last wrong one when `seconds` have passed."""
    deadline = time.monotonic() + seconds
    reason = "no answer"
    while time.monotonic() < deadline:
        lines, load = Lines(), Load()
        try:
            line = lines.open(target)
            line.send()
            while line.busy and not load.errors and time.monotonic() < deadline:
                for ready in lines.ready(0.1):
                    take(lines, ready, load)
        except OSError as error:
            load.fail(str(error))
        finally:
            lines.finish()
        if load.answers:
            return
        reason = load.error_samples[0] if load.error_samples else reason
        time.sleep(0.2)
    raise RuntimeError(reason)
