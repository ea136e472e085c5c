"""Do intervals hold what they say, and is a peak never taken from sizes that cannot show one?"""

from pathlib import Path

import numpy as np
import pytest

from upshift.planning.measurements import Measured, read_measured
from upshift.planning.team import Place, Study, at, breaking, interval, marginal, parameters, sizes, study
from upshift.planning.usl import Law, Shape, Topology, declared, fit_many, peaks

DATA = Path(__file__).parents[1] / "data"
TRUE = Law(10.0, 0.05, 0.95 / 6.7**2)
"""It peaks at 6.7 agents."""


def read(name: str, rows: int | None = None, seed: int = 1, topology: Topology = Shape.MESH) -> Study:
    measured = read_measured((DATA / name).read_text())[:rows]
    return study(measured, topology, np.random.default_rng(seed))


def noisy(law: Law, agents: tuple[int, ...], repeats: int, seed: int, noise: float = 0.1) -> list[Measured]:
    draws = np.random.default_rng(seed)
    return [
        Measured(size, law.throughput(size) * float(np.exp(draws.normal(0, noise))))
        for size in agents
        for _ in range(repeats)
    ]


def test_preassigned_teams() -> None:
    found = read("llm_teams/preassigned_p09.csv")
    assert found.means / found.means[0] == pytest.approx([1, 0.94, 1.36, 1.64, 1.43], abs=0.006)
    none = [marginal(found, agents, fitted=False).p_none for agents in (1, 2, 3, 4)]
    assert none == pytest.approx([0.72, 0.0, 0.03, 0.96], abs=0.05)


def test_decentralised_teams() -> None:
    found = read("llm_teams/decentralised.csv")
    assert found.means / found.means[0] == pytest.approx([1, 0.86, 0.69, 0.68, 0.63], abs=0.006)


