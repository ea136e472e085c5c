"""Where do agents and the interfaces between them stand in a picture: layers from left to right, few crossings?"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

WIDTH = 150
"""Of a node, in pixels, as all that follows."""
LONGEST = 21
"""Letters of a name that are written; the rest is cut off."""
_LEAST_GAP, _LETTER = 60.0, 6.5
_LEAST_HEIGHT = 48
_PORT = 34
"""Between two lines that end at one side of a node: room for a name below one and one above the next."""
_BETWEEN = 26
_EDGE = 16
_SWEEPS = 8
_BESIDE, _ABOVE, _BELOW = 9, 5, 13

Place = tuple[str, int]
"""A node is (name, -1); where a line passes a layer that it does not end in, (name of the line, layer)."""


class Line(msgspec.Struct, frozen=True):
    """What is to be drawn: a line with a name, from one node to another."""

    name: str
    start: str
    end: str


class Box(msgspec.Struct, frozen=True):
    """A node; `x` and `y` of its upper left corner."""

    name: str
    x: float
    y: float
    height: float


class Curve(msgspec.Struct, frozen=True):
    """A line as an SVG path, and where its name is written."""

    name: str
    path: str
    x: float
    y: float
    leftwards: bool
    """Whether it leads to the left: its name then ends at `x`, else it begins there."""


class Drawing(msgspec.Struct, frozen=True):
    """A picture of so many pixels."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    curves: tuple[Curve, ...]


def layered(nodes: Sequence[str], lines: Sequence[Line]) -> Drawing:
    """Nodes in layers from left to right, so that most lines lead to the right (Sugiyama's method: cycles broken,
    longest paths, medians). A line between two nodes that are not there, or from one to itself, is left out.
    """
    known = set(nodes)
    drawn = [each for each in lines if each.start in known and each.end in known and each.start != each.end]
    rightwards = _acyclic(nodes, drawn)
    layer = _layers(nodes, rightwards.values())
    chains = {each.name: _chain(each.name, *rightwards[each.name], layer) for each in drawn}
    rows = _rows(nodes, layer, chains.values())
    return _placed(rows, drawn, chains)


def _acyclic(nodes: Sequence[str], lines: Sequence[Line]) -> dict[str, tuple[str, str]]:
    """Each line's ends, those turned round that would close a circle."""
    out: dict[str, list[Line]] = defaultdict(list)
    entered = {each.end for each in lines}
    for each in lines:
        out[each.start].append(each)
    done: set[str] = set()
    ends: dict[str, tuple[str, str]] = {}
    for root in sorted(nodes, key=lambda name: name in entered):
        path = [root] if root not in done else []
        while path:
            here = path[-1]
            done.add(here)
            left = next((each for each in out[here] if each.name not in ends), None)
            if left is None:
                path.pop()
            elif left.end in path:
                ends[left.name] = (left.end, left.start)
            else:
                ends[left.name] = (left.start, left.end)
                if left.end not in done:
                    path.append(left.end)
    return ends


def _layers(nodes: Sequence[str], ends: Iterable[tuple[str, str]]) -> dict[str, int]:
    before: dict[str, set[str]] = {name: set() for name in nodes}
    for start, end in ends:
        before[end].add(start)
    layer: dict[str, int] = {}
    while len(layer) < len(before):
        for name, those in before.items():
            if name not in layer and those <= layer.keys():
                layer[name] = max((layer[each] + 1 for each in those), default=0)
    return layer


def _chain(name: str, start: str, end: str, layer: Mapping[str, int]) -> list[Place]:
    return [(start, -1), *((name, each) for each in range(layer[start] + 1, layer[end])), (end, -1)]


