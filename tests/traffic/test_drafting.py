"""Does a draft take everything it was drafted from, and say no more than was seen?"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.traffic.contracts import compiled
from upshift.traffic.drafting import draft, samples_in


def test_a_draft_merges_types_fields_choices_and_formats() -> None:
    samples: list[Any] = [
        {
            "mode": mode,
            "count": count,
            "day": f"2026-11-{day:02}",
            "note": None if day % 2 else "x" * day,
            "in": [{"a": 1}],
        }
        for day, (mode, count) in enumerate([("fast", 1), ("deep", 2.0), ("fast", 2.5), ("deep", 3)] * 2, 1)
    ]
    samples[0]["extra"] = True
    found = draft(samples)
    fields = found["properties"]
    assert fields["mode"] == {"type": "string", "enum": ["deep", "fast"]}
    assert fields["count"] == {"type": "number"}
    assert fields["day"] == {"type": "string", "format": "date"}
    assert fields["note"] == {"type": ["null", "string"]}
    assert fields["in"]["items"]["properties"] == {"a": {"type": "integer"}}
    assert found["required"] == ["count", "day", "in", "mode", "note"]
    assert "additionalProperties" not in found


def test_few_samples_suggest_no_choices() -> None:
    assert draft(["a", "b"])["type"] == "string"
    assert "enum" not in draft(["a", "b"])


def test_nothing_to_draft_from() -> None:
    with pytest.raises(ValueError, match="no payloads"):
        draft([])


def test_samples_are_read_line_by_line() -> None:
    assert samples_in(['{"a": 1}', "", "[2]"]) == [{"a": 1}, [2]]
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        samples_in(["1", "{"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)
    | st.sampled_from(["2026-11-21", "ada@acme.example", "https://a.example/b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.lists(JSON, min_size=1, max_size=8), st.integers(1, 6))
def test_a_draft_takes_every_sample(samples: list[Any], times: int) -> None:
    check = compiled(draft(samples * times))
    assert all(check.is_valid(each) for each in samples)
