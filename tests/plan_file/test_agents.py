"""Are agents, interfaces and contracts taken as they are written, and is what is wrong in them shown where it stands?"""

import json
from datetime import date
from pathlib import Path

import pytest

from upshift.model.contract import Direction, Enforcement, Version
from upshift.model.ids import AgentId
from upshift.plan_file import PlanError, compile_document, difference, loads
from upshift.traffic.snapshot import Snapshot

GOOD = (Path(__file__).parent / "good.yaml").read_text()
AGENTS = """
agents:
  planner: {owner: mia}
  researcher: {owner: tom, workload: support-chat, url: "https://agents.example/research", key: env:RESEARCHER_KEY}
interfaces:
  plan-research:
    from: planner
    to: researcher
    version: 1.2.0
    owner: mia
    escalation: mia, then tom
    review: quarterly
    reviewed: 2026-08-01
    request:
      volume: 600/h
      payload:
        type: object
        required: [question]
        properties:
          question: {type: string, enum: ["1", 2, true, "true", null, no, 012, 1e2]}
          depth: {type: integer, maximum: 5, default: -0.5}
        additionalProperties: false
    response:
      latency: 8s
      errors: 2%
      quality: 80%
      payload: {type: object}
"""


def plan(*changes: tuple[str, str]) -> Snapshot:
    text = GOOD + AGENTS
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    checked = loads(text, "plan.yaml", date(2026, 11, 1))
    assert compile_document(checked.document) == checked.snapshot
    return checked.snapshot


def errors(*changes: tuple[str, str]) -> list[str]:
    with pytest.raises(PlanError) as caught:
        plan(*changes)
    return [str(each) for each in caught.value.problems]


def test_a_contract_compiles_to_what_it_says() -> None:
    snapshot = plan()
    researcher = snapshot.agents[AgentId("researcher")]
    assert (researcher.url, researcher.key_env) == ("https://agents.example/research", "RESEARCHER_KEY")
    assert researcher.card_url == "https://agents.example/research/.well-known/agent-card.json"
    found = snapshot.interfaces["plan-research"]
    assert (found.caller, found.callee, found.version) == ("planner", "researcher", Version(1, 2, 0))
    assert (found.enforcement, found.text, found.lacks()) == (Enforcement.REJECT, False, ())
    assert (found.response.latency_seconds, found.response.errors, found.response.quality) == (8.0, 0.02, 0.8)
    assert found.request.volume is not None
    assert found.request.volume.amount == 600


def test_scalars_of_a_schema_are_what_yaml_takes_them_for() -> None:
    schema = json.loads(plan().interfaces["plan-research"].request.payload)
    assert schema["properties"]["question"]["enum"] == ["1", 2, True, "true", None, "no", 12, 100.0]
    assert schema["properties"]["depth"] == {"type": "integer", "maximum": 5, "default": -0.5}
    assert schema["additionalProperties"] is False


def test_a_plan_without_agents_keeps_its_hash() -> None:
    assert loads(GOOD).snapshot.hash == loads(GOOD + "\nagents: {}\ninterfaces: {}\n").snapshot.hash
    assert '"agents"' not in loads(GOOD).document


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("1.2.0", "1.2", "version: ", "'1.2' is not a version; expected a semantic version like 1.2.0. Write '1.2.0'"),
        ("2026-08-01", "August", "reviewed: ", "'August' is not a date"),
        ("maximum: 5", "maximum: five", "depth: ", "payload.properties.depth.maximum: this JSON Schema cannot be used"),
        ("maximum: 5", 'maximum: "5"', "depth: ", "is not of type"),
        (
            "{type: object}",
            '{$ref: "http://127.0.0.1/x"}',
            "payload: {",
            "payload.$ref: this JSON Schema cannot be used",
        ),
        ("{type: object}", "3", "payload: 3", "expected a mapping"),
        ("{type: object}", '{pattern: "("}', "payload: {", "payload.pattern"),
        ("version: 1.2.0\n", "text: true\n", "plan-research:", "a contract has no version, so no call passes"),
        ("workload: support-chat, ", "", "researcher: ", "serves no workload: nobody may call it"),
        ("workload: support-chat", "workload: support", "researcher: ", "Did you mean 'support-chat'?"),
        ("to: researcher", "to: planner", "to: ", "agent 'planner' would speak to itself"),
        ("to: researcher", "to: resercher", "to: ", "Did you mean 'researcher'?"),
        ("600/h", "600", "volume: ", "'600' is not a rate"),
        ("env:RESEARCHER_KEY", "sk-123", "researcher: ", "is not a reference to a key"),
        ("https://agents", "ftp://agents", "researcher: ", "is not a URL"),
        ("80%", "180%", "quality: ", "180%"),
        ("owner: mia\n    esc", "onwer: mia\n    esc", "onwer: ", "Did you mean 'owner'?"),
    ],
)
def test_what_is_wrong_is_shown_where_it_stands(old: str, new: str, line: str, words: str) -> None:
    found = errors((old, new))
    assert len(found) == 1, found
    assert words in found[0]
    text = (GOOD + AGENTS).replace(old, new, 1).splitlines()
    number = int(found[0].split(":")[1])
    assert line in text[number - 1], (found[0], text[number - 1])


def test_two_mistakes_in_two_schemas_are_both_told() -> None:
    assert len(errors(("maximum: 5", "maximum: x"), ("{type: object}", "{type: objct}"))) == 2


def test_what_a_contract_lacks_is_said_and_reviews_fall_due() -> None:
    bare = plan(("    escalation: mia, then tom\n", ""), ("    review: quarterly\n", ""), ("      volume: 600/h\n", ""))
    lacks = bare.interfaces["plan-research"].lacks()
    assert [each.split()[0] for each in lacks] == ["an", "escalation", "review"]
    contract = plan().interfaces["plan-research"]
    assert contract.overdue_days(date(2026, 11, 1)) is None
    assert contract.overdue_days(date(2026, 11, 2)) == 1
    never = plan(("    reviewed: 2026-08-01\n", "")).interfaces["plan-research"]
    assert never.overdue_days(date(2026, 11, 1)) == 0
    assert Direction() == Direction(payload="")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("1.2.0", "2.0.0", "1.2.0 -> 2.0.0; no call passes before it is activated anew"),
        ("maximum: 5", "maximum: 4", "may not be put in force: contract plan-research 1.2.0 -> 1.2.0 no longer takes"),
        ("review: quarterly", "enforcement: flag", "what does not fit is to flag instead of reject"),
        (
            "agents.example/research",
            "agents.example/other",
            "agent researcher is reached at https://agents.example/other",
        ),
        ("owner: mia\n    esc", "owner: zoe\n    esc", "zoe answers for it"),
    ],
)
def test_what_a_change_does(old: str, new: str, words: str) -> None:
    found = [each.text for each in difference(plan(), plan((old, new)))]
    assert any(words in text for text in found), found


def test_what_begins_and_what_ends() -> None:
    without = loads(GOOD, today=date(2026, 11, 1)).snapshot
    begins = [each.text for each in difference(without, plan())]
    assert "interface plan-research begins, from planner to researcher; no call passes before it is activated" in begins
    ends = [each.text for each in difference(plan(), without)]
    assert "interface plan-research is removed: planner may not speak to researcher any more" in ends
