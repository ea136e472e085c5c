"""How does the text of a plan take new workloads in, with every line that need not change left as it is?"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import yaml

from upshift.sheets.tree import Path, Tree, leaves

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SECTION = "workloads"
_PLAIN = re.compile(r"[A-Za-z0-9$_\u00c0-\u024f\u2192](?:(?:[\w .%$+/@()\u2192-]|:(?=[^ ]))*[\w.%$+/@()\u2192])?")
# Words that YAML 1.1 makes truth values or nothing of: a plan takes them as texts, others that read it would not.
_WORDS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf"))
_SHORT = 88
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


class Edit(msgspec.Struct, frozen=True):
    """A plan's text with its new workloads, and what became of the old lines."""

    text: str
    rewritten: tuple[str, ...]
    """Workloads whose lines were written anew: comments in them are gone. All of them: the whole section was."""


def dumped(plan: Mapping[str, Tree]) -> str:
    """The text of a plan: a section after the other, with an empty line between."""
    parts: list[str] = []
    for name, tree in plan.items():
        apart = "\n" if parts and isinstance(tree, dict | list) else ""
        parts.append(apart + "\n".join(_entry(name, tree, 0)) + "\n")
    return "".join(parts)


def edited(text: str, before: Mapping[str, Tree], after: Mapping[str, Tree]) -> Edit | None:
    """The text with workloads `after` in place of `before`, those of its own. None where no edit says exactly that.

    Tried from the least change on: single values; the lines of a workload; the whole section.
    """
    if "\r\n" in text:
        plain = edited(text.replace("\r\n", "\n"), before, after)
        return None if plain is None else Edit(plain.text.replace("\n", "\r\n"), plain.rewritten)
    changed = [name for name, tree in after.items() if before.get(name, _MISSING) != tree]
    if not changed:
        return Edit(text, ())
    in_place = [name for name in changed if _same_leaves(before.get(name), after[name])]
    for blocks in ([name for name in changed if name not in in_place], changed):
        found = _patched(text, before, after, blocks)
        if found is not None and _workloads(found) == after:
            return Edit(found, tuple(name for name in blocks if name in before))
    whole = _section(text, after)
    if whole is not None and _workloads(whole) == after:
        return Edit(whole, tuple(before))
    return None


_MISSING: Tree = "\0"


def _same_leaves(one: Tree, other: Tree) -> bool:
    return one is not None and _scalars(one).keys() == _scalars(other).keys() and None not in _scalars(other).values()


def _scalars(tree: Tree) -> dict[Path, Tree]:
    return dict(leaves(tree))


def _workloads(text: str) -> Mapping[str, Tree] | None:
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError:
        return None
    found = _plain(_find(root))
    return found if isinstance(found, dict) else None


def _find(root: Any) -> Any:
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == _SECTION:
            return value
    return None


def _plain(node: Any) -> Tree:
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Tree] = {}
        merged: dict[str, Tree] = {}
        for key, value in node.value:
            if key.value == "<<":
                for each in value.value if isinstance(value, yaml.SequenceNode) else (value,):
                    inner = _plain(each)
                    merged = {**(inner if isinstance(inner, dict) else {}), **merged}
            else:
                found[key.value] = _plain(value)
        return {**merged, **found}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each) for each in node.value]
    if node is None or (node.style is None and node.value in {"", "~", "null", "Null", "NULL"}):
        return None
    return str(node.value)


