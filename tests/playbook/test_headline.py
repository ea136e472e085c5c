"""Does a figure read as a person would say it, with its unit and its direction?"""

import pytest

from upshift.playbook.facts import Figure
from upshift.playbook.headline import change, percent


def figure(what: str, value: float | None, reference: float | None, **more: float) -> Figure:
    return Figure(what=what, estimator="", n=50, value=value, reference=reference, **more)  # type: ignore[arg-type]  # By name.


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (figure("latency against the snapshot", 6.0, 4.0, low=0.2, high=0.8),
         "latency 6 s, 50.0% worse than the snapshot's 4 s (+20.0% to +80.0% to the worse)"),
        (figure("cost-per-task against the control", 0.02, 0.04), "cost-per-task $0.02, 50.0% better than the control's $0.04"),
        (figure("quality against the snapshot", 0.4, 0.8), "quality 0.4, 50.0% worse than the snapshot's 0.8"),
        (figure("of-my-own against the snapshot", 2.0, 1.0), "of-my-own 2, 100.0% worse than the snapshot's 1"),
        (figure("error-rate against the control", 0.1, 0.0), "error-rate is 0.1, and was 0"),
        (figure("latency against the control", None, 4.0), "latency is not known, and was 4 s"),
    ],
)  # fmt: skip
def test_a_change_in_words(one: Figure, said: str) -> None:
    assert change(one) == said


def test_nothing_falls_by_more_than_all_of_it() -> None:
    assert (percent(-1.64), percent(-0.5), percent(4.3)) == ("-100.0%", "-50.0%", "+430.0%")
