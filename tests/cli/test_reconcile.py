"""Does `upshift reconcile` find what a bill and the ledger disagree on, say it well, and write only what is asked?"""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient
from tests.admin.installation import Installation
from tests.cli.conftest import Shell

from upshift.admin.api import create_api
from upshift.gateway.clock import SystemClock
from upshift.model.budget import Amount, Bucket, BudgetKey
from upshift.model.ids import TenantId, UserId, WorkloadId
from upshift.model.key import Role
from upshift.model.metered import Metered
from upshift.model.span import MICROS, Window, period_of, show_instant, to_datetime
from upshift.store.ledger import Admit, Read
from upshift.store.sqlite_ledger import SqliteLedger
from upshift.store.verify import verify

DAY = 86_400 * MICROS
HELD = Amount(5000, 50_000_000)


class Billed:
    """Three days ago: two calls that are recorded, one that was lost, and what the provider says of them."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell
        self.day = (SystemClock().now() // DAY - 3) * DAY
        self.noon = self.day + 12 * 3600 * MICROS
        self.files = 0

    async def spend(self) -> None:
        installation = Installation(self.shell.db)
        plan = installation.desk.need_snapshot().hash
        first, second = (
            msgspec.structs.replace(installation.call(at=self.noon + n * MICROS), plan=plan, upstream_id=f"req_{n}")
            for n in (1, 2)
        )
        await installation.spend(first, second)
        installation.desk.journal.close()
        opening = Metered(
            request=first.request, started=self.noon, plan=plan, tenant="acme", user="alice", workload="chat",
            tier="pro", dialect="openai", requested_model="big",
        )  # fmt: skip
        await self.lose(msgspec.structs.replace(opening, request=type(first.request)("up_lost")))

    async def lose(self, opening: Metered) -> None:
        """A call holds, and the process ends; the next start finds it."""

        def admit(read: Read, may_wait: bool) -> Admit:
            return Admit(0, self.counters(), HELD)

        ledger = await SqliteLedger.open(self.shell.db, self.noon)
        await ledger.decide(opening.request, opening.plan, lambda: self.noon, admit, 0.0, opening)
        await ledger.close()
        again = await SqliteLedger.open(self.shell.db, self.noon + MICROS)
        assert again.recovered.requests == (opening.request,)
        await again.close()

    def counters(self) -> tuple[BudgetKey, ...]:
        """The counters of alice's chat at that time."""
        return tuple(
            BudgetKey(
                TenantId("acme"), UserId("alice"), WorkloadId("chat"), Bucket.INCLUDED, window.value,
                period_of(window, "Europe/Berlin", self.noon).label,
            )
            for window in (Window.MONTH, Window.DAY)
        )  # fmt: skip

    def request_bill(self, *more: dict[str, Any], only: Sequence[str] = ("req_1", "req_2", "req_lost")) -> str:
        tokens = {"req_lost": {"input_tokens": 900, "output_tokens": 50}}
        known = {"input_tokens": 800, "output_tokens": 200, "cost_usd": "0.002"}
        at = self.noon // MICROS + 3
        lines = [{"request_id": each, "at": at, "model": "big", **tokens.get(each, known)} for each in only]
        return self.file(json.dumps([*lines, *more]))

    def usage_bill(self, tokens_in: int, tokens_out: int, calls: int) -> str:
        result = {
            "object": "organization.usage.completions.result",
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "input_cached_tokens": 0,
            "num_model_requests": calls,
            "model": "big",
        }
        start = self.day // MICROS
        bucket = {"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": [result]}
        return self.file(json.dumps({"object": "page", "data": [bucket], "has_more": False, "next_page": None}))

    def file(self, text: str) -> str:
        self.files += 1
        path: Path = self.shell.folder / f"bill{self.files}"
        path.write_text(text)
        return str(path)

    @property
    def span(self) -> list[str]:
        day = to_datetime(self.day)
        return ["--since", f"{day:%Y-%m-%d}", "--until", show_instant(self.day + DAY)]


@pytest.fixture
async def billed(planned: Shell) -> Billed:
    made = Billed(planned)
    await made.spend()
    return made


def test_a_bill_that_agrees(billed: Billed) -> None:
    ran = billed.shell.ok("reconcile", "local", billed.request_bill(), *billed.span)
    assert "agrees 2 matched, 1 unknown" in ran.out
    assert "up_lost: used 900 + 50 tokens, $0.001150; -4050 tokens, -$0.05 (to be adjusted: --adjust)" in ran.out
    view = billed.shell.json("reconcile", "local", billed.request_bill(), *billed.span)
    assert (view["ok"], view["matched"], view["written"]) == (True, 2, [])
    (correction,) = view["corrections"]
    assert (correction["basis"], correction["cost_nano"]) == ("only-fit", 900_000 + 250_000)
    assert sorted(correction["counters"]) == sorted(key.path() for key in billed.counters())


