"""Where in the text does each value of a plan stand?"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn, TypeAlias

import msgspec
import yaml

from upshift.plan_file.problems import PlanError, Problem, nearest, shown

Path: TypeAlias = tuple[str | int, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset(_CORE + name for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq"))
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_MERGE = "<<"
_SPECIAL = _NULLS | {_MERGE}

_THREE_DIGITS = re.compile(r"\d{3}(\.\d+)?\D*", re.ASCII)
_LEADING_DIGITS = re.compile(r"\D*\d{1,3}(,\d{3})*", re.ASCII)

_BOOLS = dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_WHOLE_NUMBER = re.compile(r"[-+]?[0-9]{1,400}", re.ASCII)
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)

MOST_BYTES = 16_000_000
MOST_NODES = 1_000_000
DEEPEST = 40


class Whole(NamedTuple):
    """What a text is as a whole, in messages about it."""

    name: str
    begins: str
    fields: str


PLAN = Whole("plan", "'upshift: 1' and 'name: ...'", "upshift, name, providers, models")
PLAYBOOK = Whole("playbook", "'playbook: ...' and 'phases:'", "playbook, title, inputs, phases")


class Spot(NamedTuple):
    """A place in a file. `line` and `column` count from 1."""

    file: str
    line: int
    column: int


class Node(msgspec.Struct, eq=False, gc=False):
    """A value and where it stands. `content` is text, None, a mapping or a list; `keys` says where a key stands.

    Every scalar stays the text it was written as: no `no` that becomes False, no 12:30 that becomes 750 and no
    1.10 that becomes 1.1. The declared types decide what text means.
    """

    file: str
    mark: Any
    """Where the parser found it, line and column from 0: thousands are found, and few are ever told."""
    content: "str | dict[str, Node] | list[Node] | None"
    quoted: bool = False
    """It is text that was written in quotes, or as a block."""
    keys: dict[str, Any] = {}
    """Where the parser found each key of a mapping."""

    @property
    def spot(self) -> Spot:
        """Where it stands."""
        return _spot(self.file, self.mark)

    def plain(self) -> Any:
        """The value as plain data, fresh, free to be changed."""
        if isinstance(self.content, dict):
            return {
                key: text if type(text := node.content) is str else node.plain() for key, node in self.content.items()
            }
        if isinstance(self.content, list):
            return [node.plain() for node in self.content]
        return self.content

    def literal(self) -> Any:
        """The value as plain data. What is not quoted is what YAML's core schema takes it for: 3 is a number."""
        if isinstance(self.content, dict):
            return {key: node.literal() for key, node in self.content.items()}
        if isinstance(self.content, list):
            return [node.literal() for node in self.content]
        return self.content if self.quoted or self.content is None else _meant(self.content)

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
            return parent.spot_of(str(path[-1]))
        return self.at(path)

    def spot_of(self, key: str) -> Spot:
        """Where a key of this mapping stands."""
        child = self._child(key)
        # A key stands in the file of its value: the sections of a plan may come from several.
        return _spot(child.file if child is not None else self.file, self.keys[key])

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


