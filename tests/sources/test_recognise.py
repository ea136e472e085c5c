"""Is each export read for what it is, with every unit and part in its place, and all of what is wrong named?"""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.model.bill import CostLine, RequestLine, Shape, UsageLine
from upshift.model.span import MICROS
from upshift.model.tokens import Usage
from upshift.sources.fields import DAY, HOUR, BadExportError
from upshift.sources.recognise import read

NOVEMBER = 1_793_491_200
"""2026-11-01T00:00:00Z in seconds."""

OPENAI_USAGE = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": NOVEMBER,
            "end_time": NOVEMBER + 86_400,
            "results": [
                {
                    "object": "organization.usage.completions.result",
                    "input_tokens": 5000,
                    "output_tokens": 1000,
                    "input_cached_tokens": 4000,
                    "input_uncached_tokens": 1000,
                    "input_audio_tokens": 0,
                    "output_audio_tokens": 0,
                    "num_model_requests": 5,
                    "project_id": "proj_abc",
                    "user_id": None,
                    "api_key_id": "key_abc",
                    "model": "gpt-5-mini-2025-08-07",
                    "batch": False,
                    "service_tier": "default",
                }
            ],
        },
        {"object": "bucket", "start_time": NOVEMBER + 86_400, "end_time": NOVEMBER + 172_800, "results": []},
    ],
    "has_more": False,
    "next_page": None,
}
OPENAI_COSTS = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": NOVEMBER,
            "end_time": NOVEMBER + 86_400,
            "results": [
                {
                    "object": "organization.costs.result",
                    "amount": {"value": 0.06, "currency": "usd"},
                    "line_item": "gpt-5-mini, input_tokens",
                    "project_id": "proj_abc",
                    "api_key_id": None,
                    "quantity": 30000,
                },
                {"object": "organization.costs.result", "amount": {"value": 1.29e-05, "currency": "usd"}},
            ],
        }
    ],
    "has_more": True,
    "next_page": "page_AAAA",
}
ANTHROPIC_USAGE = {
    "data": [
        {
            "starting_at": "2026-11-01T00:00:00Z",
            "ending_at": "2026-11-01T01:00:00Z",
            "results": [
                {
                    "api_key_id": "apikey_01Rj",
                    "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
                    "cache_read_input_tokens": 200,
                    "context_window": "0-200k",
                    "model": "claude-sonnet-4-20250514",
                    "output_tokens": 500,
                    "server_tool_use": {"web_search_requests": 10},
                    "service_tier": "standard",
                    "uncached_input_tokens": 1500,
                    "workspace_id": "wrkspc_01Jw",
                }
            ],
        }
    ],
    "has_more": False,
    "next_page": None,
}
ANTHROPIC_COSTS = {
    "data": [
        {
            "starting_at": "2026-11-01T00:00:00Z",
            "ending_at": "2026-11-02T00:00:00Z",
            "results": [
                {
                    "amount": "123.78912",
                    "context_window": "0-200k",
                    "cost_type": "tokens",
                    "currency": "USD",
                    "description": "Claude Sonnet 4 Usage - Input Tokens",
                    "model": "claude-sonnet-4-20250514",
                    "service_tier": "standard",
                    "token_type": "uncached_input_tokens",
                    "workspace_id": None,
                },
                {"amount": "10", "cost_type": "web_search", "currency": "USD", "description": "Web Search Usage"},
            ],
        }
    ],
    "has_more": False,
}
OPENAI_USAGE_CSV = """\
start_time,end_time,start_time_iso,end_time_iso,project_id,num_model_requests,api_key_id,model,service_tier,\
input_tokens,output_tokens,input_cached_tokens,input_uncached_tokens
1793491200,1793491260,2026-11-01T00:00:00+00:00,2026-11-01T00:01:00+00:00,proj_1,3.0,key_1,gpt-5,default,\
7162,1673,1280,5882
1793491260,1793491320,2026-11-01T00:01:00+00:00,2026-11-01T00:02:00+00:00,,,,,,,,,
"""
OPENAI_COSTS_CSV = """\
start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,quantity,quantity_unit,line_item,project_id
1793491200,1793577600,2026-11-01T00:00:00+00:00,2026-11-02T00:00:00+00:00,,,,,,
1793577600,1793664000,2026-11-02T00:00:00+00:00,2026-11-03T00:00:00+00:00,0.5000,usd,1000,tokens,\
"gpt-5-nano, input_tokens",proj_a
"""
ANTHROPIC_USAGE_CSV = """\
usage_date_utc,model_version,api_key,workspace,usage_type,context_window,usage_input_tokens_no_cache,\
usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,\
usage_output_tokens,web_search_count,inference_geo,speed
2026-11-01,claude-opus-4-5-20251101,app,Default,standard,≤ 200k,100,20,3,4000,50,0,global,
"""
ANTHROPIC_COSTS_CSV = """\
usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type
2026-11-01,Claude Haiku 4.5,Default,app,message,≤ 200k,input_no_cache,0.05,0.05,token
2026-11-01,,Default,app,message,,,0.10,0.10,web_search
"""
PER_REQUEST_CSV = """\
request_id,created_at,model,input_tokens,cached_input_tokens,output_tokens,cost_usd,colour
req_1,2026-11-01T00:00:01Z,gpt-5,100,40,7,0.000123,red
"""


