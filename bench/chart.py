"""How do the gateways compare, as a picture that reads on light and dark pages alike?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 860
LEFT, RIGHT = 110, 210
BAR, STEP = 20, 34
TITLE_HEIGHT, AXIS_HEIGHT = 58, 40
OURS = "upshift"

STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
  .title { font-size: 15px; font-weight: 600; } .note, .tick { font-size: 11px; fill: #59636e; }
  .name { text-anchor: end; } .tick { text-anchor: middle; } .value { font-variant-numeric: tabular-nums; }
  .paper { fill: #ffffff; } .grid { stroke: #d1d9e0; } .bar { fill: #8c959f; } .ours { fill: #0969da; }
  .mine { font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .note, .tick { fill: #9198a1; }
    .paper { fill: #0d1117; } .grid { stroke: #30363d; } .bar { fill: #656c76; } .ours { fill: #4493f8; }
  }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One gateway: its figure, the ratio to nginx, and whether errors make the figure doubtful."""

    name: str
    value: float
    ratio: float | None
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars under one title, on one logarithmic axis."""

    title: str
    note: str
    bars: Sequence[Bar]


def decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that enclose the positive values; (0, 1) where there are none."""
    positive = [value for value in values if value > 0]
    if not positive:
        return 0, 1
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    return low, max(high, low + 1)


def length(value: float, low: int, high: int, width: float) -> float:
    """How long the bar of `value` is on a logarithmic axis `width` wide from 10^low to 10^high."""
    if value <= 0:
        return 0.0
    return max(2.0, width * (math.log10(value) - low) / (high - low))


def label(bar: Bar) -> str:
    """As in '23,700 · 0.27 × nginx'."""
    text = f"{bar.value:,.0f}"
    if bar.ratio is not None and bar.name != "nginx":
        text += f" · {bar.ratio:.2g} × nginx"
    return text + (" · with errors" if bar.doubtful else "")


def _panel(panel: Panel, top: float) -> tuple[list[str], float]:
    low, high = decades([bar.value for bar in panel.bars])
    width = WIDTH - LEFT - RIGHT
    bottom = top + TITLE_HEIGHT + STEP * len(panel.bars)
    parts = [
        f'<text class="title" x="16" y="{top + 24}">{escape(panel.title)}</text>',
        f'<text class="note" x="16" y="{top + 42}">{escape(panel.note)}</text>',
    ]
    for power in range(low, high + 1):
        x = LEFT + width * (power - low) / (high - low)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top + 52}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 16}">{10**power:,}</text>')
    for index, bar in enumerate(panel.bars):
        y = top + TITLE_HEIGHT + STEP * index
        ours, mine = ("bar ours", " mine") if bar.name == OURS else ("bar", "")
        long = length(bar.value, low, high, width)
        middle = y + BAR / 2 + 5
        parts += [
            f'<text class="name{mine}" x="{LEFT - 10}" y="{middle}">{escape(bar.name)}</text>',
            f'<rect class="{ours}" x="{LEFT}" y="{y}" width="{long:.1f}" height="{BAR}" rx="3"/>',
            f'<text class="value{mine}" x="{LEFT + long + 8:.1f}" y="{middle}">{escape(label(bar))}</text>',
        ]
    return parts, bottom + AXIS_HEIGHT


def chart(panels: Sequence[Panel]) -> str:
    """The panels one under the other, as an SVG document."""
    parts: list[str] = []
    top = 0.0
    for panel in panels:
        drawn, top = _panel(panel, top)
        parts += drawn
    what = escape("; ".join(panel.title for panel in panels))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top:.0f}" width="{WIDTH}" role="img">',
            f"<title>{what}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{top:.0f}"/>',
            *parts,
            "</svg>",
            "",
        ]
    )
