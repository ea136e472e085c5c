"""Do the metrics say what the ledger says of real calls, to those who may read them, and the dashboards what they say?"""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import openai
import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed
from prometheus_client.samples import Sample
from tests.docs.pages import ROOT, rows, sections
from tests.end_to_end.stack import ADMIN, Stack, plan_text, running
from tests.end_to_end.turnstile import turnstile

from upshift.admin.api import create_api
from upshift.admin_app import processes_of, scrape_of
from upshift.engine.totals import Follower
from upshift.model.key import Role
from upshift.model.metered import Outcome
from upshift.store.verify import verify

GUIDE = ROOT / "docs" / "guide-observability.md"
EXAMPLES = ROOT / "examples" / "observability"
MAY = {Role.ADMIN, Role.METRICS}


class Scraped:
    """One answer of GET /metrics."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in parsed(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Sums of samples by these labels."""
        found = Counter[tuple[str, ...]]()
        for sample in self.samples:
            if sample.name == name:
                found[tuple(sample.labels[label] for label in labels)] += sample.value  # type: ignore[assignment]
        return dict(found)

    def one(self, name: str, **labels: str) -> float:
        found: list[Sample] = [
            sample for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        ]
        assert len(found) == 1, (name, labels, found)
        return found[0].value

    def names(self) -> set[str]:
        """Every name that may have samples."""
        found = set(self.families)
        for name, family in self.families.items():
            if family.type == "histogram":
                found |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
            elif family.type == "counter":
                found |= {f"{name}_total"}
        return found