def lines(document: Any, name: str = "bill") -> Any:
    text = document if isinstance(document, str) else json.dumps(document)
    return read(name, text.encode())


def test_openai_usage() -> None:
    export = lines(OPENAI_USAGE)
    start = NOVEMBER * MICROS
    assert export.shape is Shape.OPENAI_USAGE
    assert export.lines == (
        UsageLine(
            where="bill:data[0].results[0]",
            start=start,
            end=start + DAY,
            model="gpt-5-mini-2025-08-07",
            tier="default",
            key="key_abc",
            project="proj_abc",
            usage=Usage(input=5000, cached=4000, output=1000),
            stated=("input", "output", "cached"),
            calls=5,
        ),
    )
    assert export.covers == ((start, start + DAY), (start + DAY, start + 2 * DAY))
    assert (export.more, export.warnings) == (False, ())


def test_openai_usage_as_csv() -> None:
    export = lines(OPENAI_USAGE_CSV)
    (line,) = export.lines
    assert line.where == "bill:2"
    assert (line.calls, line.usage) == (3, Usage(input=7162, cached=1280, output=1673))
    assert [end - start for start, end in export.covers] == [60 * MICROS] * 2
    assert export.warnings == ()


def test_openai_costs() -> None:
    export = lines(OPENAI_COSTS)
    assert [(line.model, line.nano, line.project) for line in export.lines] == [
        ("gpt-5-mini", 60_000_000, "proj_abc"),
        ("", 12_900, ""),
    ]
    assert export.more


def test_openai_costs_as_csv() -> None:
    export = lines(OPENAI_COSTS_CSV)
    (line,) = export.lines
    assert isinstance(line, CostLine)
    assert (line.model, line.nano, line.step) == ("gpt-5-nano", 500_000_000, 100_000)
    assert len(export.covers) == 2


def test_anthropic_usage() -> None:
    export = lines(ANTHROPIC_USAGE)
    (line,) = export.lines
    assert line.usage == Usage(input=3200, cached=200, cache_write_5m=500, cache_write_1h=1000, output=500)
    assert (line.end - line.start, line.key, line.project) == (HOUR, "apikey_01Rj", "wrkspc_01Jw")
    assert line.calls is None
    assert export.warnings == ()


def test_anthropic_usage_as_csv() -> None:
    (line,) = lines(ANTHROPIC_USAGE_CSV).lines
    assert line.usage == Usage(input=4123, cached=4000, cache_write_5m=20, cache_write_1h=3, output=50)
    assert line.end - line.start == DAY
    (hourly,) = lines(ANTHROPIC_USAGE_CSV.replace("2026-11-01", "2026-11-01 13:00")).lines
    assert hourly.end - hourly.start == HOUR


def test_anthropic_costs_are_in_cents() -> None:
    tokens, search = lines(ANTHROPIC_COSTS).lines
    assert (tokens.model, tokens.nano) == ("claude-sonnet-4-20250514", 1_237_891_200)
    assert (search.model, search.nano) == ("web_search", 100_000_000)


def test_anthropic_costs_as_csv_are_in_dollars() -> None:
    tokens, search = lines(ANTHROPIC_COSTS_CSV).lines
    assert (tokens.model, tokens.nano, tokens.step) == ("Claude Haiku 4.5", 50_000_000, 10_000_000)
    assert search.model == "web_search"


