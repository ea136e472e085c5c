"""What has a Responses item said so far, and how is it closed in the middle?"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Form(NamedTuple):
    """Where a text stands within its item: `group` is the list of parts, empty for a field of the item itself."""

    group: str
    kind: str
    field: str
    text_done: str
    part_done: str


_TEXT = Form("content", "output_text", "text", "response.output_text.done", "response.content_part.done")
_REFUSAL = Form("content", "refusal", "refusal", "response.refusal.done", "response.content_part.done")
_REASONING = Form("content", "reasoning_text", "text", "response.reasoning_text.done", "response.content_part.done")
_SUMMARY = Form(
    "summary",
    "summary_text",
    "text",
    "response.reasoning_summary_text.done",
    "response.reasoning_summary_part.done",
)

DELTAS: Mapping[str, Form] = MappingProxyType(
    {
        "response.output_text.delta": _TEXT,
        "response.refusal.delta": _REFUSAL,
        "response.reasoning_text.delta": _REASONING,
        "response.reasoning_summary_text.delta": _SUMMARY,
        "response.function_call_arguments.delta": Form("", "", "arguments", "", ""),
        "response.mcp_call_arguments.delta": Form("", "", "arguments", "", ""),
        "response.custom_tool_call_input.delta": Form("", "", "input", "", ""),
        "response.code_interpreter_call_code.delta": Form("", "", "code", "", ""),
    }
)
"""Events that carry what the model generates."""
ENDS: Mapping[str, Form] = MappingProxyType({form.text_done: form for form in DELTAS.values() if form.text_done})
"""Events that say a text of a part again when it has ended."""
PARTS: frozenset[str] = frozenset(
    {
        "response.content_part.added",
        "response.content_part.done",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done",
    }
)

_Place = tuple[str, int]


class Unfinished:
    """One item whose end has not come."""

    __slots__ = ("_ended", "_fields", "_forms", "_item", "_parts", "_pieces")

    def __init__(self, item: bytes) -> None:
        self._item = item
        self._parts: dict[_Place, bytes] = {}
        """Parts as they were opened, or as they ended."""
        self._pieces: dict[_Place, list[str]] = {}
        self._forms: dict[_Place, Form] = {}
        self._fields: dict[str, list[str]] = {}
        self._ended: dict[_Place, str] = {}
        """What has been closed: the text of a part, or the part itself."""

    def add(self, kind: str, index: int, text: str) -> None:
        """A delta."""
        form = DELTAS[kind]
        if not form.group:
            self._fields.setdefault(form.field, []).append(text)
            return
        place = (form.group, index)
        self._forms[place] = form
        self._pieces.setdefault(place, []).append(text)

    def end_text(self, kind: str, index: int) -> None:
        """The text of a part has ended."""
        self._ended.setdefault((ENDS[kind].group, index), "text")

    def part(self, kind: str, index: int, part: bytes) -> None:
        """A part was opened, or has ended."""
        place = ("summary" if kind.startswith("response.reasoning") else "content", index)
        self._parts[place] = part
        if kind.endswith(".done"):
            self._ended[place] = "part"

    def close(self, output_index: int) -> tuple[list[dict[str, object]], dict[str, object]]:
        """The events that end the item here, and the item as it stands then.

        A call that is cut is not announced as done: a client might run half of what was meant.
        """
        item = fields_of(self._item)
        kind = _text(item, "type") or ("function_call" if self._fields else "message")
        item_id = _text(item, "id")
        whole: dict[str, object] = dict(item)
        whole.setdefault("type", kind)
        for field, pieces in self._fields.items():
            whole[field] = _text(item, field) + "".join(pieces)
        told = kind in {"message", "reasoning"}
        events: list[dict[str, object]] = []
        groups: dict[str, list[object]] = {}
        for place in sorted(self._parts.keys() | self._pieces.keys()):
            part, form = self._part(place)
            groups.setdefault(place[0], []).append(part)
            ended = self._ended.get(place)
            if not told or ended == "part" or form is None:
                continue
            index = "summary_index" if form.group == "summary" else "content_index"
            at: dict[str, object] = {"item_id": item_id, "output_index": output_index, index: place[1]}
            if ended != "text":
                said: dict[str, object] = {form.field: part[form.field]}
                if form is _TEXT:
                    said["logprobs"] = []
                events.append({"type": form.text_done} | at | said)
            events.append({"type": form.part_done} | at | {"part": part})
        whole.update(groups)
        whole["status"] = "incomplete"
        if told:
            events.append({"type": "response.output_item.done", "output_index": output_index, "item": whole})
        return events, whole

    def _part(self, place: _Place) -> tuple[dict[str, object], Form | None]:
        """A part with all the text that came for it."""
        opened = fields_of(self._parts.get(place, b"{}"))
        kind = _text(opened, "type")
        form = self._forms.get(place) or next((each for each in ENDS.values() if each.kind == kind), None)
        part: dict[str, object] = dict(opened)
        if form is not None:
            part.setdefault("type", form.kind)
            if form is _TEXT:
                part.setdefault("annotations", [])
            if self._ended.get(place) != "part":
                part[form.field] = _text(opened, form.field) + "".join(self._pieces.get(place, ()))
        return part, form


def fields_of(raw: bytes) -> dict[str, msgspec.Raw]:
    """The fields of an object; none where it is something else."""
    try:
        return _FIELDS.decode(raw)
    except (ValueError, RecursionError):
        return {}


def _text(fields: Mapping[str, msgspec.Raw], name: str) -> str:
    """A field that is a text; empty where it is none."""
    try:
        return msgspec.json.decode(fields.get(name, b'""'), type=str)
    except (ValueError, RecursionError):
        return ""
