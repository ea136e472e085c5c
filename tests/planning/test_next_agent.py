"""Does the verdict look past a size that does not pay, stop where nothing does, and say when it cannot know?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.planning.test_team import TRUE, noisy, read

from upshift.planning.measurements import Measured
from upshift.planning.next_agent import Advice, advise
from upshift.planning.team import study
from upshift.planning.usl import Law, Shape


@pytest.mark.parametrize("seed", range(5))
def test_it_is_not_greedy(seed: int) -> None:
    """The second agent costs, the fourth makes 1.64 times as much."""
    verdict = advise(read("llm_teams/preassigned_p09.csv", seed=seed), 1, 5)
    assert (verdict.advice, verdict.best) == (Advice.ADD, 4)
    assert "On the way, 2 agents get less done than 1." in verdict.says
    assert verdict.path[2].gain.low > 0


@pytest.mark.parametrize("seed", range(5))
def test_decentralised_teams_stop_at_one(seed: int) -> None:
    verdict = advise(read("llm_teams/decentralised.csv", seed=seed), 1, 5)
    assert (verdict.advice, verdict.best) == (Advice.STOP, 1)
    assert verdict.says.startswith("Stop at 1: agent 2 brings nothing with a probability of")
    assert verdict.instead


def test_the_fifth_agent_is_not_worth_it_and_a_wrong_law_is_not_asked() -> None:
    verdict = advise(read("llm_teams/preassigned_p09.csv"), 4, 8)
    assert (verdict.advice, verdict.best, verdict.known_to) == (Advice.STOP, 4, 5)
    assert "Of more than 5 agents nothing is known." in verdict.says


def test_past_the_peak_the_answer_is_stop_and_what_to_do_instead() -> None:
    found = study(noisy(TRUE, (1, 2, 4, 8), 30, 1), Shape.MESH, np.random.default_rng(1))
    verdict = advise(found, 8, 12)
    assert verdict.advice is Advice.STOP
    assert verdict.path[0].p_none > 0.9
    assert verdict.extrapolated
    assert "Retire interfaces: half of the 28 among 8 agents would bring +" in verdict.instead


def test_contention_is_named_where_it_costs_most() -> None:
    found = study(noisy(Law(10, 0.8, 0.004), (1, 2, 4, 8, 12), 30, 1), Shape.MESH, np.random.default_rng(1))
    verdict = advise(found, 12, 16)
    assert verdict.advice is Advice.STOP
    assert verdict.instead.startswith("Relieve what the agents queue for")


def test_a_gain_that_is_not_credible_is_a_stop() -> None:
    flat = [Measured(size, 10 + (row % 5)) for size in (2, 3, 4) for row in range(10)]
    verdict = advise(study(flat, Shape.MESH, np.random.default_rng(1)), 2, 4)
    assert verdict.advice is Advice.STOP
    assert 0.1 < verdict.path[0].p_gain < 0.9


def test_the_smallest_size_that_nothing_beats_is_enough() -> None:
    verdict = advise(read("usl/specsdm91.csv"), 1, 216)
    assert verdict.advice is Advice.ADD
    assert 72 < verdict.best < 97
    assert not verdict.extrapolated


def test_beyond_what_was_measured_it_says_whose_word_it_is() -> None:
    verdict = advise(read("usl/raytracer.csv"), 64, 100)
    assert (verdict.advice, verdict.extrapolated) == (Advice.ADD, True)
    assert "Only up to 64 agents were measured" in verdict.says


def test_beyond_twice_what_was_measured_nothing_is_known() -> None:
    verdict = advise(read("usl/raytracer.csv"), 64, 500)
    assert verdict.known_to == 128
    assert "Of more than 128 agents nothing is known." in verdict.says


@pytest.mark.parametrize(("rows", "now", "target"), [(3, 8, 12), (3, 1, 8)])
def test_too_little_is_no_verdict(rows: int, now: int, target: int) -> None:
    verdict = advise(read("usl/raytracer.csv", rows=rows), now, target)
    assert verdict.advice is Advice.MEASURE
    assert verdict.says.startswith("Not enough sizes measured")
    assert verdict.path == ()


def test_four_agents_say_nothing_of_six() -> None:
    found = study(noisy(TRUE, (1, 2, 3, 4), 30, 1), Shape.MESH, np.random.default_rng(1))
    assert advise(found, 4, 6).advice is Advice.MEASURE
    upward = advise(found, 2, 6)
    assert (upward.advice, upward.best, upward.known_to) == (Advice.ADD, 4, 4)


def test_a_team_that_was_not_measured_is_judged_by_the_law_only() -> None:
    assert advise(read("usl/raytracer.csv"), 10, 20).fitted
    assert advise(read("llm_teams/preassigned_p09.csv"), 6, 8).advice is Advice.MEASURE


@pytest.mark.parametrize(("now", "target"), [(5, 5), (5, 4), (0, 3), (1, 1_001)])
def test_a_target_that_is_no_growth_is_refused(now: int, target: int) -> None:
    with pytest.raises(ValueError, match="above the team of today"):
        advise(read("usl/raytracer.csv"), now, target)


@settings(max_examples=25, deadline=None)
@given(alpha=st.floats(0, 1.5), beta=st.floats(0, 0.1), now=st.integers(1, 9), seed=st.integers(0, 9))
def test_what_is_advised_gets_more_done(alpha: float, beta: float, now: int, seed: int) -> None:
    law = Law(10, alpha, beta)
    found = study(noisy(law, (1, 2, 4, 8, 10), 6, seed, 0.03), Shape.MESH, np.random.default_rng(seed), number=400)
    verdict = advise(found, now, 10)
    assert now <= verdict.best <= 10
    if verdict.advice is Advice.ADD:
        assert next(step for step in verdict.path if step.agents == verdict.best).p_gain >= 0.9