@pytest.mark.parametrize(
    ("agents", "low", "high"), [((1, 2, 3, 4), 5.1, float("inf")), ((1, 2, 4, 8), 6.2, 7.6)], ids=str
)
def test_what_can_be_known_of_a_peak_at_6_7(agents: tuple[int, ...], low: float, high: float) -> None:
    """Over many such experiments: 10 % noise, 30 repeats of each size."""
    at_sizes = np.array(agents, dtype=float)
    true = np.array([TRUE.throughput(size) for size in agents])
    seen = true * np.exp(np.random.default_rng(1).normal(0, 0.1, (2_000, 30, 4))).mean(axis=1)
    found = interval(peaks(fit_many(at_sizes, seen, Shape.MESH, np.ones(4)), Shape.MESH), 6.7)
    assert found.low == pytest.approx(low, abs=0.15)
    assert found.high == pytest.approx(high, abs=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_a_peak_is_never_taken_from_four_agents(seed: int) -> None:
    found = breaking(study(noisy(TRUE, (1, 2, 3, 4), 30, seed), Shape.MESH, np.random.default_rng(1)))
    assert found.place is Place.UNKNOWN
    assert found.peak is not None
    assert found.peak.high == float("inf")
    assert 4.4 < found.peak.low < 6.7
    assert "not enough sizes measured" in found.says


def test_eight_agents_place_the_peak() -> None:
    found = [
        breaking(study(noisy(TRUE, (1, 2, 4, 8), 30, seed), Shape.MESH, np.random.default_rng(1), 800))
        for seed in range(10)
    ]
    peaks_found = [each.peak for each in found if each.peak is not None]
    assert sum(each.low <= 6.7 <= each.high for each in peaks_found) >= 8
    assert all(each.low > 5.5 and each.high < 9.5 for each in peaks_found)
    assert any(each.place is Place.MEASURED for each in found)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    held = {"gamma": 0, "alpha": 0, "beta": 0, "peak": 0, "marginal": 0}
    true = {"gamma": TRUE.gamma, "alpha": TRUE.alpha, "beta": TRUE.beta, "peak": 6.7,
            "marginal": TRUE.throughput(6) - TRUE.throughput(5)}  # fmt: skip
    for seed in range(60):
        measured = noisy(TRUE, (1, 2, 4, 6, 8, 12), 8, 100 + seed)
        found = study(measured, Shape.MESH, np.random.default_rng(seed), number=400)
        intervals = {**parameters(found), "marginal": marginal(found, 5, fitted=True).gain}
        if (broken := breaking(found).peak) is not None:
            intervals["peak"] = broken
        for name, each in intervals.items():
            held[name] += each.low <= true[name] <= each.high
    assert all(52 <= count <= 60 for count in held.values()), held


def test_one_row_per_size_has_intervals_too() -> None:
    found = read("usl/specsdm91.csv")
    broken = breaking(found)
    assert broken.place is Place.MEASURED
    assert broken.peak is not None
    assert broken.peak.low < 96.5 < broken.peak.high < 216
    assert set(parameters(found)) == {"gamma", "alpha", "beta"}
    assert all(each.low <= each.mid <= each.high for each in parameters(found).values())


def test_a_peak_beyond_what_was_measured_is_said_to_be_one() -> None:
    """The first six rows peak at 24.5; throughput at 64 is half as much again."""
    broken = breaking(read("usl/raytracer.csv", rows=6))
    assert broken.place is Place.EXTRAPOLATED
    assert "if the law holds beyond the 20 measured" in broken.says


def test_no_peak_up_to_the_largest_size() -> None:
    broken = breaking(read("usl/raytracer.csv"))
    assert broken.place is Place.UNKNOWN
    assert broken.peak is not None
    assert broken.peak.low > 64
    assert "above" in broken.says


def test_a_law_that_measurements_contradict_is_dropped() -> None:
    found = read("llm_teams/preassigned_p09.csv")
    assert not found.fits
    assert found.reach == 5
    assert "misses" in breaking(found).says
    assert read("usl/raytracer.csv").fits


def test_how_far_the_law_is_followed() -> None:
    assert read("usl/raytracer.csv").reach == 128
    assert read("usl/raytracer.csv", rows=3).reach == 8
    assert read("usl/raytracer.csv", topology=declared(lambda size: size - 1, up_to=80)).reach == 80


def test_few_sizes_and_no_repeats_have_no_intervals() -> None:
    found = read("usl/raytracer.csv", rows=3)
    assert found.law is not None
    assert found.seen is None
    assert parameters(found) == {}
    assert sizes(found)[0].throughput.high == float("inf")
    assert "3 sizes" in breaking(found).says
    with pytest.raises(ValueError, match="more than once"):
        at(found, [1, 4], fitted=False)


def test_two_sizes_are_compared_without_a_law() -> None:
    found = study(noisy(Law(10, 0.0, 0.0), (4, 6), 20, 1), Shape.MESH, np.random.default_rng(1))
    assert found.law is None
    drawn = at(found, [4, 6], fitted=False)
    assert np.mean(drawn[:, 1] > drawn[:, 0]) == 1.0
    with pytest.raises(ValueError, match="5 agents were not measured"):
        at(found, [4, 5], fitted=False)


def test_two_sizes_with_few_repeats_use_the_scatter_of_both() -> None:
    measured = [Measured(4, 40), Measured(4, 44), Measured(6, 58), Measured(6, 62)]
    found = sizes(study(measured, Shape.MESH, np.random.default_rng(1)))
    assert [each.throughput.mid for each in found] == pytest.approx([42, 60])
    assert [each.measurements for each in found] == [2, 2]
    assert found[0].throughput.low < 40


def test_means_are_tasks_by_time() -> None:
    measured = [Measured(1, 1 / 10, 10), Measured(1, 1 / 30, 30), Measured(2, 0.1, 10)]
    assert study(measured, Shape.MESH, np.random.default_rng(1)).means == pytest.approx([2 / 40, 0.1])


def test_groups_are_compared_with_themselves() -> None:
    """A slow kind of task measured mostly with large teams does not make large teams slow."""
    fast = [Measured(size, 100.0 * size, 1.0, "fast") for size in (1, 2, 3) for _ in range(6)]
    slow = [Measured(size, 1.0 * size, 1.0, "slow") for size in (1, 2, 3) for _ in range(6 + 10 * size)]
    found = study([*fast, *slow], Shape.MESH, np.random.default_rng(1))
    assert found.means / found.means[0] == pytest.approx([1, 2, 3])


def test_the_same_seed_gives_the_same() -> None:
    assert breaking(read("usl/specsdm91.csv", seed=3)) == breaking(read("usl/specsdm91.csv", seed=3))


def test_what_cannot_be_studied_is_refused() -> None:
    draws = np.random.default_rng(1)
    with pytest.raises(ValueError, match="nothing was measured"):
        study([], Shape.MESH, draws)
    with pytest.raises(ValueError, match="3 agents got nothing done"):
        study([Measured(1, 2.0), Measured(3, 0.0)], Shape.MESH, draws)
    with pytest.raises(ValueError, match="group 'b' was not measured with 2 agents"):
        study([Measured(1, 1, 1, "a"), Measured(2, 1, 1, "a"), Measured(1, 1, 1, "b")], Shape.MESH, draws)
