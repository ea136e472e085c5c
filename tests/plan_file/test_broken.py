"""Is everything that can be wrong with a plan found, at its place, with what to do?"""

from datetime import date
from pathlib import Path

import pytest

from upshift.plan_file import PlanError, Problem, Severity, load, loads

GOOD = (Path(__file__).parent / "good.yaml").read_text()
TODAY = date(2026, 11, 1)
MARK = "¶"
"""Stands in a changed text where the problem should be reported; taken out before the plan is read."""

Changes = tuple[tuple[str, str], ...]


def changed(changes: Changes) -> tuple[str, int, int]:
    """The good plan with some text replaced, and the line and column of the mark."""
    text = GOOD
    for old, new in changes:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    before, mark, _ = text.partition(MARK)
    assert mark
    return text.replace(MARK, "", 1), before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(PlanError) as caught:
        loads(text, "plan.yaml", TODAY)
    return caught.value.problems


HAIKU = "claude-haiku: {provider: anthropic, id: claude-haiku-4-5}"

MINI = "gpt-5-mini: {provider: openai}"
OFFER = "gpt-5-mini: {{provider: openai, offers: [{{provider: {}, price: {{input: $1, output: $2}}}}]}}"


def routed(route: str) -> tuple[str, str]:
    """The change that gives support-chat a route."""
    return "    gate: chat\n", f"    gate: chat\n    route: {{{route}}}\n"


