"""Does a plan compile to what it says, the same way however it is written?"""

import random
import time
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upshift.model.budget import Limit
from upshift.model.ids import WorkloadId
from upshift.model.span import Window
from upshift.plan_file import Checked, PlanError, Problem, compile_document, difference, json_schema, load, loads
from upshift.plan_file.quantities import parse_duration
from upshift.traffic.snapshot import (
    Ability,
    Ceiling,
    Dialect,
    HoldPolicy,
    Local,
    OnDisconnect,
    Order,
    Overage,
    Routing,
    Shape,
    TierRole,
    Unsure,
)

FILE = Path(__file__).parent / "good.yaml"
GOOD = FILE.read_text()
TODAY = date(2026, 11, 1)


def plan(*changes: tuple[str, str]) -> Checked:
    text = GOOD
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return loads(text, today=TODAY)


def test_a_good_plan_compiles_without_a_warning() -> None:
    checked = load([FILE], TODAY)
    assert checked.warnings == ()
    assert [(each.workload, each.status) for each in checked.not_served] == [
        ("idea", "candidate"),
        ("search", "planned"),
    ]
    snapshot = checked.snapshot
    assert snapshot.name == "acme"
    assert snapshot.tiers == ("free", "pro")
    assert list(snapshot.workloads) == ["support-chat"]
    assert set(snapshot.models) == {"gpt-5", "gpt-5-latest", "gpt-5-mini", "claude-sonnet", "claude-haiku"}
    assert snapshot.models["gpt-5"] is snapshot.models["gpt-5-latest"]


def test_what_a_workload_compiles_to() -> None:
    snapshot = load([FILE], TODAY).snapshot
    workload = next(iter(snapshot.workloads.values()))
    assert (workload.name, workload.owner, workload.pod, workload.project) == (
        "Customer support chat",
        "sarah",
        "core",
        "portal",
    )
    assert workload.tenants == {"acme"}
    assert [model.name for model in workload.primary] == ["gpt-5", "claude-sonnet"]
    assert [model.name for model in workload.substitutes] == ["gpt-5-mini", "claude-haiku"]
    gate = workload.gate
    ceilings = {str(tier): said for tier, said in gate.ceilings.items()}
    assert ceilings["free"] == (Ceiling(Window.MONTH, Limit(200_000)),)
    assert ceilings["pro"] == (
        Ceiling(Window.DAY, Limit(None, 2_000_000_000)),
        Ceiling(Window.WEEK, Limit(1_000_000)),
        Ceiling(Window.MONTH, Limit(2_000_000, 20_000_000_000)),
    )
    assert gate.degraded == gate.ceilings
    assert gate.ladder == (Overage.SOFT_CAP,)
    assert (gate.grace_tokens, gate.hold, gate.patience_seconds) == (500, HoldPolicy.GROWING, 30.0)
    assert gate.how_to_ask == "Ask #ai-platform"


def test_what_a_provider_and_a_tenant_compile_to() -> None:
    snapshot = load([FILE], TODAY).snapshot
    provider = snapshot.models["gpt-5"].provider
    assert (provider.dialect, provider.base_url) == (Dialect.OPENAI, "https://api.openai.com/v1")
    assert (provider.key_env, provider.headers) == ("OPENAI_API_KEY", (("x-team", "a"),))
    assert (provider.timeouts.total, provider.on_disconnect) == (900.0, OnDisconnect.CANCEL)
    tenant = next(iter(snapshot.tenants.values()))
    assert (tenant.name, tenant.zone, tenant.owner, tenant.default_tier) == (
        "Acme Corp",
        "Europe/Berlin",
        "ada@acme.example",
        "free",
    )
    (user,) = tenant.users.values()
    assert (user.id, user.tier, user.email) == ("alice", "pro", "alice@acme.example")


def test_degraded_rules() -> None:
    (unlimited,) = plan(("degraded: same", "degraded: unlimited")).snapshot.workloads.values()
    assert dict(unlimited.gate.degraded) == {"free": (), "pro": ()}
    (tiers,) = plan(("gate: chat", "gate: docs")).snapshot.workloads.values()
    assert dict(tiers.gate.degraded) == {
        "free": (Ceiling(Window.MONTH, Limit(10_000)),),
        "pro": (Ceiling(Window.MONTH, Limit(100_000)),),
    }
    assert tiers.gate.overage_limit == (Ceiling(Window.MONTH, Limit(None, 500 * 10**9)),)


