"""What does Kayenta's Mann–Whitney classifier say of two samples?"""

import numpy as np

from upshift.evidence.eprocess import Floats

_KEPT = 100
"""Values of the larger sample that differences are taken with: evenly spaced quantiles, which move no bound visibly."""


def classify(before: Floats, after: Floats) -> int:
    """1 High, −1 Low, 0 Pass, with Kayenta's defaults (98 % confidence, tolerance 0.25, either direction).

    The interval of the Hodges–Lehmann shift has to lie beyond a quarter of the shift itself. Its ends are order
    statistics of the pairwise differences, by the normal approximation.
    """
    n, n0 = len(after), len(before)
    if n < 2 or n0 < 2 or (np.ptp(after) == 0 and np.ptp(before) == 0 and after[0] == before[0]):
        return 0
    spare = 2.3263 * np.sqrt((n + n0 + 1) / (12 * n * n0))
    few = [np.quantile(one, (np.arange(_KEPT) + 0.5) / _KEPT) if len(one) > _KEPT else one for one in (before, after)]
    differences = (few[1][:, None] - few[0][None, :]).ravel()
    low, middle, high = np.quantile(differences, np.clip((0.5 - spare, 0.5, 0.5 + spare), 0, 1))
    tolerance = 0.25 * abs(middle)
    return int(low > tolerance) - int(high < -tolerance)
