"""What does a client run against: a simulated provider that keeps what it is asked, a gateway, and nothing else?"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.places import GUARD, NODE

from upshift.admin.desk import Actor, Desk
from upshift.app import Gateway, open_desk, start_gateway
from upshift.http.exchange import Exchange, Headers
from upshift.http.server import ServerLimits, serve
from upshift.model.key import Role
from upshift.model.metered import Metered
from upshift.settings import Settings
from upshift.simulated.provider import Options, Simulated
from upshift.store.verify import verify

OPERATOR = Actor("the tests", Role.ADMIN)
PLAN = Path(__file__).parent / "plan.yaml"


@dataclass(frozen=True)
class Asked:
    """One request as it arrived at the provider."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Ran:
    """How a client's run ended. `out` and `err` as text; `seconds` of wall clock."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        """All that a person sees."""
        return f"{self.out}\n{self.err}"


@dataclass
class House:
    """A provider and a gateway, with a folder for one client to live and work in."""

    folder: Path
    simulated: Simulated
    gateway: Gateway
    desk: Desk
    upstream: str
    trap: str
    asked: list[Asked] = field(default_factory=list)
    """What reached the provider, oldest first."""
    elsewhere: list[str] = field(default_factory=list)
    """Hosts that the client tried to reach through a proxy."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def work(self) -> Path:
        """The folder that the client works in."""
        return self.folder / "work"

    @property
    def posts(self) -> list[Asked]:
        """The calls that reached the provider: each of them is paid for."""
        return [each for each in self.asked if each.method == "POST"]

    async def key(self, workload: str = "code", user: str = "alice") -> str:
        """A key of a person for one workload, in force at once."""
        issued = self.desk.issue(OPERATOR, name=workload, tenant="acme", user=user, workloads=[workload])
        await self.gateway.flow.regime.refresh()
        return issued.secret

    async def run(self, argv: Sequence[str], env: Mapping[str, str], seconds: float = 120.0) -> Ran:
        """Run a client in its folder, with no more of an environment than this; past `seconds` it is ended (-9)."""
        guard = self.folder / "guard.txt"
        own = {
            "HOME": str(self.home),
            "PATH": f"{NODE.parent}:/usr/bin:/bin",
            "TMPDIR": str(self.folder / "tmp"),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "NO_COLOR": "1",
            "HTTP_PROXY": self.trap,
            "HTTPS_PROXY": self.trap,
            "http_proxy": self.trap,
            "https_proxy": self.trap,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "NODE_OPTIONS": f"--require {GUARD}",
            "GUARD_FILE": str(guard),
        }
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=self.work,
            env=own | dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), seconds)
        except TimeoutError:
            out = err = b"(ended by the test)"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            code = await process.wait()
        if guard.exists():
            self.elsewhere += guard.read_text().split()
        return Ran(code, out.decode(errors="replace"), err.decode(errors="replace"), time.monotonic() - began)

    async def records(self) -> list[Metered]:
        """Every call's record, oldest first, once all is on disk and the ledger has been audited."""
        while self.gateway.server.in_flight:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.001)
        await self.gateway.ledger.flushed()
        found = verify(self.folder / "upshift.db")
        assert found.ok, found.problems
        return [call.record for call in reversed(self.desk.journal.calls(limit=10_000))]


@contextlib.asynccontextmanager
async def house(folder: Path, limit: str = "20M") -> AsyncIterator[House]:
    """Start provider, gateway and a proxy that lets nothing out; `limit` is alice's monthly ceiling in tokens."""
    for name in ("home", "work", "tmp"):
        (folder / name).mkdir()
    simulated = Simulated(Options(seed=7))
    asked: list[Asked] = []
    elsewhere: list[str] = []

    async def keep(exchange: Exchange) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in exchange.headers}
        asked.append(Asked(exchange.method.decode(), exchange.target.decode("latin-1"), headers, exchange.body))
        await simulated.handle(exchange)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            line = await reader.readline()
            elsewhere.append(line.decode("latin-1").split(" ")[1] if b" " in line else "?")
            writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    provider = await serve(keep, "127.0.0.1", 0, limits=ServerLimits(), on_error=_report, on_bad_request=_bad)
    trap = await asyncio.start_server(refuse, "127.0.0.1", 0)
    upstream = f"http://127.0.0.1:{provider.port}"
    settings = Settings(db=folder / "upshift.db", port=0, reload_seconds=3600)
    desk = open_desk(settings.db)
    desk.apply(desk.check(PLAN.read_text().replace("SIMULATED", upstream).replace("LIMIT", limit)), OPERATOR)
    gateway = await start_gateway(settings)
    trapped = f"http://127.0.0.1:{trap.sockets[0].getsockname()[1]}"
    try:
        yield House(folder, simulated, gateway, desk, upstream, trapped, asked, elsewhere)
    finally:
        await gateway.close(grace_seconds=1)
        await provider.shutdown(0.0)
        trap.close()
        desk.journal.close()


def _bad(status: int, reason: str, target: bytes | None, headers: Headers) -> tuple[Headers, bytes]:
    return [], f"{status} {reason}".encode()


def _report(trouble: BaseException) -> None:
    raise trouble
