"""Are prefixes found again, and only prefixes that were kept?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upshift.simulated.asked import Block
from upshift.simulated.caching import PromptCache

WORDS = [f"w{number}" for number in range(5000)]


def block(content: str, tokens: int, ttl: str = "") -> Block:
    return Block(content.encode(), tokens, ttl)


def test_repeated_prompts_are_read_in_steps_of_128() -> None:
    cache = PromptCache(1024)
    assert cache.automatic("m", WORDS[:1500]) == 0
    assert cache.automatic("m", WORDS[:1500]) == 1408
    assert cache.automatic("m", [*WORDS[:1100], *WORDS[:900]]) == 1024
    assert cache.automatic("other", WORDS[:1500]) == 0
    assert cache.automatic("m", ["x", *WORDS[:1500]]) == 0


def test_short_prompts_are_not_kept() -> None:
    cache = PromptCache(1024)
    assert [cache.automatic("m", WORDS[:1023]) for _ in range(2)] == [0, 0]
    assert [cache.marked("m", [block("a", 1000, "5m")]) for _ in range(2)] == [(0, 0, 0)] * 2


def test_marked_prefixes_are_written_once_and_then_read() -> None:
    cache = PromptCache(1024)
    turn = [block("tools", 2000, "1h"), block("system", 500, "5m"), block("question", 30)]
    assert cache.marked("m", turn) == (0, 500, 2000)
    assert cache.marked("m", turn) == (2500, 0, 0)
    longer = [*turn[:2], block("question", 30), block("answer", 70, "5m")]
    assert cache.marked("m", longer) == (2500, 100, 0)
    assert cache.marked("m", [block("tools", 2000), block("system", 500), block("other", 9, "5m")]) == (2500, 9, 0)
    assert cache.marked("m", [block("toolssystem", 2500, "5m")]) == (0, 2500, 0)


def test_nothing_is_found_more_than_twenty_blocks_before_a_mark() -> None:
    cache = PromptCache(1)
    first = [block("a", 100, "5m")]
    assert cache.marked("m", first) == (0, 100, 0)
    assert cache.marked("m", [block("a", 100), *[block("b", 1)] * 19, block("c", 1, "5m")]) == (100, 20, 0)
    assert cache.marked("m", [block("a", 100), *[block("d", 1)] * 20, block("c", 1, "5m")]) == (0, 121, 0)


def test_the_oldest_prefixes_are_forgotten() -> None:
    cache = PromptCache(1, capacity=2)
    for name in ("a", "b", "c"):
        cache.marked("m", [block(name, 10, "5m")])
    assert cache.marked("m", [block("c", 10, "5m")]) == (10, 0, 0)
    assert cache.marked("m", [block("a", 10, "5m")]) == (0, 10, 0)


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.integers(1, 900), st.sampled_from(["", "5m", "1h"])), max_size=30
        ),
        max_size=5,
    )
)
def test_read_and_written_never_pass_the_prompt(turns: list[list[tuple[str, int, str]]]) -> None:
    cache = PromptCache(512)
    for turn in turns:
        blocks = [block(*one) for one in turn]
        figures = cache.marked("m", blocks)
        assert min(figures) >= 0
        assert sum(figures) <= sum(one.tokens for one in blocks)


@pytest.mark.parametrize("length", [1024, 1151, 1152, 5000])
def test_reading_never_passes_the_prompt(length: int) -> None:
    cache = PromptCache(1024)
    cache.automatic("m", WORDS)
    assert cache.automatic("m", WORDS[:length]) == length // 128 * 128
