"""What people write, checked and compiled: YAML -> declared -> checked -> Snapshot.

reading    files to a plan, or all its problems      locate      where each value stands in the text
declared   what a plan may say                       quantities  1.4M tokens, $2.50, 48h
faults     what the declared types refuse, in words  problems    one thing to look at
checked    does it hang together                     reach       can everybody be held by a ceiling
prices     the plan's own figures                    catalogue   what public lists say; loaded when it is asked
compiled   the Snapshot, its document and its hash
routes     is there a second one where one is needed texts       names, addresses, headers
difference what a change of plan does                schema      for editors
parts      what every part of a plan has in common   outlined    the Outline that forecasts read
books      playbooks, read and checked

declared_planning, figures and checked_planning are the same for estimates, budgets, people and agents.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from upshift.plan_file.compiled import compile_document
from upshift.plan_file.difference import Consequence, Kind, difference
from upshift.plan_file.outlined import outline_document
from upshift.plan_file.problems import PlanError, Problem, Severity
from upshift.plan_file.reading import Checked, NotServed, load, loads
from upshift.plan_file.schema import json_schema

if TYPE_CHECKING:
    from upshift.plan_file import catalogue

__all__ = [
    "Checked",
    "Consequence",
    "Kind",
    "NotServed",
    "PlanError",
    "Problem",
    "Severity",
    "catalogue",
    "compile_document",
    "difference",
    "json_schema",
    "load",
    "loads",
    "outline_document",
]


def __getattr__(name: str) -> ModuleType:
    if name != "catalogue":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
