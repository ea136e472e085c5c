"""Is each plan of a folder of broken ones refused, at the right place, with what to do, and never with a traceback?"""

from datetime import date
from pathlib import Path

import pytest

from upshift.plan_file import PlanError, Severity, load

FOLDER = Path(__file__).parent / "broken"
TODAY = date(2026, 11, 1)

BROKEN: dict[str, tuple[int, int, str, str, str, int]] = {
    # name: line, column and path of the first error, what is wrong, what to do, how many errors
    "a-secret": (
        29,
        10,
        "providers.anthropic.key",
        "the value is not a reference to a key",
        "Put the secret in an environment variable and write its name, e.g. key: env:OPENAI_API_KEY.",
        1,
    ),
    "alias-to-itself": (123, 9, "", "*all names no finished anchor", "expected a value that is marked with & above", 1),
    "bom-and-nothing": (1, 1, "", "the file is empty", "Begin with 'upshift: 1' and 'name: ...'.", 1),
    "capitals-only": (
        76,
        3,
        "workloads.w-01",
        "'w-01' differs from workload 'W-01' by capitals only",
        "expected a name of its own",
        2,
    ),
    "ceiling-of-a-quarter-twice": (
        22,
        42,
        "ops.ceilings.2026-Q3",
        "'2026-Q3' is the same quarter as 'Q3-2026'",
        "expected each quarter once",
        1,
    ),
    "colon-in-a-value": (
        99,
        15,
        "",
        "this is not YAML: mapping values are not allowed in this context",
        "Put the value in quotes.",
        1,
    ),
    "committed-without-owner-and-quarter": (
        64,
        3,
        "workloads.W-01.owner",
        "a committed workload has no owner",
        "Add 'owner:' with a name.",
        2,
    ),
    "decimal-comma-tokens": (
        95,
        38,
        "workloads.W-03.estimate.tokens",
        "'1,4M' is not a number of tokens",
        "Write '1.4M': the point is decimal, and a comma only groups three digits.",
        1,
    ),
    "decimal-comma": (
        14,
        11,
        "budgets.buffer",
        "'17,5%' is not a share",
        "Write '17.5%': the point is decimal, and a comma only groups three digits.",
        1,
    ),
    "duplicate-field": (
        98,
        5,
        "workloads.W-03.gate",
        "'gate' is defined twice",
        "It is already defined at FILE:97:5.",
        1,
    ),
    "duplicate-workload": (
        87,
        3,
        "workloads.W-02",
        "'W-02' is defined twice",
        "It is already defined at FILE:76:3.",
        1,
    ),
    "empty": (1, 1, "", "the file is empty", "Begin with 'upshift: 1' and 'name: ...'.", 1),
    "factor-as-a-percentage": (73, 81, "workloads.W-01.estimate.busy", "'300%' is not a factor", "Write '3'.", 1),
    "huge-number": (
        72,
        12,
        "workloads.W-01.users",
        "'9999999999999999999999999999999' is out of bounds",
        "expected 0 to 1,000,000B",
        1,
    ),
    "huge-quarter": (
        114,
        12,
        "workloads.W-05.ships",
        "'Q4-9999' is out of bounds",
        "expected a year from 2000 to 2199",
        1,
    ),
    "incomplete-estimate": (
        95,
        5,
        "workloads.W-03.estimate.ops",
        "a planned workload needs a complete estimate, and 'ops' is missing",
        "Add 'ops: 6h' with its figure, or make it a candidate, or write 'sign_offs: waived'.",
        1,
    ),
    "indentation": (
        78,
        4,
        "",
        "this is not YAML: did not find expected key while parsing a block mapping",
        "Indent it as what it stands beside, with spaces, and write 'name: value'.",
        1,
    ),
    "interface-twice": (
        126,
        3,
        "interfaces.dispatcher-review",
        "interface 'dispatcher-chat' leads from 'dispatcher' to 'chat' already",
        "expected each pair of agents once",
        1,
    ),
    "list-for-a-mapping": (118, 9, "agents.chat", "this is a list", "expected a mapping (name: value)", 1),
    "list-for-the-plan": (
        1,
        1,
        "",
        "the file holds a list",
        "expected a mapping with upshift, name, providers, models, ...",
        1,
    ),
    "misspelt-agent": (
        124,
        46,
        "interfaces.dispatcher-answers.to",
        "'anwers' is not an agent",
        "Did you mean 'answers'?",
        1,
    ),
    "misspelt-gate": (
        109,
        11,
        "workloads.W-04.gate",
        "'soft-cap-cod' is not a gate",
        "Did you mean 'soft-cap-code'?",
        1,
    ),
    "misspelt-model-tier": (
        108,
        23,
        "workloads.W-04.models.primary",
        "'opsu' is not a model tier",
        "Did you mean 'opus'?",
        1,
    ),
    "misspelt-status": (90, 13, "workloads.W-03.status", "'plannned' is not a choice", "Did you mean 'planned'?", 1),
    "money-for-hours": (17, 11, "ops.stable", "'$6' is not hours a week", "expected hours a week like 6h", 1),
    "month-for-a-quarter": (91, 12, "workloads.W-03.ships", "'2026-08' is not a quarter", "Write 'Q3-2026'.", 1),
    "negative": (
        106,
        12,
        "workloads.W-04.users",
        "'-95' is below zero",
        "expected a number like 18, 1.8, 4,200 or 1.4M",
        1,
    ),
    "nested-for-ever": (92, 55, "", "values are nested more than 40 deep here", "expected a plan, which needs 6", 1),
    "no-estimate": (
        98,
        3,
        "workloads.W-04.estimate",
        "a planned workload needs a complete estimate, and it has none",
        "Add 'estimate: {sessions: 18, tokens: 520k, ops: 6h}' with its figures, or make it a candidate, or write 'sign_offs: waived'.",
        2,
    ),
    "not-utf-8": (47, 14, "", "this is not UTF-8 text", "expected text saved as UTF-8", 1),
    "planned-without-gate": (
        98,
        3,
        "workloads.W-04.gate",
        "a planned workload has no gate; a gate is mandatory",
        "Add 'gate:' with one of the plan's gates.",
        1,
    ),
    "quarter-five": (
        114,
        12,
        "workloads.W-05.ships",
        "'Q5-2026' is not a quarter",
        "A year has the quarters Q1 to Q4.",
        1,
    ),
    "range-reversed": (
        73,
        62,
        "workloads.W-01.estimate.session",
        "'20m..9m..5m' does not rise",
        "Write '5m..9m..20m'.",
        1,
    ),
    "range-unit-once": (
        95,
        62,
        "workloads.W-03.estimate.session",
        "'1..2..5m' says the unit of its last figure only",
        "Write '1m..2m..5m'.",
        1,
    ),
    "range-with-a-dash": (
        84,
        62,
        "workloads.W-02.estimate.session",
        "'2m-10m' is not a duration",
        "Write '2m..10m'.",
        1,
    ),
    "retires-first": (
        69,
        14,
        "workloads.W-01.retires",
        "it retires in Q1-2026, though it ships in Q2-2026",
        "expected a quarter after Q2-2026: the first in which it no longer runs",
        1,
    ),
    "several-at-once": (14, 3, "budgets.bufer", "'bufer' is not a field here", "Did you mean 'buffer'?", 4),
    "share-above-all": (84, 102, "workloads.W-02.estimate.cached", "'120%' is out of bounds", "expected 0% to 100%", 1),
    "share-without-percent": (10, 15, "budgets.compute.headroom", "'35' has no unit", "Write '35%'.", 1),
    "speaks-to-itself": (
        126,
        41,
        "interfaces.dispatcher-review.to",
        "agent 'review' would speak to itself",
        "expected another agent",
        1,
    ),
    "tab": (
        65,
        1,
        "",
        "this is not YAML: found character that cannot start any token while scanning for the next token",
        "Indent with spaces; YAML does not allow tabs.",
        1,
    ),
    "thousands-in-braces": (
        73,
        38,
        "workloads.W-01.estimate.tokens",
        "within braces a comma ends the value, so that '520,000' is read as '520'",
        "Write it without commas, or in quotes.",
        1,
    ),
    "thousands-with-points": (
        72,
        12,
        "workloads.W-01.users",
        "'4.200.000' is not a number",
        "Write '4,200,000': the point is decimal, and a comma groups three digits.",
        1,
    ),
    "tokens-and-turns": (
        73,
        30,
        "workloads.W-01.estimate.tokens",
        "'tokens' and 'turns', 'input' and 'output' say the same twice",
        "Drop 'tokens' to have them derived from turns, or drop 'turns', 'input' and 'output' to keep the stated figure.",
        1,
    ),
    "turns-in-part": (
        73,
        5,
        "workloads.W-01.estimate.input",
        "'input' is missing, without which 'turns' and 'output' cannot be turned into tokens",
        "Add 'input: ...', or state 'tokens: ...' instead.",
        1,
    ),
    "two-documents": (116, 1, "", "a second document begins here", "Put it in a file of its own.", 1),
    "unclosed-quote": (
        88,
        11,
        "",
        "this is not YAML: found unexpected end of stream while scanning a quoted scalar",
        "Close the quote that begins here.",
        1,
    ),
    "freeze-ends-first": (
        30,
        38,
        "calendar.freezes.year-end.to",
        "the freeze ends on 2026-01-04, before it begins on 2026-12-18",
        "Swap them, or write the year that it ends in.",
        1,
    ),
    "day-that-is-none": (
        28,
        53,
        "calendar.holidays.Boxing Day",
        "'2026-12-32' is not a date",
        "expected a date like 2026-11-21",
        1,
    ),
    "month-cut-short": (27, 16, "calendar.year_begins", "'Apr' is not a choice", "Did you mean 'April'?", 1),
    "policy-broken": (
        74,
        3,
        "workloads.W-01.project",
        "'W-01' states no project, which each committed workload has to (policies)",
        "Add 'project: ...'.",
        4,
    ),
    "misspelt-policy": (
        32,
        14,
        "policies.required.0",
        "'stakholder' is not a choice",
        "Did you mean 'stakeholder'?",
        1,
    ),
    "data-to-the-wrong-provider": (
        84,
        43,
        "workloads.W-01.models.degrade_to",
        "model tier 'haiku' leads data of class 'customer' to claude-haiku-5-5 at anthropic (policies)",
        "Name another model tier, or pin the workload.",
        1,
    ),
    "unknown-anchor": (
        96,
        13,
        "",
        "*sonnet-only names no finished anchor",
        "expected a value that is marked with & above",
        1,
    ),
    "unknown-estimate-field": (
        84,
        16,
        "workloads.W-02.estimate.sesions",
        "'sesions' is not a field here",
        "Did you mean 'sessions'?",
        1,
    ),
    "unknown-field": (
        69,
        5,
        "workloads.W-01.stakeholders",
        "'stakeholders' is not a field here",
        "Did you mean 'stakeholder'?",
        1,
    ),
    "unknown-section": (63, 1, "workload", "'workload' is not a field here", "Did you mean 'workloads'?", 1),
    "unknown-tier": (83, 29, "workloads.W-02.users.gold", "'gold' is not a customer tier", "expected standard", 1),
    "utf-16": (1, 1, "", "this is not UTF-8 text", "expected text saved as UTF-8", 1),
    "wrong-version": (1, 10, "upshift", "'2.0' is not a choice", "expected 1", 1),
}


