"""How is a request written in the words of Anthropic Messages?"""

from collections.abc import Sequence

import msgspec

from upshift.traffic.snapshot import Dialect
from upshift.traffic.translate import carriers, families
from upshift.traffic.translate.asides import Losses, bound
from upshift.traffic.translate.words import (
    Audio,
    CacheMark,
    Effort,
    File,
    Format,
    Image,
    Loss,
    Message,
    Part,
    Refusal,
    Request,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

LONGEST_NAME = 128
_LONGEST_ID = 64
_USUAL_OUTPUT = 8_192
"""Tokens that an answer may have where nobody says; this dialect wants a bound."""
_LEAST_BUDGET = 1_024
_NO_SCHEMA = msgspec.Raw(b'{"type":"object","properties":{}}')
_EFFORTS: frozenset[Effort] = frozenset(("low", "medium", "high", "xhigh", "max"))
_encode = msgspec.json.Encoder().encode

_Block = dict[str, object]


def request_out(request: Request, model: str, max_output: int | None, *, stream: bool) -> tuple[bytes, list[Loss]]:
    """Write a request. Changes nothing of `request`."""
    losses = Losses()
    takes = families.claude(model)
    most = bound(request, max_output) or _USUAL_OUTPUT
    fields: dict[str, object] = {"model": model, "max_tokens": most}
    system, messages = _messages_out(request.messages, takes, losses)
    if system:
        fields["system"] = system
    fields["messages"] = messages
    if stream:
        fields["stream"] = True
    if request.tools:
        fields["tools"] = [_tool_out(tool, takes, losses) for tool in _allowed(request)]
        if (choice := _choice_out(request, takes, losses)) is not None:
            fields["tool_choice"] = choice
    config: dict[str, object] = {}
    thinking = _thinking_out(request, takes, most, messages, config, losses)
    if thinking is not None:
        fields["thinking"] = thinking
    if request.format is not None:
        _format_out(request.format, takes, config, losses)
    if config:
        fields["output_config"] = config
    _sampling_out(request, takes, thinking, fields, losses)
    if request.stop:
        stops = [stop for stop in request.stop if not stop.isspace()]
        if len(stops) < len(request.stop):
            losses.add("stop", "Anthropic takes no stop sequence of spaces alone")
        fields["stop_sequences"] = stops
    if request.user:
        fields["metadata"] = {"user_id": request.user}
    if request.service_tier in {"auto", "default"}:
        fields["service_tier"] = "auto" if request.service_tier == "auto" else "standard_only"
    elif request.service_tier:
        losses.add("service_tier", f"{request.service_tier} is not Anthropic's")
    if request.cache:
        fields["cache_control"] = _marked(request.cache)
    for field, value in (("prompt_cache_key", request.cache_key), ("verbosity", request.verbosity)):
        if value:
            losses.add(field, "no field of this dialect")
    return _encode(fields), losses.all()


def _marked(cache: CacheMark) -> dict[str, str]:
    return {"type": "ephemeral", "ttl": "1h"} if cache == "1h" else {"type": "ephemeral"}


def _messages_out(
    said: Sequence[Message], takes: families.Claude, losses: Losses
) -> tuple[str | list[_Block], list[_Block]]:
    """What the system says at the beginning, and the turns that follow; neighbours of one role are one turn."""
    first = 0
    while first < len(said) and said[first].role in {Role.SYSTEM, Role.DEVELOPER}:
        first += 1
    if first == len(said) and first:
        losses.add("messages[].role", "there has to be a message of a user, so the last is sent as one")
        first -= 1
    system = [block for message in said[:first] for block in _blocks(message.parts, losses)]
    turns: list[tuple[str, list[_Block]]] = []
    for index in range(first, len(said)):
        message = said[index]
        blocks = _blocks(message.parts, losses)
        if not blocks:
            continue
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        if message.role in {Role.SYSTEM, Role.DEVELOPER} and len(said) > first + 1:
            after = said[index + 1].role if index + 1 < len(said) else Role.ASSISTANT
            if takes.system_later and turns and turns[-1][0] == "user" and after is Role.ASSISTANT:
                role = "system"
            else:
                losses.add("messages[].role", "what the system says in between is sent as a reminder by the user")
                blocks = [_reminder(block) for block in blocks]
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    return _plain(system), [{"role": role, "content": _plain(_results_first(blocks))} for role, blocks in turns]


def _reminder(block: _Block) -> _Block:
    return block | {"text": f"<system-reminder>\n{block['text']}\n</system-reminder>"} if "text" in block else block


def _results_first(blocks: list[_Block]) -> list[_Block]:
    """Results of tools have to come before all else in a turn."""
    if blocks[0]["type"] == "tool_result" or all(block["type"] != "tool_result" for block in blocks):
        return blocks
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _plain(blocks: list[_Block]) -> str | list[_Block]:
    """A single unmarked text as itself."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return str(blocks[0]["text"])
    return blocks


def _blocks(parts: Sequence[Part], losses: Losses) -> list[_Block]:
    found: list[_Block] = []
    for part in parts:
        block = _block(part, losses)
        if block is not None:
            if not isinstance(part, Refusal | Audio | Thinking) and part.cache:
                block["cache_control"] = _marked(part.cache)
            found.append(block)
    return found


def _block(part: Part, losses: Losses) -> _Block | None:
    match part:
        case Text() | Refusal():
            # This dialect refuses texts that say nothing.
            return {"type": "text", "text": part.text} if part.text.strip() else None
        case ToolCall():
            arguments = carriers.wrap(part.arguments) if part.freeform else part.arguments
            if carriers.sound(arguments) is None:
                losses.add(
                    "messages[].tool_calls[].function.arguments", f"no JSON object, so sent in {carriers.UNSOUND}"
                )
            return {
                "type": "tool_use",
                "id": carriers.fitted(part.id, _LONGEST_ID),
                "name": carriers.fitted(part.name, LONGEST_NAME),
                "input": carriers.as_object(arguments),
            }
        case ToolResult():
            block: _Block = {"type": "tool_result", "tool_use_id": carriers.fitted(part.id, _LONGEST_ID)}
            if content := _blocks(part.content, losses):
                block["content"] = _plain(content)
            if part.is_error:
                block["is_error"] = True
            return block
        case Thinking():
            if part.signature is None or part.signature.of is not Dialect.ANTHROPIC or not part.signature.value:
                losses.add("messages[].reasoning_content", "only the provider that thought it can go on from it")
                return None
            if part.redacted:
                return {"type": "redacted_thinking", "data": part.signature.value}
            return {"type": "thinking", "thinking": part.text, "signature": part.signature.value}
        case Image():
            return _image_out(part, losses)
        case File():
            return _document_out(part, losses)
        case Audio():
            losses.refuse("messages[].content[].input_audio", "Anthropic hears no sound")
            return None


def _image_out(part: Image, losses: Losses) -> _Block:
    if part.detail and part.detail != "auto":
        losses.add("messages[].content[].image_url.detail", "no field of this dialect")
    if part.file_id:
        losses.refuse("messages[].content[].file_id", "only the provider that keeps the file knows it")
    if part.url:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": part.media_type, "data": part.data}}


def _document_out(part: File, losses: Losses) -> _Block:
    source: dict[str, object]
    if part.text:
        source = {"type": "text", "media_type": "text/plain", "data": part.text}
    elif part.url:
        source = {"type": "url", "url": part.url}
    else:
        if part.file_id:
            losses.refuse("messages[].content[].file.file_id", "only the provider that keeps the file knows it")
        if part.media_type != "application/pdf":
            losses.refuse("messages[].content[].file", f"Anthropic reads no {part.media_type[:60]}")
        source = {"type": "base64", "media_type": part.media_type, "data": part.data}
    block: _Block = {"type": "document", "source": source}
    if part.name:
        block["title"] = part.name
    return block


def _allowed(request: Request) -> list[Tool]:
    """The tools that may be called: this dialect allows all that it is told of, or one."""
    choice = request.tool_choice
    if choice is None or choice.mode not in {"auto", "any"} or not choice.names:
        return request.tools
    return [tool for tool in request.tools if tool.name in choice.names]


def _tool_out(tool: Tool, takes: families.Claude, losses: Losses) -> _Block:
    description, schema = carriers.as_function(tool)
    said: _Block = {"name": carriers.fitted(tool.name, LONGEST_NAME)}
    if description:
        said["description"] = description
    said["input_schema"] = schema if len(schema) else _NO_SCHEMA
    if tool.strict:
        if takes.schema and carriers.closed(schema):
            said["strict"] = True
        else:
            losses.add("tools[].function.strict", "the model or the schema allows no guarantee")
    if tool.cache:
        said["cache_control"] = _marked(tool.cache)
    return said


def _choice_out(request: Request, takes: families.Claude, losses: Losses) -> dict[str, object] | None:
    choice = request.tool_choice or ToolChoice("auto")
    if choice.mode in {"any", "named"} and not takes.forcing:
        losses.refuse("tool_choice", "the model always thinks first, and Anthropic lets none that does be forced")
    said: dict[str, object] = {"type": "tool" if choice.mode == "named" else choice.mode}
    if choice.mode == "named":
        said["name"] = carriers.fitted(choice.names[0], LONGEST_NAME)
    if request.parallel is False and choice.mode != "none":
        said["disable_parallel_tool_use"] = True
    return None if said == {"type": "auto"} and request.tool_choice is None else said


def _thinking_out(
    request: Request,
    takes: families.Claude,
    most: int,
    messages: Sequence[_Block],
    config: dict[str, object],
    losses: Losses,
) -> dict[str, object] | None:
    """How much to think. Effort goes into `config` where the model takes it there."""
    asked = request.reasoning
    if asked is None:
        return None
    if asked.effort == "none" or asked.budget == 0:
        if takes.quiet:
            return {"type": "disabled"} if takes.thinking else None
        losses.add("reasoning_effort", "the model always thinks")
        config["effort"] = "low"
        return None
    if not takes.thinking:
        losses.add("reasoning_effort", "the model does not think")
        return None
    if takes.adaptive:
        effort: Effort | None = asked.effort
        if effort is None and asked.budget is not None:
            effort = families.effort_of(asked.budget)
            losses.add("reasoning.budget", f"said as the effort {effort}")
        if effort is not None:
            known = families.nearest(effort, _EFFORTS if takes.xhigh else _EFFORTS - {"xhigh"})
            config["effort"] = known
            if known != effort:
                losses.add("reasoning_effort", f"the model knows no {effort}, so {known}")
        said: dict[str, object] = {"type": "adaptive"}
    else:
        budget = asked.budget if asked.budget is not None else families.BUDGETS[asked.effort or "medium"]
        budget = min(budget, most - 1)
        forced = request.tool_choice is not None and request.tool_choice.mode in {"any", "named"}
        if budget < _LEAST_BUDGET or forced or _unthought(messages):
            losses.add("reasoning_effort", "too few tokens, a forced tool, or a turn whose thoughts did not come back")
            return None
        if asked.budget is None:
            losses.add("reasoning_effort", f"said as {budget} tokens")
        said = {"type": "enabled", "budget_tokens": budget}
    if asked.shown is not None:
        said["display"] = "summarized" if asked.shown else "omitted"
    return said


def _unthought(messages: Sequence[_Block]) -> bool:
    """Whether a turn of tool calls is under way that did not begin with thoughts: then none may follow."""
    for message in reversed(messages):
        content = message["content"]
        if message["role"] == "assistant":
            kinds = [block["type"] for block in content] if isinstance(content, list) else ["text"]
            return "tool_use" in kinds and kinds[0] not in {"thinking", "redacted_thinking"}
        if not isinstance(content, list) or content[0]["type"] != "tool_result":
            return False
    return False


def _format_out(asked: Format, takes: families.Claude, config: dict[str, object], losses: Losses) -> None:
    if asked.kind == "json":
        losses.add("response_format.json_object", "only the prompt asks for JSON; a schema would be kept to")
    elif not takes.schema or not len(asked.schema):
        losses.refuse("response_format.json_schema", "the model does not keep to schemas")
    else:
        config["format"] = {"type": "json_schema", "schema": asked.schema}
        if asked.description:
            losses.add("response_format.json_schema.description", "no field of this dialect")


def _sampling_out(
    request: Request,
    takes: families.Claude,
    thinking: dict[str, object] | None,
    fields: dict[str, object],
    losses: Losses,
) -> None:
    free = takes.sampling and (thinking is None or thinking["type"] == "disabled")
    heat = request.temperature
    for name, value, usual in (
        ("temperature", heat, 1.0),
        ("top_p", request.top_p, 1.0),
        ("top_k", request.top_k, None),
    ):
        if value is None:
            continue
        if not free:
            if value != usual:
                losses.add(name, "a model that thinks samples as it likes")
        elif name == "top_p" and heat is not None and not takes.both:
            if value != usual:
                losses.add(name, "the model takes it or temperature, not both")
        else:
            fields[name] = min(value, 1.0) if name == "temperature" else value
            if name == "temperature" and value > 1:
                losses.add(name, "Anthropic's ends at 1")
    for name, number, usual in (
        ("frequency_penalty", request.frequency_penalty, 0),
        ("presence_penalty", request.presence_penalty, 0),
        ("seed", request.seed, None),
    ):
        if number is not None and number != usual:
            losses.add(name, "no field of this dialect")
