"""Which plans do the tests of sheets export, and how do they read one back?"""

from typing import Any

import yaml
from hypothesis import strategies as st

from upshift.cli.plan_sheets import book_of, tree_of
from upshift.plan_file import loads
from upshift.sheets import csv_text, xlsx_book
from upshift.sheets.figures import Numbers
from upshift.sheets.imported import applied, find, known_of, sheet_of
from upshift.sheets.reading import Known
from upshift.sheets.tables import csv_rows, workloads_table
from upshift.sheets.tree import Tree
from upshift.sheets.yaml_text import dumped, edited

BASE = """\
upshift: 1
name: acme
sign_offs: waived
providers:
  own: {dialect: openai, base_url: "https://models.example/v1"}
models:
  big: {provider: own, context: 200k, max_output: 32k, price: {input: $3, output: $15}}
  small: {provider: own, context: 200k, max_output: 32k, price: {input: $1, output: $5}}
model_tiers:
  sonnet: [big]
  haiku: [small]
tiers: [free, pro]
tenants:
  acme: {default_tier: free, owner: ada@acme.example}
gates:
  chat: {overage: soft-cap, ask: "=ask {her}", ceilings: {free: {month: 60k}, pro: {month: 220k}}}
  docs: {ceilings: {free: {month: 60k}, pro: {month: 220k}}}
"""

_TEXTS = st.text(
    st.one_of(
        st.sampled_from("=+-@'\"{}[]~#:,;|\u2192 _x\u00a0"),
        st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]),
    ),
    min_size=1,
    max_size=12,
)
_WHOLE = st.integers(1, 5_000_000)
_DECIMAL = st.decimals(1, 9_999, places=3, allow_nan=False).map(lambda number: f"{number:f}")


def _spread(numbers: st.SearchStrategy[int], unit: str) -> st.SearchStrategy[Any]:
    def three(found: list[int]) -> list[str]:
        return [f"{each}{unit}" for each in sorted(found)]

    parts = st.lists(numbers, min_size=2, max_size=3).map(three)
    return st.one_of(
        parts.map("..".join),
        parts.map(lambda each: {"p10": each[0], "p90": each[-1]}),
        st.tuples(numbers, st.integers(1, 90)).map(lambda each: f"{each[0]}{unit} +-{each[1]}%"),
    )


_COUNTS = st.one_of(
    _WHOLE.map(str), _WHOLE.map(lambda each: f"{each:,}"), _DECIMAL, st.integers(1, 900).map(lambda each: f"{each}k"),
    _spread(_WHOLE, ""), st.sampled_from(["1.4M", "1.234", "1_000", "0.125"]),
)  # fmt: skip
_FACTORS = st.one_of(_DECIMAL, st.sampled_from(["1.4x", "1.1..1.4..2", "2 +-20%"]))
_SHARES = st.one_of(st.integers(0, 20).map(lambda each: f"{each}%"), st.sampled_from(["0.125", "12.345%", "7%"]))
_HOURS = st.one_of(
    st.integers(1, 40).map(lambda each: f"{each}h"), st.just("6"), st.just("240m"), _spread(st.integers(1, 40), "h")
)
_LENGTHS = st.one_of(st.integers(1, 90).map(lambda each: f"{each}m"), st.just("90s"), st.just("1.5h"))
_QUARTERS = st.sampled_from(["Q1-2026", "q2 2026", "2026-Q3"])


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


_USERS = st.one_of(
    _COUNTS,
    st.dictionaries(
        st.sampled_from(["free", "pro"]),
        st.one_of(_COUNTS, st.fixed_dictionaries({"users": _COUNTS}, optional={"weight": _FACTORS})),
        min_size=1,
    ),
)
_WORKLOADS = st.dictionaries(
    st.from_regex(r"[A-Za-z][A-Za-z0-9._/:-]{0,12}", fullmatch=True).filter(lambda name: name.lower() == name or "W" in name),
    _some(
        name=_TEXTS, owner=_TEXTS, stakeholder=_TEXTS, sla=_TEXTS, shape=_TEXTS, status=st.just("candidate"),
        ships=_QUARTERS, retires=st.sampled_from(["Q1-2027", "2028-q1"]), users=_USERS, gate=st.sampled_from(["chat", "docs"]),
        tenants=st.just(["acme"]), route=st.just({"order": "cheapest", "retries": "2"}),
        models=st.sampled_from([{"primary": "sonnet", "degrade_to": "haiku"}, {"primary": "haiku"}]),
        estimate=_some(
            sessions=_COUNTS, turns=_COUNTS, input=_COUNTS, output=_COUNTS, multiplier=_FACTORS, retries=_FACTORS,
            output_share=_SHARES, cached=_SHARES, growth=_SHARES, session=_LENGTHS, busy=_FACTORS, ops=_HOURS,
        ),
    ),
    min_size=1,
    max_size=4,
).filter(lambda found: len({name.casefold() for name in found}) == len(found))  # fmt: skip

PLANS = _WORKLOADS.map(lambda found: BASE + yaml.safe_dump({"workloads": found}, allow_unicode=True, sort_keys=False))


def hash_of(text: str) -> str:
    return loads(text).snapshot.hash


def through_xlsx(text: str) -> str:
    """The text of the plan that its own workbook makes."""
    data = xlsx_book.render(book_of(tree_of([("plan.yaml", text)])))
    source = find("plan.xlsx", data, {})
    found = sheet_of(source, Known(), Numbers.AUTO, whole=True)
    return dumped({**found.rest, "workloads": applied(found.rest.get("workloads"), found.entries)})


def through_csv(text: str, into: str) -> str:
    """The text of a plan that takes the table of another one in."""
    data = csv_text.render(csv_rows(workloads_table(tree_of([("plan.yaml", text)]).get("workloads"))))
    plan = tree_of([("plan.yaml", into)])
    found = sheet_of(find("plan.csv", data, {}), known_of(plan), Numbers.AUTO, whole=False)
    workloads: Tree = plan.get("workloads")
    before = workloads if isinstance(workloads, dict) else {}
    edit = edited(into, before, applied(before, found.entries))
    assert edit is not None
    return edit.text
