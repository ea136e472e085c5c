"""How is a plan taken apart and put together as plain data?"""

from collections.abc import Iterator
from typing import TypeAlias

Tree: TypeAlias = "str | dict[str, Tree] | list[Tree] | None"
"""What YAML holds, every scalar the text it was written as."""

Path: TypeAlias = tuple[str | int, ...]


def at(tree: Tree, path: Path) -> Tree:
    """The value at `path`; None where there is none."""
    for step in path:
        if isinstance(tree, dict) and isinstance(step, str):
            tree = tree.get(step)
        elif isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            return None
    return tree


def with_value(tree: Tree, path: tuple[str, ...], value: Tree) -> Tree:
    """A copy that has `value` at `path`; with None, the key is taken out, and mappings that this leaves empty."""
    if not path:
        return value
    inner = dict(tree) if isinstance(tree, dict) else {}
    changed = with_value(inner.get(path[0]), path[1:], value)
    if changed is None or (value is None and changed == {}):
        inner.pop(path[0], None)
    else:
        inner[path[0]] = changed
    return inner


def leaves(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, Tree]]:
    """Every scalar, and every empty collection, with its path."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    elif isinstance(tree, list) and tree:
        for index, value in enumerate(tree):
            yield from leaves(value, (*path, index))
    else:
        yield path, tree


def built(found: Iterator[tuple[Path, Tree]] | list[tuple[Path, Tree]]) -> Tree:
    """The tree of its leaves. Raises ValueError where two of them contradict each other or a list has a gap."""
    root: Tree = None
    for path, value in found:
        root = _grown(root, path, value)
    return root


def _grown(tree: Tree, path: Path, value: Tree) -> Tree:
    if not path:
        if tree is not None:
            raise ValueError("it stands there twice")
        return value
    step = path[0]
    if isinstance(step, int):
        items = tree if isinstance(tree, list) else []
        if (tree is not None and not isinstance(tree, list)) or step > len(items):
            raise ValueError(f"item {step} of a list does not follow the one before it")
        if step == len(items):
            items.append(None)
        items[step] = _grown(items[step], path[1:], value)
        return items
    if tree is not None and not isinstance(tree, dict):
        raise ValueError("it is a value and has values in it")
    mapping = tree if isinstance(tree, dict) else {}
    if len(path) == 1 and step in mapping:
        raise ValueError("it stands there twice")
    mapping[step] = _grown(mapping.get(step), path[1:], value)
    return mapping