ERRORS: dict[str, tuple[Changes, str, str, str]] = {
    # name: changes, path, words of the problem, words of what to do
    "unknown gate": ((("gate: chat", "gate: ¶chatt"),), "workloads.support-chat.gate", "'chatt' is not a gate", "Did you mean 'chat'?"),
    "unknown provider": ((("{provider: openai}", "{provider: ¶opnai}"),), "models.gpt-5-mini.provider", "'opnai' is not a provider; expected one of anthropic, openai", "'openai'?"),
    "unknown model in tier": ((("premium: [gpt-5,", "premium: [¶gpt5,"),), "model_tiers.premium.0", "'gpt5' is not a model", "'gpt-5'?"),
    "unknown model tier": ((("primary: premium", "primary: ¶premiun"),), "workloads.support-chat.models.primary", "'premiun' is not a model tier", "'premium'?"),
    "model for a model tier": ((("primary: premium", "primary: ¶gpt-5"),), "workloads.support-chat.models.primary", "'gpt-5' is not a model tier", "That is a model"),
    "unknown substitute": ((("degrade_to: budget", "degrade_to: ¶buget"),), "workloads.support-chat.models.degrade_to", "'buget' is not a model tier", "'budget'?"),
    "unknown tier of user": ((("{tier: pro,", "{tier: ¶prro,"),), "tenants.acme.users.alice.tier", "'prro' is not a customer tier", "'pro'?"),
    "unknown default tier": ((("default_tier: free", "default_tier: ¶premium"),), "tenants.acme.default_tier", "'premium' is not a customer tier", "That is a model tier"),
    "unknown tier of a ceiling": ((("free: {month: 200k}", "free: {month: 200k}\n      ¶gold: {month: 9M}"),), "gates.chat.ceilings.gold", "'gold' is not a customer tier", "one of free, pro"),
    "unknown tenant": ((("tenants: [acme]", "tenants: [acme, ¶acne]"),), "workloads.support-chat.tenants.1", "'acne' is not a tenant", "'acme'?"),
    "unknown pod": ((("{pod: core}", "{pod: ¶cores}"),), "projects.portal.pod", "'cores' is not a pod", "'core'?"),
    "unknown project": ((("project: portal", "project: ¶potral"),), "workloads.support-chat.project", "'potral' is not a project", "'portal'?"),
    "no gate": ((("    gate: chat\n", ""), ("  support-chat:", "  ¶support-chat:")), "workloads.support-chat.gate", "a gate is mandatory", "Add 'gate:'"),
    "empty gate": ((("gate: chat", "¶gate:"),), "workloads.support-chat.gate", "a gate is mandatory", "Add 'gate:'"),
    "planned without gate": ((("    gate: docs\n", ""), ("  search:", "  ¶search:")), "workloads.search.gate", "a planned workload has no gate", "Add 'gate:'"),
    "tier without ceiling": ((("      free: {month: 200k}\n", ""), ("    ceilings:", "    ¶ceilings:")), "gates.chat.ceilings.free", "tier 'free' has no ceiling, though unlisted users of tenant acme", "Add 'free: {month: ...}'"),
    "no ceilings at all": ((("    ceilings:\n      free: {month: 200k}\n      pro: {month: {tokens: 2M, money: $20}, day: $2, week: 1M}\n", ""), ("  chat:", "  ¶chat:")), "gates.chat.ceilings.pro", "tier 'pro' has no ceiling", "Add 'pro: {month: ...}'"),
    "degraded tier without ceiling": ((("degraded: same", "¶degraded: {free: {month: 1k}}"),), "gates.chat.degraded.pro", "tier 'pro' has no ceiling", "Add 'pro:"),
    "ceiling of zero": ((("free: {month: 200k}", "free: {month: ¶0}"),), "gates.chat.ceilings.free.month", "refuses every call", "leave its users out"),
    "money ceiling of zero": ((("money: $20", "money: ¶$0"),), "gates.chat.ceilings.pro.month.money", "refuses every call", "leave its users out"),
    "no window": ((("free: {month: 200k}", "¶free: {}"),), "gates.chat.ceilings.free", "no ceiling is given", "Write e.g. 'month: 200k'"),
    "empty ceiling": ((("free: {month: 200k}", "free: {¶month: {}}"),), "gates.chat.ceilings.free.month", "the ceiling is empty", "Write e.g. 'month: 200k'"),
    "nothing to degrade to": ((("{primary: premium, degrade_to: budget}", "{primary: premium}"), ("    models: {primary: premium}", "    ¶models: {primary: premium}")), "workloads.support-chat.models.degrade_to", "nothing to degrade to", "Add 'degrade_to:'"),
    "money without price": (((HAIKU, "¶claude-haiku: {provider: anthropic, id: home-made, context: 8k}"),), "models.claude-haiku", "at gates.chat.ceilings.pro.day cannot hold it", "Add 'price:"),
    "name of a similar model": (((HAIKU, "¶claude-haiku: {provider: anthropic, id: claude-haiku-4-5-banana, context: 8k}"),), "models.claude-haiku", "the price of 'claude-haiku' is not known", "Add 'price:"),
    "context unknown": (((HAIKU, "¶claude-haiku: {provider: anthropic, id: x, price: {input: $1, output: 5}}"),), "models.claude-haiku.context", "the context of 'claude-haiku' is not known", "Add e.g. 'context: 128k'"),
    "answer longer than context": ((("max_output: 128k", "max_output: ¶500k"),), "models.gpt-5.max_output", "longer than the context", "at most 400,000"),
    "no answer at all": ((("max_output: 128k", "max_output: ¶0"),), "models.gpt-5.max_output", "an answer of no tokens", "more than 0"),
    "alias taken": ((("aliases: [gpt-5-latest]", "aliases: [¶gpt-5-mini]"),), "models.gpt-5.aliases.0", "", "rename one"),
    "model tier named like a model": ((("  premium: [", "  gpt-5: [gpt-5]\n  premium: ["), ("  gpt-5: [gpt-5]", "  ¶gpt-5: [gpt-5]")), "model_tiers.gpt-5", "'gpt-5' is both a model and a model tier", "rename one"),
    "workload named like a model": ((("  idea: {}", "  ¶gpt-5-latest: {}"),), "workloads.gpt-5-latest", "both an alias of model gpt-5 and a workload", "rename one"),
    "model listed twice": ((("[gpt-5-mini, claude-haiku]", "[gpt-5-mini, claude-haiku, ¶gpt-5-mini]"),), "model_tiers.budget.2", "listed twice", "each model once"),
    "empty model tier": ((("premium: [gpt-5, claude-sonnet]", "¶premium: []"),), "model_tiers.premium", "is empty", "at least one"),
    "tier listed twice": ((("tiers: [free, pro]", "tiers: [free, pro, ¶free]"),), "tiers.2", "listed twice", "each tier once"),
    "no such time zone": ((("Europe/Berlin", "¶Europe/Berlim"),), "tenants.acme.timezone", "'Europe/Berlim' is not a time zone", "'Europe/Berlin'?"),
    "city for a time zone": ((("Europe/Berlin", "¶berlin"),), "tenants.acme.timezone", "'berlin' is not a time zone", "'Europe/Berlin'?"),
    "bad e-mail": ((("owner: ada@acme.example", "owner: ¶ada at acme"),), "tenants.acme.owner", "'ada at acme' is not an e-mail address", "ada@example.com"),
    "bad URL": ((("https://api.openai.com/v1", "¶api.openai.com/v1"),), "providers.openai.base_url", "is not a URL", "Write 'https://api.openai.com/v1'"),
    "URL with a query": ((("https://api.openai.com/v1", "¶https://api.openai.com/v1?a=b"),), "providers.openai.base_url", "has a query", ""),
    "anthropic with /v1": ((("https://api.anthropic.com", "¶https://api.anthropic.com/v1/"),), "providers.anthropic.base_url", "ends in /v1", "Write 'https://api.anthropic.com'"),
    "authorization header": ((("{x-team: a}", "{¶Authorization: Bearer x}"),), "providers.openai.headers.Authorization", "sets itself", "key: env:NAME"),
    "hop-by-hop header": ((("{x-team: a}", "{¶connection: close}"),), "providers.openai.headers.connection", "sets itself", "Remove it"),
    "header with a line break": ((("{x-team: a}", '{x-team: ¶"a\\r\\nx: b"}'),), "providers.openai.headers.x-team", "cannot be sent in a header", "printable ASCII"),
    "upper-case name": ((("  idea: {}", "  ¶My Idea: {}"),), "workloads.My Idea", "'My Idea' cannot be a name", "Write 'My-Idea'"),
    "upper-case alias": ((("[gpt-5-latest]", "[¶GPT Latest]"),), "models.gpt-5.aliases.0", "'GPT Latest' cannot be a name", "Write 'gpt-latest'"),
    "name too long": ((("  idea: {}", "  ¶" + "x" * 65 + ": {}"),), "workloads." + "x" * 65, "cannot be a name", "1 to 64"),
    "user with a star": ((("alice: {tier: pro,", "¶'*': {tier: pro,"),), "tenants.acme.users.*", "cannot be a user", "without '*'"),
    "unknown dialect": ((("dialect: openai", "dialect: ¶opanai"),), "providers.openai.dialect", "'opanai' is not a choice; expected one of anthropic, gemini, openai", "'openai'?"),
    "unknown overage": ((("overage: soft-cap", "overage: ¶softcap"),), "gates.chat.overage", "'softcap' is not a choice", "'soft-cap'?"),
    "overage twice": ((("overage: [soft-cap, pay-as-you-go]", "overage: [soft-cap, ¶soft-cap]"),), "gates.docs.overage.1", "listed twice", "each step once"),
    "overage after hard-cap": ((("overage: [soft-cap, pay-as-you-go]", "overage: [hard-cap, ¶soft-cap]"),), "gates.docs.overage.1", "never reached", "hard-cap last"),
    "no overage step": ((("overage: [soft-cap, pay-as-you-go]", "overage: ¶[]"),), "gates.docs.overage", "the list is empty", "at least one"),
    "unknown status": ((("status: committed", "status: ¶commited"),), "workloads.support-chat.status", "'commited' is not a choice", "'committed'?"),
    "unknown ability": ((("can: [tools,", "can: [¶tool,"),), "models.gpt-5.can.0", "'tool' is not a choice", "'tools'?"),
    "unknown rule for degraded": ((("degraded: same", "degraded: ¶sane"),), "gates.chat.degraded", "'sane' is not a choice", "'same'?"),
    "wrong degraded tokens": ((("free: {month: 10k}", "free: {month: ¶10q}"),), "gates.docs.degraded.free.month", "'10q' is not a whole number of tokens", "520k, 1.4M"),
    "misspelt section": ((("model_tiers:", "¶modle_tiers:"),), "modle_tiers", "'modle_tiers' is not a field here", "'model_tiers'?"),
    "misspelt field": ((("base_url: https://api.openai", "¶baseurl: https://api.openai"),), "providers.openai.baseurl", "'baseurl' is not a field here; expected one of", "'base_url'?"),
    "missing field": (((HAIKU, "¶claude-haiku: {id: claude-haiku-4-5}"),), "models.claude-haiku.provider", "'provider' is missing; expected the provider that serves it", "Add 'provider: ...'"),
    "wrong format version": ((("upshift: 1", "upshift: ¶2"),), "upshift", "'2' is not a choice; expected 1", ""),
    "no name": ((("name: acme\n", ""), ("upshift: 1", "¶upshift: 1")), "name", "'name' is missing", "Add 'name: ...'"),
    "exponent for tokens": ((("free: {month: 200k}", "free: {month: ¶1e3}"),), "gates.chat.ceilings.free.month", "'1e3' is not a whole number of tokens", "520k, 1.4M"),
    "half a token": ((("grace: 500", "grace: ¶0.5"),), "gates.chat.grace", "'0.5' is not a whole number of tokens", ""),
    "money for tokens": ((("tokens: 2M", "tokens: ¶$2"),), "gates.chat.ceilings.pro.month.tokens", "is not a whole number of tokens", "put it under 'money:'"),
    "tokens for money": ((("input: $1.25", "input: ¶1.25B"),), "models.gpt-5.price.input", "'1.25B' is not an amount of money", "$2.50"),
    "too much money": ((("money: $20", "money: ¶$99999999999"),), "gates.chat.ceilings.pro.month.money", "more money than can be counted", ""),
    "sexagesimal": ((("patience: 30s", "patience: ¶12:30"),), "gates.chat.patience", "'12:30' is not a duration", "30s, 15m"),
    "no time at all": ((("connect: 5s", "connect: ¶0s"),), "providers.openai.timeouts.connect", "leaves no time", "more than 0s"),
    "no connections": ((("max_connections: 1000", "max_connections: ¶0"),), "providers.openai.max_connections", "'0' does not fit", "greater than or equal to 1"),
    "not a count": ((("max_connections: 1000", "max_connections: ¶many"),), "providers.openai.max_connections", "'many' is not a whole number", ""),
    "text for a list": ((("aliases: [gpt-5-latest]", "aliases: ¶gpt-5-latest"),), "models.gpt-5.aliases", "this is 'gpt-5-latest'", "Write [gpt-5-latest]."),
    "text for a mapping": ((("  core: {lead: alice}", "  core: ¶alice"),), "pods.core", "this is 'alice'; expected a mapping", ""),
    "mapping for text": ((("gate: chat", "gate: ¶{a: b}"),), "workloads.support-chat.gate", "this is a mapping; expected text", ""),
    "list for tokens": ((("grace: 500", "grace: ¶[500]"),), "gates.chat.grace", "this is a list", "520k"),
    "prices not rising": ((("above: 200k", "above: ¶0"),), "models.gpt-5.price.long.0.above", "is not above 0", "rising lengths"),
    "workload without tenants": ((("tenants: [acme]", "¶tenants: []"),), "workloads.support-chat.tenants", "no tenant may use this workload", "leave 'tenants' out"),
    "committed without models": ((("    models: {primary: premium, degrade_to: budget}\n", ""), ("  support-chat:", "  ¶support-chat:")), "workloads.support-chat.models", "has no models", "primary"),
    "offer at an unknown provider": (((MINI, OFFER.format("¶opnai")),), "models.gpt-5-mini.offers.0.provider", "'opnai' is not a provider", "'openai'?"),
    "offer at the same provider": (((MINI, OFFER.format("¶openai")),), "models.gpt-5-mini.offers.0.provider", "provider 'openai' serves 'gpt-5-mini' already", "a model of its own"),
    "offer with a bad price": (((MINI, "gpt-5-mini: {provider: openai, offers: [{provider: anthropic, price: {input: ¶cheap, output: $1}}]}"),), "models.gpt-5-mini.offers.0.price.input", "'cheap' is not an amount of money", ""),
    "offer without a price under money": (((MINI, "gpt-5-mini: {provider: openai, offers: [¶{provider: anthropic}]}"),), "models.gpt-5-mini.offers.0", "the price of 'gpt-5-mini@anthropic' is not known, so the ceiling in money", "Add 'price:"),
    "no provider with a weight": (((MINI, "gpt-5-mini: {provider: openai, weight: ¶0, offers: [{provider: anthropic, weight: 0, price: {input: 1, output: 1}}]}"),), "models.gpt-5-mini.weight", "has a weight", "above 0"),
    "negative weight": (((MINI, "gpt-5-mini: {provider: openai, weight: ¶-1}"),), "models.gpt-5-mini.weight", "does not fit", "greater than or equal to 0"),
    "discover elsewhere": ((("limit_field: max", "discover: ¶true\n    limit_field: max"),), "providers.openai.discover", "only a local server", "Add 'local: true'"),
    "unknown local server": ((("limit_field: max", "local: ¶olama\n    limit_field: max"),), "providers.openai.local", "'olama' is not a choice", "'ollama'?"),
    "dialects of two addresses": ((("limit_field: max", "speaks: [openai, ¶anthropic]\n    limit_field: max"),), "providers.openai.speaks.1", "another base_url", "a provider of its own"),
    "gemini with a version": ((("base_url: https://api.anthropic.com", "base_url: ¶https://generativelanguage.googleapis.com/v1beta"), ("dialect: anthropic", "dialect: gemini")), "providers.anthropic.base_url", "ends in /v1beta", "Write 'https://generativelanguage.googleapis.com'"),
    "unknown role": ((("budget: [gpt-5-mini, claude-haiku]", "budget: {models: [gpt-5-mini, claude-haiku], role: ¶boss}"),), "model_tiers.budget.role", "'boss' is not a choice", ""),
    "unknown model in a tier with a role": ((("budget: [gpt-5-mini, claude-haiku]", "budget: {models: [gpt-5-mini, ¶claude-hiku], role: worker}"),), "model_tiers.budget.models.1", "'claude-hiku' is not a model", "'claude-haiku'?"),
    "tier without models": ((("  budget: [gpt-5-mini, claude-haiku]", "  ¶budget: {role: worker}"),), "model_tiers.budget.models", "'models' is missing", ""),
    "mapping in a short tier": ((("budget: [gpt-5-mini, claude-haiku]", "budget: [gpt-5-mini, ¶{a: b}]"),), "model_tiers.budget.1", "this is a mapping", "text"),
    "unknown step": ((routed("failover: [same-model, ¶same-teir]"),), "workloads.support-chat.route.failover.1", "'same-teir' is not a step of a failover", "'same-tier'?"),
    "tier as a step": ((routed("failover: ¶budget"),), "workloads.support-chat.route.failover", "'budget' is not a step", "Write 'tier budget'"),
    "step to an unknown tier": ((routed("failover: [same-model, ¶tier buget]"),), "workloads.support-chat.route.failover.1", "'buget' is not a model tier", "'budget'?"),
    "none beside a step": ((routed("failover: [same-model, ¶none]"),), "workloads.support-chat.route.failover.1", "stands beside other steps", "'none' alone"),
    "step twice": ((routed("failover: [same-model, ¶same-model]"),), "workloads.support-chat.route.failover.1", "listed twice", "each step once"),
    "too many retries": ((routed("retries: ¶9"),), "workloads.support-chat.route.retries", "does not fit", "less than or equal to 5"),
    "unknown order": ((routed("order: ¶cheap"),), "workloads.support-chat.route.order", "'cheap' is not a choice", "'cheapest'?"),
    "hedge that is no duration": ((routed("hedge_after: ¶soon"),), "workloads.support-chat.route.hedge_after", "'soon' is not a duration", "30s, 15m"),
    "pin to nothing known": ((routed("pin: [¶opnai]"),), "workloads.support-chat.route.pin.0", "'opnai' is not a provider or a model", "'openai'?"),
    "pin that leaves nothing": ((routed("pin: ¶[gpt-5-mini]"),), "workloads.support-chat.route.pin", "nothing of model tier 'premium' is left by the pin", "primary tier"),
    "pin without a substitute": ((routed("pin: ¶[gpt-5]"),), "workloads.support-chat.route.pin", "nothing of model tier 'budget' is left by the pin", "degrade_to tier"),
    "task to an unknown tier": ((routed("tasks: {titles: ¶buget}"),), "workloads.support-chat.route.tasks.titles", "'buget' is not a model tier", "'budget'?"),
    "task in full to an unknown tier": ((routed("tasks: {titles: {tier: ¶buget}}"),), "workloads.support-chat.route.tasks.titles.tier", "'buget' is not a model tier", "'budget'?"),
    "task that fits nothing": ((routed("tasks: {titles: {tier: budget, when: {above: 2k, below: ¶1k}}}"),), "workloads.support-chat.route.tasks.titles.when.below", "no input is longer than 2,000 and shorter than 1,000", "more than 2,001"),
    "task that fits everything": ((routed("tasks: {titles: {tier: budget, ¶when: {}}}"),), "workloads.support-chat.route.tasks.titles.when", "every request fits", "Add needs"),
    "task that contradicts itself": ((routed("tasks: {titles: {tier: budget, when: {needs: [images], without: ¶[images]}}}"),), "workloads.support-chat.route.tasks.titles.when.without", "no request needs images and does not", ""),
    "defined twice": ((("  idea: {}", "  idea: {}\n  ¶search: {}"),), "workloads.search", "'search' is defined twice", "It is already defined at plan.yaml:"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_found_at_their_place(case: str) -> None:
    changes, path, words, remedy = ERRORS[case]
    text, line, column = changed(changes)
    found = [each for each in problems(text) if each.severity is Severity.ERROR]
    here = [each for each in found if each.path == path]
    assert here, [str(each) for each in found]
    assert (here[0].file, here[0].line, here[0].column) == ("plan.yaml", line, column), str(here[0])
    assert str(here[0]).startswith(f"plan.yaml:{line}:{column}: error: {path}: ")
    assert words in str(here[0])
    assert remedy in str(here[0])


ALONE = sorted(set(ERRORS) - {"no ceilings at all", "alias taken", "misspelt section", "misspelt field"})


@pytest.mark.parametrize("case", ALONE)
def test_one_mistake_is_one_error(case: str) -> None:
    text, _, _ = changed(ERRORS[case][0])
    found = [str(each) for each in problems(text) if each.severity is Severity.ERROR]
    assert len(found) == 1, found


WARNINGS: dict[str, tuple[Changes, str, str]] = {
    "plain http": ((("https://api.openai.com/v1", "¶http://llm.internal/v1"),), "providers.openai.base_url", "unencrypted"),
    "no path": ((("https://api.openai.com/v1", "¶https://api.openai.com"),), "providers.openai.base_url", "Write 'https://api.openai.com/v1'"),
    "lead not a user": ((("lead: alice", "lead: ¶alicia"),), "pods.core.lead", "Did you mean 'alice'?"),
    "day over month": ((("free: {month: 200k}", "free: {month: 200k, day: ¶1M}"),), "gates.chat.ceilings.free.day", "never reached"),
    "degrade_to unused": ((("overage: soft-cap", "overage: hard-cap"), ("degrade_to: budget", "degrade_to: ¶budget")), "workloads.support-chat.models.degrade_to", "never used"),
    "no owner of a tenant": ((("    owner: ada@acme.example\n", ""), ("  acme:\n", "  ¶acme:\n")), "tenants.acme.owner", "nobody is told"),
    "no owner of a workload": ((("    owner: sarah\n", ""), ("  support-chat:", "  ¶support-chat:")), "workloads.support-chat.owner", "has no owner"),
    "nothing committed": ((("status: committed", "status: planned"), ("workloads:", "¶workloads:")), "workloads", "nothing is served"),
    "price unknown": ((("{tokens: 2M, money: $20}, day: $2,", "2M,"), (HAIKU, "¶claude-haiku: {provider: anthropic, id: home-made, context: 8k}")), "models.claude-haiku", "recorded as unknown"),
    "one provider only": ((routed("failover: same-model"), ("  gpt-5:\n", "  ¶gpt-5:\n")), "models.gpt-5", "'gpt-5' has one provider, openai: while that is out, workload support-chat goes without it"),
    "one provider beside offers": (((MINI, OFFER.format("anthropic")), ("  claude-haiku:", "  ¶claude-haiku:")), "models.claude-haiku", "has one provider, anthropic"),
    "nothing to hedge with": ((routed("hedge_after: ¶2s"),), "workloads.support-chat.route.hedge_after", "no model of this workload has a second provider"),
    "pin against a failover": ((routed("pin: ¶[gpt-5, gpt-5-mini], failover: [same-model, tier claudes]"), ("  budget: [", "  claudes: [claude-haiku]\n  budget: [")), "workloads.support-chat.route.pin", "so no failover leads there"),
    "local tier elsewhere": ((("budget: [gpt-5-mini, claude-haiku]", "budget: {models: [¶gpt-5-mini, claude-haiku], role: local}"),), "model_tiers.budget.models.0", "is in a local tier, but its provider is not said to be local"),
    "price by dialect": ((("https://api.openai.com/v1", "http://127.0.0.1:8000/v1"), ("  gpt-5-mini: {", "  ¶gpt-5-mini: {")), "models.gpt-5-mini", "the list price of openai/gpt-5-mini"),
}  # fmt: skip


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings_do_not_refuse_a_plan(case: str) -> None:
    changes, path, words = WARNINGS[case]
    text, line, column = changed(changes)
    checked = loads(text, "plan.yaml", TODAY)
    here = [each for each in checked.warnings if each.path == path]
    assert here, [str(each) for each in checked.warnings]
    assert (here[0].line, here[0].column, here[0].severity) == (line, column, Severity.WARNING), str(here[0])
    assert words in str(here[0])


SYNTAX: dict[str, tuple[str, int, int, str]] = {
    "empty": ("", 1, 1, "the file is empty"),
    "only a comment": ("# nothing\n", 1, 1, "the file is empty"),
    "a list": ("\n- a\n", 2, 1, "the file holds a list"),
    "a scalar": ("hello\n", 1, 1, "the file holds 'hello'"),
    "two documents": ("upshift: 1\n---\nname: b\n", 2, 1, "a second document begins here"),
    "a tab": ("name:\n\tb: c\n", 2, 1, "Indent with spaces"),
    "open bracket": ("name: [a\nb: c\n", 2, 2, "this is not YAML"),
    "two colons": ("name: a: b\n", 1, 8, "Put the value in quotes."),
    "at sign": ("name: @a\n", 1, 7, "this is not YAML"),
    "a tag": ("name: !!python/name:os.system x\n", 1, 7, "means nothing in a plan"),
    "list as a name": ("? [a]\n: b\n", 1, 3, "a name is a collection here"),
    "empty name": ("~: b\n", 1, 1, "a name is empty here"),
    "unknown alias": ("name: *a\n", 1, 7, "names no finished anchor"),
    "alias to itself": ("name: &a [*a]\n", 1, 11, "names no finished anchor"),
    "control character": ("name: a\nx: \x07\n", 2, 4, "control character"),
    "surrogate": ("name: \udc80\n", 1, 7, "not Unicode text"),
    "brackets": ("name: " + "[" * 100_000, 1, 46, "nested more than 40 deep"),
    "merge of text": ("a: {<<: b}\n", 1, 9, "does not name a mapping"),
}


@pytest.mark.parametrize("case", SYNTAX)
def test_text_that_is_no_plan(case: str) -> None:
    text, line, column, words = SYNTAX[case]
    found = problems(text)
    assert len(found) == 1
    assert (found[0].line, found[0].column) == (line, column), str(found[0])
    assert words in str(found[0])


def test_aliases_cannot_multiply_without_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    (found,) = problems("\n".join(lines))
    assert "grows past" in found.what


def test_aliases_cannot_nest_without_bound() -> None:
    lines = ["a0: &a0 [[[[[[x]]]]]]"] + [f"a{i}: &a{i} [[[[*a{i - 1}]]]]" for i in range(1, 900)]
    (found,) = problems("\n".join(lines))
    assert "nested more than" in found.what


def test_secrets_are_never_repeated() -> None:
    text, line, column = changed((("env:OPENAI_API_KEY", "¶sk-verysecret"),))
    (found,) = problems(text)
    assert (found.line, found.column) == (line, column)
    assert "verysecret" not in repr(found)
    assert "environment variable" in found.remedy
    text, _, _ = changed((("https://api.openai.com/v1", "¶https://me:verysecret@api.openai.com/v1"),))
    (found,) = problems(text)
    assert "verysecret" not in repr(found)


def test_all_problems_at_once_in_the_order_of_the_text() -> None:
    text = GOOD.replace("dialect: openai", "dialect: opanai", 1).replace("gate: chat", "gate: chatt", 1)
    text = text.replace("Europe/Berlin", "Europe/Berlim").replace("grace: 500", "grace: few")
    found = [each for each in problems(text) if each.severity is Severity.ERROR]
    paths = ["providers.openai.dialect", "tenants.acme.timezone", "gates.chat.grace", "workloads.support-chat.gate"]
    assert [each.path for each in found] == paths


def test_files_are_merged_and_names_in_two_files_name_both(tmp_path: Path) -> None:
    head, _, workloads = GOOD.partition("workloads:")
    (tmp_path / "a.yaml").write_text(head)
    (tmp_path / "b.yml").write_text("workloads:" + workloads)
    (tmp_path / ".hidden.yaml").write_text("nonsense")
    whole = loads(GOOD, today=TODAY)
    assert load([tmp_path], TODAY).document == whole.document
    assert load([tmp_path / "a.yaml", tmp_path / "b.yml"], TODAY).document == whole.document
    (tmp_path / "c.yaml").write_text("name: other\npods:\n  core: {lead: bob}\n")
    with pytest.raises(PlanError) as caught:
        load([tmp_path], TODAY)
    found = {each.path: each for each in caught.value.problems}
    assert found.keys() == {"name", "pods.core"}
    twice = found["pods.core"]
    assert (twice.file, twice.line, twice.column) == (str(tmp_path / "c.yaml"), 3, 3)
    assert f"{tmp_path / 'a.yaml'}:" in twice.remedy
    (tmp_path / "c.yaml").write_text("upshift: 1\npods:\n  edge: {lead: bob}\n")
    (warning,) = load([tmp_path], TODAY).warnings
    assert (warning.file, warning.line, warning.path) == (str(tmp_path / "c.yaml"), 3, "pods.edge.lead")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: x\nowner: caf\xe9\n")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PlanError) as caught:
        load([tmp_path / "none.yaml", tmp_path / "empty", tmp_path / "latin.yaml"], TODAY)
    by_name = {Path(each.file).name: each for each in caught.value.problems}
    latin = by_name["latin.yaml"]
    assert "cannot be read" in by_name["none.yaml"].what
    assert "holds no plan" in by_name["empty"].what
    assert (latin.line, latin.column) == (2, 11)
    with pytest.raises(PlanError, match="no plan was named"):
        load([], TODAY)