ROUTED = (
    ("limit_field: max_completion_tokens", "limit_field: max_completion_tokens\n  azure: {dialect: openai, base_url: 'https://acme.openai.azure.com/openai/v1'}\n  box: {dialect: openai, base_url: 'http://127.0.0.1:11434/v1', local: ollama, discover: true}"),
    ("  gpt-5-mini: {provider: openai}", "  gpt-5-mini: {provider: openai, weight: 3, offers: [{provider: azure, id: mini, price: {input: $1, output: $2}}]}\n  llama: {provider: box, context: 8k, max_output: 2k, price: {input: 0, output: 0}}"),
    ("  premium: [gpt-5, claude-sonnet]", "  premium: {models: [gpt-5, claude-sonnet], role: orchestrator}\n  home: {models: [llama], role: local}"),
    ("    gate: chat\n", """    gate: chat
    route:
      order: cheapest
      tasks:
        titles: home
        pictures: {tier: premium, when: {needs: [images], above: 1k}}
        anything-long: {tier: premium, when: {above: 50k}}
      failover: [same-model, same-tier, tier  home]
      retries: 2
      retry_unsure: true
      hedge_after: 2s
      sticky: off
"""),
)  # fmt: skip


def test_what_a_route_compiles_to() -> None:
    checked = plan(*ROUTED)
    snapshot = checked.snapshot
    assert compile_document(checked.document) == snapshot
    (workload,) = snapshot.workloads.values()
    routing = workload.routing
    assert (routing.order, routing.same_model, routing.same_tier) == (Order.CHEAPEST, True, True)
    assert [(each.tier, [model.name for model in each.models]) for each in routing.detours] == [("home", ["llama"])]
    assert (routing.retries, routing.retry_unsure, routing.hedge_after, routing.sticky) == (
        2,
        Unsure.ALWAYS,
        2.0,
        False,
    )
    # The one that says most about a request is asked first, whatever the order in which they stand.
    assert [each.name for each in routing.tasks] == ["pictures", "anything-long", "titles"]
    assert routing.tasks[0].shape == Shape(needs=frozenset({Ability.IMAGES}), above=1000)
    assert routing.tasks[2].shape is None
    assert [model.name for model in workload.models] == [
        "gpt-5",
        "claude-sonnet",
        "gpt-5-mini",
        "claude-haiku",
        "llama",
    ]
    assert dict(snapshot.roles) == {"premium": TierRole.ORCHESTRATOR, "home": TierRole.LOCAL}


@pytest.mark.parametrize(
    ("said", "meant"),
    [(each, Unsure.ALWAYS) for each in ("always", "true", "True", "yes", "on", "1")]
    + [(each, Unsure.NEVER) for each in ("never", "false", "No", "off", "0")]
    + [("outage", Unsure.OUTAGE), ("", Unsure.OUTAGE)],
)
def test_a_yes_or_a_no_still_says_what_is_tried_again(said: str, meant: Unsure) -> None:
    text = GOOD.replace("    gate: chat\n", f"    gate: chat\n    route: {{retry_unsure: {said}}}\n", 1)
    found = loads(text, today=TODAY).snapshot.workloads[WorkloadId("support-chat")].routing
    assert found.retry_unsure is meant


def test_what_offers_and_local_providers_compile_to() -> None:
    snapshot = plan(*ROUTED).snapshot
    mini = snapshot.models["gpt-5-mini"]
    (offer,) = mini.offers
    assert mini.routes == (mini, offer)
    assert (mini.provider.id, mini.weight, offer.provider.id, offer.upstream_id, offer.weight) == (
        "openai",
        3,
        "azure",
        "mini",
        1,
    )
    assert offer.card is not None
    assert (offer.card.steps[0].output, offer.card.source) == (2 * 10**9, "the plan")
    assert (offer.name, offer.context, offer.max_output) == (mini.name, mini.context, mini.max_output)
    box = snapshot.models["llama"].provider
    assert (box.local, box.discover) == (Local.OLLAMA, True)
    assert mini.provider.speaks == {Dialect.OPENAI, Dialect.RESPONSES, Dialect.EMBEDDINGS}
    assert offer.provider.speaks == {Dialect.OPENAI, Dialect.EMBEDDINGS}
    assert snapshot.models["claude-haiku"].provider.speaks == {Dialect.ANTHROPIC}
    assert plan(("limit_field", "local: true\n    limit_field")).snapshot.models["gpt-5"].provider.local is Local.OPENAI
    assert plan(("limit_field", "speaks: [openai-responses]\n    limit_field")).snapshot.models[
        "gpt-5"
    ].provider.speaks == {Dialect.OPENAI, Dialect.RESPONSES}


