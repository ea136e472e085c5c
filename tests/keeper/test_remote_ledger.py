"""Does a gateway whose ledger is kept by another process see what it would see of its own?"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.ledger import (
    ALICE,
    BOB,
    NOW,
    Ceiling,
    LedgerConformance,
    Place,
    ceiling,
    let_in,
    quiet,
    record,
    state,
    tokens,
)
from tests.keeper.installation import Installation, healthy

from upshift.keeper.line import Line
from upshift.keeper.remote import RemoteLedger
from upshift.model.budget import EMPTY, Amount, Balance
from upshift.model.entry import Adjust, Decision, Grant
from upshift.store.ledger import Admit, Deny
from upshift.traffic.gate import Crowded, Fit, Full


class Whole(RemoteLedger):
    """A gateway with a keeper of its own, which ends with it."""

    def __init__(self, installation: Installation) -> None:
        super().__init__()
        self.installation = installation
        installation.gateways.append(self)
        Line(self, installation.find)

    async def close(self) -> None:
        await super().close()
        while self.installation.keeper.gateways:  # noqa: ASYNC110 - its goodbye is on its way
            await asyncio.sleep(0)
        await self.installation.stop()


class WholePlace:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: list[Installation] = []

    async def open(self) -> RemoteLedger:
        made = Installation(self.folder)
        await made.start()
        self.opened.append(made)
        ledger = Whole(made)
        await healthy(ledger)
        return ledger


class TestRemoteLedger(LedgerConformance):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[WholePlace]:
        place = WholePlace(tmp_path)
        yield place
        for made in place.opened:
            made.leave()

    # What cannot be the same: a balance here is as last heard of, and a rule is not run here.

    async def test_cancelled_just_after_it_was_let_in_holds_nothing(self, place: Place) -> None:
        ledger = await place.open()
        first = await let_in(ledger, "r1", ceiling(tokens(100), 100, ALICE))
        waiting = asyncio.create_task(let_in(ledger, "r2", ceiling(tokens(60), 100, ALICE), 30.0))
        await quiet(ledger)
        ledger.release(first, NOW, record("r1"))
        while "r2" not in ledger.open_requests():  # noqa: ASYNC110 - the very turn matters
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await state(ledger, ALICE) == EMPTY
        assert ledger.open_requests() == ()
        await ledger.close()

    async def test_a_rule_that_fails_in_the_queue_fails_its_own_call(self, place: Place) -> None:
        class Broken(Ceiling):
            def told(self, verdict: Fit | Crowded | Full) -> Admit | Deny:
                raise ZeroDivisionError

        ledger = await place.open()
        first = await let_in(ledger, "r1", ceiling(tokens(100), 100, ALICE))
        waiting = asyncio.create_task(let_in(ledger, "r2", Broken(tokens(60), 100, (ALICE,)), 30.0))
        behind = asyncio.create_task(let_in(ledger, "r3", ceiling(tokens(60), 100, ALICE), 30.0))
        await quiet(ledger)
        ledger.release(first, NOW, record("r1"))
        with pytest.raises(ZeroDivisionError):
            await waiting
        ledger.release(await behind, NOW, record("r3"))
        await ledger.close()

    async def test_adjust_grant_and_decision_happen_once(self, place: Place) -> None:
        adjust = Adjust("a1", NOW, (ALICE,), Amount(-5, -5000), "mia", "credit note")
        grant = Grant("g1", NOW, (ALICE, BOB), tokens(50), "mia", "quarter end")
        decision = Decision("d1", NOW, "payg-opt-in", "acme", "chat", "mia", {"limit": 5})
        for _ in range(2):
            ledger = await place.open()
            marks = [ledger.append(entry) for entry in (adjust, grant, decision)]
            assert None not in marks
            assert [ledger.append(entry) for entry in (adjust, grant, decision)] == [None] * 3
            await ledger.durable(marks[-1] or 0)
            assert await state(ledger, ALICE) == Balance(settled=Amount(-5, -5000), granted=tokens(50))
            assert await state(ledger, BOB) == Balance(granted=tokens(50))
            await ledger.close()
