"""What people write, checked and compiled: YAML -> declared -> checked -> Snapshot.

reading    files to a plan, or all its problems      locate      where each value stands in the text
declared   what a plan may say                       quantities  1.4M tokens, $2.50, 48h
faults     what the declared types refuse, in words  problems    one thing to look at
checked    does it hang together                     reach       can everybody be held by a ceiling
prices     the plan's figures or the catalogue's     compiled    the Snapshot, its document and its hash
routes     is there a second one where one is needed texts       names, addresses, headers
difference what a change of plan does                schema      for editors
"""

from upshift.plan_file.compiled import compile_document
from upshift.plan_file.difference import Consequence, difference
from upshift.plan_file.problems import PlanError, Problem, Severity
from upshift.plan_file.reading import Checked, NotServed, load, loads
from upshift.plan_file.schema import json_schema

__all__ = [
    "Checked",
    "Consequence",
    "NotServed",
    "PlanError",
    "Problem",
    "Severity",
    "compile_document",
    "difference",
    "json_schema",
    "load",
    "loads",
]