REQUEST = {
    "request_id": "req_1",
    "at": 1_793_491_201,
    "model": "gpt-5",
    "usage": {"input": 9, "cached": 2, "output": 1},
}


@pytest.mark.parametrize(
    "text",
    [json.dumps([REQUEST]), json.dumps(REQUEST), json.dumps(REQUEST) + "\n" + json.dumps(REQUEST) + "\n"],
    ids=["list", "object", "lines"],
)
def test_bills_by_request_as_json(text: str) -> None:
    export = lines(text)
    line = export.lines[0]
    assert isinstance(line, RequestLine)
    assert (line.ids, line.at, line.usage) == (("req_1",), (NOVEMBER + 1) * MICROS, Usage(input=9, cached=2, output=1))
    assert (line.stated, line.nano) == (("cached", "output", "input"), None)
    assert export.warnings == ()


def test_a_bill_by_request_as_csv_lists_what_it_does_not_know() -> None:
    export = lines(PER_REQUEST_CSV, "march.csv")
    (line,) = export.lines
    assert (line.where, line.nano, line.step) == ("march.csv:2", 123_000, 1_000)
    assert export.warnings == ("march.csv: columns that are not known were not read: colour",)


@pytest.mark.parametrize("at", [NOVEMBER, NOVEMBER * 1000, NOVEMBER * MICROS, "2026-11-01T01:00:00+01:00"])
def test_times_tell_their_unit_by_their_size(at: object) -> None:
    assert lines([{**REQUEST, "at": at}]).lines[0].at == NOVEMBER * MICROS


def test_input_that_is_given_in_parts_is_added_up() -> None:
    parts = {"uncached_input_tokens": 5, "cache_read_input_tokens": 3, "ephemeral_5m_input_tokens": 2}
    (line,) = lines([{"id": "a", "output_tokens": 1, **parts}]).lines
    assert line.usage == Usage(input=10, cached=3, cache_write_5m=2, output=1)


def changed(document: Any, *path: Any, value: Any) -> Any:
    copy = json.loads(json.dumps(document))
    at = copy
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return copy


RESULT = ("data", 0, "results", 0)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (
            changed(OPENAI_USAGE, *RESULT, "input_tokens", value=-1),
            "bill:data[0].results[0].input_tokens: -1 is not a whole",
        ),
        (changed(OPENAI_USAGE, *RESULT, "input_tokens", value=None), "input_tokens: nothing is not a whole number"),
        (changed(OPENAI_USAGE, *RESULT, "output_tokens", value=1.5), "output_tokens: '1.5' is not a whole"),
        (changed(OPENAI_USAGE, *RESULT, "output_tokens", value=True), "output_tokens: True is not a whole"),
        (
            changed(OPENAI_USAGE, *RESULT, "input_cached_tokens", value=6000),
            "6000 is not a part of the 5000 input tokens",
        ),
        (changed(OPENAI_USAGE, *RESULT, "object", value="organization.usage.embeddings.result"), "other reports"),
        (changed(OPENAI_USAGE, *RESULT, "model", value=7), "results[0].model: 7 is not a text"),
        (
            changed(OPENAI_USAGE, "data", 0, "start_time", value="soon"),
            "data[0].start_time: 'soon' is not a time in Unix",
        ),
        (changed(OPENAI_USAGE, "data", 0, "results", value=3), "data[0].results: 3 is not a list"),
        (changed(OPENAI_USAGE, "data", 0, value="x"), "data[0]: 'x' is not an object"),
        (changed(OPENAI_USAGE, "has_more", value="no"), "bill:has_more: 'no' is not true or false"),
        (changed(OPENAI_COSTS, *RESULT, "amount", "currency", value="eur"), "amount.currency: 'eur' is not usd"),
        (changed(OPENAI_COSTS, *RESULT, "amount", value=3), "amount: 3 is not an object"),
        (changed(ANTHROPIC_USAGE, "data", 0, "starting_at", value="2026"), "starting_at"),
        (changed(ANTHROPIC_COSTS, *RESULT, "amount", value="1,50"), "amount: '1,50' is not an amount of money"),
        (changed(ANTHROPIC_COSTS, *RESULT, "currency", value="EUR"), "currency: 'EUR' is not USD"),
        (ANTHROPIC_USAGE_CSV.replace(",50,", ",many,"), "bill:2.usage_output_tokens: 'many' is not a whole number"),
        (ANTHROPIC_USAGE_CSV.replace("2026-11-01", "November"), "usage_date_utc: 'November' is not a time"),
        (ANTHROPIC_USAGE_CSV.replace("2026-11-01", "2026-11-01 13:30"), "a date, or the beginning of an hour"),
        (ANTHROPIC_COSTS_CSV.replace("0.10,0.10", "0.10"), "bill:3: '9 cells' is not a line of 10 cells"),
        (
            ANTHROPIC_COSTS_CSV.replace(",token_type", ",model"),
            "bill:1: 'model' is not a column's name that is there once",
        ),
        (PER_REQUEST_CSV.replace("req_1", ""), "request_id: nothing is not the id of a request"),
        (PER_REQUEST_CSV.replace(",40,", ",400,"), "an input that contains its 400 cached tokens"),
        (
            [{"id": "a", "input_tokens": 9, "cache_read_input_tokens": 2, "output_tokens": 1}],
            "says whether input contains it",
        ),
        ([{"id": "a", "cost": "3", "currency": "eur"}], "currency: 'eur' is not usd"),
        ([REQUEST, 7], "bill:[1]: 7 is not an object"),
        ("{not json", "bill:1: 'not json' is not JSON"),
        ('{"a": NaN}', "NaN is no JSON"),
        ("[" * 100_000, "is not JSON"),
        ("a,b\n1,2\n", "a file with the columns a, b"),
        ("", "this file"),
        ('{"hello": 1}', "this JSON"),
    ],
)
def test_what_cannot_be_read_is_named(document: Any, says: str) -> None:
    with pytest.raises(BadExportError) as refused:
        lines(document)
    assert says in str(refused.value)


