"""How does a value stand in a cell so that no spreadsheet changes or runs it, and it reads back the same?"""

import json
import re

from upshift.sheets.tree import Path, Tree

_RUN = re.compile(r"'*\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
"""What a spreadsheet takes for a formula, also in full width and behind blanks (CWE-1236)."""
_QUOTED = re.compile(r"'+\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_BETWEEN = " > "
_INDEX = re.compile(r"\[(\d+)\]")
NULL = "~"


def guarded(text: str) -> str:
    """The text of a CSV cell that a spreadsheet does not run: an apostrophe before what would be a formula."""
    return f"'{text}" if _RUN.match(text) else text


def unguarded(text: str) -> str:
    """What `guarded` was given."""
    return text[1:] if _QUOTED.match(text) else text


def written(text: str) -> str:
    """A scalar as the text of a cell. What a sheet would trim or could not hold is written as JSON."""
    return text if _stands(text) else _json(text)


def read(text: str) -> str:
    """The scalar of a cell's text. Only JSON that `written` would write is taken for JSON."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            found = json.loads(text)
        except ValueError:
            return text
        if isinstance(found, str) and _json(found) == text and not _stands(found):
            return found
    return text


def verbatim(text: str) -> str:
    """A scalar that no reading of numbers may touch."""
    return _json(text)


def from_verbatim(text: str) -> str | None:
    """What `verbatim` was given; None for anything else."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            found = json.loads(text)
        except ValueError:
            return None
        return found if isinstance(found, str) else None
    return None


def _stands(text: str) -> bool:
    plain = bool(text) and text == text.strip() and text.isprintable() and "_x" not in text
    return plain and text[0] not in '{["' and text != NULL


def _json(text: str) -> str:
    # '_x0041_' is how XLSX escapes characters: a spreadsheet would read an A.
    return json.dumps(text).replace("_x", "\\u005fx")


def flow(tree: Tree) -> str:
    """A collection, or nothing, as the text of one cell."""
    if tree is None:
        return NULL
    if isinstance(tree, str):
        return written(tree)
    return json.dumps(tree).replace("_x", "\\u005fx")


def from_flow(text: str) -> Tree:
    """The tree of what `flow` wrote. Raises ValueError where text begins like a collection and is none."""
    if text == NULL:
        return None
    if text[:1] in {"{", "["}:
        found = json.loads(text)
        if not _is_tree(found):
            raise ValueError("a number or truth value stands without quotes")
        return found if isinstance(found, dict | list) else None
    return read(text)


def _is_tree(found: object) -> bool:
    if isinstance(found, dict):
        return all(_is_tree(each) for each in found.values())
    if isinstance(found, list):
        return all(_is_tree(each) for each in found)
    return found is None or isinstance(found, str)


def path_text(path: Path) -> str:
    """'alice > tier', 'offers > [0] > price'. Names that could be mistaken are written as JSON."""
    return _BETWEEN.join(f"[{step}]" if isinstance(step, int) else _step(step) for step in path)


def _step(step: str) -> str:
    safe = step.isprintable() and step == step.strip() and step and step[0] not in '"[' and ">" not in step
    return step if safe and "_x" not in step else _json(step).replace(">", "\\u003e")


def path_of(text: str) -> Path:
    """The path of what `path_text` wrote. Raises ValueError where a quoted name is broken."""
    steps: list[str | int] = []
    for step in text.split(_BETWEEN) if text else []:
        index = _INDEX.fullmatch(step)
        if index is not None:
            steps.append(int(index[1]))
        elif step[:1] == '"':
            steps.append(str(json.loads(step)))
        else:
            steps.append(step)
    return tuple(steps)
