"""What people write, checked and compiled: YAML -> declared -> checked -> Snapshot.

reading    files to a plan, or all its problems      locate      where each value stands in the text
declared   what a plan may say                       quantities  1.4M tokens, $2.50, 48h
faults     what the declared types refuse, in words  problems    one thing to look at
checked    does it hang together                     reach       can everybody be held by a ceiling
prices     the plan's figures or the catalogue's     compiled    the Snapshot, its document and its hash
routes     is there a second one where one is needed texts       names, addresses, headers
difference what a change of plan does                schema      for editors
parts      what every part of a plan has in common   outlined    the Outline that forecasts read
books      playbooks, read and checked

declared_planning, figures and checked_planning are the same for estimates, budgets, people and agents.
"""

from upshift.plan_file.compiled import compile_document
from upshift.plan_file.difference import Consequence, Kind, difference
from upshift.plan_file.outlined import outline_document
from upshift.plan_file.problems import PlanError, Problem, Severity
from upshift.plan_file.reading import Checked, NotServed, load, loads
from upshift.plan_file.schema import json_schema

__all__ = [
    "Checked",
    "Consequence",
    "Kind",
    "NotServed",
    "PlanError",
    "Problem",
    "Severity",
    "compile_document",
    "difference",
    "json_schema",
    "load",
    "loads",
    "outline_document",
]
