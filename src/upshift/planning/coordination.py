"""What does coordination cost a team, and do the figures of a projection agree with each other?

Overhead and efficiency: Kim et al., "Towards a Science of Scaling Agent Systems" (arXiv 2512.08296). Their error
amplification follows from neither success nor turns; it is measured or unknown, and nothing here derives it.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

import msgspec

from upshift.planning.usl import Law

ANCHOR = (0.73, 28.0)
"""The breaking point that is quoted most: 28 agents where 73 % of the work is independent."""


def most_interfaces(agents: int) -> int:
    """Interfaces of a full mesh: n (n - 1) / 2."""
    return agents * (agents - 1) // 2


def overhead(turns: float, alone: float) -> float:
    """Turns beyond those of one agent, as a share of them: (T - T1) / T1."""
    return (turns - alone) / alone


def efficiency(success: float, turns: float, alone: float) -> float:
    """Success by relative turns: S / (T / T1)."""
    return success / (turns / alone)


class Coordination(msgspec.Struct, frozen=True):
    """What a team of a size does, and what it loses to coordination. Throughputs are in the unit of the law."""

    agents: int
    most: int
    """Interfaces of a full mesh."""
    active: int | None
    """Interfaces that are really declared, if that is known."""
    contacts: float | None
    """How many others an agent talks to, on average."""
    raw: float
    """What the agents would do if they needed nothing of each other."""
    efficiency: float
    """The share of it that they do."""
    effective: float
    marginal: float
    """What the next agent brings."""


def coordination(law: Law, agents: int, active: int | None = None) -> Coordination:
    """The figures of a team of `agents`. Raises ValueError where more interfaces are declared than there can be."""
    most = most_interfaces(agents)
    if active is not None and not 0 <= active <= most:
        raise ValueError(f"{active} interfaces: {agents} agents have 0 to {most}")
    effective = law.throughput(agents)
    return Coordination(
        agents=agents,
        most=most,
        active=active,
        contacts=None if active is None else 2 * active / agents,
        raw=law.gamma * agents,
        efficiency=law.efficiency(agents),
        effective=effective,
        marginal=law.throughput(agents + 1) - effective,
    )


# task independence ------------------------------------------------------------------------------------------------


def breaking_at(independence: float, known: tuple[float, float] = ANCHOR) -> float:
    """The breaking point of the same team at another share of independent work, 0 < share < 1.

    In the law N* = sqrt((1 - alpha) / beta) take what is not independent as what queues, alpha = 1 - p (Amdahl), and
    the cost of an interface in proportion to it, beta = b (1 - p): N* = sqrt(p / (b (1 - p))). `known` gives b: a share
    and the breaking point measured there. From the usual 28 agents at 73 % it makes 5 to 7 of tightly coupled work
    (p of 8 to 14 %) and 30 to 50 of highly independent work (76 to 89 %).

    An assumption until two shares have been measured; never below one agent. Raises ValueError for shares of 0 or 1.
    """
    share, peak = known
    for each in (independence, share):
        if not 0 < each < 1:
            raise ValueError(f"{each:g} is no share of independent work between 0 and 1; 73 % is 0.73")
    return max(1.0, peak * sqrt(independence / (1 - independence) * (1 - share) / share))


def elasticity(independence: float) -> float:
    """By how many per cent `breaking_at` moves when independence moves by one per cent: 1 / (2 (1 - p))."""
    if not 0 < independence < 1:
        raise ValueError(f"{independence:g} is no share of independent work between 0 and 1; 73 % is 0.73")
    return 1 / (2 * (1 - independence))


# a projection somebody made ---------------------------------------------------------------------------------------


class Projected(msgspec.Struct, frozen=True):
    """A row of a projection: what was stated of a team size. Throughputs are tasks per week."""

    agents: int
    efficiency: float
    effective: float
    raw: float | None = None
    """None where it was not stated."""

    @property
    def implied(self) -> float:
        """Raw throughput, as stated or as the other two figures imply it."""
        return self.effective / self.efficiency if self.raw is None else self.raw


class Projection(msgspec.Struct, frozen=True):
    """A projection of a team's growth, the smallest size first, with the breaking point stated beside it."""

    rows: tuple[Projected, ...]
    breaking: float
    independence: float