def test_every_file_is_expected_to_fail() -> None:
    assert {each.stem for each in FOLDER.glob("*.yaml")} == BROKEN.keys()
    assert len(BROKEN) >= 30


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plan_is_refused_where_it_is_broken(name: str) -> None:
    file = FOLDER / f"{name}.yaml"
    with pytest.raises(PlanError) as caught:
        load([file], TODAY)
    errors = [each for each in caught.value.problems if each.severity is Severity.ERROR]
    first = errors[0]
    line, column, path, what, do, count = BROKEN[name]
    assert (first.line, first.column, first.path, first.what) == (line, column, path, what)
    assert (first.remedy or f"expected {first.expected}").replace(str(file), "FILE") == do
    assert len(errors) == count
    for each in errors:
        assert each.file == str(file)
        assert each.line >= 1
        assert each.column >= 1
        assert each.remedy or each.expected, str(each)


def test_the_same_plan_unbroken_is_taken(tmp_path: Path) -> None:
    """A byte order mark, as some editors write it, is no fault."""
    whole = Path(__file__).parents[2] / "examples" / "scale-out" / "plan.yaml"
    marked = tmp_path / "plan.yaml"
    marked.write_bytes(b"\xef\xbb\xbf" + whole.read_bytes())
    assert load([marked], TODAY).document == load([whole], TODAY).document
