"""Which Universal Scalability Law do measured throughputs follow, in which topology, and where is its peak?

N. J. Gunther, "A Simple Capacity Model of Massively Parallel Transaction Systems" (1993): contention costs in
proportion to N - 1, coherency in proportion to the pairs that have to agree.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

_START = np.array([0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
"""Where the search begins: what a term may add to the denominator at the largest size measured."""

_STEPS = 200
_SETTLED = 1e-10
_TINY = 1e-9
"""A term that adds less than this to the denominator at the largest size measured is none."""


class Shape(Enum):
    """Who talks with whom, where a rule says it."""

    MESH = "mesh"
    STAR = "star"
    RING = "ring"
    NONE = "none"


class Declared(msgspec.Struct, frozen=True):
    """Active interfaces by team size, as declared; between two sizes in proportion, beyond the last one nothing."""

    counts: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        if not self.counts:
            raise ValueError("a declared topology has at least one team size with its interfaces")
        sizes = [size for size, _ in self.counts]
        if sizes != sorted(set(sizes)) or sizes[0] < 1:
            raise ValueError("the team sizes of a topology are 1 or more, each once, the smallest first")
        for size, interfaces in self.counts:
            if not 0 <= interfaces <= size * (size - 1) / 2:
                raise ValueError(f"{size} agents have 0 to {size * (size - 1) // 2} interfaces, not {interfaces:g}")


Topology: TypeAlias = Shape | Declared


def declared(counts: Mapping[int, float] | Callable[[int], float], up_to: int = 0) -> Declared:
    """A topology from a table, or from a rule for team sizes 1 to `up_to`. Raises ValueError if it is not possible."""
    pairs = counts.items() if isinstance(counts, Mapping) else [(size, counts(size)) for size in range(1, up_to + 1)]
    return Declared(tuple(sorted((size, float(number)) for size, number in pairs)))


def speaks_of(topology: Topology) -> int | None:
    """The largest team size that a topology says something of; None where it speaks of any."""
    return None if isinstance(topology, Shape) else topology.counts[-1][0]


def interfaces(topology: Topology, agents: Array) -> Array:
    """Active interfaces at each team size. Raises ValueError for a size that a declared topology does not reach."""
    match topology:
        case Shape.MESH:
            return agents * (agents - 1) / 2
        case Shape.STAR:
            return agents - 1
        case Shape.RING:
            around: Array = np.where(agents > 2, agents, agents - 1)
            return around
        case Shape.NONE:
            return np.zeros_like(agents)
        case Declared(counts):
            last = counts[-1][0]
            if np.any(agents > last):
                raise ValueError(f"the topology says nothing of more than {last} agents; declare their interfaces")
            known = [(1.0, 0.0), *counts] if counts[0][0] > 1 else list(counts)
            found: Array = np.interp(agents, [size for size, _ in known], [number for _, number in known])
            return found


class Law(msgspec.Struct, frozen=True):
    """X(N) = gamma N / (1 + alpha (N - 1) + 2 beta I(N)), in the unit of the throughput that was measured.

    With I(N) = N (N - 1) / 2, a full mesh, it is the Universal Scalability Law. `gamma` is the throughput of one agent,
    `alpha` the share of work that queues (not capped at 1), 2 `beta` the cost of an interface.
    """

    gamma: float
    alpha: float
    beta: float
    topology: Topology = Shape.MESH

    def throughput(self, agents: float) -> float:
        """What `agents` get done."""
        return float(throughputs(self.row(), self.topology, np.array([agents]))[0, 0])

    def efficiency(self, agents: float) -> float:
        """Throughput as a share of what the same agents would do if they needed nothing of each other."""
        return self.throughput(agents) / (self.gamma * agents)

    @property
    def peak(self) -> float:
        """The team size past which the next agent takes away more than it brings; infinite if there is none."""
        return float(peaks(self.row(), self.topology)[0])

    @property
    def limit(self) -> float:
        """The throughput of ever larger teams where only contention holds it back: gamma / alpha."""
        return self.gamma / self.alpha if self.alpha > 0 else float("inf")

    def row(self) -> Array:
        """The same as one row for the functions over many laws: (1, 3) of gamma, alpha, beta."""
        return np.array([[self.gamma, self.alpha, self.beta]])


def throughputs(laws: Array, topology: Topology, agents: Array) -> Array:
    """X(N) of laws (L, 3) at team sizes (K,): (L, K)."""
    gamma, alpha, beta = laws.T[:, :, None]
    below: Array = 1 + alpha * (agents - 1) + 2 * beta * interfaces(topology, agents)
    done: Array = gamma * agents / below
    return done


def peaks(laws: Array, topology: Topology) -> Array:
    """The peaks of laws (L, 3): (L,), never below 1 agent, infinite where more agents always get more done.

    A full mesh peaks at sqrt((1 - alpha) / beta). Where interfaces grow no faster than agents, the denominator is
    c + a N from three agents on: throughput rises to gamma / a if c > 0, and there is no peak unless one of the first
    three sizes does as much. A declared topology has a peak if it is reached before the last size declared.
    """
    gamma, alpha, beta = laws.T
    if topology is Shape.MESH:
        # A beta next to nothing overflows to infinity, which is its peak.
        with np.errstate(over="ignore"):
            square = np.divide(1 - alpha, beta, out=np.where(alpha < 1, np.inf, 1.0), where=beta > 0)
        squared: Array = np.maximum(square, 1.0)
        return np.sqrt(squared)
    if isinstance(topology, Shape):
        sizes = np.array([1.0, 2.0, 3.0])
        first = throughputs(laws, topology, sizes)
        per_agent = alpha + (0 if topology is Shape.NONE else 2 * beta)
        at_once = 1 - alpha - (2 * beta if topology is Shape.STAR else 0)
        rises = (at_once > 0) & (gamma > first.max(axis=1) * per_agent)
        return np.where(rises, np.inf, sizes[np.argmax(first, axis=1)])
    sizes = np.arange(1, topology.counts[-1][0] + 1, dtype=float)
    best = np.argmax(throughputs(laws, topology, sizes), axis=1)
    return np.where(best == len(sizes) - 1, np.inf, sizes[best])


def separable(topology: Topology, agents: Array) -> bool:
    """Whether throughput at these sizes can tell the cost of an interface from contention.

    It cannot where interfaces are one more per agent, as in a star: alpha then stands for both.
    """
    columns = np.stack([np.ones_like(agents), agents - 1, interfaces(topology, agents)], axis=1)
    return int(np.linalg.matrix_rank(columns)) == 3


def fit(agents: Array, throughput: Array, topology: Topology = Shape.MESH, weights: Array | None = None) -> Law:
    """The law with the least squared error, alpha and beta not below 0.

    Raises ValueError with fewer than three team sizes, or throughputs that are not above 0.
    """
    if len(set(agents.tolist())) < 3:
        raise ValueError("three parameters need at least three team sizes; measure more sizes")
    if not np.all(throughput > 0):
        raise ValueError("throughput is above 0; leave out what was not measured")
    found = fit_many(agents, throughput[None, :], topology, np.ones_like(agents) if weights is None else weights)[0]
    return Law(float(found[0]), float(found[1]), float(found[2]), topology)


def fit_many(agents: Array, throughput: Array, topology: Topology, weights: Array) -> Array:
    """The law of every row: throughputs (L, K) measured at sizes (K,) with weights (K,) give (L, 3).

    Levenberg-Marquardt on all rows at once: a thousand resamples would take a general solver seconds. A parameter that
    would fall below 0 stays there; in such steps the others move alone.
    """
    coupled = interfaces(topology, agents)
    free = separable(topology, agents)
    # Terms as what they add at the largest size, throughput as a share of the row's largest: all of order one.
    reach = np.array([1.0, max(float(agents.max()) - 1, 1.0), max(2 * float(coupled.max()), 1.0)])
    terms = np.stack([(agents - 1) / reach[1], 2 * coupled / reach[2]])
    scale = throughput.max(axis=1, keepdims=True)
    root = np.sqrt(weights / weights.max())
    found = _descended(root * throughput / scale, root * agents / agents.max(), terms, free)
    found[:, 1:][found[:, 1:] < _TINY] = 0.0
    found[:, 0] *= scale[:, 0] / agents.max()
    laws: Array = found / reach
    return laws


def _descended(wanted: Array, above: Array, terms: Array, free: bool) -> Array:
    """Parameters (L, 3) with the least sum of squares of wanted - p0 above / (1 + p1 terms0 + p2 terms1)."""
    done = _begun(wanted, above, terms, free)
    rows, now, damping = np.arange(len(done)), done.copy(), np.full(len(done), 1e-3)
    for _ in range(_STEPS):
        shape, error = _missed(now, wanted, above, terms)
        step = _step(now, shape, error, above, terms, damping, free)
        tried = np.maximum(now + step, 0.0)
        better = np.sum(_missed(tried, wanted, above, terms)[1] ** 2, axis=1) < np.sum(error**2, axis=1)
        moving = np.max(np.abs(tried - now), axis=1) > _SETTLED
        now = np.where(better[:, None], tried, now)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-12, 1e12)
        done[rows] = now
        rows, now, damping, wanted = rows[moving], now[moving], damping[moving], wanted[moving]
        if not len(rows):
            break
    return done


def _step(now: Array, shape: Array, error: Array, above: Array, terms: Array, damping: Array, free: bool) -> Array:
    """Where Levenberg and Marquardt would go from here."""
    slope = np.stack([shape, *(-now[:, :1] * shape * shape / above * term for term in terms)], axis=2)
    downhill = np.einsum("lki,lk->li", slope, error)
    held = (now <= 0) & (downhill < 0)
    held[:, 2] |= not free
    slope = np.where(held[:, None, :], 0.0, slope)
    squares = np.einsum("lki,lkj->lij", slope, slope)
    level = np.einsum("lii->li", squares)
    level += damping[:, None] * level + np.where(held, 1.0, 1e-15)
    step: Array = np.linalg.solve(squares, np.where(held, 0.0, downhill)[:, :, None])[:, :, 0]
    return step


def _missed(now: Array, wanted: Array, above: Array, terms: Array) -> tuple[Array, Array]:
    """The curve of gamma 1 at every size, and how much is missing to what was wanted."""
    shape = above / (1 + now[:, 1:2] * terms[0] + now[:, 2:3] * terms[1])
    return shape, wanted - now[:, :1] * shape


def _begun(wanted: Array, above: Array, terms: Array, free: bool) -> Array:
    """The best of a coarse grid for every row; for given alpha and beta the best gamma is linear."""
    alphas, betas = (each.ravel() for each in np.meshgrid(_START, _START if free else _START[:1]))
    shapes = above / (1 + alphas[:, None] * terms[0] + betas[:, None] * terms[1])
    products = wanted @ shapes.T
    sizes = np.sum(shapes**2, axis=1)
    chosen = np.argmax(products**2 / sizes, axis=1)
    rows = np.arange(len(wanted))
    return np.stack([products[rows, chosen] / sizes[chosen], alphas[chosen], betas[chosen]], axis=1)