def test_every_fault_is_named_at_once() -> None:
    text = PER_REQUEST_CSV + "".join(f"req_{n},2026-11-01,gpt-5,{'x' * 200},0,1,0,\n" for n in range(30))
    with pytest.raises(BadExportError) as refused:
        lines(text)
    assert len(refused.value.faults) == 30
    assert str(refused.value).endswith("and 10 more")
    assert len(str(refused.value).splitlines()[0]) < 200


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(BadExportError, match="byte 1"):
        read("bill", b"a\xff")


def test_a_byte_order_mark_is_no_part_of_a_name() -> None:
    assert read("bill", b"\xef\xbb\xbf" + PER_REQUEST_CSV.encode()).lines


def test_several_pages_in_one_file() -> None:
    first, second = changed(OPENAI_USAGE, "has_more", value=True), OPENAI_USAGE
    export = lines([first, second])
    assert [line.where for line in export.lines] == ["bill:[0].data[0].results[0]", "bill:[1].data[0].results[0]"]
    assert not export.more
    assert lines([second, first]).more


def test_a_page_without_results_is_a_bill_without_use() -> None:
    empty = {**OPENAI_USAGE, "data": [{**OPENAI_USAGE["data"][1]}]}  # type: ignore[index]
    export = lines(empty)
    assert (export.lines, len(export.covers)) == ((), 1)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from([OPENAI_USAGE, OPENAI_COSTS, ANTHROPIC_USAGE, ANTHROPIC_COSTS]), st.data(), _json)
def test_pages_with_anything_in_them_are_read_or_refused(document: Any, data: st.DataObject, value: Any) -> None:
    path: list[Any] = []
    at: Any = document
    while isinstance(at, dict | list) and at and (not path or data.draw(st.booleans())):
        path.append(data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at)))))
        at = at[path[-1]]
    with contextlib.suppress(BadExportError):
        lines(changed(document, *path, value=value))


@given(
    st.sampled_from([OPENAI_USAGE_CSV, OPENAI_COSTS_CSV, ANTHROPIC_USAGE_CSV, ANTHROPIC_COSTS_CSV, PER_REQUEST_CSV]),
    st.integers(0, 400),
    st.text(max_size=6),
)
def test_tables_with_anything_in_them_are_read_or_refused(text: str, at: int, put: str) -> None:
    with contextlib.suppress(BadExportError):
        lines(text[:at] + put.encode("utf-8", "replace").decode() + text[at + len(put) :])