class Admin:
    """The admin API over a stack, with its own follower, as after a start of the admin process."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.follower = Follower(stack.desk.journal, stack.clock.now)
        api = create_api(
            stack.desk,
            lambda: verify(stack.db),
            scrape=scrape_of(self.follower, processes_of(folder, stack.clock, patience=60.0)),
        )
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://admin")
        self.secret = stack.desk.issue(ADMIN, name="prometheus", role=Role.METRICS).secret

    async def get(self, accept: str = "", secret: str | None = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {secret or self.secret}", "accept": accept}
        return await self.client.get("/metrics", headers=headers)

    async def scrape(self) -> Scraped:
        await asyncio.to_thread(self.follower.tick)
        answer = await self.get()
        assert answer.status_code == 200, answer.text
        return Scraped(answer.text)


@asynccontextmanager
async def administered(stack: Stack, folder: Path) -> AsyncIterator[Admin]:
    admin = Admin(stack, folder)
    try:
        yield admin
    finally:
        await admin.client.aclose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "live"
    made.mkdir()
    return made


async def ask(client: openai.AsyncOpenAI, text: str = "Hello", model: str = "big") -> None:
    """Ask, and take a refusal or a failure for an answer."""
    with contextlib.suppress(openai.APIStatusError):
        await client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])


async def busy(stack: Stack) -> None:
    """Calls of every kind: served by two providers, degraded, refused, failed."""
    async with await stack.openai() as chat, await stack.openai("bob", workload="soft") as soft:
        for _ in range(3):
            await ask(chat, "[[simulate: input_tokens=50, output_tokens=20, cached_tokens=10]]")
        await ask(chat, "[[simulate: status=500]]")
        await ask(chat, "Hello", "unheard-of")
        for _ in range(3):
            await ask(soft, "[[simulate: output_tokens=20000]]")
    async with await stack.anthropic() as messages:
        await messages.messages.create(model="sonnet", max_tokens=50, messages=[{"role": "user", "content": "Hello"}])
    await stack.settled()


async def test_a_scrape_says_what_the_ledger_says_also_after_a_restart(tmp_path: Path, folder: Path) -> None:
    async with running(tmp_path, limit="2k") as stack:
        await stack.gateway.tell(folder)
        async with administered(stack, folder) as admin:
            await admin.scrape()
            await busy(stack)
            found, records = await admin.scrape(), await stack.records()
            assert {record.outcome for record in records} >= {Outcome.SERVED, Outcome.REFUSED, Outcome.UPSTREAM_ERROR}
            assert {record.bucket.value for record in records} >= {"included", "degraded"}

            def told(*names: str) -> dict[tuple[str, ...], float]:
                return dict(Counter(tuple(str(getattr(record, name)) for name in names) for record in records))

            assert found.by("upshift_calls_total", "tenant", "workload", "outcome", "bucket", "reason") == told(
                "tenant", "workload", "outcome", "bucket", "reason"
            )
            tokens = found.by("upshift_tokens_total", "kind")
            assert tokens[("input",)] == sum(record.usage.input for record in records)
            assert tokens[("output",)] == sum(record.usage.output for record in records)
            assert tokens[("cached_input",)] == sum(record.usage.cached for record in records) > 0
            dollars = sum(record.cost or 0 for record in records) / 1e9
            assert sum(found.by("upshift_cost_dollars_total").values()) == pytest.approx(dollars)
            counted = sum(record.counted for record in records) / 1e9
            assert sum(found.by("upshift_counted_dollars_total").values()) == pytest.approx(counted)
            refused = [record for record in records if record.outcome is Outcome.REFUSED]
            assert found.by("upshift_refusals_total", "reason") == dict(Counter((each.reason,) for each in refused))
            degraded = sum(each.bucket == "degraded" and each not in refused for each in records)
            assert sum(found.by("upshift_degraded_calls_total").values()) == degraded > 0
            alerts = stack.desk.journal.alerts()
            assert sum(found.by("upshift_alerts_total").values()) == len(alerts) > 0
            sent = [record for record in records if record.provider]
            assert sum(found.by("upshift_call_duration_seconds_count").values()) == len(sent)
            seconds = sum(record.latency_us for record in sent) / 1e6
            assert sum(found.by("upshift_call_duration_seconds_sum").values()) == pytest.approx(seconds)
            before = {sample for sample in map(str, found.samples) if "_total" in sample}
        async with administered(stack, folder) as again:
            after = await again.scrape()
            assert {sample for sample in map(str, after.samples) if "_total" in sample} == before
            text = (await again.get("application/openmetrics-text; version=1.0.0")).text
            told_again = openmetrics(text)  # type: ignore[no-untyped-call]  # it says no types
            assert {family.name for family in told_again} == set(after.families)


async def test_a_scrape_says_how_the_gateway_is_doing(tmp_path: Path, folder: Path) -> None:
    async with turnstile() as stile, running(tmp_path) as stack:
        await stack.apply(plan_text(stile.url))
        await stack.gateway.tell(folder)
        async with administered(stack, folder) as admin, await stack.openai() as client:
            calls = [asyncio.create_task(ask(client, "[[simulate: delay=1]]")) for _ in range(2)]
            await stile.until(2)
            found = await admin.scrape()
            assert found.one("upshift_process_up", process="gateway") == 1
            assert found.one("upshift_calls_in_flight") == 2
            assert found.one("upshift_client_connections") == 2
            assert found.one("upshift_holds_open") == 2
            assert found.one("upshift_upstream_connections", provider="openai", state="busy") == 2
            assert found.one("upshift_circuit_state", provider="openai", state="closed") == 1
            assert found.one("upshift_circuit_state", provider="openai", state="open") == 0
            assert found.one("upshift_ledger_healthy") == 1
            assert found.one("upshift_plan_info", plan=stack.gateway.flow.regime.in_force.snapshot.hash) == 1
            for name in ("upshift_process_resident_memory_bytes", "upshift_process_open_fds", "upshift_process_tasks"):
                assert found.one(name, process="gateway") > 0
                assert found.one(name, process="admin") > 0
            await stile.open()
            await asyncio.gather(*calls)


@pytest.mark.parametrize("role", list(Role))
async def test_only_those_who_may_read_the_metrics(stack: Stack, folder: Path, role: Role) -> None:
    tenant = "acme" if role in (Role.CALLER, Role.TENANT_ADMIN, Role.POD_LEAD) else ""
    user = "alice" if role in (Role.CALLER, Role.POD_LEAD) else ""
    secret = stack.desk.issue(ADMIN, role=role, name=f"the {role}", tenant=tenant, user=user).secret
    async with administered(stack, folder) as admin:
        assert (await admin.get(secret=secret)).status_code == (200 if role in MAY else 403)
        assert (await admin.get(secret="upm_wrong")).status_code == 401
        assert (await admin.client.get("/metrics")).status_code == 401


async def test_before_the_ledger_is_summed_up_there_are_no_totals_rather_than_wrong_ones(
    stack: Stack, folder: Path
) -> None:
    async with administered(stack, folder) as admin:
        found = Scraped((await admin.get()).text)
        assert found.one("upshift_ledger_summed_up") == 0
        assert "upshift_calls" not in found.families
        assert (await admin.scrape()).one("upshift_ledger_summed_up") == 1


async def test_dashboard_rules_and_guide_name_what_a_scrape_has(stack: Stack, folder: Path) -> None:
    await stack.gateway.tell(folder)
    async with administered(stack, folder) as admin:
        found = await admin.scrape()
    dashboard = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    alerts = yaml.safe_load((EXAMPLES / "alerts.yml").read_text())
    asked += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    named = {name for each in asked for name in re.findall(r"\bupshift_\w+", each)}
    assert len(asked) > 15
    assert named - found.names() == set()
    listed = {cells[0] for title in ("From the ledger", "From the processes") for cells in table(title)}
    assert {re.sub(r"_total$", "", name) for name in listed} == set(found.families)
    scraped = yaml.safe_load((EXAMPLES / "prometheus.yml").read_text())
    (job,) = scraped["scrape_configs"]
    assert (job["metrics_path"], job["authorization"]["type"]) == ("/metrics", "Bearer")
    assert scraped["rule_files"] == ["alerts.yml"]


def table(title: str) -> list[list[str]]:
    return rows(sections(GUIDE)[title])[1:]
