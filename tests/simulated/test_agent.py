"""Does the simulated agent take the right tool, call it as its schema asks, and stop when it is done?"""

import json
from typing import Any

import pytest

from upshift.simulated import agent, anthropic_messages, gemini_request, openai_chat, openai_responses
from upshift.simulated.agent import NOTHING, WRITTEN, Turn, next_step, step
from upshift.simulated.asked import Asked, Tool


def _tool(name: str, *required: str, free: bool = False, **kinds: dict[str, Any]) -> Tool:
    properties = {field: {"type": "string"} for field in required} | kinds
    return Tool(name, {"type": "object", "properties": properties, "required": list(required)}, free=free)


WRITE = _tool("Write", "file_path", "content")
READ = _tool("Read", "file_path", limit={"type": "integer"})
EDIT = _tool("Edit", "file_path", "old_string", "new_string", replace_all={"type": "boolean"})
REPLACE = _tool("replace", "instruction", "file_path", "old_string", "new_string")
BASH = _tool("bash", "command", "description")
EXEC = _tool("exec_command", "cmd")
SHELL = _tool("shell", command={"type": "array", "items": {"type": "string"}})
PATCH = _tool("apply_patch", "patchText")
FREE_PATCH = Tool("apply_patch", {}, free=True)


def _turn(wish: str, results: int = 0, instructions: str = "") -> Turn:
    return Turn(f"Please [[simulate: {wish}]]", results, instructions)


def _only(tools: list[Tool], wish: str, results: int = 0) -> tuple[str, Any]:
    (call,) = next_step(tools, _turn(wish, results)).calls
    return call.name, call.arguments if call.free else json.loads(call.arguments)


def test_a_tool_for_writing_comes_before_a_patch_and_a_patch_before_a_shell() -> None:
    assert _only([BASH, PATCH, WRITE], "write=/a") == ("Write", {"file_path": "/a", "content": WRITTEN})
    name, arguments = _only([BASH, PATCH], "write=/a")
    assert name == "apply_patch"
    assert arguments == {
        "patchText": "*** Begin Patch\n*** Add File: /a\n+Written by the simulated model.\n*** End Patch"
    }
    assert _only([FREE_PATCH], "write=/a") == ("apply_patch", arguments["patchText"])
    assert _only([EXEC], "write=/a b") == ("exec_command", {"cmd": f"printf %s '{WRITTEN}' > '/a b'"})
    name, arguments = _only([SHELL], "write=/a")
    assert arguments["command"][:2] == ["bash", "-lc"]


def test_what_a_schema_demands_beside_is_filled_in() -> None:
    _, arguments = _only([BASH], "write=/a")
    assert isinstance(arguments["description"], str)
    _, arguments = _only([REPLACE], "edit=/a")
    assert isinstance(arguments["instruction"], str)
    assert arguments["old_string"] == agent.OLD


def test_a_file_is_read_before_it_is_edited_where_that_can_be_done() -> None:
    assert _only([READ, EDIT], "edit=/a") == ("Read", {"file_path": "/a"})
    edit = {"file_path": "/a", "old_string": agent.OLD, "new_string": agent.NEW}
    assert _only([READ, EDIT], "edit=/a", 1) == ("Edit", edit)
    assert _only([PATCH], "edit=/a")[1]["patchText"].splitlines()[1:-1] == [
        "*** Update File: /a",
        "@@",
        "-before",
        "+after",
    ]
    assert _only([EXEC], "edit=/a") == ("exec_command", {"cmd": "sed -i.orig s/before/after/ /a"})


def test_files_are_done_one_after_the_other_and_then_it_says_so() -> None:
    wish = "write=/a|/b, edit=/c"
    tools = [WRITE, READ, EDIT]
    names = [_only(tools, wish, results)[0] for results in range(4)]
    assert names == ["Write", "Write", "Read", "Edit"]
    assert next_step(tools, _turn(wish, 4)) == ((), "Done: /a and /b and /c.")


def test_without_a_task_or_a_means_nothing_is_done() -> None:
    assert next_step([WRITE], Turn("Hello", 0)) is NOTHING
    assert next_step([WRITE], _turn("delay=1")) is NOTHING
    assert next_step([], _turn("write=/a")) is NOTHING
    assert next_step([_tool("weather", "city")], _turn("write=/a")).reply == "None of these tools can change a file."
    with pytest.raises(ValueError, match="knows no directive"):
        next_step([WRITE], _turn("wreck=/a"))


def test_clients_that_take_text_get_the_file_as_text() -> None:
    found = next_step([], _turn("write=a.txt", instructions="you MUST return the entire *file listing*"))
    assert found.reply == f"a.txt\n```\n{WRITTEN}```\n"


def test_whoever_forbids_tools_gets_none_and_prose_still_asks_for_them() -> None:
    assert step([WRITE], _turn("write=/a"), "", "none", parallel=True).calls == ()
    said = "use the tool write"
    assert step([WRITE], Turn(said, 0), said, "auto", parallel=True).calls == (WRITE,)


def _chat(messages: list[dict[str, Any]]) -> Asked:
    function = {"name": "write_file", "parameters": WRITE.schema}
    tools = [{"type": "function", "function": function}]
    return openai_chat.read(json.dumps({"model": "m", "messages": messages, "tools": tools}).encode())


def _responses(items: list[dict[str, Any]]) -> Asked:
    tools = [{"type": "function", "name": "write_file", "parameters": WRITE.schema}]
    return openai_responses.read(json.dumps({"model": "m", "input": items, "tools": tools}).encode())


def _messages(messages: list[dict[str, Any]]) -> Asked:
    tools = [{"name": "write_file", "input_schema": WRITE.schema}]
    body = {"model": "m", "max_tokens": 100, "messages": messages, "tools": tools}
    return anthropic_messages.read(json.dumps(body).encode())


def _gemini(contents: list[dict[str, Any]]) -> Asked:
    declared = {"name": "write_file", "parametersJsonSchema": WRITE.schema}
    body = {"contents": contents, "tools": [{"functionDeclarations": [declared]}]}
    return gemini_request.read(json.dumps(body).encode(), "m", stream=False)


ASKED = "[[simulate: write=/a]]"
CALL = {"name": "write_file", "args": {}}
ROUNDS = [
    pytest.param(
        _chat,
        [
            {"role": "user", "content": ASKED},
            {"role": "assistant", "tool_calls": []},
            {"role": "tool", "content": "ok"},
        ],
        id="openai",
    ),
    pytest.param(
        _responses,
        [
            {"role": "user", "content": ASKED},
            {"type": "function_call", "call_id": "1", "name": "write_file", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": "ok"},
        ],
        id="openai-responses",
    ),
    pytest.param(
        _messages,
        [
            {"role": "user", "content": ASKED},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "write_file", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "ok"}]},
        ],
        id="anthropic",
    ),
    pytest.param(
        _gemini,
        [
            {"role": "user", "parts": [{"text": ASKED}]},
            {"role": "model", "parts": [{"functionCall": CALL}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "write_file", "response": {}}}]},
        ],
        id="gemini",
    ),
]


@pytest.mark.parametrize(("read", "told"), ROUNDS)
def test_every_dialect_tells_the_beginning_of_a_task_from_its_end(read: Any, told: list[dict[str, Any]]) -> None:
    (call,) = read(told[:1]).calls
    assert json.loads(call.arguments) == {"file_path": "/a", "content": WRITTEN}
    assert read(told).calls == ()
    assert read(told).reply == "Done: /a."