def _rows(nodes: Sequence[str], layer: Mapping[str, int], chains: Iterable[Sequence[Place]]) -> list[list[Place]]:
    """The places of each layer from top to bottom, where the fewest lines cross that sweeping to and fro finds."""
    rows: list[list[Place]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for name in nodes:
        rows[layer[name]].append((name, -1))
    beside: dict[Place, list[Place]] = defaultdict(list)
    for chain in chains:
        for place in chain[1:-1]:
            rows[place[1]].append(place)
        for one, other in pairwise(chain):
            beside[one].append(other)
            beside[other].append(one)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for at in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            rows[at] = _sorted(rows[at], rows[at - 1 if down else at + 1], beside)
    return rows


def _sorted(row: Sequence[Place], fixed: Sequence[Place], beside: Mapping[Place, Sequence[Place]]) -> list[Place]:
    """A row by where its neighbours in the fixed one stand on average; who has none stays about where it is."""
    there = {place: (at + 1) / (len(fixed) + 1) for at, place in enumerate(fixed)}
    wanted: dict[Place, float] = {}
    for at, place in enumerate(row):
        found = [there[each] for each in beside.get(place, ()) if each in there]
        wanted[place] = sum(found) / len(found) if found else (at + 1) / (len(row) + 1)
    return sorted(row, key=lambda place: wanted[place])


# coordinates ------------------------------------------------------------------------------------------------------


def _placed(rows: Sequence[Sequence[Place]], lines: Sequence[Line], chains: Mapping[str, Sequence[Place]]) -> Drawing:
    ports: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for name, chain in chains.items():
        ports[chain[0][0], True].append(name)
        ports[chain[-1][0], False].append(name)
    height = {place: _height(place, ports) for row in rows for place in row}
    gap = _LEAST_GAP + _LETTER * min(LONGEST, max((len(each.name) for each in lines), default=0))
    total = max((sum(height[place] + _BETWEEN for place in row) for row in rows), default=0) + 2 * _EDGE - _BETWEEN
    at: dict[Place, tuple[float, float]] = {}
    for column, row in enumerate(rows):
        y = (total - sum(height[place] + _BETWEEN for place in row) + _BETWEEN) / 2
        for place in row:
            at[place] = (_EDGE + column * (WIDTH + gap), y)
            y += height[place] + _BETWEEN
    middles = {place: y + height[place] / 2 for place, (_, y) in at.items()}
    port = _ports(ports, chains, middles)
    curves = tuple(_curve(each, chains[each.name], at, middles, port) for each in lines)
    boxes = tuple(Box(place[0], *at[place], height[place]) for row in rows for place in row if place[1] < 0)
    return Drawing(2 * _EDGE + len(rows) * WIDTH + max(0, len(rows) - 1) * gap, total, boxes, curves)


def _height(place: Place, ports: Mapping[tuple[str, bool], Sequence[str]]) -> float:
    if place[1] >= 0:
        return _PORT
    most = max(len(ports.get((place[0], right), ())) for right in (True, False))
    return max(_LEAST_HEIGHT, _PORT * most + 10)


def _ports(
    ports: Mapping[tuple[str, bool], Sequence[str]],
    chains: Mapping[str, Sequence[Place]],
    middles: Mapping[Place, float],
) -> dict[tuple[str, bool], float]:
    """How high each line begins (True: at its left end) and ends, in the order in which lines come from above."""
    found: dict[tuple[str, bool], float] = {}
    for (node, right), names in ports.items():
        ordered = sorted(names, key=lambda name: (middles[chains[name][1 if right else -2]], name))
        for at, name in enumerate(ordered):
            found[name, right] = middles[node, -1] + (at - (len(ordered) - 1) / 2) * _PORT
    return found


def _curve(
    line: Line,
    chain: Sequence[Place],
    at: Mapping[Place, tuple[float, float]],
    middles: Mapping[Place, float],
    port: Mapping[tuple[str, bool], float],
) -> Curve:
    points = [(at[chain[0]][0] + WIDTH, port[line.name, True])]
    for place in chain[1:-1]:
        points += [(at[place][0], middles[place]), (at[place][0] + WIDTH, middles[place])]
    points.append((at[chain[-1]][0], port[line.name, False]))
    turned = chain[0][0] != line.start
    along = points[::-1] if turned else points
    path = f"M{along[0][0]:.1f} {along[0][1]:.1f}"
    for (x, y), (to, down) in pairwise(along):
        path += f"C{(x + to) / 2:.1f} {y:.1f} {(x + to) / 2:.1f} {down:.1f} {to:.1f} {down:.1f}"
    # Each is named where it begins, on the side that it does not turn to.
    (x, y), (_, towards) = along[0], along[1]
    beside = x - _BESIDE if turned else x + _BESIDE
    return Curve(line.name, path, beside, y + _BELOW if towards < y else y - _ABOVE, turned)