def test_a_server_of_ones_own_costs_what_the_plan_says_and_no_list_price() -> None:
    checked = plan(
        ("limit_field", "local: vllm\n    limit_field"),
        ("https://api.openai.com/v1", "http://127.0.0.1:8000/v1"),
        ("{tokens: 2M, money: $20}, day: $2,", "2M,"),
    )
    assert checked.snapshot.models["gpt-5-mini"].card is None
    assert "its cost is recorded as unknown" in str(checked.warnings)


def test_a_pinned_workload_has_no_other_routes() -> None:
    pinned = plan(*ROUTED, ("order: cheapest", "order: cheapest\n      pin: [openai, box]")).snapshot
    (workload,) = pinned.workloads.values()
    assert [model.name for model in workload.models] == ["gpt-5", "gpt-5-mini", "llama"]
    assert [route.provider.id for model in workload.models for route in model.routes] == ["openai", "openai", "box"]
    assert pinned.models["gpt-5-mini"].offers
    moved = plan(
        *ROUTED,
        ("order: cheapest", "order: cheapest\n      pin: [azure]"),
        ("primary: premium", "primary: budget"),
        ("titles: home", "titles: budget"),
        ("{tier: premium,", "{tier: budget,"),
        ("{tier: premium,", "{tier: budget,"),
    )
    (workload,) = moved.snapshot.workloads.values()
    assert [(model.name, model.provider.id, model.offers) for model in workload.models] == [("gpt-5-mini", "azure", ())]
    assert workload.primary[0] is workload.substitutes[0]


def test_plans_without_routes_mean_what_they_meant() -> None:
    (workload,) = load([FILE], TODAY).snapshot.workloads.values()
    assert workload.routing == Routing()
    assert all(model.routes == (model,) for model in workload.models)
    assert not load([FILE], TODAY).snapshot.roles


def test_the_document_compiles_to_the_same_snapshot_again() -> None:
    checked = load([FILE], TODAY)
    again = compile_document(checked.document)
    assert again == checked.snapshot
    assert again.hash == checked.snapshot.hash
    assert len(again.hash) == 64
    with pytest.raises(ValueError, match="not the document"):
        compile_document("[]")


SAME: dict[str, tuple[str, str]] = {
    "tokens": ("free: {month: 200k}", "free: {month: 200_000}"),
    "tokens in full": ("free: {month: 200k}", "free: {month: {tokens: 200000.0}}"),
    "money": ("day: $2,", 'day: "2.00 USD",'),
    "duration": ("total: 15m", "total: 900"),
    "comment": ("tiers: [", "# customers\ntiers: ["),
    "default": ("    degraded: same\n", ""),
    "list of one": ("overage: soft-cap", "overage: [soft-cap]"),
    "price": ("input: $1.25", "input: 1.250"),
    "merge key": ("  idea: {}", "  idea: {<<: {status: planned}, status: candidate}"),
}


@pytest.mark.parametrize("case", SAME)
def test_writing_it_another_way_is_the_same_plan(case: str) -> None:
    assert plan(SAME[case]).snapshot.hash == load([FILE], TODAY).snapshot.hash


def test_the_order_of_names_does_not_matter_but_that_of_models_does() -> None:
    whole = load([FILE], TODAY)
    turned = yaml.safe_dump(_turned(yaml.load(GOOD, Loader=yaml.BaseLoader)), sort_keys=False)
    assert loads(turned, today=TODAY).snapshot == whole.snapshot
    assert plan(("[gpt-5, claude-sonnet]", "[claude-sonnet, gpt-5]")).snapshot.hash != whole.snapshot.hash
    assert plan(("free: {month: 200k}", "free: {month: 201k}")).snapshot.hash != whole.snapshot.hash


def _turned(part: Any) -> Any:
    return {key: _turned(part[key]) for key in reversed(part)} if isinstance(part, dict) else part


