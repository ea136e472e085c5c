"""What do the pages hold: links, examples in code, tables?"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block. `language` is the first word of its info string, `marks` are the others."""

    page: Path
    line: int
    language: str
    marks: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(language: str, *pages: Path) -> list[Block]:
    """The fenced blocks of a language, in their order."""
    found = []
    for page in pages or PAGES:
        text = page.read_text()
        for match in _FENCE.finditer(text):
            language_, *marks = match[1].split() or [""]
            if language_ == language:
                line = text.count("\n", 0, match.start()) + 1
                found.append(Block(page, line, language_, tuple(marks), match[2]))
    return found


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """Where a page's links and pictures lead."""
    return _LINK.findall(prose(page))


def spans(page: Path) -> list[str]:
    """What stands in single backticks."""
    return _SPAN.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The names that headings are linked by."""
    titles = [match[2] for match in _HEADING.finditer(prose(page))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def sections(page: Path) -> dict[str, str]:
    """The text below each heading, up to the next of any level."""
    text = prose(page)
    found = list(_HEADING.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return {match[2]: text[match.end() : end] for match, end in zip(found, ends, strict=True)}


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows, backticks taken off, without the rows of dashes."""
    tables = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    split = [[cell.strip().strip("`") for cell in line.split("|")] for line in tables]
    return [cells for cells in split if set("".join(cells)) - set("-: ")]
