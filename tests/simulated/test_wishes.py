"""Are directives read from wherever they may stand, and wrong ones named?"""

import pytest

from upshift.simulated.wishes import NO_WISHES, Wishes, read_wishes, split_model, wishes_in


def test_every_directive_can_be_asked_for() -> None:
    flags = "hang,reset,garbage,half_event,no_usage,lie_usage,wrong_model,no_finish,keepalive_comments"
    figures = "status=429,close_after=3,error_event_after=2,output_tokens=40,input_tokens=7,cached_tokens=5"
    times = "retry_after=2,delay=1.5,slow_chunk=0.2"
    assert read_wishes(flags, figures, times) == Wishes(
        status=429,
        retry_after=2.0,
        delay=1.5,
        hang=True,
        reset=True,
        close_after=3,
        garbage=True,
        half_event=True,
        no_usage=True,
        lie_usage="negative",
        wrong_model=True,
        error_event_after=2,
        output_tokens=40,
        input_tokens=7,
        cached_tokens=5,
        no_finish=True,
        slow_chunk=0.2,
        keepalive_comments=True,
    )


def test_the_last_source_wins_and_none_is_no_wish() -> None:
    assert read_wishes("delay=1", "delay=2").delay == 2
    assert read_wishes("lie_usage=huge").lie_usage == "huge"
    assert read_wishes("", " , ") is NO_WISHES


@pytest.mark.parametrize(
    "wrong",
    [
        "statsu=500",
        "status=200",
        "status",
        "delay=-1",
        "delay=nan",
        "delay=inf",
        "hang=1",
        "lie_usage=small",
        "close_after=x",
    ],
)
def test_a_wrong_directive_is_named(wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong.partition("=")[0]):
        read_wishes(wrong)


def test_where_they_stand() -> None:
    assert split_model("gpt-5-mini@status=500,delay=1") == ("gpt-5-mini", "status=500,delay=1")
    assert split_model("gpt-5-mini") == ("gpt-5-mini", "")
    text = "hi\n[[simulate: output_tokens=40]]\nthere [[simulate: delay=1]]"
    assert read_wishes(wishes_in(text)) == Wishes(output_tokens=40, delay=1.0)
    assert wishes_in("[[other]]") == ""
