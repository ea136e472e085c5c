"""What would a tally hold at every look of a run, computed all at once?"""

import numpy as np

from upshift.evidence.baseline import Baseline, rank, scores
from upshift.evidence.eprocess import Floats
from upshift.evidence.measurement import Observations
from upshift.evidence.pattern import HOURS, hour_of
from upshift.evidence.tally import Sums


def at_looks(values: Floats, per_look: int) -> Floats:
    """Running sums, after every so many values."""
    return np.asarray(np.cumsum(values, axis=0)[per_look - 1 :: per_look], dtype=np.float64)


def running(baseline: Baseline, found: Observations, per_look: int) -> Sums[Floats]:
    """What `upshift.evidence.tally` would hold at every look, all at once."""
    hours = hour_of(found.at, baseline.zone)
    level = found.values / baseline.shares()[hours]
    ranks = rank(np.array(baseline.sample), level)
    return Sums(
        n=at_looks(np.ones(len(level)), per_look),
        total=at_looks(level, per_look),
        squares=at_looks((level - baseline.mean) ** 2, per_look),
        ranks=at_looks(ranks, per_look),
        scores=at_looks(scores(baseline, ranks), per_look),
        above=at_looks((level > baseline.tail).astype(np.float64), per_look),
        hours=at_looks(np.eye(HOURS)[hours], per_look),
    )