def _patched(text: str, before: Mapping[str, Tree], after: Mapping[str, Tree], blocks: Sequence[str]) -> str | None:
    """Values of workloads changed where they stand; those of `blocks` written anew, new ones at the end."""
    root = yaml.compose(text, Loader=_LOADER)
    section = _find(root)
    if section is None:
        return None
    if not isinstance(section, yaml.MappingNode) or section.flow_style or not section.value:
        return None
    changes: list[tuple[int, int, str]] = []
    entries = [(key, value) for key, value in section.value]
    for key, value in entries:
        name = key.value
        if name in blocks:
            start, end = _lines_of(text, key, value)
            changes.append(
                (start, end, "".join(f"{line}\n" for line in _entry(name, after[name], key.start_mark.column)))
            )
        elif name in after and after[name] != before.get(name):
            old, new = _scalars(before[name]), _scalars(after[name])
            for path in old:
                node = _node_at(value, path)
                if old[path] != new[path]:
                    if not isinstance(node, yaml.ScalarNode) or not isinstance(new[path], str):
                        return None
                    changes.append((node.start_mark.index, node.end_mark.index, _scalar(str(new[path]))))
    column = entries[0][0].start_mark.column
    added = [line for name in after if name not in before for line in _entry(name, after[name], column)]
    if added:
        _, end = _lines_of(text, *entries[-1])
        gap = "" if end == 0 or text[:end].endswith("\n") else "\n"
        changes.append((end, end, gap + "".join(f"{line}\n" for line in added)))
    for start, end, new_text in sorted(changes, reverse=True):
        text = text[:start] + new_text + text[end:]
    return text


def _node_at(node: Any, path: Path) -> Any:
    for step in path:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
        else:
            return None
    return node


def _lines_of(text: str, key: Any, value: Any) -> tuple[int, int]:
    """From the beginning of the line of a key to the end of the last line of its value."""
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    # The end mark of a block collection is where the next thing begins, comments between them skipped.
    last = _last(value, key.end_mark.index)
    end = text.find("\n", last)
    return start, len(text) if end < 0 else end + 1


def _last(node: Any, least: int) -> int:
    if isinstance(node, yaml.ScalarNode):
        return max(least, int(node.end_mark.index) - (1 if node.style in {"|", ">"} else 0))
    if node.flow_style:
        return max(least, int(node.end_mark.index))
    inner = [each for pair in node.value for each in (pair if isinstance(pair, tuple) else (pair,))]
    return max([least, *(_last(each, least) for each in inner if each.start_mark.index >= node.start_mark.index)])


def _section(text: str, after: Mapping[str, Tree]) -> str | None:
    """The text with its whole section of workloads written anew, or one added at its end."""
    root = yaml.compose(text, Loader=_LOADER)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        return None
    written = "".join(f"{line}\n" for line in _entry(_SECTION, dict(after), 0))
    for key, value in root.value:
        if key.value == _SECTION:
            start, end = _lines_of(text, key, value)
            return text[:start] + written + text[end:]
    gap = "" if text.endswith("\n") or not text else "\n"
    return f"{text}{gap}\n{written}"


def _entry(name: str, tree: Tree, column: int) -> list[str]:
    margin, key = " " * column, _key(name)
    if tree is None:
        return [f"{margin}{key}:"]
    if isinstance(tree, str):
        return [f"{margin}{key}: {_scalar(tree)}"]
    short = _flow(tree)
    if not tree or (len(margin) + len(key) + len(short) < _SHORT and _flat(tree)):
        return [f"{margin}{key}: {short}"]
    if isinstance(tree, list):
        return [f"{margin}{key}:", *(f"{margin}  - {_flow(each)}" for each in tree)]
    return [f"{margin}{key}:", *(line for inner, each in tree.items() for line in _entry(inner, each, column + 2))]


def _flat(tree: Tree) -> bool:
    """Whether it reads well on one line: no more than two values, or a list of texts."""
    if isinstance(tree, list):
        return all(isinstance(each, str) for each in tree)
    return isinstance(tree, dict) and len(tree) <= 2 and all(isinstance(each, str) for each in tree.values())


def _flow(tree: Tree) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{_key(name)}: {_flow(each)}" for name, each in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(_flow(each) for each in tree) + "]"
    return "~" if tree is None else _scalar(tree)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._/-]*", name) else _quoted(name)


def _scalar(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else _quoted(text)


def _quoted(text: str) -> str:
    made = ""
    for letter in text:
        code = ord(letter)
        if letter in _ESCAPES:
            made += _ESCAPES[letter]
        elif letter.isprintable() and code < 0xFFFE:
            made += letter
        else:
            made += f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return f'"{made}"'
