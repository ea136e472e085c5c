"""Drawing: forecasts and comparisons as SVG, PNG and one HTML page.

style      the look of every picture, and how it becomes bytes
pictures   one function for each picture, drawn on axes
recorded   one picture: recorded calls, and the places that they ask for
team_size  one picture: what a team gets done by its size
sheets     several pictures on one sheet
report     the page: pictures, and every figure of them as a table
amounts    how amounts are written, for pictures and for text

Each is loaded when it is first used, as `charts.report`: what draws takes a second to load, and most only print.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upshift.charts import amounts, pictures, recorded, report, sheets, style, team_size

__all__ = ["amounts", "pictures", "recorded", "report", "sheets", "style", "team_size"]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
