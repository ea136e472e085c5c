"""Where in the text does each value of a plan stand?"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, TypeAlias

import yaml

from upshift.plan_file.problems import PlanError, Problem, nearest, shown

Path: TypeAlias = tuple[str | int, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(_CORE + name for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq"))
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_MERGE = "<<"

MOST_BYTES = 16_000_000
MOST_NODES = 1_000_000
DEEPEST = 40


class Spot(NamedTuple):
    """A place in a file. `line` and `column` count from 1."""

    file: str
    line: int
    column: int


class Node:
    """A value and where it stands. `content` is text, None, a mapping or a list; `keys` says where a key stands.

    Every scalar stays the text it was written as: no `no` that becomes False, no 12:30 that becomes 750 and no
    1.10 that becomes 1.1. The declared types decide what text means.
    """

    __slots__ = ("content", "depth", "keys", "size", "spot")

    def __init__(self, spot: Spot, content: "str | dict[str, Node] | list[Node] | None") -> None:
        self.spot = spot
        self.content = content
        self.keys: dict[str, Spot] = {}
        self.size = 1
        """Values in it, once its aliases are written out."""
        self.depth = 1
        """Levels in it, once its aliases are written out."""

    def plain(self) -> Any:
        """The value as plain data, fresh, free to be changed."""
        if isinstance(self.content, dict):
            return {key: node.plain() for key, node in self.content.items()}
        if isinstance(self.content, list):
            return [node.plain() for node in self.content]
        return self.content

    def at(self, path: Path) -> Spot:
        """Where the value at `path` stands, or where the nearest value around it is named."""
        found, _ = self._walk(path)
        return found

    def known(self, path: Path) -> Path:
        """The part of `path` that is in the text."""
        return path[: self._walk(path)[1]]

    def key_at(self, path: Path) -> Spot:
        """Where the last key of `path` stands, rather than its value."""
        parent = self.get(path[:-1])
        if parent is not None and path and path[-1] in parent.keys:
            return parent.keys[str(path[-1])]
        return self.at(path)

    def get(self, path: Path) -> "Node | None":
        """The value at `path`, or None."""
        node: Node | None = self
        for step in path:
            node = node._child(step) if node is not None else None
        return node

    def names(self, *path: str) -> tuple[str, ...]:
        """Keys of the mapping at `path`; none where there is no mapping."""
        node = self.get(path)
        return tuple(node.content) if node is not None and isinstance(node.content, dict) else ()

    def _child(self, step: str | int) -> "Node | None":
        if isinstance(self.content, dict) and isinstance(step, str):
            return self.content.get(step)
        if isinstance(self.content, list) and isinstance(step, int) and step < len(self.content):
            return self.content[step]
        return None

    def _walk(self, path: Path) -> tuple[Spot, int]:
        node = self
        for depth, step in enumerate(path):
            child = node._child(step)
            if child is None:
                # A value that is missing is looked for where its owner is named, not at the owner's first line.
                if depth == 0 or not isinstance(path[depth - 1], str) or not isinstance(node.content, dict):
                    return node.spot, depth
                return self.key_at(path[:depth]), depth
            node = child
        if node.content is None and path and isinstance(path[-1], str):
            return self.key_at(path), len(path)
        return node.spot, len(path)


def parse(text: str, file: str) -> Node:
    """The tree of a plan's text. Raises PlanError naming the place for anything that is not one plain YAML mapping."""
    if len(text) > MOST_BYTES:
        _refuse(Spot(file, 1, 1), f"the file has {len(text):,} characters", f"at most {MOST_BYTES:,}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line, column = _line_of(text, error.start)
        _refuse(Spot(file, line, column), "a character here is not Unicode text", "UTF-8")
    try:
        root = _Tree(file).build(_events(text))
    except yaml.MarkedYAMLError as error:
        _refuse_syntax(error, text, file)
    except yaml.reader.ReaderError as error:
        line, column = _line_of(text, error.position)
        _refuse(Spot(file, line, column), "a control character stands here", "printable text", "Remove it.")
    if root is None or root.content is None:
        _refuse(Spot(file, 1, 1), "the file is empty", "a plan", "Begin with 'upshift: 1' and 'name: ...'.")
    if not isinstance(root.content, dict):
        found = "a list" if isinstance(root.content, list) else shown(root.content)
        _refuse(root.spot, f"the file holds {found}", "a mapping with upshift, name, providers, models, ...")
    return root


def _events(text: str) -> Iterator[Any]:
    # Events rather than yaml.compose: the composer recurses, so that a file of brackets would end the process, and it
    # resolves scalars, which is not wanted.
    events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
    return events


class _Open:
    """A collection that is being read: its anchor, and the key that waits for its value."""

    __slots__ = ("anchor", "key", "key_spot", "node", "written")

    def __init__(self, node: Node, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: str | None = None
        self.key_spot = node.spot
        self.written: set[str] = set()
        """Keys written out, which win over those that come by '<<'."""


class _Tree:
    """Builds the tree of one document from its events, without recursion."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.anchors: dict[str, Node] = {}
        self.open: list[_Open] = []
        self.count = 0
        self.root: Node | None = None
        self.problems: list[Problem] = []

    def build(self, events: Iterator[Any]) -> Node | None:
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    what = "a second document begins here"
                    _refuse(self._spot(event), what, "one per file", "Put it in a file of its own.")
            elif isinstance(event, yaml.NodeEvent):
                self._node(event)
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                done = self.open.pop()
                self._finish(done.node, done.anchor)
        if self.problems:
            raise PlanError(self.problems)
        return self.root

    def _node(self, event: Any) -> None:
        spot = self._spot(event)
        if isinstance(event, yaml.AliasEvent):
            node = self.anchors.get(event.anchor or "")
            if node is None:
                known = list(self.anchors)
                _refuse(spot, f"*{event.anchor} names no finished anchor", "", nearest(str(event.anchor), known))
            self._grow(spot, node.size, node.depth)
            self._place(node, spot)
            return
        if event.tag is not None and event.tag not in _PLAIN_TAGS and event.tag != "!":
            what = f"the tag {shown(event.tag)} means nothing in a plan"
            _refuse(spot, what, "a plain value", "Remove the tag.")
        if isinstance(event, yaml.ScalarEvent):
            self._grow(spot, 1)
            plain = event.implicit[0] or event.tag == _CORE + "null"
            node = Node(spot, None if plain and event.value in _NULLS else event.value)
            self._finish(node, event.anchor)
            return
        self._grow(spot, 1)
        content: dict[str, Node] | list[Node] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.open.append(_Open(Node(spot, content), event.anchor))

    def _finish(self, node: Node, anchor: str | None) -> None:
        if isinstance(node.content, (dict, list)):
            inner = node.content.values() if isinstance(node.content, dict) else node.content
            node.size = 1 + sum(each.size for each in inner)
            node.depth = 1 + max((each.depth for each in inner), default=0)
        if anchor is not None:
            self.anchors[anchor] = node
        self._place(node, node.spot)

    def _place(self, node: Node, spot: Spot) -> None:
        """Puts a finished value where it belongs: into the open list, as a key, or under the pending key."""
        if not self.open:
            self.root = node
            return
        owner = self.open[-1]
        content = owner.node.content
        if isinstance(content, list):
            content.append(node)
        elif not isinstance(content, dict):
            raise AssertionError("only collections are ever open")
        elif owner.key is None:
            if not isinstance(node.content, str):
                what = "a name is empty here" if node.content is None else "a name is a collection here"
                _refuse(spot, what, "text", "Write a name before the colon; quote it if it begins with [ or {.")
            owner.key, owner.key_spot = node.content, spot
        else:
            self._put(owner, content, owner.key, node, spot)
            owner.key = None

    def _put(self, owner: _Open, content: dict[str, Node], key: str, node: Node, spot: Spot) -> None:
        if key == _MERGE:
            self._merge(owner, content, node, spot)
        elif key in owner.written:
            path = (*self._path(), key)
            self.problems.append(_twice(path, owner.key_spot, owner.node.keys[key], "each name once"))
        else:
            owner.written.add(key)
            content[key] = node
            owner.node.keys[key] = owner.key_spot

    def _merge(self, owner: _Open, content: dict[str, Node], node: Node, spot: Spot) -> None:
        sources = node.content if isinstance(node.content, list) else [node]
        for source in sources:
            if not isinstance(source.content, dict):
                _refuse(spot, "'<<' does not name a mapping", "an alias like *defaults")
            for key, value in source.content.items():
                if key not in content:
                    content[key] = value
                    owner.node.keys[key] = source.keys[key]

    def _path(self) -> Iterator[str]:
        for each in self.open[:-1]:
            yield str(len(each.node.content)) if isinstance(each.node.content, list) else each.key or ""

    def _grow(self, spot: Spot, size: int, depth: int = 1) -> None:
        if len(self.open) + depth > DEEPEST:
            _refuse(spot, f"values are nested more than {DEEPEST} deep here", "a plan, which needs 6")
        self.count += size
        if self.count > MOST_NODES:
            what = f"the plan grows past {MOST_NODES:,} values here"
            _refuse(spot, what, "", "Aliases that repeat aliases multiply; write less by them.")

    def _spot(self, event: Any) -> Spot:
        return Spot(self.file, event.start_mark.line + 1, event.start_mark.column + 1)


def merge(roots: Sequence[Node]) -> Node:
    """One plan from several files: their sections side by side. Raises PlanError for a name that two files define."""
    merged = Node(roots[0].spot, {})
    content: dict[str, Node] = {}
    merged.content = content
    problems: list[Problem] = []
    once = "each name once in all files of a plan"
    for root in roots:
        for key, node in (root.content if isinstance(root.content, dict) else {}).items():
            known = content.get(key)
            if known is None:
                content[key], merged.keys[key] = _copied(node), root.keys[key]
            elif isinstance(known.content, dict) and isinstance(node.content, dict):
                for name, value in node.content.items():
                    if name in known.content:
                        problems.append(_twice((key, name), node.keys[name], known.keys[name], once))
                    else:
                        known.content[name] = value
                        known.keys[name] = node.keys[name]
            elif node.plain() != known.plain():
                problems.append(_twice((key,), root.keys[key], merged.keys[key], once))
    if problems:
        raise PlanError(problems)
    return merged


def _copied(node: Node) -> Node:
    if not isinstance(node.content, dict):
        return node
    copy = Node(node.spot, dict(node.content))
    copy.keys = dict(node.keys)
    return copy


def _twice(path: tuple[str, ...], spot: Spot, first: Spot, expected: str) -> Problem:
    return Problem(
        file=spot.file,
        line=spot.line,
        column=spot.column,
        path=".".join(path),
        value=path[-1],
        what=f"{shown(path[-1])} is defined twice",
        expected=expected,
        remedy=f"It is already defined at {first.file}:{first.line}:{first.column}.",
    )


def _refuse(spot: Spot, what: str, expected: str = "", remedy: str = "") -> NoReturn:
    raise PlanError(
        [
            Problem(
                file=spot.file,
                line=spot.line,
                column=spot.column,
                path="",
                what=what,
                expected=expected,
                remedy=remedy,
            )
        ]
    )


def _refuse_syntax(error: yaml.MarkedYAMLError, text: str, file: str) -> NoReturn:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    remedy = ""
    if "\t" in written[: len(written) - len(written.lstrip())] or "'\\t'" in (error.problem or ""):
        remedy = "Indent with spaces; YAML does not allow tabs."
    elif written.lstrip()[:1] in {"@", "`", "%", "&", "*", "!"} or ": " in written.partition(": ")[2]:
        remedy = "Put the value in quotes."
    what = f"this is not YAML: {error.problem or 'it cannot be read'}"
    context = f" {error.context}" if error.context else ""
    _refuse(Spot(file, line, column), what + context, "", remedy)


def _line_of(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1
