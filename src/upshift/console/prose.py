"""How does Markdown become HTML in which nothing that people wrote can do harm?"""

from collections.abc import Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

_LEFT_OUT = ("link", "image", "autolink", "html_inline", "html_block", "reference", "entity")
"""A post-mortem quotes people: what they wrote leads nowhere, loads nothing, and is text."""
_LOWEST = 6


def prose(text: str, below: int = 1) -> Markup:
    """Headings, lists, tables, emphasis and code of a Markdown text. Its headings stand `below` the page's own."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(list(_LEFT_OUT))
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + below, _LOWEST)}"
    found = _framed(tokens)
    return Markup(parser.renderer.render(found, parser.options, {}))  # noqa: S704 - the renderer escapes all text


def _framed(tokens: Sequence[Token]) -> list[Token]:
    """Tables that are wider than a phone are scrolled, also by keyboard."""
    found: list[Token] = []
    for token in tokens:
        if token.type == "table_open":
            attributes: dict[str, str | int | float] = {"class": "scroller plain", "tabindex": "0"}
            attributes |= {"role": "region", "aria-label": "Table"}
            found.append(Token("frame_open", "div", 1, attrs=attributes, block=True))
        found.append(token)
        if token.type == "table_close":
            found.append(Token("frame_close", "div", -1, block=True))
    return found
