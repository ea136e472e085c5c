"""How much CPU time and memory does a server with all its children use, and on which core does it run?"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STOP_SECONDS = 10.0
_AT_REST = 0.03
"""Seconds of CPU time in a second."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc/PID/stat says of one process. `ticks` counts its own time and that of children it waited for."""

    pid: int
    parent: int
    session: int
    ticks: int


def parse_stat(text: str) -> Stat:
    """Reads one line of /proc/PID/stat; the command in brackets may hold blanks and brackets itself."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    # proc(5) counts from 1: state is field 3, so field n is fields[n - 3]; 14-17 are utime, stime, cutime, cstime.
    # A child that ends within the interval moves from its own line into its parent's, so the sum stays right.
    return Stat(
        pid=int(head.split(" ", 1)[0]),
        parent=int(fields[1]),
        session=int(fields[3]),
        ticks=sum(int(field) for field in fields[11:15]),
    )


def parse_resident(status: str) -> float:
    """MiB of resident memory in the text of /proc/PID/status; 0 for a process that has ended."""
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def family(root: int, stats: Iterable[Stat]) -> dict[int, Stat]:
    """`root`, its descendants and whatever stayed in its session, by pid."""
    stats = list(stats)
    members = {stat.pid: stat for stat in stats if root in (stat.pid, stat.session)}
    grown = True
    while grown:
        fresh = {s.pid: s for s in stats if s.parent in members and s.pid not in members}
        members |= fresh
        grown = bool(fresh)
    return members


def _read(path: Path) -> str:
    # A process may end between the listing and the reading of /proc.
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _all_stats() -> list[Stat]:
    texts = [_read(entry / "stat") for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [parse_stat(text) for text in texts if text]


def family_of(root: int) -> list[int]:
    """The pids of the process tree below `root`, itself first."""
    return sorted(family(root, _all_stats()), key=lambda pid: (pid != root, pid))


def cpu_seconds(root: int) -> float:
    """User and system time that the process tree below `root` has used so far, all threads included."""
    return sum(stat.ticks for stat in family(root, _all_stats()).values()) / TICKS_PER_SECOND


def waited_seconds(root: int) -> float:
    """How long the first threads of the process tree below `root` were ready to run and had no core."""
    texts = [_read(Path(f"/proc/{pid}/schedstat")) for pid in family(root, _all_stats())]
    return sum(int(text.split()[1]) for text in texts if text) / 1e9


def at_rest(root: int, seconds: float = 60.0) -> None:
    """Returns once the process tree below `root` has hardly done anything for a second, or after `seconds`."""
    deadline, before = time.monotonic() + seconds, -1.0
    while (now := cpu_seconds(root)) - before > _AT_REST and time.monotonic() < deadline:
        before = now
        time.sleep(1.0)


def resident_mib(root: int) -> float:
    """Resident memory of the process tree below `root`; pages that processes share count in each."""
    return sum(parse_resident(_read(Path(f"/proc/{pid}/status"))) for pid in family(root, _all_stats()))


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Server:
    """A process that was started here, in a session of its own, with what it prints in `log`."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def last_words(self, limit: int = 1500) -> str:
        """The end of what it printed, for a message to a person."""
        return self.log.read_text(errors="replace")[-limit:].strip()

    def stop(self) -> None:
        """Ends the whole tree: politely, then not."""
        members = family(self.pid, _all_stats())
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stat in _all_stats():
            # The same number in another session would be a stranger's.
            if stat.pid in members and stat.session == members[stat.pid].session:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(stat.pid, signal.SIGKILL)


def launch(command: Sequence[str], *, core: int | None, log: Path, env: Mapping[str, str] | None = None) -> Server:
    """Starts `command` bound to one core, or free for None. Raises FileNotFoundError where there is no such program."""
    # A child inherits the affinity of the thread that starts it; that also covers every thread and worker of its own,
    # without the race of binding a process that already runs.
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        with log.open("wb") as out:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )
    finally:
        os.sched_setaffinity(0, before)
    return Server(process, log)


def wait_listening(server: Server, port: int, seconds: float) -> None:
    """Returns once `port` accepts connections. Raises RuntimeError when the process ends or time runs out."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise RuntimeError(f"it ended with status {server.process.returncode}: {server.last_words()}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"it does not listen on port {port} after {seconds:.0f} s: {server.last_words()}")
