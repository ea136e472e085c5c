"""Do sums of many workloads come to what they are one by one, whichever way they are added?"""

import numpy as np
import pytest
from tests.planning.outlines import COMMITTED, row

from upshift.model.quarter import Month, Quarter
from upshift.planning.draws import Dice
from upshift.planning.outline import Estimate, Row, Spread, exactly
from upshift.planning.users import Path, Sums, users_by_month

START, MONTHS, DRAWS = Month(2027, 1), 11, 50
EXACT, IN_DOUBT = exactly(0.02), Spread(0.01, 0.02, 0.04)


def shipping(at: int, growth: Spread) -> Row:
    """Before, with, within and after the horizon; every third one retires in it."""
    ships = Quarter(2026, 4).plus(at % 6)
    retires = ships.plus(2) if at % 3 == 0 else None
    estimate = Estimate(tokens=exactly(1.0), growth=growth)
    return row(f"W-{at}", status=COMMITTED, ships=ships, retires=retires, estimate=estimate)


def paths(growth: Spread, many: int = 40) -> list[Path]:
    found = [users_by_month(shipping(at, growth), START, MONTHS, Dice(1, DRAWS)) for at in range(many)]
    return [each for each in found if each is not None]


def plain(path: Path) -> np.ndarray:
    """(months, draws), month by month."""
    whole = np.zeros((MONTHS, DRAWS))
    for at, (which, scale) in enumerate(zip(path.which, path.scale, strict=True)):
        whole[path.first + at] += scale * path.profiles[which]
    return whole


@pytest.mark.parametrize("growth", [EXACT, IN_DOUBT], ids=["exact", "in doubt"])
@pytest.mark.parametrize("squared", [False, True])
def test_a_sum_is_that_of_its_terms(growth: Spread, squared: bool) -> None:
    sums, expected = Sums(MONTHS, DRAWS), np.zeros((MONTHS, DRAWS))
    for at, path in enumerate(paths(growth)):
        factor = np.linspace(1, 2 + at, DRAWS)
        sums.add(path, path.fitting(factor), squared=squared)
        expected += np.square(plain(path) * factor) if squared else plain(path) * factor
    assert sums.totals == pytest.approx(expected, rel=1e-5)
    assert sums.totals.any(axis=1).all()


@pytest.mark.parametrize("growth", [EXACT, IN_DOUBT], ids=["exact", "in doubt"])
def test_pieces_and_wider_months_are_of_the_same_path(growth: Spread) -> None:
    wide = tuple(at in {3, 4, 5} for at in range(MONTHS))
    for path in paths(growth, 6):
        assert sum(plain(piece) for piece in path.pieces()) == pytest.approx(plain(path))
        expected = plain(path) * np.where(wide, 1.3, 1.0)[:, None]
        assert plain(path.widened(wide, np.full(DRAWS, 1.3))) == pytest.approx(expected)
        assert path.summed() == pytest.approx(plain(path).sum(axis=0), rel=1e-5)


def test_what_is_too_large_for_single_precision_is_held_in_double() -> None:
    (path, *_) = paths(IN_DOUBT, 1)
    assert path.profiles.dtype == np.float32
    assert path.fitting(2.0).dtype == np.float32
    assert path.fitting(1e30).dtype == np.float64
    sums = Sums(MONTHS, DRAWS)
    sums.add(path, path.fitting(1e30), squared=True)
    assert sums.totals == pytest.approx(np.square(plain(path) * 1e30), rel=1e-5)