QUIRKS = ["no", "on", "yes", "1e3", "12-30", "0x1f", "1.10", "2026-11-01", "null-ish", "true", "0o7"]


@pytest.mark.parametrize("word", QUIRKS)
def test_words_that_yaml_takes_for_something_else_stay_words(word: str) -> None:
    checked = plan(("  idea: {}", f"  {word}: {{name: {word}}}"))
    assert word in [each.workload for each in checked.not_served]
    assert f'"name":"{word}"' in checked.document


def test_nothing_of_the_snapshot_can_be_changed() -> None:
    snapshot: Any = load([FILE], TODAY).snapshot
    with pytest.raises(TypeError):
        snapshot.workloads["x"] = None
    with pytest.raises(AttributeError):
        snapshot.name = "x"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("5s", 5),
        ("15m", 900),
        ("15 min", 900),
        ("48h", 172_800),
        ("2d", 172_800),
        ("90", 90),
        ("1.5h", 5400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "12:30", "-5s", "5 weeks", "s", "1e3s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def _seconds_to_check(size: int) -> float:
    """Of the processor, for a plan with so many users and workloads: what else a machine does is not counted."""
    data: dict[str, Any] = yaml.load(GOOD, Loader=yaml.BaseLoader)
    data["tenants"]["acme"]["users"] = {f"u{i}": {"tier": "pro", "email": f"u{i}@acme.example"} for i in range(size)}
    pattern = data["workloads"]["support-chat"]
    data["workloads"] = {f"w{i}": pattern | {"name": f"Workload {i}"} for i in range(size)}
    text = yaml.dump(data, Dumper=DUMPER, default_flow_style=None)
    started = time.process_time()
    checked = loads(text, today=TODAY)
    took = time.process_time() - started
    assert len(checked.snapshot.workloads) == size
    return took


def test_a_large_plan_takes_as_much_longer_as_it_is_larger() -> None:
    _seconds_to_check(1)
    small, large = _seconds_to_check(250), _seconds_to_check(5_000)
    # Twenty times as long, where something that grows with the square would make it 400 times.
    assert large < 100 * small, (small, large)


def _routed() -> str:
    text = GOOD
    for old, new in ROUTED:
        text = text.replace(old, new, 1)
    return text


DATA: list[dict[str, Any]] = [yaml.load(text, Loader=yaml.BaseLoader) for text in (GOOD, _routed())]
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
LINES = _routed().splitlines()
ODD = [
    "",
    "~",
    "{}",
    "[]",
    "x",
    "-1",
    "0",
    "*a",
    "&a b",
    "$1",
    "1e9",
    "\t",
    "'",
    '"',
    ": ",
    "? ",
    "!!int x",
    "é",
    "<<: *a",
    "[key]",
    "%",
    "- a",
    "¶",
    "\x00",
]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, 10_000), st.sampled_from(ODD) | st.text(max_size=8)),
        max_size=4,
    ),
    st.booleans(),
)
def test_any_change_of_text_is_a_plan_or_located_problems(edits: list[tuple[int, int, str]], cut: bool) -> None:
    lines = list(LINES)
    for at, column, text in edits:
        line = lines[at % len(lines)]
        where = column % (len(line) + 1)
        lines[at % len(lines)] = line[:where] + text + ("" if cut else line[where:])
    _plan_or_problems("\n".join(lines))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_any_change_of_structure_is_a_plan_or_located_problems(seed: int, times: int) -> None:
    chance = random.Random(seed)
    data = deepcopy(chance.choice(DATA))
    for _ in range(times):
        _mutate(data, chance)
    _plan_or_problems(yaml.dump(data, Dumper=DUMPER, sort_keys=False))


def _mutate(data: Any, chance: random.Random) -> None:
    places: list[tuple[Any, Any]] = []
    stack: list[Any] = [data]
    while stack:
        part = stack.pop()
        keys: Any = part if isinstance(part, dict) else range(len(part))
        for key in list(keys):
            places.append((part, key))
            if isinstance(part[key], (dict, list)):
                stack.append(part[key])
    owner, key = chance.choice(places)
    other_owner, other_key = chance.choice(places)
    match chance.randrange(4):
        case 0:
            del owner[key]
        case 1:
            owner[key] = chance.choice([None, "", "x", "0", [], {}, ["x"], {"x": "y"}, "$1", "[key]"])
        case 2:
            owner[key] = deepcopy(other_owner[other_key])
        case _:
            if isinstance(owner, dict):
                owner[chance.choice(["x", "X y", "[key]", "tokens", "<rule>", "0"])] = owner.pop(key)