EXAMPLE = Projection(
    rows=(Projected(20, 0.9473, 802, 847), Projected(25, 0.9142, 968, 1_059), Projected(30, 0.8817, 1_058)),
    breaking=28,
    independence=0.73,
)
"""The worked example that courses on agent teams give, with its figures as they are published."""


class Growth(msgspec.Struct, frozen=True):
    """A row worked out: everything but agents and efficiency follows from the first row and the row's own figures."""

    agents: int
    interfaces: int
    raw: float
    raw_implied: bool
    """Not stated: it follows from efficiency and effective throughput."""
    per_agent: float
    efficiency: float
    effective: float
    gain: float | None
    """Effective throughput beyond the row before; None for the first."""
    naive: float | None
    """What the gain would be if nothing were lost to coordination."""
    at_constant_raw: float
    """Effective throughput if an agent did as much raw work as in the first row."""


def worked_out(projection: Projection) -> list[Growth]:
    """The rows with what they gain."""
    made: list[Growth] = []
    first = projection.rows[0]
    each_does = first.implied / first.agents
    for row in projection.rows:
        raw = row.implied
        effective = raw * row.efficiency
        before = made[-1] if made else None
        made.append(
            Growth(
                agents=row.agents,
                interfaces=most_interfaces(row.agents),
                raw=raw,
                raw_implied=row.raw is None,
                per_agent=raw / row.agents,
                efficiency=row.efficiency,
                effective=effective,
                gain=None if before is None else effective - before.effective,
                naive=None if before is None else raw - before.raw,
                at_constant_raw=each_does * row.agents * row.efficiency,
            )
        )
    return made


def disagreements(projection: Projection) -> list[str]:
    """Which inputs of a projection cannot all be true, in words; nothing where they agree."""
    rows = worked_out(projection)
    first = rows[0]
    found = [
        f"{stated.agents} agents: {stated.effective:,.0f} effective is stated, and {row.raw:,.0f} raw at"
        f" {row.efficiency:.2%} makes {row.effective:,.0f}"
        for row, stated in zip(rows, projection.rows, strict=True)
        if abs(row.effective - stated.effective) > 1
    ]
    found += [
        f"{row.agents} agents: {row.effective:,.0f} effective at {row.efficiency:.2%} needs {row.raw:,.0f} raw,"
        f" {row.per_agent:.2f} per agent, where {first.agents} agents do {first.per_agent:.2f} each;"
        f" at {first.per_agent:.2f} each it would be {row.at_constant_raw:,.0f}"
        for row in rows[1:]
        if abs(row.per_agent / first.per_agent - 1) > 0.01
    ]
    found += [
        f"a breaking point of {projection.breaking:g} agents is stated, and the step from {before.agents} to"
        f" {row.agents} agents still gains {row.gain:,.0f}"
        for before, row in pairwise(rows)
        if row.agents > projection.breaking and row.gain is not None and row.gain > 0
    ]
    peak = efficiency_peak(projection)
    if peak is not None and abs(peak / projection.breaking - 1) > 0.25:
        found.append(
            f"efficiency falls by {100 * _slope(rows):.2f} points per agent, which with the same raw work of each puts"
            f" the breaking point at about {peak:.0f} agents, not {projection.breaking:g}"
        )
    return found


def efficiency_peak(projection: Projection) -> float | None:
    """Where n x efficiency(n) peaks if efficiency goes on to fall in a line; None where it does not fall.

    With efficiency a - s n, the peak of n (a - s n) is at a / (2 s).
    """
    rows = worked_out(projection)
    slope = _slope(rows)
    return None if slope <= 0 else (rows[0].efficiency + slope * rows[0].agents) / (2 * slope)


def _slope(rows: Sequence[Growth]) -> float:
    """By how much efficiency falls per agent, from the first row to the last."""
    span = rows[-1].agents - rows[0].agents
    return 0.0 if span <= 0 else (rows[0].efficiency - rows[-1].efficiency) / span