def parse(text: str, file: str, whole: Whole = PLAN) -> Node:
    """The tree of a text. Raises PlanError naming the place for anything that is not one plain YAML mapping."""
    if len(text) > MOST_BYTES:
        _refuse(Spot(file, 1, 1), f"the file has {len(text):,} characters", f"at most {MOST_BYTES:,}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line, column = _line_of(text, error.start)
        _refuse(Spot(file, line, column), "a character here is not Unicode text", "UTF-8")
    try:
        root = _Tree(file, whole).build(text)
    except yaml.MarkedYAMLError as error:
        _refuse_syntax(error, text, file)
    except yaml.reader.ReaderError as error:
        line, column = _line_of(text, error.position)
        _refuse(Spot(file, line, column), "a control character stands here", "printable text", "Remove it.")
    if root is None or root.content is None:
        _refuse(Spot(file, 1, 1), "the file is empty", f"a {whole.name}", f"Begin with {whole.begins}.")
    if not isinstance(root.content, dict):
        found = "a list" if isinstance(root.content, list) else shown(root.content)
        _refuse(root.spot, f"the file holds {found}", f"a mapping with {whole.fields}, ...")
    return root


def _spot(file: str, mark: Any) -> Spot:
    return Spot(file, mark.line + 1, mark.column + 1)


class _Open:
    """A collection that is being read: its anchor, and the key that waits for its value."""

    __slots__ = ("anchor", "before", "content", "deepest", "key", "key_mark", "mapping", "merged", "node")

    def __init__(
        self, node: Node, content: dict[str, Node] | list[Node], anchor: str | None = None, before: int = 0
    ) -> None:
        self.node = node
        self.content = content
        self.anchor = anchor
        self.before = before
        """How many values had been read."""
        self.key: str | None = None
        self.key_mark: Any = node.mark
        self.mapping = content if isinstance(content, dict) else None
        """Its content, where its values have names."""
        self.merged: set[str] = set()
        """Keys that came by '<<', over which those that are written out win."""
        self.deepest = 0
        """Levels in the deepest collection within."""

    @property
    def depth(self) -> int:
        """Levels in it, once its aliases are written out."""
        return 1 + max(self.deepest, 1 if self.content else 0)


class _Kept(NamedTuple):
    """What an anchor names; how many values and how many levels are in it, once its aliases are written out."""

    node: Node
    size: int = 1
    depth: int = 1


class _Tree:
    """Builds the tree of one document from its events, without recursion."""

    def __init__(self, file: str, whole: Whole) -> None:
        self.file = file
        self.whole = whole
        self.anchors: dict[str, _Kept] = {}
        self.outside: list[Node] = []
        """The document's only value, once it is read."""
        self.open = [_Open(Node(file, None, self.outside), self.outside)]
        self.count = 0
        self.problems: list[Problem] = []

    def build(self, text: str) -> Node | None:
        # Events rather than yaml.compose: the composer recurses, so that a file of brackets would end the process, and
        # it resolves scalars, which is not wanted.
        loader = _LOADER(text)
        try:
            documents, event, take = 0, None, loader.get_event
            while not isinstance(event, yaml.StreamEndEvent):
                event = take()
                if type(event) is yaml.ScalarEvent:
                    event = self._pairs(event, take)
                if type(event) is yaml.ScalarEvent:
                    self._scalar(event)
                elif type(event) is yaml.MappingEndEvent or type(event) is yaml.SequenceEndEvent:
                    self._finish(self.open.pop())
                elif isinstance(event, yaml.NodeEvent):
                    self._node(event)
                elif isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        what = "a second document begins here"
                        spot = _spot(self.file, event.start_mark)
                        _refuse(spot, what, "one per file", "Put it in a file of its own.")
        finally:
            loader.dispose()
        if self.problems:
            raise PlanError(self.problems)
        return self.outside[0] if self.outside else None

    def _node(self, event: Any) -> None:
        mark = event.start_mark
        if type(event) is yaml.AliasEvent:
            kept = self.anchors.get(event.anchor or "")
            if kept is None:
                known = list(self.anchors)
                what = f"*{event.anchor} names no finished anchor"
                spot = _spot(self.file, mark)
                _refuse(spot, what, "a value that is marked with & above", nearest(str(event.anchor), known))
            self._grow(mark, kept.size, kept.depth)
            self._place(kept.node, mark, kept.depth)
            return
        if event.tag is not None:
            self._tagged(event)
        before = self.count
        self._grow(mark, 1)
        content: dict[str, Node] | list[Node] = {} if type(event) is yaml.MappingStartEvent else []
        self.open.append(_Open(Node(self.file, mark, content), content, event.anchor, before))

    def _pairs(self, event: Any, take: Callable[[], Any]) -> Any:
        """Takes plain keys and their plain values for as long as there are some; the first event that is neither."""
        # Nine of ten events are scalars, half of these are keys, which need no node, and nearly all others values of
        # keys: for thousands of rows these two have to be quick.
        file, owner = self.file, self.open[-1]
        content, keys = owner.mapping, owner.node.keys
        if content is None or owner.key is not None or len(self.open) > DEEPEST:
            return event
        while type(event) is yaml.ScalarEvent and self.count + 2 <= MOST_NODES:
            key = event.value
            if event.anchor is not None or event.tag is not None or key in _SPECIAL or key in content:
                return event
            value = take()
            self.count += 1
            text = value.value if type(value) is yaml.ScalarEvent else ""
            if text in _NULLS or value.anchor is not None or value.tag is not None:
                owner.key, owner.key_mark = key, event.start_mark
                return value
            self.count += 1
            content[key] = Node(file, value.start_mark, text, not value.implicit[0])
            keys[key] = event.start_mark
            event = take()
        return event

    def _scalar(self, event: Any) -> None:
        self.count += 1
        text, quoted = event.value, not event.implicit[0]
        if self.count > MOST_NODES or len(self.open) > DEEPEST:
            self._grow(event.start_mark, 0)
        if event.tag is not None:
            self._tagged(event)
        if text in _NULLS and (not quoted or event.tag == _CORE + "null"):
            text = None
        node = Node(self.file, event.start_mark, text, quoted)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Kept(node)
        self._place(node, event.start_mark, 0)

    def _tagged(self, event: Any) -> None:
        if event.tag is not None and event.tag not in _PLAIN_TAGS and event.tag != "!":
            what = f"the tag {shown(event.tag)} means nothing in a {self.whole.name}"
            _refuse(_spot(self.file, event.start_mark), what, "a plain value", "Remove the tag.")

    def _finish(self, done: _Open) -> None:
        if done.anchor is not None:
            self.anchors[done.anchor] = _Kept(done.node, self.count - done.before, done.depth)
        self._place(done.node, done.node.mark, done.depth)

    def _place(self, node: Node, mark: Any, depth: int) -> None:
        """Puts a finished value where it belongs: into the open list, as a key, or under the pending key."""
        owner = self.open[-1]
        content = owner.content
        owner.deepest = max(owner.deepest, depth)
        if isinstance(content, list):
            content.append(node)
        elif owner.key is None:
            if not isinstance(node.content, str):
                what = "a name is empty here" if node.content is None else "a name is a collection here"
                spot = _spot(self.file, mark)
                _refuse(spot, what, "text", "Write a name before the colon; quote it if it begins with [ or {.")
            owner.key, owner.key_mark = node.content, node.mark
        else:
            if node.content is None and _THREE_DIGITS.fullmatch(owner.key):
                self._split_number(content, owner.key)
            self._put(owner, content, owner.key, node, mark)
            owner.key = None

    def _split_number(self, content: dict[str, Node], key: str) -> None:
        """{month: 4,200} is a month of 4 and an empty 200: it is refused, for nothing else would tell."""
        last = next(reversed(content.items()), None)
        if last is None or not isinstance(last[1].content, str) or not _LEADING_DIGITS.fullmatch(last[1].content):
            return
        before, whole = last[1], f"{last[1].content},{key}"
        self.problems.append(
            Problem(
                file=self.file,
                line=before.spot.line,
                column=before.spot.column,
                path=".".join((*self._path(), last[0])),
                value=whole,
                what=f"within braces a comma ends the value, so that {shown(whole)} is read as {shown(before.content)}",
                expected="a number without commas here, or one in quotes",
                remedy="Write it without commas, or in quotes.",
            )
        )

    def _put(self, owner: _Open, content: dict[str, Node], key: str, node: Node, mark: Any) -> None:
        if key == _MERGE:
            self._merge(owner, content, node, mark)
        elif key in content and key not in owner.merged:
            path = (*self._path(), key)
            here, first = _spot(self.file, owner.key_mark), owner.node.spot_of(key)
            self.problems.append(_twice(path, here, first, "each name once"))
        else:
            owner.merged.discard(key)
            content[key] = node
            owner.node.keys[key] = owner.key_mark

    def _merge(self, owner: _Open, content: dict[str, Node], node: Node, mark: Any) -> None:
        sources = node.content if isinstance(node.content, list) else [node]
        for source in sources:
            if not isinstance(source.content, dict):
                _refuse(_spot(self.file, mark), "'<<' does not name a mapping", "an alias like *defaults")
            for key, value in source.content.items():
                if key not in content:
                    owner.merged.add(key)
                    content[key] = value
                    owner.node.keys[key] = source.keys[key]

    def _path(self) -> Iterator[str]:
        for each in self.open[1:-1]:
            yield str(len(each.content)) if isinstance(each.content, list) else each.key or ""

    def _grow(self, mark: Any, size: int, depth: int = 1) -> None:
        # The outside of the document is no level.
        if len(self.open) - 1 + depth > DEEPEST:
            what = f"values are nested more than {DEEPEST} deep here"
            _refuse(_spot(self.file, mark), what, f"a {self.whole.name}, which needs 6")
        self.count += size
        if self.count > MOST_NODES:
            what = f"the {self.whole.name} grows past {MOST_NODES:,} values here"
            _refuse(_spot(self.file, mark), what, "", "Aliases that repeat aliases multiply; write less by them.")


def _meant(text: str) -> str | bool | int | float:
    if text in _BOOLS:
        return _BOOLS[text]
    if _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def merge(roots: Sequence[Node]) -> Node:
    """One plan from several files: their sections side by side. Raises PlanError for a name that two files define."""
    content: dict[str, Node] = {}
    merged = Node(roots[0].file, roots[0].mark, content)
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
                        problems.append(_twice((key, name), node.spot_of(name), known.spot_of(name), once))
                    else:
                        known.content[name] = value
                        known.keys[name] = node.keys[name]
            elif node.plain() != known.plain():
                problems.append(_twice((key,), root.spot_of(key), merged.spot_of(key), once))
    if problems:
        raise PlanError(problems)
    return merged


def _copied(node: Node) -> Node:
    if not isinstance(node.content, dict):
        return node
    copy = Node(node.file, node.mark, dict(node.content))
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
    unclosed = "quoted scalar" in (error.context or "") and error.context_mark is not None
    mark = error.context_mark if unclosed else error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    remedy = "Indent it as what it stands beside, with spaces, and write 'name: value'."
    if unclosed:
        remedy = "Close the quote that begins here."
    elif "\t" in written[: len(written) - len(written.lstrip())] or "'\\t'" in (error.problem or ""):
        remedy = "Indent with spaces; YAML does not allow tabs."
    elif written.lstrip()[:1] in {"@", "`", "%", "&", "*", "!"} or ": " in written.partition(": ")[2]:
        remedy = "Put the value in quotes."
    elif "flow" in (error.context or ""):
        remedy = "Close what was opened with [ or {, with commas between its parts."
    what = f"this is not YAML: {error.problem or 'it cannot be read'}"
    context = f" {error.context}" if error.context else ""
    _refuse(Spot(file, line, column), what + context, "", remedy)


def _line_of(text: str, position: int) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1