def _plan_or_problems(text: str) -> None:
    found = _problems(text)
    if found is None:
        return
    assert found
    lines = text.count("\n") + 2
    for problem in found:
        assert problem.file == "plan.yaml"
        assert 1 <= problem.line <= lines, str(problem)
        assert problem.column >= 1, str(problem)
        assert problem.what, str(problem)


def _problems(text: str) -> tuple[Problem, ...] | None:
    try:
        checked = loads(text, "plan.yaml", TODAY)
    except PlanError as error:
        return error.problems
    assert compile_document(checked.document) == checked.snapshot
    return None


def test_the_schema_describes_every_field() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    described = 0
    for part in [schema, *schema["$defs"].values()]:
        for name, field in part.get("properties", {}).items():
            assert "description" in field or "$ref" in field, name
            described += 1
    assert described > 60
    assert schema["additionalProperties"] is False
    assert schema["properties"]["upshift"]["enum"] == [1, "1"]
    assert "null" not in str(schema)


def test_the_same_plan_makes_no_difference() -> None:
    snapshot = load([FILE], TODAY).snapshot
    assert difference(snapshot, snapshot) == []
    assert difference(snapshot, compile_document(load([FILE], TODAY).document)) == []


DIFFERENCES: dict[str, tuple[tuple[tuple[str, str], ...], str, str, str]] = {
    "ceiling": ((("free: {month: 200k}", "free: {month: 300k}"),), "ceiling", "support-chat/free", "users of tier free of support-chat: 200k tokens a month -> 300k tokens a month"),
    "ladder": ((("overage: soft-cap", "overage: [soft-cap, pay-as-you-go]"),), "overage", "support-chat", "soft-cap then pay-as-you-go instead of soft-cap"),
    "stopped": ((("status: committed", "status: planned"),), "stopped", "support-chat", "no longer served: its callers will be refused"),
    "served": ((("status: planned\n    models: {primary: budget}", "status: committed\n    models: {primary: budget, degrade_to: budget}"),), "served", "search", "search is served to acme by gpt-5-mini, claude-haiku"),
    "route": ((("premium: [gpt-5, claude-sonnet]", "premium: [claude-sonnet, gpt-5]"),), "route", "support-chat", "served by claude-sonnet, gpt-5 (after"),
    "upstream": ((("id: gpt-5-2025-08-07", "id: gpt-5.1"),), "route", "gpt-5", "served by openai/gpt-5.1 instead of openai/gpt-5-2025-08-07"),
    "price": ((("input: $1.25", "input: $1.50"),), "price", "gpt-5", "input $1.25 -> $1.50 (+20.0%)"),
    "offer": ((ROUTED[0], ROUTED[1]), "route", "gpt-5-mini", "served by openai/gpt-5-mini or azure/mini instead of openai/gpt-5-mini"),
    "price of an offer": ((ROUTED[0], ROUTED[1]), "price", "gpt-5-mini", "price of gpt-5-mini at azure: $1.00 in and $2.00 out per million tokens"),
    "weight": ((("{provider: openai}", "{provider: openai, weight: 3}"),), "route", "gpt-5-mini", "weights of the providers of gpt-5-mini: 1 -> 3"),
    "role": ((("  budget: [gpt-5-mini, claude-haiku]", "  budget: {models: [gpt-5-mini, claude-haiku], role: worker}"),), "route", "budget", "role of model tier budget: none -> worker"),
    "failover": ((("    gate: chat\n", "    gate: chat\n    route: {failover: [same-tier, tier budget]}\n"),), "route", "support-chat", "when a provider fails it goes on with the same tier, then tier budget instead of the same model elsewhere"),
    "tasks": ((("    gate: chat\n", "    gate: chat\n    route: {tasks: {long: {tier: budget, when: {above: 5k, without: [tools]}}}}\n"),), "route", "support-chat", "its tasks are long (budget for no tools and above 5k) instead of none"),
    "pin": ((("    gate: chat\n", "    gate: chat\n    route: {pin: [openai]}\n"),), "route", "support-chat", "pinned to openai instead of nothing"),
    "retries": ((("    gate: chat\n", "    gate: chat\n    route: {retries: 2, retry_unsure: true}\n"),), "route", "support-chat", "tried again 2 times, even if it may have been billed instead of 0 times, and once elsewhere in an outage"),
    "speaks": ((("limit_field", "speaks: [openai]\n    limit_field"),), "provider", "openai", "speaks openai, openai-embeddings, openai-responses -> openai"),
    "alias": ((("    aliases: [gpt-5-latest]\n", ""),), "model", "gpt-5-latest", "can no longer be asked for"),
    "user": ((("      alice: {tier: pro, email: alice@acme.example}", "      bob: {tier: pro}"), ("lead: alice", "lead: bob")), "user", "acme/alice", "is removed and counts as tier free"),
    "user refused": ((("      alice: {tier: pro, email: alice@acme.example}", "      bob: {tier: pro}"), ("    default_tier: free\n", "")), "user", "acme/alice", "is removed and will be refused"),
    "user's tier": ((("alice: {tier: pro,", "alice: {tier: free,"),), "user", "acme/alice", "tier pro -> free"),
    "zone": ((("Europe/Berlin", "Europe/Paris"),), "tenant", "acme", "current counters begin anew"),
    "tenant": ((("tenants:\n", "tenants:\n  beta: {owner: a@b.example, default_tier: free}\n"),), "tenant", "beta", "begins with 0 users"),
    "grace": ((("grace: 500", "grace: 600"),), "overage", "support-chat", "600 tokens instead of 500 tokens"),
    "provider": ((("max_connections: 1000", "max_connections: 10"),), "provider", "openai", "max connections 1000 -> 10"),
    "longest answer": ((("max_output: 128k", "max_output: 64k"),), "model", "gpt-5", "longest answer of gpt-5: 128k -> 64k"),
    "context": ((("context: 400k", "context: 300k"),), "model", "gpt-5", "context of gpt-5: 400k -> 300k"),
    "steps of price": ((("      long: [{above: 200k, input: $2.50, output: $15}]\n", ""),), "price", "gpt-5", "above 200k $2.50 in and $15.00 out"),
    "owner": ((("owner: ada@acme.example", "owner: bob@acme.example"),), "tenant", "acme", "goes to bob@acme.example instead of ada@acme.example"),
    "default tier": ((("default_tier: free", "default_tier: pro"),), "tenant", "acme", "tier free -> tier pro"),
    "new user": ((("    users:\n", "    users:\n      bob: {tier: free}\n"),), "user", "acme/bob", "gets tier free"),
    "unlimited": ((("degraded: same", "degraded: unlimited"),), "ceiling", "support-chat/pro", "after a soft cap: $2.00 a day and 1M tokens a week and 2M tokens or $20.00 a month -> without limit"),
    "another gate": ((("gate: chat", "gate: docs"),), "ceiling", "support-chat", "pay-as-you-go of a tenant for support-chat: without limit -> $500.00 a month"),
    "ability": ((("can: [tools, images, json]", "can: [tools, json]"),), "model", "gpt-5", "no longer serves calls that need images"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENCES)
def test_consequences_in_words(case: str) -> None:
    changes, kind, subject, words = DIFFERENCES[case]
    found = difference(load([FILE], TODAY).snapshot, plan(*changes).snapshot)
    here = [each.text for each in found if each.kind == kind and each.subject == subject]
    assert any(words in text for text in here), found


def test_tenants_that_come_and_go() -> None:
    beta = ("tenants:\n", "tenants:\n  beta: {owner: a@b.example, default_tier: free}\n")
    two = plan(beta, ("tenants: [acme]", "tenants: [acme, beta]")).snapshot
    texts = [each.text for each in difference(two, load([FILE], TODAY).snapshot)]
    assert "tenant beta may no longer call support-chat: its calls will be refused" in texts
    assert "tenant beta is removed: all its keys will be refused" in texts
    assert "tenant beta may call support-chat" in [each.text for each in difference(load([FILE], TODAY).snapshot, two)]


def test_the_first_plan_is_all_new() -> None:
    kinds = {str(each.kind) for each in difference(None, load([FILE], TODAY).snapshot)}
    assert kinds == {"served", "ceiling", "tenant", "model", "provider"}
