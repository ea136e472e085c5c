"""Does the fit give the published figures, the least error there is, and an honest peak in every topology?"""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from upshift.planning.usl import (
    Array,
    Declared,
    Law,
    Shape,
    declared,
    fit,
    fit_many,
    interfaces,
    peaks,
    separable,
    speaks_of,
    throughputs,
)

DATA = Path(__file__).parents[1] / "data" / "usl"


def points(name: str) -> tuple[Array, Array]:
    with (DATA / name).open() as file:
        rows = np.array([[float(cell) for cell in row] for row in list(csv.reader(file))[1:]])
    return rows[:, 0], rows[:, 1]


def sizes(*agents: int) -> Array:
    return np.array(agents, dtype=float)


def test_raytracer_first_six() -> None:
    agents, throughput = points("raytracer.csv")
    law = fit(agents[:6], throughput[:6])
    assert law.alpha == pytest.approx(0.02444, rel=0.01)
    assert law.beta == pytest.approx(0.00163, rel=0.01)
    assert law.gamma == pytest.approx(20.856, rel=0.01)


def test_raytracer_whole_has_no_peak() -> None:
    law = fit(*points("raytracer.csv"))
    assert law.beta == 0.0
    assert law.gamma == pytest.approx(21.85, rel=0.01)
    assert law.alpha == pytest.approx(0.0578, rel=0.01)
    assert law.peak == float("inf")
    assert law.limit == pytest.approx(21.85 / 0.0578, rel=0.01)


def test_specsdm91() -> None:
    law = fit(*points("specsdm91.csv"))
    assert law.alpha == pytest.approx(0.02773, rel=0.01)
    assert law.beta == pytest.approx(1.044e-4, rel=0.01)
    assert law.gamma == pytest.approx(89.995, rel=0.01)
    assert law.peak == pytest.approx(96.52, rel=0.01)
    assert law.limit == pytest.approx(3245.59, rel=0.01)


def test_contention_is_not_capped() -> None:
    agents = sizes(1, 2, 3, 4, 6)
    law = fit(agents, np.array([Law(10, 1.6, 0.05).throughput(size) for size in agents]))
    assert law.alpha == pytest.approx(1.6, rel=1e-6)
    assert law.peak == 1.0


@settings(max_examples=60, deadline=None)
@given(
    gamma=st.floats(0.01, 1e4),
    alpha=st.floats(0, 2),
    beta=st.floats(0, 0.2),
    shape=st.sampled_from([Shape.MESH, Shape.NONE, Shape.STAR]),
)
def test_what_a_law_made_is_fitted_by_it(gamma: float, alpha: float, beta: float, shape: Shape) -> None:
    agents = sizes(1, 2, 4, 8, 16, 24)
    true = Law(gamma, alpha, beta, shape)
    wanted = np.array([true.throughput(size) for size in agents])
    law = fit(agents, wanted, shape)
    assert [law.throughput(size) for size in agents] == pytest.approx(wanted, rel=1e-5)


def test_no_general_solver_finds_less_error() -> None:
    draws = np.random.default_rng(0)
    agents = sizes(1, 2, 4, 8, 16)
    parameters = np.stack([np.full(25, 50.0), 10 ** draws.uniform(-3, 0.3, 25), 10 ** draws.uniform(-5, -0.5, 25)], 1)
    noisy = np.array([[Law(*row).throughput(size) for size in agents] for row in parameters])
    noisy *= np.exp(draws.normal(0, 0.15, noisy.shape))
    for row, found in zip(noisy, fit_many(agents, noisy, Shape.MESH, np.ones(5)), strict=True):

        def missed(law: Array, row: Array = row) -> Array:
            off: Array = law[0] * agents / (1 + law[1] * (agents - 1) + law[2] * agents * (agents - 1)) - row
            return off

        others = [
            2 * least_squares(missed, [row[0], alpha, beta], bounds=([0, 0, 0], np.inf), x_scale="jac").cost
            for alpha in (0.01, 0.3)
            for beta in (1e-4, 0.03)
        ]
        assert np.sum(missed(found) ** 2) <= min(others) * (1 + 1e-6) + 1e-9 * np.sum(row**2)