def test_sums_by_day_agree_too(billed: Billed) -> None:
    view = billed.shell.json("reconcile", "local", billed.usage_bill(2500, 450, 3))
    assert (view["ok"], [each["basis"] for each in view["corrections"]]) == (True, ["rest"])
    assert view["findings"][0]["bounds"]["inside"] is True
    ran = billed.shell.run("reconcile", "local", billed.usage_bill(20_500, 450, 3))
    assert (ran.code, "DOES NOT AGREE" in ran.out) == (1, True)


def test_what_went_around_is_found_and_the_exit_code_says_so(billed: Billed) -> None:
    stray = {"request_id": "req_9", "at": billed.noon // MICROS, "model": "small", "input_tokens": 1_000_000}
    bill = billed.request_bill({**stray, "output_tokens": 0, "cost_usd": "0.1"}, only=["req_1", "req_lost"])
    ran = billed.shell.run("reconcile", "local", bill, *billed.span)
    assert ran.code == 1
    assert "1 matched, 1 missing-here, 1 missing-there, 1 unknown" in ran.out
    assert "$0.10 missing-here" in ran.out
    listed = billed.shell.run("reconcile", "local", bill, *billed.span, "--csv")
    rows = {row["verdict"]: row for row in csv.DictReader(io.StringIO(listed.out))}
    assert listed.code == 1
    assert (rows["missing-here"]["upstream_id"], rows["missing-here"]["stake_billed_usd"]) == ("req_9", "0.1")
    assert rows["missing-there"]["request"] == "up_0002"


async def test_a_lost_call_is_adjusted_once(billed: Billed) -> None:
    words = ["reconcile", "local", billed.request_bill(), *billed.span, "--adjust", "--reason", "November's bill"]
    refused = billed.shell.run(*words, answer="n\n")
    assert (refused.code, billed.shell.json(*words[:-3])["corrections"][0]["done"]) == (1, None)
    assert "1 calls adjusted" in billed.shell.ok(*words, answer="y\n").err
    again = billed.shell.ok(*words, answer="y\n")
    assert "adjusted at" in again.out
    assert "nothing to adjust" in again.err
    assert billed.shell.json(*words, "--yes")["written"] == []
    installation = Installation(billed.shell.db)
    (decision,) = installation.desk.journal.decisions(("reconciled",))
    assert (decision.subject, decision.detail["tokens"], decision.detail["reason"]) == (
        "up_lost", 950 - 5000, "November's bill",
    )  # fmt: skip
    installation.desk.journal.close()


def test_the_same_over_the_api(billed: Billed) -> None:
    installation = Installation(billed.shell.db)
    secret, own = installation.secret(Role.ADMIN), installation.secret(Role.TENANT_ADMIN, "acme")
    client = TestClient(create_api(installation.desk, lambda: verify(billed.shell.db)))
    asked = {"provider": "local", "since": billed.span[1], "until": billed.span[3], "tolerance": "1%"}

    def post(body: bytes, key: str = secret, **more: str) -> Any:
        headers = {"authorization": f"Bearer {key}"}
        return client.post("/api/v1/reconcile", params={**asked, **more}, content=body, headers=headers)

    bill = Path(billed.request_bill()).read_bytes()
    assert post(bill, own).status_code == 403
    assert post(b"").status_code == 400
    assert post(bill, provider="nobody").status_code == 404
    assert "bill:[0]" in post(bill.replace(b"800", b'"many"')).json()["detail"]
    view = post(bill).json()
    assert (view["ok"], view["written"], len(view["corrections"])) == (True, [], 1)
    assert [each["request"] for each in post(bill, reason="November").json()["written"]] == ["up_lost"]
    assert post(bill, reason="November").json()["written"] == []
    installation.desk.journal.close()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nobody", "BILL"], 1, "no provider 'nobody'; it has local"),
        (["local", "/nowhere"], 1, "No such file"),
        (["local", "BAD"], 1, "is not the usage or cost report of OpenAI or Anthropic"),
        (["local", "BILL", "--since", "soon"], 1, "'soon' is not a time"),
        (["local", "BILL", "--since", "2026-01-02", "--until", "2026-01-01"], 1, "since is not before until"),
        (["local", "BILL", "--tolerance", "much"], 2, "is not an amount of money"),
        (["local", "BILL", "--tolerance", "tokens=$1"], 2, "is not a tolerance"),
        (["local", "BILL", "--only", "colour=red"], 2, "is not a condition"),
        (["local", "BILL", "--adjust"], 2, "say why with --reason"),
        (["local", "BILL", "--adjust", "--reason", "x", "--json"], 2, "say --yes"),
    ],
)
def test_what_is_wrong_is_said(billed: Billed, words: list[str], code: int, says: str) -> None:
    files = {"BILL": billed.request_bill(), "BAD": billed.file("a,b\n1,2\n")}
    ran = billed.shell.run("reconcile", *(files.get(word, word) for word in words))
    assert ran.code == code
    assert says in " ".join(ran.err.replace("│", " ").split())
