"""Does a capacity pool hold over worker processes, and do the places of one that is killed come back?"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.end_to_end.callers import Line
from tests.end_to_end.stack import ADMIN, plan_text
from tests.end_to_end.test_workers import command
from tests.end_to_end.turnstile import turnstile

from upshift.app import open_desk
from upshift.http.client import Timeouts, Trouble, Upstream
from upshift.model.key import Role
from upshift.store.verify import verify

MOST, CLIENTS = 3, 16
TEXT = "[[simulate: delay=1, output_tokens=5]] please"


async def pool(port: int, secret: str) -> dict[str, Any]:
    """How full it is, as a gateway tells it; nothing where the one that was asked is just dying."""
    link = Upstream(f"http://127.0.0.1:{port}", timeouts=Timeouts(60, 120, 120, 240))
    response = await link.send(b"GET", b"/upshift/v1/pools", [(b"authorization", b"Bearer " + secret.encode())], b"")
    body = response if isinstance(response, Trouble) else await response.read(1_000_000)
    await link.close()
    if isinstance(body, Trouble):
        return {}
    found: dict[str, Any] = json.loads(body)["pools"][0]
    return found


async def one(port: int, secret: str) -> int:
    """The status of a call; 0 where its gateway died."""
    try:
        async with Line(port) as line:
            return (await line.call(secret, TEXT, max_tokens=20)).status
    except (OSError, asyncio.IncompleteReadError):
        return 0


def gateways(parent: int) -> list[int]:
    children = map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return [each for each in children if b"gateway-process" in command(each)]


async def test_over_all_workers_and_whatever_one_of_them_had(tmp_path: Path) -> None:
    db = tmp_path / "ledger.db"
    async with turnstile() as gate:
        desk = open_desk(db)
        capacity = ("gate: hard}", f"gate: hard, capacity: {{concurrent: {MOST}, wait: 10m}}}}")
        desk.apply(desk.check(plan_text(gate.url, "100M", extra=[capacity])), ADMIN)
        secret = desk.issue(ADMIN, name="alice", tenant="acme", user="alice", workloads=["chat"]).secret
        admin = desk.issue(ADMIN, name="root", role=Role.ADMIN).secret
        with (tmp_path / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "upshift", "serve", "--db", str(db), "--port", "0"),
                *("--workers", "2", "--no-admin", "--json"),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert process.stdout
        try:
            async with asyncio.timeout(300):
                port = int(json.loads(await process.stdout.readline())["gateway"].rpartition(":")[2])
                calls = [asyncio.create_task(one(port, secret)) for _ in range(CLIENTS)]
                while (await pool(port, admin)).get("waiting") != CLIENTS - MOST:  # noqa: ASYNC110 - as one looks
                    await asyncio.sleep(0.02)
                await gate.until(MOST)
                assert gate.provider.server.in_flight == MOST
                os.kill(gateways(process.pid)[0], signal.SIGKILL)
                later = [asyncio.create_task(one(port, secret)) for _ in range(CLIENTS)]
                while not all(call.done() for call in (*calls, *later)):
                    # Those of the dead one that were let pass may still be on their way out.
                    assert gate.waiting <= MOST
                    await gate.step()
                    await asyncio.sleep(0.02)
                assert {await call for call in calls} <= {0, 200}
                # Whoever connects while one of two listeners is dying may be cut off with it; nobody is refused.
                heard = [await call for call in later]
                assert set(heard) <= {0, 200}
                assert heard.count(200) > MOST
                while (found := await pool(port, admin)).get("in_use") != 0:  # noqa: ASYNC110 - as one looks
                    await asyncio.sleep(0.05)
                assert (found["waiting"], found["refused"]) == (0, 0)
        finally:
            await gate.open()
            process.send_signal(signal.SIGTERM)
            await process.wait()
            desk.journal.close()
    assert verify(db).ok