def test_weights_are_repeats() -> None:
    agents, throughput = sizes(1, 2, 4, 8), np.array([10.0, 17.0, 29.0, 30.0])
    twice = fit(np.append(agents, 8.0), np.append(throughput, 30.0))
    weighed = fit(agents, throughput, weights=np.array([1.0, 1, 1, 2]))
    assert weighed.row() == pytest.approx(twice.row(), rel=1e-6)


def test_too_few_sizes_or_nothing_done_is_refused() -> None:
    with pytest.raises(ValueError, match="three team sizes"):
        fit(sizes(1, 2, 2), sizes(1, 2, 3))
    with pytest.raises(ValueError, match="above 0"):
        fit(sizes(1, 2, 3), sizes(1, 0, 3))


# topologies -------------------------------------------------------------------------------------------------------


def test_interfaces_of_shapes() -> None:
    agents = sizes(1, 2, 3, 20)
    assert interfaces(Shape.MESH, agents).tolist() == [0, 1, 3, 190]
    assert interfaces(Shape.STAR, agents).tolist() == [0, 1, 2, 19]
    assert interfaces(Shape.RING, agents).tolist() == [0, 1, 3, 20]
    assert interfaces(Shape.NONE, agents).tolist() == [0, 0, 0, 0]
    assert speaks_of(Shape.MESH) is None


def test_a_declared_topology() -> None:
    topology = declared({20: 47, 10: 20})
    assert interfaces(topology, sizes(1, 10, 15, 20)) == pytest.approx([0, 20, 33.5, 47])
    assert speaks_of(topology) == 20
    with pytest.raises(ValueError, match="nothing of more than 20 agents"):
        interfaces(topology, sizes(21))


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ((), "at least one"),
        (((3, 1.0), (2, 1.0)), "smallest first"),
        (((4, 7.0),), "0 to 6 interfaces"),
        (((0, 0.0),), "1 or more"),
    ],
)
def test_an_impossible_topology_is_refused(counts: tuple[tuple[int, float], ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Declared(counts)


def test_a_declared_full_mesh_is_the_law() -> None:
    agents, throughput = points("specsdm91.csv")
    mesh = declared(lambda size: size * (size - 1) / 2, up_to=216)
    as_declared, as_mesh = fit(agents, throughput, mesh), fit(agents, throughput)
    assert as_declared.row() == pytest.approx(as_mesh.row(), rel=1e-6)
    assert as_declared.peak == round(as_mesh.peak)


def test_a_peak_at_the_end_of_what_is_declared_is_none() -> None:
    topology = declared(lambda size: size - 1, up_to=10)
    assert Law(10, 0.05, 0.001, topology).peak == float("inf")


@pytest.mark.parametrize("shape", [Shape.STAR, Shape.RING, Shape.NONE])
def test_few_interfaces_have_no_peak(shape: Shape) -> None:
    law = Law(10, 0.2, 0.1, shape)
    assert law.peak == float("inf")
    assert law.throughput(2_000) > law.throughput(1_000)


def test_a_star_cannot_tell_interfaces_from_contention() -> None:
    agents, throughput = points("raytracer.csv")
    assert not separable(Shape.STAR, agents)
    assert not separable(Shape.RING, sizes(3, 4, 8, 12))
    assert separable(Shape.MESH, agents)
    assert fit(agents, throughput, Shape.STAR).beta == 0.0


@settings(max_examples=50, deadline=None)
@given(alpha=st.floats(0, 2), beta=st.one_of(st.just(0.0), st.floats(1e-5, 0.2)), shape=st.sampled_from(list(Shape)))
def test_no_size_beats_the_peak(alpha: float, beta: float, shape: Shape) -> None:
    law = Law(1.0, alpha, beta, shape)
    everything = throughputs(law.row(), shape, np.arange(1.0, 500.0))[0]
    if law.peak == float("inf"):
        assert law.throughput(1e12) >= max(everything) * (1 - 1e-9)
    else:
        assert max(everything) <= law.throughput(law.peak) * (1 + 1e-12)


def test_efficiency_is_what_is_left_of_the_raw() -> None:
    law = Law(40.0, 0.02, 0.001)
    assert law.efficiency(1) == 1.0
    assert law.efficiency(20) * 40 * 20 == pytest.approx(law.throughput(20))
    assert Law(40.0, 0.0, 0.001).limit == float("inf")
    assert peaks(np.array([[1.0, 0.0, 0.01], [1.0, 1.5, 0.0]]), Shape.MESH).tolist() == [10.0, 1.0]
