"""What does a request ask for, whichever dialect it was written in?"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from upshift.simulated.tokens import count_tokens

_ATTACHMENTS = frozenset(
    {"image_url", "image", "input_image", "document", "file", "input_file", "input_audio", "search_result"}
)


class UnreadableError(Exception):
    """The request is not one that the vendor would accept; the text is the vendor's message."""


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call, with the JSON schema of its arguments; a free one takes a text instead."""

    name: str
    schema: Mapping[str, Any]
    space: str = ""
    free: bool = False
    arguments: str = ""
    """What to call it with; empty for anything that satisfies the schema."""


class Block(msgspec.Struct, frozen=True):
    """A piece of a prompt that ends where a prompt cache may end. `ttl` is '5m' or '1h' where the caller marked it."""

    content: bytes
    tokens: int
    ttl: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request, read. Token counts include images; `prompt` or `blocks` is what the prompt cache compares."""

    model: str
    directives: str
    stream: bool
    prompt_tokens: int
    prompt: list[str] = []
    """The prompt's tokens in order, for caching by prefix; empty in the dialect that marks blocks."""
    blocks: list[Block] = []
    images: int = 0
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    calls: tuple[Tool, ...] = ()
    """Tools that the answer is to call."""
    reply: str = ""
    """What the answer is to say; empty for anything."""
    schema: Mapping[str, Any] | None = None
    """Schema of the JSON that the answer is to be; None for prose."""
    reasoning_share: float = 0.0
    reasoning_limit: int | None = None
    reasoning_shown: bool = False
    choices: int = 1
    include_usage: bool = True
    keep: bool = False
    """Whether a later request may go on from the answer."""
    goes_on_from: str = ""
    """Identity of the kept answer that this request goes on from."""


class Prompt:
    """Collects the text, the images and the last user message of a request while it is read."""

    __slots__ = ("images", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.images = 0

    def add(self, content: object) -> None:
        """Takes a message's content: text, a list of content blocks, or nothing."""
        if isinstance(content, str):
            self.texts.append(content)
        elif isinstance(content, list):
            for block in content:
                self._add_block(block)

    def _add_block(self, block: object) -> None:
        if not isinstance(block, Mapping):
            raise UnreadableError("a content block must be an object with a type")
        kind = block.get("type")
        text = block.get("text")
        if isinstance(text, str):
            self.texts.append(text)
        elif kind in _ATTACHMENTS:
            self.images += 1
        elif kind == "tool_result":
            self.add(block.get("content"))
        else:
            self.texts.append(
                encoded({name: value for name, value in block.items() if name != "cache_control"}).decode()
            )


def encoded(value: object) -> bytes:
    """The value as JSON."""
    return msgspec.json.encode(value)


def text_tokens(texts: Iterable[str]) -> int:
    """Tokens of texts counted one by one."""
    return sum(map(count_tokens, texts))


def last_text(content: object) -> str:
    """The text in a message's content, without tool results and attachments."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    blocks = (block for block in content if isinstance(block, Mapping))
    return "\n".join(text for block in blocks if isinstance(text := block.get("text"), str))


def wanted_calls(tools: list[Tool], text: str, choice: str, *, parallel: bool) -> tuple[Tool, ...]:
    """The tools to call: `choice` is auto, none, required or =NAME; `text` is what the user said last.

    Prose asks with the words 'use the tool' (the one it names, else the first) or 'use all tools'.
    Raises UnreadableError when a forced tool is not offered.
    """
    if choice.startswith("="):
        forced = tuple(tool for tool in tools if tool.name == choice[1:])
        if not forced:
            raise UnreadableError(f"tool choice {choice[1:]!r} is not among the tools")
        return forced[:1]
    if choice == "none" or not tools:
        return ()
    said = text.lower()
    if "use all tools" in said:
        return tuple(tools) if parallel else tuple(tools[:1])
    if choice == "required" or "use the tool" in said:
        named = [tool for tool in tools if re.search(rf"\b{re.escape(tool.name.lower())}\b", said)]
        return ((named or tools)[0],)
    return ()
