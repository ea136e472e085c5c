"""Which of the tools on offer does the simulated model use, and how, when it is asked to change a file?"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final, NamedTuple

from upshift.simulated.asked import Tool, encoded, wanted_calls
from upshift.simulated.schema import instance
from upshift.simulated.wishes import read_wishes, wishes_in

WRITTEN: Final = "Written by the simulated model.\n"
"""What stands in a file that it writes."""
OLD: Final = "before"
"""The word that an edit replaces."""
NEW: Final = "after"
"""What an edit puts in its place."""
_READERS = ("read_file", "read", "view")
_WRITERS = ("write_file", "write", "create_file")
_EDITORS = ("edit_file", "edit", "replace", "str_replace")
_SHELLS = ("exec_command", "shell_command", "shell", "bash", "run_shell_command")
_PATCH = "apply_patch"
_PATH = frozenset({"file_path", "filepath", "absolute_path", "path", "filename", "file"})
_TEXT = frozenset({"content", "contents", "file_text", "text"})
_OLD = frozenset({"old_string", "oldstring", "old_str", "old_text"})
_NEW = frozenset({"new_string", "newstring", "new_str", "new_text"})
_SCRIPT = frozenset({"cmd", "command"})
_FENCED = re.compile(r"(?i)file listing")
"""Words in the instructions of a client that takes changes as fenced text."""


class Turn(NamedTuple):
    """What a person asked last, and how many results of tools have come back since."""

    said: str
    results: int
    instructions: str = ""
    """What stands before it, for clients that take changes as text."""


class Step(NamedTuple):
    """What to do next: call tools, or say something, or neither, when nothing was asked for."""

    calls: tuple[Tool, ...] = ()
    reply: str = ""


NOTHING: Final = Step()


def step(tools: list[Tool], turn: Turn, said: str, choice: str, *, parallel: bool) -> Step:
    """The next step of a task, and where there is none what `wanted_calls` makes of the other arguments.

    Raises UnreadableError as that does, and ValueError as read_wishes does.
    """
    found = NOTHING if choice == "none" else next_step(tools, turn)
    return Step(wanted_calls(tools, said, choice, parallel=parallel)) if found is NOTHING else found


def next_step(tools: Sequence[Tool], turn: Turn) -> Step:
    """The next step of a task asked for with `[[simulate: write=PATH]]` or `edit=PATH`: one call, then its result.

    Several paths are parted by `|`. Each is written or edited with the first means that is offered: a tool for it, a
    patch, or a shell; in the end the model says that it is done. Raises ValueError as read_wishes does.
    """
    marks = wishes_in(turn.said)
    if not marks:
        return NOTHING
    wishes = read_wishes(marks)
    written, edited = _paths(wishes.write), _paths(wishes.edit)
    if not written and not edited:
        return NOTHING
    if not tools:
        return Step(reply=_as_text(written)) if _FENCED.search(turn.instructions) else NOTHING
    offered = {tool.name.lower(): tool for tool in tools}
    calls = [call for path in written for call in _writing(offered, path)]
    calls += [call for path in edited for call in _editing(offered, path)]
    if turn.results < len(calls):
        return Step(calls=(calls[turn.results],))
    done = " and ".join(written + edited)
    return Step(reply=f"Done: {done}." if calls else "None of these tools can change a file.")


def _paths(value: str) -> list[str]:
    return [path for path in value.split("|") if path]


def _writing(offered: Mapping[str, Tool], path: str) -> Iterator[Tool]:
    tool = _first(offered, _WRITERS)
    if tool is not None:
        yield _called(tool, {_PATH: path, _TEXT: WRITTEN})
    elif _PATCH in offered:
        added = "".join(f"+{line}\n" for line in WRITTEN.splitlines())
        yield _patching(offered[_PATCH], f"*** Begin Patch\n*** Add File: {path}\n{added}*** End Patch")
    elif (tool := _first(offered, _SHELLS)) is not None:
        yield _running(tool, f"printf %s {shlex.quote(WRITTEN)} > {shlex.quote(path)}")


def _editing(offered: Mapping[str, Tool], path: str) -> Iterator[Tool]:
    tool = _first(offered, _EDITORS)
    if tool is not None:
        reader = _first(offered, _READERS)
        if reader is not None:
            # Careful clients let nobody edit what was not read.
            yield _called(reader, {_PATH: path})
        yield _called(tool, {_PATH: path, _OLD: OLD, _NEW: NEW})
    elif _PATCH in offered:
        change = f"*** Begin Patch\n*** Update File: {path}\n@@\n-{OLD}\n+{NEW}\n*** End Patch"
        yield _patching(offered[_PATCH], change)
    elif (tool := _first(offered, _SHELLS)) is not None:
        yield _running(tool, f"sed -i.orig s/{OLD}/{NEW}/ {shlex.quote(path)}")


def _first(offered: Mapping[str, Tool], names: Sequence[str]) -> Tool | None:
    return next((offered[name] for name in names if name in offered), None)


def _patching(tool: Tool, patch: str) -> Tool:
    return _with(tool, patch) if tool.free else _called(tool, {frozenset({"input", "patch", "patchtext"}): patch})


def _running(tool: Tool, script: str) -> Tool:
    asked = tool.schema.get("properties", {})
    listed = any(name in _SCRIPT and "array" in str(kind.get("type")) for name, kind in asked.items())
    return _called(tool, {_SCRIPT: ["bash", "-lc", script] if listed else script})


def _called(tool: Tool, values: Mapping[frozenset[str], Any]) -> Tool:
    """The tool with its arguments: what we mean by the names that stand for it, and something where it is a must."""
    arguments: dict[str, Any] = {}
    required = tool.schema.get("required", ())
    for name, kind in tool.schema.get("properties", {}).items():
        meant = next((value for names, value in values.items() if name.lower() in names), None)
        if meant is not None:
            arguments[name] = meant
        elif name in required:
            arguments[name] = instance(kind, Random(0))
    return _with(tool, encoded(arguments).decode())


def _with(tool: Tool, arguments: str) -> Tool:
    return Tool(tool.name, tool.schema, tool.space, tool.free, arguments)


def _as_text(paths: Sequence[str]) -> str:
    return "\n".join(f"{path}\n```\n{WRITTEN}```\n" for path in paths)
